//! Fetches intermediate certificates that upstream left out (RFC 5280 section 4.2.2.1, "caIssuers").
//!
//! The handshake that missed them has failed by then. What is found here serves the next one: verification itself
//! never waits, and never takes anything fetched for a root.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode, Uri, Version};
use rustls::pki_types::CertificateDer;
use tokio::{io::split, time::timeout};

use super::intermediates::{self, Intermediates, MAX_DEPTH};
use crate::{
    alarm::{Alarm, Elapsed},
    engine::Engine,
    failure::{Failure, FailureKind, Side},
    head::{Headers, RequestHead, Scheme},
    http1::{self, Encoding, TargetForm},
    leg::ResponseReader,
    upstreams::{self, Destination, Security, Way},
    wire::{Piece, WireError},
};

/// The largest answer read: certificates have 1 to 3 KiB, a message with a chain some times that.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// How long all fetching for one failed handshake may take.
const MAX_FETCHING: Duration = Duration::from_secs(10);

/// How long one address has to answer. Less than all fetching, so that one that is silent is known for it, and not
/// waited for by every connection to come.
const MAX_ASKING: Duration = Duration::from_secs(4);

/// Interim responses passed over before the answer.
const MAX_INTERIM: usize = 4;

/// After a handshake that failed for want of an issuer, looks for it where the certificate says it is. `true` when the
/// chain can now be built further, so that another try is worth while.
pub(crate) async fn learn(engine: &Engine, failure: &Failure) -> bool {
    let Some(known) = engine.connector.intermediates() else { return false };
    if failure.kind != FailureKind::CertificateUntrusted {
        return false;
    }
    let shown = failure.upstream().and_then(|upstream| upstream.tls.as_ref());
    let chain: Vec<_> = shown
        .iter()
        .flat_map(|tls| &tls.certificates)
        .map(|der| CertificateDer::from(der.to_vec()))
        .collect();
    timeout(MAX_FETCHING, complete(engine, known, chain)).await.unwrap_or(false)
}

