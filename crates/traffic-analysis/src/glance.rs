//! A session at a glance: what an agent or a person asks first.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::ControlFlow,
    time::SystemTime,
};

use capture_store::{
    BodySide, Error, ExchangeKind, ExchangeSummary, Order, Seq, Store, path_template,
    secrets::{SecretKind, Secrets},
};

use crate::{
    field::{failure, is_error, path},
    group::Figures,
    scope::{Bounds, Scope, Walked},
    subject::Subject,
};

/// Groups of one kind that are told apart.
const MAX_GROUPS: usize = 20_000;
/// Exchanges of one route in which credentials are looked for.
const LOOKED_AT_PER_ROUTE: u8 = 3;
/// Routes in which they are.
const MAX_ROUTES: usize = 5_000;

/// Exchanges of one route that ended in the same error.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ErrorGroup {
    /// The request's method.
    pub method: String,
    /// The host.
    pub host: String,
    /// The path's template.
    pub template: String,
    /// The status, or the code of the failure.
    pub outcome: String,
    /// Exchanges.
    pub count: u64,
    /// The first of them.
    pub first: Seq,
}

/// A kind of credential that was seen, never its value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Credential {
    /// The host.
    pub host: String,
    /// What it is.
    pub kind: SecretKind,
    /// Whether the request or the response has it.
    pub side: BodySide,
    /// The name that gives it away: of a header field, cookie, parameter, member or a token's shape.
    pub name: String,
    /// The first exchange it was seen in.
    pub first: Seq,
}

/// A session at a glance.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Glance {
    /// Figures of the whole.
    pub total: Figures,
    /// When the first began and the last ended.
    pub span: Option<(SystemTime, SystemTime)>,
    /// Exchanges by what they were: `http`, `websocket`, `upgrade`, `tunnel`.
    pub kinds: BTreeMap<&'static str, u64>,
    /// By host, the most exchanges first.
    pub hosts: Vec<(String, Figures)>,
    /// Errors by route and outcome, the most first.
    pub errors: Vec<ErrorGroup>,
    /// By method, host and template, of three exchanges and more, the slowest 95th percentile first.
    pub slowest: Vec<((String, String, String), Figures)>,
    /// Failures by cause, the most first.
    pub failures: Vec<(&'static str, u64, Seq)>,
    /// Credentials seen, by host; in the first three exchanges of each route.
    pub credentials: Vec<Credential>,
    /// What was looked at.
    pub walked: Walked,
}

