//! Parent proxies: every kind, with and without credentials, well and broken.

use std::time::Duration;

use http::Version;
use proxy_core::{
    FailureKind, Outcome, ProxyBuilder, ResponseSource, Route, TargetPattern, Timeouts, UpstreamRoutes,
};
use testkit::{Origin, Parent, ParentKind, RawOrigin, Step};

use crate::lab::{Lab, lines};

fn through(url: &str) -> UpstreamRoutes {
    let routes = UpstreamRoutes::new();
    routes.set(Route::new(url.parse().unwrap()));
    routes
}

fn by(routes: &UpstreamRoutes) -> impl FnOnce(ProxyBuilder) -> ProxyBuilder + use<> {
    let routes = routes.clone();
    move |builder| builder.upstream_routes(routes)
}

/// Every kind of parent in cleartext: the scheme, what it speaks, and what it is asked for a name.
const KINDS: [(&str, ParentKind, &str); 5] = [
    ("http", ParentKind::Http, "CONNECT localhost"),
    ("socks4", ParentKind::Socks4, "SOCKS4 address 127.0.0.1"),
    ("socks4a", ParentKind::Socks4, "SOCKS4 name localhost"),
    ("socks5", ParentKind::Socks5, "SOCKS5 address 127.0.0.1"),
    ("socks5h", ParentKind::Socks5, "SOCKS5 name localhost"),
];

#[tokio::test]
async fn tls_goes_through_every_kind_of_parent_with_alpn_mirrored() {
    for (scheme, kind, asked) in KINDS {
        let parent = Parent::builder(kind).credentials("me", "p@ss").start().await.unwrap();
        let password = if kind == ParentKind::Socks4 { "" } else { ":p%40ss" };
        let routes = through(&format!("{scheme}://me{password}@{}", parent.addr()));
        let lab = Lab::with(by(&routes)).await;
        let origin = Origin::https(&lab.origin_ca).await.unwrap();
        let mut expected = Vec::new();
        for (alpn, version) in [("http/1.1", Version::HTTP_11), ("h2", Version::HTTP_2)] {
            let mut client = lab.client(&[alpn]).https(&origin.authority()).await.unwrap();
            assert_eq!(client.get("/json").await.unwrap().status, 200, "{scheme}");
            assert_eq!(origin.seen().last().unwrap().version, version);
            expected.push(format!("{asked}:{}", origin.addr().port()));
        }
        // IPv6 may come first where names are resolved here; then IPv4 is asked for next.
        let asked: Vec<_> = parent.asked().into_iter().filter(|asked| !asked.contains("[::1]")).collect();
        assert_eq!(asked, expected, "{scheme}");
        for told in lab.log.ended(2).await {
            assert_eq!(told.outcome(), &Outcome::Response);
            let (upstream, _) = &told.upstream[0];
            assert_eq!(upstream.parent, Some(format!("{scheme}://{}", parent.addr())));
            assert_eq!(upstream.peer, parent.addr());
            assert!(upstream.tls.is_some());
        }
    }
}

#[tokio::test]
async fn cleartext_goes_to_an_http_parent_in_absolute_form_with_its_credentials_and_no_further() {
    let parent = Parent::builder(ParentKind::Http).credentials("me", "secret").start().await.unwrap();
    let lab = Lab::with(by(&through(&format!("http://me:secret@{}", parent.addr())))).await;
    let origin = RawOrigin::plain(vec![vec![
        Step::ReadHead,
        Step::send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        Step::ReadToEnd,
    ]])
    .await
    .unwrap();
    let host = origin.authority();
    let mut client = lab.client(&[]).raw().await.unwrap();
    let fields = format!("Host: {host}\r\nX-A: 1\r\nProxy-Authorization: Basic Y2xpZW50\r\n");
    client.send(format!("GET http://{host}/a?b HTTP/1.1\r\n{fields}\r\n")).await.unwrap();
    client.read_until(b"ok").await.unwrap();
    let to_parent = format!(
        "GET http://{host}/a?b HTTP/1.1\r\nHost: {host}\r\nX-A: 1\r\nProxy-Authorization: Basic bWU6c2VjcmV0\r\n\r\n"
    );
    assert_eq!(parent.heads(), [to_parent]);
    let to_origin = format!("GET /a?b HTTP/1.1\r\nHost: {host}\r\nX-A: 1\r\n\r\n");
    assert_eq!(String::from_utf8(origin.received(0)).unwrap(), to_origin);
    let told = lab.log.one().await;
    assert_eq!(told.upstream[0].0.parent, Some(format!("http://{}", parent.addr())));
    assert!(!format!("{told:?}").contains("bWU6c2VjcmV0"));
    assert!(lines(&told.request.as_ref().unwrap().headers).iter().all(|line| !line.contains("bWU6c2VjcmV0")));
}

