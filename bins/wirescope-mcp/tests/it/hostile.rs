//! Traffic made to be large: whatever tool looks at it, no answer is over 64 KB unless a slice of that size was asked for.

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Value, json};
use testkit::{ProxyClient, full};

use crate::agent::{Agent, within};

/// What an answer may have.
const MAX_BYTES: usize = 65_536;
/// Exchanges of the session.
const EXCHANGES: u64 = 24;
/// Calls that give an entry whole, whose head alone is too large here: they may refuse, and name the way out.
const MAY_REFUSE: &[&str] = &[
    "get_recording_snapshot",
    "get_traffic_entry_detail",
    "get_traffic_entry_detail full",
    "proxy_get_exchange full",
    "proxy_test_rule_match",
    "query_recorded_traffic",
];

/// Requests with long targets, many large fields and large bodies, full of what JSON has to escape.
async fn flood(proxy: &ProxyClient, authority: &str) {
    let mut client = proxy.https(authority).await.unwrap();
    let quotes = "\"\\".repeat(300);
    for index in 0..EXCHANGES {
        let member = |n: u64| {
            (format!("member-{n}-{}", "m".repeat(200)), json!({"n": n, "text": "\"\u{1}".repeat(300)}))
        };
        let body: serde_json::Map<String, Value> = (0..150).map(member).collect();
        let target = format!("/echo/{index}/{}?q={}", "segment/".repeat(500), "%22".repeat(1_500));
        let mut request =
            client.request(Method::POST, &target, full(Value::Object(body).to_string())).unwrap();
        let fields = request.headers_mut();
        fields.insert("content-type", "application/json".parse().unwrap());
        fields.insert("x-needle", "needle-in-a-haystack".parse().unwrap());
        for n in 0..60 {
            let name: http::HeaderName = format!("x-field-{n}").parse().unwrap();
            fields.insert(name, format!("{n} {quotes}").parse().unwrap());
        }
        within("an exchange", client.fetch(request)).await.unwrap();
    }
}

