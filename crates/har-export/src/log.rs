//! Walks a HAR file to `log.entries` and hands out its entries one by one.

use std::{fmt, io};

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::{
    error::{Error, ErrorKind},
    lenient::{Gauge, Lenient},
    tree::Tree,
};

/// Values one entry may be made of; the rest of it is left out. A WebSocket message takes about ten.
const MAX_ENTRY_VALUES: usize = 4_000_000;

/// Bytes of strings in one entry, as a multiple of the longest string: both bodies, their heads, messages.
const STRINGS_PER_ENTRY: u64 = 4;

/// An entry as it was read.
pub(crate) struct RawEntry {
    /// Its place in the list, from 0.
    pub(crate) index: u64,
    /// What is there.
    pub(crate) value: Value,
    /// What reading it already had to change.
    pub(crate) notes: Vec<String>,
}

/// Reads a HAR file and calls `sink` with each entry. Holds one entry at a time. An error of the sink ends it.
pub(crate) fn read(
    input: impl io::Read,
    max_string_bytes: u64,
    gauge: &Gauge,
    sink: &mut dyn FnMut(RawEntry) -> Result<(), Error>,
) -> Result<(), Error> {
    gauge.max_string_bytes.set(max_string_bytes);
    gauge.room.set(u64::MAX);
    let mut walk = Walk { gauge, sink, stopped: None, found: false };
    let mut deserializer = serde_json::Deserializer::from_reader(Lenient::new(input, gauge));
    let done = Level::Root(&mut walk).deserialize(&mut deserializer).and_then(|()| deserializer.end());
    if let Some(error) = walk.stopped {
        return Err(error);
    }
    done.map_err(refused)?;
    if walk.found {
        Ok(())
    } else {
        Err(Error::new(ErrorKind::NotHar { reason: "there is no such list".to_owned() }))
    }
}

fn refused(error: serde_json::Error) -> Error {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    let place = format!(" at line {line} column {column}");
    let reason = text.strip_suffix(&place).unwrap_or(&text).to_owned();
    match error.classify() {
        serde_json::error::Category::Io => Error::with_source(ErrorKind::Input, io::Error::from(error)),
        serde_json::error::Category::Data => {
            Error::new(ErrorKind::NotHar { reason: format!("{reason}{place}") })
        }
        _ => Error::new(ErrorKind::NotJson { line, column, reason }),
    }
}

struct Walk<'a> {
    gauge: &'a Gauge,
    sink: &'a mut dyn FnMut(RawEntry) -> Result<(), Error>,
    stopped: Option<Error>,
    found: bool,
}

/// A level of the file on the way to the entries.
enum Level<'w, 'a> {
    Root(&'w mut Walk<'a>),
    Log(&'w mut Walk<'a>),
    Entries(&'w mut Walk<'a>),
}

impl<'de> DeserializeSeed<'de> for Level<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self {
            Self::Entries(_) => deserializer.deserialize_seq(self),
            _ => deserializer.deserialize_map(self),
        }
    }
}

