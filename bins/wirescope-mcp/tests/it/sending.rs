use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;
use testkit::{Origin, TestCa};

use crate::agent::Agent;

#[tokio::test]
async fn a_request_goes_through_the_engine_and_is_recorded() {
    let (agent, origin, _proxy) = Agent::with_origin().await;
    let arguments = json!({
        "method": "POST", "url": origin.url("/echo?x=1"), "headers": [["X-Test", "1"], ["content-type", "text/plain"]],
        "body": "hello",
    });
    let sent = agent.ok("send_http_request", arguments).await;
    assert_eq!((&sent["statusCode"], &sent["body"]), (&json!(200), &json!("hello")), "{sent}");
    assert_eq!(sent["httpVersion"], "HTTP/2");
    let shown = agent.ok("proxy_get_exchange", json!({"exchange_id": sent["exchange_id"]})).await;
    let request = &shown["exchange"]["request"];
    assert_eq!((&request["method"], &request["url"]), (&json!("POST"), &json!(origin.url("/echo?x=1"))));
    assert_eq!(request["headers"]["x-test"], "1");
    let sent = agent
        .ok("send_http_request", json!({"method": "GET", "url": origin.url("/json"), "http_version": "1.1"}))
        .await;
    assert_eq!(sent["httpVersion"], "HTTP/1.1", "{sent}");

    // Rules apply.
    agent.ok("proxy_mock_response", json!({"url_pattern": "/mocked", "status": 418, "body": "short"})).await;
    let sent = agent.ok("send_http_request", json!({"method": "GET", "url": origin.url("/mocked")})).await;
    assert_eq!((&sent["statusCode"], &sent["body"]), (&json!(418), &json!("short")));
}

#[tokio::test]
async fn bytes_go_and_come_as_they_are() {
    let (agent, origin, _proxy) = Agent::with_origin().await;
    let bytes: Vec<u8> = (0..=255).cycle().take(5000).collect();
    let arguments = json!({
        "method": "PUT", "url": origin.url("/echo"), "body": STANDARD.encode(&bytes), "body_encoding": "base64",
        "body_limit": 3000,
    });
    let sent = agent.ok("send_http_request", arguments).await;
    assert_eq!((&sent["bodyEncoding"], &sent["bodySize"]), (&json!("base64"), &json!(5000)), "{sent}");
    assert_eq!(STANDARD.decode(sent["body"].as_str().unwrap()).unwrap(), bytes[..3000]);
    assert_eq!(sent["bodyNextOffset"], 3000);
    let sent = agent.ok("send_http_request", json!({"method": "GET", "url": origin.url("/gzip")})).await;
    assert!(sent.get("bodyEncoding").is_none() && sent.get("bodyProblem").is_none(), "{sent}");
}

#[tokio::test]
async fn certificates_are_verified_unless_a_host_is_named() {
    let (agent, _origin, _proxy) = Agent::with_origin().await;
    let unknown = TestCa::new().unwrap();
    let origin = Origin::https(&unknown).await.unwrap();
    let url = origin.url("/json");
    let error = agent.refused("send_http_request", json!({"method": "GET", "url": url}), "send_failed").await;
    assert!(error["error"].as_str().unwrap().contains("certificate_untrusted"), "{error}");
    let id = error["hint"]
        .as_str()
        .unwrap()
        .split("exchange_id ")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .to_owned();
    assert_eq!(agent.ok("explain_failure", json!({"exchange_id": id})).await["cause"], "upstream_untrusted");
    for ignore in [json!(["localhost"]), json!(true)] {
        let arguments = json!({"method": "GET", "url": url, "ignoreHostHttpsErrors": ignore});
        let sent = agent.ok("send_http_request", arguments).await;
        assert_eq!(sent["statusCode"], 200, "{sent}");
    }
    let arguments = json!({"method": "GET", "url": url, "ignoreHostHttpsErrors": ["elsewhere.test"]});
    agent.refused("send_http_request", arguments, "send_failed").await;
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_by_name() {
    let (agent, origin, _proxy) = Agent::with_origin().await;
    for (arguments, name) in [
        (json!({"method": "GET", "url": "not a url"}), "url"),
        (json!({"method": "GET", "url": "ftp://localhost/"}), "url"),
        (json!({"method": "G T", "url": origin.url("/")}), "method"),
        (json!({"method": "GET", "url": origin.url("/"), "headers": [["a b", "c"]]}), "headers"),
        (json!({"method": "GET", "url": origin.url("/"), "headers": [["a", "b\r\nc: d"]]}), "headers"),
        (json!({"method": "PUT", "url": origin.url("/"), "body": "%", "body_encoding": "base64"}), "body"),
    ] {
        let error = agent.refused("send_http_request", arguments, "invalid_argument").await;
        assert!(error["error"].as_str().unwrap().contains(name), "{error}");
    }
    assert_eq!(agent.ok("proxy_list_traffic", json!({})).await["total"], 0);
}
