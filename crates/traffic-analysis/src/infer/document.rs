//! Operations as an OpenAPI 3.1 document.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{
    auth::is_secret_name,
    operation::{Media, Message, Operation, Parameter},
    route::Key,
};

/// Levels of an example that are looked into for credentials.
const MAX_DEPTH: usize = 32;

/// Writes the document.
pub(super) fn write(origin: Option<&str>, operations: &BTreeMap<Key, Operation>, examples: bool) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    let mut schemes = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for (key, operation) in operations {
        let item = paths.entry(key.template()).or_insert_with(|| json!({}));
        let id = operation_id(key, &mut ids);
        for scheme in operation.security.iter().flatten() {
            schemes.insert(scheme.name(), scheme.describe());
        }
        item[key.method.to_ascii_lowercase()] = describe(key, operation, &id, examples);
    }
    let title = origin.map_or("Nothing was recorded", |origin| origin.rsplit("://").next().unwrap_or(origin));
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {"title": title, "version": "0.0.0", "description": "Inferred from recorded exchanges."},
        "paths": paths,
    });
    if let Some(origin) = origin {
        document["servers"] = json!([{"url": origin}]);
    }
    if !schemes.is_empty() {
        document["components"] = json!({"securitySchemes": schemes});
    }
    document
}

/// `getUsersUserId`, unlike any other.
fn operation_id(key: &Key, taken: &mut BTreeSet<String>) -> String {
    let mut id = key.method.to_ascii_lowercase();
    for word in key.template().split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()) {
        let (first, rest) = word.split_at(1);
        id.push_str(&first.to_ascii_uppercase());
        id.push_str(rest);
    }
    let numbered = (1..).map(|n: u32| if n == 1 { id.clone() } else { format!("{id}{n}") });
    let free = numbered.into_iter().find(|id| !taken.contains(id)).unwrap_or_default();
    taken.insert(free.clone());
    free
}

fn describe(key: &Key, operation: &Operation, id: &str, examples: bool) -> Value {
    let mut written = json!({"operationId": id, "x-samples": operation.count});
    if let Some(tag) = key.segments.iter().find(|segment| is_tag(segment)) {
        written["tags"] = json!([tag]);
    }
    let parameters = parameters(key, operation);
    if !parameters.is_empty() {
        written["parameters"] = Value::Array(parameters);
    }
    let request = &operation.request;
    if request.bodies > 0 && !request.content.is_empty() {
        written["requestBody"] = json!({"content": content(request, examples)});
        if request.bodies == request.count {
            written["requestBody"]["required"] = json!(true);
        }
    }
    let responses: Map<String, Value> = operation
        .responses
        .iter()
        .map(|(status, message)| (status.to_string(), response(*status, message, examples)))
        .collect();
    written["responses"] = Value::Object(responses);
    if operation.security.iter().any(|schemes| !schemes.is_empty()) {
        let ways: Vec<Value> = operation
            .security
            .iter()
            .map(|schemes| {
                let names: Map<String, Value> =
                    schemes.iter().map(|scheme| (scheme.name(), json!([]))).collect();
                Value::Object(names)
            })
            .collect();
        written["security"] = Value::Array(ways);
    }
    written
}

/// The first word of a path that says what it is about.
fn is_tag(segment: &str) -> bool {
    let version =
        segment.strip_prefix('v').is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()));
    !segment.is_empty() && !segment.contains('{') && !version && segment != "api"
}

fn parameters(key: &Key, operation: &Operation) -> Vec<Value> {
    let mut written = Vec::new();
    for (index, placeholder) in key.placeholders().iter().enumerate() {
        let schema = operation.path.get(index).map(|shape| shape.parameter_schema(&placeholder.name));
        let schema =
            schema.filter(|schema| schema != &json!({})).unwrap_or_else(|| json!({"type": "string"}));
        written.push(json!({"name": placeholder.name, "in": "path", "required": true, "schema": schema}));
    }
    for (name, parameter) in &operation.query {
        written.push(optional(name, "query", parameter, operation.count));
    }
    for (name, parameter) in &operation.headers {
        written.push(optional(name, "header", parameter, operation.count));
    }
    written
}

fn optional(name: &str, place: &str, parameter: &Parameter, of: u64) -> Value {
    let mut schema = parameter.shape.parameter_schema(name);
    if parameter.repeated {
        schema = json!({"type": "array", "items": schema});
    }
    let mut written = json!({"name": name, "in": place, "schema": schema});
    if parameter.count >= of {
        written["required"] = json!(true);
    }
    written
}

fn response(status: u16, message: &Message, examples: bool) -> Value {
    let reason = http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    let mut written = json!({"description": reason.unwrap_or("Seen in the recording")});
    if !message.content.is_empty() {
        written["content"] = content(message, examples);
    }
    written
}

fn content(message: &Message, examples: bool) -> Value {
    let types = message.content.iter().map(|(media_type, media)| {
        let mut written = json!({});
        if media.values > 0 {
            written["schema"] = media.shape.schema("");
        } else if !media.binary {
            written["schema"] = json!({"type": "string"});
        }
        if let Some(example) = example(media).filter(|_| examples) {
            written["example"] = example;
        }
        (media_type.clone(), written)
    });
    Value::Object(types.collect())
}

/// The example, with values that are named like credentials left out.
fn example(media: &Media) -> Option<Value> {
    let mut example = media.example.clone()?;
    mask(&mut example, 0);
    Some(example)
}

fn mask(value: &mut Value, depth: usize) {
    if depth > MAX_DEPTH {
        *value = Value::Null;
        return;
    }
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                match value {
                    Value::String(_) if is_secret_name(name) => *value = json!("***"),
                    Value::Number(_) if is_secret_name(name) => *value = json!(0),
                    value => mask(value, depth + 1),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| mask(item, depth + 1)),
        _ => {}
    }
}
