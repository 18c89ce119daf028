//! Finding a text by host and place, and following it from where it first was.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    time::{Duration, SystemTime},
};

use capture_store::{BodySide, Error, Order, Seq, Store};

use super::{Encoding, Needle, NeedleError, Place, places};
use crate::{
    scope::{Bounds, Scope, Walked},
    subject::Subject,
};

/// Different places told apart.
const MAX_SIGHTINGS: usize = 2_000;
/// Exchanges with the text that are traced.
const MAX_TRACED: usize = 20_000;

/// A text in one field of the exchanges with one host.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sighting {
    /// The host.
    pub host: String,
    /// The place, as in the first of them; indexes of arrays aside it is the same in all.
    pub place: Place,
    /// Exchanges it is there in.
    pub count: u64,
    /// The first of them.
    pub first: Seq,
    /// The last of them.
    pub last: Seq,
}

/// Where a text is.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Sightings {
    /// By host and place, the most frequent first.
    pub sightings: Vec<Sighting>,
    /// Exchanges that have it.
    pub exchanges: u64,
    /// What was looked at.
    pub walked: Walked,
}

/// One time a text passed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Appearance {
    /// The exchange.
    pub seq: Seq,
    /// Its method and URL.
    pub request: (String, String),
    /// The host.
    pub host: String,
    /// When the message began to pass.
    pub at: SystemTime,
    /// Where in it.
    pub place: Place,
}

/// Where a text came from and went.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Trace {
    /// Its first appearance.
    pub first: Option<Appearance>,
    /// The first response that has it, where no request had it before: that response issued it.
    pub issued: Option<Appearance>,
    /// The first request that has it.
    pub first_sent: Option<Appearance>,
    /// Where it was sent, by host and place, in the order of their first.
    pub sent: Vec<Sighting>,
    /// Where else it came back.
    pub received: Vec<Sighting>,
    /// Exchanges that have it.
    pub exchanges: u64,
    /// What was looked at; `next` is where it stopped.
    pub walked: Walked,
}

