//! What other tools say in an entry that an exchange has no place for: kept as it is, and put back where it was.
//!
//! [`kept`] compares an entry as it was read with the one we would write of the exchange it became. What is different
//! and valid is kept as a patch, in the shape of an entry; [`put_back`] lays it over ours. So `_` fields and comments stay
//! wherever they are, and so does `h2` where we write `http/2.0`, without a list of what each tool likes to say.

use serde_json::{Map, Value};

use crate::{clock, extra::EXTRA};

/// The most bytes of JSON kept of one entry.
pub(crate) const MAX_BYTES: usize = 4 * 1024 * 1024;

/// A part of an entry whose members are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Entry,
    Request,
    PostData,
    Response,
    Content,
    Timings,
}

impl Part {
    /// The part that a member is, where it is one.
    fn within(self, name: &str) -> Option<Self> {
        Some(match (self, name) {
            (Self::Entry, "request") => Self::Request,
            (Self::Entry, "response") => Self::Response,
            (Self::Entry, "timings") => Self::Timings,
            (Self::Request, "postData") => Self::PostData,
            (Self::Response, "content") => Self::Content,
            _ => return None,
        })
    }

    /// The members we write ourselves.
    fn ours(self) -> &'static [&'static str] {
        match self {
            Self::Entry => &[
                "startedDateTime",
                "time",
                "request",
                "response",
                "cache",
                "timings",
                "serverIPAddress",
                "connection",
                "comment",
                "_resourceType",
                "_webSocketMessages",
                EXTRA,
            ],
            Self::Request => &[
                "method",
                "url",
                "httpVersion",
                "cookies",
                "headers",
                "queryString",
                "postData",
                "headersSize",
                "bodySize",
            ],
            Self::PostData => &["mimeType", "text", "encoding", "params", "comment"],
            Self::Response => &[
                "status",
                "statusText",
                "httpVersion",
                "cookies",
                "headers",
                "content",
                "redirectURL",
                "headersSize",
                "bodySize",
                "_error",
            ],
            Self::Content => &["size", "compression", "mimeType", "text", "encoding", "comment"],
            Self::Timings => &["blocked", "dns", "connect", "ssl", "send", "wait", "receive"],
        }
    }
}

/// What becomes of a member that is not as we would write it.
enum Rule {
    /// Ours holds: it is what the exchange says, or HAR has a rule for it.
    Ours,
    /// Theirs is kept where it is of this form.
    If(fn(&Value, &Map<String, Value>) -> bool),
}

/// Whether an entry of ours was changed since by somebody who added something.
pub(crate) fn may_have(entry: &Value) -> bool {
    let Some(entry) = entry.as_object() else { return false };
    let is_ours =
        entry.get(EXTRA).is_some_and(|extra| extra.get("seq").is_some() && extra.get("foreign").is_none());
    !is_ours || has_more(Part::Entry, entry)
}

fn has_more(part: Part, members: &Map<String, Value>) -> bool {
    members.iter().any(|(name, value)| {
        let inner = part.within(name).zip(value.as_object());
        !part.ours().contains(&name.as_str()) || inner.is_some_and(|(inner, value)| has_more(inner, value))
    })
}

/// What is to be kept of `theirs` beside `ours`; `None` where ours says it all.
pub(crate) fn kept(ours: &Value, theirs: &Value) -> Option<Map<String, Value>> {
    let empty = Map::new();
    let patch = differences(Part::Entry, ours.as_object().unwrap_or(&empty), theirs.as_object()?);
    (!patch.is_empty()).then_some(patch)
}

fn differences(part: Part, ours: &Map<String, Value>, theirs: &Map<String, Value>) -> Map<String, Value> {
    let mut patch = Map::new();
    for (name, value) in theirs {
        let our = ours.get(name);
        if let Some(inner) = part.within(name) {
            let Some(theirs) = value.as_object() else { continue };
            let none = Map::new();
            let below = differences(inner, our.and_then(Value::as_object).unwrap_or(&none), theirs);
            if !below.is_empty() {
                patch.insert(name.clone(), Value::Object(below));
            }
        } else if our.is_none_or(|our| !is_same(our, value)) {
            let keeps = match rule(part, name) {
                Rule::Ours => false,
                Rule::If(is_valid) => is_valid(value, ours),
            };
            if keeps {
                patch.insert(name.clone(), value.clone());
            }
        }
    }
    patch
}

