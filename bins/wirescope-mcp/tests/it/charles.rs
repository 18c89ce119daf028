//! What Charles MCP's tools do, and what theirs do wrong: each defect of theirs that can be had here is a test.

use serde_json::{Value, json};
use testkit::full;

use crate::agent::{Agent, ids, rows};

/// A capture over the traffic so far.
async fn capture(agent: &Agent) -> Value {
    agent.ok("start_live_capture", json!({"include_existing": true})).await["capture_id"].clone()
}

fn entry_ids(answer: &Value) -> Vec<String> {
    rows(answer).iter().map(|row| row["entry_id"].as_str().unwrap().to_owned()).collect()
}

async fn each_filter_says_what_it_matched(agent: &Agent, id: &Value) {
    for (filter, count, field) in [
        (json!({"method_in": ["post"]}), 1, "method"),
        (json!({"status_in": [404]}), 1, "response_status"),
        (json!({"path_contains": "ECHO"}), 1, "path"),
        (json!({"host_contains": "elsewhere"}), 0, ""),
        (json!({"min_priority_score": 1000}), 0, ""),
        (json!({"preset": "errors_only"}), 1, "response_status"),
        (json!({"preset": "all_http", "resource_class_in": ["static_asset"]}), 1, "resource_class"),
        (json!({"request_body_contains": "ANN"}), 1, "request.body"),
        (json!({"response_body_contains": "ann"}), 1, "response.body"),
        (json!({"request_json_query": "user.name"}), 1, "request.body.json"),
        (json!({"request_json_query": "user.missing"}), 0, ""),
        (json!({"response_header_name": "content-type"}), 2, "response.headers"),
        (json!({"request_header_value_contains": "no such value"}), 0, ""),
    ] {
        let mut arguments = filter.clone();
        arguments["capture_id"] = id.clone();
        let found = agent.ok("query_live_capture_entries", arguments).await;
        assert_eq!(found["matched_count"], count, "{filter}: {found}");
        if count > 0 {
            let fields = found["matched_fields"].as_array().unwrap();
            assert!(fields.contains(&json!(field)), "{filter}: {found}");
        }
    }
}

