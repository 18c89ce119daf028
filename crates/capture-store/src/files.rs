//! Bodies too large for the database: one file each, named by its number, in directories of 4,096.
//!
//! A file is written before the row that names it is committed, and removed after the commit that forgets it. So
//! after a crash a file may be longer than its row says or have none, and never the other way round; the sweep at
//! the next opening puts that right and counts it. A file that is packed later has its frame beside it until the row
//! says which of them holds.

use std::{
    collections::VecDeque,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read},
    path::{Path, PathBuf},
};

use crate::faults::{DiskFaults, DiskOperation};

/// Files per directory.
const PER_DIRECTORY: u64 = 4096;
/// Files held open for writing at once; beyond it the one opened first is closed, and opened again for its next
/// piece. Keeps descriptors for the proxy's sockets.
const MAX_OPEN: usize = 64;

/// What a frame's name ends with.
const FRAME: &str = "z";

/// What lies on disk of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OnDisk {
    /// How long the file is.
    pub(crate) bytes: u64,
    /// Whether it is a frame (`crate::packing`), which has a name of its own.
    pub(crate) is_frame: bool,
}

/// The directory of body files.
#[derive(Clone, Debug)]
pub(crate) struct BodyFiles {
    root: PathBuf,
}

impl BodyFiles {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// The store they belong to.
    pub(crate) fn store(&self) -> &Path {
        self.root.parent().unwrap_or(&self.root)
    }

    fn path(&self, file: u64) -> PathBuf {
        self.root.join(format!("{:x}", file / PER_DIRECTORY)).join(format!("{file:x}"))
    }

    /// Opens a body file for reading.
    pub(crate) fn open(&self, file: u64) -> io::Result<File> {
        File::open(self.path(file))
    }

    /// The path of the frame that a file becomes.
    pub(crate) fn frame_path(&self, file: u64) -> PathBuf {
        self.path(file).with_extension(FRAME)
    }

    /// Opens the frame that a body file became.
    pub(crate) fn open_frame(&self, file: u64) -> io::Result<File> {
        File::open(self.frame_path(file))
    }

    /// Removes what there is under a number; what is not there is no error.
    pub(crate) fn remove(&self, file: u64) -> io::Result<()> {
        remove_if_there(&self.path(file))?;
        remove_if_there(&self.frame_path(file))
    }

    /// Removes the file whose frame is there now.
    pub(crate) fn remove_unpacked(&self, file: u64) -> io::Result<()> {
        remove_if_there(&self.path(file))
    }

    /// Removes several files, and goes on after a failure, which is logged: a file that stays is swept at the next
    /// recovery.
    pub(crate) fn remove_all(&self, files: &[u64]) {
        for file in files {
            if let Err(error) = self.remove(*file) {
                tracing::warn!(file, %error, "removing a body file failed");
            }
        }
    }

    /// Walks all files and cuts each to the length `expected` gives it; one without loses its file. Returns the
    /// bytes that went.
    pub(crate) fn sweep<E: From<io::Error>>(
        &self,
        mut expected: impl FnMut(u64) -> Result<Option<OnDisk>, E>,
    ) -> Result<u64, E> {
        let mut dropped = 0;
        for directory in entries(&self.root)? {
            for path in entries(&directory)? {
                dropped += sweep_file(&path, &mut expected)?;
            }
        }
        Ok(dropped)
    }
}

fn sweep_file<E: From<io::Error>>(
    path: &Path,
    expected: &mut impl FnMut(u64) -> Result<Option<OnDisk>, E>,
) -> Result<u64, E> {
    // What is not named like a body file is not ours to remove.
    let Some((number, is_frame)) = path.file_name().and_then(|name| parse_name(name.to_str()?)) else {
        return Ok(0);
    };
    let length = fs::metadata(path)?.len();
    let known = expected(number)?;
    match known.filter(|known| known.is_frame == is_frame) {
        None => {
            fs::remove_file(path)?;
            // Beside its other form it is no loss.
            Ok(if known.is_some() { 0 } else { length })
        }
        Some(OnDisk { bytes, .. }) if length > bytes => {
            OpenOptions::new().write(true).open(path)?.set_len(bytes)?;
            Ok(length - bytes)
        }
        Some(_) => Ok(0),
    }
}

