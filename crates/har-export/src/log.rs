//! Walks a HAR file to `log.entries` and hands out its entries one by one, without the texts of their bodies.
//!
//! What may be of any size goes to the depot as it is read: the texts of bodies, and WebSocket messages. The rest of an
//! entry is a tree of bounded size.

use std::io::Read;

use capture_store::ImportBody;
use serde_json::{Map, Value};

use crate::{
    error::{Error, ErrorKind},
    input::Gauge,
    json_reader::{JsonReader, Kind},
    message::Spool,
    tree::{Room, take_value, tree},
};

/// Values and bytes of texts that are kept of a log beside its entries: pages, and what tools add.
const MAX_FACTS: Room =
    Room { values: 200_000, text_bytes: 4 * 1024 * 1024, left_out: false, too_deep: false, cut: 0 };

/// Where what is too large to hold is put.
pub(crate) trait Depot {
    /// Adds bytes to a body.
    fn append(&mut self, body: &mut ImportBody, piece: &[u8]) -> Result<(), Error>;

    /// Reads a body from its beginning.
    fn open(&self, body: &ImportBody) -> Result<Box<dyn Read + Send>, Error>;

    /// Forgets a body.
    fn discard(&mut self, body: ImportBody);
}

/// Who takes entries.
pub(crate) trait Receiver {
    /// Where the entries' bodies are to be put.
    fn depot(&mut self) -> &mut dyn Depot;

    /// Takes an entry.
    fn entry(&mut self, entry: RawEntry) -> Result<(), Error>;
}

/// An entry as it was read.
#[derive(Debug, Default)]
pub(crate) struct RawEntry {
    /// Its place in the list, from 0.
    pub(crate) index: u64,
    /// What is there but for the texts of bodies and the messages.
    pub(crate) value: Value,
    /// `request.postData.text`.
    pub(crate) request_text: Option<ImportBody>,
    /// `response.content.text`.
    pub(crate) response_text: Option<ImportBody>,
    /// `_webSocketMessages`.
    pub(crate) messages: Spool,
    /// What reading it already had to change.
    pub(crate) notes: Vec<String>,
}

/// What a file says beside its entries.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// The members of the log but `entries` and `version`.
    pub(crate) log: Map<String, Value>,
    /// What had to be left out of them.
    pub(crate) notes: Vec<String>,
}

/// Reads a HAR file and hands each entry to the receiver, whose errors end it.
pub(crate) fn read(input: impl Read, gauge: &Gauge, to: &mut dyn Receiver) -> Result<Facts, Error> {
    let reader = JsonReader::new(input, gauge)?;
    let mut walk = Walk { reader, to, facts: Facts::default(), room: MAX_FACTS, found: 0, index: 0 };
    walk.file()?;
    walk.reader.end()?;
    if walk.found == 0 {
        return Err(not_har("there is no such list"));
    }
    if walk.found > 1 {
        let times = walk.found;
        walk.facts.notes.push(format!("it has `log.entries` {times} times; all of them were read"));
    }
    if walk.room.left_out || walk.room.too_deep || walk.room.cut > 0 {
        walk.facts
            .notes
            .push("what it says beside its entries, such as pages, is too large and was cut".to_owned());
    }
    Ok(walk.facts)
}

fn not_har(reason: impl Into<String>) -> Error {
    Error::new(ErrorKind::NotHar { reason: reason.into() })
}

struct Walk<'g, 'r> {
    reader: JsonReader<'g>,
    to: &'r mut dyn Receiver,
    facts: Facts,
    room: Room,
    /// How many lists of entries there were.
    found: u64,
    index: u64,
}

/// The two texts of an entry that may be of any size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Request,
    Response,
}

/// Reads one member of an object that a walk has come to.
type ReadMember<'a, 'g, 'r> =
    dyn FnMut(&mut Walk<'g, 'r>, &str, &mut Room) -> Result<Option<Value>, Error> + 'a;

impl<'g, 'r> Walk<'g, 'r> {
    fn file(&mut self) -> Result<(), Error> {
        self.expect(Kind::Object, "an object with a `log`")?;
        let mut first = true;
        self.reader.enter();
        while let Some(name) = self.reader.member(&mut first)? {
            if name == "log" {
                self.expect(Kind::Object, "a `log` object")?;
                self.log()?;
            } else {
                self.reader.skip()?;
            }
        }
        Ok(())
    }

