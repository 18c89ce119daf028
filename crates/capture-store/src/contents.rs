//! How a small body is put down: shared with others of its content where it came before, packed where that pays, and
//! as it is otherwise.

use crate::{
    db::{BodyContent, DbError, Tx},
    id::Seq,
    packing::{ByHash, Packer, Repeats, is_packable},
    record::BodySide,
};

/// Contents below this size are not shared: what a number, a hash and an index entry take is not worth it.
const SHARED_BYTES: usize = 512;
/// Bytes of text that are packed in one transaction at most: 5 ms at zstd's 417 MB/s.
const PACKED_BYTES: usize = 2 * 1024 * 1024;

/// Whether there is time to pack what a transaction puts down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    /// Text is packed, [`PACKED_BYTES`] of it.
    Yes,
    /// All is stored as it is, but for what is shared.
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
    packing: Packing,
    /// Bytes of text that may still be packed in the transaction at hand.
    room: usize,
}

/// A content that bodies of one transaction share.
struct Sharing {
    file: u64,
    /// Bodies that are not counted on it yet.
    uncounted: u64,
}

impl Contents {
    pub(crate) fn new() -> Self {
        Self {
            repeats: Repeats::default(),
            packer: Packer::new(),
            shared: ByHash::default(),
            packing: Packing::No,
            room: 0,
        }
    }

    /// Begins with a transaction; what another did that was rolled back is forgotten.
    pub(crate) fn begin(&mut self, packing: Packing) {
        self.shared.clear();
        (self.packing, self.room) = (packing, PACKED_BYTES);
    }

    /// Gives back the memory of what is done.
    pub(crate) fn rest(&mut self) {
        self.packer = Packer::new();
        self.shared.shrink_to_fit();
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
    pub(crate) fn put(&mut self, tx: &Tx<'_>, body: SmallBody<'_>) -> Result<(), DbError> {
        let SmallBody { seq, side, data, plain, hash } = body;
        let length = data.len() as u64;
        if data.len() >= SHARED_BYTES
            && let Some(file) = self.share(tx, data, hash)?
        {
            return tx.put_body(seq, side, BodyContent::Shared { file, length, plain }, Some(hash));
        }
        let frame = match self.packing {
            Packing::Yes => pack(&mut self.packer, &mut self.room, data),
            Packing::No => None,
        };
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
            // It is packed however many exchanges there are: it is done once.
            None => match pack(&mut self.packer, &mut self.room, data) {
                Some(frame) => tx.put_content(length, hash, frame, true)?,
                None => tx.put_content(length, hash, data, false)?,
            },
        };
        self.shared.insert(*hash, Sharing { file, uncounted: 0 });
        Ok(Some(file))
    }
}

/// The frame of some content, where it is worth it and there is room for it in what a transaction packs.
fn pack<'p>(packer: &'p mut Packer, room: &mut usize, data: &[u8]) -> Option<&'p [u8]> {
    if !is_packable(data) {
        return None;
    }
    *room = room.checked_sub(data.len())?;
    packer.pack(data)
}
