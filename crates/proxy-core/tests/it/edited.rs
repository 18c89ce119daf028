//! What interceptors make of heads: whatever they do, messages end where both sides see them end.

use bytes::Bytes;
use http::StatusCode;
use proxy_core::{ExchangeId, FailureKind, Interceptor, Outcome, RequestHead, ResponseHead, Verdict};
use testkit::{RawOrigin, Step};

use crate::lab::Lab;

type Decision<'a> = std::pin::Pin<Box<dyn Future<Output = Verdict> + Send + 'a>>;

/// Interceptors made of functions.
pub(crate) struct Edits {
    pub(crate) request: fn(&mut RequestHead) -> Verdict,
    pub(crate) response: fn(&RequestHead, &mut ResponseHead) -> Verdict,
}

impl Edits {
    pub(crate) fn requests(request: fn(&mut RequestHead) -> Verdict) -> Self {
        Self { request, response: |_, _| Verdict::Continue }
    }

    pub(crate) fn responses(response: fn(&RequestHead, &mut ResponseHead) -> Verdict) -> Self {
        Self { request: |_| Verdict::Continue, response }
    }
}

impl Interceptor for Edits {
    fn request<'a>(&'a self, _: ExchangeId, head: &'a mut RequestHead) -> Decision<'a> {
        Box::pin(async move { (self.request)(head) })
    }

    fn response<'a>(
        &'a self,
        _: ExchangeId,
        request: &'a RequestHead,
        head: &'a mut ResponseHead,
    ) -> Decision<'a> {
        Box::pin(async move { (self.response)(request, head) })
    }
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n")
}

/// Gives the client's view of two requests on one connection whose first response was edited.
async fn two_answers(edit: fn(&RequestHead, &mut ResponseHead) -> Verdict, first: &str) -> (Lab, String) {
    let lab = Lab::with(|builder| builder.interceptor(Edits::responses(edit))).await;
    let last = "HTTP/1.1 200 OK\r\nX-Last: 1\r\nContent-Length: 0\r\n\r\n";
    let script = vec![Step::ReadHead, Step::send(first), Step::ReadHead, Step::send(last), Step::ReadToEnd];
    let again = vec![Step::ReadHead, Step::send(last), Step::ReadToEnd];
    let origin = RawOrigin::https(&lab.origin_ca, &["http/1.1"], vec![script, again]).await.unwrap();
    let mut client = lab.client(&["http/1.1"]).raw_tls(&origin.authority()).await.unwrap();
    client.send(get("/first")).await.unwrap();
    client.send(get("/last")).await.unwrap();
    let all = client.read_until(b"X-Last: 1\r\n").await.unwrap();
    (lab, String::from_utf8(all.to_vec()).unwrap())
}

#[tokio::test]
async fn edited_framing_fields_do_not_move_where_a_response_ends() {
    fn drop_framing(_: &RequestHead, head: &mut ResponseHead) -> Verdict {
        head.headers.remove("content-length");
        head.headers.remove("transfer-encoding");
        Verdict::Continue
    }
    fn lie(request: &RequestHead, head: &mut ResponseHead) -> Verdict {
        if request.target == "/first" {
            head.headers.set("content-length", "1");
            head.headers.remove("transfer-encoding");
        }
        Verdict::Continue
    }
    for first in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ] {
        for edit in [drop_framing as fn(&RequestHead, &mut ResponseHead) -> Verdict, lie] {
            let (lab, all) = two_answers(edit, first).await;
            assert_eq!(all.matches("HTTP/1.1 200 OK").count(), 2, "{all}");
            assert!(all.contains("hello"), "{all}");
            let told = lab.log.ended(2).await;
            assert_eq!(told[0].response_body, "hello");
            assert!(told.iter().all(|told| told.outcome() == &Outcome::Response));
        }
    }
}

