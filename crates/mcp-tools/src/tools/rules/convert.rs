//! From the reference server's matchers and handlers to rules, and back as far as that goes.

use proxy_core::rules::Rule;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::refused;
use crate::error::ToolError;

type Object = Map<String, Value>;

/// What the reference server calls a part, and what it is here.
const PARTS: [(&str, &str, &str); 4] = [
    ("urlPattern", "url", "regex"),
    ("pathPattern", "path", "regex"),
    ("hostname", "host", ""),
    ("bodyIncludes", "body", "contains"),
];

pub(crate) fn matcher_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "description": "What an exchange must be like; every part given has to hold. Beside the properties listed, every part \
            of `when` in docs/rules.md: url, host, port, path, query, body_json, protocol, status, response_headers, \
            response_body, nth, probability and others.",
        "properties": {
            "method": {"type": "string", "description": "Any method, in whatever case."},
            "urlPattern": {"type": "string", "description": "Regex found in the whole URL, query included."},
            "hostname": {"type": "string", "description": "Host in whatever case, *.example.com, with or without :port."},
            "pathPattern": {"type": "string", "description": "Regex found in the path, without the query."},
            "headers": {"type": "object", "description": "Field names and the values they must have."},
            "bodyIncludes": {"type": "string", "description": "Text in the decoded request body."}
        }
    })
}

pub(crate) fn handler_schema(_: &mut SchemaGenerator) -> Schema {
    let transform = |more: &str| {
        json!({
            "type": "object",
            "description": format!("updateHeaders (null removes), {more}, matchReplaceBody ([find, replacement] pairs; find is \
                a regex where it compiles as one and has regex characters)")
        })
    };
    json_schema!({
        "type": "object",
        "description": "What is done, in the reference server's words; or give `actions`.",
        "properties": {
            "type": {"type": "string", "enum": ["passthrough", "mock", "forward", "drop"]},
            "status": {"type": "number", "description": "mock: the status."},
            "body": {"type": "string", "description": "mock: the body."},
            "headers": {"type": "object", "description": "mock: the fields."},
            "forwardTo": {"type": "string", "description": "forward: the origin, https://host:port."},
            "transformRequest": transform("replaceMethod"),
            "transformResponse": transform("replaceStatus")
        }
    })
}

pub(crate) fn actions_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "description": "What is done, as docs/rules.md has it: [{\"delay\": {\"ms\": 500}}, {\"mock\": {\"status\": 503}}]. \
            Actions: mock, map_local, redirect, map_remote, rewrite_url, query, set_method, request_headers, request_body, \
            set_status, response_headers, response_body, delay, throttle, drop, close, reset, time_out, truncate, corrupt, \
            edit_messages, inject_message, breakpoint.",
        "maxItems": 64,
        "items": {}
    })
}

/// A rule as JSON has it.
pub(crate) fn written(rule: &Rule) -> Value {
    serde_json::from_str(&rule.to_json()).unwrap_or_default()
}

/// Reads a rule from its two halves.
pub(crate) fn rule(when: &Value, then: Vec<Value>) -> Result<Rule, ToolError> {
    Rule::from_json(&json!({"when": when, "then": then}).to_string()).map_err(refused)
}

/// A matcher in our form.
pub(crate) fn matcher(given: &Object) -> Result<Object, ToolError> {
    let mut when = json!({});
    merge_matcher(&mut when, given)?;
    Ok(when.as_object().cloned().unwrap_or_default())
}

/// Puts the parts of a matcher, in either form, in the place of those there are.
pub(crate) fn merge_matcher(when: &mut Value, given: &Object) -> Result<(), ToolError> {
    for (name, value) in given {
        let part = PARTS.iter().find(|(theirs, _, _)| theirs == name);
        let (ours, value) = match part {
            Some((_, ours, "")) => (*ours, value.clone()),
            Some((_, ours, kind)) if value.is_string() => (*ours, json!({*kind: value})),
            Some((theirs, _, _)) if !value.is_null() => {
                return Err(ToolError::invalid(format!("matcher.{theirs} must be a string"))
                    .hint("docs/rules.md has the other patterns, under url, path and body"));
            }
            Some((_, ours, _)) => (*ours, Value::Null),
            None if name == "headers" => ("headers", exact_fields(value)),
            None => (name.as_str(), value.clone()),
        };
        when[ours] = value;
    }
    if let Some(parts) = when.as_object_mut() {
        parts.retain(|_, value| !value.is_null());
    }
    Ok(())
}

