//! The certificates the proxy shows to upstream where that asks for one.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject as _},
    sign::CertifiedKey,
};

use crate::{
    error::{Error, ErrorKind},
    hosts::HostPattern,
};

/// The largest file read: a chain and a key take a few KiB.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// A certificate with its chain and its key, by which the proxy proves to upstream who it is.
///
/// Everyone who can use the proxy acts under it. Its `Debug` shows no key.
#[derive(Clone)]
pub struct ClientCertificate {
    key: Arc<CertifiedKey>,
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate").field("chain", &self.key.cert.len()).finish_non_exhaustive()
    }
}

impl ClientCertificate {
    /// Reads the certificate, with what chain there is behind it, from one PEM file, and its key (PKCS#8, PKCS#1 or
    /// SEC1, unencrypted) from another or the same.
    ///
    /// # Errors
    ///
    /// When a file cannot be read or has no certificate or no key, when the key is encrypted or of a kind that cannot
    /// sign, or when it is another certificate's.
    pub fn from_pem_files(certificate: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Self, Error> {
        let (certificate, key) = (certificate.as_ref(), key.as_ref());
        let chain = read_chain(certificate)?;
        let der = read_key(key)?;
        Self::assemble(chain, der).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                let kind = ErrorKind::ClientKeyMismatch { certificate: certificate.into(), key: key.into() };
                Error::new(kind).because(error)
            }
            other => Error::new(ErrorKind::ClientKey { path: key.into() }).because(other),
        })
    }

    /// Reads certificate, chain and key from a PKCS#12 file (`.p12`, `.pfx`): the first key in it that has a
    /// certificate.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, the password is another, or there is no such key in it.
    #[cfg(feature = "pkcs12")]
    pub fn from_pkcs12_file(path: impl AsRef<Path>, password: &str) -> Result<Self, Error> {
        use p12_keystore::{KeyStore, Pkcs12ImportPolicy};

        let path = path.as_ref();
        let content =
            read(path).map_err(|error| Error::new(ErrorKind::Pkcs12 { path: path.into() }).because(error))?;
        let store = KeyStore::from_pkcs12(&content, password, Pkcs12ImportPolicy::Relaxed)
            .map_err(|error| Error::new(pkcs12_kind(&error, path)).because(error))?;
        let found = store.private_key_chain().filter(|(_, found)| !found.certs().is_empty());
        let (_, found) = found.ok_or_else(|| Error::new(ErrorKind::Pkcs12Empty { path: path.into() }))?;
        let chain = found.certs().iter().map(|it| CertificateDer::from(it.as_der().to_vec())).collect();
        PrivateKeyDer::try_from(found.key().as_der().to_vec())
            .map_err(|problem| rustls::Error::General(problem.to_owned()))
            .and_then(|key| Self::assemble(chain, key))
            .map_err(|error| Error::new(ErrorKind::Pkcs12 { path: path.into() }).because(error))
    }

    fn assemble(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, rustls::Error> {
        let provider = rustls::crypto::ring::default_provider();
        CertifiedKey::from_der(chain, key, &provider).map(|key| Self { key: Arc::new(key) })
    }

    pub(super) fn key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }
}

/// The files of a client certificate and the hosts it is for, as people write them: `HOST=FILE` with a PEM file of
/// certificate, chain and key, `HOST=CERTIFICATE,KEY` with two, or `HOST=FILE.p12` (`.pfx`) with a PKCS#12 file.
///
/// ```
/// let files: proxy_core::ClientCertificateFiles = "*.example.com=client.pem,client.key".parse()?;
/// assert!(files.hosts().matches("api.example.com"));
/// # Ok::<(), proxy_core::ParseClientCertificateError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificateFiles {
    hosts: HostPattern,
    certificate: PathBuf,
    key: Option<PathBuf>,
}

/// The text names no hosts with a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("read {0:?} as hosts and files; write HOST=FILE, HOST=CERTIFICATE,KEY or HOST=FILE.p12")]
pub struct ParseClientCertificateError(String);

impl FromStr for ClientCertificateFiles {
    type Err = ParseClientCertificateError;

    fn from_str(text: &str) -> Result<Self, ParseClientCertificateError> {
        let refuse = || ParseClientCertificateError(text.chars().take(100).collect());
        let (hosts, files) =
            text.split_once('=').filter(|(_, files)| !files.is_empty()).ok_or_else(refuse)?;
        let hosts = hosts.parse().map_err(|_| refuse())?;
        let (certificate, key) = match files.split_once(',') {
            Some((certificate, key)) => (certificate, Some(PathBuf::from(key))),
            None => (files, None),
        };
        Ok(Self { hosts, certificate: PathBuf::from(certificate), key })
    }
}

impl ClientCertificateFiles {
    /// The hosts it is for.
    #[must_use]
    pub fn hosts(&self) -> &HostPattern {
        &self.hosts
    }

    /// Reads the files; `password` is a PKCS#12 file's.
    ///
    /// # Errors
    ///
    /// As [`ClientCertificate::from_pem_files`] and, with the feature `pkcs12`, `ClientCertificate::from_pkcs12_file`;
    /// without it a PKCS#12 file cannot be read.
    pub fn read(&self, password: &str) -> Result<ClientCertificate, Error> {
        let extension = self.certificate.extension().map(|it| it.to_string_lossy().to_ascii_lowercase());
        match &self.key {
            Some(key) => ClientCertificate::from_pem_files(&self.certificate, key),
            None if matches!(extension.as_deref(), Some("p12" | "pfx")) => {
                pkcs12(&self.certificate, password)
            }
            None => ClientCertificate::from_pem_files(&self.certificate, &self.certificate),
        }
    }
}

