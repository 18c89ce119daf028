//! What is asked of the writer, and what becomes of it while the disk refuses.

use std::{
    mem, thread,
    time::{Instant, SystemTime},
};

use proxy_core::{Ending, Failure, FailureKind, Outcome, Sizes, Timings};

use super::{
    disk::Disk,
    patience::{Refused, Stage},
    thread::{Command, Include, Next, Writer},
};
use crate::{
    db::{Connection, DbError},
    error::{Error, ErrorKind},
    id::SessionId,
    queue::Item,
    session::{SessionInfo, SessionState},
};

impl Writer {
    /// Does what is asked; one that has to wait for the disk is put back.
    pub(super) fn command(&mut self, command: Command) -> Next {
        // A caller that no longer waits does not need the answer.
        let (again, command) = match command {
            Command::Flush(reply) => {
                self.note_refused();
                let flushed = self.commit(Include::All).map(|()| self.newest);
                match flushed {
                    Err(Refused { again: Some(again), .. }) => (again, Command::Flush(reply)),
                    answer => {
                        if answer.is_err() {
                            self.drop_ended();
                        }
                        let _ = reply.send(answer.map_err(|refused| refused.error));
                        return Next::GoOn;
                    }
                }
            }
            Command::Switch(spec, reply) => match self.switch(&spec) {
                Err(Refused { again: Some(again), .. }) => (again, Command::Switch(spec, reply)),
                answer => {
                    let _ = reply.send(answer.map_err(|refused| refused.error));
                    return Next::GoOn;
                }
            },
            Command::Close(reply) => match self.close() {
                Err(Refused { again: Some(again), .. }) => (again, Command::Close(reply)),
                answer => {
                    let _ = reply.send(answer.map_err(|refused| refused.error));
                    return Next::Stop;
                }
            },
        };
        self.batch.push_front(Item::Command(command));
        Next::Stalled(again)
    }

    /// Waits until the disk is to be tried again. Once patience is over, whoever asked before the last try is answered
    /// that it failed, who asks now brings on the next, and a recorder that is to close waits no more.
    pub(super) fn stall(&mut self, until: Instant) {
        self.held = true;
        self.shared.queue.hold(true);
        if self.disk.stage() != Some(Stage::Holding) {
            return thread::sleep(until.saturating_duration_since(Instant::now()));
        }
        let batch = mem::take(&mut self.batch);
        let is_answered =
            |item: &Item| matches!(item, Item::Command(command) if !matches!(command, Command::Close(_)));
        let (asked, batch): (Vec<_>, Vec<_>) = batch.into_iter().partition(is_answered);
        self.batch = batch.into();
        for item in mem::take(&mut self.asked).into_iter().chain(asked) {
            if let Item::Command(command) = item {
                self.refuse(command);
            }
        }
        let stalled = self.shared.queue.wait_stalled(until);
        self.asked = stalled.commands;
        if stalled.closing || self.batch.iter().any(|item| matches!(item, Item::Command(_))) {
            self.disk.give_up();
        }
    }

    /// Answers that the disk fails.
    fn refuse(&self, command: Command) {
        let message = self.shared.last_error().unwrap_or_default();
        let error = Error::with_source(ErrorKind::Disk, message);
        // A caller that no longer waits does not need the answer.
        match command {
            Command::Flush(reply) => drop(reply.send(Err(error))),
            Command::Switch(_, reply) | Command::Close(reply) => drop(reply.send(Err(error))),
        }
    }

    /// Makes the wire wait while the disk refuses what is to be written, unless that is dropped.
    pub(super) fn hold_or_let_go(&mut self) {
        let refuses = matches!(self.disk.stage(), Some(Stage::Retrying | Stage::Holding));
        let held = refuses && self.has_unwritten();
        if refuses && !held {
            // It was deleted meanwhile, or was a command that is answered: nothing would ever try again.
            self.disk.forgive();
        }
        if held != mem::replace(&mut self.held, held) {
            self.shared.queue.hold(held);
        }
        if !held {
            for item in mem::take(&mut self.asked) {
                if let Item::Command(command) = item {
                    self.shared.queue.command(command);
                }
            }
        }
    }

    /// Whether anything is in hand that the disk is to take.
    fn has_unwritten(&self) -> bool {
        self.overdue
            || !self.batch.is_empty()
            || self.ended.len() > self.unwritten.exchanges
            || self.open.values().any(|assembly| assembly.dirty)
    }

    /// Ends what is open, commits, and closes the session. May be repeated where the disk refuses; what it refuses for
    /// good is dropped and counted.
    fn close(&mut self) -> Result<SessionInfo, Refused> {
        self.note_refused();
        let open: Vec<_> = self.open.drain().map(|(_, assembly)| assembly).collect();
        for mut assembly in open {
            let elapsed = SystemTime::now().duration_since(assembly.started_at).unwrap_or_default();
            assembly.end(unknown_ending(FailureKind::Shutdown), elapsed);
            self.finish(assembly);
        }
        if let Err(refused) = self.commit(Include::All) {
            if refused.again.is_none() {
                self.drop_ended();
            }
            return Err(refused);
        }
        let id = self.current;
        let Disk { db, db_patience, .. } = &mut self.disk;
        let info = db_patience.attempt(&self.shared, || end_session(db, id))?;
        self.checkpoints.stop();
        // The store can be moved as it is then. Where a reader is in the way the log stays, and is read as well.
        if let Err(error) = db.checkpoint() {
            tracing::debug!(%error, "the log stays");
        }
        Ok(info.ok_or_else(|| Error::new(ErrorKind::UnknownSession(id)))?)
    }
}

fn end_session(db: &Connection, id: SessionId) -> Result<Option<SessionInfo>, DbError> {
    let tx = db.begin()?;
    tx.set_session_state(id, SessionState::Stopped)?;
    let info = tx.session(id)?;
    tx.commit()?;
    Ok(info)
}

/// The ending of an exchange whose end was never told.
pub(super) fn unknown_ending(kind: FailureKind) -> Box<Ending> {
    let outcome = Outcome::Failed(Failure::new(kind, ""));
    Box::new(Ending::new(outcome, Timings::default(), Sizes::default()))
}
