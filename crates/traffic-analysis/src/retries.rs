//! Requests that were sent again after they failed, and how long was waited in between.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    io::Read,
    ops::ControlFlow,
    time::{Duration, SystemTime},
};

use capture_store::{BodySide, Error, ErrorKind, ExchangeSummary, Order, Seq, Store};

use crate::{
    field::failure,
    scope::{Bounds, Scope, Walked},
};

/// Chains that are followed at once; the one that waits longest is forgotten for a further one.
const MAX_OPEN: usize = 50_000;
/// Attempts told of one chain.
const MAX_ATTEMPTS: usize = 200;
/// Bytes of a request's body that are compared.
const MAX_COMPARED: u64 = 1024 * 1024;

/// One time a request was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attempt {
    /// The exchange.
    pub seq: Seq,
    /// When it began.
    pub at: SystemTime,
    /// When it ended; when it began where that is not known.
    pub ended: SystemTime,
    /// Its status, or the code of its failure, or `open`.
    pub outcome: String,
}

/// A request that was sent again after it failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retries {
    /// The request's method.
    pub method: String,
    /// Its URL.
    pub url: String,
    /// Each time it was sent, at most 200; all but the last failed.
    pub attempts: Vec<Attempt>,
    /// Whether the last succeeded.
    pub succeeded: bool,
    /// How the waits between an end and the next beginning grow.
    pub backoff: Backoff,
}

/// How waits grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Backoff {
    /// Each shorter than 50 ms.
    None,
    /// About the same (within 30 %).
    Constant,
    /// Each at least half as long again as the one before.
    Exponential,
    /// Growing, but less.
    Growing,
    /// Now longer, now shorter.
    Irregular,
    /// There is only one wait.
    Single,
}

impl Backoff {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Constant => "constant",
            Self::Exponential => "exponential",
            Self::Growing => "growing",
            Self::Irregular => "irregular",
            Self::Single => "single",
        }
    }
}

impl Retries {
    /// The waits, from the end of an attempt to the beginning of the next.
    #[must_use]
    pub fn waits(&self) -> Vec<Duration> {
        let pairs = self.attempts.windows(2);
        pairs.map(|pair| pair[1].at.duration_since(pair[0].ended).unwrap_or_default()).collect()
    }
}

