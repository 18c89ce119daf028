//! A tour of every tool, in an order that makes sense: start, look, change, send, record, replay, export, stop.

use std::collections::BTreeMap;

use http::Method;
use serde_json::{Value, json};
use testkit::{Origin, ProxyClient, full};

use crate::{
    agent::{Agent, within},
    masks::Masks,
};

/// What the origin's port is shown as.
const ORIGIN: u16 = 8443;
/// What the proxy's port is shown as.
const PROXY: u16 = 8080;
/// What the transparent listener's port is shown as.
const TRANSPARENT: u16 = 8444;
/// A token, issued in one exchange and used in another.
const TOKEN: &str = "tok_5f1c9a7be2d04c36";

/// The tour as far as it went.
pub(crate) struct Tour {
    agent: Agent,
    origin: Origin,
    masks: Masks,
    taken: BTreeMap<String, Vec<Value>>,
    /// Exchanges until now.
    exchanges: u64,
}

impl Tour {
    /// Goes the whole way. The calls of each tool, masked, and the names of all tools listed.
    pub(crate) async fn take() -> (BTreeMap<String, Vec<Value>>, Vec<String>) {
        let (agent, origin) = Agent::beside_origin().await;
        let mut masks = Masks::default();
        masks.text(agent.work.path().canonicalize().unwrap().to_str().unwrap(), "/project");
        masks.text(agent.work.path().to_str().unwrap(), "/project");
        masks.text(agent.state.path().canonicalize().unwrap().to_str().unwrap(), "/state");
        masks.text(agent.state.path().to_str().unwrap(), "/state");
        masks.text(env!("CARGO_PKG_VERSION"), "<version>");
        masks.port(origin.addr().port(), ORIGIN);
        let mut tour = Self { agent, origin, masks, taken: BTreeMap::new(), exchanges: 0 };
        let proxy = Box::pin(tour.starts()).await;
        Box::pin(tour.captures(&proxy)).await;
        Box::pin(tour.looks()).await;
        Box::pin(tour.asks()).await;
        Box::pin(tour.rules()).await;
        Box::pin(tour.pauses(&proxy)).await;
        Box::pin(tour.sends()).await;
        Box::pin(tour.spawns()).await;
        Box::pin(tour.upstreams()).await;
        Box::pin(tour.records(&proxy)).await;
        Box::pin(tour.reads_sessions()).await;
        Box::pin(tour.keeps_sessions()).await;
        Box::pin(tour.reads_recordings()).await;
        Box::pin(tour.files()).await;
        Box::pin(tour.replays()).await;
        Box::pin(tour.stops()).await;
        let listed = tour.agent.tools().iter().map(|tool| tool.name.to_string()).collect();
        (tour.taken, listed)
    }

    /// Calls a tool and keeps its answer.
    async fn ok(&mut self, tool: &str, arguments: Value) -> Value {
        let result = self.agent.ok(tool, arguments.clone()).await;
        let call = json!({"arguments": self.masks.apply(&arguments), "result": self.masks.apply(&result)});
        self.taken.entry(tool.to_owned()).or_default().push(call);
        result
    }

    /// Calls a tool that must refuse, and keeps what it says.
    async fn refused(&mut self, tool: &str, arguments: Value, code: &str) {
        let error = self.agent.refused(tool, arguments.clone(), code).await;
        let call = json!({"arguments": self.masks.apply(&arguments), "error": self.masks.apply(&error)});
        self.taken.entry(tool.to_owned()).or_default().push(call);
    }

    /// Waits for the end of some more exchanges.
    async fn settled(&mut self, more: u64) {
        self.exchanges += more;
        self.agent.settled(self.exchanges).await;
    }

    async fn starts(&mut self) -> ProxyClient {
        self.ok("get_version", json!({})).await;
        self.ok("get_network_interfaces", json!({})).await;
        self.ok("list_toolsets", json!({})).await;
        self.ok("enable_toolset", json!({"toolset": "rules"})).await;
        self.ok("proxy_enable_server_tls_capture", json!({"enabled": true})).await;
        let started = self.ok("proxy_start", json!({"port": 0})).await;
        let port = u16::try_from(started["port"].as_u64().unwrap()).unwrap();
        self.masks.port(port, PROXY);
        // The first call of it was kept before its port had a name.
        let kept = self.taken.get_mut("proxy_start").unwrap();
        kept[0]["result"] = self.masks.apply(&started);
        self.ok("proxy_status", json!({})).await;
        self.ok("get_config", json!({})).await;
        let pem = self.ok("proxy_get_ca_cert", json!({})).await["certPem"].as_str().unwrap().to_owned();
        ProxyClient::new(([127, 0, 0, 1], port).into(), &pem, &["http/1.1"]).unwrap()
    }

