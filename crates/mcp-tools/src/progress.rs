//! Progress of a call, told to the client while it goes on.

use std::{convert::Infallible, time::Duration};

use rmcp::{
    Peer, RoleServer,
    model::{ProgressNotificationParam, ProgressToken},
};
use tokio::{
    sync::watch,
    time::{Instant, Interval, MissedTickBehavior, interval_at},
};

use crate::secrets::Vault;

/// How often a client that asked for it is told.
const EVERY: Duration = Duration::from_secs(1);

/// What a tool says of how far it is; in the extensions of each call. Nothing is sent unless the client asked for it.
///
/// The server tells the seconds since the call began, once a second; what a tool says goes with them.
#[derive(Clone)]
pub(crate) struct Progress(watch::Sender<String>);

impl Progress {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(String::new()))
    }

    /// Says how far the call is, in a few words. Takes the place of what was said before.
    pub(crate) fn say(&self, message: impl Into<String>) {
        self.0.send_replace(message.into());
    }
}

/// Tells one client of one call.
pub(crate) struct Teller {
    peer: Peer<RoleServer>,
    token: ProgressToken,
    said: Progress,
    /// Where redaction is on.
    vault: Option<Vault>,
    started: Instant,
    ticks: Interval,
}

impl Teller {
    pub(crate) fn new(
        peer: Peer<RoleServer>,
        token: ProgressToken,
        said: Progress,
        vault: Option<Vault>,
    ) -> Self {
        let started = Instant::now();
        let mut ticks = interval_at(started + EVERY, EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { peer, token, said, vault, started, ticks }
    }

    /// Tells until it is dropped.
    pub(crate) async fn tell(mut self) -> Infallible {
        loop {
            self.ticks.tick().await;
            let mut progress =
                ProgressNotificationParam::new(self.token.clone(), self.started.elapsed().as_secs_f64());
            let said = Some(self.said.0.borrow().clone()).filter(|said| !said.is_empty());
            progress.message = match &self.vault {
                Some(vault) => said.map(|said| vault.hide_text(&said)),
                None => said,
            };
            if self.peer.notify_progress(progress).await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}
