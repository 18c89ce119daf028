//! CONNECT inside HTTP/2, WebSockets in it, and HTTP/2 clients of HTTP/1 origins.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use bytes::Bytes;
use h2::{RecvStream, SendStream, client, ext::Protocol};
use http::{HeaderMap, Method, Request, Version};
use proxy_core::{ExchangeId, FailureKind, Interceptor, MessageKind, Outcome, RequestHead, Verdict};
use testkit::{Frame, H2Origin, Opcode, Origin, RawOrigin, Step};
use tokio::{net::TcpStream, sync::Notify, time::timeout};

use crate::lab::{Lab, lines};

/// A connection to the proxy itself, with prior knowledge.
async fn to_proxy(lab: &Lab) -> client::SendRequest<Bytes> {
    let tcp = TcpStream::connect(lab.addr).await.unwrap();
    let (sender, connection) = client::handshake(tcp).await.unwrap();
    tokio::spawn(connection);
    sender.ready().await.unwrap()
}

async fn read(body: &mut RecvStream) -> (Vec<u8>, Option<HeaderMap>) {
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        bytes.extend_from_slice(&data);
    }
    (bytes, body.trailers().await.unwrap())
}

async fn read_until(body: &mut RecvStream, end: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !bytes.windows(end.len()).any(|window| window == end) {
        let data = body.data().await.expect("more bytes").unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        bytes.extend_from_slice(&data);
    }
    bytes
}

/// An origin that takes WebSockets over HTTP/2, and sends back what it gets.
async fn websocket_origin(lab: &Lab) -> H2Origin {
    let mut builder = h2::server::Builder::new();
    builder.enable_connect_protocol();
    H2Origin::start_with(builder, &lab.origin_ca, |request, mut respond| async move {
        let is_websocket = request.extensions().get::<Protocol>().is_some_and(|p| p.as_str() == "websocket");
        let status = if is_websocket && request.uri().path() == "/chat" { 200 } else { 403 };
        let response = http::Response::builder().status(status).body(()).unwrap();
        let mut stream = respond.send_response(response, status != 200).unwrap();
        let mut body = request.into_body();
        while let Some(Ok(data)) = body.data().await {
            let _ = body.flow_control().release_capacity(data.len());
            if stream.send_data(data, false).is_err() {
                return;
            }
        }
        let _ = stream.send_data(Bytes::new(), true);
    })
    .await
    .unwrap()
}

async fn through(lab: &Lab, authority: &str) -> client::SendRequest<Bytes> {
    let tls = lab.client(&["h2"]).tls(authority).await.unwrap();
    let (sender, connection) = client::handshake(tls).await.unwrap();
    tokio::spawn(connection);
    sender.ready().await.unwrap()
}

fn connect(authority: &str, path: &str) -> Request<()> {
    let mut request = Request::connect(format!("https://{authority}{path}"))
        .header("sec-websocket-version", "13")
        .body(())
        .unwrap();
    request.extensions_mut().insert(Protocol::from("websocket"));
    request
}

/// Waits for the proxy's settings: they come before the answer to any ping.
async fn is_offered(sender: &mut client::SendRequest<Bytes>, authority: &str) -> bool {
    let request = Request::get(format!("https://{authority}/none")).body(()).unwrap();
    let (response, _) = sender.send_request(request, true).unwrap();
    response.await.unwrap();
    *sender = sender.clone().ready().await.unwrap();
    sender.is_extended_connect_protocol_enabled()
}

fn masked(opcode: Opcode, payload: &'static [u8]) -> Bytes {
    Frame { mask: Some([1, 2, 3, 4]), ..Frame::new(opcode, payload) }.encode().into()
}

