//! Routes: methods and path templates whose placeholders have names of their own.

use std::collections::{BTreeMap, BTreeSet};

use capture_store::path_template;

use super::operation::Operation;

/// Literals in one place of a path beyond which they are values, not words.
const MAX_SIBLINGS: usize = 12;

/// An operation's place: what its samples have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    /// The segments, placeholders as `{id}`.
    pub(super) segments: Vec<String>,
    /// The method, upper case.
    pub(super) method: String,
}

/// A placeholder of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Placeholder {
    /// The segment it is in.
    pub(super) segment: usize,
    /// Its name, unlike any other of the path.
    pub(super) name: String,
}

impl Key {
    /// The place of a request.
    pub(super) fn new(method: &str, target: &str) -> Self {
        let path = target.split(['?', '#']).next().unwrap_or_default();
        let template = path_template(path);
        let segments = template.split('/').skip(1).map(str::to_owned).collect();
        Self { segments, method: method.to_ascii_uppercase() }
    }

    /// The path with its placeholders named.
    pub(super) fn template(&self) -> String {
        let mut names = self.placeholders().into_iter();
        let mut path = String::new();
        for segment in &self.segments {
            path.push('/');
            let mut rest = segment.as_str();
            while let Some((before, inside, after)) = split(rest) {
                path.push_str(before);
                let name = names.next().map_or_else(|| inside.to_owned(), |placeholder| placeholder.name);
                path.push('{');
                path.push_str(&name);
                path.push('}');
                rest = after;
            }
            path.push_str(rest);
        }
        if path.is_empty() { "/".to_owned() } else { path }
    }

    /// The placeholders, in order.
    pub(super) fn placeholders(&self) -> Vec<Placeholder> {
        let mut taken = BTreeSet::new();
        let mut found = Vec::new();
        for (at, segment) in self.segments.iter().enumerate() {
            let mut rest = segment.as_str();
            while let Some((before, inside, after)) = split(rest) {
                let whole = before.is_empty() && after.is_empty() && rest.len() == segment.len();
                let above = at.checked_sub(1).and_then(|above| self.segments.get(above));
                let base = match (inside, above) {
                    ("id" | "uuid" | "hash" | "token", Some(above)) if whole && is_word(above) => {
                        format!("{}_id", singular(above))
                    }
                    _ => inside.to_owned(),
                };
                let name = (1..).map(|n: u32| if n == 1 { base.clone() } else { format!("{base}_{n}") });
                // There are fewer placeholders than numbers.
                let name = name.into_iter().find(|name| !taken.contains(name)).unwrap_or_default();
                taken.insert(name.clone());
                found.push(Placeholder { segment: at, name });
                rest = after;
            }
        }
        found
    }

    /// What stands in the path of a request for each placeholder; `None` where it cannot be told.
    pub(super) fn values<'p>(&self, path: &'p str) -> Vec<Option<&'p str>> {
        let given: Vec<&str> = path.split('/').skip(1).collect();
        let mut values = Vec::new();
        for (at, segment) in self.segments.iter().enumerate() {
            let Some((before, _, after)) = split(segment) else { continue };
            let alone = split(after).is_none();
            let value = given
                .get(at)
                .filter(|_| alone)
                .and_then(|given| given.strip_prefix(before)?.strip_suffix(after));
            values.push(value);
            let mut rest = after;
            while let Some((_, _, after)) = split(rest) {
                values.push(None);
                rest = after;
            }
        }
        values
    }
}

/// Splits at the first placeholder: before, its inside, after.
fn split(segment: &str) -> Option<(&str, &str, &str)> {
    let open = segment.find('{')?;
    let close = open + segment[open..].find('}')?;
    Some((&segment[..open], &segment[open + 1..close], &segment[close + 1..]))
}

fn is_word(segment: &str) -> bool {
    segment.bytes().any(|byte| byte.is_ascii_alphabetic())
        && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// `users` as `user`, `categories` as `category`; a guess, for names only.
fn singular(word: &str) -> String {
    let word = word.to_ascii_lowercase().replace('-', "_");
    if let Some(stem) = word.strip_suffix("ies").filter(|stem| stem.len() > 1) {
        return format!("{stem}y");
    }
    let plural = word.len() > 2 && word.ends_with('s') && !word.ends_with("ss") && !word.ends_with("us");
    if plural { word[..word.len() - 1].to_owned() } else { word }
}

/// Makes one operation of those that differ in one literal only, where there are so many that the literal must be a
/// value: `/users/ann`, `/users/bob`, and ten more.
pub(super) fn merge_siblings(operations: &mut BTreeMap<Key, Operation>) {
    let mut groups: BTreeMap<(Key, usize), BTreeSet<String>> = BTreeMap::new();
    for key in operations.keys() {
        for (at, segment) in key.segments.iter().enumerate().skip(1) {
            if split(segment).is_none() {
                let mut hole = key.clone();
                hole.segments[at] = "{name}".to_owned();
                groups.entry((hole, at)).or_default().insert(segment.clone());
            }
        }
    }
    for ((hole, at), literals) in groups.into_iter().filter(|(_, literals)| literals.len() > MAX_SIBLINGS) {
        for literal in literals {
            let mut key = hole.clone();
            key.segments[at].clone_from(&literal);
            let Some(operation) = operations.remove(&key) else { continue };
            let index = hole.placeholders().iter().position(|placeholder| placeholder.segment == at);
            let operation = operation.with_value(index.unwrap_or_default(), &literal);
            match operations.entry(hole.clone()) {
                std::collections::btree_map::Entry::Vacant(entry) => {
                    entry.insert(operation);
                }
                std::collections::btree_map::Entry::Occupied(mut entry) => entry.get_mut().merge(operation),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_named_after_what_they_identify() {
        for (target, want) in [
            (
                "/users/12/orders/9b2e4c1d-8f3a-4b6e-9d2c-1a2b3c4d5e6f?x=1",
                "/users/{user_id}/orders/{order_id}",
            ),
            ("/users/12/34", "/users/{user_id}/{id}"),
            ("/1/2", "/{id}/{id_2}"),
            ("/categories/7", "/categories/{category_id}"),
            ("/status/7", "/status/{status_id}"),
            ("/", "/"),
            ("/reports/2026-11-21", "/reports/{date}"),
        ] {
            assert_eq!(Key::new("get", target).template(), want, "{target}");
        }
    }

    #[test]
    fn values_stand_where_placeholders_do() {
        let key = Key::new("GET", "/users/12/orders/34");
        assert_eq!(key.values("/users/77/orders/88"), [Some("77"), Some("88")]);
        assert_eq!(key.values("/users"), [None, None]);
    }

    #[test]
    fn many_siblings_are_one_operation_with_a_name() {
        let names =
            ["ann", "bob", "cay", "dan", "eve", "fay", "gus", "hal", "ida", "jan", "kim", "leo", "mia"];
        let mut operations: BTreeMap<Key, Operation> = names
            .iter()
            .map(|name| (Key::new("GET", &format!("/users/{name}/posts")), Operation::default()))
            .collect();
        operations.insert(Key::new("GET", "/health/live"), Operation::default());
        merge_siblings(&mut operations);
        let paths: Vec<String> = operations.keys().map(Key::template).collect();
        assert_eq!(paths, ["/health/live", "/users/{name}/posts"]);
    }
}
