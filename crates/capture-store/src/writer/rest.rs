//! What the writer gives back once nothing came for a while. It looks once after a lull, and not again before there was
//! something to do.

use std::{
    cell::OnceCell,
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use super::thread::Writer;
use crate::db::{Connection, DbError, Opener};

/// How long nothing is committed, or asked for, before memory is given back: long enough that traffic with pauses does
/// not pay for it again and again.
pub(super) const LULL: Duration = Duration::from_secs(2);

impl Writer {
    /// Gives memory back where nothing was committed for [`LULL`].
    pub(super) fn rest_when_due(&mut self) {
        if self.disk.rest_due.is_none_or(|due| Instant::now() < due) {
            return;
        }
        self.disk.rest();
        self.known.rest();
        self.shared.queue.rest();
        self.open.shrink_to_fit();
        self.ended.shrink_to_fit();
        self.batch.shrink_to_fit();
    }
}

/// A connection of a thread that seldom has something to do: opened when it is needed, and closed after a lull.
pub(super) struct Seldom {
    opener: Opener,
    connection: OnceCell<Connection>,
}

impl Seldom {
    pub(super) fn new(opener: Opener) -> Self {
        Self { opener, connection: OnceCell::new() }
    }

    /// The connection.
    pub(super) fn open(&self) -> Result<&Connection, DbError> {
        if let Some(connection) = self.connection.get() {
            return Ok(connection);
        }
        let connection = self.opener.open()?;
        Ok(self.connection.get_or_init(|| connection))
    }

    /// Waits for what is to be done next; `None` when nothing more will come.
    pub(super) fn next<T>(&mut self, asked: &Receiver<T>) -> Option<T> {
        if self.connection.get().is_some() {
            match asked.recv_timeout(LULL) {
                Ok(next) => return Some(next),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => self.connection = OnceCell::new(),
            }
        }
        asked.recv().ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;
    use crate::recorder::SyncPolicy;

    #[test]
    fn a_connection_that_is_seldom_needed_is_opened_when_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("store.db");
        let mut seldom = Seldom::new(Opener::new(file.clone(), SyncPolicy::Normal));
        let (ask, asked) = sync_channel(2);
        ask.send(1).unwrap();
        ask.send(2).unwrap();
        assert_eq!(seldom.next(&asked), Some(1));
        assert!(!file.exists());
        seldom.open().unwrap().snapshot().unwrap().commit().unwrap();
        assert!(file.exists());
        assert_eq!(seldom.next(&asked), Some(2));
        assert!(seldom.connection.get().is_some(), "there is no lull yet");
        drop(ask);
        assert_eq!(seldom.next(&asked), None);
    }
}
