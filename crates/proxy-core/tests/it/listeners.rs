//! Several listeners at once, and those whose clients know of no proxy.

use std::time::Duration;

use proxy_core::{ErrorKind, FailureKind, HostField, Listener, ListenerKind, Outcome, Timeouts};
use testkit::{HttpClient, Origin, RawClient, RawOrigin, Step};
use tokio::net::{TcpListener, TcpStream};

use crate::lab::Lab;

/// A proxy with one more listener, and where that is.
async fn lab_with(listener: Listener) -> (Lab, std::net::SocketAddr) {
    let lab = Lab::with(|builder| builder.listen(listener)).await;
    let address = lab.proxy.as_ref().unwrap().local_addrs()[1];
    (lab, address)
}

async fn reverse(origin: &str) -> (Lab, std::net::SocketAddr) {
    lab_with(format!("reverse://127.0.0.1:0={origin}").parse().unwrap()).await
}

async fn tls(lab: &Lab, address: std::net::SocketAddr, name: &str, alpn: &[&str]) -> HttpClient {
    let config = testkit::client_config(&lab.ca_pem, alpn).unwrap();
    let sni = rustls::pki_types::ServerName::try_from(name.to_owned()).unwrap();
    let tcp = TcpStream::connect(address).await.unwrap();
    let tls = tokio_rustls::TlsConnector::from(config).connect(sni, tcp).await.unwrap();
    HttpClient::over_tls(tls, &address.to_string()).await.unwrap()
}

#[tokio::test]
async fn every_listener_is_served_and_drained() {
    let origin = Origin::plain().await.unwrap();
    let second = Listener::explicit("127.0.0.1:0".parse().unwrap());
    let (mut lab, address) = lab_with(second).await;
    let proxy = lab.proxy.take().unwrap();
    assert_eq!(proxy.local_addrs(), [lab.addr, address]);
    let mut clients = Vec::new();
    for address in proxy.local_addrs() {
        let client = testkit::ProxyClient::new(address, &lab.ca_pem, &[]).unwrap();
        let mut http = client.http(&origin.authority()).await.unwrap();
        assert_eq!(http.get("/json").await.unwrap().status, 200);
        clients.push(http);
    }
    let addresses = proxy.local_addrs();
    assert_eq!(proxy.shutdown(Duration::from_secs(20)).await.cut_connections, 0);
    for address in addresses {
        assert!(TcpStream::connect(address).await.is_err());
    }
    let locals: Vec<_> = lab.log.all().iter().map(|told| told.client.as_ref().unwrap().local).collect();
    assert_eq!(locals, [lab.addr, address]);
}

#[tokio::test]
async fn a_listener_that_cannot_be_had_leaves_none_open() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let ca = proxy_core::CertificateAuthority::in_memory().unwrap();
    let error = proxy_core::Proxy::builder(ca)
        .listen(Listener::explicit(free))
        .listen(Listener::socks(taken.local_addr().unwrap()))
        .bind_all()
        .await
        .err()
        .unwrap();
    assert_eq!(error.kind(), &ErrorKind::Bind { addr: taken.local_addr().unwrap() });
    TcpListener::bind(free).await.unwrap();
}

