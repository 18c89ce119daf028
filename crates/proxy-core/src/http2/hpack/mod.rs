//! HPACK (RFC 7541): header fields to bytes and back.
//!
//! What enters: fields, or the blocks a peer sent. What leaves: blocks, or fields in their order with the mark that
//! they are never to be indexed. What it does not know: frames, and which fields make sense. Both tables hold at most
//! what was agreed, and nothing is allocated for what a peer merely announces.

mod decoder;
mod encoder;
mod huffman;
mod table;

#[cfg(test)]
mod tests;

pub(super) use decoder::{Decoder, Section};
pub(super) use encoder::Encoder;

/// The size of both tables unless otherwise agreed (RFC 9113 section 6.5.2); ours is never larger.
pub(super) const DEFAULT_TABLE_BYTES: usize = 4_096;

/// Bytes that are no header block: a COMPRESSION_ERROR of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadBlock(pub(super) &'static str);
