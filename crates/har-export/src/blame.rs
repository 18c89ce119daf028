//! Why an exchange failed, out of the words other tools use for it.

use proxy_core::{Failure, FailureKind};

/// What Chrome's network errors mean, most particular first (net/base/net_error_list.h).
const CHROME: &[(&str, FailureKind)] = &[
    ("ERR_NAME_NOT_RESOLVED", FailureKind::Dns),
    ("ERR_NAME_RESOLUTION_FAILED", FailureKind::Dns),
    ("ERR_CONNECTION_REFUSED", FailureKind::ConnectionRefused),
    ("ERR_ADDRESS_UNREACHABLE", FailureKind::Unreachable),
    ("ERR_INTERNET_DISCONNECTED", FailureKind::Unreachable),
    ("ERR_NETWORK_CHANGED", FailureKind::Unreachable),
    ("ERR_CONNECTION_TIMED_OUT", FailureKind::ConnectTimeout),
    ("ERR_TIMED_OUT", FailureKind::UpstreamTimeout),
    ("ERR_CERT_AUTHORITY_INVALID", FailureKind::CertificateUntrusted),
    ("ERR_CERT_DATE_INVALID", FailureKind::CertificateExpired),
    ("ERR_CERT_COMMON_NAME_INVALID", FailureKind::CertificateWrongName),
    ("ERR_CERT_", FailureKind::CertificateUntrusted),
    ("ERR_SSL_", FailureKind::UpstreamTls),
    ("ERR_CONNECTION_CLOSED", FailureKind::UpstreamClosed),
    ("ERR_EMPTY_RESPONSE", FailureKind::UpstreamClosed),
    ("ERR_CONTENT_LENGTH_MISMATCH", FailureKind::UpstreamClosed),
    ("ERR_INCOMPLETE_CHUNKED_ENCODING", FailureKind::UpstreamClosed),
    ("ERR_CONNECTION_RESET", FailureKind::UpstreamReset),
    ("ERR_HTTP2_", FailureKind::UpstreamReset),
    ("ERR_INVALID_HTTP_RESPONSE", FailureKind::UpstreamMalformed),
    ("ERR_INVALID_RESPONSE", FailureKind::UpstreamMalformed),
    ("ERR_ABORTED", FailureKind::ClientLeft),
    ("ERR_BLOCKED_BY_", FailureKind::Aborted),
];

/// The failure these words tell of. Words that are not known are kept, and no cause is made up for them.
pub(crate) fn failure(words: &str) -> Failure {
    let known = CHROME.iter().find(|(code, _)| words.contains(code));
    Failure::new(known.map_or(FailureKind::Unstated, |(_, kind)| *kind), words)
}
