//! Hides credentials in entries that are written, by the list of [`capture_store::secrets`], and counts what it hid.

use std::collections::BTreeMap;

use capture_store::secrets::{MASK, SecretKind, SecretSpan, Secrets, mask};
use serde_json::{Map, Value};

use crate::merged::{Merged, Text};

/// What stands in a URL: [`MASK`] percent-encoded, for brackets are none of its characters.
const URL_MASK: &str = "%5Bredacted%5D";

/// The longest body that is looked through, in bytes; a longer one is left out of a file that hides credentials.
pub(crate) const MAX_BODY_BYTES: u64 = 16 * 1024 * 1024;

/// Names counted one by one; what has another counts as [`OTHERS`].
const MAX_NAMES: usize = 1_000;

const OTHERS: &str = "(others)";

/// How often a credential of one name was hidden.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Redacted {
    /// What it is: `header`, `cookie`, `query`, `userinfo`, `form`, `json` or `token`.
    pub kind: SecretKind,
    /// Its name in small letters: of the field, cookie, parameter, member, or of the token's shape.
    pub name: String,
    /// How often.
    pub count: u64,
}

/// Hides and counts.
#[derive(Debug)]
pub(crate) struct Redactor {
    secrets: Secrets,
    counts: BTreeMap<(SecretKind, String), u64>,
    /// What was hidden in the entry at hand, which counts once it is written.
    pending: Vec<(SecretKind, String)>,
}

impl Redactor {
    pub(crate) fn new(secrets: Secrets) -> Self {
        Self { secrets, counts: BTreeMap::new(), pending: Vec::new() }
    }

    /// What was hidden so far, most first.
    pub(crate) fn report(&self) -> Vec<Redacted> {
        let mut report: Vec<_> = self
            .counts
            .iter()
            .map(|((kind, name), count)| Redacted { kind: *kind, name: name.clone(), count: *count })
            .collect();
        report.sort_by_key(|redacted| std::cmp::Reverse(redacted.count));
        report
    }

    /// Hides what an entry says. Its bodies that are text are here by now.
    pub(crate) fn entry(&mut self, entry: &mut Merged<'_>) {
        self.walk(&mut entry.value, "");
        for (message, part, text) in [
            ("request", "postData", &mut entry.request_text),
            ("response", "content", &mut entry.response_text),
        ] {
            let Some(Text::Held(text)) = text else { continue };
            let content = entry.value.get_mut(message).and_then(|message| message.get_mut(part));
            let Some(content) = content.and_then(Value::as_object_mut) else { continue };
            let mime = content.get("mimeType").and_then(Value::as_str).unwrap_or_default();
            let Some(masked) = self.body(mime, text) else { continue };
            *text = masked;
            if part == "content" {
                content.insert("size".to_owned(), text.len().into());
                content.remove("compression");
            }
        }
    }

    /// Hides what a body or message says; `None` where there is nothing to hide.
    pub(crate) fn body(&mut self, mime: &str, text: &str) -> Option<String> {
        let spans = self.secrets.body(mime, text.as_bytes());
        self.masked(text, &spans, MASK)
    }

    /// Hides what a member of the log says.
    pub(crate) fn beside(&mut self, members: &mut Map<String, Value>) {
        for (name, value) in members {
            self.member(name, value);
        }
    }

    fn masked(&mut self, text: &str, spans: &[SecretSpan], with: &str) -> Option<String> {
        if spans.is_empty() {
            return None;
        }
        for span in spans {
            self.count(span.kind, &span.name);
        }
        let masked = mask(text.as_bytes(), spans, with);
        Some(String::from_utf8(masked).unwrap_or_else(|_| with.to_owned()))
    }

    fn count(&mut self, kind: SecretKind, name: &str) {
        self.pending.push((kind, name.to_ascii_lowercase()));
    }

    /// Forgets what was hidden in an entry that is written anew.
    pub(crate) fn forget(&mut self) {
        self.pending.clear();
    }

    /// Counts what was hidden in an entry that is written.
    pub(crate) fn commit(&mut self) {
        for key in std::mem::take(&mut self.pending) {
            if let Some(count) = self.counts.get_mut(&key) {
                *count += 1;
            } else {
                let (kind, name) = key;
                let name = if self.counts.len() < MAX_NAMES { name } else { OTHERS.to_owned() };
                *self.counts.entry((kind, name)).or_default() += 1;
            }
        }
    }

    /// Walks a value that is a member called `within`, or an item of a list so called.
    fn walk(&mut self, value: &mut Value, within: &str) {
        match value {
            Value::Array(list) => list.iter_mut().for_each(|item| self.walk(item, within)),
            Value::Object(members) => {
                let is_pair = self.pair(members, within);
                for (name, value) in members {
                    if !(is_pair && (name == "name" || name == "value")) {
                        self.member(name, value);
                    }
                }
            }
            Value::String(text) => {
                let spans = self.secrets.text(text.as_bytes());
                if let Some(masked) = self.masked(text, &spans, MASK) {
                    *text = masked;
                }
            }
            _ => {}
        }
    }

