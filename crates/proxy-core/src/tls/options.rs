//! How TLS is done on both sides, as a program asks for it.

use std::{num::NonZeroU32, time::Duration};

use super::{client_certificate::ClientCertificate, key_log::KeyLog, versions::TlsVersions};
use crate::{hosts::HostPattern, proxy::ProxyBuilder};

/// How TLS is done on both sides. The default decrypts every host, shows no client certificate, speaks TLS 1.2 and
/// 1.3, fetches nothing and logs no secret.
#[derive(Clone, Debug, Default)]
pub struct TlsOptions {
    pub(super) only: Vec<HostPattern>,
    pub(super) auto_passthrough: Option<AutoPassthrough>,
    pub(super) client_certificates: Vec<(HostPattern, ClientCertificate)>,
    pub(super) upstream_versions: TlsVersions,
    pub(super) fetch_intermediates: bool,
    pub(super) key_log: Option<KeyLog>,
}

/// When a host is passed through because its client keeps refusing our certificate, as one that pins the host's does.
///
/// Counted for each client address and host. A request that comes through decrypted sets the count back, so a client
/// that merely closed spare connections is not taken for one that refuses. Once a host is passed through for a client
/// it stays so until the proxy ends, or until 1,000 other such pairs were noticed since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AutoPassthrough {
    /// How many refusals in a row it takes. Default 3.
    pub refusals: NonZeroU32,
    /// Within how long, from the first. Default 10 min.
    pub within: Duration,
}

impl Default for AutoPassthrough {
    fn default() -> Self {
        const REFUSALS: NonZeroU32 = NonZeroU32::MIN.saturating_add(2);
        Self { refusals: REFUSALS, within: Duration::from_secs(600) }
    }
}

impl TlsOptions {
    /// The default.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Decrypts TLS to these hosts only, and passes all else through; called again, it adds. Matched against the
    /// CONNECT's host and the SNI. A host of [`ProxyBuilder::passthrough`] is passed through all the same.
    #[must_use]
    pub fn with_only(mut self, hosts: HostPattern) -> Self {
        self.only.push(hosts);
        self
    }

    /// Passes a host through for a client that keeps refusing our certificate for it.
    ///
    /// Whoever can make a client refuse can then have its traffic pass unseen; the exchange's rules tell of it as
    /// `auto-passthrough`, and a warning is logged when it begins.
    #[must_use]
    pub fn with_auto_passthrough(mut self, when: AutoPassthrough) -> Self {
        self.auto_passthrough = Some(when);
        self
    }

    /// Shows this certificate to these hosts when they ask for one; of several for a host, the one given first.
    #[must_use]
    pub fn with_client_certificate(mut self, hosts: HostPattern, certificate: ClientCertificate) -> Self {
        self.client_certificates.push((hosts, certificate));
        self
    }

    /// Speaks these versions with upstream.
    #[must_use]
    pub fn with_upstream_versions(mut self, versions: TlsVersions) -> Self {
        self.upstream_versions = versions;
        self
    }

    /// Fetches intermediate certificates that upstream leaves out, from where its certificate says they are (RFC 5280
    /// section 4.2.2.1).
    ///
    /// A certificate then decides where the proxy sends a plain HTTP request; it goes the way of any other request,
    /// and is refused where that would be.
    #[must_use]
    pub fn with_fetched_intermediates(mut self) -> Self {
        self.fetch_intermediates = true;
        self
    }

    /// Logs the secrets of all TLS sessions, on both sides.
    #[must_use]
    pub fn with_key_log(mut self, key_log: KeyLog) -> Self {
        self.key_log = Some(key_log);
        self
    }

    pub(crate) fn key_log(&self) -> Option<&KeyLog> {
        self.key_log.as_ref()
    }
}

impl ProxyBuilder {
    /// Says how TLS is done on both sides; [`TlsOptions::default`] without this.
    pub fn tls(mut self, options: TlsOptions) -> Self {
        self.tls = options;
        self
    }
}
