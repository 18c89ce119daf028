//! One exchange with its heads, its connection, its times and the beginning of its bodies.

use anyhow::Result;
use capture_store::{BodySide, Exchange, ExchangeKind, ExchangeState, Peer, Recorded, Seq, Store};
use proxy_core::{Headers, ListenerKind, RequestHead, ResponseHead, ResponseSource};
use serde_json::{Value, json};
use traffic_analysis::explain as analysis;

use super::body::{self, Preview};
use crate::{commands::explain, json, output::Out, text};

/// Bytes of a body shown at its beginning.
const PREVIEW_BYTES: usize = 4 * 1024;

/// Prints an exchange.
pub(super) fn print(store: &Store, seq: Seq, as_json: bool) -> Result<()> {
    let exchange = store.exchange(seq)?;
    let mut out = Out::new();
    if as_json {
        out.line(json::line(&object(&exchange)))?;
        return out.flush();
    }
    out.line(title(&exchange))?;
    out.line(connections(&exchange))?;
    for line in about_peers(&exchange) {
        out.line(line)?;
    }
    out.line(times(&exchange))?;
    if matches!(exchange.summary.state, ExchangeState::Failed(_)) {
        let told = analysis::exchange(store, seq)?;
        out.line(format_args!("why: {}", text::harmless(&told.summary)))?;
        for line in explain::details(&told) {
            out.line(line)?;
        }
    }
    out.line("")?;
    for line in request_head(&exchange.request) {
        out.line(line)?;
    }
    bodies(store, &exchange, BodySide::Request, &mut out)?;
    fields(&exchange.request_trailers, &mut out)?;
    for interim in &exchange.informational {
        out.line("")?;
        response_head(interim, None, &mut out)?;
    }
    if let Some(response) = &exchange.response {
        out.line("")?;
        response_head(response, exchange.response_source, &mut out)?;
        bodies(store, &exchange, BodySide::Response, &mut out)?;
        fields(&exchange.response_trailers, &mut out)?;
    }
    if exchange.summary.messages > 0 {
        let messages = text::count(exchange.summary.messages, "message");
        out.line(format_args!("\n[{messages}; `wirescope show {seq} --messages` prints them]"))?;
    }
    out.flush()
}

fn title(exchange: &Exchange) -> String {
    let summary = &exchange.summary;
    let state = match &summary.state {
        ExchangeState::Failed(failure) => {
            format!("failed ({} at fault): {}", failure.side().as_str(), text::one_line(&failure.to_string()))
        }
        ExchangeState::Open => "still open".to_owned(),
        ExchangeState::Mock => "answered by the proxy".to_owned(),
        _ => "done".to_owned(),
    };
    let taken = summary.duration.map(|taken| format!(" in {}", text::duration(taken))).unwrap_or_default();
    let tunnel = match summary.kind {
        ExchangeKind::Tunnel | ExchangeKind::Upgrade => {
            let (up, down) = exchange.tunnel_bytes;
            format!(", {} up and {} down undecoded", text::size(up), text::size(down))
        }
        _ => String::new(),
    };
    format!(
        "{} in session {}: {} {}, {state}{taken}{tunnel}",
        summary.seq,
        summary.session,
        text::harmless(&summary.method),
        text::harmless(&summary.url),
    )
}

fn connections(exchange: &Exchange) -> String {
    let side = |peer: &Option<Peer>| {
        let Some(peer) = peer else { return "none".to_owned() };
        let nowhere = if peer.listener == Some(ListenerKind::Own) { "the proxy itself" } else { "unknown" };
        let address = peer.address.map_or_else(|| nowhere.to_owned(), |address| address.to_string());
        let tls = peer.tls.as_ref().map(|tls| {
            let alpn = tls.alpn.as_deref().map(|alpn| format!(" {alpn}")).unwrap_or_default();
            // Neither was agreed where the handshake failed, or was not ours.
            let agreed = [tls.version.as_str(), tls.cipher.as_str()].join(" ");
            let agreed = if agreed == " " { "TLS" } else { &agreed };
            text::harmless(&format!(" ({agreed}{alpn})")).into_owned()
        });
        format!("{address}{}", tls.unwrap_or_default())
    };
    format!("client {} · upstream {}", side(&exchange.client), side(&exchange.upstream))
}

