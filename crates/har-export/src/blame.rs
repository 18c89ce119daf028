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

/// What Charles and other programs in Java, and curl and OpenSSL, say in small letters, most particular first.
const PHRASES: &[(&str, FailureKind)] = &[
    ("ssl handshake with client failed", FailureKind::ClientTls),
    ("client ssl handshake failed", FailureKind::ClientTls),
    ("possibly the ssl certificate was rejected", FailureKind::ClientDistrustsCa),
    ("client closed the connection", FailureKind::ClientLeft),
    ("client closed connection", FailureKind::ClientLeft),
    ("pkix path building failed", FailureKind::CertificateUntrusted),
    ("unable to find valid certification path", FailureKind::CertificateUntrusted),
    ("self-signed certificate", FailureKind::CertificateUntrusted),
    ("self signed certificate", FailureKind::CertificateUntrusted),
    ("unable to get local issuer certificate", FailureKind::CertificateUntrusted),
    ("certificate has expired", FailureKind::CertificateExpired),
    ("certificateexpiredexception", FailureKind::CertificateExpired),
    ("no subject alternative", FailureKind::CertificateWrongName),
    ("no name matching", FailureKind::CertificateWrongName),
    ("ssl handshake", FailureKind::UpstreamTls),
    ("sslhandshakeexception", FailureKind::UpstreamTls),
    ("handshake_failure", FailureKind::UpstreamTls),
    ("unknownhostexception", FailureKind::Dns),
    ("unknown host", FailureKind::Dns),
    ("name lookup failed", FailureKind::Dns),
    ("could not resolve host", FailureKind::Dns),
    ("name or service not known", FailureKind::Dns),
    ("connection refused", FailureKind::ConnectionRefused),
    ("connect timed out", FailureKind::ConnectTimeout),
    ("connection timed out", FailureKind::ConnectTimeout),
    ("network is unreachable", FailureKind::Unreachable),
    ("no route to host", FailureKind::Unreachable),
    ("host is down", FailureKind::Unreachable),
    ("failed to connect to remote host", FailureKind::Unreachable),
    ("read timed out", FailureKind::UpstreamTimeout),
    ("timed out", FailureKind::UpstreamTimeout),
    ("remote server closed the connection", FailureKind::UpstreamClosed),
    ("unexpected end of file", FailureKind::UpstreamClosed),
    ("premature eof", FailureKind::UpstreamClosed),
    ("connection reset", FailureKind::UpstreamReset),
];
/// Bytes of the words that are looked at.
const LOOKED_AT: usize = 4 * 1024;

/// The failure these words tell of. Words that are not known are kept, and no cause is made up for them.
pub(crate) fn failure(words: &str) -> Failure {
    let beginning: String = words.chars().take(LOOKED_AT).collect();
    let small = beginning.to_lowercase();
    let known = CHROME.iter().find(|(code, _)| beginning.contains(code));
    let known = known.or_else(|| PHRASES.iter().find(|(phrase, _)| small.contains(phrase)));
    Failure::new(known.map_or(FailureKind::Unstated, |(_, kind)| *kind), words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_other_tools_say_has_our_codes() {
        for (words, kind) in [
            ("net::ERR_CERT_DATE_INVALID", FailureKind::CertificateExpired),
            ("Connection refused", FailureKind::ConnectionRefused),
            ("java.net.UnknownHostException: a.test", FailureKind::Dns),
            ("Name lookup failed for remote host", FailureKind::Dns),
            ("Connect timed out", FailureKind::ConnectTimeout),
            ("Read timed out", FailureKind::UpstreamTimeout),
            ("SSL handshake with client failed: certificate_unknown", FailureKind::ClientTls),
            (
                "Client closed the connection before a request was made. Possibly the SSL certificate was rejected.",
                FailureKind::ClientDistrustsCa,
            ),
            (
                "Remote server closed the connection before sending response header",
                FailureKind::UpstreamClosed,
            ),
            ("PKIX path building failed: SunCertPathBuilderException", FailureKind::CertificateUntrusted),
            ("something went wrong", FailureKind::Unstated),
        ] {
            assert_eq!((failure(words).kind, failure(words).detail.as_str()), (kind, words));
        }
    }
}