#[tokio::test]
async fn a_status_edited_to_one_without_content_drops_the_body() {
    for status in [204, 304] {
        fn edit<const STATUS: u16>(request: &RequestHead, head: &mut ResponseHead) -> Verdict {
            if request.target == "/first" {
                head.status = StatusCode::from_u16(STATUS).unwrap();
            }
            Verdict::Continue
        }
        let edit = if status == 204 { edit::<204> } else { edit::<304> };
        let (lab, all) = two_answers(edit, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").await;
        assert!(all.starts_with(&format!("HTTP/1.1 {status} ")), "{all}");
        assert!(!all.contains("hello"), "{all}");
        assert_eq!(lab.log.ended(2).await[1].outcome(), &Outcome::Response);
    }
}

#[tokio::test]
async fn a_status_edited_to_one_with_content_gets_a_length() {
    fn edit(request: &RequestHead, head: &mut ResponseHead) -> Verdict {
        if request.target == "/first" {
            head.status = StatusCode::OK;
        }
        Verdict::Continue
    }
    let (_lab, all) = two_answers(edit, "HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\n\r\n").await;
    assert!(all.starts_with("HTTP/1.1 200 Not Modified\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200"), "{all}");
}

#[tokio::test]
async fn a_length_added_to_a_request_without_body_does_not_reach_upstream() {
    let edits = Edits::requests(|head| {
        head.headers.set("Content-Length", "5");
        head.headers.set("Transfer-Encoding", "chunked");
        Verdict::Continue
    });
    let lab = Lab::with(|builder| builder.interceptor(edits)).await;
    let script = vec![Step::ReadHead, Step::send("HTTP/1.1 204 No Content\r\n\r\n"), Step::ReadToEnd];
    let origin = RawOrigin::https(&lab.origin_ca, &["http/1.1"], vec![script]).await.unwrap();
    let mut client = lab.client(&["http/1.1"]).raw_tls(&origin.authority()).await.unwrap();
    client.send(get("/")).await.unwrap();
    client.read_head().await.unwrap();
    assert_eq!(String::from_utf8(origin.received(0)).unwrap(), get("/"));
}

#[tokio::test]
async fn mocks_without_content_send_none() {
    let edits = Edits::requests(|head| {
        let status = head.target[1..].parse().unwrap();
        let head = ResponseHead::new(StatusCode::from_u16(status).unwrap());
        Verdict::Respond { head, body: Bytes::from_static(b"none of this") }
    });
    let lab = Lab::with(|builder| builder.interceptor(edits)).await;
    let mut client = lab.client(&[]).raw().await.unwrap();
    for (status, head) in [
        (204, "HTTP/1.1 204 No Content\r\n\r\n"),
        (304, "HTTP/1.1 304 Not Modified\r\n\r\n"),
        (205, "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n"),
        (200, "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n"),
    ] {
        client.send(format!("GET http://a/{status} HTTP/1.1\r\nHost: a\r\n\r\n")).await.unwrap();
        assert_eq!(client.read_head().await.unwrap(), head);
    }
    assert_eq!(client.read(12).await.unwrap(), "none of this");
    client.send("GET http://a/101 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert!(client.read_head().await.unwrap().starts_with("HTTP/1.1 502"));
    let told = lab.log.ended(5).await;
    assert_eq!(told[1].outcome(), &Outcome::Mock);
    assert_eq!(told[4].failure(), FailureKind::Aborted);
}

#[tokio::test]
async fn a_response_can_be_replaced_and_the_origins_is_discarded() {
    let edits = Edits::responses(|request, _| match request.target.as_str() {
        "/first" => Verdict::Respond { head: ResponseHead::new(StatusCode::GONE), body: "no".into() },
        _ => Verdict::Continue,
    });
    for alpn in [&["http/1.1"][..], &["h2"]] {
        let edits = Edits { ..Edits::responses(edits.response) };
        let lab = Lab::with(|builder| builder.interceptor(edits)).await;
        let origin = testkit::Origin::https(&lab.origin_ca).await.unwrap();
        let mut client = lab.client(alpn).https(&origin.authority()).await.unwrap();
        let answer = client.get("/first").await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (410, "no"));
        let told = lab.log.one().await;
        assert_eq!((told.outcome(), told.status()), (&Outcome::Mock, Some(410)));
    }
}

#[tokio::test]
async fn an_interceptor_that_panics_ends_its_exchange_only() {
    let edits = Edits {
        request: |head| if head.target == "/first" { panic!("by the test") } else { Verdict::Continue },
        response: |request, _| {
            if request.target == "/json" { panic!("by the test") } else { Verdict::Continue }
        },
    };
    for alpn in [&["http/1.1"][..], &["h2"]] {
        let edits = Edits { ..edits };
        let lab = Lab::with(|builder| builder.interceptor(edits)).await;
        let origin = testkit::Origin::https(&lab.origin_ca).await.unwrap();
        let mut client = lab.client(alpn).https(&origin.authority()).await.unwrap();
        assert_eq!(client.get("/first").await.unwrap().status, 502);
        let mut client = lab.client(alpn).https(&origin.authority()).await.unwrap();
        assert_eq!(client.get("/json").await.unwrap().status, 502);
        let mut client = lab.client(alpn).https(&origin.authority()).await.unwrap();
        assert_eq!(client.get("/").await.unwrap().status, 200);
        let told = lab.log.ended(3).await;
        assert_eq!((told[0].failure(), told[1].failure()), (FailureKind::Aborted, FailureKind::Aborted));
    }
}

#[tokio::test]
async fn a_request_can_be_sent_elsewhere_out_of_its_tunnel() {
    static ELSEWHERE: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    let edits = Edits::requests(|head| {
        if head.target == "/json" {
            head.authority = ELSEWHERE.get().unwrap().clone();
        }
        Verdict::Continue
    });
    let request = edits.request;
    let ca = testkit::TestCa::new().unwrap();
    let elsewhere = testkit::Origin::https(&ca).await.unwrap();
    ELSEWHERE.set(elsewhere.authority()).unwrap();
    for (round, alpn) in [&["http/1.1"][..], &["h2"]].into_iter().enumerate() {
        let edits = Edits::requests(request);
        let trust = proxy_core::UpstreamTrust::nobody().with_ca(ca.pem().as_bytes()).unwrap();
        let lab = Lab::with(|builder| builder.interceptor(edits).upstream_trust(trust)).await;
        let origin = testkit::Origin::https(&ca).await.unwrap();
        let mut client = lab.client(alpn).https(&origin.authority()).await.unwrap();
        for path in ["/json", "/", "/json"] {
            assert_eq!(client.get(path).await.unwrap().status, 200, "{alpn:?} {path}");
        }
        assert_eq!((elsewhere.seen().len(), origin.seen().len()), (2 * (round + 1), 1), "{alpn:?}");
        let seen = &elsewhere.seen()[2 * round];
        let host = seen.headers.get("host").map(|host| host.to_str().unwrap().to_owned());
        let authority = seen.uri.authority().map(|authority| authority.to_string());
        assert_eq!(authority.or(host), Some(elsewhere.authority()), "{alpn:?}");
        // The record has what the client asked for.
        assert_eq!(lab.log.ended(3).await[0].url(), format!("https://{}/json", origin.authority()));
    }
}