    fn log(&mut self) -> Result<(), Error> {
        let mut first = true;
        self.reader.enter();
        while let Some(name) = self.reader.member(&mut first)? {
            match name.as_str() {
                "entries" => {
                    self.expect(Kind::List, "a list of `entries`")?;
                    self.entries()?;
                }
                "version" => self.reader.skip()?,
                _ => {
                    let value = tree(&mut self.reader, &mut self.room)?;
                    self.facts.log.insert(name, value);
                }
            }
        }
        Ok(())
    }

    fn expect(&mut self, wanted: Kind, words: &str) -> Result<(), Error> {
        let found = match self.reader.kind()? {
            kind if kind == wanted => return Ok(()),
            Kind::Object => "an object",
            Kind::List => "a list",
            Kind::Text => "text",
            Kind::Number => "a number",
            Kind::True | Kind::False => "true or false",
            Kind::Null => "null",
        };
        // Whether the rest is JSON tells a wrong file from a broken one.
        self.reader.skip()?;
        Err(not_har(format!("found {found}, expected {words}")))
    }

    fn entries(&mut self) -> Result<(), Error> {
        self.found += 1;
        let mut first = true;
        self.reader.enter();
        while self.reader.item(&mut first)? {
            self.reader.input.gauge.replaced.set(0);
            let mut entry = RawEntry { index: self.index, ..RawEntry::default() };
            let mut room = Room::default();
            entry.value = match self.reader.kind()? {
                Kind::Object => Value::Object(self.entry(&mut entry, &mut room)?),
                _ => tree(&mut self.reader, &mut room)?,
            };
            entry.notes.extend(room.notes());
            let replaced = self.reader.input.gauge.replaced.take();
            if replaced > 0 {
                entry
                    .notes
                    .push(format!("{replaced} characters that are no Unicode were replaced by U+FFFD"));
            }
            self.to.entry(entry)?;
            self.index += 1;
        }
        Ok(())
    }

    fn entry(&mut self, entry: &mut RawEntry, room: &mut Room) -> Result<Map<String, Value>, Error> {
        self.object(room, &mut |walk, name, room| {
            let kind = walk.reader.kind()?;
            Ok(Some(match (name, kind) {
                ("request", Kind::Object) => {
                    Value::Object(walk.message(entry, room, "postData", Side::Request)?)
                }
                ("response", Kind::Object) => {
                    Value::Object(walk.message(entry, room, "content", Side::Response)?)
                }
                ("_webSocketMessages", Kind::List) => {
                    walk.messages(entry)?;
                    return Ok(None);
                }
                _ => tree(&mut walk.reader, room)?,
            }))
        })
    }

    /// Reads a request or response, whose body is in its member `part`.
    fn message(
        &mut self,
        entry: &mut RawEntry,
        room: &mut Room,
        part: &str,
        side: Side,
    ) -> Result<Map<String, Value>, Error> {
        self.object(room, &mut |walk, name, room| {
            if name != part || walk.reader.kind()? != Kind::Object {
                return tree(&mut walk.reader, room).map(Some);
            }
            let content = walk.object(room, &mut |walk, name, room| {
                if name == "text" && walk.reader.kind()? == Kind::Text {
                    walk.body(entry, side)?;
                    return Ok(None);
                }
                tree(&mut walk.reader, room).map(Some)
            })?;
            Ok(Some(Value::Object(content)))
        })
    }

    /// Reads an object whose members `read` reads; what it gives is kept.
    fn object(
        &mut self,
        room: &mut Room,
        read: &mut ReadMember<'_, 'g, 'r>,
    ) -> Result<Map<String, Value>, Error> {
        let mut values = Map::new();
        let mut first = true;
        self.reader.enter();
        while let Some(name) = self.reader.member(&mut first)? {
            if !take_value(room) {
                self.reader.skip()?;
            } else if let Some(value) = read(self, &name, room)? {
                values.insert(name, value);
            }
        }
        Ok(values)
    }

    fn body(&mut self, entry: &mut RawEntry, side: Side) -> Result<(), Error> {
        let depot = self.to.depot();
        let place = match side {
            Side::Request => &mut entry.request_text,
            Side::Response => &mut entry.response_text,
        };
        // Of two texts the last one counts.
        if let Some(earlier) = place.take() {
            depot.discard(earlier);
        }
        let body = place.insert(ImportBody::default());
        self.reader.text(&mut |piece| depot.append(body, piece.as_bytes()))
    }

    fn messages(&mut self, entry: &mut RawEntry) -> Result<(), Error> {
        let mut first = true;
        self.reader.enter();
        while self.reader.item(&mut first)? {
            let mut room = Room::default();
            let message = tree(&mut self.reader, &mut room)?;
            entry.messages.add(message, room.cut > 0, self.to.depot())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::{Memory, raw};
