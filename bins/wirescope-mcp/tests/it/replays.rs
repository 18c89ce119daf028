//! Recorded requests sent again, and recordings compared.

use rmcp::model::{CallToolRequestParams, ClientRequest, Request};
use serde_json::{Value, json};
use testkit::full;

use crate::agent::Agent;

#[tokio::test]
async fn sessions_are_replayed_through_the_engine_and_compared() {
    let (agent, origin, proxy) = Agent::with_origin().await;
    let mut client = proxy.https(&origin.authority()).await.unwrap();
    client.get("/json").await.unwrap();
    client.post("/echo?n=1", full("needle {{name}}")).await.unwrap();
    client.get("/status/404").await.unwrap();
    agent.settled(3).await;

    let planned = agent.ok("proxy_replay_session", json!({"session_id": "s1"})).await;
    assert_eq!((&planned["mode"], &planned["selectedCount"]), (&json!("dry_run"), &json!(3)));
    assert_eq!(planned["items"][1]["hasRequestBody"], true);
    assert_eq!(planned["executedCount"], 0);
    assert_eq!(origin.counts().requests, 3);

    agent
        .ok(
            "proxy_add_rule",
            json!({"matcher": {"method": "GET", "urlPattern": "/json"}, "handler": {"type": "mock", "status": 503, "body": "down"}}),
        )
        .await;
    let told = agent
        .ok(
            "proxy_replay_session",
            json!({"session_id": "s1", "mode": "execute", "sort": "asc", "changes": ["var name=ann"], "concurrency": 2}),
        )
        .await;
    assert_eq!(
        (&told["executedCount"], &told["successCount"], &told["sameCount"]),
        (&json!(3), &json!(3), &json!(1)),
        "{told}"
    );
    let first = &told["items"][0];
    assert_eq!((&first["statusBefore"], &first["statusCode"]), (&json!(200), &json!(503)), "{told}");
    assert_eq!(first["differs"][0], "status");
    let echoed = &told["items"][1];
    assert_eq!(echoed["differs"], json!(["resp.body.line.1"]), "{told}");

    let diff =
        agent.ok("diff_exchanges", json!({"left": echoed["exchangeId"], "right": echoed["replayId"]})).await;
    assert_eq!(diff["rows"][0], json!(["req.body.line.1", "needle {{name}}", "needle ann"]), "{diff}");
    let found = agent
        .ok("proxy_query_session", json!({"session_id": "s1", "filter": format!("replay-of:{}", first["exchangeId"].as_str().unwrap())}))
        .await;
    assert_eq!(found["total"], 1, "{found}");
    let same = agent.ok("diff_exchanges", json!({"left": "e1", "right": "e1", "volatile": "list"})).await;
    assert_eq!((&same["total"], &same["rows"]), (&json!(0), &json!([])));

    let itself = agent.ok("diff_sessions", json!({"left": "s1", "right": "s1"})).await;
    assert!(itself["rows"].as_array().unwrap().iter().all(|row| row[1] == "alike"), "{itself}");
    let detail = agent
        .ok("diff_sessions", json!({"left": "s1", "right": "s1", "endpoint": "GET localhost/json"}))
        .await;
    assert_eq!(detail["pairs"], json!({"compared": 2, "differing": 0, "unpaired": [0, 0]}), "{detail}");
}

#[tokio::test]
async fn what_cannot_be_replayed_or_compared_is_refused() {
    let (agent, origin, proxy) = Agent::with_origin().await;
    proxy.https(&origin.authority()).await.unwrap().get("/json").await.unwrap();
    agent.settled(1).await;
    for (arguments, code) in [
        (json!({"session_id": "s9"}), "unknown_session"),
        (json!({"session_id": "s1", "exchange_ids": ["e9"]}), "unknown_exchange"),
        (json!({"session_id": "s1", "target_base_url": "localhost:1"}), "invalid_argument"),
        (json!({"session_id": "s1", "changes": ["header a b: c"]}), "invalid_argument"),
        (json!({"session_id": "s1", "changes": ["replace x"]}), "invalid_argument"),
        (json!({"session_id": "s1", "changes": ["x"]}), "invalid_argument"),
        (json!({"session_id": "s1", "filter": "status:"}), "invalid_argument"),
    ] {
        agent.refused("proxy_replay_session", arguments, code).await;
    }
    agent.refused("diff_exchanges", json!({"left": "e1", "right": "e9"}), "unknown_exchange").await;
    agent.refused("diff_sessions", json!({"left": "s1", "right": "s9"}), "unknown_session").await;
    let bad = json!({"left": "s1", "right": "s1", "endpoint": "everything"});
    agent.refused("diff_sessions", bad, "invalid_argument").await;
    agent.ok("proxy_stop", json!({})).await;
    agent
        .refused("proxy_replay_session", json!({"session_id": "s1", "mode": "execute"}), "not_running")
        .await;
}

#[tokio::test]
async fn a_cancelled_replay_leaves_what_is_done_recorded() {
    let (agent, origin, proxy) = Agent::with_origin().await;
    let mut client = proxy.https(&origin.authority()).await.unwrap();
    let held = tokio::spawn(async move { client.get("/slow-headers").await.map(drop) });
    origin.until(|counts| counts.requests == 1).await.unwrap();
    origin.release();
    held.await.unwrap().unwrap();
    agent.settled(1).await;
    let arguments = json!({"session_id": "s1", "mode": "execute", "timeout_ms": 600_000});
    let Value::Object(map) = arguments else { panic!() };
    let params = CallToolRequestParams::new("proxy_replay_session").with_arguments(map);
    let request = ClientRequest::CallToolRequest(Request::new(params));
    let call = agent
        .client
        .send_cancellable_request(request, rmcp::service::PeerRequestOptions::no_options())
        .await
        .unwrap();
    origin.until(|counts| counts.requests == 2).await.unwrap();
    call.cancel(Some("enough".to_owned())).await.unwrap();
    let all = agent.settled(2).await;
    let broken = all["exchanges"].as_array().unwrap().iter().filter(|row| row["id"] == "e2").count();
    assert_eq!(broken, 1, "{all}");
}
