//! The secrets of TLS sessions in a file, for tools that decrypt captured packets.

use std::{
    fmt::Write as _,
    fs::{File, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use crate::error::{Error, ErrorKind};

/// A file that gets the secrets of every TLS session on both sides, in the format of NSS that Wireshark reads
/// (`SSLKEYLOGFILE`, draft-ietf-tls-keylogfile).
///
/// Whoever reads it can decrypt what passed, also later, from packets somebody captured. Clones write to one file.
#[derive(Clone, Debug)]
pub struct KeyLog {
    file: Arc<KeyLogFile>,
}

#[derive(Debug)]
struct KeyLogFile {
    path: PathBuf,
    file: Mutex<File>,
    has_failed: AtomicBool,
}

impl KeyLog {
    /// Opens a file to append to. One that is not there is made, readable by its owner only (0600); one that is
    /// there keeps its mode.
    ///
    /// # Errors
    ///
    /// When the file cannot be made or written to.
    pub fn to_file(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options
            .open(path)
            .map_err(|error| Error::new(ErrorKind::KeyLog { path: path.to_owned() }).because(error))?;
        let file =
            KeyLogFile { path: path.to_owned(), file: Mutex::new(file), has_failed: AtomicBool::new(false) };
        Ok(Self { file: Arc::new(file) })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    pub(super) fn shared(&self) -> Arc<dyn rustls::KeyLog> {
        Arc::clone(&self.file) as Arc<dyn rustls::KeyLog>
    }
}

impl rustls::KeyLog for KeyLogFile {
    /// Writes a whole line at once, so that the lines of several processes do not mix. A failure is logged once; TLS
    /// goes on.
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let mut line = String::with_capacity(label.len() + 2 * (client_random.len() + secret.len()) + 3);
        line.push_str(label);
        for bytes in [client_random, secret] {
            line.push(' ');
            for byte in bytes {
                // Writing to a String cannot fail.
                let _ = write!(line, "{byte:02x}");
            }
        }
        line.push('\n');
        let written = self.file.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes());
        if let Err(error) = written
            && !self.has_failed.swap(true, Relaxed)
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot write TLS secrets to the key log");
        }
    }
}
