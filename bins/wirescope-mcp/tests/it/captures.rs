use serde_json::{Value, json};
use testkit::full;

use crate::agent::{Agent, ids, rows};

#[tokio::test]
async fn reading_consumes_and_peeking_does_not() {
    let (agent, origin, proxy) = Agent::with_origin().await;
    let mut client = proxy.https(&origin.authority()).await.unwrap();
    client.get("/json").await.unwrap();
    let started = agent.ok("start_live_capture", json!({})).await;
    assert_eq!((&started["status"], &started["managed"]), (&json!("active"), &json!(false)));
    let id = &started["capture_id"];
    for _ in 0..3 {
        // Identical requests stay apart.
        client.get("/json?same=1").await.unwrap();
    }
    agent.settled(4).await;
    let peeked = agent.ok("peek_live_capture", json!({"capture_id": id})).await;
    assert_eq!(ids(&peeked["rows"]), ["e2", "e3", "e4"]);
    assert_eq!((&rows(&peeked)[0]["status"], &rows(&peeked)[0]["method"]), (&json!(200), &json!("GET")));
    let whole = json!({"capture_id": id, "fields": ["*"]});
    let item = &agent.ok("peek_live_capture", whole).await["items"][0];
    assert_eq!((&item["path"], &item["query"]), (&json!("/json"), &json!("same=1")));
    assert_eq!((&item["status"], &item["response_status"]), (&json!("COMPLETE"), &json!(200)));

    let first = agent.ok("read_live_capture", json!({"capture_id": id, "limit": 2})).await;
    assert_eq!(ids(&first["rows"]), ["e2", "e3"]);
    assert_eq!((&first["total_new_items"], &first["truncated"]), (&json!(3), &json!(true)));
    let second = agent.ok("read_live_capture", json!({"capture_id": id})).await;
    assert_eq!(ids(&second["rows"]), ["e4"]);
    assert_eq!((&second["total_new_items"], &second["truncated"]), (&json!(1), &json!(false)));
    let empty = agent.ok("read_live_capture", json!({"capture_id": id})).await;
    assert!(empty["rows"].as_array().unwrap().is_empty());
    assert_eq!(empty["next_cursor"], second["next_cursor"]);
    let back = agent.ok("read_live_capture", json!({"capture_id": id, "cursor": 0})).await;
    assert_eq!(ids(&back["rows"]), ["e2", "e3", "e4"]);
}

#[tokio::test]
async fn several_captures_have_cursors_of_their_own() {
    let (agent, origin, proxy) = Agent::with_origin().await;
    let mut client = proxy.https(&origin.authority()).await.unwrap();
    client.get("/json").await.unwrap();
    let whole = agent.ok("start_live_capture", json!({"include_existing": true})).await["capture_id"].clone();
    let new = agent.ok("start_live_capture", json!({})).await["capture_id"].clone();
    client.get("/json").await.unwrap();
    // A session in between does not interrupt them.
    agent.ok("proxy_session_start", json!({"session_name": "mid"})).await;
    client.get("/json").await.unwrap();
    let read = agent.ok("read_live_capture", json!({"capture_id": whole})).await;
    assert_eq!(ids(&read["rows"]), ["e1", "e2", "e3"]);
    let read = agent.ok("read_live_capture", json!({"capture_id": new})).await;
    assert_eq!(ids(&read["rows"]), ["e2", "e3"]);
    agent.refused("read_live_capture", json!({"capture_id": "c9"}), "unknown_capture").await;
}

#[tokio::test]
async fn what_was_read_in_progress_is_told_once_more_when_it_ended() {
    let (agent, origin, proxy) = Agent::with_origin().await;
    let id = agent.ok("start_live_capture", json!({})).await["capture_id"].clone();
    let mut client = proxy.https(&origin.authority()).await.unwrap();
    let waiting = tokio::spawn(async move { client.get("/slow-headers").await.unwrap().status });
    origin.until(|counts| counts.requests > 0).await.unwrap();
    let read = agent.ok("read_live_capture", json!({"capture_id": id})).await;
    assert_eq!((&rows(&read)[0]["id"], &rows(&read)[0]["ms"]), (&json!("e1"), &Value::Null), "{read}");
    origin.release();
    waiting.await.unwrap();
    agent.settled(1).await;
    let read = agent.ok("read_live_capture", json!({"capture_id": id})).await;
    assert!(read["rows"].as_array().unwrap().is_empty());
    assert_eq!(rows(&read["updated"])[0]["status"], 200, "{read}");
    let read = agent.ok("read_live_capture", json!({"capture_id": id})).await;
    assert!(read.get("updated").is_none(), "{read}");
}