    async fn captures(&mut self, proxy: &ProxyClient) {
        let capture = json!({"capture_id": self.ok("start_live_capture", json!({})).await["capture_id"]});
        let mut client = proxy.https(&self.origin.authority()).await.unwrap();
        client.get("/json").await.unwrap();
        let issued = json!({"user": {"name": "Ada", "id": 7}, "access_token": TOKEN}).to_string();
        client.post("/echo", full(issued)).await.unwrap();
        let mut request = client.request(Method::GET, "/headers?page=2", full("")).unwrap();
        request.headers_mut().insert("x-session", TOKEN.parse().unwrap());
        client.fetch(request).await.unwrap();
        client.get("/status/503").await.unwrap();
        client.get("/status/503").await.unwrap();
        client.get("/status/404").await.unwrap();
        client.get("/gzip").await.unwrap();
        self.settled(7).await;
        self.ok("peek_live_capture", capture.clone()).await;
        let mut first = capture.clone();
        first["limit"] = json!(2);
        self.ok("read_live_capture", first).await;
        self.ok("query_live_capture_entries", capture.clone()).await;
        let source = json!({"source": "live", "capture_id": capture["capture_id"]});
        self.ok("get_capture_analysis_stats", source.clone()).await;
        let mut groups = source.clone();
        groups["group_by"] = json!("response_status");
        self.ok("group_capture_analysis", groups).await;
        let mut detail = source.clone();
        detail["entry_id"] = json!("e1");
        self.ok("get_traffic_entry_detail", detail).await;
        self.ok("stop_live_capture", capture.clone()).await;
        self.refused("read_live_capture", capture, "unknown_capture").await;
        self.ok("capture_traffic", json!({"duration": 0.05})).await;
    }

    async fn looks(&mut self) {
        self.ok("proxy_list_traffic", json!({"limit": 3})).await;
        let named =
            json!({"filter": "status:4xx OR status:5xx", "fields": ["id", "method", "path", "status", "ms"]});
        self.ok("proxy_list_traffic", named).await;
        self.refused("proxy_list_traffic", json!({"filter": "status:abc"}), "invalid_argument").await;
        self.ok("proxy_search_traffic", json!({"query": "Ada"})).await;
        self.ok("proxy_get_exchange", json!({"exchange_id": "e2", "as_curl": true})).await;
        self.refused("proxy_get_exchange", json!({"exchange_id": "e999"}), "unknown_exchange").await;
        self.ok("wait_for_exchange", json!({"filter": "path:/json status:200", "since": "e0"})).await;
        self.ok("expect", json!({"filter": "status:5xx", "max": 0})).await;
        self.ok("explain_failure", json!({"exchange_id": "e4"})).await;
        self.ok("proxy_get_tls_config", json!({})).await;
        self.ok("proxy_list_tls_fingerprints", json!({})).await;
        self.ok("proxy_get_tls_fingerprints", json!({"exchange_id": "e1"})).await;
    }

    async fn asks(&mut self) {
        self.ok("summarize", json!({})).await;
        self.ok("aggregate", json!({"by": ["path", "status"]})).await;
        self.ok("find_retries", json!({})).await;
        self.ok("query_sql", json!({"sql": "SELECT status, count(*) AS n FROM exchanges GROUP BY status"}))
            .await;
        self.refused("query_sql", json!({"sql": "DELETE FROM exchanges"}), "sql_refused").await;
        self.ok("find_value", json!({"value": TOKEN})).await;
        self.ok("trace_value", json!({"value": TOKEN})).await;
        self.ok("get_body", json!({"exchange_id": "e2", "pointer": "/user"})).await;
        self.ok("search_bodies", json!({"text": "Ada"})).await;
        self.ok("infer_api", json!({})).await;
        self.ok("check_api_drift", json!({"against": "s1"})).await;
    }

