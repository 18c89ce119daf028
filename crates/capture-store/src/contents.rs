//! How a small body is put down: shared with others of its content where it came before, packed where that pays, and
//! as it is otherwise.

use crate::{
    db::{BodyContent, DbError, Tx},
    id::Seq,
    packing::{Packer, Repeats},
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
pub(crate) struct Contents {
    repeats: Repeats,
    packer: Packer,
}

impl Contents {
    pub(crate) fn new() -> Self {
        Self { repeats: Repeats::default(), packer: Packer::new() }
    }

    /// Puts a body down. In a transaction that is rolled back nothing of it stays but that its content was seen.
    pub(crate) fn put(&mut self, tx: &Tx<'_>, body: SmallBody<'_>, packing: Packing) -> Result<(), DbError> {
        let SmallBody { seq, side, data, plain, hash } = body;
        let length = data.len() as u64;
        if data.len() >= SHARED_BYTES && self.repeats.seen(hash) {
            let file = match tx.share_content(length, hash)? {
                Some(file) => file,
                // It is packed whatever else there is to do: it is done once.
                None => match self.packer.pack(data) {
                    Some(frame) => tx.put_content(length, hash, frame, true)?,
                    None => tx.put_content(length, hash, data, false)?,
                },
            };
            return tx.put_body(seq, side, BodyContent::Shared { file, length, plain }, Some(hash));
        }
        let frame = if packing == Packing::Yes { self.packer.pack(data) } else { None };
        let content = match frame {
            Some(frame) => BodyContent::Packed { frame, length, plain },
            None => BodyContent::Inline { data, plain },
        };
        tx.put_body(seq, side, content, Some(hash))
    }
}
