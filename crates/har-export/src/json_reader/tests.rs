//! What is JSON is read as serde_json reads it; what is none is refused as it refuses it, but for texts.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::tree::{Room, tree};

/// Gives `step` bytes at a time.
struct Steps<'a>(&'a [u8], usize);

impl Read for Steps<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let length = self.1.min(out.len());
        self.0.read(&mut out[..length])
    }
}

fn read(json: &[u8], step: usize) -> Result<(Value, u64), Error> {
    let gauge = Gauge::default();
    let mut reader = JsonReader::new(Steps(json, step), &gauge)?;
    let value = tree(&mut reader, &mut Room::default())?;
    reader.end()?;
    Ok((value, gauge.replaced.get()))
}

fn skipped(json: &[u8], step: usize) -> Result<(), Error> {
    let gauge = Gauge::default();
    let mut reader = JsonReader::new(Steps(json, step), &gauge)?;
    reader.skip()?;
    reader.end()
}

#[test]
fn what_json_does_not_allow_is_replaced_within_texts() {
    for (input, expected, replaced) in [
        (&b"\xef\xbb\xbf\"\""[..], "", 0),
        (b"\"a\\ud83d\\ude00b\"", "a\u{1f600}b", 0),
        (b"\"a\\ud83d\"", "a\u{fffd}", 1),
        (b"\"a\\ud83dx\\ude00\"", "a\u{fffd}x\u{fffd}", 2),
        (b"\"a\\ud83d\\ud83d\\ude00\"", "a\u{fffd}\u{1f600}", 1),
        (b"\"\\\\ud83d\"", "\\ud83d", 0),
        (b"\"\\\"\\ud83d\\n\"", "\"\u{fffd}\n", 1),
        (b"\"caf\xe9!\"", "caf\u{fffd}!", 1),
        (b"\"\xe2\x82\"", "\u{fffd}", 1),
        (b"\"\xff\xff\"", "\u{fffd}\u{fffd}", 2),
        (b"\"\xe2\x82\xac\xef\xbb\xbf\\u0000\\b\\f\\/\"", "\u{20ac}\u{feff}\u{0}\u{8}\u{c}/", 0),
    ] {
        for step in 1..14 {
            let (value, seen) = read(input, step).unwrap();
            assert_eq!((value.as_str(), seen), (Some(expected), replaced), "step {step}");
        }
    }
}

#[test]
fn what_is_no_json_is_refused_with_its_place() {
    for (input, expected) in [
        (&b""[..], "EOF while parsing a value at line 1 column 0"),
        (b" \n ", "EOF while parsing a value at line 2 column 1"),
        (b"<", "expected value at line 1 column 1"),
        (b"[1,\n 2}", "expected `,` or `]` at line 2 column 3"),
        (b"[1,]", "trailing comma at line 1 column 4"),
        (b"{\"a\":1,}", "trailing comma at line 1 column 8"),
        (b"{a:1}", "key must be a string at line 1 column 2"),
        (b"{\"a\" 1}", "expected `:` at line 1 column 6"),
        (b"{\"a\":1 \"b\"", "expected `,` or `}` at line 1 column 8"),
        (b"{\"a\":", "EOF while parsing a value at line 1 column 5"),
        (b"{\"a\":1", "EOF while parsing an object at line 1 column 6"),
        (b"[1", "EOF while parsing a list at line 1 column 2"),
        (b"\"a", "EOF while parsing a string at line 1 column 2"),
        (b"\"\\x\"", "invalid escape at line 1 column 2"),
        (b"\"\\u12g4\"", "invalid escape at line 1 column 2"),
        (b"\"a\nb\"", "control character"),
        (b"\"a\0b\"", "control character"),
        (b"01", "trailing characters at line 1 column 2"),
        (b"1.", "invalid number"),
        (b"-", "invalid number"),
        (b"1e+", "invalid number"),
        (b"+1", "expected value"),
        (b"NaN", "expected value"),
        (b"nul", "expected ident"),
        (b"truE", "expected ident"),
        (b"[] x", "trailing characters at line 1 column 4"),
    ] {
        for step in [1, 2, 3, 100] {
            let error = read(input, step).unwrap_err().to_string();
            assert!(error.contains(expected), "{}: {error}", String::from_utf8_lossy(input));
            assert!(skipped(input, step).is_err());
        }
    }
}

#[test]
fn numbers_keep_their_value_however_long_they_are() {
    for (json, expected) in [
        ("0", 0.0),
        ("-0", 0.0),
        ("1.5e3", 1500.0),
        ("18446744073709551615", 18_446_744_073_709_551_615.0),
        ("1e400", f64::MAX),
        ("-1E999", f64::MIN),
        ("0.1", 0.1),
    ] {
        assert_eq!(read(json.as_bytes(), 3).unwrap().0.as_f64(), Some(expected), "{json}");
    }
    let long = "9".repeat(5_000);
    assert_eq!(read(long.as_bytes(), 100).unwrap().0.as_f64(), Some(f64::MAX));
}

#[test]
fn what_is_skipped_may_be_as_deep_as_it_likes() {
    let deep = [b"[{\"a\":".repeat(200_000), b"1".to_vec(), b"}]".repeat(200_000)].concat();
    skipped(&deep, 1_000_000).unwrap();
    let (value, _) = read(&deep, 1_000_000).unwrap();
    assert!(value.is_array());
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        // serde_json rounds the last digit of some others.
        any::<i32>().prop_map(|number| Value::from(f64::from(number) / 4.0)),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn json_reads_as_serde_json_reads_it(value in json(), step in 1usize..40) {
        for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            let (seen, replaced) = read(text.as_bytes(), step).unwrap();
            prop_assert_eq!(&seen, &value);
            prop_assert_eq!(replaced, 0);
            skipped(text.as_bytes(), step).unwrap();
        }
    }

    #[test]
    fn broken_json_is_refused_where_serde_json_refuses_it(value in json(), at in any::<prop::sample::Index>(), by in prop::sample::select(b"\"\\{}[]:,x0 ".to_vec()), cut in any::<bool>()) {
        let mut text = value.to_string().into_bytes();
        let at = at.index(text.len());
        if cut { text.truncate(at) } else { text[at] = by }
        if let Ok(text) = str::from_utf8(&text) {
            let ours = read(text.as_bytes(), 7);
            let skipped = skipped(text.as_bytes(), 7);
            prop_assert_eq!(ours.is_ok(), skipped.is_ok());
            match serde_json::from_str::<Value>(text) {
                Ok(theirs) => prop_assert_eq!(ours.unwrap().0, theirs),
                // Lone surrogates are all that we take and it does not.
                Err(_) => prop_assert!(ours.is_err() || ours.unwrap().1 > 0),
            }
        }
    }

    #[test]
    fn whatever_bytes_come_nothing_breaks(noise in prop::collection::vec(prop_oneof![Just(b'"'), Just(b'\\'), Just(b'u'), Just(b'd'), Just(b'8'), Just(0xe2u8), any::<u8>()], 0..200), step in 1usize..40) {
        let _ = read(&noise, step);
        let mut text = vec![b'"'];
        text.extend(noise.iter().filter(|byte| !matches!(**byte, b'"' | b'\\' | 0..0x20)));
        text.push(b'"');
        let (value, _) = read(&text, step).unwrap();
        let lossy = String::from_utf8_lossy(&text[1..text.len() - 1]).into_owned();
        prop_assert_eq!(value.as_str(), Some(lossy.as_str()));
    }
}
