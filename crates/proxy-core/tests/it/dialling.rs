//! How upstream is reached: which addresses, which connections, for how long.

use std::time::Duration;

use proxy_core::{AddressPolicy, FailureKind, Limits, Outcome, ProxyBuilder, Timeouts, UpstreamSharing};
use testkit::{Origin, RawOrigin, Step};

use crate::lab::Lab;

fn idle_for(milliseconds: u64) -> impl FnOnce(ProxyBuilder) -> ProxyBuilder {
    let mut timeouts = Timeouts::default();
    timeouts.upstream_idle = Duration::from_millis(milliseconds);
    move |builder| builder.timeouts(timeouts)
}

fn shared(builder: ProxyBuilder) -> ProxyBuilder {
    builder.upstream_sharing(UpstreamSharing::Shared)
}

#[tokio::test]
async fn an_unused_upstream_connection_closes_in_time_without_another_request() {
    for alpn in ["http/1.1", "h2"] {
        let lab = Lab::with(idle_for(30)).await;
        let origin = Origin::https(&lab.origin_ca).await.unwrap();
        let mut client = lab.client(&[alpn]).https(&origin.authority()).await.unwrap();
        assert_eq!(client.get("/").await.unwrap().status, 200);
        origin.until(|counts| counts.closed == 1).await.unwrap();
        // The client's own connection is as good as ever.
        assert_eq!(client.get("/").await.unwrap().status, 200);
        origin.until(|counts| counts.closed == 2).await.unwrap();
    }
}

#[tokio::test]
async fn an_http2_connection_in_use_is_not_closed_for_being_old() {
    let lab = Lab::with(idle_for(30)).await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    let mut slow = lab.client(&["h2"]).https(&origin.authority()).await.unwrap();
    let slow = tokio::spawn(async move { slow.get("/slow-body").await.unwrap() });
    lab.log.until("the slow body to begin", |told| told.iter().any(|told| told.response.is_some())).await;
    for round in 1..=3 {
        let mut other = lab.client(&["h2"]).https(&origin.authority()).await.unwrap();
        assert_eq!(other.get("/").await.unwrap().status, 200);
        origin.until(|counts| counts.closed == round).await.unwrap();
    }
    origin.release();
    assert_eq!(slow.await.unwrap().status, 200);
    assert!(lab.log.ended(4).await.iter().all(|told| told.outcome() == &Outcome::Response));
}

#[tokio::test]
async fn no_more_unused_connections_are_kept_than_the_limit_says() {
    let mut limits = Limits::default();
    limits.max_idle_upstreams = 1;
    let lab = Lab::with(|builder| builder.limits(limits)).await;
    let (one, two) = (Origin::plain().await.unwrap(), Origin::plain().await.unwrap());
    let mut client = lab.client(&[]).raw().await.unwrap();
    for origin in [&one, &two] {
        let host = origin.authority();
        client.send(format!("GET http://{host}/status/204 HTTP/1.1\r\nHost: {host}\r\n\r\n")).await.unwrap();
        assert!(client.read_head().await.unwrap().starts_with("HTTP/1.1 204"));
    }
    one.until(|counts| counts.closed == 1).await.unwrap();
    assert_eq!(two.counts().closed, 0);
}

#[tokio::test]
async fn clients_share_upstream_connections_only_when_asked_to() {
    for (set_up, connections) in [(shared as fn(ProxyBuilder) -> ProxyBuilder, 1), (|builder| builder, 3)] {
        let lab = Lab::with(set_up).await;
        let origin = Origin::plain().await.unwrap();
        for round in 1..=3 {
            let mut client = lab.client(&[]).http(&origin.authority()).await.unwrap();
            assert_eq!(client.get("/").await.unwrap().status, 200);
            lab.log.ended(round).await;
        }
        assert_eq!(origin.counts().connections, connections);
    }
}

#[tokio::test]
async fn a_shared_http2_connection_serves_the_next_tunnel() {
    let lab = Lab::with(shared).await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    for round in 1..=2 {
        let mut client = lab.client(&["h2"]).https(&origin.authority()).await.unwrap();
        assert_eq!(client.get("/").await.unwrap().status, 200);
        lab.log.ended(round).await;
    }
    assert!(origin.seen().iter().all(|seen| seen.connection == 0));
}

