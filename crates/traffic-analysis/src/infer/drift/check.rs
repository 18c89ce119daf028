//! A value held against a schema: what differs, by pointer.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{ChangeKind, spec::Spec};
use crate::infer::shape::typed;

/// Levels of a value that are looked into.
const MAX_DEPTH: usize = 32;
/// Differences of one body.
const MAX_FINDINGS: usize = 200;
/// Items of an array that are looked at.
const MAX_ITEMS: usize = 100;
/// Variants of one schema that are tried.
const MAX_VARIANTS: usize = 32;
/// Schemas that one body is held against, in all.
const MAX_STEPS: usize = 100_000;

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) kind: ChangeKind,
    pub(super) at: String,
    pub(super) detail: String,
}

/// Holds values against schemas.
pub(super) struct Checker<'s, 'd> {
    spec: &'s Spec<'d>,
    depth: usize,
    steps: usize,
    pub(super) findings: Vec<Finding>,
}

impl<'s, 'd> Checker<'s, 'd> {
    pub(super) fn new(spec: &'s Spec<'d>) -> Self {
        Self { spec, depth: 0, steps: 0, findings: Vec::new() }
    }

    fn find(&mut self, kind: ChangeKind, at: &str, detail: String) {
        let finding = Finding { kind, at: at.to_owned(), detail };
        if self.findings.len() < MAX_FINDINGS && !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    /// Notes how `value` differs from `schema`. `at` is where it stands.
    pub(super) fn check(&mut self, schema: &'d Value, value: &Value, at: &str) {
        self.steps += 1;
        if self.depth >= MAX_DEPTH || self.steps > MAX_STEPS {
            return;
        }
        self.depth += 1;
        let schema = self.spec.resolve(schema);
        match schema {
            Value::Bool(false) => {
                self.find(ChangeKind::TypeChange, at, "documented: nothing".to_owned());
            }
            Value::Object(map) => self.check_object(map, value, at),
            _ => {}
        }
        self.depth -= 1;
    }

    fn check_object(&mut self, schema: &'d Map<String, Value>, value: &Value, at: &str) {
        if !self.fits_type(schema, value, at) || value.is_null() {
            return;
        }
        let allowed = schema.get("enum").and_then(Value::as_array);
        if let Some(allowed) = allowed.filter(|allowed| !allowed.contains(value)) {
            let some: Vec<String> = allowed.iter().take(6).map(Value::to_string).collect();
            self.find(
                ChangeKind::NewValue,
                at,
                format!("documented: {}; came: {}", some.join(", "), brief(value)),
            );
        }
        for part in schema.get("allOf").and_then(Value::as_array).into_iter().flatten().take(MAX_VARIANTS) {
            self.check_part(part, value, at);
        }
        for key in ["oneOf", "anyOf"] {
            if let Some(variants) = schema.get(key).and_then(Value::as_array) {
                self.check_variants(variants, value, at);
            }
        }
        match value {
            Value::Object(object) => {
                self.check_fields(schema, object, at);
                self.check_unknown(schema, object, at);
            }
            Value::Array(items) => {
                let Some(schema) = schema.get("items") else { return };
                for item in items.iter().take(MAX_ITEMS) {
                    self.check(schema, item, &format!("{at}/*"));
                }
            }
            _ => {}
        }
    }

    /// A part of an `allOf`: fields it does not know may be another part's.
    fn check_part(&mut self, part: &'d Value, value: &Value, at: &str) {
        let before = self.findings.len();
        self.check(part, value, at);
        let own = format!("{at}/");
        let mut index = 0;
        self.findings.retain(|finding| {
            index += 1;
            let direct = finding.at.strip_prefix(&own).is_some_and(|rest| !rest.contains('/'));
            index <= before || finding.kind != ChangeKind::NewField || !direct
        });
    }

    /// Takes the variant that fits best.
    fn check_variants(&mut self, variants: &'d [Value], value: &Value, at: &str) {
        // A variant of another type is the last to be meant.
        let far = |findings: &[Finding]| {
            let other = findings.iter().any(|it| it.kind == ChangeKind::TypeChange && it.at == at);
            (other, findings.len())
        };
        let mut best: Option<Vec<Finding>> = None;
        for variant in variants.iter().take(MAX_VARIANTS) {
            let mut tried =
                Checker { spec: self.spec, depth: self.depth, steps: self.steps, findings: Vec::new() };
            tried.check(variant, value, at);
            self.steps = tried.steps;
            if best.as_ref().is_none_or(|best| far(&tried.findings) < far(best)) {
                best = Some(tried.findings);
            }
        }
        for finding in best.into_iter().flatten() {
            self.find(finding.kind, &finding.at, finding.detail);
        }
    }

    fn fits_type(&mut self, schema: &Map<String, Value>, value: &Value, at: &str) -> bool {
        let kinds: Vec<&str> = match schema.get("type") {
            Some(Value::String(kind)) => vec![kind],
            Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
            _ => return true,
        };
        let nullable = schema.get("nullable").and_then(Value::as_bool).unwrap_or(false);
        if (value.is_null() && nullable) || kinds.iter().any(|kind| is_kind(value, kind)) {
            return true;
        }
        let detail = format!("documented: {}; came: {}", kinds.join(" or "), kind_of(value));
        self.find(ChangeKind::TypeChange, at, detail);
        false
    }

    fn check_fields(&mut self, schema: &'d Map<String, Value>, object: &Map<String, Value>, at: &str) {
        for name in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
            let name = name.as_str().unwrap_or_default();
            if !object.contains_key(name) {
                self.find(ChangeKind::MissingField, &field(at, name), "documented as required".to_owned());
            }
        }
        let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
        for (name, value) in object {
            if let Some(schema) = properties.get(name) {
                self.check(schema, value, &field(at, name));
            }
        }
    }

