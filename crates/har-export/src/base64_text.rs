//! Base64 as tools write it, decoded piece by piece: with line breaks, without padding, in the alphabet of URLs.

use std::io::Read;

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use capture_store::ImportBody;

use crate::{error::Error, log::Depot};

/// Padded or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Bytes of text decoded at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// What decoding a text came to.
pub(crate) enum Outcome {
    /// The bytes.
    Decoded(ImportBody),
    /// It is no base64; here it is as it was.
    Not(ImportBody),
}

/// Decodes a text that was put into the depot. A last group that was cut is left out.
pub(crate) fn decode(text: ImportBody, depot: &mut dyn Depot) -> Result<Outcome, Error> {
    if let Some(held) = text.held() {
        let mut clean = held.to_vec();
        clean_up(&mut clean);
        return Ok(match last(clean) {
            Some(bytes) => Outcome::Decoded(bytes.into()),
            None => Outcome::Not(text),
        });
    }
    let mut decoded = ImportBody::default();
    if decode_all(&text, &mut decoded, depot)? {
        depot.discard(text);
        return Ok(Outcome::Decoded(decoded));
    }
    depot.discard(decoded);
    Ok(Outcome::Not(text))
}

/// Decodes a text that is too long to hold; false where it is no base64.
fn decode_all(text: &ImportBody, to: &mut ImportBody, depot: &mut dyn Depot) -> Result<bool, Error> {
    let mut reader = depot.open(text)?;
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut rest: Vec<u8> = Vec::new();
    loop {
        let read = reader
            .read(&mut chunk)
            .map_err(|error| Error::with_source(crate::error::ErrorKind::Body, error))?;
        if read == 0 {
            break;
        }
        let mut piece = chunk[..read].to_vec();
        clean_up(&mut piece);
        rest.extend_from_slice(&piece);
        // The last group may be padded, and more may come: it waits.
        let whole = rest.len().saturating_sub(4) / 4 * 4;
        let Ok(bytes) = BASE64.decode(&rest[..whole]) else { return Ok(false) };
        depot.append(to, &bytes)?;
        rest.drain(..whole);
    }
    let Some(bytes) = last(rest) else { return Ok(false) };
    depot.append(to, &bytes)?;
    Ok(true)
}

/// Drops white space, and turns the alphabet of URLs (RFC 4648 section 5) into the usual one.
fn clean_up(text: &mut Vec<u8>) {
    text.retain_mut(|byte| {
        match byte {
            b'-' => *byte = b'+',
            b'_' => *byte = b'/',
            _ => {}
        }
        !byte.is_ascii_whitespace()
    });
}

fn last(mut text: Vec<u8>) -> Option<Vec<u8>> {
    if text.len() % 4 == 1 {
        text.pop();
    }
    BASE64.decode(text).ok()
}

/// The length of what a text is the canonical base64 of: in whole groups, padded, without line breaks; `None` where it
/// is not. Cheap, as it is asked of bodies that do not say what they are.
pub(crate) fn canonical_length(text: &[u8]) -> Option<u64> {
    let trimmed = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(text);
    let is_base64 = !text.is_empty()
        && text.len().is_multiple_of(4)
        && trimmed.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'));
    is_base64.then(|| text.len() as u64 / 4 * 3 - (text.len() - trimmed.len()) as u64)
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
    use proptest::prelude::*;

    use super::*;
    use crate::log::Memory;

    fn decoded(text: &str) -> Option<Vec<u8>> {
        match decode(text.as_bytes().to_vec().into(), &mut Memory::default()).unwrap() {
            Outcome::Decoded(body) => Some(body.held().unwrap().to_vec()),
            Outcome::Not(body) => {
                assert_eq!(body.held().unwrap(), text.as_bytes());
                None
            }
        }
    }

    #[test]
    fn base64_is_read_as_tools_write_it() {
        for (text, bytes) in [
            ("", Some(&b""[..])),
            ("QUJD", Some(b"ABC")),
            ("QUI=", Some(b"AB")),
            ("QUI", Some(b"AB")),
            ("QU\r\nJD\n", Some(b"ABC")),
            ("_-8=", Some(b"\xff\xef")),
            ("QUJDR", Some(b"ABC")),
            ("<html>", None),
            ("QU=JD", None),
        ] {
            assert_eq!(decoded(text).as_deref(), bytes, "{text}");
        }
    }

    #[test]
    fn what_is_surely_base64_tells_its_length() {
        for (text, length) in [
            ("QUJD", Some(3)),
            ("QUI=", Some(2)),
            ("QQ==", Some(1)),
            ("QUI", None),
            ("", None),
            ("Q=I=", None),
        ] {
            assert_eq!(canonical_length(text.as_bytes()), length, "{text}");
        }
    }

    proptest! {
        #[test]
        fn long_texts_decode_like_short_ones(bytes in prop::collection::vec(any::<u8>(), 0..2_000), every in 50usize..100) {
            for text in [STANDARD.encode(&bytes), STANDARD_NO_PAD.encode(&bytes), URL_SAFE.encode(&bytes)] {
                let broken: Vec<u8> = text.as_bytes().chunks(every).collect::<Vec<_>>().join(&b"\r\n"[..]);
                let mut to = ImportBody::default();
                prop_assert!(decode_all(&broken.into(), &mut to, &mut Memory::default()).unwrap());
                prop_assert_eq!(to.held().unwrap(), &bytes);
                prop_assert_eq!(decoded(&text), Some(bytes.clone()));
            }
        }
    }
}
