//! Bodies and messages on their way into an import: in memory while they are small, in a file of the store beyond.

use std::{
    fmt,
    io::{self, BufRead},
};

use bytes::Bytes;
use ring::digest;

use crate::{assemble::INLINE_BYTES, error::Error, files::BodyWriter, record::StoredMessage};

/// A body to import: made of [`Bytes`], or piece by piece by
/// [`ImportSession::append`](crate::ImportSession::append).
#[derive(Default)]
pub struct ImportBody(Form);

enum Form {
    Held(Vec<u8>),
    File { file: u64, length: u64, hash: Box<digest::Context> },
}

impl Default for Form {
    fn default() -> Self {
        Self::Held(Vec::new())
    }
}

impl ImportBody {
    /// Its length so far, in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        match &self.0 {
            Form::Held(held) => held.len() as u64,
            Form::File { length, .. } => *length,
        }
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes, where they are in memory.
    #[must_use]
    pub fn held(&self) -> Option<&[u8]> {
        match &self.0 {
            Form::Held(held) => Some(held),
            Form::File { .. } => None,
        }
    }

    /// The number of its file, where it has one.
    pub(crate) fn file(&self) -> Option<u64> {
        match &self.0 {
            Form::Held(_) => None,
            Form::File { file, .. } => Some(*file),
        }
    }

    /// Bytes of it in memory.
    pub(crate) fn weight(&self) -> usize {
        self.held().map_or(0, <[u8]>::len)
    }

    /// The hash of what is in its file.
    pub(crate) fn file_hash(&self) -> Option<[u8; 32]> {
        let Form::File { hash, .. } = &self.0 else { return None };
        let mut bytes = [0; 32];
        bytes.copy_from_slice(hash.clone().finish().as_ref());
        Some(bytes)
    }

    /// Adds bytes; once they are too many to be held they go to the file that `reserve` names.
    pub(crate) fn append(
        &mut self,
        piece: &[u8],
        files: &mut BodyWriter,
        reserve: impl FnOnce() -> Result<u64, Error>,
    ) -> Result<(), Error> {
        if let Form::Held(held) = &mut self.0 {
            if held.len() + piece.len() <= INLINE_BYTES {
                held.extend_from_slice(piece);
                return Ok(());
            }
            let file = reserve()?;
            let mut hash = Box::new(digest::Context::new(&digest::SHA256));
            if !held.is_empty() {
                files.write(file, 0, held)?;
                hash.update(held);
            }
            self.0 = Form::File { file, length: held.len() as u64, hash };
        }
        if let Form::File { file, length, hash } = &mut self.0 {
            files.write(*file, *length, piece)?;
            hash.update(piece);
            *length += piece.len() as u64;
        }
        Ok(())
    }
}

impl From<Bytes> for ImportBody {
    fn from(bytes: Bytes) -> Self {
        Self(Form::Held(bytes.into()))
    }
}

impl From<Vec<u8>> for ImportBody {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Form::Held(bytes))
    }
}

impl fmt::Debug for ImportBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImportBody").field("len", &self.len()).field("file", &self.file()).finish()
    }
}

/// The WebSocket messages of an exchange to import: a list, or so many that they are read when they are written.
#[derive(Debug)]
pub enum ImportMessages {
    /// All of them.
    List(Vec<StoredMessage>),
    /// Read one by one.
    Spooled(SpooledMessages),
}

/// Messages that were put into an [`ImportBody`] in a form of their maker's.
pub struct SpooledMessages {
    /// What holds them.
    pub body: ImportBody,
    /// How many there are.
    pub count: u64,
    /// The bytes of their payloads.
    pub bytes: u64,
    /// Reads the next; `None` at the end.
    pub next: NextMessage,
}

/// Reads one message after the other.
pub type NextMessage = Box<dyn FnMut(&mut dyn BufRead) -> io::Result<Option<StoredMessage>> + Send>;

impl ImportMessages {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::List(list) => list.len() as u64,
            Self::Spooled(spooled) => spooled.count,
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of their payloads.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Self::List(list) => list.iter().map(|message| message.data.len() as u64).sum(),
            Self::Spooled(spooled) => spooled.bytes,
        }
    }

    /// Bytes of them in memory.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::List(list) => list.iter().map(|message| message.data.len()).sum(),
            Self::Spooled(spooled) => spooled.body.weight(),
        }
    }
}

impl Default for ImportMessages {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

impl From<Vec<StoredMessage>> for ImportMessages {
    fn from(list: Vec<StoredMessage>) -> Self {
        Self::List(list)
    }
}

impl fmt::Debug for SpooledMessages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpooledMessages").field("count", &self.count).finish_non_exhaustive()
    }
}
