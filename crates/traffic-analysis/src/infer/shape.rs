//! What values have in common: a schema in the making, merged sample by sample.

use std::collections::{BTreeMap, BTreeSet};

use capture_store::path_template;
use serde_json::{Map, Value, json};

use super::{auth::is_secret_name, format::Formats};

/// Levels of a value that are looked into.
const MAX_DEPTH: usize = 16;
/// Properties of one object that are told apart; further ones are described together.
const MAX_PROPERTIES: usize = 256;
/// Items of an array that are looked at.
const MAX_ITEMS: usize = 100;
/// Values an enumeration may have.
const MAX_ENUM: usize = 10;
/// Bytes of one value of an enumeration.
const MAX_ENUM_BYTES: usize = 40;
/// Samples below which no enumeration is told.
const MIN_ENUM_SAMPLES: u64 = 6;
/// Bytes of a property's name that is told apart.
const MAX_NAME: usize = 256;

/// The shape of values seen in one place.
#[derive(Clone, Debug, Default)]
pub(super) struct Shape {
    samples: u64,
    nulls: u64,
    booleans: u64,
    integers: Option<(i64, i64)>,
    numbers: u64,
    strings: Option<Strings>,
    arrays: u64,
    items: Option<Box<Shape>>,
    object: Option<Fields>,
}

#[derive(Clone, Debug)]
struct Strings {
    count: u64,
    formats: Formats,
    /// At most one more than an enumeration may have.
    values: BTreeSet<String>,
}

#[derive(Clone, Debug, Default)]
struct Fields {
    count: u64,
    properties: BTreeMap<String, Property>,
    /// Properties beyond what is told apart.
    rest: Option<Box<Shape>>,
}

#[derive(Clone, Debug, Default)]
struct Property {
    present: u64,
    shape: Shape,
}

impl Shape {
    /// Takes note of a value.
    pub(super) fn add(&mut self, value: &Value) {
        self.add_at(value, 0);
    }

    fn add_at(&mut self, value: &Value, depth: usize) {
        self.samples += 1;
        match value {
            Value::Null => self.nulls += 1,
            Value::Bool(_) => self.booleans += 1,
            Value::Number(number) => match number.as_i64() {
                Some(whole) => self.add_integer(whole, whole),
                None => self.numbers += 1,
            },
            Value::String(text) => self.add_text(text),
            Value::Array(_) | Value::Object(_) if depth >= MAX_DEPTH => {}
            Value::Array(items) => {
                self.arrays += 1;
                for item in items.iter().take(MAX_ITEMS) {
                    self.items.get_or_insert_default().add_at(item, depth + 1);
                }
            }
            Value::Object(object) => {
                let fields = self.object.get_or_insert_default();
                fields.count += 1;
                for (name, value) in object {
                    fields.place(name).add_at(value, depth + 1);
                }
            }
        }
    }

    fn add_integer(&mut self, low: i64, high: i64) {
        let (least, most) = self.integers.unwrap_or((low, high));
        self.integers = Some((least.min(low), most.max(high)));
    }

    fn add_text(&mut self, text: &str) {
        let formats = Formats::of(text);
        let strings =
            self.strings.get_or_insert_with(|| Strings { count: 0, formats, values: BTreeSet::new() });
        strings.count += 1;
        strings.formats = strings.formats.and(formats);
        if strings.values.len() <= MAX_ENUM {
            strings.values.insert(text.chars().take(MAX_ENUM_BYTES + 1).collect());
        }
    }

    /// Takes note of a text of a URL or a form, which may stand for a number or a truth value.
    pub(super) fn add_typed(&mut self, text: &str) {
        self.add(&typed(text));
    }

    /// Adds what another shape saw.
    pub(super) fn merge(&mut self, other: Self) {
        self.samples += other.samples;
        self.nulls += other.nulls;
        self.booleans += other.booleans;
        self.numbers += other.numbers;
        self.arrays += other.arrays;
        if let Some((low, high)) = other.integers {
            self.add_integer(low, high);
        }
        match (&mut self.strings, other.strings) {
            (Some(ours), Some(theirs)) => ours.merge(theirs),
            (ours @ None, theirs) => *ours = theirs,
            (Some(_), None) => {}
        }
        if let Some(items) = other.items {
            self.items.get_or_insert_default().merge(*items);
        }
        if let Some(theirs) = other.object {
            let ours = self.object.get_or_insert_default();
            ours.count += theirs.count;
            for (name, property) in theirs.properties {
                let place = ours.property(&name);
                place.0.merge(property.shape);
                if let Some(present) = place.1 {
                    *present += property.present;
                }
            }
            if let Some(rest) = theirs.rest {
                ours.rest.get_or_insert_default().merge(*rest);
            }
        }
    }