/// A call with its tool; a second part of the name tells calls of one tool apart.
type Call = (&'static str, Value);

/// A call of each tool that reads, some of more.
fn calls(capture: &Value) -> Vec<Call> {
    [analysis(), recorded(capture), of_the_server()].concat()
}
fn analysis() -> Vec<Call> {
    vec![
        ("aggregate", json!({"by": ["path", "req.header.x-field-1"], "limit": 1000})),
        ("check_api_drift", json!({"against": "s1"})),
        ("diff_exchanges", json!({"left": "e1", "right": "e2"})),
        ("diff_sessions", json!({"left": "s1", "right": "s1"})),
        ("expect", json!({"filter": "status:200", "max": 0})),
        ("explain_failure", json!({"exchange_id": "e1"})),
        ("find_retries", json!({})),
        ("find_value", json!({"value": "needle-in-a-haystack", "limit": 200})),
        ("get_body", json!({"exchange_id": "e1"})),
        ("get_body pointer", json!({"exchange_id": "e1", "pointer": ""})),
        ("get_body pattern", json!({"exchange_id": "e1", "pattern": "text", "context": 2000})),
        ("query_sql", json!({"sql": "SELECT * FROM headers", "max_rows": 5000})),
        ("query_sql body", json!({"sql": "SELECT body_text(seq, 'req') AS b, url FROM exchanges"})),
        ("search_bodies", json!({"text": "text", "limit": 100, "object_bytes": 8192})),
        ("summarize", json!({})),
        ("trace_value", json!({"value": "needle-in-a-haystack"})),
        ("verify_sessions", json!({})),
        (
            "wait_for_exchange",
            json!({"filter": "status:200", "since": "e0", "count": 20, "timeout_ms": 60_000}),
        ),
        ("infer_api", json!({"examples": true})),
    ]
}

fn recorded(capture: &Value) -> Vec<Call> {
    let live = |more: Value| with(json!({"source": "live", "capture_id": capture}), more);
    let of = |more: Value| with(json!({"session_id": "s1"}), more);
    let all_headers = json!({"preset": "all_http", "max_headers_per_side": 32, "max_preview_chars": 4096,
        "include_body_preview": true, "max_items": 200});
    vec![
        ("analyze_recorded_traffic", with(json!({"recording_path": "s1"}), all_headers.clone())),
        ("capture_traffic", json!({"duration": 0.05, "sessionId": "s1"})),
        ("get_capture_analysis_stats", live(json!({}))),
        ("get_recording_snapshot", json!({"path": "s1"})),
        ("get_traffic_entry_detail", live(json!({"entry_id": "e1"}))),
        ("get_traffic_entry_detail full", live(json!({"entry_id": "e1", "include_full_body": true}))),
        ("group_capture_analysis", live(json!({"group_by": "path", "max_groups": 200}))),
        ("list_recordings", json!({})),
        ("peek_live_capture", json!({"capture_id": capture, "limit": 1000})),
        ("proxy_get_exchange", json!({"exchange_id": "e1"})),
        ("proxy_get_exchange full", json!({"exchange_id": "e1", "full_headers": true})),
        ("proxy_get_session", of(json!({}))),
        ("proxy_get_session_exchange", of(json!({"exchange_id": "e1"}))),
        ("proxy_get_session_handshakes", of(json!({"limit": 1000}))),
        ("proxy_get_tls_fingerprints", json!({"exchange_id": "e1"})),
        ("proxy_list_sessions", json!({})),
        ("proxy_list_tls_fingerprints", json!({"limit": 200})),
        ("proxy_list_traffic", json!({"limit": 1000})),
        (
            "proxy_list_traffic fields",
            json!({"limit": 1000, "fields": ["url", "req.header.x-field-1", "req.json./member-1"]}),
        ),
        ("proxy_query_session", of(json!({"limit": 1000}))),
        ("proxy_query_session fields", of(json!({"limit": 1000, "fields": ["url", "req.header.x-field-2"]}))),
        ("proxy_search_session_bodies", of(json!({"text": "text", "limit": 200, "context_chars": 1000}))),
        ("proxy_search_traffic", json!({"query": "segment", "limit": 200})),
        ("query_live_capture_entries", with(json!({"capture_id": capture}), all_headers)),
        ("query_recorded_traffic", json!({"keep_request": true, "keep_response": true})),
        ("proxy_replay_session", of(json!({"limit": 1000}))),
    ]
}

fn of_the_server() -> Vec<Call> {
    vec![
        ("get_config", json!({})),
        ("get_network_interfaces", json!({})),
        ("get_version", json!({})),
        ("interceptor_list", json!({})),
        ("interceptor_status", json!({"interceptor_id": "terminal"})),
        ("list_toolsets", json!({})),
        ("proxy_enable_server_tls_capture", json!({"enabled": true})),
        ("proxy_get_ca_cert", json!({})),
        ("proxy_get_tls_config", json!({})),
        ("proxy_list_paused", json!({})),
        ("proxy_list_rules", json!({})),
        ("proxy_session_status", json!({})),
        ("proxy_status", json!({})),
        ("proxy_transparent_status", json!({})),
        ("proxy_test_rule_match", json!({"mode": "exchange", "exchange_id": "e1"})),
    ]
}

fn with(mut arguments: Value, more: Value) -> Value {
    let Value::Object(more) = more else { panic!("arguments are an object") };
    arguments.as_object_mut().unwrap().extend(more);
    arguments
}

#[tokio::test]
async fn no_answer_over_hostile_traffic_is_too_large() {
    let (agent, origin) = Agent::beside_origin().await;
    let port = u16::try_from(agent.ok("proxy_start", json!({})).await["port"].as_u64().unwrap()).unwrap();
    let pem = agent.ok("proxy_get_ca_cert", json!({})).await["certPem"].as_str().unwrap().to_owned();
    // HTTP/2 would refuse such heads.
    let proxy = ProxyClient::new(([127, 0, 0, 1], port).into(), &pem, &["http/1.1"]).unwrap();
    let capture = agent.ok("start_live_capture", json!({})).await["capture_id"].clone();
    flood(&proxy, &origin.authority()).await;
    agent.settled(EXCHANGES).await;
    let mut unread: BTreeSet<String> = agent
        .tools()
        .iter()
        .filter(|tool| tool.annotations.as_ref().is_some_and(|hints| hints.read_only_hint == Some(true)))
        .map(|tool| tool.name.to_string())
        .collect();
    let mut wrong = Vec::new();
    for (name, arguments) in calls(&capture) {
        let tool = name.split(' ').next().unwrap();
        unread.remove(tool);
        let answer = agent.call(tool, arguments).await;
        let bytes = answer.as_ref().unwrap_or_else(|error| error).to_string().len();
        let may_refuse = MAY_REFUSE.contains(&name);
        match answer {
            _ if bytes > MAX_BYTES => wrong.push(format!("{name} answered {bytes} bytes")),
            Err(error) if !may_refuse || error["code"] != "answer_too_large" => {
                wrong.push(format!("{name} refused: {error}"));
            }
            Err(error) => assert!(error["hint"].as_str().unwrap().contains("query_sql"), "{name}: {error}"),
            Ok(_) => {}
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(unread.is_empty(), "not called: {unread:?}");
    for resource in [
        "proxy://traffic/summary",
        "proxy://sessions",
        "proxy://sessions/s1/summary",
        "proxy://sessions/s1/timeline",
        "proxy://sessions/s1/findings",
        "proxy://status",
        "proxy://interceptors",
    ] {
        let (text, _) = agent.resource(resource).await.unwrap();
        assert!(text.len() <= MAX_BYTES, "{resource}: {}", text.len());
    }
    // A slice of that size that was asked for.
    let slice = agent.ok("get_body", json!({"exchange_id": "e1", "offset": 1, "limit": 100_000})).await;
    assert!(slice.to_string().len() > MAX_BYTES);
}