#[tokio::test]
async fn a_connection_that_proves_a_user_is_never_shared() {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let script = vec![Step::ReadHead, Step::send(ok), Step::ReadHead, Step::send(ok), Step::ReadToEnd];
    for scheme in ["NTLM", "negotiate"] {
        let lab = Lab::with(shared).await;
        let origin = RawOrigin::plain(vec![script.clone()]).await.unwrap();
        let host = origin.authority();
        let (user, bystander) = (0, 1);
        let mut clients = [lab.client(&[]).raw().await.unwrap(), lab.client(&[]).raw().await.unwrap()];
        let plain = format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let proving =
            format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nAuthorization: {scheme} TlRM\r\n\r\n");
        for (client, request, connections) in [
            // It gets a connection of its own, which nobody else gets, and keeps it.
            (user, &proving, 1),
            (bystander, &plain, 2),
            (user, &plain, 2),
        ] {
            clients[client].send(request).await.unwrap();
            assert_eq!(clients[client].read_head().await.unwrap(), ok);
            lab.log.until("its ending", |told| told.iter().all(|told| !told.endings.is_empty())).await;
            assert_eq!(origin.connections(), connections, "{scheme}");
        }
        assert_eq!(
            origin.received(0),
            format!("{proving}{plain}").replace(&format!("http://{host}"), "").as_bytes()
        );
    }
}

#[tokio::test]
async fn private_addresses_are_refused_with_403_when_asked_and_the_refusal_is_recorded() {
    let origin = Origin::plain().await.unwrap();
    let port = origin.addr().port();
    let rebound = format!("rebound.test:{port}:127.0.0.1").parse().unwrap();
    let policy = AddressPolicy::block_private().allow(format!("localhost:{port}").parse().unwrap());
    let lab = Lab::with(|builder| builder.address_policy(policy).resolve(rebound)).await;
    for host in ["127.0.0.1", "rebound.test", "[::ffff:127.0.0.1]", "127.1", "0.0.0.0"] {
        let mut client = lab.client(&[]).http(&format!("{host}:{port}")).await.unwrap();
        let answer = client.get("/").await.unwrap();
        assert_eq!(answer.status, 403, "{host}");
        assert_eq!(answer.header("x-wirescope-error"), Some("blocked_address"), "{host}");
    }
    let refused = lab.client(&[]).tunnel("169.254.169.254:80").await.unwrap_err().to_string();
    assert!(refused.starts_with("HTTP/1.1 403") && refused.contains("metadata"), "{refused}");
    let told = lab.log.ended(6).await;
    assert!(
        told.iter().all(|told| told.failure() == FailureKind::BlockedAddress && told.upstream.is_empty())
    );
    let mut client = lab.client(&[]).http(&origin.authority()).await.unwrap();
    assert_eq!(client.get("/").await.unwrap().status, 200);
    assert_eq!(origin.counts().connections, 1);
}

#[tokio::test]
async fn a_name_is_dialled_where_the_override_says_and_verified_by_its_name() {
    let name = "shop.example";
    let resolve = |text: String| move |builder: ProxyBuilder| builder.resolve(text.parse().unwrap());
    let origin_ca = testkit::TestCa::new().unwrap();
    let leaf = origin_ca.leaf(&[name]).unwrap();
    let origin = Origin::builder().leaf(leaf).start().await.unwrap();
    let port = origin.addr().port();
    let trust = proxy_core::UpstreamTrust::nobody().with_ca(origin_ca.pem().as_bytes()).unwrap();
    let set_up = resolve(format!("*:{port}:127.0.0.1"));
    let lab = Lab::with(|builder| set_up(builder).upstream_trust(trust)).await;
    let mut client = lab.client(&["h2"]).https(&format!("{name}:{port}")).await.unwrap();
    assert_eq!(client.get("/").await.unwrap().status, 200);
    assert_eq!(lab.log.one().await.upstream[0].0.peer, origin.addr());
}
