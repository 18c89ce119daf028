//! Whether a matcher holds: the one function that live traffic and explanations both run.

use std::{collections::BTreeMap, fmt::Display, ops::ControlFlow, time::SystemTime};

use http::Version;

use super::{
    json::JsonCheck,
    matcher::{Matcher, Presence, Protocol},
    moment::Moment,
    pattern::Pattern,
    subject::{Answered, Seen, Subject, parsed},
};
use crate::head::Headers;

/// How one check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Holds {
    /// It holds.
    Yes,
    /// It fails.
    No,
    /// Nobody can tell, and why; a live exchange does not match then.
    Unknown(&'static str),
}

impl From<bool> for Holds {
    fn from(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }
}

/// Who hears of the checks.
pub(super) trait Sink {
    /// Hears of one check, and says whether to go on. `actual` makes the words for what was found.
    fn check(
        &mut self,
        part: &'static str,
        holds: Holds,
        expected: &dyn Display,
        actual: &dyn Fn() -> String,
    ) -> ControlFlow<()>;
}

/// Stops at the first check that does not hold.
pub(super) struct Quick;

impl Sink for Quick {
    fn check(
        &mut self,
        _part: &'static str,
        holds: Holds,
        _expected: &dyn Display,
        _actual: &dyn Fn() -> String,
    ) -> ControlFlow<()> {
        if holds == Holds::Yes { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}

/// Checks what the clock, counts and chance decide, as they are now, without using any of it up.
pub(super) fn occasion(
    when: &Matcher,
    now: SystemTime,
    next_meeting: u64,
    sink: &mut impl Sink,
) -> ControlFlow<()> {
    if let Some(window) = when.window {
        sink.check("window", window.contains(now).into(), &window, &|| Moment::new(now).to_string())?;
    }
    if let Some(nth) = when.nth {
        let actual = || format!("the next is number {next_meeting}");
        sink.check("nth", nth.holds(next_meeting).into(), &nth, &actual)?;
    }
    if let Some(probability) = when.probability {
        let holds = match probability.share() {
            share if share <= 0.0 => Holds::No,
            share if share >= 1.0 => Holds::Yes,
            _ => Holds::Unknown("left to chance"),
        };
        let expected = format!("in {} % of the cases", probability.share() * 100.0);
        sink.check("probability", holds, &expected, &|| "drawn for each exchange".to_owned())?;
    }
    ControlFlow::Continue(())
}

/// Checks everything that the request's head decides, cheap parts first.
pub(super) fn request_head(when: &Matcher, on: &Subject<'_>, sink: &mut impl Sink) -> ControlFlow<()> {
    let head = on.asked.head;
    if !when.method.is_empty() {
        let method = head.method.as_str();
        let holds = when.method.iter().any(|wanted| wanted.eq_ignore_ascii_case(method));
        sink.check("method", holds.into(), &any_of(&when.method), &|| method.to_owned())?;
    }
    if let Some(scheme) = when.scheme {
        let expected =
            if scheme == on.scheme { head.scheme.as_str() } else { other_scheme(head.scheme.as_str()) };
        let holds = scheme == on.scheme;
        sink.check("scheme", holds.into(), &expected, &|| head.scheme.as_str().to_owned())?;
    }
    if !when.host.is_empty() {
        let holds = when.host.iter().any(|host| host.matches(&on.host, on.port));
        sink.check("host", holds.into(), &any_of(&when.host), &|| format!("{}:{}", on.host, on.port))?;
    }
    if !when.port.is_empty() {
        sink.check("port", when.port.contains(&on.port).into(), &any_of(&when.port), &|| {
            on.port.to_string()
        })?;
    }
    if !when.path.is_empty() {
        let holds = when.path.iter().any(|pattern| pattern.matches(on.path));
        sink.check("path", holds.into(), &any_of(&when.path), &|| on.path.to_owned())?;
    }
    if !when.url.is_empty() {
        let holds = when.url.iter().any(|url| url.pattern().matches(on.url()));
        sink.check("url", holds.into(), &any_of(&when.url), &|| on.url().to_owned())?;
    }
    connection(when, on, sink)?;
    parameters(when, on, sink)?;
    fields("headers", &when.headers, &head.headers, sink)
}

fn other_scheme(scheme: &str) -> &'static str {
    if scheme == "http" { "https" } else { "http" }
}

/// Checks what the connection and the version decide.
fn connection(when: &Matcher, on: &Subject<'_>, sink: &mut impl Sink) -> ControlFlow<()> {
    if !when.protocol.is_empty() {
        let holds = when.protocol.iter().any(|protocol| speaks(*protocol, on));
        let names: Vec<_> = when.protocol.iter().map(|protocol| protocol_name(*protocol)).collect();
        sink.check("protocol", holds.into(), &names.join(" or "), &|| actual_protocol(on))?;
    }
    if !when.listener.is_empty() {
        let holds = when.listener.contains(&on.listener);
        let names: Vec<_> = when.listener.iter().map(|kind| format!("{kind:?}").to_lowercase()).collect();
        let actual = || format!("{:?}", on.listener).to_lowercase();
        sink.check("listener", holds.into(), &names.join(" or "), &actual)?;
    }
    if !when.client.is_empty() {
        let address = on.asked.client.peer.ip();
        let holds = when.client.iter().any(|network| network.contains(address));
        sink.check("client", holds.into(), &any_of(&when.client), &|| address.to_canonical().to_string())?;
    }
    ControlFlow::Continue(())
}

fn speaks(protocol: Protocol, on: &Subject<'_>) -> bool {
    let version = on.asked.head.version;
    match protocol {
        Protocol::Http10 => version == Version::HTTP_10,
        Protocol::Http11 => version == Version::HTTP_11,
        Protocol::Http2 => version == Version::HTTP_2,
        Protocol::WebSocket => on.asked.head.is_websocket(),
    }
}

fn protocol_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http10 => "http/1.0",
        Protocol::Http11 => "http/1.1",
        Protocol::Http2 => "http/2",
        Protocol::WebSocket => "websocket",
    }
}

