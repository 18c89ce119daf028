//! Header blocks into fields.

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    huffman,
    table::{DEFAULT_TABLE_BYTES, Entry, Table},
};
use crate::head::Header;

/// What each field costs beyond its name and value (RFC 9113 section 6.5.2).
const FIELD_OVERHEAD_BYTES: u64 = 32;

/// Fields room is made for at first.
const USUAL_FIELDS: usize = 16;

/// Octets of an integer after its prefix: 2^28, more than any length here can be.
const MAX_INTEGER_OCTETS: u32 = 4;

/// Size updates at the beginning of a block (RFC 7541 section 4.2).
const MAX_SIZE_UPDATES: usize = 2;

/// Bytes that are no header block: a COMPRESSION_ERROR of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadBlock(pub(crate) &'static str);

/// The fields of one block, as far as there was room for them.
#[derive(Debug, Default)]
pub(crate) struct Section {
    /// In their order, pseudo-fields included.
    pub(crate) fields: Vec<Header>,
    /// The sum of RFC 9113 section 6.5.2 over all fields, also those that were left out.
    pub(crate) bytes: u64,
    /// How many there were.
    pub(crate) count: usize,
}

/// Reads the header blocks of one connection, in the order they came.
#[derive(Debug)]
pub(crate) struct Decoder {
    table: Table,
    /// Beyond it fields are counted and left out: the block is still read, because the table goes on from it.
    max_section_bytes: u64,
    max_count: usize,
    /// Strings of the block under way; the fields share its memory.
    arena: BytesMut,
}

impl Decoder {
    pub(crate) fn new(max_section_bytes: usize, max_count: usize) -> Self {
        Self {
            table: Table::new(DEFAULT_TABLE_BYTES),
            max_section_bytes: max_section_bytes as u64,
            max_count,
            arena: BytesMut::new(),
        }
    }

    /// Reads a whole block. Memory is bounded by the block and the limits, whatever the block makes of its indexes.
    ///
    /// # Errors
    ///
    /// A block that is none. The connection cannot go on after it.
    pub(crate) fn decode(&mut self, block: &[u8]) -> Result<Section, BadBlock> {
        let mut section = Section { fields: Vec::with_capacity(USUAL_FIELDS), ..Section::default() };
        self.read(block, &mut section)?;
        Ok(section)
    }

    /// Reads what it can of a block that broke off. The connection cannot go on after it.
    pub(crate) fn decode_beginning(&mut self, block: &[u8]) -> Section {
        let mut section = Section::default();
        // It ends in an error, as a block that breaks off does.
        let _ = self.read(block, &mut section);
        section
    }

    fn read(&mut self, block: &[u8], section: &mut Section) -> Result<(), BadBlock> {
        let mut input = Input(block);
        let mut updates = 0;
        self.arena = BytesMut::with_capacity(block.len().saturating_mul(2).min(4 * DEFAULT_TABLE_BYTES));
        while let Some(first) = input.peek() {
            if first & 0xe0 == 0x20 {
                updates += 1;
                if section.count > 0 || updates > MAX_SIZE_UPDATES {
                    return Err(BadBlock("a table size update out of place"));
                }
                let bytes = input.integer(5)?;
                if bytes > DEFAULT_TABLE_BYTES {
                    return Err(BadBlock("a table size over the agreed one"));
                }
                self.table.set_max_bytes(bytes);
            } else {
                self.field(first, &mut input, section)?;
            }
        }
        self.arena = BytesMut::new();
        Ok(())
    }

    fn field(&mut self, first: u8, input: &mut Input<'_>, section: &mut Section) -> Result<(), BadBlock> {
        if first & 0x80 != 0 {
            let entry = self.entry(input.integer(7)?)?;
            self.add(entry, false, section);
            return Ok(());
        }
        let (prefix, indexed, never_indexed) = match first {
            0x40.. => (6, true, false),
            0x10.. => (4, false, true),
            _ => (4, false, false),
        };
        let (name, is_known) = match input.integer(prefix)? {
            0 => (self.string(input)?, false),
            index => (self.entry(index)?.name, true),
        };
        let value = self.string(input)?;
        if indexed {
            // Memory of its own: an entry outlives its block, and would hold all of it.
            let name = if is_known { name.clone() } else { own(&name) };
            let entry = Entry { name, value: own(&value) };
            self.table.insert(entry);
        }
        self.add(Entry { name, value }, never_indexed, section);
        Ok(())
    }

    fn add(&self, Entry { name, value }: Entry, never_indexed: bool, section: &mut Section) {
        section.bytes += name.len() as u64 + value.len() as u64 + FIELD_OVERHEAD_BYTES;
        section.count += 1;
        if section.bytes <= self.max_section_bytes && section.count <= self.max_count {
            section.fields.push(Header::received(name, value, never_indexed));
        }
    }

    fn entry(&self, index: usize) -> Result<Entry, BadBlock> {
        self.table.get(index).ok_or(BadBlock("an index beyond the tables"))
    }

    fn string(&mut self, input: &mut Input<'_>) -> Result<Bytes, BadBlock> {
        let coded = input.peek().is_some_and(|first| first & 0x80 != 0);
        let length = input.integer(7)?;
        let text = input.take(length)?;
        if coded {
            // Written in place: no code is shorter than five bits.
            let (mut at, arena) = (self.arena.len(), &mut self.arena);
            arena.resize(at + text.len() * 8 / 5, 0);
            let put = |byte| {
                if let Some(place) = arena.get_mut(at) {
                    *place = byte;
                    at += 1;
                }
            };
            huffman::decode(text, put).map_err(|_| BadBlock("a string that is not in Huffman code"))?;
            arena.truncate(at);
        } else {
            self.arena.put_slice(text);
        }
        Ok(self.arena.split().freeze())
    }

    #[cfg(test)]
    pub(super) fn table_bytes(&self) -> usize {
        self.table.bytes()
    }
}

/// A copy, in memory of its own.
fn own(text: &Bytes) -> Bytes {
    Bytes::copy_from_slice(text)
}

/// What is left of a block.
struct Input<'b>(&'b [u8]);

impl<'b> Input<'b> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    fn octet(&mut self) -> Result<u8, BadBlock> {
        let (first, rest) = self.0.split_first().ok_or(BadBlock("a block that breaks off"))?;
        self.0 = rest;
        Ok(*first)
    }

    fn take(&mut self, length: usize) -> Result<&'b [u8], BadBlock> {
        let (text, rest) = self.0.split_at_checked(length).ok_or(BadBlock("a string beyond its block"))?;
        self.0 = rest;
        Ok(text)
    }

    /// An integer behind a prefix (RFC 7541 section 5.1).
    fn integer(&mut self, prefix: u32) -> Result<usize, BadBlock> {
        let max = (1_usize << prefix) - 1;
        let mut value = usize::from(self.octet()?) & max;
        if value < max {
            return Ok(value);
        }
        for at in 0..MAX_INTEGER_OCTETS {
            let octet = self.octet()?;
            value += usize::from(octet & 127) << (7 * at);
            if octet & 128 == 0 {
                return Ok(value);
            }
        }
        Err(BadBlock("an integer that is too large"))
    }
}
