//! One recorded exchange sent again, as often as it takes.

use std::{sync::Arc, time::Duration};

use capture_store::{Error, Seq, Store};
use proxy_core::{Failure, FailureKind, SendVersion, Sender};
use tokio::{
    sync::Mutex,
    task::spawn_blocking,
    time::{Instant, sleep, sleep_until},
};

use super::{
    changes::Changes,
    outcome::{Answer, Became},
    prepare::{Prepared, prepare},
};
use crate::diff::Options;

/// How long is waited before the second attempt; twice as long before each further one.
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// And at most.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// How exchanges are sent again.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// Requests under way at once. At least one.
    pub concurrency: usize,
    /// Requests begun in a second at most.
    pub per_second: Option<f64>,
    /// Further attempts for one that fails without a response.
    pub retries: u32,
    /// How long a whole response may take.
    pub patience: Duration,
    /// What is spoken with upstream; the version that was recorded where it is not said.
    pub version: Option<SendVersion>,
    /// The host and port to connect to in place of the URL's.
    pub connect_to: Option<(String, u16)>,
    /// How responses are compared.
    pub compare: Options,
}

impl Default for Settings {
    /// Four at once, no further attempt, 30 seconds.
    fn default() -> Self {
        Self {
            concurrency: 4,
            per_second: None,
            retries: 0,
            patience: Duration::from_secs(30),
            version: None,
            connect_to: None,
            compare: Options::default(),
        }
    }
}

/// What sending one needs.
#[derive(Clone)]
pub(super) struct Post {
    pub(super) sender: Sender,
    pub(super) store: Store,
    pub(super) changes: Arc<Changes>,
    pub(super) settings: Arc<Settings>,
    pub(super) pace: Arc<Pace>,
}

/// One that was sent, or not.
pub(super) struct Posted {
    pub(super) origin: Seq,
    pub(super) method: String,
    pub(super) url: String,
    pub(super) attempts: u32,
    /// By which the exchange of the last attempt is found.
    pub(super) connection: Option<u64>,
    pub(super) became: Became,
    pub(super) note: Option<String>,
}

impl Post {
    /// Sends one again. Dropping the future breaks the exchange off that is under way.
    pub(super) async fn post(self, origin: Seq) -> Result<Posted, Error> {
        let (store, changes) = (self.store.clone(), self.changes.clone());
        let prepared = match spawn_blocking(move || prepare(&store, origin, &changes)).await {
            Ok(prepared) => prepared?,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        };
        let mut posted = Posted {
            origin,
            method: String::new(),
            url: String::new(),
            attempts: 0,
            connection: None,
            became: Became::Failed(Failure::new(FailureKind::Aborted, "it was not sent")),
            note: None,
        };
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(skip) => {
                posted.became = Became::Skipped(skip);
                return Ok(posted);
            }
        };
        posted.method = prepared.head.method.as_str().to_owned();
        posted.url = prepared.head.url();
        posted.note.clone_from(&prepared.note);
        let mut wait = FIRST_WAIT;
        loop {
            self.pace.turn().await;
            posted.attempts += 1;
            posted.became = self.attempt(&prepared, &mut posted.connection).await;
            let again = matches!(&posted.became, Became::Failed(failure) if is_passing(failure));
            if !again || posted.attempts > self.settings.retries {
                return Ok(posted);
            }
            sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    async fn attempt(&self, prepared: &Prepared, connection: &mut Option<u64>) -> Became {
        let begun = Instant::now();
        match self.exchange(prepared, connection).await {
            Ok((status, body_bytes)) => {
                Became::Answered(Answer { status, body_bytes, took: begun.elapsed() })
            }
            Err(failure) => Became::Failed(failure),
        }
    }

    async fn exchange(
        &self,
        prepared: &Prepared,
        connection: &mut Option<u64>,
    ) -> Result<(u16, u64), Failure> {
        let unread = |error: std::io::Error| Failure::new(FailureKind::Aborted, format!("the body: {error}"));
        let mut request = prepared.request(&self.store).await.map_err(unread)?;
        request.version = self.settings.version.unwrap_or(request.version);
        request.connect_to.clone_from(&self.settings.connect_to);
        request.patience = Some(self.settings.patience);
        let sending = self.sender.send(request).await?;
        *connection = Some(sending.connection().0);
        let mut response = sending.response().await?;
        let (_, body_bytes) = response.body.collect(0).await?;
        Ok((response.head.status.as_u16(), body_bytes))
    }
}

/// Whether a failure may pass by itself: what is wrong with the request itself does not.
fn is_passing(failure: &Failure) -> bool {
    !matches!(failure.kind, FailureKind::ClientMalformed | FailureKind::BlockedAddress | FailureKind::Loop)
}

/// Keeps requests from beginning faster than they should.
pub(super) struct Pace {
    between: Option<Duration>,
    next: Mutex<Option<Instant>>,
}

impl Pace {
    pub(super) fn new(per_second: Option<f64>) -> Self {
        let between = per_second
            .filter(|rate| rate.is_finite() && *rate > 0.0)
            .and_then(|rate| Duration::try_from_secs_f64(1.0 / rate).ok());
        Self { between, next: Mutex::new(None) }
    }

    /// Waits for its turn.
    async fn turn(&self) {
        let Some(between) = self.between else { return };
        let mut next = self.next.lock().await;
        let now = Instant::now();
        let at = next.map_or(now, |next| next.max(now));
        *next = Some(at + between);
        drop(next);
        sleep_until(at).await;
    }
}
