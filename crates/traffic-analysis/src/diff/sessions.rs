//! Two sessions, by endpoint.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::ControlFlow,
    time::Duration,
};

use capture_store::{Error, ExchangeKind, ExchangeSummary, Order, Seq, Store, path_template};

use crate::{
    field,
    group::Figures,
    scope::{Bounds, Scope, Walked},
};

/// Endpoints that are told apart; exchanges of further ones are counted together.
const MAX_ENDPOINTS: usize = 20_000;
/// Statuses of an endpoint that are told apart on each side.
const MAX_STATUSES: usize = 20;
/// Exchanges of an endpoint that are remembered on each side, as examples.
const MAX_EXAMPLES: usize = 4;

/// One side of a comparison: exchanges of a store.
#[derive(Clone)]
pub struct Side<'s> {
    /// The store.
    pub store: &'s Store,
    /// Which of its exchanges.
    pub scope: Scope,
}

/// How sessions are compared.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct SessionsOptions {
    /// How far each side is walked through.
    pub bounds: Bounds,
    /// Whether an endpoint is of one host.
    pub hosts: Hosts,
}

/// Whether endpoints of different hosts are different ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hosts {
    /// They are, unless no host is on both sides: then it is the host that was changed.
    #[default]
    Auto,
    /// They are.
    Compared,
    /// They are not.
    Ignored,
}

/// An endpoint: what requests of one method and path template ask for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Endpoint {
    /// The host; `None` where hosts are ignored.
    pub host: Option<String>,
    /// The path template, `/users/{id}`.
    pub template: String,
    /// The method.
    pub method: String,
}

impl Endpoint {
    /// Names one; `None` for a host where hosts are ignored.
    #[must_use]
    pub fn new(method: &str, host: Option<&str>, template: &str) -> Self {
        Self {
            host: host.map(str::to_ascii_lowercase),
            template: template.to_owned(),
            method: method.to_ascii_uppercase(),
        }
    }

    pub(super) fn of(summary: &ExchangeSummary, hosts: bool) -> Self {
        Self {
            host: hosts.then(|| summary.host.clone()),
            template: path_template(field::path(summary)).into_owned(),
            method: summary.method.clone(),
        }
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}{}", self.method, self.host.as_deref().unwrap_or_default(), self.template)
    }
}

/// How an endpoint's exchanges differ between two sessions, the gravest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Verdict {
    /// Its statuses or failures are others.
    Outcome,
    /// It is only on the left.
    OnlyLeft,
    /// It is only on the right.
    OnlyRight,
    /// It was asked another number of times.
    Count,
    /// Neither; single exchanges may differ.
    Alike,
}

impl Verdict {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Outcome => "outcome",
            Self::OnlyLeft => "only_left",
            Self::OnlyRight => "only_right",
            Self::Count => "count",
            Self::Alike => "alike",
        }
    }
}

/// Two sessions, endpoint by endpoint.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionsDiff {
    /// Endpoints, the gravest difference first, then those asked most.
    pub endpoints: Vec<(Endpoint, EndpointFigures)>,
    /// Whether the same path on another host was taken for the same endpoint.
    pub hosts_ignored: bool,
    /// Exchanges of endpoints beyond the 20,000 that are told apart.
    pub beyond: (u64, u64),
    /// How far the left side was walked through.
    pub left: Walked,
    /// How far the right side was walked through.
    pub right: Walked,
}

/// An endpoint's figures on both sides.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EndpointFigures {
    /// The gravest difference.
    pub verdict: Verdict,
    /// The left side.
    pub left: SideFigures,
    /// The right side.
    pub right: SideFigures,
}

/// An endpoint's figures on one side.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct SideFigures {
    /// Exchanges.
    pub count: u64,
    /// How often each status came, by number, and each failure, by code; at most 20, the rest as `other`.
    pub outcomes: BTreeMap<String, u64>,
    /// Bytes of response bodies.
    pub bytes: u64,
    /// The median duration.
    pub median: Option<Duration>,
    /// The first exchanges.
    pub examples: Vec<Seq>,
}