#[tokio::test]
async fn a_capture_is_counted_grouped_filtered_and_looked_into() {
    let (agent, origin, proxy) = Agent::with_origin().await;
    let mut client = proxy.https(&origin.authority()).await.unwrap();
    client.get("/json?page=1").await.unwrap();
    client.post("/echo", full(r#"{"user":{"name":"ann"},"items":[1,2]}"#)).await.unwrap();
    client.get("/html/dot.png").await.unwrap();
    client.get("/status/404").await.unwrap();
    agent.settled(4).await;
    let id = capture(&agent).await;

    let stats = agent.ok("get_capture_analysis_stats", json!({"source": "live", "capture_id": id})).await;
    assert_eq!((&stats["total_items"], &stats["scanned_count"]), (&json!(4), &json!(4)));
    assert_eq!(stats["classified_counts"]["static_asset"], 1);
    assert!(stats["classified_counts"]["api_candidate"].as_u64().unwrap() >= 2, "{stats}");

    let found = agent.ok("query_live_capture_entries", json!({"capture_id": id})).await;
    assert_eq!((&found["matched_count"], &found["filtered_out_count"]), (&json!(3), &json!(1)));
    assert_eq!(found["filtered_out_by_class"], json!({"static_asset": 1}));
    let scores: Vec<u64> = rows(&found).iter().map(|row| row["priority_score"].as_u64().unwrap()).collect();
    assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
    assert_eq!(found["match_reasons"], json!(["matched preset `api_focus`"]));

    each_filter_says_what_it_matched(&agent, &id).await;
    let arguments = json!({"capture_id": id, "request_json_query": "items[?"});
    let error = agent.refused("query_live_capture_entries", arguments, "invalid_argument").await;
    assert!(error["error"].as_str().unwrap().contains("request_json_query"), "{error}");

    let arguments =
        json!({"source": "live", "capture_id": id, "group_by": "host_status", "preset": "all_http"});
    let groups = agent.ok("group_capture_analysis", arguments).await;
    assert_eq!(groups["groups"][0]["group_value"], "localhost 200");
    assert_eq!((&groups["groups"][0]["count"], &groups["matched_count"]), (&json!(3), &json!(4)));

    let entry = rows(&found).into_iter().find(|row| row["method"] == "POST").unwrap();
    // What only whole rows have brings them.
    let arguments = json!({"capture_id": id, "max_preview_chars": 64});
    let whole = agent.ok("query_live_capture_entries", arguments).await;
    assert!(whole["items"].to_string().contains("request_header_highlights"), "{whole}");
    assert_eq!(whole["items"][0]["match_reasons"], json!(["matched preset `api_focus`"]));
    let arguments =
        json!({"source": "live", "capture_id": id, "entry_id": entry["entry_id"], "include_full_body": true});
    let detail = agent.ok("get_traffic_entry_detail", arguments).await;
    let body = &detail["detail"]["entry"]["request"]["body"];
    assert_eq!(body["kind"], "json");
    assert_eq!(body["full_text"], r#"{"user":{"name":"ann"},"items":[1,2]}"#);
    assert!(body.get("preview_text").is_none(), "{body}");
}

#[tokio::test]
async fn identical_requests_have_ids_of_their_own() {
    let (agent, origin, proxy) = Agent::with_origin().await;
    let mut client = proxy.https(&origin.authority()).await.unwrap();
    for _ in 0..3 {
        client.get("/json").await.unwrap();
    }
    agent.settled(3).await;
    let id = capture(&agent).await;
    let first = agent.ok("query_live_capture_entries", json!({"capture_id": id})).await;
    let mut seen = entry_ids(&first);
    seen.sort();
    assert_eq!(seen, ["e1", "e2", "e3"]);
    let again = agent.ok("query_live_capture_entries", json!({"capture_id": id})).await;
    assert_eq!(entry_ids(&again), entry_ids(&first), "ids stay the same from call to call");
}

#[tokio::test]
async fn a_request_in_flight_that_ends_is_not_listed_twice() {
    let (agent, origin, proxy) = Agent::with_origin().await;
    let id = capture(&agent).await;
    let mut client = proxy.https(&origin.authority()).await.unwrap();
    let waiting = tokio::spawn(async move { client.get("/slow-headers").await.unwrap().status });
    origin.until(|counts| counts.requests > 0).await.unwrap();
    let before = agent.ok("query_live_capture_entries", json!({"capture_id": id})).await;
    assert_eq!(before["matched_count"], 1, "{before}");
    origin.release();
    waiting.await.unwrap();
    agent.settled(1).await;
    let after = agent.ok("query_live_capture_entries", json!({"capture_id": id})).await;
    assert_eq!((&after["matched_count"], entry_ids(&after)), (&json!(1), entry_ids(&before)));
    assert_eq!(rows(&after)[0]["status"], 200);
}

#[tokio::test]
async fn a_cleared_capture_that_fills_again_is_seen_as_reset() {
    let (agent, origin, proxy) = Agent::with_origin().await;
    let mut client = proxy.https(&origin.authority()).await.unwrap();
    client.get("/json").await.unwrap();
    agent.settled(1).await;
    let id = capture(&agent).await;
    agent.ok("read_live_capture", json!({"capture_id": id})).await;
    agent.ok("proxy_clear_traffic", json!({})).await;
    for _ in 0..3 {
        client.get("/json").await.unwrap();
    }
    agent.settled(3).await;
    let queried = agent.ok("query_live_capture_entries", json!({"capture_id": id})).await;
    assert!(queried["warnings"].to_string().contains("session_reset_detected"), "{queried}");
    let read = agent.ok("read_live_capture", json!({"capture_id": id})).await;
    assert_eq!((&read["status"], &read["total_new_items"]), (&json!("reset_detected"), &json!(3)));
}

#[tokio::test]
async fn beyond_five_hundred_entries_are_found_shown_and_in_the_last_seconds() {
    let (agent, origin, proxy) = Agent::with_origin().await;
    let mut client = proxy.https(&origin.authority()).await.unwrap();
    for n in 0..520 {
        client.get(&format!("/status/200?n={n}")).await.unwrap();
    }
    client.post("/echo", full(r#"{"the":"last"}"#)).await.unwrap();
    agent.settled(521).await;
    let id = capture(&agent).await;

    let arguments = json!({"capture_id": id, "since_seconds": 86_400, "path_contains": "/echo"});
    let found = agent.ok("query_live_capture_entries", arguments).await;
    assert_eq!((&found["scanned_count"], &found["matched_count"]), (&json!(500), &json!(1)), "{found}");
    assert!(found["warnings"].to_string().contains("scan_limit_reached"));
    let entry = &rows(&found)[0]["entry_id"];
    assert_eq!(entry, "e521");
    let arguments = json!({"source": "live", "capture_id": id, "entry_id": entry, "include_full_body": true});
    let detail = agent.ok("get_traffic_entry_detail", arguments).await;
    assert_eq!(detail["detail"]["entry"]["request"]["body"]["full_text"], r#"{"the":"last"}"#);

    // From a cursor, oldest first, nothing is passed by.
    let (mut cursor, mut seen) = (0, 0);
    loop {
        let arguments = json!({"capture_id": id, "cursor": cursor, "preset": "all_http", "scan_limit": 200});
        let page = agent.ok("query_live_capture_entries", arguments).await;
        seen += page["matched_count"].as_u64().unwrap();
        cursor = page["next_cursor"].as_u64().unwrap();
        if !page["warnings"].to_string().contains("scan_limit_reached") {
            break;
        }
    }
    assert_eq!(seen, 521);
}

#[tokio::test]
async fn a_read_of_one_skips_nothing() {
    let (agent, origin, proxy) = Agent::with_origin().await;
    let id = capture(&agent).await;
    let mut client = proxy.https(&origin.authority()).await.unwrap();
    for _ in 0..4 {
        client.get("/json").await.unwrap();
    }
    agent.settled(4).await;
    let mut seen = Vec::new();
    for _ in 0..4 {
        let read = agent.ok("read_live_capture", json!({"capture_id": id, "limit": 1})).await;
        seen.extend(ids(&read["rows"]));
    }
    assert_eq!(seen, ["e1", "e2", "e3", "e4"]);
}

#[tokio::test]
async fn an_unknown_resource_class_is_refused() {
    let (agent, _origin, _proxy) = Agent::with_origin().await;
    let id = capture(&agent).await;
    let arguments = json!({"capture_id": id, "resource_class_in": ["api"]});
    let error = agent.refused("query_live_capture_entries", arguments, "invalid_argument").await;
    assert!(error["error"].as_str().unwrap().contains("api_candidate"), "{error}");
    for (arguments, name) in [
        (json!({"capture_id": id, "max_items": 0}), "max_items"),
        (json!({"capture_id": id, "scan_limit": 5001}), "scan_limit"),
        (json!({"capture_id": id, "preset": "all"}), "preset"),
    ] {
        let error = agent.refused("query_live_capture_entries", arguments, "invalid_argument").await;
        assert!(error["error"].as_str().unwrap().contains(name), "{error}");
    }
}

#[tokio::test]
async fn coded_bodies_are_decoded_and_bytes_are_not_taken_for_text() {
    let (agent, origin, proxy) = Agent::with_origin().await;
    let mut client = proxy.https(&origin.authority()).await.unwrap();
    for path in ["/br", "/gzip", "/zstd", "/deflate", "/bytes/500"] {
        client.get(path).await.unwrap();
    }
    agent.settled(5).await;
    let id = capture(&agent).await;
    let found = agent
        .ok("query_live_capture_entries", json!({"capture_id": id, "preset": "all_http", "fields": ["*"]}))
        .await;
    for item in found["items"].as_array().unwrap() {
        let preview = item["response_body_preview"].as_str().unwrap();
        if item["path"] == "/bytes/500" {
            assert_eq!(preview, "[binary body omitted]");
            let arguments = json!({"source": "live", "capture_id": id, "entry_id": item["entry_id"], "include_full_body": true});
            let detail = agent.ok("get_traffic_entry_detail", arguments).await;
            let body = &detail["detail"]["entry"]["response"]["body"];
            assert_eq!((&body["kind"], &body["full_text_encoding"]), (&json!("binary"), &json!("base64")));
        } else {
            assert!(preview.is_ascii() && !preview.contains('\u{FFFD}') && preview.len() >= 5, "{item}");
        }
    }
}

#[tokio::test]
async fn looking_writes_nothing() {
    let (agent, origin, proxy) = Agent::with_origin().await;
    let mut client = proxy.https(&origin.authority()).await.unwrap();
    client.get("/json").await.unwrap();
    agent.settled(1).await;
    let id = capture(&agent).await;
    let before = agent.ok("proxy_list_sessions", json!({})).await["count"].clone();
    for _ in 0..5 {
        agent.ok("peek_live_capture", json!({"capture_id": id})).await;
        agent.ok("query_live_capture_entries", json!({"capture_id": id})).await;
    }
    assert_eq!(agent.ok("proxy_list_sessions", json!({})).await["count"], before);
    let read = agent.ok("read_live_capture", json!({"capture_id": id})).await;
    assert_eq!(read["total_new_items"], 1, "nothing was consumed");
}

#[tokio::test]
async fn where_an_entry_is_is_never_guessed() {
    let (agent, origin, proxy) = Agent::with_origin().await;
    let mut client = proxy.https(&origin.authority()).await.unwrap();
    client.get("/json").await.unwrap();
    agent.settled(1).await;
    let id = capture(&agent).await;
    for arguments in [
        json!({"source": "history", "entry_id": "e1"}),
        json!({"source": "live", "entry_id": "e1"}),
        json!({"source": "history", "entry_id": "e1", "capture_id": id}),
        json!({"source": "live", "entry_id": "e1", "capture_id": id, "recording_path": "s1"}),
    ] {
        agent.refused("get_traffic_entry_detail", arguments, "invalid_argument").await;
    }
    let arguments = json!({"source": "live", "entry_id": "e9", "capture_id": id});
    let error = agent.refused("get_traffic_entry_detail", arguments, "unknown_exchange").await;
    assert!(error["error"].as_str().unwrap().contains("was not found in c1"), "{error}");
    // A capture that begins later does not have it.
    let later = agent.ok("start_live_capture", json!({})).await["capture_id"].clone();
    let arguments = json!({"source": "live", "entry_id": "e1", "capture_id": later});
    agent.refused("get_traffic_entry_detail", arguments, "unknown_exchange").await;
    let arguments = json!({"source": "history", "entry_id": "e1", "recording_path": "20240101.chlsj"});
    let error = agent.refused("get_traffic_entry_detail", arguments, "unknown_recording").await;
    assert!(error["hint"].as_str().unwrap().contains("proxy_import_har"), "{error}");
}

#[tokio::test]
async fn recordings_are_sessions() {
    let agent = Agent::new().await;
    let none = agent.ok("list_recordings", json!({})).await;
    assert_eq!((&none["items"], &none["warnings"]), (&json!([]), &json!(["no_saved_recordings"])));
    for tool in ["get_recording_snapshot", "query_recorded_traffic", "analyze_recorded_traffic"] {
        let none = agent.ok(tool, json!({})).await;
        assert_eq!(
            (&none["rows"], &none["warnings"]),
            (&json!([]), &json!(["no_saved_recordings"])),
            "{tool}"
        );
    }
    let (agent, origin, proxy) = Agent::with_origin().await;
    let mut client = proxy.https(&origin.authority()).await.unwrap();
    agent.ok("proxy_session_start", json!({"session_name": "first run"})).await;
    for n in 0..40 {
        client
            .post(&format!("/echo?n={n}"), full(format!("{{\"n\":{n},\"pad\":\"{}\"}}", "x".repeat(900))))
            .await
            .unwrap();
    }
    client.get("/status/404").await.unwrap();
    agent.settled(41).await;
    agent.ok("proxy_session_stop", json!({})).await;

    let listed = agent.ok("list_recordings", json!({})).await;
    let recording = &listed["items"][0];
    assert_eq!((&recording["filename"], &recording["exchanges"]), (&json!("first run"), &json!(41)));
    let path = &recording["path"];

    let short = agent.ok("get_recording_snapshot", json!({"path": "first run"})).await;
    assert_eq!((short["rows"].as_array().unwrap().len(), short.get("next")), (41, None));
    let mut arguments = json!({"path": "first run", "fields": ["*"]});
    let mut seen = Vec::new();
    loop {
        let page = agent.ok("get_recording_snapshot", arguments).await;
        assert!(page.to_string().len() <= 16 * 1024, "{}", page.to_string().len());
        assert_eq!((&page["source"], &page["path"]), (&json!("history"), path));
        seen.extend(ids(&page["items"]));
        match page.get("next") {
            Some(next) => arguments = next["arguments"].clone(),
            None => break,
        }
    }
    assert_eq!(seen.len(), 41);

    let arguments =
        json!({"keyword_regex": r#""n":\s*1[0-2]\b"#, "http_method": "POST", "keep_response": false});
    let found = agent.ok("query_recorded_traffic", arguments).await;
    assert_eq!(found["total_items"], 3, "{found}");
    assert!(found["items"][0].get("response").is_none());
    assert!(found["items"][0]["_match_location"]["content"].as_str().unwrap().contains("10"), "{found}");
    agent.refused("query_recorded_traffic", json!({"keyword_regex": "(a"}), "invalid_argument").await;
    // What takes other engines for ever takes linear time.
    agent.ok("query_recorded_traffic", json!({"keyword_regex": "(x+x+)+y"})).await;

    let arguments = json!({"recording_path": path, "preset": "errors_only"});
    let found = agent.ok("analyze_recorded_traffic", arguments).await;
    assert_eq!((&found["matched_count"], &found["total_items"]), (&json!(1), &json!(41)));
    assert!(found.get("next_cursor").is_none());
    let arguments =
        json!({"source": "history", "recording_path": path, "entry_id": rows(&found)[0]["entry_id"]});
    let detail = agent.ok("get_traffic_entry_detail", arguments).await;
    assert_eq!(detail["detail"]["entry"]["response_status"], 404);
    agent.refused("analyze_recorded_traffic", json!({"recording_path": "s99"}), "unknown_recording").await;
}
