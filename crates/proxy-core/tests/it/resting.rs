//! Tunnels where upstream connections are shared: the pool is asked before upstream is.

use proxy_core::{ProxyBuilder, TlsOptions, UpstreamSharing};
use testkit::{Origin, RawOrigin, Step};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::lab::Lab;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

fn shared(builder: ProxyBuilder) -> ProxyBuilder {
    builder.upstream_sharing(UpstreamSharing::Shared)
}

/// Lets the client of a tunnel that offers `alpn` ask for `path`, and go: what it agreed on, and the leaf it saw.
async fn visit(lab: &Lab, authority: &str, alpn: &[&str], path: &str) -> (Option<Vec<u8>>, Vec<u8>) {
    let tls = lab.client(alpn).tls(authority).await.unwrap();
    let session = tls.get_ref().1;
    let agreed = session.alpn_protocol().map(<[u8]>::to_vec);
    let leaf = session.peer_certificates().unwrap()[0].to_vec();
    let mut client = testkit::HttpClient::over_tls(tls, authority).await.unwrap();
    assert_eq!(client.get(path).await.unwrap().status, 200);
    (agreed, leaf)
}

#[tokio::test]
async fn a_tunnel_is_not_dialled_where_a_connection_rests() {
    let lab = Lab::with(shared).await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    let mut leafs = Vec::new();
    for round in 1..=4 {
        let (agreed, leaf) = visit(&lab, &origin.authority(), &["http/1.1"], "/").await;
        assert_eq!(agreed.unwrap(), b"http/1.1");
        leafs.push(leaf);
        lab.log.ended(round).await;
    }
    assert_eq!(origin.counts().connections, 1);
    assert!(
        leafs.iter().all(|leaf| *leaf == leafs[0]),
        "the leaf mirrors upstream's certificate all the same"
    );
    let told = lab.log.all();
    let reused: Vec<_> = told.iter().map(|told| told.upstream[0].1).collect();
    assert_eq!(reused, [false, true, true, true]);
    assert!(told.iter().all(|told| told.upstream[0].0.tls.is_some()));
}

#[tokio::test]
async fn a_client_that_offers_something_else_is_answered_with_what_upstream_makes_of_that() {
    let lab = Lab::with(shared).await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    let both = ["h2", "http/1.1"];
    for (round, (offered, agreed, connections)) in [
        (&both[1..], Some("http/1.1"), 1),
        // What it makes of both is not known yet.
        (&both[..], Some("h2"), 2),
        (&both, Some("h2"), 2),
        (&[], None, 3),
        (&[], None, 3),
        (&both[1..], Some("http/1.1"), 3),
    ]
    .into_iter()
    .enumerate()
    {
        let (answer, _) = visit(&lab, &origin.authority(), offered, "/").await;
        assert_eq!(answer.as_deref(), agreed.map(str::as_bytes), "{offered:?}");
        lab.log.ended(round + 1).await;
        assert_eq!(origin.counts().connections, connections, "{offered:?}");
    }
}

#[tokio::test]
async fn a_connection_that_closed_while_it_rested_is_replaced() {
    let lab = Lab::with(shared).await;
    let once = vec![Step::ReadHead, Step::send(OK)];
    let scripts = vec![once.clone(), once];
    let origin = RawOrigin::https(&lab.origin_ca, &["http/1.1"], scripts).await.unwrap();
    for round in 1..=2 {
        visit(&lab, &origin.authority(), &["http/1.1"], "/").await;
        lab.log.ended(round).await;
        origin.finished(round).await.unwrap();
    }
    assert_eq!(origin.connections(), 2);
}

#[tokio::test]
async fn what_is_no_http_gets_a_connection_of_its_own_where_others_rest() {
    let lab = Lab::with(shared).await;
    let http = vec![Step::ReadHead, Step::send(OK), Step::ReadToEnd];
    let raw = vec![Step::read_until("\0\x01ping"), Step::send("pong"), Step::ReadToEnd];
    let greeting = vec![Step::send("220 ready\r\n"), Step::ReadToEnd];
    let origin = RawOrigin::plain(vec![http, raw, greeting]).await.unwrap();
    let host = origin.authority();
    let mut client = lab.client(&[]).http(&host).await.unwrap();
    assert_eq!(client.get("/").await.unwrap().status, 200);
    lab.log.ended(1).await;
    let mut tunnel = lab.client(&[]).tunnel(&host).await.unwrap();
    tunnel.write_all(b"\0\x01ping").await.unwrap();
    let mut answer = [0; 4];
    tunnel.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"pong");
    assert_eq!(origin.connections(), 2);
    // A client that waits for upstream's first word gets it.
    let mut tunnel = lab.client(&[]).tunnel(&host).await.unwrap();
    let mut answer = [0; 11];
    tunnel.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"220 ready\r\n");
}

#[tokio::test]
async fn tls_that_passes_through_is_never_put_on_a_connection_that_rests() {
    let options = TlsOptions::new().with_only("decrypted.test".parse().unwrap());
    let lab = Lab::with(|builder| shared(builder).tls(options)).await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    let client = testkit::ProxyClient::new(lab.addr, lab.origin_ca.pem(), &["http/1.1"]).unwrap();
    for round in 1..=2 {
        let mut client = client.https(&origin.authority()).await.unwrap();
        assert_eq!(client.get("/").await.unwrap().status, 200);
        drop(client);
        lab.log.ended(round).await;
    }
    assert_eq!(origin.counts().connections, 2);
}
