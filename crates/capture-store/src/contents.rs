//! How a small body is put down: shared with others of its content where it came before, packed where that pays, and
//! as it is otherwise.

use crate::{
    db::{BodyContent, DbError, Tx},
    id::Seq,
    packing::{ByHash, Packer, Repeats},
    record::BodySide,
};

/// Contents below this size are not shared: what a number, a hash and an index entry take is not worth it.
const SHARED_BYTES: usize = 512;

/// Whether there is time to pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    /// Text is packed.
    Yes,
    /// All is stored as it is.
    No,
}

/// A whole body that is kept in the database.
#[derive(Clone, Copy)]
pub(crate) struct SmallBody<'a> {
    pub(crate) seq: Seq,
    pub(crate) side: BodySide,
    pub(crate) data: &'a [u8],
    /// Whether it is the text itself, with nothing to be taken off.
    pub(crate) plain: bool,
    pub(crate) hash: &'a [u8; 32],
}

/// What is known of contents that were put down lately.
///
/// A transaction that puts bodies down begins with [`begin`](Self::begin) and ends with [`count`](Self::count): what many
/// of its bodies share is looked up once, and counted once.
pub(crate) struct Contents {
    repeats: Repeats,
    packer: Packer,
    /// What bodies of the transaction at hand share, by its hash; as many as there are such bodies at most.
    shared: ByHash<Sharing>,
}

/// A content that bodies of one transaction share.
struct Sharing {
    file: u64,
    /// Bodies that are not counted on it yet.
    uncounted: u64,
}

impl Contents {
    pub(crate) fn new() -> Self {
        Self { repeats: Repeats::default(), packer: Packer::new(), shared: ByHash::default() }
    }

    /// Begins with a transaction; what another did that was rolled back is forgotten.
    pub(crate) fn begin(&mut self) {
        self.shared.clear();
    }

    /// Counts what the transaction's bodies share; before anything that counts down, and before it is committed.
    pub(crate) fn count(&mut self, tx: &Tx<'_>) -> Result<(), DbError> {
        for (_, Sharing { file, uncounted }) in self.shared.drain() {
            if uncounted > 0 {
                tx.count_content(file, uncounted)?;
            }
        }
        Ok(())
    }

    /// Puts a body down. In a transaction that is rolled back nothing of it stays but that its content was seen.
    pub(crate) fn put(&mut self, tx: &Tx<'_>, body: SmallBody<'_>, packing: Packing) -> Result<(), DbError> {
        let SmallBody { seq, side, data, plain, hash } = body;
        let length = data.len() as u64;
        if data.len() >= SHARED_BYTES
            && let Some(file) = self.share(tx, data, hash)?
        {
            return tx.put_body(seq, side, BodyContent::Shared { file, length, plain }, Some(hash));
        }
        let frame = if packing == Packing::Yes { self.packer.pack(data) } else { None };
        let content = match frame {
            Some(frame) => BodyContent::Packed { frame, length, plain },
            None => BodyContent::Inline { data, plain },
        };
        tx.put_body(seq, side, content, Some(hash))
    }

    /// The number of a content that came before, with one more body on it.
    fn share(&mut self, tx: &Tx<'_>, data: &[u8], hash: &[u8; 32]) -> Result<Option<u64>, DbError> {
        if let Some(sharing) = self.shared.get_mut(hash) {
            sharing.uncounted += 1;
            return Ok(Some(sharing.file));
        }
        if !self.repeats.seen(hash) {
            return Ok(None);
        }
        let length = data.len() as u64;
        let file = match tx.share_content(length, hash)? {
            Some(file) => file,
            // It is packed whatever else there is to do: it is done once.
            None => match self.packer.pack(data) {
                Some(frame) => tx.put_content(length, hash, frame, true)?,
                None => tx.put_content(length, hash, data, false)?,
            },
        };
        self.shared.insert(*hash, Sharing { file, uncounted: 0 });
        Ok(Some(file))
    }
}