    /// The values seen as a JSON Schema. `name` is that of the property or parameter.
    pub(super) fn schema(&self, name: &str) -> Value {
        let mut schema = Map::new();
        let kinds = self.kinds();
        match kinds.as_slice() {
            [] => {}
            [kind] => {
                schema.insert("type".to_owned(), json!(kind));
            }
            kinds => {
                schema.insert("type".to_owned(), json!(kinds));
            }
        }
        if self.numbers == 0
            && self
                .integers
                .is_some_and(|(low, high)| i32::try_from(low).is_err() || i32::try_from(high).is_err())
        {
            schema.insert("format".to_owned(), json!("int64"));
        }
        if let Some(strings) = &self.strings {
            strings.describe(
                name,
                self.nulls > 0,
                kinds.len() - usize::from(self.nulls > 0) == 1,
                &mut schema,
            );
        }
        if self.arrays > 0 {
            let items = self.items.as_ref().map_or_else(|| json!({}), |items| items.schema(name));
            schema.insert("items".to_owned(), items);
        }
        if let Some(fields) = &self.object {
            fields.describe(&mut schema);
        }
        Value::Object(schema)
    }

    /// As a schema for what a URL carries, where everything is text.
    pub(super) fn parameter_schema(&self, name: &str) -> Value {
        let mut schema = self.schema(name);
        if self.strings.is_some() && self.kinds().len() > 1 {
            schema = json!({"type": "string"});
        }
        schema
    }

    fn kinds(&self) -> Vec<&'static str> {
        let whole = self.numbers == 0 && self.integers.is_some();
        [
            ("object", self.object.is_some()),
            ("array", self.arrays > 0),
            ("string", self.strings.is_some()),
            ("integer", whole),
            ("number", self.numbers > 0),
            ("boolean", self.booleans > 0),
            ("null", self.nulls > 0),
        ]
        .into_iter()
        .filter_map(|(kind, seen)| seen.then_some(kind))
        .collect()
    }
}

impl Strings {
    fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.formats = self.formats.and(other.formats);
        for value in other.values {
            if self.values.len() <= MAX_ENUM {
                self.values.insert(value);
            }
        }
    }

    fn describe(&self, name: &str, nullable: bool, alone: bool, schema: &mut Map<String, Value>) {
        if let Some(format) = self.formats.name() {
            schema.insert("format".to_owned(), json!(format));
            return;
        }
        let word = |value: &String| {
            !value.is_empty()
                && value.len() <= MAX_ENUM_BYTES
                && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.:/ ".contains(&byte))
                && value.bytes().any(|byte| byte.is_ascii_alphabetic())
        };
        let few = self.values.len() <= MAX_ENUM
            && self.count >= MIN_ENUM_SAMPLES
            && self.values.len() as u64 * 2 <= self.count;
        if alone && few && !is_secret_name(name) && self.values.iter().all(word) {
            let mut values: Vec<Value> = self.values.iter().map(|value| json!(value)).collect();
            if nullable {
                values.push(Value::Null);
            }
            schema.insert("enum".to_owned(), Value::Array(values));
        }
    }
}

impl Fields {
    /// The shape a property is noted in, counted as present.
    fn place(&mut self, name: &str) -> &mut Shape {
        let (shape, present) = self.property(name);
        if let Some(present) = present {
            *present += 1;
        }
        shape
    }

    fn property(&mut self, name: &str) -> (&mut Shape, Option<&mut u64>) {
        let known = self.properties.contains_key(name);
        if !known && (self.properties.len() >= MAX_PROPERTIES || name.len() > MAX_NAME) {
            return (self.rest.get_or_insert_default(), None);
        }
        let property = self.properties.entry(name.to_owned()).or_default();
        (&mut property.shape, Some(&mut property.present))
    }

    /// Tells whether the names are data: ids, dates, or ever other ones.
    fn is_map(&self) -> bool {
        /// Fewer names than this are looked at one by one.
        const FEW: usize = 3;
        let count = self.properties.len();
        if count < FEW {
            return false;
        }
        let telling = |name: &String| path_template(&format!("/{name}")).contains('{');
        let ids = self.properties.keys().filter(|name| telling(name)).count();
        let present: u64 = self.properties.values().map(|property| property.present).sum();
        let rarely = count > 64 && present.saturating_mul(5) < count as u64 * self.count;
        ids * 5 >= count * 4 || rarely || self.rest.is_some()
    }

    fn describe(&self, schema: &mut Map<String, Value>) {
        if self.is_map() {
            let mut merged = Shape::default();
            for property in self.properties.values() {
                merged.merge(property.shape.clone());
            }
            if let Some(rest) = &self.rest {
                merged.merge((**rest).clone());
            }
            schema.insert("additionalProperties".to_owned(), merged.schema(""));
            return;
        }
        let properties: Map<String, Value> = self
            .properties
            .iter()
            .map(|(name, property)| (name.clone(), property.shape.schema(name)))
            .collect();
        let required: Vec<&String> = self
            .properties
            .iter()
            .filter(|(_, property)| property.present >= self.count)
            .map(|(name, _)| name)
            .collect();
        if !required.is_empty() {
            schema.insert("required".to_owned(), json!(required));
        }
        schema.insert("properties".to_owned(), Value::Object(properties));
    }
}

