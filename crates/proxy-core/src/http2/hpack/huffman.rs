//! The static Huffman code of HPACK (RFC 7541 section 5.2 and appendix B), both ways.
//!
//! The code is canonical: within a length the codes follow the symbols, and each length goes on where the one before
//! it ended. So the lengths alone say everything, and the tables here are made of them at compile time.

use bytes::{BufMut, BytesMut};

/// The bits of each symbol's code (RFC 7541 appendix B); the 257th, EOS, has 30 and may not occur.
#[rustfmt::skip]
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6,
    6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5,
    6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24,
    23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21,
    23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26,
    26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21,
    26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26,
    26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];

const MAX_LENGTH: usize = 30;
/// Codes up to this length are found by one look into a table: all printable ASCII that is common.
const FAST_BITS: usize = 8;

/// The tables made of [`LENGTHS`].
struct Tables {
    codes: [u32; 256],
    /// Symbols in the order of their codes.
    symbols: [u8; 256],
    /// By length: the first code, how many there are, and where their symbols begin.
    first: [u32; MAX_LENGTH + 1],
    count: [u32; MAX_LENGTH + 1],
    offset: [u32; MAX_LENGTH + 1],
    /// By the next eight bits: symbol, and length or zero.
    fast: [(u8, u8); 1 << FAST_BITS],
}

const TABLES: Tables = tables();

