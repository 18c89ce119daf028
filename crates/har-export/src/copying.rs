//! Copying bodies into text, piece by piece: as they are, or as base64.

use std::{
    fmt,
    io::{self, Read},
};

use base64::{Engine, engine::general_purpose::STANDARD};

/// Bytes read at a time; a multiple of 3, so that base64 needs no padding in between.
pub(crate) const CHUNK_BYTES: usize = 48 * 1024;

/// Reads what there is, an interruption aside.
pub(crate) fn read_some(reader: &mut impl Read, chunk: &mut [u8]) -> io::Result<usize> {
    loop {
        match reader.read(chunk) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Which side of a copy failed.
pub(crate) enum Stop {
    Read(io::Error),
    Write,
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

impl From<fmt::Error> for Stop {
    fn from(_: fmt::Error) -> Self {
        Self::Write
    }
}

/// Copies UTF-8, splitting only between characters.
pub(crate) fn copy_text(mut reader: impl Read, to: &mut impl fmt::Write) -> Result<u64, Stop> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let (mut open, mut copied) = (0, 0);
    loop {
        let read = read_some(&mut reader, &mut chunk[open..])?;
        if read == 0 {
            return Ok(copied);
        }
        let filled = open + read;
        let valid = match str::from_utf8(&chunk[..filled]) {
            Ok(_) => filled,
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(error) => return Err(Stop::Read(io::Error::new(io::ErrorKind::InvalidData, error))),
        };
        to.write_str(&String::from_utf8_lossy(&chunk[..valid]))?;
        copied += valid as u64;
        chunk.copy_within(valid..filled, 0);
        open = filled - valid;
    }
}

/// Copies bytes as base64 with padding (RFC 4648 section 4).
pub(crate) fn copy_base64(mut reader: impl Read, to: &mut impl fmt::Write) -> Result<u64, Stop> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut text = String::with_capacity(CHUNK_BYTES / 3 * 4);
    let mut copied = 0;
    loop {
        let mut filled = 0;
        while filled < chunk.len() {
            let read = read_some(&mut reader, &mut chunk[filled..])?;
            if read == 0 {
                break;
            }
            filled += read;
        }
        text.clear();
        STANDARD.encode_string(&chunk[..filled], &mut text);
        to.write_str(&text)?;
        copied += filled as u64;
        if filled < chunk.len() {
            return Ok(copied);
        }
    }
}
