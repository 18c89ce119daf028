use serde_json::{Value, json};
use testkit::full;

use crate::agent::Agent;

async fn seeded() -> (Agent, testkit::Origin, testkit::ProxyClient) {
    let (agent, origin, proxy) = Agent::with_origin().await;
    let body = r#"{"id":1,"name":"ann","at":"2026-11-21T08:00:00Z","tags":["a"]}"#;
    let arguments = json!({"url_pattern": "/users/", "status": 200, "body": body});
    agent.ok("proxy_mock_response", arguments).await;
    let mut client = proxy.https(&origin.authority()).await.unwrap();
    for n in 1..=8 {
        let state = ["open", "closed"][n % 2];
        let body = format!(r#"{{"n":{n},"state":"{state}","note":null,"password":"p{n}"}}"#);
        client.post(&format!("/echo?page={n}"), full(body)).await.unwrap();
    }
    client.get("/json").await.unwrap();
    client.get("/status/404").await.unwrap();
    agent.settled(10).await;
    (agent, origin, proxy)
}

#[tokio::test]
async fn an_api_is_inferred_from_traffic_and_checked_against_it() {
    let (agent, origin, proxy) = seeded().await;
    let api = agent.ok("infer_api", json!({"examples": true})).await;
    assert_eq!(api["origin"], format!("https://{}", origin.authority()), "{api}");
    let document = &api["document"];
    assert_eq!(document["openapi"], "3.1.0");
    let echo = &document["paths"]["/echo"]["post"];
    assert_eq!(echo["parameters"][0]["name"], "page");
    assert_eq!(echo["parameters"][0]["schema"], json!({"type": "integer"}));
    assert!(document["paths"]["/json"]["get"]["responses"]["200"]["content"].is_object(), "{document}");
    assert!(!document.to_string().contains("\"p1\""), "credentials are masked: {document}");

    let file = agent.path("api.openapi.json");
    let written = agent.ok("infer_api", json!({"output_file": "api.openapi.json"})).await;
    assert_eq!(written["output_file"], file.to_str().unwrap());
    let read: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(read["paths"].as_object().unwrap().len(), document["paths"].as_object().unwrap().len());

    let same = agent.ok("check_api_drift", json!({"against": "api.openapi.json"})).await;
    assert_eq!((&same["conforms"], &same["changes"]), (&json!(true), &json!([])), "{same}");
    let mut client = proxy.https(&origin.authority()).await.unwrap();
    client.get("/status/500").await.unwrap();
    client.get("/json?new=1").await.unwrap();
    agent.settled(12).await;
    let drift = agent.ok("check_api_drift", json!({"against": "api.openapi.json"})).await;
    let kinds: Vec<&str> =
        drift["changes"].as_array().unwrap().iter().map(|it| it["kind"].as_str().unwrap()).collect();
    assert!(kinds.contains(&"new_parameter"), "{drift}");
    assert_eq!(drift["conforms"], false);
    let drift = agent.ok("check_api_drift", json!({"against": "s1", "session_id": "s1"})).await;
    assert_eq!(drift["conforms"], true, "{drift}");
}

#[tokio::test]
async fn what_cannot_be_inferred_or_checked_says_why() {
    let (agent, _origin, _proxy) = seeded().await;
    let error = agent.refused("infer_api", json!({"host": "elsewhere.test"}), "unknown_host").await;
    assert!(error["hint"].as_str().unwrap().contains("localhost"), "{error}");
    agent.refused("infer_api", json!({"session_id": "s99"}), "unknown_session").await;
    agent.refused("infer_api", json!({"output_file": "/etc/api.json"}), "path_not_allowed").await;
    agent.refused("infer_api", json!({"output_file": "api.yaml"}), "invalid_argument").await;
    std::fs::write(agent.path("mine.json"), "{}").unwrap();
    agent.refused("infer_api", json!({"output_file": "mine.json"}), "file_exists").await;
    agent.refused("check_api_drift", json!({"against": "mine.json"}), "not_openapi").await;
    agent.refused("check_api_drift", json!({"against": "none.json"}), "file_unreadable").await;
    agent.refused("infer_api", json!({"filter": "status:abc"}), "invalid_argument").await;
}