    fn check_unknown(&mut self, schema: &'d Map<String, Value>, object: &Map<String, Value>, at: &str) {
        let mut known = BTreeSet::new();
        let described = self.known(schema, &mut known, 0);
        let rest = schema.get("additionalProperties");
        for (name, value) in object.iter().filter(|(name, _)| !known.contains(name.as_str())) {
            match rest {
                Some(Value::Bool(true)) => {}
                Some(rest @ Value::Object(_)) => self.check(rest, value, &format!("{at}/*")),
                _ if described => {
                    let detail = format!("not documented; came: {}", kind_of(value));
                    self.find(ChangeKind::NewField, &field(at, name), detail);
                }
                _ => {}
            }
        }
    }

    /// The properties a schema knows, those of its parts included; tells whether it describes any.
    fn known(&self, schema: &'d Map<String, Value>, known: &mut BTreeSet<&'d str>, depth: usize) -> bool {
        if depth > MAX_DEPTH {
            return false;
        }
        let own = schema.get("properties").and_then(Value::as_object);
        known.extend(own.into_iter().flat_map(Map::keys).map(String::as_str));
        let mut described = own.is_some();
        for key in ["allOf", "oneOf", "anyOf"] {
            for part in schema.get(key).and_then(Value::as_array).into_iter().flatten().take(MAX_VARIANTS) {
                if let Value::Object(part) = self.spec.resolve(part) {
                    described |= self.known(part, known, depth + 1);
                }
            }
        }
        described
    }
}

/// How a parameter's text differs from its schema, if it does.
pub(super) fn parameter(schema: &Value, text: &str) -> Option<String> {
    // Only its own type is asked for: what is behind references, lists and variants is left to the server.
    let kinds: Vec<&str> = match schema.get("type")? {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => return None,
    };
    let value = typed(text);
    let fits =
        kinds.iter().any(|kind| matches!(*kind, "string" | "array" | "object") || is_kind(&value, kind));
    (!fits).then(|| format!("documented: {}; came: {}", kinds.join(" or "), kind_of(&value)))
}

fn field(at: &str, name: &str) -> String {
    format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"))
}

fn is_kind(value: &Value, kind: &str) -> bool {
    match kind {
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        "number" => value.is_number(),
        kind => kind == kind_of(value),
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn brief(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(schema: Value, value: &Value) -> Vec<String> {
        let document = json!({"openapi": "3.1.0", "paths": {}, "components": {"schemas": {
            "Id": {"type": "integer"}, "Loop": {"$ref": "#/components/schemas/Loop"}, "it": schema}}});
        let spec = Spec::read(&document).unwrap();
        let mut checker = Checker::new(&spec);
        checker.check(&document["components"]["schemas"]["it"], value, "r");
        checker.findings.iter().map(|it| format!("{} {}", it.kind.as_str(), it.at)).collect()
    }

    #[test]
    fn differences_are_told_by_pointer() {
        let user = json!({"type": "object", "required": ["id"], "properties": {
            "id": {"$ref": "#/components/schemas/Id"}, "name": {"type": ["string", "null"]},
            "tags": {"type": "array", "items": {"type": "string"}}, "state": {"enum": ["on", "off"]}}});
        for (value, want) in [
            (json!({"id": 1, "name": null, "tags": ["a"], "state": "on"}), vec![]),
            (json!({"id": 1.0}), vec![]),
            (json!({"name": 1}), vec!["missing_field r/id", "type_change r/name"]),
            (json!({"id": "1", "tags": ["a", 2, 3]}), vec!["type_change r/id", "type_change r/tags/*"]),
            (json!({"id": 1, "state": "broken", "a/b": 1}), vec!["new_value r/state", "new_field r/a~1b"]),
            (json!([]), vec!["type_change r"]),
        ] {
            assert_eq!(found(user.clone(), &value), want, "{value}");
        }
    }

    #[test]
    fn parts_and_variants_know_each_others_fields() {
        let all = json!({"allOf": [
            {"type": "object", "properties": {"a": {"type": "integer"}}},
            {"type": "object", "required": ["b"], "properties": {"b": {"type": "string"}}}]});
        assert_eq!(found(all.clone(), &json!({"a": 1, "b": "x"})), Vec::<String>::new());
        assert_eq!(found(all, &json!({"a": 1, "c": 1})), ["missing_field r/b", "new_field r/c"]);
        let one = json!({"oneOf": [{"type": "string"}, {"type": "object", "properties": {"a": {"type": "integer"}}}]});
        assert_eq!(found(one.clone(), &json!("x")), Vec::<String>::new());
        assert_eq!(found(one, &json!({"a": "x"})), ["type_change r/a"]);
    }

    #[test]
    fn maps_are_looked_into_and_free_objects_are_not() {
        let map = json!({"type": "object", "additionalProperties": {"type": "integer"}});
        assert_eq!(found(map, &json!({"x": 1, "y": "z"})), ["type_change r/*"]);
        assert_eq!(found(json!({"type": "object"}), &json!({"x": 1})), Vec::<String>::new());
        assert_eq!(
            found(json!({"$ref": "#/components/schemas/Loop"}), &json!({"x": 1})),
            Vec::<String>::new()
        );
    }
}