/// The reference server compares values as they are; a bare text here would be a glob.
fn exact_fields(fields: &Value) -> Value {
    let Some(fields) = fields.as_object() else { return fields.clone() };
    fields
        .iter()
        .map(|(name, value)| {
            (name.clone(), if value.is_string() { json!({"exact": value}) } else { value.clone() })
        })
        .collect()
}

/// A handler's actions.
pub(crate) fn actions(handler: &Object) -> Result<Vec<Value>, ToolError> {
    known(
        handler,
        "handler",
        &["type", "status", "body", "headers", "forwardTo", "transformRequest", "transformResponse"],
    )?;
    let kind = handler.get("type").and_then(Value::as_str).unwrap_or_default();
    let mut then = Vec::new();
    match kind {
        "mock" => {
            let mut mock = json!({"status": whole(handler.get("status")).unwrap_or_else(|| json!(200))});
            for name in ["body", "headers"] {
                if let Some(value) = handler.get(name).filter(|value| !value.is_null()) {
                    mock[name] = value.clone();
                }
            }
            then.push(json!({"mock": mock}));
        }
        "drop" => then.push(json!("drop")),
        "passthrough" | "forward" => {
            transforms(handler.get("transformRequest"), "request", &mut then)?;
            if kind == "forward" {
                let to = handler.get("forwardTo").and_then(Value::as_str).ok_or_else(|| {
                    ToolError::invalid("handler.forwardTo is missing")
                        .hint("give an origin, like https://host:port")
                })?;
                let origin = proxy_core::rules::MapRemote::to_origin(to).map_err(|error| {
                    ToolError::invalid(format!("handler.forwardTo: {error}"))
                        .hint("paths are rewritten by actions: map_remote with path")
                })?;
                let action = serde_json::to_value(proxy_core::rules::Action::MapRemote(origin));
                then.extend(action.ok());
            }
            transforms(handler.get("transformResponse"), "response", &mut then)?;
        }
        _ => {
            return Err(ToolError::invalid("handler.type must be one of passthrough, mock, forward, drop")
                .hint("for everything else give actions"));
        }
    }
    Ok(then)
}

/// One side's transforms.
fn transforms(given: Option<&Value>, side: &str, then: &mut Vec<Value>) -> Result<(), ToolError> {
    let Some(given) = given.filter(|given| !given.is_null()) else { return Ok(()) };
    let place = if side == "request" { "handler.transformRequest" } else { "handler.transformResponse" };
    let Some(given) = given.as_object() else {
        return Err(ToolError::invalid(format!("{place} must be an object"))
            .hint("give updateHeaders, matchReplaceBody and the like in it"));
    };
    known(given, place, &["updateHeaders", "replaceMethod", "replaceStatus", "matchReplaceBody"])?;
    if let Some(headers) = given.get("updateHeaders") {
        then.push(json!({format!("{side}_headers"): {"set": headers}}));
    }
    if let Some(method) = given.get("replaceMethod") {
        then.push(json!({"set_method": method}));
    }
    if let Some(status) = whole(given.get("replaceStatus")) {
        then.push(json!({"set_status": status}));
    }
    if let Some(pairs) = given.get("matchReplaceBody") {
        let edits: Option<Vec<_>> =
            pairs.as_array().and_then(|pairs| pairs.iter().map(replacement).collect());
        let Some(edits) = edits else {
            return Err(ToolError::invalid(format!(
                "{place}.matchReplaceBody must be a list of [find, replacement]"
            ))
            .hint("as in [[\"a\", \"b\"]]"));
        };
        then.push(json!({format!("{side}_body"): edits}));
    }
    Ok(())
}

/// A pair as an edit of a body: a regex where it is one that says more than its letters do.
fn replacement(pair: &Value) -> Option<Value> {
    let [find, with] = pair.as_array()?.as_slice() else { return None };
    let (find, with) = (find.as_str()?, with.as_str()?);
    let special = find.contains(['\\', '^', '$', '*', '+', '?', '(', ')', '[', ']', '|', '{', '}']);
    if special && proxy_core::rules::Pattern::regex(find).is_ok() {
        return Some(json!({"regex": find, "with": with}));
    }
    Some(json!({"find": find, "with": with}))
}