/// What is known of the peers beside their addresses: users, parents, fingerprints; and which rules applied.
fn about_peers(exchange: &Exchange) -> Vec<String> {
    let mut lines = Vec::new();
    let sides = [("client", &exchange.client), ("upstream", &exchange.upstream)];
    for (side, peer) in sides.into_iter().filter_map(|(side, peer)| Some((side, peer.as_ref()?))) {
        let mut parts = Vec::new();
        parts.extend(
            peer.listener
                .filter(|kind| !matches!(kind, ListenerKind::Explicit | ListenerKind::Own))
                .map(|kind| format!("by the {} listener", json::listener(kind))),
        );
        parts.extend(peer.origin.as_ref().map(|origin| format!("replaying {origin}")));
        parts.extend(peer.process.as_ref().map(|it| format!("process {} ({})", it.name, it.pid)));
        parts.extend(peer.user.as_ref().map(|user| format!("user {user}")));
        parts.extend(peer.parent.as_ref().map(|parent| format!("through {parent}")));
        if let Some(tls) = &peer.tls {
            parts.extend(tls.sni.as_ref().map(|sni| format!("asked for {sni}")));
            if tls.encrypted_client_hello {
                parts.push("with an encrypted hello".to_owned());
            }
            let [ja3, ja4] = if side == "client" { ["ja3", "ja4"] } else { ["ja3s", "ja4s"] };
            parts
                .extend(tls.fingerprint.as_ref().map(|it| format!("{ja4} {} {ja3} {}", it.ja4, it.ja3_hash)));
        }
        parts.extend(peer.http2_fingerprint.as_ref().map(|fingerprint| format!("http2 {fingerprint}")));
        if !parts.is_empty() {
            lines.push(text::harmless(&format!("{side} {}", parts.join(" · "))).into_owned());
        }
    }
    lines.extend(
        exchange.rules.iter().map(|hit| {
            text::harmless(&format!("rule {}: {}", hit.rule, hit.changes.join("; "))).into_owned()
        }),
    );
    lines
}

fn times(exchange: &Exchange) -> String {
    let timings = &exchange.timings;
    let mut parts = vec![format!("began {}", text::timestamp(exchange.summary.started_at))];
    for (name, time) in [
        ("blocked", timings.blocked),
        ("dns", timings.dns),
        ("connect", timings.connect),
        ("of it tls", timings.ssl),
        ("send", Some(timings.send)),
        ("wait", Some(timings.wait)),
        ("receive", Some(timings.receive)),
    ] {
        parts.extend(time.map(|time| format!("{name} {}", text::duration(time))));
    }
    parts.join(" · ")
}

fn request_head(head: &RequestHead) -> Vec<String> {
    let mut lines = vec![format!(
        "{} {} {:?}",
        text::harmless(head.method.as_str()),
        text::harmless(&head.target),
        head.version
    )];
    lines.extend(head.headers.iter().map(field));
    lines
}

fn response_head(head: &ResponseHead, source: Option<ResponseSource>, out: &mut Out) -> Result<()> {
    let reason = head.reason.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
    let made = match source {
        Some(ResponseSource::Proxy) => "   [made by wirescope]",
        Some(ResponseSource::Mock) => "   [mocked]",
        _ => "",
    };
    out.line(
        format!("{:?} {} {}{made}", head.version, head.status.as_u16(), text::harmless(&reason)).trim_end(),
    )?;
    fields(&head.headers, out)
}

fn fields(headers: &Headers, out: &mut Out) -> Result<()> {
    headers.iter().try_for_each(|header| out.line(field(header)))
}

fn field(header: &proxy_core::Header) -> String {
    format!("{}: {}", text::harmless(&header.name_text()), text::harmless(&header.value_text()))
}