    fn member(&mut self, name: &str, value: &mut Value) {
        if self.secrets.is_name(name.as_bytes()) && !matches!(value, Value::Bool(_) | Value::Null) {
            self.hide(name, value);
            return;
        }
        match value {
            Value::String(text)
                if matches!(name, "url" | "redirectURL" | "target") || text.contains("://") =>
            {
                let spans = self.secrets.url(text.as_bytes());
                if let Some(masked) = self.masked(text, &spans, URL_MASK) {
                    *text = masked;
                }
            }
            _ => self.walk(value, name),
        }
    }

    /// Hides all texts and numbers of a value.
    fn hide(&mut self, name: &str, value: &mut Value) {
        match value {
            Value::Array(list) => list.iter_mut().for_each(|item| self.hide(name, item)),
            Value::Object(members) => members.values_mut().for_each(|value| self.hide(name, value)),
            Value::String(text) if text.is_empty() => {}
            Value::String(_) | Value::Number(_) => {
                self.count(SecretKind::Json, name);
                *value = MASK.into();
            }
            _ => {}
        }
    }

    /// Hides the value of a name and a value, as HAR lists headers, cookies and parameters.
    fn pair(&mut self, members: &mut Map<String, Value>, within: &str) -> bool {
        let Some(name) = members.get("name").and_then(Value::as_str).map(str::to_owned) else { return false };
        let Some(Value::String(value)) = members.get_mut("value") else { return false };
        let whole = |kind| {
            if value.is_empty() {
                Vec::new()
            } else {
                vec![SecretSpan::whole(value.len(), kind, name.as_bytes())]
            }
        };
        let is_secret = self.secrets.is_name(name.as_bytes());
        let spans = match within {
            "cookies" => whole(SecretKind::Cookie),
            "queryString" if is_secret => whole(SecretKind::Query),
            "params" if is_secret => whole(SecretKind::Form),
            "queryString" | "params" => self.secrets.text(value.as_bytes()),
            _ => self.secrets.header(name.as_bytes(), value.as_bytes()),
        };
        if let Some(masked) = self.masked(value, &spans, MASK) {
            *value = masked;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_entry_hides_its_credentials_wherever_they_stand() {
        let value = json!({
            "request": {
                "url": "https://ann:pw@a.test/?token=t&q=1", "queryString": [{"name": "token", "value": "t"}, {"name": "q", "value": "1"}],
                "headers": [{"name": "Authorization", "value": "Bearer abc"}, {"name": "Cookie", "value": "a=1"}, {"name": "X-Q", "value": "1"}],
                "cookies": [{"name": "a", "value": "1"}], "postData": {"mimeType": "application/json", "params": [{"name": "password", "value": "p"}]}},
            "response": {"headers": [{"name": "Set-Cookie", "value": "b=2; Path=/"}], "cookies": [{"name": "b", "value": "2"}],
                "content": {"mimeType": "application/json", "size": 30, "compression": 9}, "redirectURL": "/#access_token=1"},
            "_wirescope": {"requestTrailers": [{"name": "X-Token", "value": "v"}]},
            "_session": {"accessToken": "x", "n": 5, "ids": ["AKIAIOSFODNN7EXAMPLE"]}});
        let mut entry = Merged {
            value,
            request_text: Some(Text::Held(r#"{"password":"p"}"#.to_owned())),
            response_text: Some(Text::Held(r#"{"ok":true,"jwt":"j"}"#.to_owned())),
            messages: None,
        };
        let mut redactor = Redactor::new(Secrets::default().with_name("q"));
        redactor.entry(&mut entry);
        redactor.commit();
        let json: Value = serde_json::from_str(&serde_json::to_string(&entry).unwrap()).unwrap();
        let expected = json!({
            "request": {
                "url": "https://ann:%5Bredacted%5D@a.test/?token=%5Bredacted%5D&q=%5Bredacted%5D",
                "queryString": [{"name": "token", "value": MASK}, {"name": "q", "value": MASK}],
                "headers": [{"name": "Authorization", "value": "Bearer [redacted]"}, {"name": "Cookie", "value": "a=[redacted]"}, {"name": "X-Q", "value": "1"}],
                "cookies": [{"name": "a", "value": MASK}],
                "postData": {"mimeType": "application/json", "params": [{"name": "password", "value": MASK}], "text": "{\"password\":\"[redacted]\"}"}},
            "response": {"headers": [{"name": "Set-Cookie", "value": "b=[redacted]; Path=/"}], "cookies": [{"name": "b", "value": MASK}],
                "content": {"mimeType": "application/json", "size": 30, "text": "{\"ok\":true,\"jwt\":\"[redacted]\"}"},
                "redirectURL": "/#access_token=%5Bredacted%5D"},
            "_wirescope": {"requestTrailers": [{"name": "X-Token", "value": MASK}]},
            "_session": {"accessToken": MASK, "n": 5, "ids": [MASK]}});
        assert_eq!(json, expected);
        let report = redactor.report();
        let count = |kind, name: &str| {
            report.iter().find(|hidden| hidden.kind == kind && hidden.name == name).map(|hidden| hidden.count)
        };
        assert_eq!(count(SecretKind::Query, "token"), Some(2));
        assert_eq!(count(SecretKind::Cookie, "a"), Some(2));
        assert_eq!(count(SecretKind::Header, "authorization"), Some(1));
        assert_eq!(count(SecretKind::Token, "aws-access-key-id"), Some(1));
        assert!(report.is_sorted_by_key(|hidden| std::cmp::Reverse(hidden.count)));
    }
}
