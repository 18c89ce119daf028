//! The JSON object around a text, small enough to be read.

use serde_json::{Map, Value, json};

use crate::trace::escaped;

/// Members of one text that are looked at.
const MAX_NODES: usize = 1_000_000;
/// How deep is looked.
const MAX_DEPTH: usize = 100;
/// Characters of a text beside the one that was looked for.
const NEIGHBOUR_CHARS: usize = 60;
/// The mark of what is left out.
const ELLIPSIS: &str = "\u{2026}";

/// The innermost object that a text stands in.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Enclosing {
    /// The JSON pointer of the text itself; of a member whose name it is, of that member.
    pub pointer: String,
    /// The JSON pointer of the object; empty for the whole.
    pub object_pointer: String,
    /// The object, cut to the budget: what is nested as its size, long texts shortened, and at last members left away, with
    /// `…` saying how many. The member that was looked for stays. Where there is no object around it, the text itself.
    pub object: Value,
}

/// Finds the objects whose texts, numbers, names, or members written as `"name":value`, `wanted` says yes to, at most `limit`, each in at most about
/// `budget` bytes of JSON.
#[must_use]
pub fn enclosing(json: &Value, wanted: &dyn Fn(&str) -> bool, limit: usize, budget: usize) -> Vec<Enclosing> {
    let mut search = Search { wanted, limit, nodes: 0, found: Vec::new() };
    search.walk(json, &mut Vec::new(), 0);
    let mut objects: Vec<Enclosing> = Vec::new();
    for path in search.found {
        let enclosing = around(json, &path, budget);
        // One object is told once, however often it has the text.
        let told =
            objects.iter().any(|other| other.object_pointer == enclosing.object_pointer && path.len() > 1);
        if !told || enclosing.object_pointer.is_empty() && objects.is_empty() {
            objects.push(enclosing);
        }
    }
    objects
}

struct Search<'w> {
    wanted: &'w dyn Fn(&str) -> bool,
    limit: usize,
    nodes: usize,
    found: Vec<Vec<String>>,
}

impl Search<'_> {
    fn walk(&mut self, json: &Value, path: &mut Vec<String>, depth: usize) {
        self.nodes += 1;
        if depth > MAX_DEPTH || self.nodes > MAX_NODES || self.found.len() >= self.limit {
            return;
        }
        if self.is_scalar(json) {
            self.found.push(path.clone());
            return;
        }
        match json {
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    path.push(index.to_string());
                    self.walk(item, path, depth + 1);
                    path.pop();
                }
            }
            Value::Object(members) => {
                for (name, member) in members {
                    path.push(name.clone());
                    if self.found.len() < self.limit && self.is_member(name, member) {
                        self.found.push(path.clone());
                    } else {
                        self.walk(member, path, depth + 1);
                    }
                    path.pop();
                }
            }
            _ => {}
        }
    }
}

impl Search<'_> {
    /// Whether it is a member's name, or the member as compact JSON writes it: `"price":0`.
    fn is_member(&self, name: &str, member: &Value) -> bool {
        if (self.wanted)(name) {
            return true;
        }
        let scalar = !member.is_object() && !member.is_array();
        scalar && !self.is_scalar(member) && (self.wanted)(&format!("{}:{member}", json!(name)))
    }

    fn is_scalar(&self, value: &Value) -> bool {
        match value {
            Value::String(text) => (self.wanted)(text),
            Value::Number(number) => (self.wanted)(&number.to_string()),
            Value::Bool(bool) => (self.wanted)(if *bool { "true" } else { "false" }),
            _ => false,
        }
    }
}

fn pointer(path: &[String]) -> String {
    path.iter().map(|part| format!("/{}", escaped(part))).collect()
}

fn around(json: &Value, path: &[String], budget: usize) -> Enclosing {
    // The innermost object on the way that the last step, or the last member, is in.
    let mut node = json;
    let (mut object, mut depth) = (None, 0);
    for (index, part) in path.iter().enumerate() {
        if let Value::Object(members) = node {
            (object, depth) = (Some(members), index);
        }
        let Some(next) = node.pointer(&format!("/{}", escaped(part))) else { break };
        node = next;
    }
    let (object_pointer, value) = match object {
        Some(members) => (pointer(&path[..depth]), cut_object(members, &path[depth..], budget)),
        None => (String::new(), cut_text(node, budget)),
    };
    Enclosing { pointer: pointer(path), object_pointer, object: value }
}