#[tokio::test]
async fn a_websocket_over_http2_passes_and_is_recorded() {
    let lab = Lab::new().await;
    let origin = websocket_origin(&lab).await;
    let mut sender = through(&lab, &origin.authority()).await;
    assert!(is_offered(&mut sender, &origin.authority()).await);
    let (response, mut stream) = sender.send_request(connect(&origin.authority(), "/chat"), false).unwrap();
    // Before the answer, as a client in a hurry may.
    stream.send_data(masked(Opcode::Text, b"early"), false).unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.status(), 200);
    let mut body = response.into_body();
    stream.send_data(masked(Opcode::Close, b"\x03\xe8"), true).unwrap();
    let (echoed, _) = read(&mut body).await;
    assert_eq!(echoed, [masked(Opcode::Text, b"early"), masked(Opcode::Close, b"\x03\xe8")].concat());

    let told = lab.log.ended(2).await.remove(1);
    assert_eq!(told.outcome(), &Outcome::Upgrade);
    assert_eq!(told.url(), format!("https://{}/chat", origin.authority()));
    assert_eq!(lines(&told.request.as_ref().unwrap().headers)[0], ":protocol: websocket");
    assert!(told.request_body.is_empty() && told.response_body.is_empty());
    let kinds: Vec<_> = told.messages.iter().map(|message| message.kind).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == MessageKind::Text).count(), 2, "{kinds:?}");
    assert_eq!(kinds.iter().filter(|kind| **kind == MessageKind::Close).count(), 2, "{kinds:?}");
}

#[tokio::test]
async fn rules_edit_the_messages_of_a_websocket_over_http2() {
    let rule = serde_json::json!([{
        "id": "r", "when": { "protocol": "websocket" },
        "then": [{ "edit_messages": { "from": "client", "then": { "edit": { "find": "early", "with": "late" } } } }],
    }]);
    let (lab, _) = Lab::with_rules(rule).await;
    let origin = websocket_origin(&lab).await;
    let mut sender = through(&lab, &origin.authority()).await;
    assert!(is_offered(&mut sender, &origin.authority()).await);
    let (response, mut stream) = sender.send_request(connect(&origin.authority(), "/chat"), false).unwrap();
    stream.send_data(masked(Opcode::Text, b"early"), false).unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.status(), 200);
    stream.send_data(masked(Opcode::Close, b"\x03\xe8"), true).unwrap();
    let (echoed, _) = read(&mut response.into_body()).await;

    // The origin sends back the frame it got: a mask of the proxy's own, and what the rule made of the text.
    let mask: [u8; 4] = echoed[2..6].try_into().unwrap();
    let text: Vec<u8> = echoed[6..10].iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect();
    assert_eq!((echoed[1], text.as_slice()), (0x80 | 4, b"late".as_slice()));
    let told = lab.log.ended(2).await.remove(1);
    assert_eq!(told.outcome(), &Outcome::Upgrade);
    assert!(told.changes().contains(&"r: edited a message of the client".to_owned()), "{:?}", told.changes());
}

#[tokio::test]
async fn a_refused_websocket_over_http2_stays_refused() {
    let lab = Lab::new().await;
    let origin = websocket_origin(&lab).await;
    let mut sender = through(&lab, &origin.authority()).await;
    assert!(is_offered(&mut sender, &origin.authority()).await);
    let (response, _stream) = sender.send_request(connect(&origin.authority(), "/other"), false).unwrap();
    assert_eq!(response.await.unwrap().status(), 403);
    let told = lab.log.ended(2).await.remove(1);
    assert_eq!((told.outcome(), told.status()), (&Outcome::Response, Some(403)));
}

#[tokio::test]
async fn extended_connect_is_not_offered_where_upstream_lacks_it() {
    let lab = Lab::new().await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    let mut sender = through(&lab, &origin.authority()).await;
    assert!(!is_offered(&mut sender, &origin.authority()).await);
    let told = lab.log.one().await;
    assert_eq!(told.upstream.len(), 1);
    let (_, reused) = &told.upstream[0];
    assert!(!reused, "the connection was opened for the first exchange");
}