/// Looks at what is in scope.
///
/// # Errors
/// When the store cannot be read.
pub fn glance(store: &Store, scope: &Scope, bounds: Bounds) -> Result<Glance, Error> {
    let mut tally = Tally::default();
    let walked = scope.walk::<Error>(store, (Order::Ascending, None), bounds, |summary| {
        tally.add(store, summary)?;
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(tally.told(walked))
}

#[derive(Default)]
struct Tally {
    glance: Glance,
    hosts: HashMap<String, Figures>,
    routes: HashMap<(String, String, String), Figures>,
    errors: HashMap<(String, String, String, String), (u64, Seq)>,
    failures: BTreeMap<&'static str, (u64, Seq)>,
    looked_at: HashMap<(String, String, String), u8>,
    seen: HashSet<(String, SecretKind, bool, String)>,
    secrets: Secrets,
}

impl Tally {
    fn add(&mut self, store: &Store, summary: ExchangeSummary) -> Result<(), Error> {
        self.glance.total.add(&summary);
        let ended = summary.started_at + summary.duration.unwrap_or_default();
        let (from, to) = self.glance.span.unwrap_or((summary.started_at, ended));
        self.glance.span = Some((from.min(summary.started_at), to.max(ended)));
        *self.glance.kinds.entry(kind(summary.kind)).or_default() += 1;
        if let Some(figures) = bounded(&mut self.hosts, summary.host.clone()) {
            figures.add(&summary);
        }
        let template = path_template(path(&summary)).into_owned();
        let route = (summary.method.clone(), summary.host.clone(), template);
        if let Some(figures) = bounded(&mut self.routes, route.clone()) {
            figures.add(&summary);
        }
        if is_error(&summary) {
            let outcome = match (failure(&summary), summary.status) {
                (None, Some(status)) => status.to_string(),
                (failure, _) => failure.map_or("error", |failure| failure.kind.code()).to_owned(),
            };
            let key = (route.0.clone(), route.1.clone(), route.2.clone(), outcome);
            if self.errors.len() < MAX_GROUPS || self.errors.contains_key(&key) {
                self.errors.entry(key).or_insert((0, summary.seq)).0 += 1;
            }
        }
        if let Some(failure) = failure(&summary) {
            self.failures.entry(failure.kind.code()).or_insert((0, summary.seq)).0 += 1;
        }
        if self.looked_at.len() < MAX_ROUTES || self.looked_at.contains_key(&route) {
            let looks = self.looked_at.entry(route).or_default();
            if *looks < LOOKED_AT_PER_ROUTE {
                *looks += 1;
                self.credentials(&Subject::new(store, summary))?;
            }
        }
        Ok(())
    }

    fn credentials(&mut self, subject: &Subject<'_>) -> Result<(), Error> {
        let mut found = Vec::new();
        let summary = subject.summary();
        let note = |side, spans: Vec<capture_store::secrets::SecretSpan>, found: &mut Vec<_>| {
            found.extend(spans.into_iter().map(|span| (side, span.kind, span.name)));
        };
        note(BodySide::Request, self.secrets.url(summary.url.as_bytes()), &mut found);
        for side in [BodySide::Request, BodySide::Response] {
            for header in subject.headers(side).into_iter().flatten() {
                note(side, self.secrets.header(&header.name, &header.value), &mut found);
            }
            let content_type = match side {
                BodySide::Request => &summary.request_content_type,
                BodySide::Response => &summary.response_content_type,
            };
            let content_type = content_type.as_deref().unwrap_or_default();
            // Pages, scripts and pictures are large, and full of what only looks like one.
            if content_type.contains("json") || content_type.contains("form") {
                let body = subject.text(side).map(|body| body.text.as_bytes());
                note(
                    side,
                    body.map(|body| self.secrets.body(content_type, body)).unwrap_or_default(),
                    &mut found,
                );
            }
        }
        subject.check()?;
        for (side, kind, name) in found {
            let name = name.to_ascii_lowercase();
            let key = (summary.host.clone(), kind, side == BodySide::Request, name.clone());
            if self.seen.len() < MAX_GROUPS && self.seen.insert(key) {
                let (host, first) = (summary.host.clone(), summary.seq);
                self.glance.credentials.push(Credential { host, kind, side, name, first });
            }
        }
        Ok(())
    }

    fn told(mut self, walked: Walked) -> Glance {
        let mut hosts: Vec<_> = self.hosts.into_iter().collect();
        hosts.sort_by(|a, b| b.1.count.cmp(&a.1.count).then_with(|| a.0.cmp(&b.0)));
        let error = |((method, host, template, outcome), (count, first))| ErrorGroup {
            method,
            host,
            template,
            outcome,
            count,
            first,
        };
        let mut errors: Vec<ErrorGroup> = self.errors.into_iter().map(error).collect();
        errors.sort_by_key(|group| (std::cmp::Reverse(group.count), group.first));
        let mut slowest: Vec<_> = self.routes.into_iter().filter(|(_, figures)| figures.count >= 3).collect();
        slowest.sort_by_cached_key(|(route, figures)| {
            (std::cmp::Reverse(figures.clone().percentile(95)), route.clone())
        });
        let failures = self.failures.into_iter().map(|(code, (count, first))| (code, count, first));
        let mut failures: Vec<_> = failures.collect();
        failures.sort_by_key(|(_, count, first)| (std::cmp::Reverse(*count), *first));
        self.glance.hosts = hosts;
        self.glance.errors = errors;
        self.glance.slowest = slowest;
        self.glance.failures = failures;
        self.glance.walked = walked;
        self.glance
    }
}

/// The figures of a group, if there is room for it.
fn bounded<K: std::hash::Hash + Eq>(groups: &mut HashMap<K, Figures>, key: K) -> Option<&mut Figures> {
    let room = groups.len() < MAX_GROUPS || groups.contains_key(&key);
    room.then(|| groups.entry(key).or_default())
}

fn kind(kind: ExchangeKind) -> &'static str {
    match kind {
        ExchangeKind::WebSocket => "websocket",
        ExchangeKind::Upgrade => "upgrade",
        ExchangeKind::Tunnel => "tunnel",
        _ => "http",
    }
}

#[cfg(test)]
mod tests {
    use proxy_core::FailureKind;

    use super::*;
    use crate::fixture::{Fed, Fixture};

    #[test]
    fn a_glance_tells_hosts_errors_slow_routes_failures_and_kinds_of_credentials() {
        let mut fed = vec![
            Fed::post(
                "https://auth.test/login",
                "application/json",
                r#"{"user":"ann","password":"hunter2"}"#,
            )
            .answers("Set-Cookie", "sid=s3cr3t; Path=/"),
        ];
        for n in 0..5 {
            fed.push(Fed::get(&format!("https://api.test/users/{n}")).sends("Authorization", "Bearer abc"));
            fed.push(Fed::get(&format!("https://api.test/orders/{n}")).took(900).status(500));
        }
        fed.push(Fed::get("https://down.test/").failed(FailureKind::ConnectionRefused));
        let fixture = Fixture::of(fed);
        let glance = glance(&fixture.store, &Scope::of_session(fixture.session), Bounds::default()).unwrap();
        assert_eq!((glance.total.count, glance.total.errors), (12, 6));
        assert_eq!((glance.hosts[0].0.as_str(), glance.hosts[0].1.count), ("api.test", 10));
        let error = &glance.errors[0];
        assert_eq!(
            (error.template.as_str(), error.outcome.as_str(), error.count),
            ("/orders/{id}", "500", 5)
        );
        assert_eq!(glance.errors[1].outcome, "connection_refused");
        assert_eq!(glance.slowest[0].0.2, "/orders/{id}");
        assert_eq!(glance.failures[0].0, "connection_refused");
        let told: Vec<_> = glance.credentials.iter().map(|it| (it.kind.as_str(), it.name.as_str())).collect();
        assert!(told.contains(&("json", "password")) && told.contains(&("cookie", "sid")), "{told:?}");
        assert_eq!(told.iter().filter(|(_, name)| *name == "authorization").count(), 1);
        assert!(!format!("{glance:?}").contains("hunter2"));
        let (from, to) = glance.span.unwrap();
        assert_eq!(to.duration_since(from).unwrap().as_millis(), 11_010);
    }
}
