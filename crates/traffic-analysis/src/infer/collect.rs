//! Exchanges into operations, origin by origin.

use std::collections::BTreeMap;

use capture_store::{
    BodySide, Error, ErrorKind, Exchange, ExchangeKind, ExchangeState, ExchangeSummary, Order, Query, Store,
};

use super::{Counts, Options, auth, operation::Operation, route::Key, sample};
use crate::priority::{ResourceClass, prioritize};

/// Exchanges read at once.
const PAGE: usize = 500;
/// Origins told apart; exchanges with further ones are only counted.
const MAX_ORIGINS: usize = 200;
/// The methods OpenAPI has a place for.
pub(super) const METHODS: [&str; 8] = ["GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE"];

/// What was collected.
pub(super) struct Collected {
    origins: BTreeMap<String, BTreeMap<Key, Operation>>,
    operations: usize,
    pub(super) counts: Counts,
}

/// Reads the exchanges of a query.
pub(super) fn collect(store: &Store, query: &Query, options: &Options) -> Result<Collected, Error> {
    let mut collected = Collected { origins: BTreeMap::new(), operations: 0, counts: Counts::default() };
    let more = each(store, query, options.max_exchanges, |summary| {
        collected.counts.read += 1;
        collected.add(store, summary, options)
    })?;
    collected.counts.more = more;
    Ok(collected)
}

/// Calls `visit` with each exchange of a query, oldest first; gives back whether there are more than were asked for.
pub(super) fn each(
    store: &Store,
    query: &Query,
    max: u64,
    mut visit: impl FnMut(&ExchangeSummary) -> Result<(), Error>,
) -> Result<bool, Error> {
    let mut query = query.clone();
    (query.order, query.offset) = (Order::Ascending, 0);
    let mut left = max;
    loop {
        query.limit = PAGE.min(usize::try_from(left).unwrap_or(PAGE));
        if query.limit == 0 {
            return Ok(true);
        }
        let page = store.query(&query)?;
        for summary in &page.items {
            visit(summary)?;
        }
        left = left.saturating_sub(page.items.len() as u64);
        match page.items.last() {
            Some(last) if page.more => query.after = Some(last.seq),
            _ => return Ok(false),
        }
    }
}

/// The origin of an exchange, as a URL without path.
pub(super) fn origin(summary: &ExchangeSummary) -> String {
    let usual = if summary.scheme == "https" { 443 } else { 80 };
    let host = if summary.host.contains(':') && !summary.host.starts_with('[') {
        format!("[{}]", summary.host)
    } else {
        summary.host.clone()
    };
    if summary.port == usual {
        format!("{}://{host}", summary.scheme)
    } else {
        format!("{}://{host}:{}", summary.scheme, summary.port)
    }
}

/// Tells whether an exchange was answered by upstream, over plain HTTP semantics.
pub(super) fn is_answered(summary: &ExchangeSummary) -> bool {
    summary.kind == ExchangeKind::Http && summary.state == ExchangeState::Response && summary.status.is_some()
}

/// Tells whether an exchange is a call of an API rather than of a page's parts.
pub(super) fn is_call(summary: &ExchangeSummary, exchange: Option<&Exchange>, everything: bool) -> bool {
    let preflight = summary.method == "OPTIONS"
        && exchange.is_none_or(|exchange| exchange.request.headers.contains("access-control-request-method"));
    let class = prioritize(summary).class;
    let api = matches!(class, ResourceClass::ApiCandidate | ResourceClass::Unknown);
    !preflight
        && (api || (everything && !matches!(class, ResourceClass::Control | ResourceClass::ConnectTunnel)))
}

