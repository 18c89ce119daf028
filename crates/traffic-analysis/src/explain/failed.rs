//! Failures the proxy saw: upstream's, a rule's, its own.

use capture_store::{Error, Exchange, Store};
use proxy_core::{Failure, FailureKind};

use super::{Cause, Certainty, Explanation, client, ruled, words};

/// Explains a failure.
pub(super) fn explain(store: &Store, exchange: &Exchange, failure: &Failure) -> Result<Explanation, Error> {
    use FailureKind as F;
    let told = match failure.kind {
        F::ClientDistrustsCa | F::ClientTls => return client::explain(store, exchange, failure),
        F::Rule | F::Aborted => ruled(exchange, failure.to_string()),
        F::UpstreamTimeout => too_slow(exchange, failure),
        F::ParentProxy => parent(exchange, failure),
        F::CertificateUntrusted | F::CertificateExpired | F::CertificateWrongName | F::UpstreamTls => {
            upstream_tls(exchange, failure)
        }
        F::Dns | F::ConnectionRefused | F::Unreachable | F::ConnectTimeout => unreached(exchange, failure),
        F::UpstreamClosed | F::UpstreamReset | F::UpstreamMalformed => broken(exchange, failure),
        kind if kind.side() == proxy_core::Side::Client => clients_own(exchange, failure),
        _ => proxys_own(failure),
    };
    let mut told = told;
    let said = failure.to_string();
    if told.summary != said {
        told.evidence.push(said);
    }
    if let Some(upstream) = exchange.upstream.as_ref().and_then(|peer| peer.address) {
        told.evidence.push(format!("upstream's address was {upstream}"));
    }
    Ok(told)
}

fn sure(cause: Cause, failure: &Failure) -> Explanation {
    Explanation::new(cause, Certainty::Certain, failure.kind.to_string())
}

fn unreached(exchange: &Exchange, failure: &Failure) -> Explanation {
    let host = &exchange.summary.host;
    match failure.kind {
        FailureKind::Dns => sure(Cause::Dns, failure)
            .at("upstream", "dns")
            .fix(format!("check the name {host}; resolve it on this machine (getent hosts {host})"))
            .fix(format!("or say where it is: --resolve {host}:{}:ADDRESS", exchange.summary.port)),
        FailureKind::ConnectionRefused => sure(Cause::ConnectionRefused, failure)
            .at("upstream", "connect")
            .fix(format!("check that something listens at {host} port {}", exchange.summary.port)),
        FailureKind::ConnectTimeout => sure(Cause::ConnectTimeout, failure)
            .at("upstream", "connect")
            .fix("check firewalls and routes; the address does not answer")
            .fix("a network that is only reached through a proxy needs proxy_set_upstream (--upstream)"),
        _ => sure(Cause::Unreachable, failure)
            .at("upstream", "connect")
            .fix("check whether this machine reaches it without the proxy"),
    }
}

fn upstream_tls(exchange: &Exchange, failure: &Failure) -> Explanation {
    let host = &exchange.summary.host;
    let insecure = format!("if that is expected, do not verify it: --insecure-upstream {host}");
    let told = match failure.kind {
        FailureKind::CertificateUntrusted => sure(Cause::UpstreamUntrusted, failure)
            .fix("if that is expected, give the authority that signed it: --upstream-ca FILE")
            .fix(insecure),
        FailureKind::CertificateExpired => {
            sure(Cause::UpstreamExpired, failure).fix("check the clock of this machine").fix(insecure)
        }
        FailureKind::CertificateWrongName => sure(Cause::UpstreamWrongName, failure)
            .fix("check the host; a rule or a resolve override may lead to another server")
            .fix(insecure),
        _ => sure(Cause::UpstreamTls, failure)
            .fix("see the evidence: some servers want a certificate of the client (--client-certificate)")
            .fix(format!("or pass the host through undecrypted: --passthrough {host}")),
    };
    let told = match words::alert(&failure.detail) {
        Some(alert) => told.because(format!("upstream's alert {alert}: {}", words::alert_meaning(alert))),
        None => told,
    };
    told.at("upstream", "upstream_tls")
}