/// The number in a body file's name, and whether it is a frame's.
fn parse_name(name: &str) -> Option<(u64, bool)> {
    let (digits, is_frame) = match name.split_once('.') {
        Some((digits, FRAME)) => (digits, true),
        Some(_) => return None,
        None => (name, false),
    };
    Some((u64::from_str_radix(digits, 16).ok()?, is_frame))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Err(error)
        }
        _ => Ok(()),
    }
}

/// The paths in a directory; none where it does not exist.
fn entries(directory: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(directory) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}

/// Writes body files, a bounded number of them open at once.
#[derive(Debug)]
pub(crate) struct BodyWriter {
    files: BodyFiles,
    open: VecDeque<(u64, File)>,
    /// Files that are written to the end, and not yet on the disk.
    unsynced: Vec<(u64, File)>,
    /// Whether what is committed is on the disk then.
    syncs: bool,
    faults: DiskFaults,
}

impl BodyWriter {
    pub(crate) fn new(files: BodyFiles) -> Self {
        Self {
            files,
            open: VecDeque::new(),
            unsynced: Vec::new(),
            syncs: false,
            faults: DiskFaults::default(),
        }
    }

    /// Forces what is written to the disk by [`sync`](Self::sync).
    pub(crate) fn syncing(mut self, syncs: bool) -> Self {
        self.syncs = syncs;
        self
    }

    /// Makes writing fail.
    pub(crate) fn failing(mut self, faults: DiskFaults) -> Self {
        self.faults = faults;
        self
    }

    /// Whether what is written is forced to the disk.
    pub(crate) fn syncs(&self) -> bool {
        self.syncs
    }

    /// Forces all that was written to the disk. May be repeated after a failure.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        while let Some((_, file)) = self.unsynced.last() {
            self.faults.before(DiskOperation::SyncFile)?;
            file.sync_data()?;
            self.unsynced.pop();
        }
        for (_, file) in &self.open {
            self.faults.before(DiskOperation::SyncFile)?;
            file.sync_data()?;
        }
        Ok(())
    }

    /// Writes a piece at `offset`, making the file where there is none. May be repeated after a failure.
    pub(crate) fn write(&mut self, number: u64, offset: u64, piece: &[u8]) -> io::Result<()> {
        let at = match self.open.iter().position(|(open, _)| *open == number) {
            Some(at) => at,
            None => {
                if self.open.len() >= MAX_OPEN {
                    self.close_oldest()?;
                }
                self.faults.before(DiskOperation::CreateFile)?;
                let file = create(&self.files.path(number))?;
                self.open.push_back((number, file));
                self.open.len() - 1
            }
        };
        self.faults.before(DiskOperation::WriteFile)?;
        write_at(&mut self.open[at].1, offset, piece)
    }

    /// Files that wait to be forced to the disk, each with its descriptor.
    pub(crate) fn unsynced(&self) -> usize {
        self.unsynced.len()
    }

    /// Closes the file that was opened first, and forces it to the disk where that is wanted.
    fn close_oldest(&mut self) -> io::Result<()> {
        if self.syncs {
            if let Some((_, file)) = self.open.front() {
                self.faults.before(DiskOperation::SyncFile)?;
                file.sync_data()?;
            }
            if self.unsynced.len() >= MAX_OPEN {
                self.sync()?;
            }
        }
        self.open.pop_front();
        Ok(())
    }

    /// Closes a file, which is whole; before the next commit it is forced to the disk where that is wanted.
    pub(crate) fn close(&mut self, number: u64) {
        let Some(at) = self.open.iter().position(|(open, _)| *open == number) else { return };
        let closed = self.open.remove(at);
        if self.syncs {
            self.unsynced.extend(closed);
        }
    }

    /// Closes and removes a file.
    pub(crate) fn discard(&mut self, number: u64) {
        self.forget(number);
        self.files.remove_all(&[number]);
    }

    /// Closes a file that need not be on the disk.
    pub(crate) fn forget(&mut self, number: u64) {
        self.open.retain(|(open, _)| *open != number);
        self.unsynced.retain(|(unsynced, _)| *unsynced != number);
    }
}

