//! What keeps a proxy from being built or started.
//!
//! What fails later, while traffic passes, is a [`Failure`](crate::Failure) of one exchange instead.

use std::{error::Error as StdError, net::SocketAddr, path::PathBuf};

use crate::{event::ListenerKind, tls::TlsVersion};

/// Why the proxy, its CA or its trust could not be set up.
///
/// `Display` is a fragment that fits after "failed to" and covers this level only; the cause, where there is
/// one, is the [`source`](StdError::source).
#[derive(Debug, thiserror::Error)]
#[error("{kind}")]
pub struct Error {
    kind: ErrorKind,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind) -> Self {
        Self { kind, source: None }
    }

    /// Adds the cause.
    pub(crate) fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What failed.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }
}

/// What failed, with the argument at fault and the way out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The listening address cannot be had.
    #[error("listen on {addr} (choose another address, or port 0 for any free port)")]
    Bind {
        /// The address asked for.
        addr: SocketAddr,
    },
    /// Nothing says where to listen.
    #[error("listen: no listener was named (name an address, or a listener)")]
    NoListener,
    /// The address can be reached by other machines, and nothing says who may use the proxy there.
    #[error(
        "listen on {addr}, which other machines reach, before it is said who may use the proxy there ({}, or listen on \
         127.0.0.1)",
        way_out(*listener)
    )]
    OpenToAll {
        /// The address asked for.
        addr: SocketAddr,
        /// The kind of listener.
        listener: ListenerKind,
    },
    /// The CA directory cannot be made or used.
    #[error("use {path:?} as the CA directory (name a directory that this user can write)")]
    CaDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// Another process holds the CA directory's lock for too long.
    #[error("lock {path:?}, which another process holds (stop that process, or name another directory)")]
    CaBusy {
        /// The lock file.
        path: PathBuf,
    },
    /// The CA's key cannot be read, or is no key.
    #[error("read the CA key {path:?} (restore it, or remove it and ca.pem to get a new CA)")]
    CaKey {
        /// The key file.
        path: PathBuf,
    },
    /// The CA's certificate is there without its key.
    #[error(
        "find the CA key {path:?} of the ca.pem beside it (restore it, or remove ca.pem to get a new CA)"
    )]
    CaKeyMissing {
        /// Where the key file should be.
        path: PathBuf,
    },
    /// The CA's certificate was made for another key.
    #[error(
        "match the CA certificate {certificate:?} with {key:?}: it is for another key (restore the pair, or \
         remove both to get a new CA)"
    )]
    CaMismatch {
        /// The certificate file.
        certificate: PathBuf,
        /// The key file.
        key: PathBuf,
    },
    /// The CA's certificate cannot be read, or is no certificate.
    #[error("read the CA certificate {path:?} (restore it, or remove it to have it made again from the key)")]
    CaCertificate {
        /// The certificate file.
        path: PathBuf,
    },
    /// The certificate is not that of an authority.
    #[error(
        "sign with the certificate {path:?}, which is no certificate authority (name a directory of its own \
         for the CA)"
    )]
    CaNotAuthority {
        /// The certificate file.
        path: PathBuf,
    },
    /// The CA's certificate is outside its validity period.
    #[error(
        "use the CA certificate {path:?}, valid from {from} to {until} (check the clock, or remove it and its \
         key to get a new CA)"
    )]
    CaExpired {
        /// The certificate file.
        path: PathBuf,
        /// The first day it is valid, `YYYY-MM-DD`.
        from: String,
        /// The last day it is valid, `YYYY-MM-DD`.
        until: String,
    },
    /// A file of the CA cannot be written.
    #[error("write {path:?} (free some space, or name a directory that this user can write)")]
    CaWrite {
        /// The file.
        path: PathBuf,
    },
    /// A key or a certificate cannot be made.
    #[error("make a key and certificate")]
    Mint,
    /// An additional CA file for upstream cannot be read or has something else than certificates in it.
    #[error("read the upstream CA file {path:?} (name a PEM file of CA certificates)")]
    UpstreamCa {
        /// The file.
        path: PathBuf,
    },
    /// An additional CA file for upstream has no certificate in it.
    #[error("find a certificate in the upstream CA file {path:?} (name a PEM file of CA certificates)")]
    UpstreamCaEmpty {
        /// The file.
        path: PathBuf,
    },
    /// An additional CA certificate for upstream, given as bytes, is none.
    #[error("read the upstream CA certificate (give a certificate in PEM or DER)")]
    UpstreamCaBytes,
    /// The file of a client certificate cannot be read, or has none in it.
    #[error(
        "read the client certificate {path:?} (name a PEM file with the certificate, its chain behind it)"
    )]
    ClientCertificate {
        /// The certificate file.
        path: PathBuf,
    },
    /// The key of a client certificate cannot be read, or is none that can sign.
    #[error("read the client key {path:?} (name a PEM file with an unencrypted RSA, ECDSA or Ed25519 key)")]
    ClientKey {
        /// The key file.
        path: PathBuf,
    },
    /// A client certificate was made for another key.
    #[error(
        "match the client certificate {certificate:?} with the key {key:?}: it is for another key (name its own)"
    )]
    ClientKeyMismatch {
        /// The certificate file.
        certificate: PathBuf,
        /// The key file.
        key: PathBuf,
    },
    /// A PKCS#12 file cannot be read.
    #[error("read the PKCS#12 file {path:?} (name a .p12 or .pfx file that `openssl pkcs12 -info` reads)")]
    Pkcs12 {
        /// The file.
        path: PathBuf,
    },
    /// A PKCS#12 file has another password.
    #[error("open the PKCS#12 file {path:?} with the password given (give the one it was exported with)")]
    Pkcs12Password {
        /// The file.
        path: PathBuf,
    },
    /// A PKCS#12 file has no key with a certificate.
    #[error("find a key with its certificate in the PKCS#12 file {path:?} (export both into one file)")]
    Pkcs12Empty {
        /// The file.
        path: PathBuf,
    },
    /// The file for TLS secrets cannot be written.
    #[error("write the key log {path:?} (name a file in a directory that this user can write)")]
    KeyLog {
        /// The file.
        path: PathBuf,
    },
    /// The least TLS version is later than the latest.
    #[error(
        "speak TLS from {min} to {max} with upstream (give a least version that is not later than the latest)"
    )]
    TlsVersions {
        /// The least.
        min: TlsVersion,
        /// The latest.
        max: TlsVersion,
    },
    /// The system gives the proxy no threads of its own.
    #[error("start {threads} threads for connections (ask for fewer, or for none of the proxy's own)")]
    Threads {
        /// How many were asked for.
        threads: usize,
    },
    /// The TLS library refuses its configuration.
    #[error("set up TLS")]
    Tls,
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self::new(kind)
    }
}

/// How clients of a listener can be told apart.
fn way_out(listener: ListenerKind) -> &'static str {
    match listener {
        ListenerKind::Explicit | ListenerKind::Socks => {
            "ask for proxy credentials, or allow ranges of client addresses"
        }
        ListenerKind::Transparent | ListenerKind::Reverse | ListenerKind::Own => {
            "allow ranges of client addresses"
        }
    }
}
