//! Why an exchange failed: which side is at fault, at what step, and how.

use std::{fmt, sync::Arc};

use http::StatusCode;

use crate::event::UpstreamFacts;

/// The side at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Side {
    /// The client.
    Client,
    /// Upstream.
    Upstream,
    /// The proxy itself: a limit, a rule, its shutdown.
    Proxy,
}

impl Side {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Upstream => "upstream",
            Self::Proxy => "proxy",
        }
    }
}

/// A failure of one exchange, recorded with it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Failure {
    /// What failed.
    pub kind: FailureKind,
    /// What the failing step said, in one line.
    pub detail: String,
    /// What the client is answered, where that is not what the kind says.
    pub(crate) status: Option<StatusCode>,
    /// The upstream connection that came to nothing, until the exchange it was for tells of it.
    upstream: Option<Arc<UpstreamFacts>>,
}

/// Two failures are equal that say the same.
impl PartialEq for Failure {
    fn eq(&self, other: &Self) -> bool {
        (self.kind, &self.detail, self.status) == (other.kind, &other.detail, other.status)
    }
}

impl Eq for Failure {}

impl Failure {
    /// Makes a failure.
    pub fn new(kind: FailureKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), status: None, upstream: None }
    }

    /// Adds the upstream connection that came to nothing.
    pub(crate) fn on(mut self, upstream: UpstreamFacts) -> Self {
        self.upstream = Some(Arc::new(upstream));
        self
    }

    /// The upstream connection that came to nothing, where one was made.
    pub(crate) fn upstream(&self) -> Option<&Arc<UpstreamFacts>> {
        self.upstream.as_ref()
    }

    /// The side at fault.
    #[must_use]
    pub fn side(&self) -> Side {
        self.kind.side()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

macro_rules! failure_kinds {
    ($($(#[$doc:meta])* $name:ident, $side:ident, $code:literal, $text:literal;)*) => {
        /// What failed. Each has a stable code for machines and a phrase for people.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum FailureKind {
            $($(#[$doc])* $name,)*
        }

        impl FailureKind {
            /// Every kind there is.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The stable code, for storage and machines.
            #[must_use]
            pub fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// The kind with this code.
            #[must_use]
            pub fn from_code(code: &str) -> Option<Self> {
                match code { $($code => Some(Self::$name),)* _ => None }
            }

            /// The side at fault.
            #[must_use]
            pub fn side(self) -> Side {
                match self { $(Self::$name => Side::$side,)* }
            }
        }

        impl fmt::Display for FailureKind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$name => $text,)* })
            }
        }
    };
}

failure_kinds! {
    /// The upstream name does not resolve.
    Dns, Upstream, "dns", "upstream name does not resolve";
    /// Nothing listens at upstream's address.
    ConnectionRefused, Upstream, "connection_refused", "upstream refused the connection";
    /// Upstream's address cannot be reached.
    Unreachable, Upstream, "unreachable", "upstream cannot be reached";
    /// Upstream did not accept in time.
    ConnectTimeout, Upstream, "connect_timeout", "upstream did not accept the connection in time";
    /// A parent proxy could not be reached, refused, or broke its protocol.
    ParentProxy, Upstream, "parent_proxy", "the parent proxy could not be used";
    /// Upstream's certificate is not signed by a trusted authority.
    CertificateUntrusted, Upstream, "certificate_untrusted", "upstream certificate is not trusted";
    /// Upstream's certificate is outside its validity period.
    CertificateExpired, Upstream, "certificate_expired", "upstream certificate is expired or not yet valid";
    /// Upstream's certificate is for another name.
    CertificateWrongName, Upstream, "certificate_wrong_name", "upstream certificate is for another name";
    /// The TLS handshake with upstream failed otherwise.
    UpstreamTls, Upstream, "upstream_tls", "TLS handshake with upstream failed";
    /// Upstream closed before its response was whole.
    UpstreamClosed, Upstream, "upstream_closed", "upstream closed the connection before the message was whole";
    /// Upstream reset the stream or the connection.
    UpstreamReset, Upstream, "upstream_reset", "upstream reset the stream";
    /// Upstream sent bytes that are no valid message.
    UpstreamMalformed, Upstream, "upstream_malformed", "upstream sent a malformed message";
    /// Upstream kept silent for too long.
    UpstreamTimeout, Upstream, "upstream_timeout", "upstream did not answer in time";
    /// The client refused our certificate: it does not trust the CA.
    ClientDistrustsCa, Client, "client_distrusts_ca", "client does not trust the CA";
    /// The TLS handshake with the client failed otherwise.
    ClientTls, Client, "client_tls", "TLS handshake with the client failed";
    /// The client went away before the exchange was over.
    ClientLeft, Client, "client_left", "client left before the exchange was over";
    /// The client sent bytes that are no valid message.
    ClientMalformed, Client, "client_malformed", "client sent a malformed message";
    /// The client kept silent for too long.
    ClientTimeout, Client, "client_timeout", "client did not send or read in time";
    /// The client did not prove that it may use the proxy.
    ClientUnauthenticated, Client, "client_unauthenticated", "client did not authenticate to the proxy";
    /// The client's address is not let in.
    ClientNotAllowed, Client, "client_not_allowed", "client address is not allowed to use the proxy";
    /// A limit of the proxy was reached.
    Limit, Proxy, "limit", "a limit of the proxy was reached";
    /// The request would have made the proxy dial itself.
    Loop, Proxy, "loop", "the request leads back to the proxy";
    /// The address policy forbids upstream's address.
    BlockedAddress, Proxy, "blocked_address", "the address policy forbids this address";
    /// A rule, or whoever resumed it at a breakpoint, ended it on purpose.
    Rule, Proxy, "rule", "a rule ended the exchange";
    /// An interceptor ended it.
    Aborted, Proxy, "aborted", "an interceptor ended the exchange";
    /// The proxy was shut down while the exchange went on.
    Shutdown, Proxy, "shutdown", "the proxy was shut down";
    /// The proxy process ended without telling how the exchange ended.
    Crash, Proxy, "crash", "the recording process ended before the exchange did";
    /// It was imported from a recording that does not say, in a way we know, what failed.
    Unstated, Proxy, "unstated", "the recording does not say what failed";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_reads_back_as_its_kind() {
        for kind in FailureKind::ALL {
            assert_eq!(FailureKind::from_code(kind.code()), Some(*kind));
        }
    }
}
