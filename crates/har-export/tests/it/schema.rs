//! What HAR 1.2 asks of a file, as data: modelled on the JSON schemas that the npm package `har-validator` checks.

use serde_json::{Map, Value};

/// What a field holds.
enum Holds {
    Text,
    Whole,
    Number { least: f64 },
    Flag,
    Instant,
    Url,
    Address,
    Object(&'static [Field]),
    List(&'static [Field]),
}

use Holds::{Address, Flag, Instant, List, Number, Object, Text, Url, Whole};

struct Field {
    name: &'static str,
    required: bool,
    holds: Holds,
}

const fn must(name: &'static str, holds: Holds) -> Field {
    Field { name, required: true, holds }
}

const fn may(name: &'static str, holds: Holds) -> Field {
    Field { name, required: false, holds }
}

const TIME: Holds = Number { least: 0.0 };
const TIME_OR_NONE: Holds = Number { least: -1.0 };

const FILE: &[Field] = &[must("log", Object(LOG))];
const LOG: &[Field] = &[
    must("version", Text),
    must("creator", Object(CREATOR)),
    may("browser", Object(CREATOR)),
    may("pages", List(&[])),
    must("entries", List(ENTRY)),
    may("comment", Text),
];
const CREATOR: &[Field] = &[must("name", Text), must("version", Text), may("comment", Text)];
const ENTRY: &[Field] = &[
    may("pageref", Text),
    must("startedDateTime", Instant),
    must("time", TIME),
    must("request", Object(REQUEST)),
    must("response", Object(RESPONSE)),
    must("cache", Object(&[])),
    must("timings", Object(TIMINGS)),
    may("serverIPAddress", Address),
    may("connection", Text),
    may("comment", Text),
];
const REQUEST: &[Field] = &[
    must("method", Text),
    must("url", Url),
    must("httpVersion", Text),
    must("cookies", List(COOKIE)),
    must("headers", List(PAIR)),
    must("queryString", List(PAIR)),
    may("postData", Object(POST_DATA)),
    must("headersSize", Whole),
    must("bodySize", Whole),
    may("comment", Text),
];
const RESPONSE: &[Field] = &[
    must("status", Whole),
    must("statusText", Text),
    must("httpVersion", Text),
    must("cookies", List(COOKIE)),
    must("headers", List(PAIR)),
    must("content", Object(CONTENT)),
    must("redirectURL", Text),
    must("headersSize", Whole),
    must("bodySize", Whole),
    may("comment", Text),
];
const PAIR: &[Field] = &[must("name", Text), must("value", Text), may("comment", Text)];
const COOKIE: &[Field] = &[
    must("name", Text),
    must("value", Text),
    may("path", Text),
    may("domain", Text),
    may("expires", Instant),
    may("httpOnly", Flag),
    may("secure", Flag),
    may("comment", Text),
    // Not in HAR 1.2; Chrome and Playwright write it.
    may("sameSite", Text),
];
const POST_DATA: &[Field] = &[
    must("mimeType", Text),
    may("text", Text),
    may("params", List(PARAM)),
    may("comment", Text),
    // Not in HAR 1.2; Playwright reads it.
    may("encoding", Text),
];
const PARAM: &[Field] = &[
    must("name", Text),
    may("value", Text),
    may("fileName", Text),
    may("contentType", Text),
    may("comment", Text),
];
const CONTENT: &[Field] = &[
    must("size", Whole),
    may("compression", Whole),
    must("mimeType", Text),
    may("text", Text),
    may("encoding", Text),
    may("comment", Text),
];
const TIMINGS: &[Field] = &[
    may("blocked", TIME_OR_NONE),
    may("dns", TIME_OR_NONE),
    may("connect", TIME_OR_NONE),
    may("ssl", TIME_OR_NONE),
    must("send", TIME),
    must("wait", TIME),
    must("receive", TIME),
    may("comment", Text),
];

/// Everything in a file that is not as HAR 1.2 asks.
pub(crate) fn problems(file: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    check(file, &Object(FILE), "", &mut problems);
    for (index, entry) in file["log"]["entries"].as_array().into_iter().flatten().enumerate() {
        check_sum(entry, index, &mut problems);
    }
    problems
}

/// `time` is the sum of the timings that are not -1; `ssl` is within `connect`.
fn check_sum(entry: &Value, index: usize, problems: &mut Vec<String>) {
    let part = |name: &str| entry["timings"][name].as_f64().filter(|part| *part >= 0.0);
    let parts = ["blocked", "dns", "connect", "send", "wait", "receive"];
    let sum: f64 = parts.into_iter().filter_map(part).sum();
    let time = entry["time"].as_f64().unwrap_or(-1.0);
    if (sum - time).abs() > 1e-3 * (1.0 + sum.abs()) {
        problems.push(format!("entries[{index}].time is {time}, the timings sum up to {sum}"));
    }
}

fn check(value: &Value, holds: &Holds, place: &str, problems: &mut Vec<String>) {
    let fine = match holds {
        Object(fields) => match value.as_object() {
            Some(object) => return check_object(object, fields, place, problems),
            None => false,
        },
        List(fields) => match value.as_array() {
            Some(list) => {
                for (index, item) in list.iter().enumerate() {
                    check(item, &Object(fields), &format!("{place}[{index}]"), problems);
                }
                return;
            }
            None => false,
        },
        Text => value.is_string(),
        Flag => value.is_boolean(),
        Whole => value.is_i64() || value.is_u64(),
        Number { least } => value.as_f64().is_some_and(|number| number >= *least),
        Instant => value.as_str().is_some_and(is_instant),
        Url => value.as_str().is_some_and(is_url),
        Address => value.as_str().is_some_and(|text| text.parse::<std::net::IpAddr>().is_ok()),
    };
    if !fine {
        problems.push(format!("{place} is {value}"));
    }
}

fn check_object(object: &Map<String, Value>, fields: &[Field], place: &str, problems: &mut Vec<String>) {
    for field in fields {
        match object.get(field.name) {
            Some(value) => check(value, &field.holds, &format!("{place}.{}", field.name), problems),
            None if field.required => problems.push(format!("{place}.{} is missing", field.name)),
            None => {}
        }
    }
    for name in object.keys().filter(|name| !name.starts_with('_')) {
        if !fields.is_empty() && fields.iter().all(|field| field.name != name) {
            problems.push(format!("{place}.{name} is not in HAR 1.2"));
        }
    }
}

/// `YYYY-MM-DDThh:mm:ss.sTZD`, as the schema's pattern has it.
fn is_instant(text: &str) -> bool {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let Some(rest) = shape.strip_prefix("0000-00-00T00:00:00") else { return false };
    let zone = match rest.strip_prefix('.') {
        Some(fraction) if fraction.starts_with('0') => fraction.trim_start_matches('0'),
        Some(_) => return false,
        None => rest,
    };
    matches!(zone, "Z" | "+00:00" | "-00:00")
}

/// An absolute URL without anything a URL may not hold.
fn is_url(text: &str) -> bool {
    (text.starts_with("http://") || text.starts_with("https://"))
        && text.bytes().all(|byte| byte.is_ascii_graphic())
}
