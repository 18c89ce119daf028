//! A text in the forms it travels in, as one expression.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use capture_store::{Condition, Pattern};
use regex::bytes::{Regex, RegexBuilder};

/// Bytes of a text that is looked for, at most.
pub(super) const MAX_TEXT_BYTES: usize = 4_096;
/// Bytes of a text that is also looked for encoded as a whole (base64, hexadecimal).
const MAX_ENCODED_BYTES: usize = 512;
/// Letters of base64 that are taken for a find; fewer are there by chance.
const MIN_BASE64: usize = 6;
/// Bytes that are looked for in hexadecimal; fewer are there by chance.
const MIN_HEX_BYTES: usize = 4;
/// Characters of a long text that exchanges are searched for; in those that have them the whole is looked for.
const SEARCHED_CHARS: usize = 128;
/// Memory that the compiled expression may take.
const MAX_EXPRESSION_BYTES: usize = 4 * 1024 * 1024;
/// What is looked at before and after a find to tell a token from other base64.
const MAX_RUN: usize = 8 * 1024;

/// How a text was written where it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Encoding {
    /// As it is, in whatever case.
    Plain,
    /// Percent-encoded, once or twice, or with `+` for spaces.
    Percent,
    /// As JSON escapes it.
    Json,
    /// Within base64 or base64url, at whatever alignment.
    Base64,
    /// Within a part of a JSON Web Token.
    Jwt,
    /// In hexadecimal digits.
    Hex,
}

impl Encoding {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Percent => "percent",
            Self::Json => "json",
            Self::Base64 => "base64",
            Self::Jwt => "jwt",
            Self::Hex => "hex",
        }
    }
}

/// A text that cannot be looked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NeedleError {
    /// There is nothing to look for.
    #[error("look for an empty text")]
    Empty,
    /// It is too long.
    #[error(
        "look for a text of {0} bytes; {MAX_TEXT_BYTES} are the limit: a part of it that is its own will do"
    )]
    TooLong(usize),
    /// It cannot be made an expression.
    #[error("look for that text: {0}")]
    Expression(String),
}

/// A text in all the forms it is looked for in.
#[derive(Clone, Debug)]
pub struct Needle {
    all: Regex,
    /// What every exchange that has it has; not much more than that.
    searched: String,
    /// The text in small letters.
    plain: Vec<u8>,
    /// Only base64 at an alignment, to tell how a find is written.
    base64: Option<Regex>,
    hex: Option<Regex>,
}

impl Needle {
    /// Looks for a text as it is (in whatever case), percent-encoded, escaped as JSON does, within base64 and base64url at
    /// each alignment, and in hexadecimal.
    ///
    /// # Errors
    /// When it is empty, or longer than 4,096 bytes.
    pub fn new(text: &str) -> Result<Self, NeedleError> {
        if text.is_empty() {
            return Err(NeedleError::Empty);
        }
        if text.len() > MAX_TEXT_BYTES {
            return Err(NeedleError::TooLong(text.len()));
        }
        let base64 = base64(text);
        let hex = (MIN_HEX_BYTES..=MAX_ENCODED_BYTES)
            .contains(&text.len())
            .then(|| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>());
        let joined = |text: &str| {
            let forms = std::iter::once(spelled(text)).chain(base64.clone()).chain(hex.clone());
            forms.collect::<Vec<_>>().join("|")
        };
        let beginning = text.char_indices().nth(SEARCHED_CHARS).map_or(text, |(end, _)| &text[..end]);
        Ok(Self {
            all: compile(&joined(text))?,
            searched: joined(beginning),
            plain: text.to_lowercase().into_bytes(),
            base64: base64.as_deref().map(compile).transpose()?,
            hex: hex.as_deref().map(compile).transpose()?,
        })
    }

