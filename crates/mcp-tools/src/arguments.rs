//! Arguments checked against the tool's own input schema before the tool sees them: the bounds an agent reads are the
//! bounds it meets, and what is wrong is said by the argument's name.
//!
//! Knows the part of JSON Schema that [`crate::schema`] leaves in input schemas: `type`, `enum`, `minimum`, `maximum`,
//! `minLength`, `maxLength`, `maxItems`, `items`, `properties`, `required`, `additionalProperties`.

use serde_json::{Map, Number, Value};

use crate::error::ToolError;

/// Checks `arguments` and puts them into the form the tool's parameters are read from: nulls left out (an argument
/// given as null counts as not given), whole numbers as integers.
pub(crate) fn check(
    tool: &str,
    schema: &Map<String, Value>,
    mut arguments: Map<String, Value>,
) -> Result<Map<String, Value>, ToolError> {
    arguments.retain(|_, value| !value.is_null());
    let none = Map::new();
    let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
    for name in arguments.keys() {
        if !properties.contains_key(name) {
            return Err(unknown(tool, name, properties));
        }
    }
    for name in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
        let name = name.as_str().unwrap_or_default();
        if !arguments.contains_key(name) {
            return Err(ToolError::invalid(format!("{tool} needs the argument {name}"))
                .hint(describe(name, properties.get(name).unwrap_or(&Value::Null))));
        }
    }
    for (name, value) in &mut arguments {
        if let Some(schema) = properties.get(name) {
            check_value(name, schema, value)
                .map_err(|error| ToolError::invalid(error).hint(describe(name, schema)))?;
        }
    }
    Ok(arguments)
}

fn unknown(tool: &str, name: &str, properties: &Map<String, Value>) -> ToolError {
    let error = ToolError::invalid(format!("{tool} has no argument {:?}", crate::budget::cut(name, 80)));
    let names: Vec<&str> = properties.keys().map(String::as_str).collect();
    match nearest(name, &names) {
        Some(near) => error.hint(format!("did you mean {near}?")),
        None if names.is_empty() => error.hint("it takes none"),
        None => error.hint(format!("it takes {}", names.join(", "))),
    }
}

/// The name nearest to `name`, if it is near: one that holds it or is held by it, else one a few letters away.
pub(crate) fn nearest<'a>(name: &str, names: &[&'a str]) -> Option<&'a str> {
    /// Shorter names are in too many others.
    const TELLING: usize = 4;
    let lower = name.to_lowercase();
    let near = |candidate: &str| {
        let held = lower.len() >= TELLING && candidate.contains(&lower);
        let holds = candidate.len() >= TELLING && lower.contains(candidate);
        let distance = distance(&lower, candidate);
        let close = distance <= 1 + name.chars().count() / 3;
        (held || holds || close).then_some((!(held || holds), distance))
    };
    let ranked = names.iter().filter_map(|candidate| Some((near(candidate)?, *candidate)));
    ranked.min().map(|(_, candidate)| candidate)
}

/// The Levenshtein distance, over at most 64 characters.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let substituted = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}

/// Checks one value; `name` is its path within the arguments.
fn check_value(name: &str, schema: &Value, value: &mut Value) -> Result<(), String> {
    if let Some(kind) = schema.get("type").and_then(Value::as_str) {
        check_type(name, kind, value)?;
    }
    if let Some(allowed) = schema.get("enum").and_then(Value::as_array)
        && !allowed.contains(value)
    {
        let allowed: Vec<String> = allowed.iter().map(Value::to_string).collect();
        return Err(format!("{name} must be one of {}", allowed.join(", ")));
    }
    match value {
        Value::Number(number) => check_number(name, schema, number),
        Value::String(text) => check_text(name, schema, text),
        Value::Array(items) => check_items(name, schema, items),
        Value::Object(entries) => check_entries(name, schema, entries),
        _ => Ok(()),
    }
}

fn check_type(name: &str, kind: &str, value: &mut Value) -> Result<(), String> {
    if kind == "integer"
        && let Some(float) = value.as_f64()
        && !value.is_u64()
        && !value.is_i64()
        && float.fract() == 0.0
        && float.abs() < 9.0e15
    {
        // JSON knows one kind of number; some clients write 50.0 for 50. Exact below 2^53.
        #[expect(clippy::cast_possible_truncation, reason = "bounded above, no fraction")]
        let whole = float as i64;
        *value = Value::Number(Number::from(whole));
    }
    let fits = match kind {
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => true,
    };
    let article = if matches!(kind, "integer" | "array" | "object") { "an" } else { "a" };
    if fits { Ok(()) } else { Err(format!("{name} must be {article} {kind}")) }
}