/// Equality of JSON, for which 5 and 5.0 are one number.
fn is_same(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Number(ours), Value::Number(theirs)) => ours == theirs || ours.as_f64() == theirs.as_f64(),
        (Value::Array(ours), Value::Array(theirs)) => {
            ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(ours, theirs)| is_same(ours, theirs))
        }
        (Value::Object(ours), Value::Object(theirs)) => {
            ours.len() == theirs.len()
                && ours.iter().all(|(name, our)| theirs.get(name).is_some_and(|their| is_same(our, their)))
        }
        _ => ours == theirs,
    }
}

fn rule(part: Part, name: &str) -> Rule {
    match (part, name) {
        (_, EXTRA | "_webSocketMessages") => Rule::Ours,
        (Part::Entry, "startedDateTime") => Rule::If(is_same_instant),
        (Part::Entry, "serverIPAddress") => {
            Rule::If(|value, _| is_text(value, |text| text.parse::<std::net::IpAddr>().is_ok()))
        }
        (Part::Entry, "connection" | "pageref") => {
            Rule::If(|value, _| is_text(value, |text| !text.is_empty()))
        }
        (Part::Entry, "cache") => Rule::If(is_cache),
        (Part::Entry, "time") => Rule::Ours,
        (Part::Request, "url") => Rule::If(|value, _| is_text(value, is_url)),
        (Part::Request, "method") | (Part::Response, "status") => Rule::Ours,
        (Part::Request | Part::Response, "httpVersion") => {
            Rule::If(|value, _| is_text(value, |text| !text.is_empty()))
        }
        (Part::Response, "statusText" | "redirectURL") => Rule::If(|value, _| value.is_string()),
        (Part::Request | Part::Response, "headers") => Rule::If(is_list_of_headers),
        (Part::Request | Part::Response, "cookies")
        | (Part::Request, "queryString")
        | (Part::PostData, "params") => Rule::If(is_list_of_pairs),
        (Part::Request | Part::Response, "headersSize" | "bodySize") | (Part::Content, "size") => {
            Rule::If(|value, _| value.as_i64().is_some_and(|size| size >= -1))
        }
        // Below zero where coding made a small body larger.
        (Part::Content, "compression") => Rule::If(|value, _| value.is_i64()),
        (Part::PostData | Part::Content, "mimeType") => Rule::If(|value, _| value.is_string()),
        // The file of an attached body does not come with ours.
        (Part::PostData | Part::Content, "text" | "encoding" | "_encoding" | "_file") => Rule::Ours,
        (Part::Timings, name) if Part::Timings.ours().contains(&name) => Rule::Ours,
        (_, "comment") => Rule::If(|value, _| value.is_string()),
        // HAR 1.2 has no other members, and gives tools those that begin so.
        (_, name) if name.starts_with('_') => Rule::If(|_, _| true),
        _ => Rule::Ours,
    }
}

fn is_text(value: &Value, is: fn(&str) -> bool) -> bool {
    value.as_str().is_some_and(is)
}

/// What validators take for a URL.
fn is_url(text: &str) -> bool {
    let has_scheme = ["http://", "https://"]
        .into_iter()
        .any(|scheme| text.len() > scheme.len() && text.starts_with(scheme));
    has_scheme
        && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte))
        && text.split('%').skip(1).all(|rest| {
            rest.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
        })
}

/// The same instant, said otherwise: with another offset, or more digits.
fn is_same_instant(value: &Value, ours: &Map<String, Value>) -> bool {
    let instant = |value: &Value| value.as_str().and_then(clock::parse_iso);
    let has_offset = is_text(value, |text| {
        text.len() > 19
            && (text.ends_with('Z') || text[19..].contains(['+', '-']))
            && text.as_bytes()[10] == b'T'
    });
    has_offset && instant(value).is_some() && instant(value) == ours.get("startedDateTime").and_then(instant)
}

fn is_cache(value: &Value, _: &Map<String, Value>) -> bool {
    let is_state = |state: Option<&Value>| match state {
        None | Some(Value::Null) => true,
        Some(state) => {
            let text = |name| state.get(name).is_some_and(Value::is_string);
            text("lastAccess") && text("eTag") && state.get("hitCount").is_some_and(Value::is_number)
        }
    };
    value.is_object() && is_state(value.get("beforeRequest")) && is_state(value.get("afterRequest"))
}

