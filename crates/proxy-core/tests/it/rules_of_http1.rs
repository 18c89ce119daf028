//! What RFC 9110 and RFC 9112 ask of a proxy, octet for octet.

use proxy_core::{FailureKind, Outcome};
use testkit::{H2Origin, RawClient, RawOrigin, Step};

use crate::lab::{Lab, lines};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// A client in a tunnel in TLS to an origin that follows this script for every connection.
async fn in_tunnel(lab: &Lab, script: Vec<Step>) -> (RawClient, RawOrigin) {
    let origin = RawOrigin::https(&lab.origin_ca, &["http/1.1"], vec![script]).await.unwrap();
    let client = lab.client(&["http/1.1"]).raw_tls(&origin.authority()).await.unwrap();
    (client, origin)
}

fn received(origin: &RawOrigin, connection: usize) -> String {
    String::from_utf8(origin.received(connection)).unwrap()
}

/// RFC 9112 section 7.1.1: they are for one hop, and may be ignored.
#[tokio::test]
async fn chunk_extensions_are_for_one_hop() {
    let lab = Lab::new().await;
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let script = vec![
        Step::read_until("0\r\n\r\n"),
        Step::send(format!("{head}2;a=\"b\"\r\nok\r\n0;c\r\nT: 1\r\n\r\n")),
        Step::ReadToEnd,
    ];
    let (mut client, origin) = in_tunnel(&lab, script).await;
    let request = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.send(format!("{request}5;x=y;z=\"q;\"\r\nhello\r\n0;last\r\n\r\n")).await.unwrap();
    let answer = client.read_until(b"T: 1\r\n\r\n").await.unwrap();
    assert_eq!(answer, format!("{head}2\r\nok\r\n0\r\nT: 1\r\n\r\n"));
    assert_eq!(received(&origin, 0), format!("{request}5\r\nhello\r\n0\r\n\r\n"));
    let told = lab.log.one().await;
    assert_eq!((&told.request_body[..], &told.response_body[..]), (&b"hello"[..], &b"ok"[..]));
}

/// RFC 9112 sections 2.2, 5.1 and 5.2: what a proxy puts right in a response before it passes it on.
#[tokio::test]
async fn blemishes_of_a_response_are_put_right_on_their_way() {
    let lab = Lab::new().await;
    let odd = "HTTP/1.1 200 OK\nX-Long: one\r\n  two\r\n\tthree\r\nX-Spaced : a\r\nContent-Length: 2\n\nok";
    let (mut client, _origin) = in_tunnel(&lab, vec![Step::ReadHead, Step::send(odd), Step::ReadToEnd]).await;
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert_eq!(
        client.read_head().await.unwrap(),
        "HTTP/1.1 200 OK\r\nX-Long: one two three\r\nX-Spaced: a\r\nContent-Length: 2\r\n\r\n"
    );
    assert_eq!(client.read(2).await.unwrap(), "ok");
}

/// RFC 9112 section 5.2: a folded request is refused, in a tunnel as well.
#[tokio::test]
async fn a_folded_request_is_refused_and_recorded() {
    let lab = Lab::new().await;
    let (mut client, origin) = in_tunnel(&lab, vec![Step::ReadToEnd]).await;
    client.send("GET / HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n").await.unwrap();
    assert!(client.read_head().await.unwrap().starts_with("HTTP/1.1 400"));
    assert_eq!(lab.log.one().await.failure(), FailureKind::ClientMalformed);
    assert_eq!(received(&origin, 0), "");
}