#[tokio::test]
async fn an_https_parent_is_verified_and_carries_both_kinds() {
    let routes = UpstreamRoutes::new();
    let lab = Lab::with(by(&routes)).await;
    let leaf = lab.origin_ca.leaf(&["localhost"]).unwrap();
    let parent = Parent::builder(ParentKind::Http).leaf(leaf).start().await.unwrap();
    let url = format!("https://localhost:{}", parent.addr().port());
    routes.set(Route::new(url.parse().unwrap()));
    let (plain, secure) = (Origin::plain().await.unwrap(), Origin::https(&lab.origin_ca).await.unwrap());
    let mut client = lab.client(&["h2"]).https(&secure.authority()).await.unwrap();
    assert_eq!(client.get("/").await.unwrap().status, 200);
    let mut client = lab.client(&[]).http(&plain.authority()).await.unwrap();
    assert_eq!(client.get("/").await.unwrap().status, 200);
    assert_eq!(parent.asked().len(), 2);
    // The same parent by a name that its certificate is not for.
    routes.set(Route::new(format!("https://{}", parent.addr()).parse().unwrap()));
    let mut client = lab.client(&[]).http(&plain.authority()).await.unwrap();
    let answer = client.get("/").await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.header("x-wirescope-error")), (502, Some("parent_proxy")));
    let failure = lab.log.ended(3).await.remove(2);
    assert_eq!(failure.failure(), FailureKind::ParentProxy);
    assert!(format!("{:?}", failure.outcome()).contains(&parent.addr().to_string()));
}

#[tokio::test]
async fn a_name_only_the_parent_knows_is_left_to_the_parent() {
    for (scheme, kind, reaches) in [
        ("http", ParentKind::Http, true),
        ("socks4a", ParentKind::Socks4, true),
        ("socks5h", ParentKind::Socks5, true),
        ("socks5", ParentKind::Socks5, false),
    ] {
        let origin = Origin::plain().await.unwrap();
        let parent = Parent::builder(kind).knows("inside.invalid", origin.addr()).start().await.unwrap();
        let lab = Lab::with(by(&through(&format!("{scheme}://{}", parent.addr())))).await;
        let mut client = lab.client(&[]).http("inside.invalid").await.unwrap();
        let answer = client.get("/").await.unwrap();
        assert_eq!(answer.status == 200, reaches, "{scheme}");
        if !reaches {
            assert_eq!(lab.log.one().await.failure(), FailureKind::Dns);
        }
    }
}

#[tokio::test]
async fn parents_that_refuse_or_break_are_a_502_that_names_them_and_the_cause() {
    let connect_refused = |answer: &str| vec![Step::ReadHead, Step::send(answer), Step::ReadToEnd];
    let endless = format!("HTTP/1.1 200 OK\r\n{}", "X: y\r\n".repeat(100_000));
    let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(20);
    for (scheme, script, cause) in [
        ("http", connect_refused("HTTP/1.1 407 Prove it\r\n\r\n"), "407 Prove it (put the user"),
        ("http", connect_refused("HTTP/1.1 403 Forbidden\r\n\r\n"), "403 Forbidden"),
        ("http", connect_refused("SSH-2.0-OpenSSH\r\n\r\n"), "opened no tunnel"),
        ("http", connect_refused(&endless), "opened no tunnel"),
        ("http", connect_refused(&interim), "interim answers only"),
        ("http", vec![Step::ReadHead, Step::Cut], "opened no tunnel"),
        ("http", vec![Step::ReadHead, Step::Reset], "opened no tunnel"),
        ("socks5h", vec![Step::Read(3), Step::send([5, 255]), Step::ReadToEnd], "wants authentication"),
        (
            "socks5h",
            vec![Step::Read(3), Step::send("HTTP/1.1 400"), Step::ReadToEnd],
            "does not speak SOCKS 5",
        ),
        (
            "socks5h",
            vec![
                Step::Read(3),
                Step::send([5, 0]),
                Step::Read(16),
                Step::send([5, 2, 0, 1, 0, 0, 0, 0, 0, 0]),
            ],
            "rules do not allow",
        ),
        ("socks5h", vec![Step::Read(3), Step::Cut], "closed the connection"),
        ("socks4a", vec![Step::Read(9), Step::send([0, 91, 0, 0, 0, 0, 0, 0])], "rejected"),
    ] {
        let parent = RawOrigin::plain(vec![script]).await.unwrap();
        let lab = Lab::with(by(&through(&format!("{scheme}://{}", parent.addr())))).await;
        let refused = lab.client(&["h2"]).tunnel("localhost:443").await.unwrap_err().to_string();
        assert!(refused.starts_with("HTTP/1.1 502"), "{refused}");
        assert!(refused.contains("X-Wirescope-Error: parent_proxy"), "{refused}");
        assert!(
            refused.contains(cause) && refused.contains(&parent.addr().to_string()),
            "{cause}: {refused}"
        );
        let told = lab.log.one().await;
        assert_eq!((told.failure(), told.source), (FailureKind::ParentProxy, Some(ResponseSource::Proxy)));
    }
}