/// A failure to look for a text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// The text.
    #[error("look for the text")]
    Needle(#[from] NeedleError),
    /// The store.
    #[error("read the store")]
    Store(#[from] Error),
}

/// Finds a text in URLs, header fields, bodies and messages, in each form it may travel in.
///
/// # Errors
/// When the text cannot be looked for or the store cannot be read.
pub fn find(
    store: &Store,
    scope: &Scope,
    needle: &Needle,
    cursor: Option<Seq>,
    bounds: Bounds,
) -> Result<Sightings, TraceError> {
    let mut table = Table::default();
    let mut exchanges = 0;
    let wanted = needle.condition()?;
    let wanted = (&wanted, Order::Ascending, cursor);
    let walked = scope.search::<TraceError>(store, wanted, bounds, |summary| {
        let subject = Subject::new(store, summary);
        let found = places(&subject, needle);
        subject.check()?;
        exchanges += u64::from(!found.is_empty());
        for place in found {
            table.note(&subject, place);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let mut sightings = table.into_sightings();
    sightings.sort_by_key(|sighting| (std::cmp::Reverse(sighting.count), sighting.first));
    Ok(Sightings { sightings, exchanges, walked })
}

/// Follows a text: where it first was, which response issued it, where it was sent after that. Stops after 20,000
/// exchanges that have it.
///
/// # Errors
/// As for [`find`].
pub fn trace(store: &Store, scope: &Scope, needle: &Needle, bounds: Bounds) -> Result<Trace, TraceError> {
    let mut trace = Trace::default();
    let (mut sent, mut received) = (Table::default(), Table::default());
    let mut first_received: Option<Appearance> = None;
    let mut traced = 0;
    let wanted = needle.condition()?;
    let wanted = (&wanted, Order::Ascending, None);
    let walked = scope.search::<TraceError>(store, wanted, bounds, |summary| {
        let subject = Subject::new(store, summary);
        let found = places(&subject, needle);
        subject.check()?;
        trace.exchanges += u64::from(!found.is_empty());
        for place in found {
            let appearance = Appearance::new(&subject, &place);
            match place.side {
                BodySide::Request => {
                    keep_earlier(&mut trace.first_sent, appearance);
                    sent.note(&subject, place);
                }
                BodySide::Response => {
                    keep_earlier(&mut first_received, appearance);
                    received.note(&subject, place);
                }
            }
        }
        traced += 1;
        Ok(if traced == MAX_TRACED { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    trace.walked = walked;
    let issued = match (&first_received, &trace.first_sent) {
        (Some(received), Some(sent)) => received.at < sent.at,
        (received, _) => received.is_some(),
    };
    trace.first = if issued { first_received.clone() } else { trace.first_sent.clone() };
    trace.issued = first_received.filter(|_| issued);
    trace.sent = sent.into_sightings();
    trace.received = received.into_sightings();
    if let Some(issued) = &trace.issued {
        // The one that issued it is told already.
        trace.received.retain(|sighting| {
            !(sighting.count == 1 && sighting.first == issued.seq && sighting.place == issued.place)
        });
    }
    Ok(trace)
}

fn keep_earlier(kept: &mut Option<Appearance>, other: Appearance) {
    if kept.as_ref().is_none_or(|kept| other.at < kept.at) {
        *kept = Some(other);
    }
}

impl Appearance {
    fn new(subject: &Subject<'_>, place: &Place) -> Self {
        let summary = subject.summary();
        // A response is there when its exchange has nearly passed; a request at its beginning.
        let later = match place.side {
            BodySide::Request => Duration::ZERO,
            BodySide::Response => {
                let exchange = subject.exchange();
                let wait = exchange.map(|exchange| exchange.timings.wait).filter(|wait| !wait.is_zero());
                wait.or(summary.duration).unwrap_or_default().max(Duration::from_nanos(1))
            }
        };
        Self {
            seq: summary.seq,
            request: (summary.method.clone(), summary.url.clone()),
            host: summary.host.clone(),
            at: summary.started_at + later,
            place: place.clone(),
        }
    }
}

/// Sightings by what they have in common.
#[derive(Default)]
struct Table {
    sightings: BTreeMap<(String, String, Encoding), Sighting>,
}

impl Table {
    fn note(&mut self, subject: &Subject<'_>, place: Place) {
        let summary = subject.summary();
        let key = (summary.host.clone(), without_indexes(&place.field), place.encoding);
        if let Some(sighting) = self.sightings.get_mut(&key) {
            sighting.count += u64::from(sighting.last != summary.seq);
            sighting.last = summary.seq;
        } else if self.sightings.len() < MAX_SIGHTINGS {
            let host = summary.host.clone();
            let sighting = Sighting { host, place, count: 1, first: summary.seq, last: summary.seq };
            self.sightings.insert(key, sighting);
        }
    }

    fn into_sightings(self) -> Vec<Sighting> {
        let mut sightings: Vec<_> = self.sightings.into_values().collect();
        sightings.sort_by_key(|sighting| sighting.first);
        sightings
    }
}

/// A place's name with `*` for indexes of arrays and numbers of messages.
fn without_indexes(field: &str) -> String {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if let Some((kind, number)) = field.split_once('.')
        && kind == "message"
        && is_number(number)
    {
        return "message.*".to_owned();
    }
    if !field.contains(".json./") {
        return field.to_owned();
    }
    let parts = field.split('/').map(|part| if is_number(part) { "*" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

    use super::*;
    use crate::fixture::{Fed, Fixture};

    fn fixture() -> Fixture {
        let token = "tok_9s6XKzkNRiz8i3";
        let jwt =
            format!("eyJhbGciOiJub25lIn0.{}.c2ln", URL_SAFE_NO_PAD.encode(format!("{{\"t\":\"{token}\"}}")));
        Fixture::of(vec![
            Fed::get("https://a.test/"),
            Fed::post("https://auth.test/login", "application/json", r#"{"user":"ann"}"#)
                .body("application/json", format!(r#"{{"session":{{"tokens":["x","{token}"]}}}}"#)),
            Fed::get("https://api.test/me").sends("Authorization", &format!("Bearer {token}")),
            Fed::get("https://api.test/me").sends("Authorization", &format!("Bearer {token}")),
            Fed::get(&format!("https://cdn.test/i.png?t={token}&x=1")),
            Fed::get("https://sso.test/").sends("Cookie", &format!("a=1; jwt={jwt}")),
            Fed::post("https://log.test/", "application/x-www-form-urlencoded", format!("m=a&d={token}")),
            Fed::get("https://b.test/").body("text/plain", format!("hello {token}!")),
        ])
    }

    #[test]
    fn a_value_is_found_by_host_and_place() {
        let fixture = fixture();
        let needle = Needle::new("tok_9s6XKzkNRiz8i3").unwrap();
        let scope = Scope::of_session(fixture.session);
        let found = find(&fixture.store, &scope, &needle, None, Bounds::default()).unwrap();
        assert_eq!((found.exchanges, found.walked.exchanges, found.walked.next), (7, 8, None));
        let told: Vec<_> = found
            .sightings
            .iter()
            .map(|it| (it.host.as_str(), it.place.field.as_str(), it.place.encoding, it.count))
            .collect();
        assert_eq!(
            told,
            [
                ("api.test", "req.header.authorization", Encoding::Plain, 2),
                ("auth.test", "resp.json./session/tokens/1", Encoding::Plain, 1),
                ("cdn.test", "param.t", Encoding::Plain, 1),
                ("sso.test", "req.cookie.jwt", Encoding::Jwt, 1),
                ("log.test", "req.form.d", Encoding::Plain, 1),
                ("b.test", "resp.body", Encoding::Plain, 1),
            ]
        );
        assert_eq!(found.sightings[0].place.excerpt, "Bearer tok_9s6XKzkNRiz8i3");
    }

    #[test]
    fn a_token_is_traced_from_the_response_that_issued_it_to_where_it_was_sent() {
        let fixture = fixture();
        let needle = Needle::new("tok_9s6XKzkNRiz8i3").unwrap();
        let trace =
            trace(&fixture.store, &Scope::of_session(fixture.session), &needle, Bounds::default()).unwrap();
        let issued = trace.issued.unwrap();
        assert_eq!(
            (issued.host.as_str(), issued.place.field.as_str()),
            ("auth.test", "resp.json./session/tokens/1")
        );
        assert_eq!(trace.first.unwrap(), issued);
        assert_eq!(trace.first_sent.unwrap().host, "api.test");
        let sent: Vec<_> = trace.sent.iter().map(|it| (it.host.as_str(), it.count)).collect();
        assert_eq!(sent, [("api.test", 2), ("cdn.test", 1), ("sso.test", 1), ("log.test", 1)]);
        let back: Vec<_> = trace.received.iter().map(|it| it.host.as_str()).collect();
        assert_eq!(back, ["b.test"]);
    }

    #[test]
    fn what_the_client_made_itself_was_issued_by_nobody() {
        let id = "3f2a1b9c-aaaa-4bbb-8ccc-1a2b3c4d5e6f";
        let fixture = Fixture::of(vec![
            Fed::get("https://a.test/").sends("X-Request-Id", id).answers("X-Request-Id", id),
        ]);
        let needle = Needle::new(id).unwrap();
        let trace =
            trace(&fixture.store, &Scope::of_session(fixture.session), &needle, Bounds::default()).unwrap();
        assert!(trace.issued.is_none());
        assert_eq!(trace.first.unwrap().place.field, "req.header.x-request-id");
        assert_eq!(trace.received.len(), 1);
    }
}