/// Compares the exchanges of two sides by endpoint: how often each was asked, what came of it, how long it took. Reads
/// no heads and no bodies. Tunnels are left out.
///
/// Memory is bounded by the number of endpoints (20,000 at most) and four bytes for each exchange.
///
/// # Errors
/// When a store cannot be read.
pub fn sessions(left: &Side<'_>, right: &Side<'_>, options: SessionsOptions) -> Result<SessionsDiff, Error> {
    let both_sides = |hosts| -> Result<_, Error> {
        Ok((gather(left, hosts, options.bounds)?, gather(right, hosts, options.bounds)?))
    };
    let mut hosts = options.hosts != Hosts::Ignored;
    let mut gathered = both_sides(hosts)?;
    if options.hosts == Hosts::Auto && !have_a_host_in_common(&gathered.0.0, &gathered.1.0) {
        hosts = false;
        gathered = both_sides(hosts)?;
    }
    let ((of_left, left_walked), (of_right, right_walked)) = gathered;
    let beyond = (of_left.beyond, of_right.beyond);
    let mut both: BTreeMap<Endpoint, (Option<Gathered>, Option<Gathered>)> = BTreeMap::new();
    for (endpoint, gathered) in of_left.endpoints {
        both.entry(endpoint).or_default().0 = Some(gathered);
    }
    for (endpoint, gathered) in of_right.endpoints {
        both.entry(endpoint).or_default().1 = Some(gathered);
    }
    let mut endpoints: Vec<_> = both
        .into_iter()
        .map(|(endpoint, (left, right))| {
            let (left, right) = (side(left), side(right));
            let verdict = verdict(&left, &right);
            (endpoint, EndpointFigures { verdict, left, right })
        })
        .collect();
    endpoints.sort_by(|(a, one), (b, other)| {
        let asked = |figures: &EndpointFigures| std::cmp::Reverse(figures.left.count + figures.right.count);
        (one.verdict, asked(one), a).cmp(&(other.verdict, asked(other), b))
    });
    Ok(SessionsDiff { endpoints, hosts_ignored: !hosts, beyond, left: left_walked, right: right_walked })
}

/// Whether a host is on both sides, or one side has none at all.
fn have_a_host_in_common(left: &Gathering, right: &Gathering) -> bool {
    let hosts = |side: &Gathering| -> BTreeSet<String> {
        side.endpoints.keys().filter_map(|endpoint| endpoint.host.clone()).collect()
    };
    let (left, right) = (hosts(left), hosts(right));
    left.is_empty() || right.is_empty() || left.intersection(&right).next().is_some()
}

#[derive(Default)]
struct Gathering {
    endpoints: HashMap<Endpoint, Gathered>,
    beyond: u64,
}

#[derive(Default)]
struct Gathered {
    figures: Figures,
    outcomes: BTreeMap<String, u64>,
    bytes: u64,
    examples: Vec<Seq>,
}

fn gather(side: &Side<'_>, hosts: bool, bounds: Bounds) -> Result<(Gathering, Walked), Error> {
    let mut gathering = Gathering::default();
    let walked = side.scope.walk::<Error>(side.store, (Order::Ascending, None), bounds, |summary| {
        if summary.kind != ExchangeKind::Tunnel {
            gathering.add(&summary, hosts);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok((gathering, walked))
}

impl Gathering {
    fn add(&mut self, summary: &ExchangeSummary, hosts: bool) {
        let endpoint = Endpoint::of(summary, hosts);
        if !self.endpoints.contains_key(&endpoint) && self.endpoints.len() >= MAX_ENDPOINTS {
            self.beyond += 1;
            return;
        }
        let gathered = self.endpoints.entry(endpoint).or_default();
        gathered.figures.add(summary);
        gathered.bytes += summary.response_body_bytes;
        if gathered.examples.len() < MAX_EXAMPLES {
            gathered.examples.push(summary.seq);
        }
        let outcome = outcome(summary);
        let known = gathered.outcomes.contains_key(&outcome) || gathered.outcomes.len() < MAX_STATUSES;
        *gathered.outcomes.entry(if known { outcome } else { "other".to_owned() }).or_default() += 1;
    }
}

/// What came of an exchange: its status, or how it failed.
pub(super) fn outcome(summary: &ExchangeSummary) -> String {
    match (field::failure(summary), summary.status) {
        (Some(failure), _) => failure.kind.code().to_owned(),
        (None, Some(status)) => status.to_string(),
        (None, None) => "open".to_owned(),
    }
}

fn side(gathered: Option<Gathered>) -> SideFigures {
    let Some(Gathered { mut figures, outcomes, bytes, examples }) = gathered else {
        return SideFigures::default();
    };
    SideFigures { count: figures.count, outcomes, bytes, median: figures.percentile(50), examples }
}

fn verdict(left: &SideFigures, right: &SideFigures) -> Verdict {
    let kinds = |side: &SideFigures| side.outcomes.keys().cloned().collect::<BTreeSet<_>>();
    match (left.count, right.count) {
        (_, 0) => Verdict::OnlyLeft,
        (0, _) => Verdict::OnlyRight,
        _ if kinds(left) != kinds(right) => Verdict::Outcome,
        (one, other) if one != other => Verdict::Count,
        _ if left.outcomes != right.outcomes => Verdict::Outcome,
        _ => Verdict::Alike,
    }
}
