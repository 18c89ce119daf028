//! Whom the proxy trusts upstream: the system's roots, additional CAs, and exceptions by host.

use std::{fs, path::Path, path::PathBuf, sync::Arc};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use crate::{
    error::{Error, ErrorKind},
    hosts::HostPattern,
};

/// Whose certificates are accepted from upstream.
///
/// The default trusts the system's root certificates, or those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name.
#[derive(Clone, Debug)]
pub struct UpstreamTrust {
    system_roots: bool,
    additional: Vec<CertificateDer<'static>>,
    insecure: Vec<HostPattern>,
}

impl Default for UpstreamTrust {
    fn default() -> Self {
        Self { system_roots: true, additional: Vec::new(), insecure: Vec::new() }
    }
}

impl UpstreamTrust {
    /// Trusts the system's roots; the same as the default.
    #[must_use]
    pub fn system() -> Self {
        Self::default()
    }

    /// Trusts nobody yet, whatever the system trusts.
    #[must_use]
    pub fn nobody() -> Self {
        Self { system_roots: false, ..Self::default() }
    }

    /// Trusts the CA certificates of this file too, PEM or a single one in DER.
    ///
    /// A server's own self-signed certificate counts as well: it is then accepted from that server.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, has no certificate in it, or one that is malformed.
    pub fn with_ca_file(mut self, path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let named = || PathBuf::from(path);
        let unreadable = || Error::new(ErrorKind::UpstreamCa { path: named() });
        let content = fs::read(path).map_err(|error| unreadable().because(error))?;
        let found = parse(&content).map_err(|bad| unreadable().because(bad))?;
        if found.is_empty() {
            return Err(ErrorKind::UpstreamCaEmpty { path: named() }.into());
        }
        self.additional.extend(found);
        Ok(self)
    }

    /// Trusts these CA certificates too, PEM or a single one in DER.
    ///
    /// # Errors
    ///
    /// When there is no certificate in it, or one that is malformed.
    pub fn with_ca(mut self, certificates: &[u8]) -> Result<Self, Error> {
        let found = parse(certificates).map_err(|bad| Error::new(ErrorKind::UpstreamCaBytes).because(bad))?;
        if found.is_empty() {
            return Err(ErrorKind::UpstreamCaBytes.into());
        }
        self.additional.extend(found);
        Ok(self)
    }

    /// Accepts any certificate from hosts that match: whoever is on the way can then read and change that
    /// traffic unnoticed.
    #[must_use]
    pub fn with_insecure_host(mut self, pattern: HostPattern) -> Self {
        self.insecure.push(pattern);
        self
    }

    pub(super) fn is_insecure(&self, host: &str) -> bool {
        self.insecure.iter().any(|pattern| pattern.matches(host))
    }

    pub(super) fn additional(&self) -> &[CertificateDer<'static>] {
        &self.additional
    }

    /// Gathers the roots. System certificates that cannot be read are left out with a warning, as other
    /// programs do: one bad file must not cut off every host.
    pub(super) fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        if self.system_roots {
            let system = rustls_native_certs::load_native_certs();
            for error in &system.errors {
                tracing::warn!(%error, "cannot read a system root certificate");
            }
            let (added, ignored) = roots.add_parsable_certificates(system.certs);
            tracing::debug!(added, ignored, "loaded the system's root certificates");
            if added == 0 {
                tracing::warn!("no system root certificate found; upstream certificates will not verify");
            }
        }
        roots.add_parsable_certificates(self.additional.iter().cloned());
        Arc::new(roots)
    }
}

/// What is wrong with additional certificates.
#[derive(Debug, thiserror::Error)]
enum BadPem {
    #[error("malformed PEM: {0}")]
    Pem(rustls::pki_types::pem::Error),
    #[error("certificate {0} of the file is malformed")]
    Certificate(usize),
}

fn parse(content: &[u8]) -> Result<Vec<CertificateDer<'static>>, BadPem> {
    let whole = CertificateDer::from(content);
    if is_certificate(&whole) {
        return Ok(vec![whole.into_owned()]);
    }
    let found: Vec<_> =
        CertificateDer::pem_slice_iter(content).collect::<Result<_, _>>().map_err(BadPem::Pem)?;
    match found.iter().position(|der| !is_certificate(der)) {
        Some(index) => Err(BadPem::Certificate(index + 1)),
        None => Ok(found),
    }
}

/// Tells whether it can be a root; certificates of version 1, as some old roots are, can.
fn is_certificate(der: &CertificateDer<'_>) -> bool {
    RootCertStore::empty().add(der.clone().into_owned()).is_ok()
}
