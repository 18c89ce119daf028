//! One JSON value read into memory, with a bound on how many values it may be made of.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Reads a value. Once `room` values are read, the rest of every list and object is skipped and `room` stays 0:
/// two bytes of JSON can take a hundred in memory.
pub(crate) struct Tree<'a> {
    pub(crate) room: &'a mut usize,
}

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while *self.room > 0 {
            *self.room -= 1;
            match list.next_element_seed(Tree { room: &mut *self.room })? {
                Some(value) => values.push(value),
                None => return Ok(Value::Array(values)),
            }
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        while *self.room > 0 {
            *self.room -= 1;
            let Some(key) = object.next_key::<String>()? else { return Ok(Value::Object(values)) };
            let value = object.next_value_seed(Tree { room: &mut *self.room })?;
            values.insert(key, value);
        }
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Value::Object(values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str, mut room: usize) -> (Value, usize) {
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let value = Tree { room: &mut room }.deserialize(&mut deserializer).unwrap();
        deserializer.end().unwrap();
        (value, room)
    }

    #[test]
    fn values_read_as_serde_json_reads_them() {
        let json = r#"{"a":[1,-2,3.5,true,null,"x\n",{}],"b":{"c":[]},"a2":1,"a2":2}"#;
        assert_eq!(read(json, 100).0, serde_json::from_str::<Value>(json).unwrap());
    }

    #[test]
    fn beyond_its_room_a_tree_is_cut_but_read_to_its_end() {
        for json in [r#"[1,[2,3,{"a":4}],5]"#, r#"{"a":{"b":{"c":1}},"d":2,"e":3}"#] {
            for room in 0..6 {
                assert_eq!(read(json, room).1, 0);
            }
            assert!(read(json, 50).1 > 0);
        }
    }
}