#[tokio::test]
async fn each_connect_inside_http2_is_a_tunnel_of_its_own() {
    let lab = Lab::new().await;
    let origin = Origin::plain().await.unwrap();
    let authority = origin.authority();
    let mut sender = to_proxy(&lab).await;
    let mut open: Vec<(SendStream<Bytes>, RecvStream)> = Vec::new();
    for _ in 0..3 {
        let request = Request::connect(authority.clone()).body(()).unwrap();
        let (response, stream) = sender.send_request(request, false).unwrap();
        let response = response.await.unwrap();
        assert_eq!(response.status(), 200);
        open.push((stream, response.into_body()));
        sender = sender.ready().await.unwrap();
    }
    for (stream, body) in &mut open {
        let request = format!("GET /json HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
        stream.send_data(request.into(), false).unwrap();
        let answer = read_until(body, b"}").await;
        assert!(answer.starts_with(b"HTTP/1.1 200 "));
        assert!(read(body).await.0.len() < 16, "what was said last ends the stream");
    }
    for told in lab.log.ended(3).await {
        assert_eq!(told.outcome(), &Outcome::Response);
        assert_eq!(told.client.unwrap().tunnel.as_deref(), Some(authority.as_str()));
        assert_eq!(told.request.unwrap().version, Version::HTTP_11);
    }
}

/// Holds its thread up when it is asked, until the other end of the gate is gone.
struct Holds {
    asked: Arc<Notify>,
    gate: Mutex<mpsc::Receiver<()>>,
}

impl Interceptor for Holds {
    fn request<'a>(
        &'a self,
        _: ExchangeId,
        _: &'a mut RequestHead,
    ) -> Pin<Box<dyn Future<Output = Verdict> + Send + 'a>> {
        Box::pin(async {
            self.asked.notify_one();
            let _ = self.gate.lock().unwrap().recv();
            Verdict::Continue
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_shutdown_waits_for_the_endings_of_tunnels_inside_http2() {
    let asked = Arc::new(Notify::new());
    let (open, gate) = mpsc::channel();
    let holds = Holds { asked: asked.clone(), gate: Mutex::new(gate) };
    let mut lab = Lab::with(|builder| builder.interceptor(holds)).await;
    let origin = Origin::plain().await.unwrap();
    let authority = origin.authority();
    let mut sender = to_proxy(&lab).await;
    let request = Request::connect(authority.clone()).body(()).unwrap();
    let (response, mut stream) = sender.send_request(request, false).unwrap();
    assert_eq!(response.await.unwrap().status(), 200);
    let request = format!("GET / HTTP/1.1\r\nHost: {authority}\r\n\r\n");
    stream.send_data(request.into(), false).unwrap();
    asked.notified().await;
    // Its connection can be cut, and the tunnel not yet: its task does not wait for anything.
    let mut stopping = Box::pin(lab.proxy.take().unwrap().shutdown(Duration::ZERO));
    assert!(timeout(Duration::from_millis(50), &mut stopping).await.is_err(), "an exchange goes on");
    drop(open);
    assert_eq!(stopping.await.cut_connections, 1);
    let told = lab.log.all();
    assert_eq!(told.len(), 1);
    // It may have seen that its stream is gone before it was cut.
    assert!(matches!(told[0].failure(), FailureKind::Shutdown | FailureKind::ClientLeft));
}

#[tokio::test]
async fn a_connect_inside_http2_that_fails_says_why() {
    let lab = Lab::new().await;
    let mut sender = to_proxy(&lab).await;
    let request = Request::connect("127.0.0.1:1").body(()).unwrap();
    let (response, _stream) = sender.send_request(request, false).unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.status(), 502);
    assert!(!read(&mut response.into_body()).await.0.is_empty());
    assert_eq!(lab.log.one().await.failure(), FailureKind::ConnectionRefused);
}

#[tokio::test]
async fn tls_to_the_proxy_itself_offers_http2() {
    let lab = Lab::new().await;
    let origin = Origin::plain().await.unwrap();
    let config = testkit::client_config(&lab.ca_pem, &["h2", "http/1.1"]).unwrap();
    let tcp = TcpStream::connect(lab.addr).await.unwrap();
    let name = rustls::pki_types::ServerName::from(lab.addr.ip());
    let tls = tokio_rustls::TlsConnector::from(config).connect(name, tcp).await.unwrap();
    assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) = client::handshake(tls).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get(format!("http://{}/json", origin.authority())).body(()).unwrap();
    let (response, _) = sender.send_request(request, true).unwrap();
    assert_eq!(response.await.unwrap().status(), 200);
    let told = lab.log.one().await;
    assert_eq!(told.client.unwrap().tls.as_ref().unwrap().alpn.as_deref(), Some("h2"));
}

/// What an HTTP/1 origin answers an HTTP/2 client, and what that sees.
#[tokio::test]
async fn http1_origins_answer_http2_clients() {
    let ok = |rest: &str| format!("HTTP/1.1 200 OK\r\n{rest}");
    for (method, answer, status, length, body, trailers) in [
        ("GET", ok("Content-Length: 2\r\n\r\nok"), 200, Some("2"), "ok", 0),
        ("GET", ok("Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n"), 200, None, "ok", 1),
        ("GET", ok("Connection: close\r\n\r\nuntil the end"), 200, None, "until the end", 0),
        ("HEAD", ok("Content-Length: 7\r\n\r\n"), 200, Some("7"), "", 0),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n".into(), 204, None, "", 0),
        ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n".into(), 304, Some("9"), "", 0),
        (
            "GET",
            format!("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n{}", ok("Content-Length: 0\r\n\r\n")),
            200,
            Some("0"),
            "",
            0,
        ),
    ] {
        let lab = Lab::new().await;
        let closes = answer.contains("close");
        let mut script = vec![Step::ReadHead, Step::send(&answer)];
        script.extend((!closes).then_some(Step::ReadToEnd));
        let origin = RawOrigin::plain(vec![script]).await.unwrap();
        let mut sender = to_proxy(&lab).await;
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let uri = format!("http://{}/", origin.authority());
        let request = Request::builder().method(method).uri(uri).body(()).unwrap();
        let (mut response, _) = sender.send_request(request, true).unwrap();
        let interim = poll_fn(|cx| response.poll_informational(cx)).await;
        assert_eq!(interim.is_some(), answer.contains("103"), "{answer}");
        let response = response.await.unwrap();
        let seen = response.headers().get("content-length").map(|value| value.to_str().unwrap());
        assert_eq!((response.status().as_u16(), seen), (status, length), "{answer}");
        assert!(!response.headers().contains_key("transfer-encoding"));
        let (bytes, fields) = read(&mut response.into_body()).await;
        assert_eq!(
            (String::from_utf8(bytes).unwrap().as_str(), fields.map_or(0, |f| f.len())),
            (body, trailers)
        );
        let told = lab.log.one().await;
        assert_eq!(told.outcome(), &Outcome::Response, "{answer}");
        assert_eq!(told.informational.len(), usize::from(answer.contains("103")));
    }
}

#[tokio::test]
async fn an_http2_body_of_unknown_length_is_chunked_for_http1_with_its_trailers() {
    let lab = Lab::new().await;
    let script = vec![
        Step::ReadHead,
        Step::read_until("0\r\nx-sum: 1\r\n\r\n"),
        Step::send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        Step::ReadToEnd,
    ];
    let origin = RawOrigin::plain(vec![script]).await.unwrap();
    let mut sender = to_proxy(&lab).await;
    let request = Request::post(format!("http://{}/", origin.authority())).body(()).unwrap();
    let (response, mut stream) = sender.send_request(request, false).unwrap();
    stream.send_data("body".into(), false).unwrap();
    stream.send_trailers(HeaderMap::from_iter([("x-sum".parse().unwrap(), "1".parse().unwrap())])).unwrap();
    assert_eq!(response.await.unwrap().status(), 200);
    let received = String::from_utf8(origin.received(0)).unwrap();
    assert!(received.to_ascii_lowercase().contains("transfer-encoding: chunked"), "{received}");
    assert!(received.contains("4\r\nbody\r\n"), "{received}");
}

#[tokio::test]
async fn an_upgrade_to_h2c_is_answered_in_http1() {
    let lab = Lab::new().await;
    let script =
        vec![Step::ReadHead, Step::send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), Step::ReadToEnd];
    let origin = RawOrigin::plain(vec![script]).await.unwrap();
    let mut client = lab.client(&[]).raw().await.unwrap();
    let authority = origin.authority();
    let head = format!(
        "GET http://{authority}/ HTTP/1.1\r\nHost: {authority}\r\nConnection: Upgrade, HTTP2-Settings\r\n\
         Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n"
    );
    client.send(head).await.unwrap();
    assert!(client.read_head().await.unwrap().starts_with("HTTP/1.1 200 "));
    let received = String::from_utf8(origin.received(0)).unwrap();
    assert_eq!(received, format!("GET / HTTP/1.1\r\nHost: {authority}\r\n\r\n"));
}