fn actual_protocol(on: &Subject<'_>) -> String {
    let version = match on.asked.head.version {
        Version::HTTP_10 => "http/1.0",
        Version::HTTP_2 => "http/2",
        _ => "http/1.1",
    };
    if on.asked.head.is_websocket() { format!("{version}, websocket") } else { version.to_owned() }
}

fn parameters(when: &Matcher, on: &Subject<'_>, sink: &mut impl Sink) -> ControlFlow<()> {
    for (name, presence) in &when.query {
        let mut values = on.query().iter().filter(|(key, _)| key == name).map(|(_, value)| value);
        let holds = match presence {
            Presence::Is(there) => values.next().is_some() == *there,
            Presence::Fits(pattern) => values.any(|value| pattern.matches(value)),
        };
        let actual =
            || found(on.query().iter().filter(|(key, _)| key == name).map(|(_, value)| value.clone()));
        sink.check("query", holds.into(), &format_args!("{name} {presence}"), &actual)?;
    }
    ControlFlow::Continue(())
}

fn fields(
    part: &'static str,
    wanted: &BTreeMap<String, Presence>,
    headers: &Headers,
    sink: &mut impl Sink,
) -> ControlFlow<()> {
    for (name, presence) in wanted {
        let mut values = headers.get_all(name);
        let holds = match presence {
            Presence::Is(there) => values.next().is_some() == *there,
            Presence::Fits(pattern) => values.any(|value| pattern.matches(value)),
        };
        let actual = || found(headers.get_all(name).map(|value| String::from_utf8_lossy(value).into_owned()));
        sink.check(part, holds.into(), &format_args!("{name} {presence}"), &actual)?;
    }
    ControlFlow::Continue(())
}