    async fn rules(&mut self) {
        let mocked = json!({"url_pattern": "/mocked", "status": 200, "body": "{\"ok\":true}", "content_type": "application/json"});
        self.ok("proxy_mock_response", mocked).await;
        self.ok("proxy_inject_headers", json!({"hostname": "localhost", "headers": {"x-traced": "1"}})).await;
        self.ok("proxy_rewrite_url", json!({"match_pattern": "/old/(.*)", "replace_with": "/new/$1"})).await;
        let added = json!({"matcher": {"method": "DELETE"}, "handler": {"type": "drop"}, "description": "no deletions"});
        let rule = self.ok("proxy_add_rule", added).await["rule"]["id"].clone();
        let wrong = json!({"matcher": {"method": "DELETE"}, "handler": {"type": "dorp"}});
        self.refused("proxy_add_rule", wrong, "invalid_argument").await;
        self.ok("proxy_list_rules", json!({})).await;
        let request = json!({"url": "https://localhost/mocked"});
        self.ok("proxy_test_rule_match", json!({"request": request})).await;
        self.ok("proxy_update_rule", json!({"rule_id": rule, "priority": 5})).await;
        self.ok("proxy_disable_rule", json!({"rule_id": rule})).await;
        self.ok("proxy_enable_rule", json!({"rule_id": rule})).await;
        self.ok("proxy_remove_rule", json!({"rule_id": rule})).await;
        self.refused("proxy_remove_rule", json!({"rule_id": rule}), "unknown_rule").await;
        self.ok("throttling", json!({"preset": "3G"})).await;
        self.ok("throttling", json!({"preset": "off"})).await;
    }

    async fn pauses(&mut self, proxy: &ProxyClient) {
        let rule =
            self.ok("proxy_add_breakpoint", json!({"matcher": {"pathPattern": "^/pause"}})).await["rule_id"]
                .clone();
        let mut client = proxy.https(&self.origin.authority()).await.unwrap();
        let paused = tokio::spawn(async move { client.get("/pause").await.map(|answer| answer.status) });
        let listed = self.ok("proxy_list_paused", json!({"wait_ms": 60_000})).await;
        let respond = json!({"pause_id": listed["paused"][0]["pauseId"], "action": "respond", "status": 202, "body": "later"});
        self.ok("proxy_resume", respond.clone()).await;
        self.refused("proxy_resume", respond, "not_paused").await;
        assert_eq!(within("the answer", paused).await.unwrap().unwrap().as_u16(), 202);
        self.settled(1).await;
        self.agent.ok("proxy_remove_rule", json!({"rule_id": rule})).await;
    }

    async fn sends(&mut self) {
        let send = json!({
            "method": "POST", "url": self.origin.url("/echo"), "headers": [["content-type", "application/json"]],
            "body": "{\"user\":{\"name\":\"Grace\",\"id\":8}}"});
        self.ok("send_http_request", send).await;
        let refused = json!({"method": "GET", "url": "http://127.0.0.1:1/"});
        self.refused("send_http_request", refused, "send_failed").await;
        self.settled(2).await;
        self.ok("diff_exchanges", json!({"left": "e2", "right": "e9"})).await;
    }

    async fn spawns(&mut self) {
        self.ok("interceptor_list", json!({})).await;
        let spawned = self.ok("interceptor_spawn", json!({"command": "sleep", "args": ["600"]})).await;
        let target = spawned["targetId"].clone();
        self.ok("interceptor_status", json!({"interceptor_id": "terminal"})).await;
        self.ok("interceptor_kill", json!({"target_id": target})).await;
        self.ok("interceptor_deactivate_all", json!({})).await;
        self.ok("run_with_proxy", json!({"command": "echo", "args": ["done"]})).await;
    }

    async fn upstreams(&mut self) {
        self.ok("proxy_set_upstream", json!({"proxy_url": "http://127.0.0.1:9", "no_proxy": ["localhost"]}))
            .await;
        let of_host = json!({"hostname": "*.example.com", "proxy_url": "socks5://127.0.0.1:9"});
        self.ok("proxy_set_host_upstream", of_host).await;
        self.ok("proxy_remove_host_upstream", json!({"hostname": "*.example.com"})).await;
        self.ok("proxy_clear_upstream", json!({})).await;
    }

