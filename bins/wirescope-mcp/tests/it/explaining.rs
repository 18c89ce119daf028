use serde_json::json;
use testkit::{Origin, ProxyClient, TestCa};

use crate::agent::Agent;

#[tokio::test]
async fn a_client_that_does_not_trust_the_ca_is_told_apart_from_one_that_pins() {
    let (agent, origin, proxy) = Agent::with_origin().await;
    let port = agent.ok("proxy_status", json!({})).await["port"].as_u64().unwrap();
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], u16::try_from(port).unwrap()));
    let stranger = TestCa::new().unwrap();
    let distrusting = ProxyClient::new(address, stranger.pem(), &["http/1.1"]).unwrap();
    let _ = distrusting.https(&origin.authority()).await;
    agent.settled(1).await;
    let told = agent.ok("explain_failure", json!({"exchange_id": "e1"})).await;
    assert_eq!((&told["cause"], &told["side"]), (&json!("client_distrusts_ca"), &json!("client")), "{told}");
    assert_eq!(told["phase"], "client_tls");
    assert!(told["evidence"].to_string().contains("alert"), "{told}");
    assert!(told["fix"][0].as_str().unwrap().contains("trust the CA"), "{told}");
    let told = agent.ok("explain_failure", json!({"host": "localhost"})).await;
    assert_eq!((&told["cause"], &told["exchange_id"]), (&json!("client_distrusts_ca"), &json!("e1")));
    drop(proxy);
}

#[tokio::test]
async fn upstreams_that_are_not_there_are_told_by_their_step() {
    let (agent, _origin, proxy) = Agent::with_origin().await;
    // A port that nothing listens at any more.
    let closed = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let mut client = proxy.http(&closed.to_string()).await.unwrap();
    assert_eq!(client.get("/").await.unwrap().status, 502);
    agent.settled(1).await;
    let told = agent.ok("explain_failure", json!({"exchange_id": "e1"})).await;
    assert_eq!((&told["cause"], &told["phase"]), (&json!("connection_refused"), &json!("connect")), "{told}");
    assert_eq!((&told["side"], &told["certainty"]), (&json!("upstream"), &json!("certain")));

    // An origin whose authority is not known.
    let unknown = TestCa::new().unwrap();
    let origin = Origin::https(&unknown).await.unwrap();
    let mut client = proxy.https(&origin.authority()).await.unwrap();
    assert_eq!(client.get("/json").await.unwrap().status, 502);
    let listed = agent.settled(2).await;
    let id = listed["exchanges"][1]["id"].clone();
    let told = agent.ok("explain_failure", json!({"exchange_id": id})).await;
    assert_eq!(
        (&told["cause"], &told["phase"]),
        (&json!("upstream_untrusted"), &json!("upstream_tls")),
        "{told}"
    );
    assert!(told["fix"].to_string().contains("--upstream-ca"), "{told}");
}

#[tokio::test]
async fn error_answers_are_told_with_what_their_bodies_say() {
    let (agent, origin, proxy) = Agent::with_origin().await;
    let body = r#"{"error":{"code":17,"message":"no such plan"}}"#;
    let arguments = json!({"url_pattern": "/plan", "status": 422, "body": body});
    let rule = agent.ok("proxy_mock_response", arguments).await["rule_id"].clone();
    let mut client = proxy.https(&origin.authority()).await.unwrap();
    client.get("/status/404").await.unwrap();
    client.get("/plan").await.unwrap();
    client.get("/json").await.unwrap();
    agent.settled(3).await;
    let told = agent.ok("explain_failure", json!({"exchange_id": "e1"})).await;
    assert_eq!((&told["cause"], &told["phase"]), (&json!("http_error"), &json!("response")), "{told}");
    assert!(told["summary"].as_str().unwrap().contains("404"), "{told}");
    let told = agent.ok("explain_failure", json!({"exchange_id": "e2"})).await;
    assert_eq!(told["cause"], "rule", "{told}");
    assert!(told["fix"][0].as_str().unwrap().contains(rule.as_str().unwrap()), "{told}");
    assert_eq!(told["body"]["fields"][1], json!(["/error/message", "no such plan"]), "{told}");
    assert_eq!(agent.ok("explain_failure", json!({"exchange_id": "e3"})).await["cause"], "none");
    agent.refused("explain_failure", json!({"exchange_id": "e9"}), "unknown_exchange").await;
    agent.refused("explain_failure", json!({}), "invalid_argument").await;
}

#[tokio::test]
async fn what_is_missing_has_its_causes_too() {
    let (agent, origin, proxy) = Agent::with_origin().await;
    let told = agent.ok("explain_failure", json!({"host": "api.example.test"})).await;
    assert_eq!((&told["cause"], &told["certainty"]), (&json!("not_proxied"), &json!("likely")), "{told}");
    let arguments = json!({"direction": "response", "headers": {"alt-svc": "h3=\":443\"; ma=86400"}, "url_pattern": "/json"});
    agent.ok("proxy_inject_headers", arguments).await;
    let mut client = proxy.https(&origin.authority()).await.unwrap();
    client.get("/json").await.unwrap();
    agent.settled(1).await;
    let told = agent.ok("explain_failure", json!({"host": "api.example.test"})).await;
    let causes: Vec<_> = std::iter::once(&told["cause"])
        .chain(told["others"].as_array().unwrap().iter().map(|other| &other["cause"]))
        .collect();
    assert!(causes.contains(&&json!("no_proxy")) && causes.contains(&&json!("http3_bypass")), "{told}");
    let told = agent.ok("explain_failure", json!({"host": "localhost", "url_contains": "/never"})).await;
    assert_eq!(told["cause"], "not_requested", "{told}");
    assert_eq!(told["seen"], json!(["e1"]));
}
