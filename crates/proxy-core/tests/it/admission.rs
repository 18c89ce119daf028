//! Who may use the proxy.

use std::time::{Duration, Instant};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use proxy_core::{CertificateAuthority, ErrorKind, FailureKind, ListenerKind, Proxy};
use testkit::{HttpClient, Origin, RawClient, RawOrigin, SocksClient, Step};

use crate::lab::{Lab, lines};

/// A proxy that asks for `ann:secret`, with a SOCKS listener beside its explicit one.
async fn guarded() -> Lab {
    Lab::with(|builder| {
        builder
            .proxy_credentials("ann:secret".parse().unwrap())
            .listen("socks5://127.0.0.1:0".parse().unwrap())
    })
    .await
}

fn basic(credentials: &str) -> String {
    format!("Proxy-Authorization: Basic {}\r\n", STANDARD.encode(credentials))
}

#[tokio::test]
async fn a_request_without_credentials_is_asked_for_them_and_goes_through_with_them() {
    let lab = guarded().await;
    let script =
        vec![Step::read_until("\r\n\r\n"), Step::send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")];
    let origin = RawOrigin::plain(vec![script]).await.unwrap();
    let host = origin.authority();
    let mut client = lab.client(&[]).raw().await.unwrap();
    for credentials in [String::new(), basic("ann:wrong"), basic("ann:secret") + &basic("ann:secret")] {
        client
            .send(format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n{credentials}\r\n"))
            .await
            .unwrap();
        let head = client.read_head().await.unwrap();
        assert!(head.starts_with("HTTP/1.1 407"), "{head}");
        assert!(head.contains("Proxy-Authenticate: Basic realm=\"wirescope\""), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
        client.read(length.parse().unwrap()).await.unwrap();
    }
    let credentials = basic("ann:secret");
    client.send(format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n{credentials}\r\n")).await.unwrap();
    assert!(client.read_head().await.unwrap().starts_with("HTTP/1.1 200"));
    origin.finished(1).await.unwrap();
    let received = String::from_utf8(origin.received(0)).unwrap();
    assert!(!received.to_ascii_lowercase().contains("proxy-auth"), "{received}");

    let told = lab.log.ended(4).await;
    for refused in &told[..3] {
        assert_eq!((refused.failure(), refused.status()), (FailureKind::ClientUnauthenticated, Some(407)));
        assert_eq!(refused.client.as_ref().unwrap().user, None);
    }
    assert_eq!(told[3].client.as_ref().unwrap().user.as_deref(), Some("ann"));
    for told in &told[1..] {
        let seen = lines(&told.request.as_ref().unwrap().headers);
        assert!(seen.contains(&"Proxy-Authorization: Basic ***".to_owned()), "{seen:?}");
    }
}

#[tokio::test]
async fn a_connect_is_asked_for_credentials_and_what_is_in_its_tunnel_is_not() {
    let lab = guarded().await;
    let origin = Origin::plain().await.unwrap();
    let host = origin.authority();
    let mut client = tokio::net::TcpStream::connect(lab.addr).await.unwrap();
    let mut answers = Vec::new();
    for credentials in [String::new(), basic("ann:secret")] {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let request = format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n{credentials}\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(client.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap_or("0");
        client.read_exact(&mut vec![0; length.parse().unwrap()]).await.unwrap();
        answers.push(head);
    }
    assert!(answers[0].starts_with("HTTP/1.1 407") && answers[1].starts_with("HTTP/1.1 200"), "{answers:?}");
    let mut inside = HttpClient::http1(client, String::new(), &host).await.unwrap();
    assert_eq!(inside.get("/json").await.unwrap().status, 200);
    let told = lab.log.ended(2).await;
    assert_eq!(told[0].failure(), FailureKind::ClientUnauthenticated);
    assert_eq!(told[1].client.as_ref().unwrap().user.as_deref(), Some("ann"));
}

#[tokio::test]
async fn http2_streams_are_asked_for_credentials_each() {
    let lab = guarded().await;
    let origin = Origin::plain().await.unwrap();
    let tcp = tokio::net::TcpStream::connect(lab.addr).await.unwrap();
    let mut client = HttpClient::http2(tcp, &origin.authority()).await.unwrap();
    let answer = client.get("/json").await.unwrap();
    assert_eq!(answer.status, 407);
    let told = lab.log.one().await;
    assert_eq!(told.failure(), FailureKind::ClientUnauthenticated);
}

#[tokio::test]
async fn socks_clients_prove_themselves_by_login() {
    let lab = guarded().await;
    let origin = Origin::plain().await.unwrap();
    let socks = lab.proxy.as_ref().unwrap().local_addrs()[1];
    for (count, (client, refused)) in [
        (SocksClient::new(socks), "method 255"),
        (SocksClient::new(socks).with_login("ann", "wrong"), "login 1"),
        (SocksClient::new(lab.addr).with_login("bob", "secret"), "login 1"),
    ]
    .into_iter()
    .enumerate()
    {
        let error = client.tunnel(&origin.authority()).await.unwrap_err();
        assert_eq!(error.to_string(), refused);
        let told = lab.log.ended(count + 1).await.pop().unwrap();
        assert_eq!(told.failure(), FailureKind::ClientUnauthenticated);
    }
    let four = SocksClient::new(socks).tunnel4(&origin.authority()).await.unwrap_err();
    assert_eq!(four.to_string(), "reply 91");
    let known = SocksClient::new(socks).with_login("ann", "secret");
    let tunnel = known.tunnel(&origin.authority()).await.unwrap();
    let mut http = HttpClient::http1(tunnel, String::new(), &origin.authority()).await.unwrap();
    assert_eq!(http.get("/json").await.unwrap().status, 200);
    let told = lab.log.ended(5).await.pop().unwrap();
    let facts = told.client.unwrap();
    assert_eq!((facts.user.as_deref(), facts.listener), (Some("ann"), ListenerKind::Socks));
    assert_eq!(origin.counts().connections, 1);
}

#[tokio::test]
async fn addresses_outside_the_allowed_ranges_are_turned_away() {
    let lab = Lab::with(|builder| {
        builder
            .allow_clients("192.0.2.0/24".parse().unwrap())
            .listen("socks5://127.0.0.1:0".parse().unwrap())
            .listen("reverse://127.0.0.1:0=http://127.0.0.1:1".parse().unwrap())
    })
    .await;
    let mut client = lab.client(&[]).raw().await.unwrap();
    client.send("GET http://a.invalid/ HTTP/1.1\r\nHost: a.invalid\r\n\r\n").await.unwrap();
    let answer = String::from_utf8(client.read_to_end().await.unwrap().to_vec()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    for other in &lab.proxy.as_ref().unwrap().local_addrs()[1..] {
        let mut client = RawClient::connect(*other).await.unwrap();
        assert_eq!(client.read_to_end().await.unwrap_or_default(), "");
    }
    let told = lab.log.ended(3).await;
    let kinds: Vec<_> = told.iter().map(|told| told.client.as_ref().unwrap().listener).collect();
    assert_eq!(kinds, [ListenerKind::Explicit, ListenerKind::Socks, ListenerKind::Reverse]);
    assert!(told.iter().all(|told| told.failure() == FailureKind::ClientNotAllowed));
}

#[tokio::test]
async fn a_flood_of_refusals_is_recorded_in_part() {
    let mut lab = Lab::with(|builder| builder.allow_clients("192.0.2.1".parse().unwrap())).await;
    for _ in 0..300 {
        let mut client = lab.client(&[]).raw().await.unwrap();
        let _ = client.read_to_end().await;
    }
    lab.proxy.take().unwrap().shutdown(Duration::from_secs(20)).await;
    let told = lab.log.all();
    // 100 at once, and a few more for the time it took.
    assert!(told.len() >= 100, "{}", told.len());
    assert!(told.iter().all(|told| told.failure() == FailureKind::ClientNotAllowed));
}

#[tokio::test]
async fn a_flood_of_what_is_no_request_is_recorded_in_part_where_nobody_proved_who_they_are() {
    let mut lab = guarded().await;
    let begun = Instant::now();
    for _ in 0..300 {
        let mut client = lab.client(&[]).raw().await.unwrap();
        client.send("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").await.unwrap();
        assert!(client.read_head().await.unwrap().starts_with("HTTP/1.1 400"));
    }
    lab.proxy.take().unwrap().shutdown(Duration::from_secs(20)).await;
    let told = lab.log.all().len() as u128;
    // 100 at once, and ten for each second it took.
    let most = 101 + begun.elapsed().as_millis() / 100;
    assert!((100..=most).contains(&told), "{told} of {most}");
}

#[tokio::test]
async fn other_machines_are_not_let_in_unless_somebody_said_whom() {
    let builder = || Proxy::builder(CertificateAuthority::in_memory().unwrap());
    let error = builder().bind("0.0.0.0:0").await.err().unwrap();
    assert!(matches!(error.kind(), ErrorKind::OpenToAll { .. }), "{error}");
    assert!(error.to_string().contains("ask for proxy credentials"), "{error}");
    for guarded in [
        builder().proxy_credentials("a:b".parse().unwrap()),
        builder().allow_clients("0.0.0.0/0".parse().unwrap()),
    ] {
        guarded.bind("0.0.0.0:0").await.unwrap();
    }
    assert!(matches!(builder().bind_all().await.err().unwrap().kind(), ErrorKind::NoListener));
}
