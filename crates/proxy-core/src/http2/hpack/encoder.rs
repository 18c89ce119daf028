//! Fields into header blocks.

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    huffman,
    table::{DEFAULT_TABLE_BYTES, Entry, Table, static_name, static_pair},
};

/// Values beyond this would push most others out of the table.
const MAX_INDEXED_BYTES: usize = 512;

/// Credentials: too short to index, as a guess that hits would show by its length (RFC 7541 section 7.1.3).
const SECRETS: [&[u8]; 4] = [b"authorization", b"proxy-authorization", b"cookie", b"set-cookie"];
/// Secrets this long cannot be guessed piece by piece, and a cookie is worth indexing.
const GUESSABLE_BYTES: usize = 20;

/// Fields that differ from message to message.
const FLEETING: [&[u8]; 8] =
    [b":path", b"content-length", b"date", b"etag", b"age", b"last-modified", b"location", b"if-none-match"];

/// How a field is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Indexing {
    /// Into the table (RFC 7541 section 6.2.1).
    Incremental,
    /// As it is (section 6.2.2).
    Without,
    /// As it is, by whoever passes it on, too (section 6.2.3).
    Never,
}

/// Writes header blocks for one connection. Blocks must leave in the order they were written.
#[derive(Debug)]
pub(crate) struct Encoder {
    table: Table,
    /// The least and the last size since the last block, to be told in the next one (RFC 7541 section 4.2).
    resized: Option<(usize, usize)>,
}

impl Encoder {
    pub(crate) fn new() -> Self {
        Self { table: Table::new(DEFAULT_TABLE_BYTES), resized: None }
    }

    /// Obeys the peer's SETTINGS_HEADER_TABLE_SIZE; more than the default is not used.
    pub(crate) fn set_peer_table_bytes(&mut self, bytes: u32) {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX).min(DEFAULT_TABLE_BYTES);
        let least = self.resized.map_or(self.table.max_bytes(), |(least, _)| least).min(bytes);
        if bytes != self.table.max_bytes() || self.resized.is_some() {
            self.table.set_max_bytes(bytes);
            self.resized = Some((least, bytes));
        }
    }

    /// Begins a block.
    pub(crate) fn begin(&mut self, out: &mut BytesMut) {
        if let Some((least, last)) = self.resized.take() {
            if least < last {
                integer(least, 5, 0x20, out);
            }
            integer(last, 5, 0x20, out);
        }
    }

    /// Writes one field; its name is in lower case. `never_indexed` is what its sender asked for.
    pub(crate) fn field(&mut self, name: &[u8], value: &[u8], never_indexed: bool, out: &mut BytesMut) {
        let indexing = if never_indexed { Indexing::Never } else { indexing(name, value) };
        let fixed = static_name(name);
        let pair = fixed.and_then(|first| static_pair(first, name, value));
        if let Some(index) = pair.filter(|_| indexing != Indexing::Never) {
            return integer(index, 7, 0x80, out);
        }
        let (pair, named) =
            if indexing == Indexing::Incremental { self.table.find(name, value) } else { (None, None) };
        if let Some(index) = pair {
            return integer(index, 7, 0x80, out);
        }
        let (prefix, pattern) = match indexing {
            Indexing::Incremental => (6, 0x40),
            Indexing::Without => (4, 0x00),
            Indexing::Never => (4, 0x10),
        };
        match fixed.or(named) {
            Some(index) => integer(index, prefix, pattern, out),
            None => {
                out.put_u8(pattern);
                string(name, out);
            }
        }
        string(value, out);
        if indexing == Indexing::Incremental {
            let entry = Entry { name: Bytes::copy_from_slice(name), value: Bytes::copy_from_slice(value) };
            self.table.insert(entry);
        }
    }

    #[cfg(test)]
    pub(super) fn table_bytes(&self) -> usize {
        self.table.bytes()
    }
}

fn indexing(name: &[u8], value: &[u8]) -> Indexing {
    if SECRETS.contains(&name) && (value.len() < GUESSABLE_BYTES || name != b"cookie") {
        return if name == b"set-cookie" { Indexing::Without } else { Indexing::Never };
    }
    if name.len() + value.len() > MAX_INDEXED_BYTES || FLEETING.contains(&name) {
        return Indexing::Without;
    }
    Indexing::Incremental
}

/// An integer behind a prefix (RFC 7541 section 5.1); `pattern` fills the bits before it.
pub(super) fn integer(value: usize, prefix: u32, pattern: u8, out: &mut BytesMut) {
    let max = (1_usize << prefix) - 1;
    let Some(mut rest) = value.checked_sub(max) else { return out.put_u8(pattern | value as u8) };
    out.put_u8(pattern | max as u8);
    while rest >= 128 {
        out.put_u8((rest as u8 & 127) | 128);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}

/// A string, in Huffman code where that is shorter.
fn string(text: &[u8], out: &mut BytesMut) {
    let coded = huffman::encoded_bytes(text);
    if coded < text.len() {
        integer(coded, 7, 0x80, out);
        huffman::encode(text, out);
    } else {
        integer(text.len(), 7, 0, out);
        out.put_slice(text);
    }
}