const fn tables() -> Tables {
    let mut t = Tables {
        codes: [0; 256],
        symbols: [0; 256],
        first: [0; MAX_LENGTH + 1],
        count: [0; MAX_LENGTH + 1],
        offset: [0; MAX_LENGTH + 1],
        fast: [(0, 0); 1 << FAST_BITS],
    };
    let (mut code, mut seen, mut length) = (0_u32, 0_usize, 1_usize);
    while length <= MAX_LENGTH {
        code <<= 1;
        t.first[length] = code;
        t.offset[length] = seen as u32;
        let mut symbol = 0_usize;
        while symbol < 256 {
            if LENGTHS[symbol] as usize == length {
                t.codes[symbol] = code;
                t.symbols[seen] = symbol as u8;
                fill_fast(&mut t.fast, symbol as u8, length, code);
                code += 1;
                seen += 1;
                t.count[length] += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    t
}

const fn fill_fast(fast: &mut [(u8, u8); 1 << FAST_BITS], symbol: u8, length: usize, code: u32) {
    if length > FAST_BITS {
        return;
    }
    let free = FAST_BITS - length;
    let mut rest = 0_usize;
    while rest < 1 << free {
        fast[((code as usize) << free) | rest] = (symbol, length as u8);
        rest += 1;
    }
}

/// The bytes `text` takes in Huffman code.
pub(super) fn encoded_bytes(text: &[u8]) -> usize {
    let bits: usize = text.iter().map(|byte| usize::from(LENGTHS[usize::from(*byte)])).sum();
    bits.div_ceil(8)
}

/// Writes `text` in Huffman code, padded with ones.
pub(super) fn encode(text: &[u8], out: &mut BytesMut) {
    let (mut bits, mut held) = (0_u64, 0_usize);
    for byte in text {
        let length = usize::from(LENGTHS[usize::from(*byte)]);
        bits = (bits << length) | u64::from(TABLES.codes[usize::from(*byte)]);
        held += length;
        // Thirty bits at most come next, so that half a word is enough to make room.
        if held >= 32 {
            held -= 32;
            out.put_u32((bits >> held) as u32);
        }
    }
    while held >= 8 {
        held -= 8;
        out.put_u8((bits >> held) as u8);
    }
    if held > 0 {
        let padding = 8 - held;
        out.put_u8(((bits << padding) | ((1 << padding) - 1)) as u8);
    }
}

/// A string that is not in Huffman code: EOS in it, or padding that is too long or not of ones.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotHuffman;

/// Decodes `coded` and hands each byte to `put`.
///
/// # Errors
///
/// As [`NotHuffman`] says (RFC 7541 section 5.2).
pub(super) fn decode(coded: &[u8], mut put: impl FnMut(u8)) -> Result<(), NotHuffman> {
    let (mut bits, mut held) = (0_u64, 0_usize);
    let mut rest = coded.iter();
    loop {
        while held <= 56 {
            let Some(byte) = rest.next() else { break };
            bits = (bits << 8) | u64::from(*byte);
            held += 8;
        }
        // Most symbols are found by their first bits, without looking further.
        while held >= FAST_BITS {
            let (symbol, length) = TABLES.fast[((bits >> (held - FAST_BITS)) & 0xff) as usize];
            if length == 0 {
                break;
            }
            put(symbol);
            held -= usize::from(length);
        }
        if held == 0 && rest.len() == 0 {
            return Ok(());
        }
        if held < MAX_LENGTH && rest.len() > 0 {
            continue;
        }
        let window = window(bits, held);
        let (symbol, length) = symbol(window)?;
        if length > held {
            // All that is left is padding: fewer than eight bits, all ones.
            let left = bits & ((1 << held) - 1);
            return if held < 8 && left == (1 << held) - 1 { Ok(()) } else { Err(NotHuffman) };
        }
        put(symbol);
        held -= length;
    }
}

/// The next thirty bits; beyond the end there are zeros.
fn window(bits: u64, held: usize) -> u32 {
    let mask = (1 << MAX_LENGTH) - 1;
    let aligned = if held >= MAX_LENGTH { bits >> (held - MAX_LENGTH) } else { bits << (MAX_LENGTH - held) };
    (aligned & mask) as u32
}

fn symbol(window: u32) -> Result<(u8, usize), NotHuffman> {
    let (symbol, length) = TABLES.fast[(window >> (MAX_LENGTH - FAST_BITS)) as usize];
    if length > 0 {
        return Ok((symbol, usize::from(length)));
    }
    for length in FAST_BITS + 1..=MAX_LENGTH {
        let code = window >> (MAX_LENGTH - length);
        let index = code.wrapping_sub(TABLES.first[length]);
        if index < TABLES.count[length] {
            return Ok((TABLES.symbols[(TABLES.offset[length] + index) as usize], length));
        }
    }
    Err(NotHuffman)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn coded(text: &[u8]) -> BytesMut {
        let mut out = BytesMut::new();
        encode(text, &mut out);
        assert_eq!(out.len(), encoded_bytes(text));
        out
    }

    fn decoded(coded: &[u8]) -> Result<Vec<u8>, NotHuffman> {
        let mut out = Vec::new();
        decode(coded, |byte| out.push(byte))?;
        Ok(out)
    }

    #[test]
    fn the_examples_of_the_rfc_come_out_as_there() {
        // RFC 7541 sections C.4 and C.6.
        for (text, code) in [
            (&b"www.example.com"[..], &b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"[..]),
            (b"no-cache", b"\xa8\xeb\x10\x64\x9c\xbf"),
            (b"302", b"\x64\x02"),
            (b"private", b"\xae\xc3\x77\x1a\x4b"),
            (b"", b""),
        ] {
            assert_eq!(coded(text), code);
            assert_eq!(decoded(code).unwrap(), text);
        }
    }

    #[test]
    fn padding_is_short_and_of_ones() {
        for bad in [
            &b"\xff"[..],
            b"\xff\xff\xff\xff",
            b"\x64\x02\xff",
            b"\x1f\xff",
            b"\xa8\xeb\x10\x64\x9c\xb0",
            b"\x00\x00",
        ] {
            let result = decoded(bad);
            // Zeros are five-bit codes, and three zeros are left over.
            assert!(result.is_err(), "{bad:?}: {result:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes(text in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(decoded(&coded(&text)).unwrap(), text);
        }

        #[test]
        fn whatever_decodes_is_encoded_the_same(coded_bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(text) = decoded(&coded_bytes) {
                prop_assert_eq!(&coded(&text)[..], &coded_bytes[..]);
            }
        }
    }
}
