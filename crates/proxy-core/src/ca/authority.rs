//! The certificate authority: its key, its certificate, and what people and browsers need to trust it.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PublicKeyData as _, SerialNumber,
};
use ring::{
    digest::{SHA256, digest},
    rand::{SecureRandom as _, SystemRandom},
};
use rustls::pki_types::CertificateDer;

use super::files;
use crate::error::{Error, ErrorKind};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a new CA is valid: long enough that nobody has to trust it twice.
const CA_VALIDITY: Duration = Duration::from_secs(3_650 * 24 * 60 * 60);

/// How far before its making a certificate is valid, for clients whose clock is behind.
pub(super) const BACKDATED: Duration = DAY;

/// The certificate authority the user trusts: it signs the leaf certificates the proxy shows to clients.
///
/// Whoever holds its key can impersonate any server to whoever trusts its certificate. The key never leaves
/// this type except into `ca-key.pem`, readable by its owner only. Clones share one CA.
#[derive(Clone)]
pub struct CertificateAuthority {
    inner: Arc<Inner>,
}

struct Inner {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    der: CertificateDer<'static>,
    facts: CertificateFacts,
    directory: Option<PathBuf>,
}

impl CertificateAuthority {
    /// Loads the CA kept in `dir`, or makes one there if there is none yet.
    ///
    /// The directory (made with mode 0700) holds `ca-key.pem` (mode 0600), `ca.pem` and, copied from it,
    /// `ca.der`. A key or certificate that exists is never overwritten; each appears whole or not at all.
    /// Processes that start at once with the same directory end with the same CA: one makes it under a lock,
    /// the others wait for at most ten seconds. A directory that cannot be written will do as long as the CA
    /// is in it.
    ///
    /// This blocks on the file system; call it before serving.
    ///
    /// # Errors
    ///
    /// When the directory or a file in it cannot be read or written, the key is no key, the certificate is
    /// none, belongs to another key, is no CA's, or is outside its validity period. Each names the file and the
    /// way out.
    pub fn load_or_create(dir: impl AsRef<Path>) -> Result<Self, Error> {
        files::load_or_create(dir.as_ref(), SystemTime::now())
    }

    /// Makes a CA that lives in memory only, for tests and for programs that keep no state: nobody trusts it
    /// unless told to, and it is gone with the process.
    ///
    /// # Errors
    ///
    /// When the system has no randomness to give.
    pub fn in_memory() -> Result<Self, Error> {
        let key = KeyPair::generate().map_err(|error| Error::new(ErrorKind::Mint).because(error))?;
        let pem = self_sign(&key, SystemTime::now())?;
        Self::assemble(key, &pem, None).map_err(|error| Error::new(ErrorKind::Mint).because(error))
    }

    /// Puts a CA together from its parts: the key, and a text that has the certificate in it.
    pub(super) fn assemble(
        key: KeyPair,
        pem: &str,
        directory: Option<PathBuf>,
    ) -> Result<Self, BadCertificate> {
        let der = parse_pem(pem)?;
        let facts = CertificateFacts::read(&der)?;
        if facts.spki != key.subject_public_key_info() {
            return Err(BadCertificate::OtherKey);
        }
        if !facts.is_ca {
            return Err(BadCertificate::NotAuthority);
        }
        let issuer = Issuer::from_ca_cert_der(&der, key).map_err(|_| BadCertificate::Malformed)?;
        // Written anew, because a file may hold more than the certificate, even the key; this text is given away.
        let pem = to_pem(&der);
        Ok(Self { inner: Arc::new(Inner { issuer, pem, der, facts, directory }) })
    }

    /// The certificate in PEM, as clients import it.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.inner.pem
    }

    /// The certificate in DER.
    #[must_use]
    pub fn certificate_der(&self) -> &[u8] {
        &self.inner.der
    }

    /// The SHA-256 fingerprint of the certificate: 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn fingerprint_sha256(&self) -> String {
        hex(digest(&SHA256, &self.inner.der).as_ref())
    }

    /// The SHA-256 of the certificate's public key (its SubjectPublicKeyInfo) in base64.
    ///
    /// This is what Chromium's `--ignore-certificate-errors-spki-list` takes.
    #[must_use]
    pub fn spki_sha256_base64(&self) -> String {
        BASE64.encode(digest(&SHA256, &self.inner.facts.spki))
    }

    /// The common name of the certificate's subject, under which trust stores list it.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.inner.facts.subject
    }

    /// The end of the certificate's validity.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.inner.facts.not_after
    }

    /// The directory the CA is kept in; `None` for one in memory.
    #[must_use]
    pub fn directory(&self) -> Option<&Path> {
        self.inner.directory.as_deref()
    }

    pub(super) fn not_before(&self) -> SystemTime {
        self.inner.facts.not_before
    }

    pub(super) fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.inner.issuer
    }

    pub(super) fn certificate(&self) -> &CertificateDer<'static> {
        &self.inner.der
    }
}