#[tokio::test]
async fn no_listener_of_the_proxy_is_dialled_through_another() {
    let (lab, address) = reverse("http://127.0.0.1:1").await;
    let mut client = lab.client(&[]).raw().await.unwrap();
    client.send(format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n\r\n")).await.unwrap();
    assert!(client.read_head().await.unwrap().starts_with("HTTP/1.1 508"));
    assert_eq!(lab.log.one().await.failure(), FailureKind::Loop);
}

#[tokio::test]
async fn a_reverse_listener_speaks_tls_to_its_origin_whatever_the_client_speaks() {
    let origin_ca = testkit::TestCa::new().unwrap();
    let origin = Origin::https(&origin_ca).await.unwrap();
    let listener = format!("reverse://127.0.0.1:0=https://{}", origin.authority()).parse().unwrap();
    let lab = Lab::with(|builder| {
        let trust = proxy_core::UpstreamTrust::nobody().with_ca(origin_ca.pem().as_bytes()).unwrap();
        builder.listen(listener).upstream_trust(trust)
    })
    .await;
    let address = lab.proxy.as_ref().unwrap().local_addrs()[1];
    let plain1 = HttpClient::http1(TcpStream::connect(address).await.unwrap(), String::new(), "front.test");
    let plain2 = HttpClient::http2(TcpStream::connect(address).await.unwrap(), "front.test");
    let clients = [
        (plain1.await.unwrap(), "http", "http/1.1"),
        (plain2.await.unwrap(), "http", "h2"),
        (tls(&lab, address, "127.0.0.1", &["http/1.1"]).await, "https", "http/1.1"),
        (tls(&lab, address, "front.test", &["h2"]).await, "https", "h2"),
    ];
    for (count, (mut client, scheme, alpn)) in clients.into_iter().enumerate() {
        let answer = client.get("/json").await.unwrap();
        assert_eq!(answer.status, 200, "{scheme} {alpn}");
        // Keep-alive goes to the same upstream connection.
        client.get("/status/404").await.unwrap();
        drop(client);
        let told = lab.log.ended(2 * count + 2).await;
        for (told, reused) in told[2 * count..].iter().zip([false, true]) {
            let facts = told.client.as_ref().unwrap();
            assert_eq!((facts.listener, facts.tunnel.as_deref()), (ListenerKind::Reverse, None));
            assert_eq!(facts.tls.is_some(), scheme == "https");
            let upstream = told.upstream[0].0.tls.as_ref().unwrap();
            assert_eq!((upstream.sni.as_deref(), upstream.alpn.as_deref()), (Some("localhost"), Some(alpn)));
            assert_eq!(told.upstream[0].1, reused);
        }
    }
}

#[tokio::test]
async fn a_reverse_listener_takes_tls_for_an_origin_without() {
    let origin = Origin::plain().await.unwrap();
    let (lab, address) = reverse(&format!("http://{}", origin.authority())).await;
    for (count, alpn) in [&["http/1.1"][..], &["h2"], &["h2", "http/1.1"], &[]].into_iter().enumerate() {
        let mut client = tls(&lab, address, "front.test", alpn).await;
        assert_eq!(client.get("/json").await.unwrap().status, 200, "{alpn:?}");
        let told = lab.log.ended(count + 1).await.pop().unwrap();
        assert!(told.url().starts_with("https://") && told.upstream[0].0.tls.is_none());
    }
}

#[tokio::test]
async fn a_reverse_listener_keeps_the_host_unless_told_otherwise() {
    for (field, host) in [(HostField::Keep, "front.test"), (HostField::Origin, "")] {
        let script =
            vec![Step::read_until("\r\n\r\n"), Step::send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")];
        let origin = RawOrigin::plain(vec![script]).await.unwrap();
        let authority = origin.authority();
        let url = format!("http://{authority}").parse().unwrap();
        let (lab, address) =
            lab_with(Listener::reverse("127.0.0.1:0".parse().unwrap(), url).with_host(field)).await;
        let mut client = RawClient::connect(address).await.unwrap();
        client.send("GET /x HTTP/1.1\r\nHost: front.test\r\nConnection: close\r\n\r\n").await.unwrap();
        assert!(client.read_head().await.unwrap().starts_with("HTTP/1.1 200"));
        origin.finished(1).await.unwrap();
        let received = String::from_utf8(origin.received(0)).unwrap();
        let expected = if host.is_empty() { &authority } else { host };
        assert!(received.starts_with(&format!("GET /x HTTP/1.1\r\nHost: {expected}\r\n")), "{received}");
        assert_eq!(lab.log.one().await.url(), "http://front.test/x");
    }
}

#[tokio::test]
async fn a_reverse_listener_relays_what_is_no_http() {
    let mut timeouts = Timeouts::default();
    timeouts.peek = Duration::from_millis(20);
    let origin_ca = testkit::TestCa::new().unwrap();
    let script = || vec![Step::send("220 ready\r\n"), Step::read_until("\r\n"), Step::send("221 bye\r\n")];
    for secured in [false, true] {
        let origin = if secured {
            RawOrigin::https(&origin_ca, &[], vec![script()]).await.unwrap()
        } else {
            RawOrigin::plain(vec![script()]).await.unwrap()
        };
        let scheme = if secured { "https" } else { "http" };
        let listener = format!("reverse://127.0.0.1:0={scheme}://{}", origin.authority()).parse().unwrap();
        let lab = Lab::with(|builder| {
            let trust = proxy_core::UpstreamTrust::nobody().with_ca(origin_ca.pem().as_bytes()).unwrap();
            builder.listen(listener).upstream_trust(trust).timeouts(timeouts.clone())
        })
        .await;
        let mut client = RawClient::connect(lab.proxy.as_ref().unwrap().local_addrs()[1]).await.unwrap();
        assert_eq!(client.read_until(b"\r\n").await.unwrap(), "220 ready\r\n");
        client.send("QUIT\r\n").await.unwrap();
        assert_eq!(client.read_to_end().await.unwrap(), "221 bye\r\n");
        drop(client);
        let told = lab.log.one().await;
        assert_eq!((told.outcome(), told.tunnel_bytes), (&Outcome::Tunnel, (6, 20)));
        assert_eq!(told.upstream[0].0.tls.is_some(), secured);
    }
}

#[tokio::test]
async fn a_websocket_passes_a_reverse_listener() {
    use futures_util::{SinkExt, StreamExt};
    use tokio_tungstenite::tungstenite::Message;
    let origin = Origin::plain().await.unwrap();
    let (lab, address) = reverse(&format!("http://{}", origin.authority())).await;
    let tcp = TcpStream::connect(address).await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async(format!("ws://{address}/ws"), tcp).await.unwrap();
    socket.send(Message::text("hello")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap().to_text().unwrap(), "hello");
    socket.close(None).await.unwrap();
    while socket.next().await.is_some() {}
    drop(socket);
    let told = lab.log.one().await;
    assert_eq!(told.outcome(), &Outcome::Upgrade);
    assert!(told.messages.len() >= 2);
}

#[tokio::test]
async fn an_origin_that_cannot_be_reached_is_a_502_with_the_cause() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (lab, address) = reverse(&format!("http://{free}")).await;
    let mut client =
        HttpClient::http1(TcpStream::connect(address).await.unwrap(), String::new(), "a.test").await.unwrap();
    assert_eq!(client.get("/").await.unwrap().status, 502);
    assert_eq!(lab.log.one().await.failure(), FailureKind::ConnectionRefused);
}

#[tokio::test]
async fn a_transparent_listener_goes_by_host_where_the_system_tells_nothing() {
    let origin = Origin::plain().await.unwrap();
    let (lab, address) = lab_with(Listener::transparent("127.0.0.1:0".parse().unwrap())).await;
    let tcp = TcpStream::connect(address).await.unwrap();
    let mut client = HttpClient::http1(tcp, String::new(), &origin.authority()).await.unwrap();
    assert_eq!(client.get("/json").await.unwrap().status, 200);
    let told = lab.log.one().await;
    assert_eq!(told.url(), format!("http://{}/json", origin.authority()));
    assert_eq!(told.client.unwrap().listener, ListenerKind::Transparent);
}

#[tokio::test]
async fn a_transparent_listener_goes_by_the_server_name_of_tls() {
    let (lab, address) = lab_with(Listener::transparent("127.0.0.1:0".parse().unwrap())).await;
    let config = testkit::client_config(&lab.ca_pem, &["http/1.1"]).unwrap();
    let name = rustls::pki_types::ServerName::try_from("no-such-host.invalid").unwrap();
    let tcp = TcpStream::connect(address).await.unwrap();
    let tls = tokio_rustls::TlsConnector::from(config).connect(name, tcp).await.unwrap();
    let mut client = HttpClient::over_tls(tls, "no-such-host.invalid").await.unwrap();
    assert_eq!(client.get("/").await.unwrap().status, 502);
    let told = lab.log.one().await;
    assert_eq!((told.url().as_str(), told.failure()), ("https://no-such-host.invalid/", FailureKind::Dns));
}

#[tokio::test]
async fn a_transparent_listener_serves_no_proxy_clients() {
    let (lab, address) = lab_with(Listener::transparent("127.0.0.1:0".parse().unwrap())).await;
    let mut client = RawClient::connect(address).await.unwrap();
    client.send("CONNECT a.invalid:443 HTTP/1.1\r\nHost: a.invalid:443\r\n\r\n").await.unwrap();
    assert!(client.read_head().await.unwrap().starts_with("HTTP/1.1 400"));
    let mut nameless = RawClient::connect(address).await.unwrap();
    let _ = nameless.send(b"\x00\x01\x02").await;
    let _ = nameless.read_to_end().await;
    assert_eq!(lab.log.one().await.failure(), FailureKind::ClientMalformed);
}

#[tokio::test]
async fn a_listener_opens_and_closes_while_the_proxy_runs() {
    let origin = Origin::plain().await.unwrap();
    let lab = Lab::with(|builder| builder).await;
    let proxy = lab.proxy.as_ref().unwrap();
    let further = proxy.listen(Listener::transparent("127.0.0.1:0".parse().unwrap())).await.unwrap();
    let address = further.local_addr();
    let tcp = TcpStream::connect(address).await.unwrap();
    let mut client = HttpClient::http1(tcp, String::new(), &origin.authority()).await.unwrap();
    assert_eq!(client.get("/json").await.unwrap().status, 200);
    assert_eq!(lab.log.one().await.client.unwrap().listener, ListenerKind::Transparent);

    // It is no place to dial, and is one again when it is closed.
    let mut raw = lab.client(&[]).raw().await.unwrap();
    raw.send(format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n\r\n")).await.unwrap();
    assert!(raw.read_head().await.unwrap().starts_with("HTTP/1.1 508"));
    drop(client);
    assert_eq!(further.shutdown(Duration::from_secs(20)).await.cut_connections, 0);
    assert!(TcpStream::connect(address).await.is_err());
    let mut raw = lab.client(&[]).raw().await.unwrap();
    raw.send(format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n\r\n")).await.unwrap();
    assert!(raw.read_head().await.unwrap().starts_with("HTTP/1.1 502"));
    // The others did not notice.
    let mut client = lab.client(&[]).http(&origin.authority()).await.unwrap();
    assert_eq!(client.get("/json").await.unwrap().status, 200);
}

#[tokio::test]
async fn a_further_listener_lets_nobody_in_whom_nobody_meant() {
    let lab = Lab::with(|builder| builder).await;
    let proxy = lab.proxy.as_ref().unwrap();
    let open = Listener::transparent("0.0.0.0:0".parse().unwrap());
    let error = proxy.listen(open).await.err().unwrap();
    assert!(matches!(error.kind(), ErrorKind::OpenToAll { .. }), "{error}");
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let again = Listener::transparent(taken.local_addr().unwrap());
    let error = proxy.listen(again).await.err().unwrap();
    assert!(matches!(error.kind(), ErrorKind::Bind { .. }), "{error}");
}
