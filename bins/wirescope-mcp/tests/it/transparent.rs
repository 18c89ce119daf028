//! The transparent listener, by its tools.

use serde_json::json;
use testkit::{HttpClient, Origin};
use tokio::net::TcpStream;

use crate::agent::Agent;

#[tokio::test]
async fn redirected_clients_are_recorded_beside_the_others() {
    let agent = Agent::new().await;
    agent.refused("proxy_start_transparent", json!({"port": 0}), "not_running").await;
    let proxy = agent.start_proxy(json!({})).await;
    agent.refused("proxy_stop_transparent", json!({}), "not_running").await;
    let idle = agent.ok("proxy_transparent_status", json!({})).await;
    assert_eq!(idle, json!({"status": "success", "running": false, "port": null, "trafficCount": 0}));

    let started = agent.ok("proxy_start_transparent", json!({"port": 0})).await;
    let port = u16::try_from(started["port"].as_u64().unwrap()).unwrap();
    assert!(started["instructions"].to_string().contains(&port.to_string()), "{started}");
    agent.refused("proxy_start_transparent", json!({}), "already_running").await;

    let origin = Origin::plain().await.unwrap();
    let tcp = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let mut client = HttpClient::http1(tcp, String::new(), &origin.authority()).await.unwrap();
    assert_eq!(client.get("/json").await.unwrap().status, 200);
    let mut explicit = proxy.http(&origin.authority()).await.unwrap();
    assert_eq!(explicit.get("/status/204").await.unwrap().status, 204);
    agent.settled(2).await;
    for (source, path) in [("transparent", "/json"), ("explicit", "/status/204")] {
        let listed = agent.ok("proxy_list_traffic", json!({"source_filter": source})).await;
        assert_eq!(listed["total"], 1, "{listed}");
        assert!(listed.to_string().contains(path), "{listed}");
    }
    let status = agent.ok("proxy_transparent_status", json!({})).await;
    assert_eq!((&status["running"], &status["trafficCount"]), (&json!(true), &json!(1)), "{status}");
    assert_eq!(agent.ok("proxy_status", json!({})).await["transparentProxy"]["port"], port);

    drop(client);
    agent.ok("proxy_stop_transparent", json!({})).await;
    TcpStream::connect(("127.0.0.1", port)).await.unwrap_err();
    assert_eq!(agent.ok("proxy_status", json!({})).await["running"], true);
}

#[tokio::test]
async fn the_transparent_listener_goes_with_the_proxy_and_says_when_it_cannot_be_had() {
    let agent = Agent::new().await;
    let _proxy = agent.start_proxy(json!({})).await;
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    agent.refused("proxy_start_transparent", json!({"port": port}), "port_in_use").await;
    let started = agent.ok("proxy_start_transparent", json!({"port": 0})).await;
    let port = u16::try_from(started["port"].as_u64().unwrap()).unwrap();
    agent.ok("proxy_stop", json!({})).await;
    TcpStream::connect(("127.0.0.1", port)).await.unwrap_err();
    assert_eq!(agent.ok("proxy_transparent_status", json!({})).await["running"], false);
}
