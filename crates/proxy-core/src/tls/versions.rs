//! The versions of TLS spoken with upstream.

use std::{fmt, str::FromStr};

use rustls::SupportedProtocolVersion;

use crate::error::{Error, ErrorKind};

/// A version of TLS. Earlier ones than 1.2 are not built in: the TLS library has none (RFC 8996 retired them).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

/// The text is no version of TLS that is built in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("read {0:?} as a TLS version; write 1.2 or 1.3 (earlier ones are not built in)")]
pub struct ParseTlsVersionError(String);

impl FromStr for TlsVersion {
    type Err = ParseTlsVersionError;

    fn from_str(text: &str) -> Result<Self, ParseTlsVersionError> {
        match text {
            "1.2" => Ok(Self::Tls12),
            "1.3" => Ok(Self::Tls13),
            other => Err(ParseTlsVersionError(other.chars().take(100).collect())),
        }
    }
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls12 => "1.2",
            Self::Tls13 => "1.3",
        })
    }
}

/// A range of versions of TLS; all that are built in by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsVersions {
    min: TlsVersion,
    max: TlsVersion,
}

impl Default for TlsVersions {
    fn default() -> Self {
        Self { min: TlsVersion::Tls12, max: TlsVersion::Tls13 }
    }
}

impl TlsVersions {
    /// Makes a range; an end left out is the earliest or the latest there is.
    ///
    /// # Errors
    ///
    /// When `min` is later than `max`.
    pub fn new(min: Option<TlsVersion>, max: Option<TlsVersion>) -> Result<Self, Error> {
        let all = Self::default();
        let (min, max) = (min.unwrap_or(all.min), max.unwrap_or(all.max));
        if min > max {
            return Err(ErrorKind::TlsVersions { min, max }.into());
        }
        Ok(Self { min, max })
    }

    pub(super) fn supported(self) -> Vec<&'static SupportedProtocolVersion> {
        [(TlsVersion::Tls13, &rustls::version::TLS13), (TlsVersion::Tls12, &rustls::version::TLS12)]
            .into_iter()
            .filter(|(version, _)| (self.min..=self.max).contains(version))
            .map(|(_, supported)| supported)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_what_is_between_their_ends() {
        use TlsVersion::{Tls12, Tls13};
        for (min, max, count) in
            [(None, None, 2), (Some(Tls13), None, 1), (None, Some(Tls12), 1), (Some(Tls12), Some(Tls13), 2)]
        {
            assert_eq!(TlsVersions::new(min, max).unwrap().supported().len(), count);
        }
        let error = TlsVersions::new(Some(Tls13), Some(Tls12)).unwrap_err();
        assert!(error.to_string().contains("1.3"), "{error}");
        assert!("1.1".parse::<TlsVersion>().unwrap_err().to_string().contains("1.2 or 1.3"));
    }
}
