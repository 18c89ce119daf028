//! Whether a store has what it says: structure, details, and the hash of every body.

use std::io::{self, Read};

use ring::digest;

use crate::{
    db::{BodyCheck, BodyRow},
    detail::Detail,
    error::Error,
    id::{Seq, SessionId},
    record::BodySide,
    retrieve,
    store::Store,
};

/// Problems told at most.
const MAX_PROBLEMS: usize = 1_000;
/// Rows read at once.
const AT_ONCE: usize = 256;
/// Bodies read at once: 8 MiB, where all are as large as bodies in the database are.
const BODIES_AT_ONCE: usize = 64;
/// What is read of a body's file at once.
const CHUNK_BYTES: usize = 256 * 1024;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verification {
    /// Exchanges looked at.
    pub exchanges: u64,
    /// Bodies whose bytes were compared with their hash.
    pub bodies: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bodies without a hash: of exchanges that were open, or cut off by a crash.
    pub unhashed: u64,
    /// What is wrong, the first 1,000.
    pub problems: Vec<Problem>,
    /// Whether more is wrong than is told.
    pub more: bool,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// The exchange, where it is about one.
    pub exchange: Option<Seq>,
    /// What is wrong, one line.
    pub message: String,
}

impl Verification {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.problems.is_empty()
    }

    fn add(&mut self, exchange: Option<Seq>, message: String) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(Problem { exchange, message });
        } else {
            self.more = true;
        }
    }
}

/// Verifies one session, or all. Only reads, in steps, beside whoever records.
pub(crate) fn verify(store: &Store, session: Option<SessionId>) -> Result<Verification, Error> {
    let mut found = Verification::default();
    let structure = store.read(|tx| {
        let mut lines = tx.structure_problems(MAX_PROBLEMS)?;
        lines.extend(tx.dangling(MAX_PROBLEMS)?);
        Ok(lines)
    })?;
    for line in structure {
        found.add(None, line);
    }
    let Some((first, last)) = store.read(|tx| tx.span_of(session))? else { return Ok(found) };
    verify_details(store, session, &mut found)?;
    verify_bodies(store, session, (first, last), &mut found)?;
    Ok(found)
}

fn verify_details(store: &Store, session: Option<SessionId>, found: &mut Verification) -> Result<(), Error> {
    let mut after = Seq(0);
    loop {
        let rows = store.read(|tx| tx.details_after(after, session, AT_ONCE))?;
        let Some((last, _)) = rows.last() else { return Ok(()) };
        after = *last;
        for (seq, blob) in rows {
            found.exchanges += 1;
            if Detail::decode(blob).is_err() {
                found.add(Some(seq), "its details cannot be read".to_owned());
            }
        }
    }
}

fn verify_bodies(
    store: &Store,
    session: Option<SessionId>,
    (first, last): (Seq, Seq),
    found: &mut Verification,
) -> Result<(), Error> {
    let mut after = i64::try_from(first.0).unwrap_or(0).saturating_mul(2) - 1;
    loop {
        let rows = store.read(|tx| {
            let rows = tx.bodies_after(after, last, BODIES_AT_ONCE)?;
            let owned = rows.into_iter().map(|(id, check)| {
                let own = match session {
                    None => true,
                    Some(session) => tx.summary(check.seq)?.is_some_and(|summary| summary.session == session),
                };
                Ok((id, check, own))
            });
            owned.collect::<Result<Vec<_>, _>>()
        })?;
        let Some((last, ..)) = rows.last() else { return Ok(()) };
        after = *last;
        for (_, check, _) in rows.into_iter().filter(|(.., own)| *own) {
            verify_body(store, check, found)?;
        }
    }
}

fn verify_body(store: &Store, check: BodyCheck, found: &mut Verification) -> Result<(), Error> {
    let BodyCheck { seq, side, hash: expected, body } = check;
    let name = match side {
        BodySide::Request => "request",
        BodySide::Response => "response",
    };
    let length = body.length;
    let hash = match hash_of_body(store, body) {
        // A file may become a frame between the look at its row and this one; its row says so now. What is longer by
        // now goes on, and is not for this look.
        Err(_) => match store.read(|tx| tx.body(seq, side))? {
            Some(body) if body.length == length => hash_of_body(store, body),
            _ => return Ok(()),
        },
        hash => hash,
    };
    match (hash, expected) {
        (Ok(hash), Some(expected)) => {
            found.bodies += 1;
            found.bytes += length;
            if hash != expected {
                found.add(Some(seq), format!("the {name}'s body is not what was recorded: its hash differs"));
            }
        }
        (Ok(_), None) => found.unhashed += 1,
        // It was evicted while this looked.
        (Err(_), _) if store.read(|tx| tx.summary(seq))?.is_none() => {}
        (Err(error), _) => found.add(Some(seq), format!("the {name}'s body cannot be read: {error}")),
    }
    Ok(())
}

/// Reads a body to its end, which must come where its row says.
fn hash_of_body(store: &Store, body: BodyRow) -> io::Result<[u8; 32]> {
    hash_of(retrieve::reader(store.files(), body)?)
}

fn hash_of(mut reader: impl Read) -> io::Result<[u8; 32]> {
    let mut context = digest::Context::new(&digest::SHA256);
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => context.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    Ok(hash)
}