/// The values found, in words.
fn found(values: impl Iterator<Item = String>) -> String {
    let values: Vec<_> = values.collect();
    if values.is_empty() { "not there".to_owned() } else { values.join(", ") }
}

/// Checks what the request's body decides.
pub(super) fn request_body(when: &Matcher, on: &Subject<'_>, sink: &mut impl Sink) -> ControlFlow<()> {
    let body = on.asked.body;
    if let Some(pattern) = &when.body {
        bytes("body", pattern, body, sink)?;
    }
    json("body_json", &when.body_json, body, &|| on.json(), sink)
}

/// Checks what the response decides.
pub(super) fn response_head(when: &Matcher, on: &Answered<'_>, sink: &mut impl Sink) -> ControlFlow<()> {
    if !when.status.is_empty() {
        let status = on.head.status;
        let holds = when.status.iter().any(|wanted| wanted.matches(status));
        sink.check("status", holds.into(), &any_of(&when.status), &|| status.as_str().to_owned())?;
    }
    fields("response_headers", &when.response_headers, &on.head.headers, sink)
}

/// Checks what the response's body decides.
pub(super) fn response_body(when: &Matcher, on: &Answered<'_>, sink: &mut impl Sink) -> ControlFlow<()> {
    if let Some(pattern) = &when.response_body {
        bytes("response_body", pattern, on.body, sink)?;
    }
    if when.response_body_json.is_empty() {
        return ControlFlow::Continue(());
    }
    let value = parsed(on.body);
    json("response_body_json", &when.response_body_json, on.body, &|| value.as_ref(), sink)
}

fn bytes(part: &'static str, pattern: &Pattern, body: Seen<'_>, sink: &mut impl Sink) -> ControlFlow<()> {
    let holds = match body {
        Seen::Whole(bytes) => pattern.matches(bytes).into(),
        unseen => unknown(unseen),
    };
    sink.check(part, holds, pattern, &|| shown(body))
}

fn json<'v>(
    part: &'static str,
    checks: &[JsonCheck],
    body: Seen<'_>,
    value: &dyn Fn() -> Option<&'v serde_json::Value>,
    sink: &mut impl Sink,
) -> ControlFlow<()> {
    for check in checks {
        let holds = match body {
            Seen::Whole(_) => value().is_some_and(|value| check.holds(value)).into(),
            unseen => unknown(unseen),
        };
        let actual = || match value() {
            Some(value) => {
                check.at.find(value).map_or("not there".to_owned(), |found| cut(&found.to_string()))
            }
            None if matches!(body, Seen::Whole(_)) => "no JSON".to_owned(),
            None => shown(body),
        };
        sink.check(part, holds, check, &actual)?;
    }
    ControlFlow::Continue(())
}

fn unknown(body: Seen<'_>) -> Holds {
    Holds::Unknown(match body {
        Seen::OverLimit => "over the limit",
        Seen::Undecodable => "its content coding cannot be decoded",
        Seen::NotRead | Seen::Whole(_) => "not read",
    })
}

fn shown(body: Seen<'_>) -> String {
    match body {
        Seen::Whole(bytes) => cut(&String::from_utf8_lossy(bytes)),
        Seen::OverLimit => "a body over the limit".to_owned(),
        Seen::Undecodable => "a body that cannot be decoded".to_owned(),
        Seen::NotRead => "a body that was not read".to_owned(),
    }
}

/// The beginning of a text, for people.
fn cut(text: &str) -> String {
    const SHOWN: usize = 200;
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}... ({} bytes)", &text[..at], text.len()),
        None => text.to_owned(),
    }
}

/// Several choices, in words.
fn any_of<T: Display>(choices: &[T]) -> AnyOf<'_, T> {
    AnyOf(choices)
}

struct AnyOf<'c, T>(&'c [T]);

impl<T: Display> Display for AnyOf<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, choice) in self.0.iter().enumerate() {
            write!(f, "{}{choice}", if at == 0 { "" } else { " or " })?;
        }
        Ok(())
    }
}