#[tokio::test]
async fn clearing_the_traffic_is_seen_once() {
    let (agent, origin, proxy) = Agent::with_origin().await;
    let mut client = proxy.https(&origin.authority()).await.unwrap();
    let id = agent.ok("start_live_capture", json!({})).await["capture_id"].clone();
    client.get("/json").await.unwrap();
    agent.settled(1).await;
    agent.ok("proxy_clear_traffic", json!({})).await;
    client.get("/json").await.unwrap();
    let peeked = agent.ok("peek_live_capture", json!({"capture_id": id})).await;
    assert_eq!(peeked["status"], "reset_detected");
    let read = agent.ok("read_live_capture", json!({"capture_id": id})).await;
    assert_eq!(read["status"], "reset_detected");
    assert!(read["warnings"].to_string().contains("session_reset_detected"));
    assert_eq!(ids(&read["rows"]), ["e2"]);
    assert_eq!(agent.ok("read_live_capture", json!({"capture_id": id})).await["status"], "active");
}

#[tokio::test]
async fn stopping_writes_what_was_captured() {
    let (agent, origin, proxy) = Agent::with_origin().await;
    let mut client = proxy.https(&origin.authority()).await.unwrap();
    client.get("/json").await.unwrap();
    let id = agent.ok("start_live_capture", json!({})).await["capture_id"].clone();
    client.post("/echo", full("one")).await.unwrap();
    client.post("/echo", full("two")).await.unwrap();
    agent.settled(3).await;
    let stopped = agent.ok("stop_live_capture", json!({"capture_id": id})).await;
    assert_eq!((&stopped["status"], &stopped["total_items"]), (&json!("stopped"), &json!(2)));
    let har = std::fs::read(stopped["persisted_path"].as_str().unwrap()).unwrap();
    let har: Value = serde_json::from_slice(&har).unwrap();
    assert_eq!(har["log"]["entries"].as_array().unwrap().len(), 2);
    agent.refused("stop_live_capture", json!({"capture_id": id}), "unknown_capture").await;
    // An adopted recording goes on.
    assert_eq!(agent.ok("proxy_status", json!({})).await["running"], true);
}

#[tokio::test]
async fn a_capture_that_cannot_be_persisted_stays_readable() {
    let (agent, origin, proxy) = Agent::with_origin().await;
    let mut client = proxy.https(&origin.authority()).await.unwrap();
    let id = agent.ok("start_live_capture", json!({})).await["capture_id"].clone();
    client.get("/json").await.unwrap();
    // A file where the directory should be.
    let exports = agent.state.path().join("exports");
    std::fs::write(&exports, "").unwrap();
    let failed = agent.ok("stop_live_capture", json!({"capture_id": id})).await;
    assert_eq!(failed["status"], "stop_failed", "{failed}");
    assert_eq!((&failed["recoverable"], &failed["active_capture_preserved"]), (&json!(true), &json!(true)));
    assert_eq!(failed["persisted_path"], Value::Null);
    assert!(failed["error"].is_string());
    let read = agent.ok("read_live_capture", json!({"capture_id": id})).await;
    assert_eq!(read["total_new_items"], 1);
    std::fs::remove_file(&exports).unwrap();
    assert_eq!(agent.ok("stop_live_capture", json!({"capture_id": id})).await["status"], "stopped");
}

#[tokio::test]
async fn a_managed_capture_stops_the_proxy_it_started() {
    let agent = Agent::new().await;
    let started = agent.ok("start_live_capture", json!({"adopt_existing": false})).await;
    assert_eq!(started["managed"], true);
    assert!(started["warnings"].to_string().contains("proxy_started"));
    assert_eq!(agent.ok("proxy_status", json!({})).await["running"], true);
    let id = &started["capture_id"];
    let stopped = agent.ok("stop_live_capture", json!({"capture_id": id, "persist": false})).await;
    assert_eq!((&stopped["status"], &stopped["persisted_path"]), (&json!("stopped"), &Value::Null));
    assert_eq!(agent.ok("proxy_status", json!({})).await["running"], false);
    let idle = agent.ok("start_live_capture", json!({"start_recording_if_stopped": false})).await;
    assert!(idle["warnings"].to_string().contains("recording_stopped"));
    assert_eq!(agent.ok("proxy_status", json!({})).await["running"], false);
}
