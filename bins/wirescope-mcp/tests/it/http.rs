use std::process::Stdio;

use http::Method;
use serde_json::{Value, json};
use testkit::{Origin, ProxyClient, full};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::{
    agent::{command, within},
    served::{Served, alone, hello},
};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

#[tokio::test]
async fn clients_share_one_proxy_and_have_toolsets_of_their_own() {
    let served = Served::with(&[], &[("WIRESCOPE_TOOLSETS", "core")]).await;
    let (first, second) = (served.greet(&[]).await, served.greet(&[]).await);
    assert_ne!(first.id, second.id);
    let started = first.call("proxy_start", json!({})).await;
    assert_eq!(second.call("proxy_status", json!({})).await["port"], started["port"]);

    first.call("enable_toolset", json!({"toolset": "proxy"})).await;
    let name = "proxy_set_upstream".to_owned();
    assert!(first.tools().await.contains(&name));
    assert!(!second.tools().await.contains(&name));
    let refused = second.call("proxy_clear_upstream", json!({})).await;
    assert_eq!(refused["code"], "toolset_off");
}

#[tokio::test]
async fn other_origins_hosts_paths_and_methods_are_refused() {
    let served = Served::start(&["--allow-origin", "https://app.example.com:443"]).await;
    for (fields, status) in [
        (vec![], 200),
        (vec![("Origin", "http://localhost:5173")], 200),
        (vec![("Origin", "http://127.0.0.1:9")], 200),
        (vec![("Origin", "https://app.example.com")], 200),
        (vec![("Origin", "https://evil.example")], 403),
        (vec![("Origin", "null")], 403),
        (vec![("Origin", "http://localhost.evil.example")], 403),
        (vec![("Host", "evil.example")], 403),
        (vec![("Host", "localhost")], 200),
    ] {
        let answer = served.send("POST", "/mcp", &fields, &hello()).await;
        assert_eq!(answer.status, status, "{fields:?}: {}", answer.body);
    }
    assert_eq!(served.send("POST", "/", &[], &hello()).await.status, 404);
    assert_eq!(served.send("PUT", "/mcp", &[], &hello()).await.status, 405);
    let unknown = served.send("POST", "/mcp", &[("Mcp-Session-Id", "none")], &hello()).await;
    assert_eq!(unknown.status, 404, "{}", unknown.body);
}

#[tokio::test]
async fn with_a_token_every_request_has_to_show_it() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{TOKEN}\n")).unwrap();
    let by_file = Served::start(&["--token-file", file.path().to_str().unwrap()]).await;
    let by_env = Served::with(&[], &[("WIRESCOPE_MCP_TOKEN", TOKEN)]).await;
    for served in [by_file, by_env] {
        let wrong = format!("Bearer {}", "x".repeat(TOKEN.len()));
        for fields in [vec![], vec![("Authorization", wrong.as_str())], vec![("Authorization", TOKEN)]] {
            let answer = served.send("POST", "/mcp", &fields, &hello()).await;
            assert_eq!(answer.status, 401, "{fields:?}");
            assert!(answer.field("www-authenticate").unwrap().starts_with("Bearer"));
        }
        let right = format!("Bearer {TOKEN}");
        let session = served.greet(&[("Authorization", &right)]).await;
        assert_eq!(session.call("proxy_status", json!({})).await["running"], false);
        // Not even a session that was let in goes on without it.
        let stolen = [("Mcp-Session-Id", session.id.as_str())];
        let ask = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"}).to_string();
        assert_eq!(served.send("POST", "/mcp", &stolen, &ask).await.status, 401);
    }
}