#[tokio::test]
async fn a_dead_or_silent_parent_is_a_502_too() {
    let mut timeouts = Timeouts::default();
    timeouts.parent = Duration::from_millis(50);
    let dead = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let silent = RawOrigin::plain(vec![vec![Step::ReadToEnd]]).await.unwrap();
    for (addr, cause) in [(dead, "refused"), (silent.addr(), "did not answer within")] {
        for scheme in ["http", "socks5", "socks4"] {
            let timeouts = timeouts.clone();
            let routes = through(&format!("{scheme}://{addr}"));
            let lab = Lab::with(|builder| builder.upstream_routes(routes).timeouts(timeouts)).await;
            let refused = lab.client(&[]).tunnel("127.0.0.1:443").await.unwrap_err().to_string();
            assert!(refused.starts_with("HTTP/1.1 502"), "{refused}");
            assert!(refused.contains(cause) && refused.contains(&addr.to_string()), "{refused}");
            assert_eq!(lab.log.one().await.failure(), FailureKind::ParentProxy);
        }
    }
}

#[tokio::test]
async fn a_407_to_a_cleartext_request_is_no_question_to_the_client() {
    let parent = Parent::builder(ParentKind::Http).credentials("me", "secret").start().await.unwrap();
    for (user_info, advice) in [("", "put the user and password in its URL"), ("me:wrong@", "does not take")]
    {
        let lab = Lab::with(by(&through(&format!("http://{user_info}{}", parent.addr())))).await;
        let mut client = lab.client(&[]).http("localhost:1").await.unwrap();
        let answer = client.get("/").await.unwrap();
        assert_eq!(answer.status, 502);
        assert!(answer.header("proxy-authenticate").is_none());
        assert!(
            answer.text().contains("407 Who are you") && answer.text().contains(advice),
            "{}",
            answer.text()
        );
        let told = lab.log.one().await;
        assert_eq!(told.failure(), FailureKind::ParentProxy);
        assert_eq!(told.upstream.len(), 1);
    }
}

