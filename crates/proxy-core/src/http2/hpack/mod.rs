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

pub(crate) use decoder::{Decoder, Section};
pub(crate) use encoder::Encoder;