#[tokio::test]
async fn a_grpc_call_keeps_its_shape() {
    let lab = Lab::new().await;
    let origin = H2Origin::start(&lab.origin_ca, |request, mut respond| async move {
        assert_eq!(request.headers()["te"], "trailers");
        let head = http::Response::builder().header("content-type", "application/grpc");
        if request.uri().path() == "/fails" {
            // Trailers only: one HEADERS frame that ends the stream.
            let _ = respond.send_response(head.header("grpc-status", "12").body(()).unwrap(), true);
            return;
        }
        let mut stream = respond.send_response(head.body(()).unwrap(), false).unwrap();
        let mut body = request.into_body();
        while let Some(Ok(data)) = body.data().await {
            let _ = body.flow_control().release_capacity(data.len());
            stream.send_data(data, false).unwrap();
        }
        let status = HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]);
        stream.send_trailers(status).unwrap();
    })
    .await
    .unwrap();
    let mut sender = through(&lab, &origin.authority()).await;
    let call = |path: &str| {
        Request::post(format!("https://{}{path}", origin.authority()))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .unwrap()
    };
    // Both directions stream: each message comes back before the next is sent.
    let (response, mut stream) = sender.send_request(call("/echo"), false).unwrap();
    let mut body = response.await.unwrap().into_body();
    for message in ["\0\0\0\0\x05first", "\0\0\0\0\x06second"] {
        stream.send_data(message.into(), false).unwrap();
        assert_eq!(body.data().await.unwrap().unwrap(), message);
        body.flow_control().release_capacity(message.len()).unwrap();
    }
    stream.send_data(Bytes::new(), true).unwrap();
    let (rest, trailers) = read(&mut body).await;
    assert_eq!((rest.len(), &trailers.unwrap()["grpc-status"]), (0, &http::HeaderValue::from_static("0")));

    sender = sender.ready().await.unwrap();
    let (response, _) = sender.send_request(call("/fails"), true).unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.headers()["grpc-status"], "12");
    assert!(response.into_body().is_end_stream());
    assert!(lab.log.ended(2).await.iter().all(|told| told.outcome() == &Outcome::Response));
}