/// RFC 9110 section 7.6.1, and no `Via` that nobody asked for (section 7.6.3 leaves it to who is no proxy for others).
#[tokio::test]
async fn what_connection_names_stays_behind_and_nothing_else() {
    let lab = Lab::new().await;
    let response = "HTTP/1.1 200 OK\r\nX-End: 1\r\nX-Hop: 2\r\nConnection: x-hop, keep-alive\r\nKeep-Alive: timeout=5\r\n\
                    Proxy-Authenticate: Basic\r\nUpgrade: h2\r\nContent-Length: 0\r\n\r\n";
    let (mut client, origin) =
        in_tunnel(&lab, vec![Step::ReadHead, Step::send(response), Step::ReadToEnd]).await;
    let request = "GET / HTTP/1.1\r\nHost: x\r\nX-End: 1\r\nX-Hop: 2\r\nConnection: X-HOP, Host, Cookie\r\nCookie: a=b\r\n\
                   Proxy-Connection: keep-alive\r\nKeep-Alive: 5\r\nTE: trailers, deflate\r\nx-end: 2\r\n\r\n";
    client.send(request).await.unwrap();
    let head = client.read_head().await.unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\nX-End: 1\r\n"), "{head}");
    for gone in ["X-Hop", "Keep-Alive: ", "Upgrade"] {
        assert!(!head.contains(gone), "{gone}: {head}");
    }
    let received = received(&origin, 0);
    for kept in ["Host: x\r\n", "X-End: 1\r\n", "Cookie: a=b\r\n", "x-end: 2\r\n"] {
        assert!(received.contains(kept), "{kept}: {received}");
    }
    for gone in ["X-Hop", "Proxy-Connection", "Keep-Alive", "deflate", "Via"] {
        assert!(!received.contains(gone), "{gone}: {received}");
    }
    // The record has them all the same: it is what was on the wire.
    let recorded = lines(&lab.log.one().await.request.unwrap().headers);
    assert!(recorded.contains(&"X-Hop: 2".to_owned()), "{recorded:?}");
}

#[tokio::test]
async fn targets_of_every_form_inside_a_tunnel_are_served_or_refused() {
    let lab = Lab::new().await;
    for (line, expected) in [
        ("GET /a HTTP/1.1", Some("GET /a HTTP/1.1")),
        ("OPTIONS * HTTP/1.1", Some("OPTIONS * HTTP/1.1")),
        ("GET https://{host}/b HTTP/1.1", Some("GET /b HTTP/1.1")),
        ("GET relative HTTP/1.1", None),
        ("GET ../up HTTP/1.1", None),
        ("GET ?query HTTP/1.1", None),
        ("GET * HTTP/1.1", None),
        ("GET mailto:a@b HTTP/1.1", None),
    ] {
        let before = lab.log.all().len();
        let (mut client, origin) =
            in_tunnel(&lab, vec![Step::ReadHead, Step::send(OK), Step::ReadToEnd]).await;
        let host = origin.authority();
        let line = line.replace("{host}", &host);
        client.send(format!("{line}\r\nHost: {host}\r\n\r\n")).await.unwrap();
        let head = client.read_head().await.unwrap();
        let told = lab.log.ended(before + 1).await.remove(before);
        match expected {
            Some(expected) => {
                assert_eq!(head, OK, "{line}");
                assert_eq!(received(&origin, 0), format!("{expected}\r\nHost: {host}\r\n\r\n"));
            }
            None => {
                assert!(head.starts_with("HTTP/1.1 400"), "{line}: {head}");
                assert_eq!(told.failure(), FailureKind::ClientMalformed, "{line}");
            }
        }
    }
}