/// Fetches one issuer after the other until the chain reaches a root. Only then is anything kept: what somebody passes
/// off as an issuer's certificate must not stand in the way of the real one.
async fn complete(engine: &Engine, known: &Intermediates, mut chain: Vec<CertificateDer<'static>>) -> bool {
    let _one_at_a_time = known.fetching.lock().await;
    let mut fetched: Vec<(String, CertificateDer<'static>)> = Vec::new();
    for _ in 0..=MAX_DEPTH {
        // Another connection may have been here while this one waited.
        chain.extend(known.missing_in(&chain));
        if engine.connector.reaches_root(&chain) {
            fetched.into_iter().for_each(|(_, issuer)| known.keep(issuer));
            return true;
        }
        let Some((subject, addresses)) = intermediates::wanted(&chain) else { break };
        let Some((url, issuer)) = fetch_any(engine, known, &subject, &addresses).await else { break };
        chain.push(issuer.clone());
        fetched.push((url, issuer));
    }
    for (url, _) in fetched {
        tracing::info!(%url, "what was fetched does not complete upstream's chain");
        known.note_failed(&url);
    }
    false
}

async fn fetch_any(
    engine: &Engine,
    known: &Intermediates,
    subject: &[u8],
    addresses: &[String],
) -> Option<(String, CertificateDer<'static>)> {
    for url in addresses.iter().filter(|url| known.may_ask(url)) {
        match timeout(MAX_ASKING, fetch(engine, url)).await {
            Ok(Ok(content)) => {
                let mut found = intermediates::certificates(&content).into_iter();
                if let Some(issuer) = found.find(|der| intermediates::issued(der, subject)) {
                    tracing::info!(%url, "fetched an intermediate certificate that upstream left out");
                    return Some((url.clone(), issuer));
                }
                tracing::info!(%url, "what was fetched is no certificate of the issuer");
            }
            Ok(Err(failure)) => tracing::info!(%url, %failure, "cannot fetch an intermediate certificate"),
            Err(_elapsed) => tracing::info!(%url, "an intermediate certificate takes too long to fetch"),
        }
        known.note_failed(url);
    }
    None
}

/// Gets what is at an address: one request on a connection of its own, the way any request of a client would go.
async fn fetch(engine: &Engine, url: &str) -> Result<Vec<u8>, Failure> {
    let (to, mut request) =
        asking(url).ok_or_else(|| Failure::new(FailureKind::UpstreamTls, "its address is none to ask"))?;
    let opened = upstreams::open_to(engine, &to).await?;
    let parent = opened.way.parent().filter(|_| matches!(opened.way, Way::Absolute(_))).cloned();
    let form = match &opened.way {
        Way::Direct | Way::Tunnel(_) => TargetForm::Origin,
        Way::Absolute(parent) => {
            if let Some(authorization) = parent.authorization() {
                request.headers.push("Proxy-Authorization", authorization);
            }
            TargetForm::Absolute
        }
    };
    let (read, write) = split(opened.io);
    let (mut reader, mut writer) =
        (http1::Reader::new(read, engine.head_limits()), http1::Writer::new(write));
    let wire = |error: WireError| error.into_failure(Side::Upstream);
    writer.put_request(&request, form).map_err(wire)?;
    writer.begin(Encoding::None);
    writer.flush().await.map_err(|error| wire(error.into()))?;
    let max_trailer_bytes = engine.limits.max_head_bytes;
    let mut alarm = Alarm::default();
    let mut source =
        ResponseReader::Http1 { reader: &mut reader, alarm: &mut alarm, max_trailer_bytes, parent };
    for _ in 0..=MAX_INTERIM {
        let read = source.head(MAX_FETCHING).await.map_err(|Elapsed| too_slow())?;
        let (head, _) = read.map_err(|error| wire(error.error))?;
        if head.status.is_informational() {
            continue;
        }
        if head.status != StatusCode::OK {
            let detail = format!("it answered {}", head.status.as_u16());
            return Err(Failure::new(FailureKind::UpstreamTls, detail));
        }
        let (mut body, _) = source.body(&request, &head).map_err(wire)?;
        let mut content = Vec::new();
        while let Some(piece) = body.piece().await.map_err(wire)? {
            let Piece::Data(data) = piece else { continue };
            if content.len() + data.len() > MAX_ANSWER_BYTES {
                return Err(Failure::new(FailureKind::Limit, "its answer is no certificate: it is too long"));
            }
            content.extend_from_slice(&data);
        }
        return Ok(content);
    }
    Err(Failure::new(FailureKind::UpstreamMalformed, "it sent interim responses only"))
}

fn too_slow() -> Failure {
    Failure::new(FailureKind::UpstreamTimeout, format!("no answer within {MAX_FETCHING:?}"))
}

/// Where an address leads, and what to ask there.
fn asking(url: &str) -> Option<(Destination, RequestHead)> {
    let uri: Uri = url.parse().ok()?;
    let host = uri.host().filter(|_| uri.scheme_str() == Some("http"))?;
    let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host).to_owned();
    let authority = uri.authority()?.as_str();
    // User information is nobody's here (RFC 9110 section 4.2.4).
    let authority = authority.rsplit_once('@').map_or(authority, |(_, after)| after).to_owned();
    let mut headers = Headers::new();
    for (name, value) in [
        ("Host", authority.as_str()),
        ("Accept", "application/pkix-cert, application/pkcs7-mime, */*;q=0.5"),
        ("User-Agent", concat!("wirescope/", env!("CARGO_PKG_VERSION"))),
        ("Connection", "close"),
    ] {
        headers.push(Bytes::from_static(name.as_bytes()), value.to_owned());
    }
    let target = uri.path_and_query().map_or("/", |it| it.as_str()).to_owned();
    let to =
        Destination { host, port: uri.port_u16().unwrap_or(80), security: Security::Plain { http2: false } };
    let method = Method::GET;
    let version = Version::HTTP_11;
    Some((to, RequestHead { method, scheme: Scheme::Http, authority, target, version, headers }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        for (url, host, port, target) in [
            ("http://ca.example/i.crt", "ca.example", 80, "/i.crt"),
            ("http://user@ca.example:81", "ca.example", 81, "/"),
            ("http://[::1]:8080/a?b", "::1", 8080, "/a?b"),
        ] {
            let (to, request) = asking(url).unwrap();
            assert_eq!((&*to.host, to.port, &*request.target), (host, port, target), "{url}");
            assert!(!request.authority.contains('@'));
        }
        for none in ["https://ca.example/", "ldap://ca.example/", "http:///x", "ca.example", "http://a b/"] {
            assert!(asking(none).is_none(), "{none}");
        }
    }
}