#[cfg(feature = "pkcs12")]
fn pkcs12(path: &Path, password: &str) -> Result<ClientCertificate, Error> {
    ClientCertificate::from_pkcs12_file(path, password)
}

#[cfg(not(feature = "pkcs12"))]
fn pkcs12(path: &Path, _password: &str) -> Result<ClientCertificate, Error> {
    Err(Error::new(ErrorKind::Pkcs12 { path: path.into() }).because("built without the feature `pkcs12`"))
}

/// A wrong password shows in the authentication of the whole file, or where there is none, in what decrypts to nothing.
#[cfg(feature = "pkcs12")]
fn pkcs12_kind(error: &p12_keystore::error::Error, path: &Path) -> ErrorKind {
    use p12_keystore::error::Error as P;
    match error {
        P::MacError(_) | P::UnpadError => ErrorKind::Pkcs12Password { path: path.into() },
        _ => ErrorKind::Pkcs12 { path: path.into() },
    }
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut content = Vec::new();
    fs::File::open(path)?.take(MAX_FILE_BYTES).read_to_end(&mut content)?;
    Ok(content)
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let unreadable = || Error::new(ErrorKind::ClientCertificate { path: PathBuf::from(path) });
    let content = read(path).map_err(|error| unreadable().because(error))?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&content)
        .collect::<Result<_, _>>()
        .map_err(|error| unreadable().because(Malformed::Pem(error)))?;
    let Some(leaf) = chain.first() else { return Err(unreadable().because(Malformed::NoCertificate)) };
    match x509_parser::parse_x509_certificate(leaf) {
        Ok(_) => Ok(chain),
        Err(_) => Err(unreadable().because(Malformed::Certificate)),
    }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    let unreadable = || Error::new(ErrorKind::ClientKey { path: PathBuf::from(path) });
    let content = read(path).map_err(|error| unreadable().because(error))?;
    PrivateKeyDer::from_pem_slice(&content).map_err(|error| match error {
        pem::Error::NoItemsFound if is_encrypted(&content) => unreadable().because(Malformed::Encrypted),
        pem::Error::NoItemsFound => unreadable().because(Malformed::NoKey),
        other => unreadable().because(Malformed::Pem(other)),
    })
}

fn is_encrypted(content: &[u8]) -> bool {
    memchr::memmem::find(content, b"-----BEGIN ENCRYPTED PRIVATE KEY-----").is_some()
}

/// What is wrong with a PEM file.
#[derive(Debug, thiserror::Error)]
enum Malformed {
    #[error("malformed PEM: {0}")]
    Pem(pem::Error),
    #[error("there is no certificate in it")]
    NoCertificate,
    #[error("its first certificate is malformed")]
    Certificate,
    #[error("there is no private key in it")]
    NoKey,
    #[error("the key in it is encrypted (decrypt it with `openssl pkey`, or use a PKCS#12 file)")]
    Encrypted,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_named_with_their_hosts() {
        for (text, hosts, certificate, key) in [
            ("a.example=c.pem", "a.example", "c.pem", None),
            ("*.example=c.pem,k.pem", "*.example", "c.pem", Some("k.pem")),
            ("*=/a=b.p12", "*", "/a=b.p12", None),
        ] {
            let expected = ClientCertificateFiles {
                hosts: hosts.parse().unwrap(),
                certificate: certificate.into(),
                key: key.map(PathBuf::from),
            };
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for bad in ["c.pem", "=c.pem", "a.example=", "a b=c.pem"] {
            let error = bad.parse::<ClientCertificateFiles>().unwrap_err();
            assert!(error.to_string().contains("HOST=FILE"), "{error}");
        }
    }

    #[cfg(feature = "pkcs12")]
    #[test]
    fn pkcs12_files_are_read_with_their_password() {
        use p12_keystore::{
            Certificate, EncryptionAlgorithm, KeyStore, KeyStoreEntry, PrivateKey, PrivateKeyChain,
        };

        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
        let dir = tempfile::tempdir().unwrap();
        // What OpenSSL 3 writes, and what Windows and older tools do.
        for algorithm in [
            EncryptionAlgorithm::PbeWithHmacSha256AndAes256,
            EncryptionAlgorithm::PbeWithShaAnd3KeyTripleDesCbc,
        ] {
            let chain = PrivateKeyChain::new(
                "id",
                PrivateKey::from_der(&key.serialize_der()).unwrap(),
                [Certificate::from_der(certificate.der()).unwrap()],
            );
            let mut store = KeyStore::new();
            store.add_entry("client", KeyStoreEntry::PrivateKeyChain(chain));
            let path = dir.path().join("client.p12");
            fs::write(&path, store.writer("secret").encryption_algorithm(algorithm).write().unwrap())
                .unwrap();
            let read = ClientCertificate::from_pkcs12_file(&path, "secret").unwrap();
            assert_eq!(&read.key().cert[0], certificate.der());

            let error = ClientCertificate::from_pkcs12_file(&path, "guess").unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Pkcs12Password { .. }), "{error}");
            assert!(error.to_string().contains("client.p12"), "{error}");
        }
        let path = dir.path().join("text.p12");
        fs::write(&path, "hello").unwrap();
        let error = ClientCertificate::from_pkcs12_file(&path, "").unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Pkcs12 { .. }), "{error}");
        fs::write(&path, KeyStore::new().writer("").write().unwrap()).unwrap();
        let error = ClientCertificate::from_pkcs12_file(&path, "").unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Pkcs12Empty { .. }), "{error}");
    }
}
