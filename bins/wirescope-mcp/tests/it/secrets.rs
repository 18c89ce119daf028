//! With redaction on, no tool gives a credential away: a session with one in every place, and every tool asked.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rmcp::model::CallToolRequestParams;
use serde_json::{Value, json};
use testkit::{Origin, RawOrigin, Step};

use crate::agent::{Agent, within};

const BEARER: &str = "b3arer.V4lue~55aa";
const COOKIE: &str = "c00kieValue77bb";
const QUERY: &str = "qu3ry/tok en+88cc";
const PASSWORD: &str = "p4ss\"word\\99dd";
const NESTED: &str = "nestedcredentialvalue";
const FORM: &str = "f0rm&value=11ee";
const BASIC: &str = "b4sicPassword22ff";
const SET_COOKIE: &str = "s3tCookieValue33gg";
const ISSUED: &str = "1ssuedToken44hh";

/// How a text may be written.
fn forms(secret: &str) -> Vec<String> {
    let percent: String = secret
        .bytes()
        .map(|byte| {
            let plain = byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
            if plain { char::from(byte).to_string() } else { format!("%{byte:02X}") }
        })
        .collect();
    let json = json!(secret).to_string();
    let json = json[1..json.len() - 1].to_owned();
    let twice = json!(json).to_string();
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let tail = secret[secret.len() - 9..].to_owned();
    vec![
        secret.to_owned(),
        percent.to_ascii_lowercase(),
        percent,
        json,
        twice[1..twice.len() - 1].to_owned(),
        STANDARD.encode(secret).trim_end_matches('=').to_owned(),
        hex.to_ascii_uppercase(),
        hex,
        tail,
    ]
}

fn assert_hidden(place: &str, text: &str) {
    let secrets = [BEARER, COOKIE, QUERY, PASSWORD, NESTED, FORM, BASIC, SET_COOKIE, ISSUED];
    for form in secrets.iter().flat_map(|secret| forms(secret)) {
        let at = text.find(&form);
        let around = at.map(|at| text.get(at.saturating_sub(80)..at + form.len()).unwrap_or(&form));
        assert!(at.is_none(), "{place} gives {form:?} away: {around:?}");
    }
}

/// A session with credentials in every place. The origin of `/told` repeats them where no name stands beside.
async fn recorded() -> (Agent, Origin) {
    let agent = Agent::with(&["--redact"]).await;
    let origin = Origin::plain().await.unwrap();
    let _client = agent.start_proxy(json!({"persistence_enabled": true, "session_name": "all"})).await;
    let issued = json!({"refresh_token": ISSUED, "user": {"name": "ann"}}).to_string();
    agent.ok("proxy_mock_response", json!({"url_pattern": "/login", "status": 200, "body": issued})).await;
    let told = format!(
        "{BEARER} {COOKIE} {QUERY} {PASSWORD} {NESTED} {FORM} {BASIC} {SET_COOKIE} {ISSUED} {} {}",
        STANDARD.encode(format!("x:{BEARER}")),
        forms(QUERY)[2],
    );
    let mock = json!({"url_pattern": "/told", "status": 200, "body": told, "content_type": "text/plain"});
    agent.ok("proxy_mock_response", mock).await;
    let head =
        format!("HTTP/1.1 200 OK\r\nSet-Cookie: session={SET_COOKIE}; Path=/\r\nContent-Length: 2\r\n\r\nok");
    let setting = RawOrigin::plain(vec![vec![Step::ReadHead, Step::send(head)]]).await.unwrap();
    let basic = format!("Basic {}", STANDARD.encode(format!("ann:{BASIC}")));
    let body = json!({"password": PASSWORD, "deep": [{"client_secret": {"current": NESTED}}]}).to_string();
    let form = format!("user=ann&pwd={}", forms(FORM)[2]);
    let query = format!("/json?access_token={}&page=2", forms(QUERY)[2]);
    let sent = [
        ("GET", query.as_str(), vec![["authorization", basic.as_str()]], ""),
        (
            "POST",
            "/login",
            vec![["content-type", "application/json"], ["cookie", "theme=dark; sid=c00kieValue77bb"]],
            &body,
        ),
        ("POST", "/echo", vec![["content-type", "application/x-www-form-urlencoded"]], &form),
        ("GET", "/told", vec![["authorization", "Bearer b3arer.V4lue~55aa"]], ""),
    ];
    for (at, (method, path, headers, body)) in sent.into_iter().enumerate() {
        let url = if at == 0 { format!("http://{}{path}", setting.authority()) } else { origin.url(path) };
        let mut arguments = json!({"method": method, "url": url, "headers": headers});
        if !body.is_empty() {
            arguments["body"] = body.into();
        }
        let answer = agent.ok("send_http_request", arguments).await;
        assert_hidden(&format!("send_http_request {path}"), &answer.to_string());
    }
    (agent, origin)
}

