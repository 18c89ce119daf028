//! A bounded pool of reading connections.

use std::{
    path::PathBuf,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use crate::{
    db::{Connection, DbError, Mode, Tx},
    error::Error,
};

/// Connections at once; who comes beyond them waits for one. Two cores are busy with fewer.
const MAX_READERS: usize = 4;

/// Reading connections, opened as they are needed.
pub(crate) struct Readers {
    path: PathBuf,
    mode: Mode,
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Default)]
struct State {
    idle: Vec<Connection>,
    lent: usize,
}

impl Readers {
    pub(crate) fn new(path: PathBuf, mode: Mode) -> Self {
        Self { path, mode, state: Mutex::default(), freed: Condvar::new() }
    }

    /// Reads at one moment of the store. Not to be called from within `read`: the pool may be empty then.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Tx<'_>) -> Result<T, DbError>) -> Result<T, Error> {
        let lent = self.lend()?;
        let tx = lent.connection().snapshot()?;
        let value = read(&tx)?;
        tx.commit()?;
        Ok(value)
    }

    fn lend(&self) -> Result<Lent<'_>, Error> {
        let mut state = self.lock();
        while state.idle.is_empty() && state.lent >= MAX_READERS {
            state = self.freed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.lent += 1;
        let idle = state.idle.pop();
        drop(state);
        // From here on dropping `lent` gives the place back, also when opening fails.
        let mut lent = Lent { readers: self, connection: None };
        lent.connection = Some(match idle {
            Some(connection) => connection,
            None => Connection::open(&self.path, self.mode)?,
        });
        Ok(lent)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Lent<'r> {
    readers: &'r Readers,
    connection: Option<Connection>,
}

impl Lent<'_> {
    #[expect(clippy::expect_used, reason = "lend() fills it before it hands it out; only drop takes it")]
    fn connection(&self) -> &Connection {
        self.connection.as_ref().expect("a lent connection is there")
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut state = self.readers.lock();
        state.lent -= 1;
        state.idle.extend(self.connection.take());
        drop(state);
        self.readers.freed.notify_one();
    }
}