#[tokio::test]
async fn websockets_and_http2_in_cleartext_go_through_a_tunnel_of_the_parent() {
    let parent = Parent::start(ParentKind::Http).await.unwrap();
    let lab = Lab::with(by(&through(&format!("http://{}", parent.addr())))).await;
    let script = vec![
        Step::ReadHead,
        Step::send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\nhello"),
        Step::Read(3),
    ];
    let origin = RawOrigin::plain(vec![script]).await.unwrap();
    let host = origin.authority();
    let mut client = lab.client(&[]).raw().await.unwrap();
    let fields = "Connection: Upgrade\r\nUpgrade: chat\r\n";
    client.send(format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n")).await.unwrap();
    client.read_until(b"hello").await.unwrap();
    client.send("bye").await.unwrap();
    client.half_close().await.unwrap();
    assert_eq!(lab.log.one().await.outcome(), &Outcome::Upgrade);
    assert_eq!(parent.asked(), [format!("CONNECT {host}")]);

    let origin = Origin::builder().alpn(&["h2"]).start().await.unwrap();
    let tunnel = lab.client(&[]).tunnel(&origin.authority()).await.unwrap();
    let mut client = testkit::HttpClient::http2(tunnel, &origin.authority()).await.unwrap();
    assert_eq!(client.get("/").await.unwrap().version, Version::HTTP_2);
    assert_eq!(parent.asked()[1], format!("CONNECT {}", origin.authority()));
}

#[tokio::test]
async fn routes_by_host_pattern_and_exceptions_decide_which_parent() {
    let (one, two) =
        (Parent::start(ParentKind::Http).await.unwrap(), Parent::start(ParentKind::Socks5).await.unwrap());
    let origin = Origin::plain().await.unwrap();
    let port = origin.addr().port();
    let routes = UpstreamRoutes::new();
    let pattern = |text: &str| text.parse::<TargetPattern>().unwrap();
    routes
        .set(Route::new(format!("http://{}", one.addr()).parse().unwrap()).except("[::1]".parse().unwrap()));
    let socks = Route::new(format!("socks5://{}", two.addr()).parse().unwrap());
    routes.set_host(pattern(&format!("127.0.0.0/8:{port}")), socks).unwrap();
    routes.set_host(pattern("direct.test"), Route::new("direct".parse().unwrap())).unwrap();
    let address = format!("direct.test:{port}:127.0.0.1").parse().unwrap();
    let set_up = by(&routes);
    let lab = Lab::with(|builder| set_up(builder).resolve(address)).await;
    for host in ["localhost", "127.0.0.1", "direct.test"] {
        let mut client = lab.client(&[]).http(&format!("{host}:{port}")).await.unwrap();
        assert_eq!(client.get("/").await.unwrap().status, 200, "{host}");
    }
    assert_eq!(one.asked(), [format!("GET http://localhost:{port}/")]);
    assert_eq!(two.asked(), [format!("SOCKS5 address 127.0.0.1:{port}")]);
    let parents: Vec<_> =
        lab.log.ended(3).await.iter().map(|told| told.upstream[0].0.parent.is_some()).collect();
    assert_eq!(parents, [true, true, false]);
}

#[tokio::test]
async fn an_edit_cuts_nothing_and_holds_from_the_next_request() {
    let parent = Parent::start(ParentKind::Http).await.unwrap();
    let routes = UpstreamRoutes::new();
    let lab = Lab::with(by(&routes)).await;
    let origin = Origin::plain().await.unwrap();
    let mut client = lab.client(&[]).http(&origin.authority()).await.unwrap();
    assert_eq!(client.get("/").await.unwrap().status, 200);
    let slow = lab.client(&[]).http(&origin.authority()).await.unwrap();
    let slow = tokio::spawn(async move {
        let mut slow = slow;
        slow.get("/slow-body").await.unwrap()
    });
    lab.log.until("the slow body to begin", |told| told.len() == 2 && told[1].response.is_some()).await;
    routes.set(Route::new(format!("http://{}", parent.addr()).parse().unwrap()));
    // The client's connection stays; its idle upstream connection goes the old way and is not used again.
    assert_eq!(client.get("/json").await.unwrap().status, 200);
    assert_eq!(parent.asked(), [format!("GET http://{}/json", origin.authority())]);
    origin.release();
    assert_eq!(slow.await.unwrap().status, 200);
    routes.clear();
    assert_eq!(client.get("/").await.unwrap().status, 200);
    assert_eq!(parent.asked().len(), 1);
    assert!(lab.log.ended(4).await.iter().all(|told| told.outcome() == &Outcome::Response));
}

#[tokio::test]
async fn a_parent_cannot_be_used_to_reach_the_proxy_itself() {
    let parent = Parent::start(ParentKind::Socks5).await.unwrap();
    for scheme in ["socks5", "socks5h"] {
        let lab = Lab::with(by(&through(&format!("{scheme}://{}", parent.addr())))).await;
        for host in ["localhost", "127.0.0.1"] {
            let own = format!("{host}:{}", lab.addr.port());
            let refused = lab.client(&[]).tunnel(&own).await.unwrap_err().to_string();
            assert!(refused.starts_with("HTTP/1.1 508"), "{refused}");
        }
    }
    assert!(parent.asked().is_empty());
}

#[tokio::test]
async fn a_proxy_that_is_its_own_parent_says_so() {
    let routes = UpstreamRoutes::new();
    let lab = Lab::with(by(&routes)).await;
    routes.set(Route::new(format!("http://{}", lab.addr).parse().unwrap()));
    let mut client = lab.client(&[]).http("origin.invalid").await.unwrap();
    assert_eq!(client.get("/").await.unwrap().status, 508);
    assert_eq!(lab.log.one().await.failure(), FailureKind::Loop);
}
