//! JSON by structure.

use std::{borrow::Cow, collections::BTreeSet};

use serde_json::Value;

use super::{
    difference::Found,
    volatile::{self, Volatile},
};

/// Compares two values at a place like `resp.json.`; what differs is named by pointer (RFC 6901).
pub(super) fn compare(found: &mut Found<'_>, place: &str, left: &Value, right: &Value) {
    let mut walk = Walk { found, place: place.to_owned() };
    walk.values("", left, right);
}

struct Walk<'w, 'o> {
    found: &'w mut Found<'o>,
    /// With the pointer to where it is.
    place: String,
}

impl Walk<'_, '_> {
    /// Compares two values under a member's name. As deep as the parser lets JSON be (128).
    fn values(&mut self, name: &str, left: &Value, right: &Value) {
        match (left, right) {
            (Value::Object(left), Value::Object(right)) => {
                let names: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
                for name in names {
                    self.within(&escaped(name), |walk| {
                        walk.optional(name, left.get(name), right.get(name));
                    });
                }
            }
            (Value::Array(left), Value::Array(right)) => {
                for (index, (one, other)) in left.iter().zip(right).enumerate() {
                    self.within(&index.to_string(), |walk| walk.values(name, one, other));
                }
                if left.len() != right.len() {
                    let count = |items: &[Value]| format!("{} items", items.len());
                    self.found.add(&self.place, Some(&count(left)), Some(&count(right)), None);
                }
            }
            _ => self.scalars(name, left, right),
        }
    }

    fn optional(&mut self, name: &str, left: Option<&Value>, right: Option<&Value>) {
        match (left, right) {
            (Some(left), Some(right)) => self.values(name, left, right),
            (left, right) => {
                let told = |value: Option<&Value>| value.map(text);
                self.found.add(&self.place, told(left).as_deref(), told(right).as_deref(), None);
            }
        }
    }

    fn scalars(&mut self, name: &str, left: &Value, right: &Value) {
        if is_equal(left, right) {
            return;
        }
        let volatile = why(name, left, right);
        self.found.add(&self.place, Some(&text(left)), Some(&text(right)), volatile);
    }

    fn within(&mut self, part: &str, compare: impl FnOnce(&mut Self)) {
        let length = self.place.len();
        self.place.push('/');
        self.place.push_str(part);
        compare(self);
        self.place.truncate(length);
    }
}

/// Whether two values mean the same: `1` and `1.0` do.
fn is_equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(one), Value::Number(other)) => {
            one == other
                || (one.is_f64() || other.is_f64())
                    && one.as_f64().is_some()
                    && one.as_f64() == other.as_f64()
        }
        _ => left == right,
    }
}

/// Why two values of one kind say little.
fn why(name: &str, left: &Value, right: &Value) -> Option<Volatile> {
    match (left, right) {
        (Value::String(left), Value::String(right)) => volatile::texts(name, left, right),
        (Value::Number(left), Value::Number(right)) => {
            volatile::texts(name, &left.to_string(), &right.to_string())
        }
        _ => None,
    }
}

/// A value for display: cut where it is, so little of a large one is written.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{:?}", text.chars().take(400).collect::<String>()),
        Value::Array(items) if items.len() > 20 => format!("[… {} items]", items.len()),
        Value::Object(members) if members.len() > 20 => format!("{{… {} members}}", members.len()),
        value => value.to_string(),
    }
}

/// A member's name in a pointer.
fn escaped(name: &str) -> Cow<'_, str> {
    match name.contains(['~', '/']) {
        true => name.replace('~', "~0").replace('/', "~1").into(),
        false => name.into(),
    }
}