/// Which step upstream was too slow in.
fn too_slow(exchange: &Exchange, failure: &Failure) -> Explanation {
    let told = match (&exchange.response, failure.detail.contains("handshake")) {
        (Some(_), _) => {
            let summary = "upstream stopped in the middle of its response";
            Explanation::new(Cause::BodyTimeout, Certainty::Certain, summary)
                .at("upstream", "response")
                .because(format!("{} bytes of the body had come", exchange.summary.response_body_bytes))
        }
        (None, true) => {
            let summary = "upstream did not finish its TLS handshake in time";
            Explanation::new(Cause::UpstreamTlsTimeout, Certainty::Certain, summary)
                .at("upstream", "upstream_tls")
        }
        (None, false) => {
            let summary = "upstream was reached, but did not answer in time";
            Explanation::new(Cause::ResponseTimeout, Certainty::Certain, summary).at("upstream", "wait")
        }
    };
    told.fix("look at the server; raise the proxy's time-out if it may take so long")
}

fn parent(exchange: &Exchange, failure: &Failure) -> Explanation {
    let parent = exchange.upstream.as_ref().and_then(|peer| peer.parent.as_deref());
    let told = sure(Cause::ParentRefused, failure)
        .at("upstream", "connect")
        .fix("check the parent proxy's URL and credentials (proxy_status, proxy_set_upstream)")
        .fix("reach this host without it: add it to no_proxy");
    match parent {
        Some(parent) => told.because(format!("the parent proxy was {parent}")),
        None => told,
    }
}

fn broken(exchange: &Exchange, failure: &Failure) -> Explanation {
    let phase = if exchange.response.is_some() { "response" } else { "wait" };
    let cause = match failure.kind {
        FailureKind::UpstreamMalformed => Cause::UpstreamMalformed,
        _ => Cause::UpstreamClosed,
    };
    let told = sure(cause, failure).at("upstream", phase);
    match (cause, phase) {
        (Cause::UpstreamMalformed, _) => told.fix("check that upstream speaks HTTP on this port, and not only TLS"),
        (_, "wait") => told
            .fix("look at the server's log: it closed before it answered (a crash, a limit, an idle connection)")
            .fix("send it again: a reused connection may have been closed just then"),
        _ => told.fix("the response is cut: look at the server, and at gateways between"),
    }
}

fn clients_own(exchange: &Exchange, failure: &Failure) -> Explanation {
    let phase = if exchange.response.is_some() { "response" } else { "request" };
    match failure.kind {
        FailureKind::ClientLeft => sure(Cause::ClientLeft, failure)
            .at("client", phase)
            .fix("look at the client: it gave up (its own time-out, a navigation, a cancelled call)"),
        FailureKind::ClientTimeout => sure(Cause::ClientTimeout, failure)
            .at("client", phase)
            .fix("look at the client: it stopped sending or reading"),
        FailureKind::ClientMalformed => sure(Cause::ClientMalformed, failure)
            .at("client", "request")
            .fix("look at the client: what it sends is no HTTP, or a proxy must not repair it"),
        FailureKind::ClientUnauthenticated => sure(Cause::ClientRefused, failure)
            .at("client", "request")
            .fix("give the client the proxy's user name and password: http://USER:PASSWORD@HOST:PORT"),
        _ => sure(Cause::ClientRefused, failure)
            .at("client", "connect")
            .fix("start the proxy with --allow-client for the client's network"),
    }
}

fn proxys_own(failure: &Failure) -> Explanation {
    let (cause, fix) = match failure.kind {
        FailureKind::Limit => (Cause::Proxy, "raise the limit that the evidence names"),
        FailureKind::Loop => (Cause::Proxy, "the address is the proxy itself: ask for the origin's"),
        FailureKind::BlockedAddress => {
            (Cause::Proxy, "the address policy keeps this address out: allow it if it is meant")
        }
        FailureKind::Shutdown => (Cause::Proxy, "the proxy was stopped meanwhile: do it again"),
        FailureKind::Crash => (Cause::Unknown, "the recording process ended: do it again"),
        _ => (Cause::Unknown, "the recording does not say: capture it again"),
    };
    sure(cause, failure).at("proxy", "request").fix(fix)
}