    /// What an exchange must be to have it somewhere.
    ///
    /// # Errors
    /// When the expression is too large.
    pub fn condition(&self) -> Result<Condition, NeedleError> {
        let pattern =
            Pattern::regex(&self.searched).map_err(|error| NeedleError::Expression(error.to_string()))?;
        Ok(Condition::Anywhere(pattern))
    }

    /// Where it first is, and how it is written there.
    #[must_use]
    pub fn find(&self, text: &[u8]) -> Option<(std::ops::Range<usize>, Encoding)> {
        let found = self.all.find(text)?;
        Some((found.range(), self.encoding(text, found.start(), found.as_bytes())))
    }

    fn encoding(&self, text: &[u8], at: usize, found: &[u8]) -> Encoding {
        let is = |form: &Option<Regex>| {
            let whole = form.as_ref().and_then(|form| form.find(found));
            whole.is_some_and(|whole| whole.len() == found.len())
        };
        let lower = String::from_utf8_lossy(found).to_lowercase().into_bytes();
        if lower == self.plain {
            // A text that is a part of a token as it is written is there as it is.
            Encoding::Plain
        } else if is(&self.base64) {
            if in_token(text, at) { Encoding::Jwt } else { Encoding::Base64 }
        } else if is(&self.hex) {
            Encoding::Hex
        } else if found.contains(&b'\\') {
            Encoding::Json
        } else {
            Encoding::Percent
        }
    }
}

fn compile(expression: &str) -> Result<Regex, NeedleError> {
    RegexBuilder::new(expression)
        .case_insensitive(true)
        .size_limit(MAX_EXPRESSION_BYTES)
        .build()
        .map_err(|error| NeedleError::Expression(error.to_string()))
}

/// Whether what stands at `at` is in a run of base64url and dots that begins as a JSON object does.
fn in_token(text: &[u8], at: usize) -> bool {
    let of_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    let start = text[..at].iter().rev().take(MAX_RUN).take_while(|byte| of_token(byte)).count();
    let run = &text[at - start..];
    let end = run.iter().take(MAX_RUN).take_while(|byte| of_token(byte)).count();
    let run = &run[..end];
    run.starts_with(b"eyJ") && run.iter().filter(|byte| **byte == b'.').count() == 2
}

/// The text sign by sign, each in any of the ways queries, forms and JSON may write it.
fn spelled(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    for letter in text.chars() {
        let literal = regex::escape(letter.encode_utf8(&mut [0; 4]));
        if letter.is_ascii_alphanumeric() || letter == '_' {
            out.push_str(&literal);
            continue;
        }
        let mut utf8 = [0; 4];
        let bytes = letter.encode_utf8(&mut utf8).as_bytes();
        let percent = |sign: &str| bytes.iter().map(|byte| format!("{sign}{byte:02x}")).collect::<String>();
        let unicode: String =
            letter.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\\\u{unit:04x}")).collect();
        let mut ways = vec![literal, percent("%"), percent("%25"), unicode];
        match letter {
            ' ' => ways.push("\\+".to_owned()),
            '/' => ways.push("\\\\/".to_owned()),
            '"' => ways.push("\\\\\"".to_owned()),
            '\\' => ways.push("\\\\\\\\".to_owned()),
            '\n' => ways.push("\\\\n".to_owned()),
            '\t' => ways.push("\\\\t".to_owned()),
            _ => {}
        }
        // The longest first: of two that begin alike the first one written is taken.
        ways.sort_by_key(|way| std::cmp::Reverse(way.len()));
        out.push_str("(?:");
        out.push_str(&ways.join("|"));
        out.push(')');
    }
    out
}