#[cfg(unix)]
fn write_at(file: &mut File, offset: u64, piece: &[u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, piece, offset)
}

#[cfg(not(unix))]
fn write_at(file: &mut File, offset: u64, piece: &[u8]) -> io::Result<()> {
    use std::io::{Seek, SeekFrom, Write};
    file.seek(SeekFrom::Start(offset))?;
    file.write_all(piece)
}

fn create(path: &Path) -> io::Result<File> {
    match private_file().open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(directory) = path.parent() {
                create_private_directory(directory)?;
            }
            private_file().open(path)
        }
        result => result,
    }
}

/// Options that make a file only its owner can read.
pub(crate) fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Makes a directory only its owner can enter, with those above it. One that exists is left as it is.
pub(crate) fn create_private_directory(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// As many bytes of a stored body as were recorded. Ending before them is an error, not an end.
#[derive(Debug)]
pub(crate) struct Whole<R> {
    reader: R,
    left: u64,
}

impl<R> Whole<R> {
    pub(crate) fn new(reader: R, length: u64) -> Self {
        Self { reader, left: length }
    }
}

impl<R: Read> Read for Whole<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let count = self.reader.read(&mut buffer[..most])?;
        if count == 0 {
            let text =
                format!("what is stored of the body ends {} bytes short of what was recorded", self.left);
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        self.left -= count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_files_are_written_at_once_with_few_open() {
        let directory = tempfile::tempdir().unwrap();
        let files = BodyFiles::new(directory.path().join("bodies"));
        let mut writer = BodyWriter::new(files.clone());
        let count = MAX_OPEN as u64 * 2;
        for round in 0..3_u8 {
            for number in 0..count {
                writer.write(number, u64::from(round) * 2, &[round, round]).unwrap();
            }
            assert_eq!(writer.open.len(), MAX_OPEN);
        }
        for number in 0..count {
            let mut bytes = Vec::new();
            files.open(number).unwrap().read_to_end(&mut bytes).unwrap();
            assert_eq!(bytes, [0, 0, 1, 1, 2, 2], "{number}");
        }
    }

    #[test]
    fn a_sweep_removes_what_has_no_row_and_cuts_what_is_longer() {
        let directory = tempfile::tempdir().unwrap();
        let files = BodyFiles::new(directory.path().join("bodies"));
        let mut writer = BodyWriter::new(files.clone());
        for number in [1, 2, 3, 4, 5, PER_DIRECTORY + 1] {
            writer.write(number, 0, b"12345").unwrap();
        }
        for packed in [4, 5] {
            fs::write(files.frame_path(packed), b"123").unwrap();
        }
        let foreign = directory.path().join("bodies").join("0").join("notes.txt");
        fs::write(&foreign, "mine").unwrap();
        let expected = |file| {
            Ok::<_, io::Error>(match file {
                1 => Some(OnDisk { bytes: 5, is_frame: false }),
                2 => Some(OnDisk { bytes: 3, is_frame: false }),
                // Packed: the crash came before the file went.
                4 => Some(OnDisk { bytes: 3, is_frame: true }),
                // Being packed: the crash came before the row said so.
                5 => Some(OnDisk { bytes: 5, is_frame: false }),
                _ => None,
            })
        };
        assert_eq!(files.sweep(expected).unwrap(), 2 + 5 + 5);
        assert_eq!(files.sweep(expected).unwrap(), 0);
        assert_eq!(fs::metadata(files.path(2)).unwrap().len(), 3);
        assert!(!files.path(3).exists() && files.path(1).exists() && foreign.exists());
        assert!(!files.path(4).exists() && files.frame_path(4).exists());
        assert!(files.path(5).exists() && !files.frame_path(5).exists());
    }
}