/// Cuts an object, of which the way to what was looked for is kept.
fn cut_object(members: &Map<String, Value>, way: &[String], budget: usize) -> Value {
    let whole = Value::Object(members.clone());
    if length(&whole) <= budget {
        return whole;
    }
    let kept = way.first().map_or("", String::as_str);
    let mut cut: Vec<(&String, Value)> = Vec::with_capacity(members.len().min(200));
    for (name, member) in members.iter().take(200) {
        let member = match member {
            member if name == kept => hit(member, &way[1..], budget / 2),
            Value::Object(inner) => json!(format!("{{{}}}", inner.len())),
            Value::Array(inner) => json!(format!("[{}]", inner.len())),
            other => cut_text(other, NEIGHBOUR_CHARS),
        };
        cut.push((name, member));
    }
    if let (false, Some(member)) = (cut.iter().any(|(name, _)| *name == kept), members.get_key_value(kept)) {
        cut.push((member.0, hit(member.1, &way[1..], budget / 2)));
    }
    let mut left_out = members.len() - cut.len();
    let size = |cut: &[(&String, Value)]| -> usize {
        cut.iter().map(|(name, value)| name.len() + length(value) + 4).sum::<usize>() + 16
    };
    let mut total = size(&cut);
    while total > budget && cut.len() > 1 {
        let last =
            if cut.last().is_some_and(|(name, _)| *name == kept) { cut.len() - 2 } else { cut.len() - 1 };
        let (name, value) = cut.remove(last);
        total -= name.len() + length(&value) + 4;
        left_out += 1;
    }
    let mut object: Map<String, Value> = cut.into_iter().map(|(name, value)| (name.clone(), value)).collect();
    if left_out > 0 {
        object.insert(ELLIPSIS.to_owned(), left_out.into());
    }
    Value::Object(object)
}

/// What was looked for, below a member that is kept: of arrays only the item on the way.
fn hit(member: &Value, way: &[String], budget: usize) -> Value {
    match member {
        Value::Array(items) if !way.is_empty() => {
            let item = way[0].parse::<usize>().ok().and_then(|index| items.get(index));
            match (item, items.len()) {
                (Some(item), 1) => json!([hit(item, &way[1..], budget)]),
                (Some(item), more) => {
                    json!([hit(item, &way[1..], budget), format!("{ELLIPSIS}{}", more - 1)])
                }
                (None, _) => json!([]),
            }
        }
        Value::Object(inner) if length(member) > budget => json!(format!("{{{}}}", inner.len())),
        Value::Array(inner) if length(member) > budget => json!(format!("[{}]", inner.len())),
        other => cut_text(other, budget.max(NEIGHBOUR_CHARS)),
    }
}

fn cut_text(value: &Value, chars: usize) -> Value {
    match value {
        Value::String(text) => match text.char_indices().nth(chars) {
            Some((at, _)) => format!("{}{ELLIPSIS}", &text[..at]).into(),
            None => value.clone(),
        },
        other => other.clone(),
    }
}

fn length(value: &Value) -> usize {
    value.to_string().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(json: &Value, text: &str, budget: usize) -> Vec<(String, String, Value)> {
        let found = enclosing(json, &|candidate| candidate.contains(text), 10, budget);
        found.into_iter().map(|it| (it.pointer, it.object_pointer, it.object)).collect()
    }

    #[test]
    fn the_innermost_object_comes_with_its_pointer() {
        let json = json!({"users": [{"id": 1, "name": "ann"}, {"id": 2, "name": "bob", "tags": ["x", "admin"]}], "a/b": {"ann": 1}});
        let ann = json!({"id": 1, "name": "ann"});
        assert_eq!(
            told(&json, "ann", 500),
            [
                ("/a~1b/ann".to_owned(), "/a~1b".to_owned(), json!({"ann": 1})),
                ("/users/0/name".to_owned(), "/users/0".to_owned(), ann),
            ]
        );
        let bob = &told(&json, "admin", 500)[0];
        assert_eq!((bob.0.as_str(), bob.1.as_str()), ("/users/1/tags/1", "/users/1"));
        assert_eq!(told(&json!(["x", "y"]), "y", 500), [("/1".to_owned(), String::new(), json!("y"))]);
        assert_eq!(told(&json!("xyz"), "y", 500)[0].0, "");
        assert_eq!(told(&json, "nobody", 500), []);
        assert_eq!(told(&json, "\"id\":2", 500)[0].0, "/users/1/id");
    }

    #[test]
    fn a_large_object_is_cut_to_its_budget_and_keeps_what_was_looked_for() {
        let mut object = Map::new();
        for n in 0..500 {
            object.insert(format!("k{n:03}"), json!("v".repeat(100)));
        }
        object.insert("nested".to_owned(), json!({"a": [1, 2, 3], "b": "x".repeat(1_000)}));
        object.insert("zz".to_owned(), json!(["a", "the needle", "c"]));
        let json = json!({"data": object});
        let (pointer, of, cut) = told(&json, "needle", 400).remove(0);
        assert_eq!((pointer.as_str(), of.as_str()), ("/data/zz/1", "/data"));
        assert!(cut.to_string().len() <= 440, "{cut}");
        assert_eq!(cut["zz"], json!(["the needle", "\u{2026}2"]));
        assert!(cut["\u{2026}"].as_u64().unwrap() > 490);
    }
}