/// What each tool is asked.
fn questions() -> Vec<(&'static str, Value)> {
    let mut questions = vec![
        ("proxy_status", json!({})),
        ("proxy_list_traffic", json!({})),
        (
            "proxy_list_traffic",
            json!({"fields": ["url", "req.header.authorization", "req.header.cookie",
            "resp.header.set-cookie", "req.json./password", "resp.json./refresh_token", "req.json./deep"]}),
        ),
        ("proxy_search_traffic", json!({"query": "ann"})),
        ("proxy_search_traffic", json!({"query": "b3arer"})),
        ("capture_traffic", json!({"until": 1, "duration": 0.05})),
        ("peek_live_capture", json!({"capture_id": "c1"})),
        ("read_live_capture", json!({"capture_id": "c1"})),
        ("query_live_capture_entries", json!({"capture_id": "c1", "preset": "all_http"})),
        ("analyze_recorded_traffic", json!({"preset": "all_http", "max_preview_chars": 400})),
        ("get_capture_analysis_stats", json!({"source": "history", "preset": "all_http"})),
        ("group_capture_analysis", json!({"source": "history", "group_by": "path", "preset": "all_http"})),
        ("get_recording_snapshot", json!({"path": "s1"})),
        ("list_recordings", json!({})),
        ("query_recorded_traffic", json!({})),
        ("query_recorded_traffic", json!({"keyword_regex": "b3ar"})),
        ("expect", json!({"filter": "path:/never", "min": 1})),
        ("wait_for_exchange", json!({"filter": "path:/login", "since": "e0", "timeout_ms": 1000})),
        ("infer_api", json!({"examples": true})),
        ("proxy_get_session", json!({"session_id": "s1"})),
        ("proxy_list_sessions", json!({})),
        ("proxy_session_status", json!({})),
        ("proxy_search_session_bodies", json!({"session_id": "s1", "text": "ann"})),
        ("proxy_search_session_bodies", json!({"session_id": "s1", "text": "c00kie", "context_chars": 9})),
        ("verify_sessions", json!({})),
        ("proxy_query_session", json!({"session_id": "s1"})),
        ("proxy_get_session_handshakes", json!({"session_id": "s1"})),
        ("proxy_list_tls_fingerprints", json!({})),
        ("aggregate", json!({"by": ["path"]})),
        ("aggregate", json!({"by": ["url"]})),
        ("find_retries", json!({})),
        ("summarize", json!({})),
        ("find_value", json!({"value": "b3arer.V4lue"})),
        ("find_value", json!({"value": ISSUED})),
        ("trace_value", json!({"value": ISSUED})),
        ("trace_value", json!({"value": "nestedcredential"})),
        ("search_bodies", json!({"text": "ann"})),
        ("search_bodies", json!({"text": "c00kie"})),
        ("diff_exchanges", json!({"left": "e1", "right": "e2"})),
        ("diff_exchanges", json!({"left": "e3", "right": "e4"})),
        ("diff_sessions", json!({"left": "s1", "right": "s1"})),
        ("proxy_list_rules", json!({})),
        ("proxy_test_rule_match", json!({"mode": "exchange", "exchange_id": "e2"})),
        ("proxy_replay_session", json!({"session_id": "s1", "mode": "dry_run"})),
        ("interceptor_list", json!({})),
        ("get_config", json!({})),
    ];
    questions.extend(statements());
    questions.extend(about_each());
    questions
}

