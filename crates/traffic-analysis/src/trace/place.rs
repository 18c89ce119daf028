//! Where in an exchange a text is.

use capture_store::BodySide;
use serde_json::Value;

use super::{Encoding, Needle};
use crate::{form, subject::Subject};

/// Places told of one exchange at most.
const MAX_PLACES: usize = 24;
/// Members of JSON looked at in one body.
const MAX_NODES: usize = 1_000_000;
/// How deep JSON is looked into.
const MAX_DEPTH: usize = 100;
/// Messages looked at of one exchange, and at once.
const MAX_MESSAGES: u64 = 10_000;
const MESSAGES_AT_ONCE: usize = 100;
/// Characters on either side of a text that are told.
const CONTEXT_CHARS: usize = 24;

/// Where in an exchange a text is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Place {
    /// Whether it is in the request or in the response.
    pub side: BodySide,
    /// The field, as [`Field`](crate::Field) names it where that has a name for it: `param.page`, `req.header.cookie`,
    /// `resp.json./user/id`; `path`, `host`, `message.3`.
    pub field: String,
    /// How it is written there.
    pub encoding: Encoding,
    /// The text with what stands around it.
    pub excerpt: String,
}

/// Finds the places of a text in an exchange, in the order they are on the wire; at most 24.
#[must_use]
pub fn places(subject: &Subject<'_>, needle: &Needle) -> Vec<Place> {
    let mut search = Search { needle, side: BodySide::Request, places: Vec::new(), nodes: 0 };
    search.url(subject);
    for side in [BodySide::Request, BodySide::Response] {
        search.side = side;
        search.headers(subject);
        search.body(subject);
    }
    search.messages(subject);
    search.places
}

struct Search<'n> {
    needle: &'n Needle,
    side: BodySide,
    places: Vec<Place>,
    nodes: usize,
}

impl Search<'_> {
    fn prefix(&self) -> &'static str {
        match self.side {
            BodySide::Request => "req",
            BodySide::Response => "resp",
        }
    }

    /// Notes the place if the text is there; says whether it is.
    fn look(&mut self, text: &str, field: impl FnOnce() -> String) -> bool {
        let Some((range, encoding)) = self.needle.find(text.as_bytes()) else { return false };
        if self.places.len() < MAX_PLACES {
            let excerpt = excerpt(text, range);
            self.places.push(Place { side: self.side, field: field(), encoding, excerpt });
        }
        true
    }

    fn url(&mut self, subject: &Subject<'_>) {
        let summary = subject.summary();
        let query = form::query(&summary.target).unwrap_or_default();
        let mut found = self.look(&summary.host, || "host".to_owned());
        found |= self.look(crate::field::path(summary), || "path".to_owned());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, pair));
            found |= self.look(value, || format!("param.{}", form::decoded(name)));
        }
        if !found {
            self.look(&summary.url, || "url".to_owned());
        }
    }

    fn headers(&mut self, subject: &Subject<'_>) {
        let Some(headers) = subject.headers(self.side) else { return };
        let cookies = match self.side {
            BodySide::Request => form::sent_cookies(headers),
            BodySide::Response => form::set_cookies(headers),
        };
        let prefix = self.prefix();
        let mut in_cookie = false;
        for (name, value) in &cookies {
            in_cookie |= self.look(value, || format!("{prefix}.cookie.{name}"));
        }
        for header in headers {
            let name = header.name_text().to_ascii_lowercase();
            if in_cookie && matches!(name.as_str(), "cookie" | "set-cookie") {
                continue;
            }
            if !self.look(&header.value_text(), || format!("{prefix}.header.{name}")) {
                self.look(&name, || format!("{prefix}.header.{name}"));
            }
        }
    }

    fn body(&mut self, subject: &Subject<'_>) {
        let Some(body) = subject.text(self.side) else { return };
        if self.needle.find(body.text.as_bytes()).is_none() {
            return;
        }
        let before = self.places.len();
        if let Some(json) = subject.json(self.side) {
            self.json(json, &mut String::new(), 0);
        } else if self.is_form(subject) {
            for pair in body.text.split('&') {
                let (name, value) = pair.split_once('=').unwrap_or((pair, pair));
                self.look(value, || format!("req.form.{}", form::decoded(name)));
            }
        }
        if self.places.len() == before {
            let prefix = self.prefix();
            self.look(&body.text, || format!("{prefix}.body"));
        }
    }

    fn is_form(&self, subject: &Subject<'_>) -> bool {
        let kind = subject.summary().request_content_type.as_deref();
        self.side == BodySide::Request && kind.is_some_and(|kind| kind.contains("urlencoded"))
    }

    /// Looks through members and their names; `pointer` leads to `json`.
    fn json(&mut self, json: &Value, pointer: &mut String, depth: usize) {
        self.nodes += 1;
        if depth > MAX_DEPTH || self.nodes > MAX_NODES || self.places.len() >= MAX_PLACES {
            return;
        }
        let length = pointer.len();
        let prefix = self.prefix();
        match json {
            Value::String(text) => {
                self.look(text, || format!("{prefix}.json.{pointer}"));
            }
            Value::Number(number) => {
                self.look(&number.to_string(), || format!("{prefix}.json.{pointer}"));
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    pointer.push_str(&format!("/{index}"));
                    self.json(item, pointer, depth + 1);
                    pointer.truncate(length);
                }
            }
            Value::Object(members) => {
                for (name, member) in members {
                    pointer.push('/');
                    pointer.push_str(&escaped(name));
                    self.look(name, || format!("{prefix}.json.{pointer}"));
                    self.json(member, pointer, depth + 1);
                    pointer.truncate(length);
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn messages(&mut self, subject: &Subject<'_>) {
        let summary = subject.summary();
        let mut from = 0;
        while from < summary.messages.min(MAX_MESSAGES) && self.places.len() < MAX_PLACES {
            let Ok(messages) = subject.store().messages(summary.seq, from, MESSAGES_AT_ONCE) else { return };
            let Some(last) = messages.last() else { return };
            from = last.index + 1;
            for message in messages {
                self.side = if message.from_client { BodySide::Request } else { BodySide::Response };
                let text = String::from_utf8_lossy(&message.data);
                self.look(&text, || format!("message.{}", message.index));
            }
        }
    }
}

/// A member's name as a JSON pointer writes it (RFC 6901 section 3).
pub(crate) fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// A text with some characters of what stands around it.
fn excerpt(text: &str, range: std::ops::Range<usize>) -> String {
    /// Characters of the text itself.
    const MAX_CHARS: usize = 60;
    let floor = |mut at: usize| {
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let (start, end) = (floor(range.start), floor(range.end.min(text.len())));
    let before: Vec<char> = text[..start].chars().rev().take(CONTEXT_CHARS + 1).collect();
    let mut out = String::new();
    if before.len() > CONTEXT_CHARS {
        out.push('\u{2026}');
    }
    out.extend(before.iter().take(CONTEXT_CHARS).rev());
    let found = &text[start..end];
    out.extend(found.chars().take(MAX_CHARS));
    if found.chars().count() > MAX_CHARS {
        out.push('\u{2026}');
        return out;
    }
    let after: Vec<char> = text[end..].chars().take(CONTEXT_CHARS + 1).collect();
    out.extend(after.iter().take(CONTEXT_CHARS));
    if after.len() > CONTEXT_CHARS {
        out.push('\u{2026}');
    }
    out
}