#[tokio::test]
async fn an_http10_origin_is_understood() {
    let lab = Lab::new().await;
    let script =
        vec![Step::ReadHead, Step::send("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"), Step::ReadToEnd];
    let origin = RawOrigin::plain(vec![script]).await.unwrap();
    let host = origin.authority();
    let mut client = lab.client(&[]).raw().await.unwrap();
    for _ in 0..2 {
        client.send(format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n")).await.unwrap();
        // The client's own connection goes on, whatever becomes of that to upstream.
        assert_eq!(client.read_head().await.unwrap(), "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
        assert_eq!(client.read(2).await.unwrap(), "ok");
    }
    assert_eq!(origin.connections(), 2, "an HTTP/1.0 origin that does not say so keeps no connection");
}

#[tokio::test]
async fn an_origin_that_ends_its_half_after_a_response_is_not_asked_again() {
    let lab = Lab::new().await;
    let script = vec![Step::ReadHead, Step::send(OK), Step::HalfClose, Step::ReadToEnd];
    let (mut client, origin) = in_tunnel(&lab, script).await;
    for _ in 0..3 {
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        assert_eq!(client.read_head().await.unwrap(), OK);
    }
    let told = lab.log.ended(3).await;
    assert!(told.iter().all(|told| told.outcome() == &Outcome::Response));
    assert_eq!(origin.connections(), 3);
}

/// One that is no framing to the message ended a rival's process.
#[tokio::test]
async fn a_transfer_encoding_trailer_breaks_its_message_and_nothing_else() {
    let lab = Lab::new().await;
    let bad = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (mut client, _origin) = in_tunnel(&lab, vec![Step::ReadHead, Step::send(bad), Step::ReadToEnd]).await;
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let all = client.read_to_end().await.unwrap_or_default();
    assert!(!all.ends_with(b"0\r\n\r\n"), "the client sees that it is not whole: {all:?}");
    assert_eq!(lab.log.one().await.failure(), FailureKind::UpstreamMalformed);
    let (mut client, _origin) = in_tunnel(&lab, vec![Step::ReadHead, Step::send(OK), Step::ReadToEnd]).await;
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert_eq!(client.read_head().await.unwrap(), OK);
}

#[tokio::test]
async fn trailers_over_the_limit_are_answered_431_and_recorded() {
    let mut limits = proxy_core::Limits::default();
    limits.max_head_bytes = 4 * 1024;
    let lab = Lab::with(|builder| builder.limits(limits)).await;
    let (mut client, _origin) = in_tunnel(&lab, vec![Step::ReadToEnd]).await;
    let head = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.send(format!("{head}0\r\nX: {}\r\n\r\n", "x".repeat(5_000))).await.unwrap();
    assert!(client.read_head().await.unwrap().starts_with("HTTP/1.1 431"));
    assert_eq!(lab.log.one().await.failure(), FailureKind::Limit);
}

/// A length that disagrees with what comes is told to the client as what it is, in this version too.
#[tokio::test]
async fn a_wrong_length_over_http2_does_not_pass_for_a_whole_body() {
    let lab = Lab::new().await;
    let origin = H2Origin::start(&lab.origin_ca, |request, mut respond| async move {
        let length = if request.uri().path() == "/short" { "10" } else { "2" };
        let head = http::Response::builder().header("content-length", length).body(()).unwrap();
        let Ok(mut stream) = respond.send_response(head, false) else { return };
        let _ = stream.send_data("half".into(), true);
    })
    .await
    .unwrap();
    for path in ["/short", "/long"] {
        let mut client = lab.client(&["h2"]).https(&origin.authority()).await.unwrap();
        assert!(client.get(path).await.is_err(), "{path}");
    }
    let told = lab.log.ended(2).await;
    for told in told {
        assert!(matches!(told.outcome(), Outcome::Failed(_)), "{told:?}");
    }
}

/// RFC 9110 section 8.6 and RFC 9112 section 6.1: neither has a body, so neither says where it ends.
#[tokio::test]
async fn framing_fields_of_interim_and_empty_responses_stay_behind() {
    let lab = Lab::new().await;
    let odd = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 5\r\n\r\n\
               HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\nContent-Length: 7\r\nX: y\r\n\r\n";
    // Both framing fields at once would be refused; in what has no body they are nobody's.
    let script = vec![Step::ReadHead, Step::send(odd), Step::ReadHead, Step::send(OK), Step::ReadToEnd];
    let (mut client, origin) = in_tunnel(&lab, script).await;
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert_eq!(client.read_head().await.unwrap(), "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
    assert_eq!(client.read_head().await.unwrap(), "HTTP/1.1 204 No Content\r\nX: y\r\n\r\n");
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert_eq!(client.read_head().await.unwrap(), OK);
    assert_eq!(origin.connections(), 1);
}
