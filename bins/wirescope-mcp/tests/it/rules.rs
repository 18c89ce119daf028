//! Rules over MCP, on real traffic: what the reference server's rules get wrong goes right here.

use serde_json::{Value, json};
use testkit::{Origin, ProxyClient, full};

use crate::agent::{Agent, ids, within};

/// An agent, an origin, and a connection to it through the proxy.
struct Stage {
    agent: Agent,
    origin: Origin,
    proxy: ProxyClient,
}

impl Stage {
    async fn new() -> Self {
        let (agent, origin, proxy) = Agent::with_origin().await;
        Self { agent, origin, proxy }
    }

    /// Status and body of a GET.
    async fn get(&self, target: &str) -> (u16, String) {
        self.send("GET", target).await
    }

    async fn send(&self, method: &str, target: &str) -> (u16, String) {
        let mut client = self.proxy.https(&self.origin.authority()).await.unwrap();
        let request = client.request(method.parse().unwrap(), target, full("")).unwrap();
        let answer = client.fetch(request).await.unwrap();
        (answer.status.as_u16(), answer.text())
    }

    async fn add(&self, matcher: Value, handler: Value) -> String {
        let arguments = json!({"description": "", "matcher": matcher, "handler": handler});
        let added = self.agent.ok("proxy_add_rule", arguments).await;
        added["rule"]["id"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn a_bad_regex_is_refused_and_the_proxy_goes_on() {
    let stage = Stage::new().await;
    for matcher in [json!({"urlPattern": "["}), json!({"hostname": "a/b"}), json!({"nonsense": 1})] {
        let arguments = json!({"description": "x", "matcher": matcher, "handler": {"type": "drop"}});
        stage.agent.refused("proxy_add_rule", arguments, "invalid_argument").await;
    }
    let forward = json!({"description": "x", "matcher": {}, "handler": {"type": "forward", "forwardTo": "http://x/path"}});
    stage.agent.refused("proxy_add_rule", forward, "invalid_argument").await;
    assert_eq!(stage.agent.ok("proxy_list_rules", json!({})).await["count"], 0);
    let id = stage.add(json!({"urlPattern": "/mocked"}), json!({"type": "mock", "status": 418})).await;
    let bad = json!({"rule_id": id, "matcher": {"urlPattern": "("}});
    stage.agent.refused("proxy_update_rule", bad, "invalid_argument").await;
    assert_eq!(stage.get("/json").await.0, 200);
    assert_eq!(stage.get("/mocked").await.0, 418);
}

#[tokio::test]
async fn any_method_any_host_case_and_the_query_are_matched() {
    let stage = Stage::new().await;
    stage
        .add(json!({"method": "PROPFIND", "urlPattern": "/json"}), json!({"type": "mock", "status": 207}))
        .await;
    stage.add(json!({"urlPattern": "page=2$"}), json!({"type": "mock", "status": 202})).await;
    stage
        .add(
            json!({"hostname": "LOCALHOST", "pathPattern": "^/case$"}),
            json!({"type": "mock", "status": 299}),
        )
        .await;
    assert_eq!(stage.get("/json").await.0, 200);
    assert_eq!(stage.send("PROPFIND", "/json").await.0, 207);
    assert_eq!(stage.get("/json?page=2").await.0, 202);
    assert_eq!(stage.get("/case").await.0, 299);
    // And the explanation says the same.
    let url = stage.origin.url("/json?page=2").replace("localhost", "LocalHost");
    let tested = stage.agent.ok("proxy_test_rule_match", json!({"request": {"url": url}})).await;
    let result = &tested["result"];
    assert_eq!(result["effectiveMatchCount"], 1, "{result}");
    assert_eq!(result["effectiveWinner"]["ruleId"], "r2");
    assert_eq!(result["effectiveWinner"]["handlerType"], "mock");
    assert_eq!(result["results"][0]["checks"]["method"]["passed"], false);
    assert_eq!(result["results"][0]["checks"]["urlPattern"]["passed"], true);
    assert_eq!(result["results"][0]["checks"]["bodyIncludes"]["applies"], false);
}

#[tokio::test]
async fn rules_add_up_and_count_their_hits() {
    let stage = Stage::new().await;
    let inject = |name: &str| json!({"headers": {name: "1", "user-agent": null}});
    for name in ["x-one", "x-two"] {
        stage.agent.ok("proxy_inject_headers", inject(name)).await;
    }
    let both = json!({"headers": {"x-three": "3"}, "direction": "both"});
    stage.agent.ok("proxy_inject_headers", both).await;
    let rewritten = json!({"match_pattern": "/nowhere\\?to=(\\w+)", "replace_with": "/$1"});
    stage.agent.ok("proxy_rewrite_url", rewritten).await;
    let (status, _) = stage.get("/nowhere?to=json").await;
    assert_eq!(status, 200);
    let listed = stage.agent.ok("proxy_list_rules", json!({})).await;
    let counts: Vec<_> =
        listed["rules"].as_array().unwrap().iter().map(|rule| rule["hitCount"].as_u64().unwrap()).collect();
    assert_eq!(counts, [1, 1, 1, 1]);
    assert!(listed["rules"][0]["lastHit"].is_number());
    let all = stage.agent.settled(1).await;
    let exchange =
        stage.agent.ok("proxy_get_exchange", json!({"exchange_id": ids(&all["exchanges"])[0]})).await;
    assert_eq!(exchange["exchange"]["matchedRuleId"], "r1");
    assert_eq!(stage.agent.ok("proxy_status", json!({})).await["ruleCount"], 4);
}

#[tokio::test]
async fn updates_merge_and_switches_apply_at_once() {
    let stage = Stage::new().await;
    let handler = json!({"type": "mock", "status": 503, "body": "down", "headers": {"X-A": "1"}});
    let id = stage.add(json!({"pathPattern": "^/json", "method": "GET"}), handler).await;
    let patch = json!({"rule_id": id, "matcher": {"method": null, "headers": {"x-none": false}},
        "handler": {"type": "mock", "status": 504}, "priority": 7, "description": "new"});
    let updated = stage.agent.ok("proxy_update_rule", patch).await;
    let rule = &updated["rule"];
    assert_eq!(rule["matcher"], json!({"pathPattern": "^/json", "headers": {"x-none": false}}));
    assert_eq!(
        rule["handler"],
        json!({"type": "mock", "status": 504, "body": "down", "headers": {"X-A": "1"}})
    );
    assert_eq!((&rule["priority"], &rule["description"]), (&json!(7), &json!("new")));
    assert_eq!(stage.get("/json").await, (504, "down".to_owned()));
    stage.agent.ok("proxy_disable_rule", json!({"rule_id": id})).await;
    assert_eq!(stage.get("/json").await.0, 200);
    stage.agent.ok("proxy_enable_rule", json!({"rule_id": id})).await;
    assert_eq!(stage.get("/json").await.0, 504);
    stage.agent.ok("proxy_remove_rule", json!({"rule_id": id})).await;
    assert_eq!(stage.get("/json").await.0, 200);
    stage.agent.refused("proxy_remove_rule", json!({"rule_id": id}), "unknown_rule").await;
}

#[tokio::test]
async fn requests_under_way_are_not_cut_by_edits() {
    let stage = Stage::new().await;
    let edits = async {
        let under_way = async {
            while stage.origin.seen().is_empty() {
                tokio::task::yield_now().await;
            }
        };
        within("the request", under_way).await;
        for n in 0..20 {
            stage.add(json!({"urlPattern": format!("/never{n}")}), json!({"type": "drop"})).await;
        }
        stage.origin.release();
    };
    let ((status, _), ()) = tokio::join!(stage.get("/slow-body"), edits);
    assert_eq!(status, 200);
}

#[tokio::test]
async fn throttling_is_a_rule_that_comes_and_goes() {
    let agent = Agent::new().await;
    let on = agent.ok("throttling", json!({"preset": "Fibre"})).await;
    assert_eq!(on["down_bytes_per_second"], 12_500_000);
    agent.ok("throttling", json!({"preset": "on"})).await;
    let listed = agent.ok("proxy_list_rules", json!({})).await;
    assert_eq!((&listed["count"], &listed["rules"][0]["actions"][0]["throttle"]), (&json!(1), &json!("3G")));
    agent.ok("throttling", json!({"preset": "off"})).await;
    assert_eq!(agent.ok("proxy_list_rules", json!({})).await["count"], 0);
    agent.refused("throttling", json!({"preset": "6G"}), "invalid_argument").await;
}

#[tokio::test]
async fn files_of_rules_stay_in_the_allowed_directories() {
    let agent = Agent::new().await;
    let mock = |file: &str| json!({"description": "", "matcher": {}, "actions": [{"mock": {"body": {"file": file}}}]});
    let refused = agent.call("proxy_add_rule", mock("/etc/passwd")).await.unwrap_err();
    assert_eq!(refused["status"], "error");
    let inside = agent.path("body.txt");
    agent.ok("proxy_add_rule", mock(inside.to_str().unwrap())).await;
}

#[tokio::test]
async fn a_paused_exchange_is_listed_edited_and_goes_on() {
    let stage = Stage::new().await;
    let added = stage.agent.ok("proxy_add_breakpoint", json!({"matcher": {"pathPattern": "^/pause"}})).await;
    let talk = async {
        let listed = stage.agent.ok("proxy_list_paused", json!({"wait_ms": 60_000})).await;
        let paused = &listed["paused"][0];
        assert_eq!((&paused["ruleId"], &paused["at"]), (&added["rule_id"], &json!("request")));
        let url = stage.origin.url("/json");
        let resume = json!({"pause_id": paused["pauseId"], "action": "edit", "url": url});
        stage.agent.ok("proxy_resume", resume.clone()).await;
        stage.agent.refused("proxy_resume", resume, "not_paused").await;
    };
    let ((status, _), ()) = tokio::join!(stage.get("/pause-here"), talk);
    assert_eq!(status, 200);
    let answer = async {
        let listed = stage.agent.ok("proxy_list_paused", json!({"wait_ms": 60_000})).await;
        let id = &listed["paused"][0]["pauseId"];
        let resume = json!({"pause_id": id, "action": "respond", "status": 418, "body": "short and stout"});
        stage.agent.ok("proxy_resume", resume).await;
    };
    let (got, ()) = tokio::join!(stage.get("/pause-again"), answer);
    assert_eq!(got, (418, "short and stout".to_owned()));
}