    async fn records(&mut self, proxy: &ProxyClient) {
        self.ok("proxy_session_start", json!({"session_name": "checkout"})).await;
        let mut client = proxy.https(&self.origin.authority()).await.unwrap();
        client.get("/json").await.unwrap();
        client.post("/echo", full("{\"cart\":[1,2]}")).await.unwrap();
        client.get("/status/503").await.unwrap();
        self.settled(3).await;
        self.ok("proxy_session_status", json!({})).await;
        self.ok("proxy_session_stop", json!({})).await;
        self.ok("proxy_list_sessions", json!({})).await;
    }

    async fn reads_sessions(&mut self) {
        let of = |more: Value| {
            let mut arguments = json!({"session_id": "s2"});
            arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            arguments
        };
        self.ok("proxy_get_session", of(json!({}))).await;
        self.refused("proxy_get_session", json!({"session_id": "s99"}), "unknown_session").await;
        self.ok("proxy_query_session", of(json!({"method": "POST"}))).await;
        self.ok("proxy_get_session_exchange", of(json!({"exchange_id": "e11"}))).await;
        self.ok("proxy_get_session_handshakes", of(json!({"limit": 1}))).await;
        self.ok("proxy_search_session_bodies", of(json!({"text": "cart"}))).await;
    }

    async fn keeps_sessions(&mut self) {
        let edit = json!({"session_id": "s2", "tags": ["checkout"], "comment": "before the fix"});
        self.ok("edit_session", edit).await;
        self.ok("copy_sessions", json!({"session_ids": ["s2"], "name": "posts", "filter": "method:POST"}))
            .await;
        self.ok("verify_sessions", json!({})).await;
        self.ok("proxy_session_recover", json!({})).await;
        self.ok("diff_sessions", json!({"left": "s1", "right": "s2"})).await;
    }

    async fn reads_recordings(&mut self) {
        self.ok("list_recordings", json!({})).await;
        self.ok("get_recording_snapshot", json!({"path": "s2"})).await;
        self.ok("query_recorded_traffic", json!({"host_contains": "localhost", "http_method": "POST"})).await;
        let errors = json!({"recording_path": "s2", "preset": "errors_only"});
        self.ok("analyze_recorded_traffic", errors).await;
        self.refused("analyze_recorded_traffic", json!({"recording_path": "s99"}), "unknown_recording").await;
    }

    async fn files(&mut self) {
        self.ok("proxy_export_har", json!({"session_id": "s2", "output_file": "checkout.har"})).await;
        let outside = json!({"session_id": "s2", "output_file": "/etc/checkout.har"});
        self.refused("proxy_export_har", outside, "path_not_allowed").await;
        self.ok("proxy_import_har", json!({"har_file": "checkout.har", "session_name": "imported"})).await;
    }

    async fn replays(&mut self) {
        self.ok("proxy_replay_session", json!({"session_id": "s2"})).await;
        let execute = json!({"session_id": "s2", "mode": "execute", "sort": "asc", "exchange_ids": ["e11"]});
        self.ok("proxy_replay_session", execute).await;
    }

    async fn stops(&mut self) {
        self.ok("proxy_delete_session", json!({"session_id": "s2"})).await;
        self.ok("proxy_clear_traffic", json!({})).await;
        let started = self.ok("proxy_start_transparent", json!({"port": 0})).await;
        let port = u16::try_from(started["port"].as_u64().unwrap()).unwrap();
        self.masks.port(port, TRANSPARENT);
        self.masks.text(format!("--to-ports {port}"), &format!("--to-ports {TRANSPARENT}"));
        // It was kept before its port had a name.
        let kept = self.taken.get_mut("proxy_start_transparent").unwrap();
        kept[0]["result"] = self.masks.apply(&started);
        self.ok("proxy_transparent_status", json!({})).await;
        self.ok("proxy_stop_transparent", json!({})).await;
        self.ok("proxy_stop", json!({})).await;
        self.refused("shutdown_server", json!({}), "not_confirmed").await;
        self.ok("shutdown_server", json!({"confirm": true})).await;
        // The first call is the example.
        self.taken.get_mut("shutdown_server").unwrap().reverse();
    }
}