/// Pairs of which none would end its line, or the head; Chrome's values of several lines are several fields.
fn is_list_of_headers(value: &Value, ours: &Map<String, Value>) -> bool {
    let is_field = |item: &Value| {
        let text = |name: &str| item[name].as_str().unwrap_or_default();
        !text("name").is_empty()
            && !text("name").contains(['\r', '\n', '\0'])
            && !text("value").contains(['\r', '\0'])
    };
    is_list_of_pairs(value, ours) && value.as_array().is_some_and(|list| list.iter().all(is_field))
}

fn is_list_of_pairs(value: &Value, _: &Map<String, Value>) -> bool {
    let is_pair = |item: &Value| {
        let text = |name| item.get(name).is_some_and(Value::is_string);
        let absent_or_text = |name| item.get(name).is_none_or(Value::is_string);
        let date = item.get("expires");
        text("name")
            && text("value")
            && ["path", "domain", "comment", "fileName", "contentType"].into_iter().all(absent_or_text)
            && ["httpOnly", "secure"].into_iter().all(|name| item.get(name).is_none_or(Value::is_boolean))
            && date.is_none_or(|date| date.as_str().is_some_and(|date| clock::parse_iso(date).is_some()))
    };
    value.as_array().is_some_and(|list| list.iter().all(is_pair))
}

/// Lays what was kept over an entry of ours.
pub(crate) fn put_back(ours: &mut Value, patch: Map<String, Value>) {
    lay(Part::Entry, ours, patch);
}

fn lay(part: Part, ours: &mut Value, patch: Map<String, Value>) {
    let Some(members) = ours.as_object_mut() else { return };
    for (name, value) in patch {
        match (part.within(&name), value) {
            (Some(inner), Value::Object(below)) => {
                let our = members.entry(name).or_insert_with(|| Value::Object(Map::new()));
                lay(inner, our, below);
            }
            (_, value) => {
                members.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_others_say_is_kept_where_it_is_valid_and_put_back() {
        let ours = json!({"startedDateTime": "2026-03-02T09:15:00.120Z", "time": 5.0, "connection": "443",
            "request": {"method": "GET", "httpVersion": "http/2.0", "headersSize": 10, "headers": []},
            "response": {"status": 200, "content": {"size": 3, "mimeType": "x-unknown"}}, "timings": {"dns": -1.0}});
        let theirs = json!({"startedDateTime": "2026-03-02T10:15:00.120+01:00", "time": 7, "connection": 443,
            "pageref": "page_1", "_initiator": {"type": "script"}, "_wirescope": {"x": 1}, "unknown": 1,
            "request": {"method": "get", "httpVersion": "h2", "headersSize": 10.0, "headers": [{"name": ":path", "value": "/"}], "_a": null},
            "response": {"status": 0, "content": {"size": "3", "mimeType": "text/html", "comment": "c", "text": "x"}, "_error": "e"},
            "timings": {"dns": 3, "_blocked_queueing": 1.5}});
        let patch = kept(&ours, &theirs).unwrap();
        let expected = json!({"startedDateTime": "2026-03-02T10:15:00.120+01:00", "pageref": "page_1",
            "_initiator": {"type": "script"},
            "request": {"httpVersion": "h2", "headers": [{"name": ":path", "value": "/"}], "_a": null},
            "response": {"content": {"mimeType": "text/html", "comment": "c"}, "_error": "e"},
            "timings": {"_blocked_queueing": 1.5}});
        assert_eq!(Value::Object(patch.clone()), expected);
        let mut back = ours.clone();
        put_back(&mut back, patch);
        assert_eq!(back["request"]["httpVersion"], "h2");
        assert_eq!((&back["time"], &back["timings"]["dns"]), (&json!(5.0), &json!(-1.0)));
        assert_eq!(back["response"]["content"]["comment"], "c");
        assert!(kept(&ours, &ours).is_none());
    }

    #[test]
    fn an_entry_of_ours_is_compared_only_where_somebody_added_to_it() {
        let ours = json!({"time": 1, "request": {"method": "GET"}, EXTRA: {"seq": 1}});
        assert!(!may_have(&ours));
        for (path, name) in [("", "_note"), ("/request", "comment"), ("/_wirescope", "foreign")] {
            let mut changed = ours.clone();
            changed.pointer_mut(path).unwrap()[name] = json!(true);
            assert!(may_have(&changed), "{path}");
        }
        assert!(may_have(&json!({"time": 1})));
    }
}
