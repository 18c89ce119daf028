//! Scripted origins and exact clients, against each other.

use bytes::Bytes;
use testkit::{H2Origin, HttpClient, RawClient, RawOrigin, Step, TestCa};

#[tokio::test]
async fn script_is_followed_and_its_transcript_kept() {
    let script = vec![
        Step::send("220 speaks first\r\n"),
        Step::ReadHead,
        Step::Wait,
        Step::send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab"),
    ];
    let origin = RawOrigin::plain(vec![script]).await.unwrap();
    let mut client = RawClient::connect(origin.addr()).await.unwrap();
    assert_eq!(client.read_until(b"\r\n").await.unwrap(), "220 speaks first\r\n");
    client.send("GET / HTTP/1.1\r\nX-Case: Kept\r\n\r\n").await.unwrap();
    origin.release();
    assert_eq!(client.read_head().await.unwrap(), "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n");
    assert_eq!(client.read_to_end().await.unwrap(), "ab");
    origin.finished(1).await.unwrap();
    assert_eq!(origin.received(0), b"GET / HTTP/1.1\r\nX-Case: Kept\r\n\r\n");
    assert_eq!(origin.failure(0), None);
}

#[tokio::test]
async fn reset_reaches_the_peer_as_a_reset() {
    let origin = RawOrigin::plain(vec![vec![Step::ReadHead, Step::Reset]]).await.unwrap();
    let mut client = RawClient::connect(origin.addr()).await.unwrap();
    client.send("GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(client.read_to_end().await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn half_close_leaves_the_other_half_open() {
    let script = vec![Step::send("over"), Step::HalfClose, Step::ReadToEnd];
    let origin = RawOrigin::plain(vec![script]).await.unwrap();
    let mut client = RawClient::connect(origin.addr()).await.unwrap();
    assert_eq!(client.read_to_end().await.unwrap(), "over");
    client.send("and out").await.unwrap();
    client.half_close().await.unwrap();
    origin.finished(1).await.unwrap();
    assert_eq!(origin.received(0), b"and out");
}

#[tokio::test]
async fn second_connection_follows_the_second_script_over_tls() {
    let ca = TestCa::new().unwrap();
    let answer = |body: &str| Step::send(format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{body}"));
    let scripts = vec![vec![Step::ReadHead, answer("1")], vec![Step::ReadHead, answer("2")]];
    let origin = RawOrigin::https(&ca, &["http/1.1"], scripts).await.unwrap();
    for expected in ["1", "2", "2"] {
        let tls = ca.client_config(&["http/1.1"]).unwrap();
        let mut client = HttpClient::direct(origin.addr(), &origin.authority(), tls).await.unwrap();
        assert_eq!(client.get("/").await.unwrap().body, expected);
    }
    assert_eq!(origin.connections(), 3);
}

#[tokio::test]
async fn h2_origin_resets_a_stream_midway() {
    let ca = TestCa::new().unwrap();
    let origin = H2Origin::start(&ca, |_request, mut respond| async move {
        respond.send_informational(http::Response::builder().status(103).body(()).unwrap()).unwrap();
        let mut body = respond.send_response(http::Response::new(()), false).unwrap();
        body.send_data(Bytes::from("some"), false).unwrap();
        body.send_reset(h2::Reason::INTERNAL_ERROR);
    })
    .await
    .unwrap();
    let tls = ca.client_config(&["h2"]).unwrap();
    let mut client = HttpClient::direct(origin.addr(), &origin.authority(), tls).await.unwrap();
    assert!(client.get("/").await.is_err());
}