/// Finds requests of the same method, URL and body that were sent again within `within` of the end of one that failed: by a
/// failure, or with status 408, 425, 429 or 500 and above. The longest chains first.
///
/// # Errors
/// When the store cannot be read.
pub fn find_retries(
    store: &Store,
    scope: &Scope,
    within: Duration,
    bounds: Bounds,
) -> Result<(Vec<Retries>, Walked), Error> {
    let mut chains = Chains { within, open: HashMap::new(), heads: HashMap::new(), done: Vec::new() };
    // Exchanges come by seq, in the order they were first seen; what began earlier may come later by a little.
    let mut waiting: Vec<ExchangeSummary> = Vec::new();
    let walked = scope.walk::<Error>(store, (Order::Ascending, None), bounds, |summary| {
        waiting.push(summary);
        if waiting.len() >= 2_000 {
            waiting.sort_by_key(|summary| summary.started_at);
            for summary in waiting.drain(..1_000) {
                chains.add(store, summary)?;
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    waiting.sort_by_key(|summary| summary.started_at);
    for summary in waiting {
        chains.add(store, summary)?;
    }
    Ok((chains.finish(), walked))
}

struct Chains {
    within: Duration,
    open: HashMap<(String, String, u64), Retries>,
    /// How many of them have this method and URL.
    heads: HashMap<(String, String), usize>,
    done: Vec<Retries>,
}

impl Chains {
    fn add(&mut self, store: &Store, summary: ExchangeSummary) -> Result<(), Error> {
        let failed = has_failed(&summary);
        let head = (summary.method.clone(), summary.url.clone());
        // Bodies are compared only of what may belong together.
        if !failed && !self.heads.contains_key(&head) {
            return Ok(());
        }
        let key = (head.0, head.1, body_hash(store, &summary)?);
        let began = summary.started_at;
        let attempt = Attempt {
            seq: summary.seq,
            at: began,
            ended: began + summary.duration.unwrap_or_default(),
            outcome: outcome(&summary),
        };
        if let Some(mut chain) = self.take(&key) {
            let last = chain.attempts.last().map_or(began, |attempt| attempt.ended);
            if began <= last + self.within {
                if chain.attempts.len() < MAX_ATTEMPTS {
                    chain.attempts.push(attempt);
                }
                if failed {
                    self.put(key, chain);
                } else {
                    chain.succeeded = summary.status.is_some();
                    self.done.push(chain);
                }
                return Ok(());
            }
            self.close(chain);
        }
        if failed {
            self.make_room();
            let (method, url) = (key.0.clone(), key.1.clone());
            let chain =
                Retries { method, url, attempts: vec![attempt], succeeded: false, backoff: Backoff::Single };
            self.put(key, chain);
        }
        Ok(())
    }

    fn take(&mut self, key: &(String, String, u64)) -> Option<Retries> {
        let chain = self.open.remove(key)?;
        let head = (key.0.clone(), key.1.clone());
        if let Some(count) = self.heads.get_mut(&head) {
            *count -= 1;
            if *count == 0 {
                self.heads.remove(&head);
            }
        }
        Some(chain)
    }

    fn put(&mut self, key: (String, String, u64), chain: Retries) {
        *self.heads.entry((key.0.clone(), key.1.clone())).or_default() += 1;
        self.open.insert(key, chain);
    }

    fn make_room(&mut self) {
        if self.open.len() < MAX_OPEN {
            return;
        }
        let last = |chain: &Retries| chain.attempts.last().map(|attempt| attempt.ended);
        let oldest = self.open.iter().min_by_key(|(_, chain)| last(chain)).map(|(key, _)| key.clone());
        if let Some(chain) = oldest.and_then(|key| self.take(&key)) {
            self.close(chain);
        }
    }

    fn close(&mut self, chain: Retries) {
        if chain.attempts.len() > 1 {
            self.done.push(chain);
        }
    }

    fn finish(mut self) -> Vec<Retries> {
        let open: Vec<_> = self.open.drain().map(|(_, chain)| chain).collect();
        open.into_iter().for_each(|chain| self.close(chain));
        for chain in &mut self.done {
            chain.backoff = backoff(&chain.waits());
        }
        let first = |chain: &Retries| chain.attempts.first().map(|attempt| attempt.seq);
        self.done.sort_by_key(|chain| (std::cmp::Reverse(chain.attempts.len()), first(chain)));
        self.done
    }
}

fn has_failed(summary: &ExchangeSummary) -> bool {
    failure(summary).is_some()
        || summary.status.is_some_and(|status| status >= 500 || matches!(status, 408 | 425 | 429))
}

fn outcome(summary: &ExchangeSummary) -> String {
    match (failure(summary), summary.status) {
        (Some(failure), _) => failure.kind.code().to_owned(),
        (None, Some(status)) => status.to_string(),
        (None, None) => "open".to_owned(),
    }
}

/// What tells bodies apart; of those longer than a mebibyte their beginning and length.
fn body_hash(store: &Store, summary: &ExchangeSummary) -> Result<u64, Error> {
    let mut hasher = DefaultHasher::new();
    summary.request_body_bytes.hash(&mut hasher);
    if summary.request_body_bytes > 0 {
        let body = match store.body(summary.seq, BodySide::Request) {
            Ok(body) => body,
            Err(error) if matches!(error.kind(), ErrorKind::UnknownExchange(_) | ErrorKind::Body(_)) => None,
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        // A body that cannot be read is told apart by its length.
        let _ = body.map(|body| body.into_reader().take(MAX_COMPARED).read_to_end(&mut bytes));
        bytes.hash(&mut hasher);
    }
    Ok(hasher.finish())
}

fn backoff(waits: &[Duration]) -> Backoff {
    let ms: Vec<f64> = waits.iter().map(|wait| wait.as_secs_f64() * 1_000.0).collect();
    let ratios: Vec<f64> = ms.windows(2).map(|pair| pair[1] / pair[0].max(1.0)).collect();
    if ms.iter().all(|ms| *ms < 50.0) {
        Backoff::None
    } else if ratios.is_empty() {
        Backoff::Single
    } else if ratios.iter().all(|ratio| (0.7..=1.3).contains(ratio)) {
        Backoff::Constant
    } else if ratios.iter().all(|ratio| *ratio >= 1.5) {
        Backoff::Exponential
    } else if ratios.iter().all(|ratio| *ratio >= 1.0) {
        Backoff::Growing
    } else {
        Backoff::Irregular
    }
}

#[cfg(test)]
mod tests {
    use proxy_core::FailureKind;

    use super::*;
    use crate::fixture::{Fed, Fixture};

    /// Attempts, whether the last succeeded, how waits grow, the waits, the outcomes.
    type Told = (usize, bool, Backoff, Vec<u128>, Vec<String>);

    fn found(fed: Vec<Fed>) -> Vec<Told> {
        let fixture = Fixture::of(fed);
        let scope = Scope::of_session(fixture.session);
        let (chains, _) =
            find_retries(&fixture.store, &scope, Duration::from_secs(60), Bounds::default()).unwrap();
        let told = chains.iter().map(|chain| {
            let waits = chain.waits().iter().map(Duration::as_millis).collect();
            let outcomes = chain.attempts.iter().map(|attempt| attempt.outcome.clone()).collect();
            (chain.attempts.len(), chain.succeeded, chain.backoff, waits, outcomes)
        });
        told.collect()
    }

    #[test]
    fn a_request_sent_again_after_failures_is_one_chain_with_its_waits() {
        let post = |at, status, body: &'static str| {
            Fed::post("https://a.test/pay", "application/json", body).at(at).took(10).status(status)
        };
        let told = found(vec![
            post(0, 503, "{1}"),
            Fed::get("https://a.test/other").at(50),
            post(110, 503, "{1}"),
            // Another body is another request.
            post(120, 200, "{2}"),
            Fed::post("https://a.test/pay", "application/json", "{1}")
                .at(320)
                .took(10)
                .failed(FailureKind::ConnectionRefused),
            post(730, 200, "{1}"),
            post(740, 200, "{1}"),
        ]);
        let outcomes = ["503", "503", "connection_refused", "200"].map(str::to_owned).to_vec();
        assert_eq!(told, [(4, true, Backoff::Exponential, vec![100, 200, 400], outcomes)]);
    }

    #[test]
    fn what_comes_much_later_or_follows_a_success_is_no_retry() {
        let get = |at, status| Fed::get("https://a.test/").at(at).took(0).status(status);
        assert_eq!(found(vec![get(0, 500), get(61_000, 200)]), []);
        assert_eq!(found(vec![get(0, 200), get(10, 200), get(20, 404), get(30, 404)]), []);
        let told = found(vec![get(0, 429), get(1_000, 429), get(2_000, 429)]);
        assert_eq!((told[0].0, told[0].1, told[0].2), (3, false, Backoff::Constant));
    }
}