/// What there is of a body, and its beginning where it is text.
fn bodies(store: &Store, exchange: &Exchange, side: BodySide, out: &mut Out) -> Result<()> {
    let seq = exchange.summary.seq;
    let Some(body) = store.body(seq, side)? else { return Ok(()) };
    let recorded = body.recorded();
    if recorded.wire_bytes == 0 {
        return Ok(());
    }
    let whole = format!("`wirescope show {seq} --body {}`", body::name(side));
    let state = state(&recorded);
    out.line("")?;
    match Preview::of(body, PREVIEW_BYTES) {
        Preview::Text(text, cut) => {
            out.line(text.trim_end_matches('\n'))?;
            if cut || !recorded.complete {
                out.line(format_args!("[{state}; {whole} prints all of it]"))?;
            }
        }
        Preview::Binary => out.line(format_args!("[{state}, not text; {whole} > FILE saves it]"))?,
        Preview::Undecodable(why) => out.line(format_args!(
            "[{state}, its content coding cannot be taken off: {why}; {whole} --raw > FILE saves it]"
        ))?,
    }
    Ok(())
}

fn state(recorded: &Recorded) -> String {
    let size = text::size(recorded.wire_bytes);
    if recorded.stored_bytes < recorded.wire_bytes && !recorded.identity {
        return format!("{size}, of which {} were recorded", text::size(recorded.stored_bytes));
    }
    if recorded.complete { size } else { format!("{size}, broken off") }
}

fn object(exchange: &Exchange) -> Value {
    let mut value = json::exchange(&exchange.summary);
    let timings = &exchange.timings;
    let more = json!({
        "requestHeaders": json::headers(&exchange.request.headers),
        "requestTrailers": json::headers(&exchange.request_trailers),
        "requestBody": recorded(&exchange.request_body),
        "informational": exchange.informational.iter().map(|head| json!({
            "status": head.status.as_u16(), "headers": json::headers(&head.headers),
        })).collect::<Vec<_>>(),
        "responseHeaders": exchange.response.as_ref().map(|head| json::headers(&head.headers)),
        "responseTrailers": json::headers(&exchange.response_trailers),
        "responseBody": recorded(&exchange.response_body),
        "responseSource": exchange.response_source.map(|source| match source {
            ResponseSource::Upstream => "upstream",
            ResponseSource::Mock => "mock",
            ResponseSource::Proxy => "proxy",
            _ => "other",
        }),
        "client": exchange.client.as_ref().map(peer),
        "upstream": exchange.upstream.as_ref().map(peer),
        "tunnel": exchange.tunnel,
        "tunnelBytes": [exchange.tunnel_bytes.0, exchange.tunnel_bytes.1],
        "timings": {
            "blockedMs": timings.blocked.map(json::duration),
            "dnsMs": timings.dns.map(json::duration),
            "connectMs": timings.connect.map(json::duration),
            "tlsMs": timings.ssl.map(json::duration),
            "sendMs": json::duration(timings.send),
            "waitMs": json::duration(timings.wait),
            "receiveMs": json::duration(timings.receive),
        },
        "comment": exchange.comment,
        "rules": exchange.rules.iter().map(|hit| json!({
            "rule": hit.rule, "changes": hit.changes,
        })).collect::<Vec<_>>(),
    });
    if let (Some(object), Value::Object(more)) = (value.as_object_mut(), more) {
        object.extend(more);
    }
    value
}

fn recorded(recorded: &Recorded) -> Value {
    json!({
        "wireBytes": recorded.wire_bytes,
        "storedBytes": recorded.stored_bytes,
        "complete": recorded.complete,
    })
}

fn peer(peer: &Peer) -> Value {
    json!({
        "connection": peer.connection,
        "address": peer.address.map(|address| address.to_string()),
        "tls": peer.tls.as_ref().map(|tls| json!({
            "version": tls.version,
            "cipher": tls.cipher,
            "alpn": tls.alpn,
            "sni": tls.sni,
            "offeredAlpn": tls.offered_alpn,
            "encryptedClientHello": tls.encrypted_client_hello,
            "ja3": tls.fingerprint.as_ref().map(|it| &it.ja3),
            "ja3Hash": tls.fingerprint.as_ref().map(|it| &it.ja3_hash),
            "ja4": tls.fingerprint.as_ref().map(|it| &it.ja4),
            "certificates": tls.certificates.len(),
        })),
        "listener": peer.listener.map(json::listener),
        "process": peer.process.as_ref().map(|it| json!({"pid": it.pid, "name": it.name})),
        "user": peer.user,
        "http2Fingerprint": peer.http2_fingerprint,
        "parent": peer.parent,
        "replayOf": peer.origin,
    })
}
