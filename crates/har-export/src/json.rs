//! Fields of a JSON value whose types other tools do not agree on.

use serde_json::Value;

/// Takes a field out of an object.
pub(crate) fn take(object: &mut Value, key: &str) -> Option<Value> {
    object.as_object_mut()?.remove(key)
}

/// A field that is text.
pub(crate) fn text<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.get(key)?.as_str()
}

/// A field that is a number, also where it was written as text.
pub(crate) fn number(object: &Value, key: &str) -> Option<f64> {
    match object.get(key)? {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// The whole number nearest to a size that may have been written with a fraction; `None` below 0.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be within range before"
)]
pub(crate) fn whole(number: f64) -> Option<u64> {
    /// The largest whole number that a double and a database both hold exactly.
    const LARGEST: f64 = 9_007_199_254_740_992.0;
    (0.0..=LARGEST).contains(&number).then(|| number.round() as u64)
}

/// Whatever a field is, as text.
pub(crate) fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}
