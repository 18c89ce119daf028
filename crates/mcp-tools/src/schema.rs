//! Schemas as they go to clients: what schemars derives from our types, brought into one plain form and without what
//! costs bytes and tells an agent nothing.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

/// An input schema with references resolved, optional arguments not nullable, and nothing beyond the properties
/// allowed.
pub(crate) fn input(schema: &Map<String, Value>) -> Map<String, Value> {
    let mut schema = plain(schema);
    let required: Vec<Value> = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        for (name, property) in properties {
            if !required.iter().any(|r| r == name) {
                not_null(property);
            }
        }
    } else {
        schema.insert("properties".to_owned(), json!({}));
    }
    schema.insert("additionalProperties".to_owned(), json!(false));
    schema
}

/// Arguments that many tools have, and whose name, type and bounds say enough.
const PLAIN: &[&str] = &[
    "exchange_id",
    "from_ts",
    "hostname_contains",
    "hostname_filter",
    "limit",
    "method",
    "method_filter",
    "offset",
    "sort",
    "status_code",
    "status_filter",
    "to_ts",
    "url_contains",
    "url_filter",
];

/// An input schema for the wire: without what costs bytes and tells an agent nothing.
pub(crate) fn input_on_the_wire(schema: &Map<String, Value>) -> Map<String, Value> {
    let mut schema = schema.clone();
    // An argument that does not exist is refused with the nearest name.
    schema.remove("additionalProperties");
    let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
    for (name, property) in properties.into_iter().flatten() {
        let Some(map) = property.as_object_mut() else { continue };
        // Lengths of texts and lists, and what is empty, are refused by name when it comes to it.
        for length in ["minLength", "maxLength", "minItems", "maxItems"] {
            map.remove(length);
        }
        if let Some(items) = map.get_mut("items").and_then(Value::as_object_mut) {
            items.remove("maxLength");
        }
        if map.get("minimum").and_then(Value::as_f64) == Some(0.0) {
            map.remove("minimum");
        }
        let nothing = [json!(false), json!([]), json!(0)];
        if map.get("default").is_some_and(|given| nothing.contains(given)) {
            map.remove("default");
        }
        if PLAIN.contains(&name.as_str()) {
            map.remove("description");
        }
    }
    schema
}

/// What a client has read already, going through a list of tools: arguments with what is said of them.
pub(crate) type Told = BTreeSet<(String, String)>;

/// An input schema without descriptions of arguments that were told before, in the same words, at an argument of the same
/// name: one list of tools says things once.
pub(crate) fn said_once(schema: &Map<String, Value>, told: &mut Told) -> Map<String, Value> {
    let mut schema = schema.clone();
    forget_told(&mut schema, told);
    schema
}

fn forget_told(schema: &mut Map<String, Value>, told: &mut Told) {
    let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
    for (name, property) in properties.into_iter().flatten() {
        let Some(map) = property.as_object_mut() else { continue };
        if let Some(said) = map.get("description").and_then(Value::as_str)
            && !told.insert((name.clone(), said.to_owned()))
        {
            map.remove("description");
        }
        forget_told(map, told);
    }
}

/// An output schema with everything described, for documents.
pub(crate) fn output(schema: &Map<String, Value>) -> Map<String, Value> {
    plain(schema)
}

/// An output schema for the wire: the names and types of the first level, loose enough to hold the error object
/// too, because clients check `structuredContent` against it whether the call failed or not.
///
/// The rest is in docs/tools.md, which clients do not pay for.
pub(crate) fn output_on_the_wire(schema: &Map<String, Value>) -> Map<String, Value> {
    let mut properties = Map::new();
    for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        // "success", "active" and the like become "error" when the call failed; every tool has it.
        let slim = if name == "status" { json!({}) } else { outline(property) };
        properties.insert(name.clone(), slim);
    }
    let mut slim = Map::new();
    slim.insert("type".to_owned(), json!("object"));
    slim.insert("properties".to_owned(), Value::Object(properties));
    slim
}

/// A value's type, if it has one only.
fn outline(schema: &Value) -> Value {
    match schema.get("type").and_then(Value::as_str) {
        Some(kind) => json!({"type": kind}),
        None => json!({}),
    }
}