#[tokio::test]
async fn a_head_over_the_limits_is_answered_and_recorded() {
    let lab = Lab::new().await;
    let mut builder = h2::server::Builder::new();
    builder.max_header_list_size(1 << 20);
    let origin = H2Origin::start_with(builder, &lab.origin_ca, |_request, mut respond| async move {
        respond.send_response(http::Response::new(()), true).unwrap();
    })
    .await
    .unwrap();
    let mut sender = through(&lab, &origin.authority()).await;
    let head = |bytes: usize| {
        Request::get(format!("https://{}/json", origin.authority()))
            .header("x", "a".repeat(bytes))
            .body(())
            .unwrap()
    };
    // Sixty kilobytes of fields pass; more than the limit does not.
    for (bytes, status) in [(60_000, 200), (300_000, 431)] {
        let (response, _) = sender.send_request(head(bytes), true).unwrap();
        assert_eq!(response.await.unwrap().status(), status);
        sender = sender.ready().await.unwrap();
    }
    let told = lab.log.ended(2).await;
    assert_eq!((told[0].outcome(), told[0].status()), (&Outcome::Response, Some(200)));
    assert_eq!((told[1].failure(), told[1].status()), (FailureKind::Limit, Some(431)));
    assert_eq!(told[0].client.as_ref().unwrap().http2_fingerprint.as_deref(), Some("|00|0|m,s,a,p"));
}