fn check_number(name: &str, schema: &Value, number: &Number) -> Result<(), String> {
    let bound = |key: &str| schema.get(key).and_then(Value::as_f64);
    let value = number.as_f64().unwrap_or(f64::NAN);
    let (low, high) = (bound("minimum"), bound("maximum"));
    if low.is_some_and(|low| value < low) || high.is_some_and(|high| value > high) {
        return Err(match (low, high) {
            (Some(low), Some(high)) => format!("{name} must be from {low} to {high}, not {number}"),
            (Some(low), None) => format!("{name} must be at least {low}, not {number}"),
            _ => format!("{name} must be at most {}, not {number}", high.unwrap_or_default()),
        });
    }
    Ok(())
}

fn check_text(name: &str, schema: &Value, text: &str) -> Result<(), String> {
    let bound = |key: &str| schema.get(key).and_then(Value::as_u64);
    let length = text.chars().count() as u64;
    if bound("minLength").is_some_and(|low| length < low) {
        return Err(format!("{name} must not be empty"));
    }
    match bound("maxLength") {
        Some(high) if length > high => {
            Err(format!("{name} must be at most {high} characters long, not {length}"))
        }
        _ => Ok(()),
    }
}

fn check_items(name: &str, schema: &Value, items: &mut [Value]) -> Result<(), String> {
    if let Some(most) = schema.get("maxItems").and_then(Value::as_u64)
        && items.len() as u64 > most
    {
        return Err(format!("{name} must hold at most {most} items, not {}", items.len()));
    }
    let Some(schema) = schema.get("items") else { return Ok(()) };
    for (at, item) in items.iter_mut().enumerate() {
        check_value(&format!("{name}[{at}]"), schema, item)?;
    }
    Ok(())
}

fn check_entries(name: &str, schema: &Value, entries: &mut Map<String, Value>) -> Result<(), String> {
    let Some(schema) = schema.get("additionalProperties").filter(|schema| schema.is_object()) else {
        return Ok(());
    };
    for (key, value) in entries {
        check_value(&format!("{name}.{key}"), schema, value)?;
    }
    Ok(())
}

/// What the schema says of an argument, in one line.
fn describe(name: &str, schema: &Value) -> String {
    let description = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    match schema.get("default") {
        Some(default) if !default.is_null() => format!("{name}: {description} (default {default})"),
        _ => format!("{name}: {description}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn checked(arguments: Value) -> Result<Value, String> {
        let schema = json!({
            "type": "object",
            "required": ["name"],
            "properties": {
                "name": {"type": "string", "minLength": 1, "maxLength": 5, "description": "The name."},
                "limit": {"type": "integer", "minimum": 1, "maximum": 10},
                "sort": {"type": "string", "enum": ["asc", "desc"]},
                "env": {"type": "object", "additionalProperties": {"type": "string"}},
                "args": {"type": "array", "items": {"type": "string"}, "maxItems": 2},
                "hostname_filter": {"type": "string"},
            },
        });
        let (Value::Object(schema), Value::Object(arguments)) = (schema, arguments) else { unreachable!() };
        check("t", &schema, arguments).map(Value::Object).map_err(|error| {
            let result = error.into_result().structured_content.unwrap();
            format!("{} | {}", result["error"].as_str().unwrap(), result["hint"].as_str().unwrap())
        })
    }

    #[test]
    fn good_arguments_pass_nulls_and_fractions_of_nothing_are_tidied() {
        let given = json!({"name": "a", "limit": 3.0, "sort": null, "env": {"A": "1"}, "args": ["x"]});
        let want = json!({"name": "a", "limit": 3, "env": {"A": "1"}, "args": ["x"]});
        assert_eq!(checked(given), Ok(want));
    }

    #[test]
    fn what_is_wrong_is_said_by_name() {
        for (arguments, said) in [
            (json!({}), "t needs the argument name | name: The name."),
            (json!({"name": 1}), "name must be a string"),
            (json!({"name": ""}), "name must not be empty"),
            (json!({"name": "abcdef"}), "name must be at most 5 characters long, not 6"),
            (json!({"name": "a", "limit": 0}), "limit must be from 1 to 10, not 0"),
            (json!({"name": "a", "limit": 1.5}), "limit must be an integer"),
            (json!({"name": "a", "limit": "3"}), "limit must be an integer"),
            (json!({"name": "a", "sort": "up"}), "sort must be one of \"asc\", \"desc\""),
            (json!({"name": "a", "env": {"A": 1}}), "env.A must be a string"),
            (json!({"name": "a", "args": ["x", 1]}), "args[1] must be a string"),
            (json!({"name": "a", "args": ["x", "y", "z"]}), "args must hold at most 2 items, not 3"),
            (json!({"name": "a", "limits": 1}), "t has no argument \"limits\" | did you mean limit?"),
            (json!({"name": "a", "host": "x"}), "t has no argument \"host\" | did you mean hostname_filter?"),
            (json!({"name": "a", "zzzzzz": 1}), "t has no argument \"zzzzzz\" | it takes "),
        ] {
            let error = checked(arguments.clone()).unwrap_err();
            assert!(error.starts_with(said), "{arguments}: {error}");
        }
    }
}