/// Resolves references in place and drops what JSON Schema says about the schema rather than the value.
fn plain(schema: &Map<String, Value>) -> Map<String, Value> {
    let definitions = schema.get("$defs").and_then(Value::as_object).cloned().unwrap_or_default();
    let mut value = Value::Object(schema.clone());
    inline(&mut value, &definitions, 0);
    strip(&mut value, &["$schema", "$defs", "title", "format"]);
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// How deep our own types nest at most; beyond it a reference is left as it is.
const MAX_DEPTH: usize = 16;

fn inline(value: &mut Value, definitions: &Map<String, Value>, depth: usize) {
    if depth > MAX_DEPTH {
        return;
    }
    match value {
        Value::Object(map) => {
            let target = map
                .get("$ref")
                .and_then(Value::as_str)
                .and_then(|path| path.strip_prefix("#/$defs/"))
                .and_then(|name| definitions.get(name))
                .and_then(Value::as_object)
                .cloned();
            if let Some(target) = target {
                map.remove("$ref");
                for (key, value) in target {
                    // What stands beside the reference (a field's own description) wins.
                    map.entry(key).or_insert(value);
                }
            }
            flatten_enum(map);
            for value in map.values_mut() {
                inline(value, definitions, depth + 1);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| inline(item, definitions, depth + 1)),
        _ => {}
    }
}

/// schemars writes an enum with documented variants as `oneOf` constants; one `enum` says the same.
fn flatten_enum(map: &mut Map<String, Value>) {
    let Some(variants) = map.get("oneOf").and_then(Value::as_array) else { return };
    let constants: Option<Vec<Value>> =
        variants.iter().map(|variant| variant.get("const").cloned()).collect();
    if let Some(constants) = constants {
        map.remove("oneOf");
        map.insert("type".to_owned(), json!("string"));
        map.insert("enum".to_owned(), Value::Array(constants));
    }
}

/// Removes keywords, but never properties that happen to be called like them.
fn strip(value: &mut Value, keywords: &[&str]) {
    match value {
        Value::Object(map) => {
            map.retain(|key, _| !keywords.contains(&key.as_str()));
            for (key, value) in map {
                if key == "properties" {
                    for property in value.as_object_mut().into_iter().flat_map(Map::values_mut) {
                        strip(property, keywords);
                    }
                } else if key != "default" && key != "enum" {
                    strip(value, keywords);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| strip(item, keywords)),
        _ => {}
    }
}

/// An optional argument is left out, not null (and null is taken as left out).
fn not_null(property: &mut Value) {
    let Some(map) = property.as_object_mut() else { return };
    if map.get("default").is_some_and(Value::is_null) {
        map.remove("default");
    }
    if let Some(kinds) = map.get("type").and_then(Value::as_array) {
        let kinds: Vec<Value> = kinds.iter().filter(|kind| *kind != "null").cloned().collect();
        let kinds = if let [kind] = kinds.as_slice() { kind.clone() } else { Value::Array(kinds) };
        map.insert("type".to_owned(), kinds);
    }
    if let Some(Value::Array(choices)) = map.get("anyOf").cloned() {
        let choices: Vec<Value> =
            choices.into_iter().filter(|choice| choice.get("type") != Some(&json!("null"))).collect();
        if let [Value::Object(choice)] = choices.as_slice() {
            map.remove("anyOf");
            for (key, value) in choice {
                map.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
    }
    if let Some(Value::Array(allowed)) = map.get_mut("enum") {
        allowed.retain(|value| !value.is_null());
    }
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;
    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Deserialize, Serialize, JsonSchema)]
    #[serde(rename_all = "lowercase")]
    enum Sort {
        /// Up.
        Asc,
        /// Down.
        Desc,
    }

    #[derive(Deserialize, Serialize, JsonSchema)]
    struct Params {
        /// The title, a property.
        title: String,
        sort: Option<Sort>,
        #[schemars(range(max = 9))]
        limit: Option<u32>,
    }

    fn schema() -> Map<String, Value> {
        let generator = schemars::generate::SchemaSettings::draft2020_12().into_generator();
        match serde_json::to_value(generator.into_root_schema_for::<Params>()).unwrap() {
            Value::Object(map) => map,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn inputs_come_out_flat() {
        let schema = Value::Object(input(&schema()));
        let want = json!({
            "type": "object",
            "additionalProperties": false,
            "required": ["title"],
            "properties": {
                "title": {"type": "string", "description": "The title, a property."},
                "sort": {"type": "string", "enum": ["asc", "desc"]},
                "limit": {"type": "integer", "minimum": 0, "maximum": 9},
            },
        });
        assert_eq!(schema, want);
    }

    #[test]
    fn inputs_on_the_wire_say_things_once() {
        let schema = json!({
            "type": "object",
            "properties": {
                "limit": {"type": "integer", "minimum": 1, "description": "At most."},
                "name": {"type": "string", "minLength": 1, "maxLength": 9, "description": "Whose."},
                "matcher": {"type": "object", "description": "Which.", "properties": {
                    "description": {"type": "string", "description": "A part that is called like a keyword."},
                }},
            },
        });
        let Value::Object(schema) = schema else { unreachable!() };
        let wire = input_on_the_wire(&schema);
        let mut told = Told::new();
        let first = Value::Object(said_once(&wire, &mut told));
        assert_eq!(first["properties"]["limit"], json!({"type": "integer", "minimum": 1}));
        assert_eq!(first["properties"]["name"], json!({"type": "string", "description": "Whose."}));
        assert_eq!(first["properties"]["matcher"], schema["properties"]["matcher"]);
        let second = Value::Object(said_once(&wire, &mut told));
        assert_eq!(second["properties"]["name"], json!({"type": "string"}));
        let parts = json!({"description": {"type": "string"}});
        assert_eq!(second["properties"]["matcher"], json!({"type": "object", "properties": parts}));
    }

    #[test]
    fn outputs_on_the_wire_are_an_outline() {
        let schema = json!({
            "type": "object",
            "required": ["status", "rows"],
            "properties": {
                "status": {"enum": ["success"], "type": "string"},
                "rows": {"type": "array", "items": {"type": "object", "properties": {"id": {"type": "string"}}}},
                "names": {"type": "array", "items": {"type": "string"}},
                "port": {"type": ["integer", "null"], "description": "Where."},
                "next": {"anyOf": [{"type": "object"}, {"type": "null"}]},
            },
        });
        let Value::Object(schema) = schema else { unreachable!() };
        let want = json!({
            "type": "object",
            "properties": {
                "status": {},
                "rows": {"type": "array"},
                "names": {"type": "array"},
                "port": {},
                "next": {},
            },
        });
        assert_eq!(Value::Object(output_on_the_wire(&schema)), want);
    }
}
