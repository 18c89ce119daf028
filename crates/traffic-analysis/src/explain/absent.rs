//! Exchanges that are not there: what the record of their host, and of everything else, says about it.

use capture_store::{Condition, Error, ExchangeKind, ExchangeState, ExchangeSummary, Seq, SessionId, Store};

use super::{Cause, Certainty, Explanation, exchange, seen};
use crate::priority::is_error;

/// Why exchanges with a host are missing, or failed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Missing {
    /// The newest exchange with the host that went wrong, where one did.
    pub failed: Option<Seq>,
    /// Exchanges with the host that were looked at, newest first.
    pub seen: Vec<Seq>,
    /// The causes, the likeliest first.
    pub causes: Vec<Explanation>,
}

/// Explains why an exchange with `host` (and, where given, with this text in its URL) is not there, or failed, in these
/// sessions (all, where none is named). Blocks on the disk; looks at the newest 50 exchanges of the host.
///
/// # Errors
/// When the store cannot be read.
pub fn missing(
    store: &Store,
    sessions: &[SessionId],
    host: &str,
    url_contains: Option<&str>,
) -> Result<Missing, Error> {
    let of_host = seen::of_host(store, sessions, host)?;
    let wanted = |summary: &&ExchangeSummary| {
        let contains = |part: &str| summary.url.to_lowercase().contains(&part.to_lowercase());
        url_contains.is_none_or(contains) || summary.kind == ExchangeKind::Tunnel
    };
    let mut causes = Vec::new();
    let failed = of_host.iter().filter(wanted).find(|summary| is_error(summary)).map(|summary| summary.seq);
    if let Some(seq) = failed {
        causes.push(exchange(store, seq)?.because(format!("{seq} is the newest that went wrong")));
    }
    let tunnel = of_host.iter().find(|summary| {
        summary.kind == ExchangeKind::Tunnel && !matches!(summary.state, ExchangeState::Failed(_))
    });
    if let Some(tunnel) = tunnel {
        causes.push(exchange(store, tunnel.seq)?.because(format!("{} is such a tunnel", tunnel.seq)));
    }
    let offered = seen::offers_http3(store, &of_host)?;
    if let Some((seq, offer)) = offered {
        causes.push(http3(Certainty::Likely).because(format!("{seq} answered alt-svc: {offer}")));
    }
    if of_host.is_empty() {
        causes.extend(nothing_of(store, sessions, host)?);
    } else if !of_host.iter().any(|summary| wanted(&summary) && summary.kind != ExchangeKind::Tunnel) {
        causes.push(not_requested(&of_host, url_contains));
    }
    causes.sort_by_key(|told| told.certainty);
    let seen = of_host.iter().map(|summary| summary.seq).collect();
    Ok(Missing { failed, seen, causes })
}

/// The host is known, but not this request.
fn not_requested(of_host: &[ExchangeSummary], url_contains: Option<&str>) -> Explanation {
    let summary = match url_contains {
        Some(part) => format!("the host was asked, but for no URL that contains {part:?}"),
        None => "the host was reached, but asked for nothing".to_owned(),
    };
    let mut told = Explanation::new(Cause::NotRequested, Certainty::Likely, summary);
    let asked = of_host.iter().filter(|summary| summary.kind != ExchangeKind::Tunnel).take(5);
    told.evidence.extend(asked.map(|summary| {
        let url: String = summary.url.chars().take(120).collect();
        format!("{} {} {url}", summary.seq, summary.method)
    }));
    told.fix("compare with the URLs that were asked for; the client may have it cached")
}

/// Nothing of the host is recorded.
fn nothing_of(store: &Store, sessions: &[SessionId], host: &str) -> Result<Vec<Explanation>, Error> {
    let anything = seen::newest(store, sessions, Condition::All(Vec::new()), 1)?;
    let Some(newest) = anything.first() else {
        let summary = "nothing at all is recorded: the client is not led to the proxy";
        return Ok(vec![
            Explanation::new(Cause::NotProxied, Certainty::Likely, summary)
                .fix("set HTTP_PROXY and HTTPS_PROXY to the proxy's URL, or the client's own proxy setting")
                .fix("run the command with run_with_proxy (`wirescope exec`), which sets it up")
                .fix("a client that ignores proxies needs a transparent or reverse listener, or SOCKS"),
        ]);
    };
    let others = format!("{} is the newest of what is recorded of other hosts", newest.seq);
    let local = ["localhost", "127.0.0.1", "::1", "[::1]"].contains(&host) || host.ends_with(".local");
    let sure = if local { Certainty::Likely } else { Certainty::Possible };
    let no_proxy = Explanation::new(
        Cause::NoProxy,
        sure,
        format!("the client uses the proxy, but not for {host}: an exemption (NO_PROXY, a bypass list) may name it"),
    )
    .because(others.clone())
    .fix("empty NO_PROXY and no_proxy; browsers need `<-loopback>` in their bypass list to proxy localhost");
    let not_proxied = Explanation::new(
        Cause::NotProxied,
        Certainty::Possible,
        "the part of the client that asks this host does not honour the proxy setting",
    )
    .because(others)
    .fix("run that program with run_with_proxy, or give its HTTP library the proxy itself");
    Ok(vec![no_proxy, http3(Certainty::Possible), not_proxied])
}

fn http3(certainty: Certainty) -> Explanation {
    let summary = "the client may speak HTTP/3 (QUIC over UDP) with the host, which no HTTP proxy sees";
    Explanation::new(Cause::Http3Bypass, certainty, summary)
        .fix("turn QUIC off in the client (Chromium: --disable-quic; Firefox: network.http.http3.enable)")
        .fix("or add a rule that takes alt-svc off responses, and clear what the client remembers")
}