impl Collected {
    fn add(&mut self, store: &Store, summary: &ExchangeSummary, options: &Options) -> Result<(), Error> {
        if !is_answered(summary) {
            self.counts.unanswered += 1;
            return Ok(());
        }
        if !METHODS.contains(&summary.method.as_str()) {
            self.counts.other_methods += 1;
            return Ok(());
        }
        let exchange = match store.exchange(summary.seq) {
            Ok(exchange) => exchange,
            // Evicted meanwhile.
            Err(error) if matches!(error.kind(), ErrorKind::UnknownExchange(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        if !is_call(summary, Some(&exchange), options.everything) {
            self.counts.not_api += 1;
            return Ok(());
        }
        let origin = origin(summary);
        let known = self.origins.contains_key(&origin);
        let key = Key::new(&summary.method, &summary.target);
        let has = known && self.origins[&origin].contains_key(&key);
        if (!known && self.origins.len() >= MAX_ORIGINS)
            || (!has && self.operations >= options.max_operations)
        {
            self.counts.beyond_limit += 1;
            return Ok(());
        }
        self.operations += usize::from(!has);
        let operation = self.origins.entry(origin).or_default().entry(key.clone()).or_default();
        let unread = note(operation, &key, store, &exchange, options);
        self.counts.unread_bodies += unread;
        Ok(())
    }

    /// The origin asked for, or the busiest.
    pub(super) fn choose(&self, wanted: Option<&str>) -> Option<String> {
        match wanted {
            Some(wanted) => {
                let wanted = wanted.trim_end_matches('/').to_ascii_lowercase();
                let host = |origin: &str| origin.split_once("://").map(|(_, host)| host.to_owned());
                let mut fits = self
                    .origins
                    .keys()
                    .filter(|origin| **origin == wanted || host(origin).is_some_and(|host| host == wanted));
                fits.next().cloned()
            }
            None => self.busiest().into_iter().next().map(|(origin, _)| origin),
        }
    }

    fn busiest(&self) -> Vec<(String, u64)> {
        let calls =
            |operations: &BTreeMap<Key, Operation>| operations.values().map(|it| it.count).sum::<u64>();
        let mut all: Vec<(String, u64)> =
            self.origins.iter().map(|(origin, operations)| (origin.clone(), calls(operations))).collect();
        all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        all
    }

    /// The origins beside the chosen one.
    pub(super) fn others(&self, chosen: Option<&str>) -> Vec<(String, u64)> {
        self.busiest().into_iter().filter(|(origin, _)| Some(origin.as_str()) != chosen).collect()
    }

    /// Takes the operations of an origin.
    pub(super) fn take(&mut self, origin: &str) -> BTreeMap<Key, Operation> {
        self.origins.remove(origin).unwrap_or_default()
    }
}

/// Takes note of one exchange; gives back how many of its bodies were not looked into.
fn note(operation: &mut Operation, key: &Key, store: &Store, exchange: &Exchange, options: &Options) -> u64 {
    let summary = &exchange.summary;
    operation.count += 1;
    let parameters = sample::query(&summary.target);
    let path = summary.target.split(['?', '#']).next().unwrap_or_default();
    operation.add_path(&key.values(path));
    operation.add_security(auth::schemes(&exchange.request.headers, &parameters));
    let plain: Vec<_> = parameters.into_iter().filter(|(name, _)| !auth::is_key_parameter(name)).collect();
    operation.add_query(&plain);
    operation.add_headers(&own_headers(exchange));
    let status = summary.status.unwrap_or_default();
    let response = operation.responses.entry(status).or_default();
    let enough = response.count >= options.max_samples;
    let read =
        |side| (!enough).then(|| sample::body(store, exchange, side, options.max_body_bytes)).flatten();
    let mut unread = u64::from(response.add(read(BodySide::Response)));
    if enough {
        // Not looked into, but there: whether a body is required is told by all requests.
        operation.request.count += 1;
        operation.request.bodies += u64::from(exchange.request_body.wire_bytes > 0);
    } else {
        unread += u64::from(operation.request.add(read(BodySide::Request)));
    }
    unread
}

/// Header fields that belong to this API rather than to HTTP, browsers, tracing or gateways.
fn own_headers(exchange: &Exchange) -> Vec<(String, String)> {
    const NOT: [&str; 12] = [
        "x-forwarded",
        "x-request-id",
        "x-correlation",
        "x-amz",
        "x-b3",
        "x-trace",
        "x-real-ip",
        "x-api-key",
        "x-auth",
        "x-access-token",
        "x-session",
        "x-csrf",
    ];
    let ours = |name: &str| name.starts_with("x-") && !NOT.iter().any(|not| name.starts_with(not));
    let fields = exchange.request.headers.iter().filter_map(|header| {
        let name = header.name_text().to_ascii_lowercase();
        let own = ours(&name) && !auth::is_secret_name(&name);
        own.then(|| (name, header.value_text().into_owned()))
    });
    fields.take(50).collect()
}