impl<'de> Visitor<'de> for Level<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Root(_) => "an object with a `log`",
            Self::Log(_) => "a `log` object",
            Self::Entries(_) => "a list of `entries`",
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        let (walk, wanted) = match self {
            Self::Root(walk) => (walk, "log"),
            Self::Log(walk) | Self::Entries(walk) => (walk, "entries"),
        };
        while let Some(key) = object.next_key::<String>()? {
            match key.as_str() {
                "log" if wanted == "log" => object.next_value_seed(Level::Log(&mut *walk))?,
                "entries" if wanted == "entries" => object.next_value_seed(Level::Entries(&mut *walk))?,
                _ => {
                    object.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Self::Entries(walk) = self else {
            return Err(de::Error::invalid_type(de::Unexpected::Seq, &self));
        };
        walk.found = true;
        let mut index = 0;
        loop {
            let mut room = MAX_ENTRY_VALUES;
            let gauge = walk.gauge;
            gauge.room.set(gauge.max_string_bytes.get().saturating_mul(STRINGS_PER_ENTRY));
            gauge.cut.set(0);
            gauge.replaced.set(0);
            let Some(value) = list.next_element_seed(Tree { room: &mut room })? else { break };
            let notes = notes(gauge, room);
            if let Err(error) = (walk.sink)(RawEntry { index, value, notes }) {
                walk.stopped = Some(error);
                return Err(de::Error::custom("stopped"));
            }
            index += 1;
        }
        walk.gauge.room.set(u64::MAX);
        Ok(())
    }
}

fn notes(gauge: &Gauge, room: usize) -> Vec<String> {
    let mut notes = Vec::new();
    if room == 0 {
        notes.push(format!("it is made of more than {MAX_ENTRY_VALUES} values, the rest was left out"));
    }
    let (cut, max) = (gauge.cut.get(), gauge.max_string_bytes.get());
    if cut > 0 {
        notes.push(format!("{cut} of its texts were cut, as one is longer than {max} bytes or all are longer than {STRINGS_PER_ENTRY} times that"));
    }
    let replaced = gauge.replaced.get();
    if replaced > 0 {
        notes.push(format!("{replaced} characters that are no Unicode were replaced by U+FFFD"));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(file: &[u8]) -> Result<Vec<(Value, usize)>, Error> {
        let mut seen = Vec::new();
        read(file, 100, &Gauge::default(), &mut |entry| {
            assert_eq!(entry.index, seen.len() as u64);
            seen.push((entry.value, entry.notes.len()));
            Ok(())
        })?;
        Ok(seen)
    }

    #[test]
    fn entries_are_found_wherever_they_stand() {
        for file in [
            r#"{"log":{"entries":[1,{"a":[2]},null]}}"#,
            "\u{feff} {\"x\":[{}],\"log\":{\"pages\":[{\"entries\":[9]}],\"entries\":[1,{\"a\":[2]},null],\"z\":{}},\"y\":1}\n",
        ] {
            let seen = entries(file.as_bytes()).unwrap();
            assert_eq!(serde_json::to_string(&seen).unwrap(), r#"[[1,0],[{"a":[2]},0],[null,0]]"#);
        }
        assert_eq!(entries(br#"{"log":{"entries":[]}}"#).unwrap(), []);
    }

    #[test]
    fn what_is_no_har_is_refused_with_its_place() {
        for (file, expected) in [
            (&b""[..], "EOF while parsing a value at line 1 column 0"),
            (b"<html>", "expected value at line 1 column 1"),
            (b"{\"log\":{\"entries\":[{},\n{\"a\":", "EOF while parsing a value at line 2 column 5"),
            (b"{\"log\":{\"entries\":[]}} x", "trailing characters at line 1 column 24"),
            (
                b"[1]",
                "find `log.entries` in the file: invalid type: sequence, expected an object with a `log` at line 1 column 1",
            ),
            (b"{\"log\":[]}", "expected a `log` object at line 1 column 8"),
            (b"{\"log\":{\"entries\":{}}}", "expected a list of `entries` at line 1 column 19"),
            (b"{\"log\":{}}", "there is no such list"),
            (b"{}", "there is no such list"),
        ] {
            let error = entries(file).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let deep = [b"{\"log\":{\"entries\":[".as_slice(), &[b'['; 300]].concat();
        assert!(matches!(entries(&deep).unwrap_err().kind(), ErrorKind::NotJson { .. }));
    }

    #[test]
    fn limits_are_counted_for_each_entry_on_its_own() {
        let text = "x".repeat(90);
        let long = "y".repeat(200);
        let file = format!(r#"{{"log":{{"entries":[["{text}","{text}"],["{long}"],["{text}","\ud800"]]}}}}"#);
        let seen = entries(file.as_bytes()).unwrap();
        assert_eq!(seen.iter().map(|(_, notes)| *notes).collect::<Vec<_>>(), [0, 1, 1]);
        assert_eq!(seen[1].0[0].as_str().unwrap().len(), 100);
        assert_eq!(seen[2].0[1], "\u{fffd}");
    }

    #[test]
    fn an_error_of_the_sink_ends_the_walk() {
        let mut calls = 0;
        let error = read(&br#"{"log":{"entries":[1,2,3]}}"#[..], 100, &Gauge::default(), &mut |_| {
            calls += 1;
            Err(Error::new(ErrorKind::Store))
        });
        assert_eq!((error.unwrap_err().kind(), calls), (&ErrorKind::Store, 1));
    }
}
