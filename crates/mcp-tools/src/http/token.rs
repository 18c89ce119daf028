//! The token that clients show.

use std::{fmt, fs, io, path::Path};

use subtle::ConstantTimeEq as _;

/// The least characters: what can be guessed is no token.
const MIN_CHARS: usize = 16;
/// The largest file that is read.
const MAX_BYTES: u64 = 4096;

/// A token that every request has to show as `Authorization: Bearer ...` (RFC 6750).
#[derive(Clone)]
pub struct BearerToken(String);

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerToken(..)")
    }
}

/// A token cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The file cannot be read, or is larger than a token.
    #[error("read the token in {0}")]
    File(String, #[source] io::Error),
    /// It is too short.
    #[error("use a token of fewer than {MIN_CHARS} characters; `openssl rand -hex 32` makes one")]
    Short,
    /// It has other characters than a header field can have.
    #[error("use a token with blanks or characters beyond ASCII in it")]
    Characters,
}

impl BearerToken {
    /// Takes a token.
    ///
    /// # Errors
    ///
    /// When it is too short, or no header field could hold it.
    pub fn new(token: impl Into<String>) -> Result<Self, TokenError> {
        let token = token.into();
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError::Characters);
        }
        if token.len() < MIN_CHARS {
            return Err(TokenError::Short);
        }
        Ok(Self(token))
    }

    /// Takes the first line of a file.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, and as for [`new`](Self::new).
    pub fn from_file(path: &Path) -> Result<Self, TokenError> {
        let failed = |error| TokenError::File(path.display().to_string(), error);
        if fs::metadata(path).map_err(failed)?.len() > MAX_BYTES {
            let error = io::Error::new(io::ErrorKind::FileTooLarge, "it has more than 4096 bytes");
            return Err(failed(error));
        }
        let text = fs::read_to_string(path).map_err(failed)?;
        Self::new(text.lines().next().unwrap_or_default().trim())
    }

    /// Whether the value of an `Authorization` field shows it. Takes the same time wherever the first difference is.
    pub(super) fn is_shown_by(&self, authorization: &[u8]) -> bool {
        const SCHEME: &[u8] = b"bearer ";
        let Some((scheme, shown)) = authorization.split_at_checked(SCHEME.len()) else { return false };
        scheme.eq_ignore_ascii_case(SCHEME) && bool::from(shown.trim_ascii().ct_eq(self.0.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_itself_is_let_in() {
        let token = BearerToken::new("0123456789abcdef").unwrap();
        for good in ["Bearer 0123456789abcdef", "bearer 0123456789abcdef", "BEARER  0123456789abcdef "] {
            assert!(token.is_shown_by(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            "Bearer",
            "Bearer ",
            "Basic 0123456789abcdef",
            "Bearer 0123456789abcde",
            "Bearer 0123456789abcdef0",
        ] {
            assert!(!token.is_shown_by(bad.as_bytes()), "{bad}");
        }
        assert!(!format!("{token:?}").contains("0123"));
    }

    #[test]
    fn short_and_strange_tokens_are_refused() {
        assert!(matches!(BearerToken::new("short"), Err(TokenError::Short)));
        assert!(matches!(BearerToken::new("with a blank in it"), Err(TokenError::Characters)));
    }

    #[test]
    fn a_file_holds_a_token_in_its_first_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        fs::write(&path, "0123456789abcdef\n").unwrap();
        assert!(BearerToken::from_file(&path).unwrap().is_shown_by(b"Bearer 0123456789abcdef"));
        assert!(BearerToken::from_file(&directory.path().join("none")).is_err());
    }
}