/// Starts a server that must refuse to; what it said.
async fn refuses(args: &[&str]) -> String {
    let (state, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut command = command(state.path(), work.path(), args);
    let output = command.stdin(Stdio::null()).output();
    let output = within("the refusal", output).await.unwrap();
    assert!(!output.status.success(), "{args:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn flags_that_are_no_use_are_refused() {
    let open = refuses(&["--transport", "http", "--host", "0.0.0.0"]).await;
    assert!(open.contains("token"), "{open}");
    let port = refuses(&["--port", "8080"]).await;
    assert!(port.contains("--proxy-port"), "{port}");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "short").unwrap();
    let short = refuses(&["--transport", "http", "--token-file", file.path().to_str().unwrap()]).await;
    assert!(short.contains("16 characters"), "{short}");
    let toolset = refuses(&["--toolsets", "rulez"]).await;
    assert!(toolset.contains("rulez") && toolset.contains("rules"), "{toolset}");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let served = Served::start(&[]).await;
    let large = " ".repeat(17 * 1024 * 1024);
    assert_eq!(served.send("POST", "/mcp", &[], &large).await.status, 413);
    served.greet(&[]).await;
}

#[tokio::test]
async fn one_session_too_many_ends_the_one_that_was_quiet_longest() {
    let served = Served::start(&[]).await;
    let (first, second) = (served.greet(&[]).await, served.greet(&[]).await);
    for _ in 2..100 {
        served.greet(&[]).await;
    }
    let ask = json!({"jsonrpc": "2.0", "id": 2, "method": "ping"});
    assert_eq!(first.post(&ask).await.status, 200);
    served.greet(&[]).await;
    assert_eq!(second.post(&ask).await.status, 404);
    assert_eq!(first.post(&ask).await.status, 200);
}

#[tokio::test]
async fn the_version_without_sessions_is_spoken_too() {
    let served = Served::with(&[], &[("WIRESCOPE_TOOLSETS", "core")]).await;
    let found = served.ask_alone("server/discover", json!({})).await;
    assert_eq!(found.status, 200, "{}", found.body);
    let versions = found.reply()["result"]["supportedVersions"].to_string();
    assert!(versions.contains("2026-07-28") && versions.contains("2024-11-05"), "{versions}");
    assert!(found.field("mcp-session-id").is_none());
    let called = served.ask_alone("tools/call", json!({"name": "proxy_status", "arguments": {}})).await;
    assert_eq!(called.reply()["result"]["structuredContent"]["running"], false, "{}", called.body);
}

#[tokio::test]
async fn a_listener_without_a_session_hears_of_tools_and_resources() {
    let served = Served::with(&[], &[("WIRESCOPE_TOOLSETS", "core")]).await;
    let wish = json!({"notifications": {
        "toolsListChanged": true, "resourceSubscriptions": ["proxy://status", "proxy://nothing"]}});
    let (fields, body) = alone("subscriptions/listen", wish);
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut events = BufReader::new(served.open("POST", "/mcp", &fields, &body).await).lines();
    let mut next = async |method: &str| -> Value {
        within(method, async {
            loop {
                let line = events.next_line().await.unwrap().expect("the stream goes on");
                let Some(data) = line.strip_prefix("data:") else { continue };
                let Ok(message) = serde_json::from_str::<Value>(data.trim()) else { continue };
                if message["method"] == method {
                    return message["params"].clone();
                }
            }
        })
        .await
    };
    let accepted = next("notifications/subscriptions/acknowledged").await.to_string();
    assert!(accepted.contains("proxy://status") && !accepted.contains("proxy://nothing"), "{accepted}");
    let enable = json!({"name": "enable_toolset", "arguments": {"toolset": "har"}});
    served.ask_alone("tools/call", enable).await;
    next("notifications/tools/list_changed").await;
    served.ask_alone("tools/call", json!({"name": "proxy_start", "arguments": {}})).await;
    assert_eq!(next("notifications/resources/updated").await["uri"], "proxy://status");
}

#[tokio::test]
async fn credentials_stay_on_the_server_and_come_back_in_arguments() {
    const SECRET: &str = "sesame-open-51f0c2aa";
    let served = Served::start(&[]).await;
    let client = served.greet(&[]).await;
    let started = client.call("proxy_start", json!({})).await;
    let port = u16::try_from(started["port"].as_u64().unwrap()).unwrap();
    let pem = std::fs::read_to_string(served.state.path().join("ca/ca.pem")).unwrap();
    let proxy = ProxyClient::new(([127, 0, 0, 1], port).into(), &pem, &["http/1.1"]).unwrap();
    let origin = Origin::plain().await.unwrap();
    let mut through = proxy.http(&origin.authority()).await.unwrap();
    let path = format!("/json?access_token={SECRET}");
    let mut request = through.request(Method::GET, &path, full("")).unwrap();
    request.headers_mut().insert("x-api-key", SECRET.parse().unwrap());
    through.fetch(request).await.unwrap();

    let shown = within("the exchange", async {
        loop {
            let shown = client.call("proxy_get_exchange", json!({"exchange_id": "e1"})).await;
            if shown["exchange"]["response"].is_object() {
                return shown;
            }
        }
    })
    .await;
    assert_eq!(shown["exchange"]["request"]["headers"]["x-api-key"], "<secret:1>", "{shown}");
    assert!(!shown.to_string().contains(SECRET), "{shown}");
    let listed = client.call("proxy_list_traffic", json!({})).await;
    let url = listed["rows"][0][5].as_str().unwrap();
    assert!(url.ends_with("access_token=<secret:1>"), "{url}");
    let found = client.call("proxy_list_traffic", json!({"url_filter": "<secret:1>"})).await;
    assert_eq!(found["total"], 1, "{found}");
    let sql = "SELECT value AS anything FROM headers WHERE name = 'x-api-key'";
    let rows = client.call("query_sql", json!({"sql": sql})).await;
    assert_eq!(rows["rows"], json!([["<secret:1>"]]), "{rows}");
    let unknown = client.call("proxy_list_traffic", json!({"url_filter": "<secret:9>"})).await;
    assert_eq!(unknown["code"], "invalid_argument");
    let resource = client.ask("resources/read", json!({"uri": "proxy://sessions/s1/findings"})).await;
    assert!(!resource.to_string().contains(SECRET), "{resource}");
    let sessions = client.ask("resources/read", json!({"uri": "proxy://sessions"})).await;
    let text = sessions["contents"][0]["text"].as_str().unwrap();
    assert!(text.contains("\"s1\"") && !text.contains("<secret"), "{text}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_signal_and_a_client_with_confirmation_end_the_server() {
    let mut served = Served::start(&[]).await;
    let pid = served.child.id().unwrap().to_string();
    served.greet(&[]).await;
    tokio::process::Command::new("kill").args(["-TERM", &pid]).status().await.unwrap();
    assert!(within("the end", served.child.wait()).await.unwrap().success());

    let mut served = Served::start(&[]).await;
    let client = served.greet(&[]).await;
    assert_eq!(client.call("shutdown_server", json!({})).await["code"], "not_confirmed");
    assert_eq!(client.call("shutdown_server", json!({"confirm": true})).await["status"], "success");
    assert!(within("the end", served.child.wait()).await.unwrap().success());
}
