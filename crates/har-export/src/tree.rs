//! One JSON value read into memory, with a bound on what it may take.

use serde_json::{Map, Number, Value};

use crate::{
    error::Error,
    input::Gauge,
    json_reader::{JsonReader, Kind},
    text::beginning,
};

/// How deep the values of a tree lie within each other at most; what is deeper is left out.
const MAX_DEPTH: usize = 100;

/// What may still be read, and what was left out for it.
#[derive(Debug)]
pub(crate) struct Room {
    /// Values.
    pub(crate) values: usize,
    /// Bytes of texts.
    pub(crate) text_bytes: usize,
    /// Whether values were left out.
    pub(crate) left_out: bool,
    /// Whether something lay too deep.
    pub(crate) too_deep: bool,
    /// Texts that were cut.
    pub(crate) cut: u64,
}

/// Values one entry may be made of, its messages aside: two bytes of JSON can take a hundred in memory.
pub(crate) const MAX_VALUES: usize = 200_000;

/// Bytes of texts in one entry, bodies and messages aside.
pub(crate) const MAX_TEXT_BYTES: usize = 8 * 1024 * 1024;

impl Default for Room {
    fn default() -> Self {
        Self { values: MAX_VALUES, text_bytes: MAX_TEXT_BYTES, left_out: false, too_deep: false, cut: 0 }
    }
}

impl Room {
    /// What was left out, in words.
    pub(crate) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.left_out {
            notes.push(format!("it is made of more than {MAX_VALUES} values, the rest was left out"));
        }
        if self.too_deep {
            notes.push(format!("what lies more than {MAX_DEPTH} levels deep was left out"));
        }
        if self.cut > 0 {
            let cut = self.cut;
            notes.push(format!(
                "{cut} of its texts were cut: all but bodies take more than {MAX_TEXT_BYTES} bytes"
            ));
        }
        notes
    }
}

/// Reads the value that comes next. Beyond its room the rest is skipped.
pub(crate) fn tree(reader: &mut JsonReader<'_>, room: &mut Room) -> Result<Value, Error> {
    value(reader, room, 0)
}

/// Reads a JSON text of ours; `None` where it is none. Numbers come back to their last digit, which serde_json does not
/// promise.
pub(crate) fn parse(text: &str) -> Option<Value> {
    let gauge = Gauge::default();
    let mut reader = JsonReader::new(text.as_bytes(), &gauge).ok()?;
    let value = tree(&mut reader, &mut Room::default()).ok()?;
    reader.end().ok()?;
    Some(value)
}

fn value(reader: &mut JsonReader<'_>, room: &mut Room, depth: usize) -> Result<Value, Error> {
    let kind = reader.kind()?;
    if matches!(kind, Kind::Object | Kind::List) && depth >= MAX_DEPTH {
        room.too_deep = true;
        reader.skip()?;
        return Ok(Value::Null);
    }
    Ok(match kind {
        Kind::Object => Value::Object(object(reader, room, depth)?),
        Kind::List => Value::Array(list(reader, room, depth)?),
        Kind::Text => Value::String(text(reader, room)?),
        Kind::Number => number(&reader.number()?),
        Kind::True => {
            reader.word("true")?;
            Value::Bool(true)
        }
        Kind::False => {
            reader.word("false")?;
            Value::Bool(false)
        }
        Kind::Null => {
            reader.word("null")?;
            Value::Null
        }
    })
}

fn list(reader: &mut JsonReader<'_>, room: &mut Room, depth: usize) -> Result<Vec<Value>, Error> {
    let mut values = Vec::new();
    let mut first = true;
    reader.enter();
    while reader.item(&mut first)? {
        if take_value(room) {
            values.push(value(reader, room, depth + 1)?);
        } else {
            reader.skip()?;
        }
    }
    Ok(values)
}

fn object(reader: &mut JsonReader<'_>, room: &mut Room, depth: usize) -> Result<Map<String, Value>, Error> {
    let mut values = Map::new();
    let mut first = true;
    reader.enter();
    while let Some(name) = reader.member(&mut first)? {
        if take_value(room) {
            values.insert(name, value(reader, room, depth + 1)?);
        } else {
            reader.skip()?;
        }
    }
    Ok(values)
}

/// Takes the room of a value; false where there is none left.
pub(crate) fn take_value(room: &mut Room) -> bool {
    if room.values == 0 {
        room.left_out = true;
        return false;
    }
    room.values -= 1;
    true
}

fn text(reader: &mut JsonReader<'_>, room: &mut Room) -> Result<String, Error> {
    let mut text = String::new();
    let mut is_cut = false;
    reader.text(&mut |piece| {
        let kept = beginning(piece, room.text_bytes);
        text.push_str(kept);
        room.text_bytes -= kept.len();
        is_cut |= kept.len() < piece.len();
        Ok(())
    })?;
    room.cut += u64::from(is_cut);
    Ok(text)
}

/// The value of a number as it is written; one that no double holds is the largest that one does.
fn number(text: &str) -> Value {
    if let Ok(whole) = text.parse::<i64>() {
        return Value::from(whole);
    }
    if let Ok(whole) = text.parse::<u64>() {
        return Value::from(whole);
    }
    let float = text.parse::<f64>().unwrap_or_default().clamp(f64::MIN, f64::MAX);
    Number::from_f64(float).map_or(Value::Null, Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str, mut room: Room) -> (Value, Room) {
        let gauge = Gauge::default();
        let mut reader = JsonReader::new(json.as_bytes(), &gauge).unwrap();
        let value = tree(&mut reader, &mut room).unwrap();
        reader.end().unwrap();
        (value, room)
    }

    #[test]
    fn beyond_its_room_a_tree_is_cut_but_read_to_its_end() {
        for json in [r#"[1,[2,3,{"a":4}],5]"#, r#"{"a":{"b":{"c":1}},"d":2,"e":3}"#] {
            for values in 0..5 {
                assert!(read(json, Room { values, ..Room::default() }).1.left_out);
            }
            assert!(!read(json, Room { values: 7, ..Room::default() }).1.left_out);
        }
        let (value, room) = read(r#"["abc","d€f","g"]"#, Room { text_bytes: 5, ..Room::default() });
        assert_eq!((value, room.cut), (serde_json::json!(["abc", "d", "g"]), 1));
    }

    #[test]
    fn of_two_members_with_one_name_the_last_counts() {
        let json = r#"{"a":[1,-2,3.5,true,null,"x\n",{}],"b":{"c":[]},"a2":1,"a2":2}"#;
        assert_eq!(read(json, Room::default()).0, serde_json::from_str::<Value>(json).unwrap());
    }
}