impl fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateAuthority")
            .field("subject", &self.inner.facts.subject)
            .field("fingerprint_sha256", &self.fingerprint_sha256())
            .field("directory", &self.inner.directory)
            .finish_non_exhaustive()
    }
}

/// What is wrong with a CA certificate; the caller knows the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadCertificate {
    #[error("no certificate in PEM")]
    NoPem,
    #[error("malformed certificate")]
    Malformed,
    #[error("the certificate is for another key")]
    OtherKey,
    #[error("the certificate is not for an authority")]
    NotAuthority,
}

/// What is read back from a certificate.
struct CertificateFacts {
    subject: String,
    spki: Vec<u8>,
    not_before: SystemTime,
    not_after: SystemTime,
    is_ca: bool,
}

impl CertificateFacts {
    fn read(der: &CertificateDer<'_>) -> Result<Self, BadCertificate> {
        let (_, parsed) = x509_parser::parse_x509_certificate(der).map_err(|_| BadCertificate::Malformed)?;
        let subject = parsed.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        Ok(Self {
            subject: subject.map_or_else(|| parsed.subject().to_string(), str::to_owned),
            spki: parsed.public_key().raw.to_vec(),
            not_before: at_unix(parsed.validity().not_before.timestamp()),
            not_after: at_unix(parsed.validity().not_after.timestamp()),
            is_ca: parsed.is_ca(),
        })
    }
}

fn at_unix(seconds: i64) -> SystemTime {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { SystemTime::UNIX_EPOCH - distance } else { SystemTime::UNIX_EPOCH + distance }
}

fn parse_pem(pem: &str) -> Result<CertificateDer<'static>, BadCertificate> {
    use rustls::pki_types::pem::PemObject as _;
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| BadCertificate::NoPem)
}

/// The certificate in the textual encoding of RFC 7468 section 5.
fn to_pem(der: &[u8]) -> String {
    const LINE: usize = 64;
    let text = BASE64.encode(der);
    let mut pem = String::with_capacity(text.len() + text.len() / LINE + 64);
    pem.push_str("-----BEGIN CERTIFICATE-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(LINE));
        pem.push_str(line);
        pem.push('\n');
        rest = more;
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

/// Makes the certificate of a CA with this key, in PEM.
pub(super) fn self_sign(key: &KeyPair, now: SystemTime) -> Result<String, Error> {
    let mint = |error: rcgen::Error| Error::new(ErrorKind::Mint).because(error);
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.serial_number = Some(serial()?);
    params.distinguished_name = DistinguishedName::new();
    // Two CAs must not share a subject: trust stores look issuers up by name. So the name carries the key.
    let short = &hex(digest(&SHA256, &key.subject_public_key_info()).as_ref())[..8];
    params.distinguished_name.push(DnType::CommonName, format!("wirescope CA {short}"));
    set_validity(&mut params, now - BACKDATED, now + CA_VALIDITY);
    Ok(params.self_signed(key).map_err(mint)?.pem())
}

/// Sets the validity, in whole seconds (RFC 5280 section 4.1.2.5 knows no fractions).
pub(super) fn set_validity(params: &mut CertificateParams, not_before: SystemTime, not_after: SystemTime) {
    let since_epoch = |time: SystemTime| {
        let passed = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(passed.as_secs())
    };
    params.not_before = since_epoch(not_before);
    params.not_after = since_epoch(not_after);
}

/// A random serial number: positive and of 16 octets (RFC 5280 section 4.1.2.2 allows 20).
pub(super) fn serial() -> Result<SerialNumber, Error> {
    let mut bytes = [0_u8; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Error::new(ErrorKind::Mint))?;
    // The top bit is the sign; the next one set keeps the number positive and its length constant.
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
