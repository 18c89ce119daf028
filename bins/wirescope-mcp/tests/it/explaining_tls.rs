//! Causes of failures that lie in TLS, with real sockets.

use std::{net::SocketAddr, sync::Arc};

use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use testkit::{Origin, ProxyClient, RawOrigin, Step, TestCa};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::agent::{Agent, within};

const ALPN: [&str; 2] = ["h2", "http/1.1"];

/// Says hello for a name inside a tunnel, and leaves without a word once the answer begins.
async fn leaves_at_the_certificate(proxy: &ProxyClient, pem: &str, authority: &str, name: &str) {
    let config = testkit::client_config(pem, &ALPN).unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut tls = rustls::ClientConnection::new(Arc::clone(&config), name).unwrap();
    let mut hello = Vec::new();
    tls.write_tls(&mut hello).unwrap();
    let mut tunnel = proxy.tunnel(authority).await.unwrap();
    tunnel.write_all(&hello).await.unwrap();
    let mut head = [0; 5];
    within("the certificate", tunnel.read_exact(&mut head)).await.unwrap();
    let mut rest = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
    within("the certificate", tunnel.read_exact(&mut rest)).await.unwrap();
    // The certificate is in a record after the hello's; the close is to come behind it.
    let mut more = [0; 1];
    within("the certificate", tunnel.read_exact(&mut more)).await.unwrap();
    tunnel.shutdown().await.unwrap();
    let mut drained = Vec::new();
    let _ = within("the end", tunnel.read_to_end(&mut drained)).await;
}

async fn pem(agent: &Agent) -> String {
    agent.ok("proxy_get_ca_cert", json!({})).await["certPem"].as_str().unwrap().to_owned()
}

fn causes(told: &Value) -> Vec<&Value> {
    let others = told["others"].as_array().into_iter().flatten().map(|other| &other["cause"]);
    std::iter::once(&told["cause"]).chain(others).collect()
}

#[tokio::test]
async fn a_client_that_leaves_only_over_one_host_pins_its_certificate() {
    let origin = Origin::https(&TestCa::new().unwrap()).await.unwrap();
    let port = origin.authority().rsplit_once(':').unwrap().1.to_owned();
    let resolve = format!("pinned.test:{port}:127.0.0.1");
    let agent = Agent::with(&["--resolve", &resolve, "--insecure-upstream", "*"]).await;
    let proxy = agent.start_proxy(json!({})).await;
    let mut client = proxy.https(&origin.authority()).await.unwrap();
    assert_eq!(client.get("/json").await.unwrap().status, 200);
    agent.settled(1).await;
    let pem = pem(&agent).await;
    for count in 2..4 {
        let authority = format!("pinned.test:{port}");
        leaves_at_the_certificate(&proxy, &pem, &authority, "pinned.test").await;
        agent.settled(count).await;
    }
    let told = agent.ok("explain_failure", json!({"host": "pinned.test"})).await;
    assert_eq!((&told["cause"], &told["side"]), (&json!("certificate_pinned"), &json!("client")), "{told}");
    assert!(told["evidence"].to_string().contains("e1: this client accepted"), "{told}");
    assert!(told["fix"].to_string().contains("--passthrough pinned.test"), "{told}");
}

#[tokio::test]
async fn a_client_that_names_no_host_and_leaves_is_told_so() {
    let (agent, origin, proxy) = Agent::with_origin().await;
    let pem = pem(&agent).await;
    leaves_at_the_certificate(&proxy, &pem, &origin.authority(), "127.0.0.1").await;
    agent.settled(1).await;
    let told = agent.ok("explain_failure", json!({"exchange_id": "e1"})).await;
    assert_eq!((&told["cause"], &told["phase"]), (&json!("no_sni"), &json!("client_tls")), "{told}");
    assert!(told["evidence"].to_string().contains("names no host"), "{told}");
}

#[tokio::test]
async fn a_host_on_the_passthrough_list_is_told_so() {
    let ca = TestCa::new().unwrap();
    let origin = Origin::https(&ca).await.unwrap();
    let agent = Agent::with(&["--passthrough", "localhost"]).await;
    let started = agent.ok("proxy_start", json!({})).await;
    let port = u16::try_from(started["port"].as_u64().unwrap()).unwrap();
    let proxy = ProxyClient::new(SocketAddr::from(([127, 0, 0, 1], port)), ca.pem(), &["http/1.1"]).unwrap();
    let mut client = proxy.https(&origin.authority()).await.unwrap();
    assert_eq!(client.get("/json").await.unwrap().status, 200);
    drop(client);
    agent.settled(1).await;
    let told = agent.ok("explain_failure", json!({"host": "localhost", "url_contains": "/json"})).await;
    assert!(causes(&told).contains(&&json!("passed_through")), "{told}");
    assert!(told.to_string().contains("take localhost off --passthrough"), "{told}");
}

#[tokio::test]
async fn an_alert_of_upstream_is_told_with_its_meaning() {
    /// Fatal, handshake_failure (RFC 8446 section 6).
    const ALERT: [u8; 7] = [21, 3, 3, 0, 2, 2, 40];
    let origin =
        RawOrigin::plain(vec![vec![Step::Read(5), Step::send(ALERT), Step::ReadToEnd]]).await.unwrap();
    let agent = Agent::new().await;
    let proxy = agent.start_proxy(json!({})).await;
    if let Ok(mut client) = proxy.https(&origin.authority()).await {
        assert_eq!(client.get("/").await.unwrap().status, 502);
    }
    agent.settled(1).await;
    let told = agent.ok("explain_failure", json!({"exchange_id": "e1"})).await;
    assert_eq!((&told["cause"], &told["side"]), (&json!("upstream_tls"), &json!("upstream")), "{told}");
    assert_eq!(told["phase"], "upstream_tls");
    let evidence = told["evidence"].to_string();
    assert!(evidence.contains("handshake_failure: it found no common parameters"), "{told}");
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_told_with_a_way_out() {
    let agent = Agent::new().await;
    let proxy = agent.start_proxy(json!({})).await;
    let mut client = proxy.http("no-such-host.invalid").await.unwrap();
    assert_eq!(client.get("/").await.unwrap().status, 502);
    agent.settled(1).await;
    let told = agent.ok("explain_failure", json!({"exchange_id": "e1"})).await;
    assert_eq!((&told["cause"], &told["phase"]), (&json!("dns"), &json!("dns")), "{told}");
    assert!(told["fix"].to_string().contains("--resolve no-such-host.invalid:80:"), "{told}");
}
