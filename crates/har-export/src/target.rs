//! The files an export writes: each beside its target until all are whole, then renamed.

use std::{
    fs,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};
use tempfile::NamedTempFile;

use crate::error::{Error, ErrorKind};

/// Bytes of JSON gathered before they are written.
const BUFFER_BYTES: usize = 256 * 1024;

/// Fast rather than small: what takes the time is compressing.
const LEVEL: Compression = Compression::new(3);

/// Where JSON goes, and how much of it went there.
pub(crate) struct Output<W: Write> {
    packed: Packed<W>,
    /// Bytes of JSON.
    pub(crate) bytes: u64,
}

enum Packed<W: Write> {
    No(Counted<W>),
    Gzip(GzEncoder<Counted<W>>),
}

struct Counted<W> {
    to: W,
    bytes: u64,
}

impl<W: Write> Output<W> {
    pub(crate) fn new(to: W, gzip: bool) -> Self {
        let to = Counted { to, bytes: 0 };
        let packed = if gzip { Packed::Gzip(GzEncoder::new(to, LEVEL)) } else { Packed::No(to) };
        Self { packed, bytes: 0 }
    }

    /// Bytes that came out at the end: of the file, not of JSON.
    pub(crate) fn written(&self) -> u64 {
        match &self.packed {
            Packed::No(to) => to.bytes,
            Packed::Gzip(encoder) => encoder.get_ref().bytes,
        }
    }

    /// Ends the packing, and gives what it wrote to.
    pub(crate) fn finish(self) -> io::Result<(W, u64)> {
        let mut to = match self.packed {
            Packed::No(to) => to,
            Packed::Gzip(encoder) => encoder.finish()?,
        };
        to.flush()?;
        Ok((to.to, to.bytes))
    }
}

impl<W: Write> Write for Output<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = match &mut self.packed {
            Packed::No(to) => to.write(buffer)?,
            Packed::Gzip(encoder) => encoder.write(buffer)?,
        };
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.packed {
            Packed::No(to) => to.flush(),
            Packed::Gzip(encoder) => encoder.flush(),
        }
    }
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.to.write(buffer)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// A file being written.
pub(crate) type FileOutput = Output<BufWriter<NamedTempFile>>;

/// The files of one export.
pub(crate) struct Target {
    out: PathBuf,
    directory: PathBuf,
    done: Vec<NamedTempFile>,
}

impl Target {
    pub(crate) fn new(out: &Path) -> Result<Self, Error> {
        if out.is_dir() {
            return Err(write_error(out, io::Error::from(io::ErrorKind::IsADirectory)));
        }
        let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = parent.unwrap_or(Path::new(".")).to_owned();
        Ok(Self { out: out.to_owned(), directory, done: Vec::new() })
    }

    /// Begins the next file.
    pub(crate) fn begin(&self, gzip: bool) -> Result<FileOutput, Error> {
        let file = tempfile::Builder::new()
            .prefix(".wirescope-")
            .suffix(".har.part")
            .tempfile_in(&self.directory)
            .map_err(|error| write_error(&self.out, error))?;
        Ok(Output::new(BufWriter::with_capacity(BUFFER_BYTES, file), gzip))
    }

    /// Takes a file that is whole.
    pub(crate) fn take(&mut self, file: BufWriter<NamedTempFile>) -> Result<(), Error> {
        let file = file.into_inner().map_err(|error| write_error(&self.out, error.into_error()))?;
        file.as_file().sync_all().map_err(|error| write_error(&self.out, error))?;
        self.done.push(file);
        Ok(())
    }

    /// Gives the files their names: the target's own where there is one, else `name-1.har`, `name-2.har`, ...
    pub(crate) fn finish(self) -> Result<Vec<PathBuf>, Error> {
        let count = self.done.len();
        let mut paths = Vec::with_capacity(count);
        for (index, file) in self.done.into_iter().enumerate() {
            let path = if count == 1 { self.out.clone() } else { part_path(&self.out, index + 1) };
            file.persist(&path).map_err(|error| write_error(&path, error.error))?;
            paths.push(path);
        }
        sync_directory(&self.directory);
        Ok(paths)
    }
}

pub(crate) fn write_error(path: &Path, error: io::Error) -> Error {
    Error::with_source(ErrorKind::WriteFile(path.to_owned()), error)
}

/// The path of one part of several: its number before the ending, `.har` and `.har.gz` alike.
fn part_path(out: &Path, number: usize) -> PathBuf {
    let name = out.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let ending = [".har.gz", ".har", ".json.gz", ".json", ".gz"]
        .into_iter()
        .find(|ending| name.len() > ending.len() && name.to_ascii_lowercase().ends_with(ending));
    let at = name.len() - ending.map_or(0, str::len);
    out.with_file_name(format!("{}-{number}{}", &name[..at], &name[at..]))
}

/// Makes the rename last through a power cut, where the platform lets a directory be synced.
fn sync_directory(directory: &Path) {
    if let Ok(directory) = fs::File::open(directory) {
        // A file system that cannot sync a directory has renamed all the same.
        let _ = directory.sync_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_have_their_number_before_the_ending() {
        for (out, expected) in [
            ("a/b.har", "a/b-2.har"),
            ("b.HAR.gz", "b-2.HAR.gz"),
            ("plain", "plain-2"),
            (".har", ".har-2"),
            ("x.y.json", "x.y-2.json"),
        ] {
            assert_eq!(part_path(Path::new(out), 2), Path::new(expected), "{out}");
        }
    }
}
