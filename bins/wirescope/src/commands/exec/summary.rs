//! What the command did on the network, in a few lines.

use std::collections::BTreeMap;

use anyhow::Result;
use capture_store::{ExchangeState, ExchangeSummary, Query, SessionId, SessionInfo, Store};
use proxy_core::FailureKind;

use crate::text;

/// Exchanges read at a time.
const PAGE: usize = 1_000;

/// Hosts and failures told one by one; the rest are counted.
const MAX_TOLD: usize = 10;

/// Hosts and failures counted apart; beyond it they count as others.
const MAX_COUNTED: usize = 1_000;

/// Counts over a session.
#[derive(Default)]
pub(super) struct Summary {
    exchanges: u64,
    evicted: u64,
    not_recorded: u64,
    hosts: BTreeMap<String, u64>,
    other_hosts: u64,
    failures: BTreeMap<(String, String), (FailureKind, u64)>,
    other_failures: u64,
}

impl Summary {
    /// Counts what a session holds.
    pub(super) fn of(store: &Store, session: &SessionInfo) -> Result<Self> {
        let mut summary =
            Self { evicted: session.evicted, not_recorded: session.not_recorded, ..Self::default() };
        let mut query = Query::default();
        query.session = Some(session.id);
        query.limit = PAGE;
        loop {
            let page = store.query(&query)?;
            page.items.iter().for_each(|exchange| summary.add(exchange));
            query.after = page.items.last().map(|exchange| exchange.seq);
            if !page.more || query.after.is_none() {
                return Ok(summary);
            }
        }
    }

    fn add(&mut self, exchange: &ExchangeSummary) {
        self.exchanges += 1;
        if self.hosts.contains_key(&exchange.host) || self.hosts.len() < MAX_COUNTED {
            *self.hosts.entry(exchange.host.clone()).or_default() += 1;
        } else {
            self.other_hosts += 1;
        }
        let ExchangeState::Failed(failure) = &exchange.state else { return };
        let key = (failure.kind.to_string(), exchange.host.clone());
        if self.failures.contains_key(&key) || self.failures.len() < MAX_COUNTED {
            self.failures.entry(key).or_insert((failure.kind, 0)).1 += 1;
        } else {
            self.other_failures += 1;
        }
    }

    /// The lines to tell; the session's id leads to the rest where it is kept.
    pub(super) fn lines(&self, session: Option<SessionId>) -> Vec<String> {
        let more = session.map(|id| format!("; see `wirescope show {id}`")).unwrap_or_default();
        if self.exchanges == 0 {
            return vec![format!(
                "wirescope: captured nothing; either the command made no HTTP request, or it does not honour the proxy \
                 variables{more}"
            )];
        }
        let hosts = u64::try_from(self.hosts.len()).unwrap_or(u64::MAX);
        let mut lines = vec![format!(
            "wirescope: captured {} with {}{more}",
            text::count(self.exchanges, "exchange"),
            text::count(hosts, "host")
        )];
        let mut hosts: Vec<_> = self.hosts.iter().collect();
        hosts.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        for (host, count) in hosts.iter().take(MAX_TOLD) {
            lines.push(format!("  {count:>6}  {}", text::harmless(host)));
        }
        let untold: u64 =
            hosts.iter().skip(MAX_TOLD).map(|(_, count)| **count).sum::<u64>() + self.other_hosts;
        if untold > 0 {
            lines.push(format!("  {untold:>6}  with other hosts"));
        }
        for ((what, host), (kind, count)) in self.failures.iter().take(MAX_TOLD) {
            let advice = advice(*kind).map(|advice| format!(" ({advice})")).unwrap_or_default();
            lines.push(format!("  failed: {count} with {}: {what}{advice}", text::harmless(host)));
        }
        let untold =
            self.failures.values().skip(MAX_TOLD).map(|(_, count)| count).sum::<u64>() + self.other_failures;
        if untold > 0 {
            lines.push(format!("  failed: {untold} otherwise; see `--failed` of `wirescope show`"));
        }
        for (count, why) in
            [(self.evicted, "evicted, as the session grew too large"), (self.not_recorded, "not recorded")]
        {
            if count > 0 {
                lines.push(format!("  {count:>6}  {why}"));
            }
        }
        lines
    }
}

/// What to do about a failure that the user can do something about.
fn advice(kind: FailureKind) -> Option<&'static str> {
    Some(match kind {
        FailureKind::ClientDistrustsCa => {
            "the command brings its own list of authorities; `wirescope ca trust` tells how to add one"
        }
        FailureKind::ClientTls => "it may not trust the CA; `wirescope ca trust` tells how to add it",
        FailureKind::CertificateUntrusted => "if that is expected, give its authority with --upstream-ca",
        FailureKind::CertificateExpired | FailureKind::CertificateWrongName => {
            "if that is expected, name the host with --insecure-upstream"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::tests::{exchange, failed};

    fn lines(exchanges: &[ExchangeSummary]) -> Vec<String> {
        let mut summary = Summary::default();
        exchanges.iter().for_each(|exchange| summary.add(exchange));
        summary.lines(Some(SessionId(7)))
    }

    #[test]
    fn hosts_and_failures_are_counted_with_what_to_do() {
        let mut exchanges = vec![failed("b.example", FailureKind::ClientDistrustsCa)];
        exchanges.extend((0..3).map(|_| exchange("a.example", "/")));
        exchanges.extend((0..12).map(|number| exchange(&format!("c{number:02}.example"), "/")));
        let lines = lines(&exchanges);
        assert_eq!(lines[0], "wirescope: captured 16 exchanges with 14 hosts; see `wirescope show s7`");
        assert_eq!(lines[1], "       3  a.example");
        assert_eq!(lines[11], "       4  with other hosts");
        assert!(
            lines[12].starts_with("  failed: 1 with b.example: client does not trust the CA ("),
            "{}",
            lines[12]
        );
        assert_eq!(lines.len(), 13);
    }

    #[test]
    fn nothing_captured_says_why_that_may_be() {
        assert!(lines(&[])[0].contains("does not honour the proxy variables"));
    }
}
