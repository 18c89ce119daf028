//! What the server logs, for clients that want to read it.
#![expect(deprecated, reason = "logging is on its way out of the protocol, but clients read it still")]

use std::{convert::Infallible, sync::Arc};

use rmcp::{
    Peer, RoleServer,
    model::{LoggingLevel, LoggingMessageNotificationParam},
};
use tokio::sync::broadcast;

use crate::secrets::Vault;

/// Lines a slow client may be behind; it misses older ones, and is told how many.
const ROOM: usize = 256;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum LogLevel {
    /// For who looks for a fault.
    Debug,
    /// What happens.
    Info,
    /// What may need attention.
    Warning,
    /// What failed.
    Error,
}

#[derive(Clone, Debug)]
struct Line {
    level: LogLevel,
    logger: Arc<str>,
    text: Arc<str>,
}

/// What the server logs. `main` writes to it, clients that asked for it with `logging/setLevel` or in a request's metadata
/// are sent it. Clones share it. Writing never waits.
#[derive(Clone, Debug)]
pub struct LogFeed(broadcast::Sender<Line>);

impl Default for LogFeed {
    fn default() -> Self {
        Self(broadcast::Sender::new(ROOM))
    }
}

impl LogFeed {
    /// Tells every client that listens at this level.
    pub fn send(&self, level: LogLevel, logger: &str, text: &str) {
        if self.is_read() {
            // Nobody may be left by now, which is nobody's loss.
            let _ = self.0.send(Line { level, logger: logger.into(), text: text.into() });
        }
    }

    /// Whether any client listens.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.0.receiver_count() > 0
    }

    /// Forwards to one client, until it is dropped or the client is gone.
    pub(crate) async fn forward(
        &self,
        peer: Peer<RoleServer>,
        least: LoggingLevel,
        vault: Option<Vault>,
    ) -> Infallible {
        let mut lines = self.0.subscribe();
        loop {
            let (level, logger, text) = match lines.recv().await {
                Ok(line) => (line.level, line.logger.to_string(), line.text.to_string()),
                Err(broadcast::error::RecvError::Lagged(missed)) => (
                    LogLevel::Warning,
                    "wirescope".to_owned(),
                    format!("{missed} lines of the log were missed"),
                ),
                Err(broadcast::error::RecvError::Closed) => return std::future::pending().await,
            };
            // They are in the order of their weight.
            if (protocol(level) as u8) < least as u8 {
                continue;
            }
            let text = vault.as_ref().map_or(text.clone(), |vault| vault.hide_text(&text));
            let message =
                LoggingMessageNotificationParam::new(protocol(level), text.into()).with_logger(logger);
            if peer.notify_logging_message(message).await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}

fn protocol(level: LogLevel) -> LoggingLevel {
    match level {
        LogLevel::Debug => LoggingLevel::Debug,
        LogLevel::Info => LoggingLevel::Info,
        LogLevel::Warning => LoggingLevel::Warning,
        LogLevel::Error => LoggingLevel::Error,
    }
}
