//! Which TLS is decrypted, and which passes through: the user's lists, and clients that keep refusing our
//! certificate.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::options::{AutoPassthrough, TlsOptions};
use crate::{event::RuleHit, hosts::HostPattern};

/// Clients and hosts whose refusals are remembered; beyond it the pair that was noticed longest ago is forgotten.
const MAX_PAIRS: usize = 1_000;

/// The name under which an exchange tells that it was passed through so.
const AUTO_RULE: &str = "auto-passthrough";

/// Decides for each tunnel whether its TLS is decrypted.
pub(crate) struct Interception {
    passthrough: Vec<HostPattern>,
    only: Vec<HostPattern>,
    auto: Option<(AutoPassthrough, Mutex<Refusals>)>,
}

/// Why TLS passes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passing {
    /// The user asked for it.
    Asked,
    /// The client keeps refusing our certificate.
    Refused(AutoPassthrough),
}

impl Passing {
    /// What the exchange tells of it.
    pub(crate) fn hit(self) -> Option<RuleHit> {
        let Self::Refused(when) = self else { return None };
        let change = format!(
            "passed through undecrypted: the client refused our certificate {} times within {:?}",
            when.refusals, when.within
        );
        Some(RuleHit::new(AUTO_RULE, vec![change]))
    }
}

impl Interception {
    pub(crate) fn new(passthrough: Vec<HostPattern>, options: &TlsOptions) -> Self {
        let auto = options.auto_passthrough.map(|when| (when, Mutex::default()));
        Self { passthrough, only: options.only.clone(), auto }
    }

    /// Why TLS of this client passes through in a tunnel to `host` that asks for `name`; `None` when it is decrypted.
    pub(crate) fn passes(&self, client: IpAddr, host: &str, name: &str) -> Option<Passing> {
        let names = |pattern: &HostPattern| pattern.matches(host) || pattern.matches(name);
        if self.passthrough.iter().any(names) || !(self.only.is_empty() || self.only.iter().any(names)) {
            return Some(Passing::Asked);
        }
        let (when, refusals) = self.auto.as_ref()?;
        let mut refusals = refusals.lock().unwrap_or_else(PoisonError::into_inner);
        let pair = refusals.pairs.get_mut(&(client, name.to_ascii_lowercase()))?;
        (pair.count >= when.refusals.get()).then(|| {
            pair.noticed = Instant::now();
            Passing::Refused(*when)
        })
    }

    /// Notes that a client refused our certificate.
    pub(crate) fn refused(&self, client: IpAddr, name: &str) {
        let Some((when, refusals)) = &self.auto else { return };
        let count = refusals.lock().unwrap_or_else(PoisonError::into_inner).count(
            (client, name.to_ascii_lowercase()),
            when.within,
            Instant::now(),
        );
        if count == when.refusals.get() {
            tracing::warn!(
                %client,
                host = name,
                refusals = count,
                "a client keeps refusing our certificate: its TLS to this host passes through from now on"
            );
        }
    }

    /// Notes that a client accepted our certificate.
    pub(crate) fn accepted(&self, client: IpAddr, name: &str) {
        if let Some((_, refusals)) = &self.auto {
            let mut refusals = refusals.lock().unwrap_or_else(PoisonError::into_inner);
            refusals.pairs.remove(&(client, name.to_ascii_lowercase()));
        }
    }
}

/// How often whom refused our certificate for what.
#[derive(Default)]
struct Refusals {
    pairs: HashMap<(IpAddr, String), Pair>,
}

struct Pair {
    count: u32,
    first: Instant,
    noticed: Instant,
}

impl Refusals {
    /// Counts one more; refusals longer ago than `within` no longer count.
    fn count(&mut self, key: (IpAddr, String), within: Duration, now: Instant) -> u32 {
        if self.pairs.len() >= MAX_PAIRS && !self.pairs.contains_key(&key) {
            let oldest = self.pairs.iter().min_by_key(|(_, pair)| pair.noticed).map(|(key, _)| key.clone());
            if let Some(oldest) = oldest {
                self.pairs.remove(&oldest);
            }
        }
        let pair = self.pairs.entry(key).or_insert(Pair { count: 0, first: now, noticed: now });
        if now.duration_since(pair.first) > within {
            (pair.count, pair.first) = (0, now);
        }
        pair.count = pair.count.saturating_add(1);
        pair.noticed = now;
        pair.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn patterns(texts: &[&str]) -> Vec<HostPattern> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn lists_decide_by_either_name() {
        for (passthrough, only, host, name, passes) in [
            (&[][..], &[][..], "a.example", "a.example", false),
            (&["a.example"], &[], "192.0.2.1", "a.example", true),
            (&["192.0.2.1"], &[], "192.0.2.1", "a.example", true),
            (&[], &["*.example"], "192.0.2.1", "a.example", false),
            (&[], &["*.example"], "b.test", "b.test", true),
            (&["a.example"], &["*.example"], "a.example", "a.example", true),
        ] {
            let mut options = TlsOptions::new();
            options.only = patterns(only);
            let interception = Interception::new(patterns(passthrough), &options);
            let expected = passes.then_some(Passing::Asked);
            assert_eq!(interception.passes(CLIENT, host, name), expected, "{passthrough:?} {only:?} {host}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_count_per_client_and_host_within_their_time() {
        let when = AutoPassthrough::default();
        let interception = Interception::new(Vec::new(), &TlsOptions::new().with_auto_passthrough(when));
        let passes = |client, name| interception.passes(client, "192.0.2.1", name).is_some();
        let other: IpAddr = "192.0.2.7".parse().unwrap();

        interception.refused(CLIENT, "pinned.example");
        interception.refused(CLIENT, "Pinned.example");
        interception.refused(CLIENT, "other.example");
        interception.refused(other, "pinned.example");
        assert!(!passes(CLIENT, "pinned.example"));
        interception.refused(CLIENT, "pinned.example");
        assert!(passes(CLIENT, "PINNED.example"));
        assert!(!passes(other, "pinned.example") && !passes(CLIENT, "other.example"));

        interception.refused(CLIENT, "other.example");
        interception.accepted(CLIENT, "other.example");
        interception.refused(CLIENT, "other.example");
        assert!(!passes(CLIENT, "other.example"), "a request that came through sets the count back");
        interception.refused(CLIENT, "other.example");
        tokio::time::advance(when.within + Duration::from_secs(1)).await;
        interception.refused(CLIENT, "other.example");
        assert!(!passes(CLIENT, "other.example"), "refusals long ago do not count");
        assert!(passes(CLIENT, "pinned.example"), "what was decided stays");
    }

    #[tokio::test(start_paused = true)]
    async fn the_table_forgets_what_was_noticed_longest_ago() {
        let when = AutoPassthrough { refusals: std::num::NonZeroU32::MIN, ..AutoPassthrough::default() };
        let interception = Interception::new(Vec::new(), &TlsOptions::new().with_auto_passthrough(when));
        for index in 0..=MAX_PAIRS {
            interception.refused(CLIENT, &format!("{index}.example"));
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert_eq!(interception.passes(CLIENT, "", "0.example"), None);
        assert_eq!(interception.passes(CLIENT, "", "1.example"), Some(Passing::Refused(when)));
        let (_, refusals) = interception.auto.as_ref().unwrap();
        assert_eq!(refusals.lock().unwrap().pairs.len(), MAX_PAIRS);
    }
}
