//! What a client did not like about us: no trust, a pin, no name, an alert. And tunnels that were left alone.

use capture_store::{Error, Exchange, Store};
use proxy_core::{Failure, FailureKind};

use super::{Cause, Certainty, Explanation, seen, words};

/// How a client comes to trust the CA.
const TRUST: &str = "make the client trust the CA: http://wirescope.test/ through the proxy says how; interceptor_spawn and \
                     `wirescope exec` set it up for a command";

/// Explains a handshake with a client that failed.
pub(super) fn explain(store: &Store, exchange: &Exchange, failure: &Failure) -> Result<Explanation, Error> {
    let host = &exchange.summary.host;
    let alert = words::alert(&failure.detail);
    let left = failure.detail.contains("without an alert");
    let over_certificate = failure.kind == FailureKind::ClientDistrustsCa || left;
    let accepted = match over_certificate && alert != Some("unknown_ca") {
        true => seen::accepted_elsewhere(store, exchange)?,
        false => None,
    };
    let mut told = match (accepted, failure.kind, alert) {
        (Some(_), _, _) => pinned(host),
        (None, FailureKind::ClientDistrustsCa, Some("certificate_expired")) => {
            let summary = "the client holds our certificate for out of date";
            Explanation::new(Cause::TlsAlert, Certainty::Certain, summary)
                .fix("set the clock of the client, or of this machine")
        }
        (None, FailureKind::ClientDistrustsCa, _) => {
            let sure = if alert == Some("unknown_ca") { Certainty::Certain } else { Certainty::Likely };
            Explanation::new(Cause::ClientDistrustsCa, sure, "the client does not trust the CA").fix(TRUST).fix(
                "a program that brings its own list of authorities (Java, Firefox, Electron, Go on some systems) needs the \
                 CA there",
            )
        }
        (None, _, _) if left => left_silently(exchange),
        (None, _, Some(alert)) => {
            let summary = format!("the client ended the handshake: {}", words::alert_meaning(alert));
            Explanation::new(Cause::TlsAlert, Certainty::Certain, summary).fix(format!(
                "pass the host through undecrypted (--passthrough {host}), if its content is not needed"
            ))
        }
        (None, _, None) => {
            let summary = "the handshake with the client failed";
            Explanation::new(Cause::ClientTls, Certainty::Certain, summary)
                .fix("see the evidence: it is what the TLS library said")
        }
    };
    if let Some(alert) = alert {
        told = told.because(format!("alert {alert}: {}", words::alert_meaning(alert)));
    }
    if let Some(seq) = accepted {
        told = told.because(format!("{seq}: this client accepted our certificate for another host"));
    }
    let told = told.because(failure.to_string()).at("client", "client_tls");
    Ok(with_name(told, exchange))
}

fn pinned(host: &str) -> Explanation {
    let summary = format!("the client trusts the CA, but not for {host}: it pins that host's certificate");
    Explanation::new(Cause::CertificatePinned, Certainty::Likely, summary)
        .fix("turn pinning off in the client (a debug build, a network security configuration, an unpinning script)")
        .fix(format!("or pass the host through undecrypted: --passthrough {host}"))
}

fn left_silently(exchange: &Exchange) -> Explanation {
    let tls = exchange.client.as_ref().and_then(|peer| peer.tls.as_ref());
    if tls.is_some_and(|tls| tls.sni.is_none()) {
        let summary = "the client named no host (SNI), saw a certificate for the tunnel's host, and left";
        return Explanation::new(Cause::NoSni, Certainty::Possible, summary)
            .fix("make the client send a server name, or connect to a name rather than an address")
            .fix(TRUST);
    }
    let summary = "the client closed without a word once it had seen our certificate; most likely it does not trust the CA";
    Explanation::new(Cause::ClientLeftHandshake, Certainty::Likely, summary).fix(TRUST).fix(format!(
        "if it trusts the CA, it pins: pass the host through (--passthrough {})",
        exchange.summary.host
    ))
}

/// Adds what the client's hello says of names.
fn with_name(told: Explanation, exchange: &Exchange) -> Explanation {
    let Some(tls) = exchange.client.as_ref().and_then(|peer| peer.tls.as_ref()) else { return told };
    let told = match &tls.sni {
        None => told.because("the client's hello names no host (no SNI)"),
        Some(sni) if *sni != exchange.summary.host => told.because(format!("the client asked for {sni}")),
        Some(_) => told,
    };
    match tls.encrypted_client_hello {
        true => told.because("the client's hello carries an Encrypted Client Hello"),
        false => told,
    }
}

/// Explains a tunnel that was relayed as bytes.
pub(super) fn undecrypted(exchange: &Exchange) -> Explanation {
    let (up, down) = exchange.tunnel_bytes;
    let bytes = format!("{up} bytes to upstream and {down} back, undecrypted");
    let host = &exchange.summary.host;
    let auto = exchange.rules.iter().find(|hit| hit.rule == "auto-passthrough");
    if let Some(hit) = auto {
        let summary = "it was relayed undecrypted, because the client kept refusing our certificate";
        return Explanation::new(Cause::AutoPassedThrough, Certainty::Certain, summary)
            .because(hit.changes.join("; "))
            .because(bytes)
            .fix(TRUST)
            .fix("start without automatic passthrough to see the client's refusals");
    }
    let tls = exchange.client.as_ref().and_then(|peer| peer.tls.as_ref());
    let (certainty, summary) = match tls {
        Some(_) => (Certainty::Certain, "its host is on the passthrough list, so it was relayed undecrypted"),
        None => (
            Certainty::Likely,
            "it was relayed as bytes: its host is on the passthrough list, or what is in it is neither TLS nor HTTP",
        ),
    };
    Explanation::new(Cause::PassedThrough, certainty, summary)
        .because(bytes)
        .fix(format!("take {host} off --passthrough to see what is in it"))
}