/// What is certain of the text's base64 at each of the three alignments, with the signs of either alphabet.
fn base64(text: &str) -> Option<String> {
    if text.len() > MAX_ENCODED_BYTES {
        return None;
    }
    let forms: Vec<String> = (0..3)
        .filter_map(|lead| {
            let mut bytes = vec![0; lead];
            bytes.extend_from_slice(text.as_bytes());
            let encoded = STANDARD_NO_PAD.encode(&bytes);
            // Letters that also hold bits of what comes before and after are not certain.
            let (first, last) = ((lead * 8).div_ceil(6), bytes.len() * 8 / 6);
            encoded.get(first..last).filter(|certain| certain.len() >= MIN_BASE64).map(signs)
        })
        .collect();
    (!forms.is_empty()).then(|| format!("(?-i:{})", forms.join("|")))
}

fn signs(certain: &str) -> String {
    certain.replace('+', "(?:[+-]|%2[Bb])").replace('/', "(?:[/_]|%2[Ff])")
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

    use super::*;

    #[test]
    fn a_text_is_found_in_every_form_and_the_form_is_told() {
        let needle = Needle::new("ann+x@example.test/\u{e9}?").unwrap();
        let text = "ann+x@example.test/\u{e9}?";
        for (haystack, encoding) in [
            (format!("to: {text}"), Encoding::Plain),
            (format!("to: {}", text.to_uppercase()), Encoding::Plain),
            ("a=ann%2Bx%40example.test%2F%C3%A9%3F".to_owned(), Encoding::Percent),
            ("a=ann%252Bx%2540example.test/%25C3%25A9%253f".to_owned(), Encoding::Percent),
            ("{\"a\":\"ann+x@example.test\\/\\u00e9?\"}".to_owned(), Encoding::Json),
            (STANDARD.encode(text), Encoding::Base64),
            (STANDARD.encode(format!("u:{text}!")), Encoding::Base64),
            (URL_SAFE_NO_PAD.encode(format!("{{\"u\":\"{text}\"")), Encoding::Base64),
            (
                format!(
                    "Bearer eyJhbGciOiJub25lIn0.{}.c2ln",
                    URL_SAFE_NO_PAD.encode(format!("{{\"s\":\"{text}\"}}"))
                ),
                Encoding::Jwt,
            ),
            (text.bytes().map(|byte| format!("{byte:02X}")).collect(), Encoding::Hex),
        ] {
            let found = needle.find(haystack.as_bytes()).map(|(_, encoding)| encoding);
            assert_eq!(found, Some(encoding), "{haystack}");
        }
        assert!(needle.find(b"ann-x@example.test").is_none());
    }

    #[test]
    fn every_alignment_of_base64_is_found_whatever_stands_around() {
        let needle = Needle::new("s3cr3t-value").unwrap();
        for before in 0..7 {
            for after in 0..7 {
                let text = format!("{}s3cr3t-value{}", "x".repeat(before), "\u{ff}".repeat(after));
                for encoded in [STANDARD.encode(&text), URL_SAFE_NO_PAD.encode(&text)] {
                    let found = needle.find(encoded.as_bytes());
                    assert_eq!(found.map(|(_, encoding)| encoding), Some(Encoding::Base64), "{text}");
                }
            }
        }
    }

    #[test]
    fn short_texts_are_found_as_they_are_only_and_what_cannot_be_looked_for_is_refused() {
        assert!(Needle::new("42").unwrap().find(b"id=42").is_some());
        assert!(Needle::new("42").unwrap().find(STANDARD.encode("xx42xx").as_bytes()).is_none());
        assert_eq!(Needle::new("").unwrap_err(), NeedleError::Empty);
        assert_eq!(Needle::new(&"x".repeat(5_000)).unwrap_err(), NeedleError::TooLong(5_000));
        let long = format!("eyJ{}", "aZ9-_".repeat(700));
        assert!(Needle::new(&long).unwrap().condition().is_ok());
        let found = Needle::new(&long).unwrap();
        assert_eq!(found.find(format!("Bearer {long}").as_bytes()).unwrap().1, Encoding::Plain);
        assert!(Needle::new(&"\u{e9} /\"".repeat(800)).unwrap().condition().is_ok());
    }
}