/// The recording asked in SQL, under names that tell nothing.
fn statements() -> Vec<(&'static str, Value)> {
    let statements = [
        "SELECT url AS anything FROM exchanges",
        "SELECT substr(url, 20) AS u, upper(method) FROM exchanges",
        "SELECT name, value FROM headers",
        "SELECT group_concat(value, '|') AS x FROM headers",
        "SELECT substr(value, 8) AS v FROM headers WHERE name = 'authorization'",
        "SELECT hex(value) AS h, lower(hex(value)) AS l FROM headers",
        "SELECT body_text(seq, 'req') AS b, body_text(seq, 'resp') AS c FROM exchanges",
        "SELECT json_at(body_text(seq, 'req'), '/password') AS p FROM exchanges",
        "SELECT json_at(body_text(seq, 'req'), '/deep/0/client_secret/current') AS p FROM exchanges",
        "SELECT substr(body_text(seq, 'resp'), 6) AS tail FROM exchanges",
        "SELECT json_object('k', value) AS j FROM headers",
    ];
    statements.into_iter().map(|statement| ("query_sql", json!({"sql": statement}))).collect()
}

/// What is asked about each exchange.
fn about_each() -> Vec<(&'static str, Value)> {
    let mut questions = Vec::new();
    for id in ["e1", "e2", "e3", "e4"] {
        questions
            .push(("proxy_get_exchange", json!({"exchange_id": id, "full_headers": true, "as_curl": true})));
        questions.push(("proxy_get_session_exchange", json!({"session_id": "s1", "exchange_id": id})));
        let entry =
            json!({"source": "history", "recording_path": "s1", "entry_id": id, "include_full_body": true});
        questions.push(("get_traffic_entry_detail", entry));
        questions.push(("explain_failure", json!({"exchange_id": id})));
        questions.push(("proxy_get_tls_fingerprints", json!({"exchange_id": id})));
        for side in ["request", "response"] {
            questions.push(("get_body", json!({"exchange_id": id, "side": side})));
            questions.push(("get_body", json!({"exchange_id": id, "side": side, "offset": 5})));
            questions.push(("get_body", json!({"exchange_id": id, "side": side, "limit": 12})));
            questions.push(("get_body", json!({"exchange_id": id, "side": side, "pattern": "[a-z0-9]{4,}"})));
        }
    }
    questions
}

#[tokio::test]
async fn no_tool_gives_a_credential_away() {
    let (agent, _origin) = recorded().await;
    agent.settled(4).await;
    agent.ok("start_live_capture", json!({"include_existing": true})).await;
    for (tool, arguments) in questions() {
        let Value::Object(map) = arguments.clone() else { unreachable!() };
        let params = CallToolRequestParams::new(tool).with_arguments(map);
        let result = within(tool, Box::pin(agent.client.call_tool(params))).await.unwrap();
        let whole = serde_json::to_value(&result).unwrap();
        let code = &whole["structuredContent"]["code"];
        assert!(code != "invalid_argument" && code != "unknown_tool", "{tool} {arguments}: {whole}");
        // What was asked for with the credential in the question may be repeated in no other place.
        assert_hidden(&format!("{tool} {arguments}"), &whole.to_string());
        let structure = whole["structuredContent"].to_string();
        assert_hidden(&format!("{tool} {arguments}"), &structure);
    }
    for uri in ["proxy://status", "proxy://sessions", "proxy://traffic/summary"] {
        assert_hidden(uri, &agent.resource(uri).await.unwrap().0);
    }
    for part in ["summary", "timeline", "findings"] {
        let uri = format!("proxy://sessions/s1/{part}");
        assert_hidden(&uri, &agent.resource(&uri).await.unwrap().0);
    }
}

