//! The CA's files: loaded as they are, made once, never half-written and never overwritten.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use rcgen::KeyPair;
use ring::rand::{SecureRandom as _, SystemRandom};

use super::authority::{BadCertificate, CertificateAuthority, self_sign};
use crate::{
    calendar,
    error::{Error, ErrorKind},
};

const KEY: &str = "ca-key.pem";
const CERTIFICATE: &str = "ca.pem";
const CERTIFICATE_DER: &str = "ca.der";
const LOCK: &str = "ca.lock";

/// How long a start waits for another process that is making the CA.
const LOCK_WAIT: Duration = Duration::from_secs(10);
const LOCK_POLL: Duration = Duration::from_millis(10);

const PRIVATE: u32 = 0o600;
const PUBLIC: u32 = 0o644;

pub(super) fn load_or_create(dir: &Path, now: SystemTime) -> Result<CertificateAuthority, Error> {
    // The certificate is written last, so where it is the whole CA is, and no lock is needed to read it.
    if let Some(ca) = load(dir, now)? {
        return Ok(ca);
    }
    let directory =
        |error: io::Error| Error::new(ErrorKind::CaDirectory { path: dir.to_owned() }).because(error);
    make_directory(dir).map_err(directory)?;
    let _lock = lock(&dir.join(LOCK))?;
    if let Some(ca) = load(dir, now)? {
        return Ok(ca);
    }
    let key = load_or_create_key(&dir.join(KEY))?;
    let pem = self_sign(&key, now)?;
    write_new(&dir.join(CERTIFICATE), pem.as_bytes(), PUBLIC)?;
    sync_directory(dir).map_err(directory)?;
    match load(dir, now)? {
        Some(ca) => Ok(ca),
        None => Err(ErrorKind::CaCertificate { path: dir.join(CERTIFICATE) }.into()),
    }
}

/// Loads the CA, or says that there is no certificate yet.
fn load(dir: &Path, now: SystemTime) -> Result<Option<CertificateAuthority>, Error> {
    let path = dir.join(CERTIFICATE);
    let pem = match fs::read_to_string(&path) {
        Ok(pem) => pem,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::new(ErrorKind::CaCertificate { path }).because(error)),
    };
    let key_path = dir.join(KEY);
    let key = match fs::read_to_string(&key_path) {
        Ok(text) => parse_key(&text, &key_path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(ErrorKind::CaKeyMissing { path: key_path }.into());
        }
        Err(error) => return Err(Error::new(ErrorKind::CaKey { path: key_path }).because(error)),
    };
    keep_private(&key_path);
    let directory = fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
    let ca = CertificateAuthority::assemble(key, &pem, Some(directory)).map_err(|bad| match bad {
        BadCertificate::OtherKey => {
            Error::new(ErrorKind::CaMismatch { certificate: path.clone(), key: key_path })
        }
        BadCertificate::NotAuthority => Error::new(ErrorKind::CaNotAuthority { path: path.clone() }),
        BadCertificate::NoPem | BadCertificate::Malformed => {
            Error::new(ErrorKind::CaCertificate { path: path.clone() }).because(bad)
        }
    })?;
    if now < ca.not_before() || now > ca.not_after() {
        let (from, until) = (calendar::day(ca.not_before()), calendar::day(ca.not_after()));
        return Err(ErrorKind::CaExpired { path, from, until }.into());
    }
    keep_der(&dir.join(CERTIFICATE_DER), ca.certificate_der());
    Ok(Some(ca))
}

fn parse_key(text: &str, path: &Path) -> Result<KeyPair, Error> {
    KeyPair::from_pem(text)
        .map_err(|error| Error::new(ErrorKind::CaKey { path: path.to_owned() }).because(error))
}

/// Takes the key of an earlier start that got no further, or makes one.
fn load_or_create_key(path: &Path) -> Result<KeyPair, Error> {
    match fs::read_to_string(path) {
        Ok(text) => parse_key(&text, path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = KeyPair::generate().map_err(|error| Error::new(ErrorKind::Mint).because(error))?;
            write_new(path, key.serialize_pem().as_bytes(), PRIVATE)?;
            Ok(key)
        }
        Err(error) => Err(Error::new(ErrorKind::CaKey { path: path.to_owned() }).because(error)),
    }
}

/// Keeps the DER form beside the PEM form for clients that want it. It can be had from the PEM at any time, so
/// a directory that cannot be written is no reason to fail.
fn keep_der(path: &Path, der: &[u8]) {
    if fs::read(path).is_ok_and(|found| found == der) {
        return;
    }
    if let Err(error) = write_beside(path, der, PUBLIC) {
        tracing::warn!(path = %path.display(), %error, "cannot keep the CA certificate in DER");
    }
}

/// Writes a file that is not there yet: whole, with its mode from the start, and durable.
fn write_new(path: &Path, content: &[u8], mode: u32) -> Result<(), Error> {
    write_beside(path, content, mode)
        .map_err(|error| Error::new(ErrorKind::CaWrite { path: path.to_owned() }).because(error))
}

fn write_beside(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    // A name of its own: threads and processes may write the same file at once, and each rename is whole.
    let mut random = [0_u8; 8];
    SystemRandom::new().fill(&mut random).map_err(|_| io::Error::other("no randomness"))?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{:016x}.tmp", u64::from_le_bytes(random)));
    let beside = path.with_file_name(name);
    let mut file = open_new(&beside, mode)?;
    let written =
        file.write_all(content).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // The write's own error is the one to tell.
        let _ = fs::remove_file(&beside);
    }
    written
}

fn open_new(path: &Path, mode: u32) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    options.open(path)
}

fn make_directory(dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

fn sync_directory(dir: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}

/// Waits for the lock, which goes with the file handle, also when the process dies.
fn lock(path: &Path) -> Result<File, Error> {
    let directory = |error: io::Error| {
        Error::new(ErrorKind::CaDirectory { path: path.parent().unwrap_or(path).to_owned() }).because(error)
    };
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(directory)?;
    let deadline = Instant::now() + LOCK_WAIT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(LOCK_POLL),
            Err(TryLockError::WouldBlock) => return Err(ErrorKind::CaBusy { path: path.to_owned() }.into()),
            // Some network file systems know no locks; two first starts at once are then the user's to avoid.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(directory(error)),
        }
    }
}

/// Takes others' access to the key away where something gave it to them.
#[cfg(unix)]
fn keep_private(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let Ok(metadata) = fs::metadata(path) else { return };
    if metadata.permissions().mode() & 0o077 == 0 {
        return;
    }
    let path_text = path.display();
    match fs::set_permissions(path, fs::Permissions::from_mode(PRIVATE)) {
        Ok(()) => tracing::warn!(path = %path_text, "others could read the CA key; made it private"),
        Err(error) => tracing::warn!(path = %path_text, %error, "others can read the CA key"),
    }
}

#[cfg(not(unix))]
fn keep_private(_path: &Path) {}