/// JSON knows one kind of number; some clients write 503.0 for 503.
fn whole(number: Option<&Value>) -> Option<Value> {
    let number = number.filter(|number| !number.is_null())?;
    match number.as_f64() {
        Some(float) if float.fract() == 0.0 && (0.0..1e6).contains(&float) => {
            Some(format!("{float:.0}").parse::<u64>().map_or_else(|_| number.clone(), Value::from))
        }
        _ => Some(number.clone()),
    }
}

fn known(object: &Object, place: &str, names: &[&str]) -> Result<(), ToolError> {
    match object.keys().find(|key| !names.contains(&key.as_str())) {
        Some(key) => {
            let key = crate::budget::cut(key, 80);
            Err(ToolError::invalid(format!("{place} has no {key:?}"))
                .hint(format!("it has {}", names.join(", "))))
        }
        None => Ok(()),
    }
}

/// What a rule does after a handler is merged into it: into a handler of the same type, one level deep, and in the place
/// of everything else.
pub(crate) fn merge_handler(rule: &Rule, given: &Object) -> Result<Vec<Value>, ToolError> {
    let old = handler(rule);
    let kind = given.get("type").or_else(|| old.get("type")).cloned().unwrap_or_default();
    let mut merged = Object::new();
    if old.get("type") == Some(&kind) {
        merged = old;
    }
    for (name, value) in given {
        match (merged.get_mut(name).and_then(Value::as_object_mut), value.as_object()) {
            (Some(old), Some(new)) => old.extend(new.clone()),
            _ => drop(merged.insert(name.clone(), value.clone())),
        }
    }
    merged.insert("type".to_owned(), kind);
    merged.retain(|_, value| !value.is_null());
    actions(&merged)
}

/// What a rule does, in the reference server's words as far as they go.
pub(crate) fn handler(rule: &Rule) -> Object {
    let mut handler = json!({"type": "passthrough"});
    for action in written(rule)["then"].as_array().into_iter().flatten() {
        let (name, value) = match action {
            Value::String(name) => (name.as_str(), &Value::Null),
            Value::Object(map) => {
                map.iter().next().map_or(("", &Value::Null), |(name, value)| (name.as_str(), value))
            }
            _ => continue,
        };
        match name {
            "mock" => {
                handler["type"] = json!("mock");
                for part in ["status", "body", "headers"] {
                    if value.get(part).is_some() {
                        handler[part] = value[part].clone();
                    }
                }
            }
            "map_local" | "redirect" => handler["type"] = json!("mock"),
            "drop" | "close" | "reset" | "time_out" => handler["type"] = json!("drop"),
            "map_remote" => {
                handler["type"] = json!("forward");
                handler["forwardTo"] = json!(origin(value));
            }
            "set_method" => handler["transformRequest"]["replaceMethod"] = value.clone(),
            "set_status" => handler["transformResponse"]["replaceStatus"] = value.clone(),
            "request_headers" => handler["transformRequest"]["updateHeaders"] = value["set"].clone(),
            "response_headers" => handler["transformResponse"]["updateHeaders"] = value["set"].clone(),
            "request_body" => handler["transformRequest"]["matchReplaceBody"] = pairs(value),
            "response_body" => handler["transformResponse"]["matchReplaceBody"] = pairs(value),
            _ => {}
        }
    }
    handler.as_object().cloned().unwrap_or_default()
}

fn origin(map: &Value) -> String {
    let scheme = map["scheme"].as_str().map(|scheme| format!("{scheme}://")).unwrap_or_default();
    let port = map["port"].as_u64().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{scheme}{}{port}", map["host"].as_str().unwrap_or_default())
}

/// The searches among edits of a body.
fn pairs(edits: &Value) -> Value {
    let one = [edits.clone()];
    let edits = edits.as_array().map_or(&one[..], Vec::as_slice);
    edits
        .iter()
        .filter_map(|edit| Some(json!([edit.get("find").or_else(|| edit.get("regex"))?, edit.get("with")?])))
        .collect()
}