#[tokio::test]
async fn files_that_tools_write_hide_credentials_too() {
    let (agent, _origin) = recorded().await;
    agent.settled(4).await;
    let refused = json!({"session_id": "s1", "output_file": "real.har", "redact": false});
    agent.refused("proxy_export_har", refused, "redaction_on").await;
    assert!(!agent.path("real.har").exists());
    agent.ok("proxy_export_har", json!({"session_id": "s1", "output_file": "all.har"})).await;
    assert_hidden("the HAR file", &std::fs::read_to_string(agent.path("all.har")).unwrap());
    agent.ok("infer_api", json!({"examples": true, "output_file": "api.json"})).await;
    let document = std::fs::read_to_string(agent.path("api.json")).unwrap();
    assert_hidden("the OpenAPI document", &document);
    let document: Value = serde_json::from_str(&document).unwrap();
    assert!(document["paths"].is_object(), "{document}");
    let capture = agent.ok("start_live_capture", json!({"include_existing": true})).await;
    let stopped = agent.ok("stop_live_capture", json!({"capture_id": capture["capture_id"]})).await;
    let path = stopped["persisted_path"].as_str().unwrap_or_else(|| panic!("{stopped}"));
    assert_hidden("the capture's file", &std::fs::read_to_string(path).unwrap());
}

#[tokio::test]
async fn placeholders_are_credentials_again_in_what_is_sent_and_matched() {
    let (agent, origin) = recorded().await;
    agent.settled(4).await;
    let shown = agent.ok("proxy_get_exchange", json!({"exchange_id": "e2"})).await;
    let cookie = shown["exchange"]["request"]["headers"]["cookie"].as_str().unwrap().to_owned();
    assert!(cookie.contains("sid=<secret:"), "{shown}");
    let body = shown["exchange"]["request"]["bodyPreview"].as_str().unwrap().to_owned();
    assert!(body.contains("<secret:"), "{shown}");
    let again =
        json!({"method": "POST", "url": origin.url("/echo"), "headers": [["cookie", cookie]], "body": body});
    agent.ok("send_http_request", again).await;
    agent.settled(5).await;
    let statement = format!(
        "SELECT count(*) FROM headers WHERE seq = 5 AND name = 'cookie' AND value = 'theme=dark; sid={COOKIE}'"
    );
    assert_eq!(agent.ok("query_sql", json!({"sql": statement})).await["rows"], json!([[1]]));
    let statement = "SELECT body_text(2, 'req') = body_text(5, 'req') AS same";
    assert_eq!(agent.ok("query_sql", json!({"sql": statement})).await["rows"], json!([[1]]));

    // A rule made with a placeholder matches and sends the credential.
    let login = agent.ok("get_body", json!({"exchange_id": "e2"})).await.to_string();
    let at = login.find("<secret:").unwrap();
    let placeholder = &login[at..=at + login[at..].find('>').unwrap()];
    let rule = json!({"direction": "request", "headers": {"x-api-key": placeholder}, "url_pattern": "/echo"});
    agent.ok("proxy_inject_headers", rule).await;
    agent.ok("send_http_request", json!({"method": "GET", "url": origin.url("/echo")})).await;
    agent.settled(6).await;
    let replayed = json!({"session_id": "s1", "mode": "execute", "exchange_ids": ["e4"]});
    let replayed = agent.ok("proxy_replay_session", replayed).await;
    assert_eq!(replayed["executedCount"], 1, "{replayed}");
    assert_hidden("proxy_replay_session", &replayed.to_string());
}