/// A text as the value it writes: a whole number, a number, `true` or `false`, or itself.
pub(super) fn typed(text: &str) -> Value {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = digits == "0" || (!digits.starts_with('0') && !digits.is_empty());
    if plain && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse::<i64>().map_or_else(|_| json!(text), |number| json!(number));
    }
    match text {
        "true" => json!(true),
        "false" => json!(false),
        _ => match digits.split_once('.') {
            Some((whole, part))
                if !whole.is_empty()
                    && !part.is_empty()
                    && (whole == "0" || !whole.starts_with('0'))
                    && whole.bytes().chain(part.bytes()).all(|byte| byte.is_ascii_digit()) =>
            {
                text.parse::<f64>()
                    .ok()
                    .filter(|number| number.is_finite())
                    .map_or_else(|| json!(text), |n| json!(n))
            }
            _ => json!(text),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(samples: &[Value]) -> Value {
        let mut shape = Shape::default();
        samples.iter().for_each(|sample| shape.add(sample));
        shape.schema("x")
    }

    #[test]
    fn samples_become_schemas() {
        for (samples, want) in [
            (vec![json!(1), json!(2)], json!({"type": "integer"})),
            (vec![json!(1), json!(5_000_000_000_i64)], json!({"type": "integer", "format": "int64"})),
            (vec![json!(1), json!(2.5)], json!({"type": "number"})),
            (vec![json!("a"), json!(null)], json!({"type": ["string", "null"]})),
            (vec![json!("2026-11-21"), json!("2026-11-22")], json!({"type": "string", "format": "date"})),
            (vec![json!([])], json!({"type": "array", "items": {}})),
            (vec![json!([1, "a"])], json!({"type": "array", "items": {"type": ["string", "integer"]}})),
            (
                vec![json!({"a": 1, "b": null}), json!({"a": 2})],
                json!({"type": "object", "required": ["a"], "properties": {
                    "a": {"type": "integer"}, "b": {"type": "null"}}}),
            ),
            (
                vec![json!({"1001": {"n": 1}, "1002": {"n": 2}, "1003": {"n": 3}})],
                json!({"type": "object", "additionalProperties": {"type": "object", "required": ["n"],
                    "properties": {"n": {"type": "integer"}}}}),
            ),
        ] {
            assert_eq!(schema(&samples), want, "{samples:?}");
        }
    }

    #[test]
    fn few_words_that_come_again_are_an_enumeration() {
        let words: Vec<Value> = (0..8).map(|n| json!(["open", "closed"][n % 2])).collect();
        assert_eq!(schema(&words), json!({"type": "string", "enum": ["closed", "open"]}));
        let nullable: Vec<Value> = words.iter().cloned().chain([Value::Null]).collect();
        assert_eq!(schema(&nullable), json!({"type": ["string", "null"], "enum": ["closed", "open", null]}));
        assert_eq!(schema(&words[..4]), json!({"type": "string"}));
        let many: Vec<Value> = (0..40).map(|n| json!(format!("word{}", n % 20))).collect();
        assert_eq!(schema(&many), json!({"type": "string"}));
        let mut secret = Shape::default();
        words.iter().for_each(|word| secret.add(word));
        assert_eq!(secret.schema("password"), json!({"type": "string"}));
    }

    #[test]
    fn merging_is_seeing_both() {
        let samples = [
            json!({"a": 1, "c": "2026-11-21"}),
            json!({"a": 2.5, "b": [1]}),
            json!(null),
            json!({"a": "x", "c": "no date", "b": ["y"]}),
        ];
        let (mut left, mut right) = (Shape::default(), Shape::default());
        samples[..2].iter().for_each(|sample| left.add(sample));
        samples[2..].iter().for_each(|sample| right.add(sample));
        left.merge(right);
        assert_eq!(left.schema("x"), schema(&samples));
    }

    #[test]
    fn what_is_too_deep_or_too_wide_is_bounded() {
        let mut deep = json!(1);
        for _ in 0..100 {
            deep = json!([deep]);
        }
        assert!(schema(&[deep]).to_string().len() < 1000);
        let wide: Map<String, Value> = (0..5000).map(|n| (format!("name{n}x"), json!(1))).collect();
        let wide = schema(&[Value::Object(wide)]);
        assert_eq!(wide, json!({"type": "object", "additionalProperties": {"type": "integer"}}));
    }

    #[test]
    fn texts_of_urls_are_read_as_what_they_write() {
        for (text, want) in [
            ("12", json!(12)),
            ("-3", json!(-3)),
            ("007", json!("007")),
            ("0", json!(0)),
            ("1.50", json!(1.5)),
            ("true", json!(true)),
            ("", json!("")),
            ("-", json!("-")),
            ("99999999999999999999", json!("99999999999999999999")),
        ] {
            assert_eq!(typed(text), want, "{text}");
        }
    }
}
