use serde_json::json;

use crate::agent::Agent;

#[tokio::test]
async fn bad_arguments_are_named_with_the_way_out() {
    let agent = Agent::new().await;
    for (tool, arguments, said) in [
        ("proxy_list_traffic", json!({"limt": 5}), "limt"),
        ("proxy_list_traffic", json!({"limit": 0}), "limit"),
        ("proxy_list_traffic", json!({"limit": 5000}), "limit"),
        ("proxy_list_traffic", json!({"offset": -1}), "offset"),
        ("proxy_list_traffic", json!({"status_filter": "200"}), "status_filter"),
        ("proxy_get_exchange", json!({}), "exchange_id"),
        ("proxy_start", json!({"port": 99999}), "port"),
        ("proxy_start", json!({"capture_profile": "all"}), "capture_profile"),
        ("proxy_search_traffic", json!({"query": ""}), "query"),
        ("capture_traffic", json!({"duration": 100_000}), "duration"),
        ("proxy_stop", json!({"force": true}), "force"),
        ("read_live_capture", json!({"capture_id": "c1", "limit": 0}), "limit"),
    ] {
        let error = agent.refused(tool, arguments.clone(), "invalid_argument").await;
        assert!(error["error"].as_str().unwrap().contains(said), "{tool} {arguments}: {error}");
    }
    let near = agent.refused("proxy_list_traffic", json!({"limt": 5}), "invalid_argument").await;
    assert_eq!(near["hint"], "did you mean limit?");
    let unknown = agent.refused("proxy_list_trafic", json!({}), "unknown_tool").await;
    assert_eq!(unknown["hint"], "did you mean proxy_list_traffic?");
}

#[tokio::test]
async fn ids_are_parsed_and_never_paths() {
    let agent = Agent::new().await;
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("precious"), "x").unwrap();
    for bad in ["../../../etc", "s1/../..", "", "..", "s-1", "e1", "s01", "s99999999999999999999999"] {
        let code = "invalid_argument";
        agent.refused("proxy_delete_session", json!({"session_id": bad}), code).await;
        agent.refused("proxy_get_session", json!({"session_id": bad}), code).await;
    }
    agent.refused("proxy_get_exchange", json!({"exchange_id": "../e1"}), "invalid_argument").await;
    for tool in ["proxy_get_session", "proxy_query_session", "proxy_delete_session", "proxy_export_har"] {
        agent.refused(tool, json!({"session_id": "s77"}), "unknown_session").await;
    }
    agent.refused("proxy_get_exchange", json!({"exchange_id": "e77"}), "unknown_exchange").await;
    assert!(outside.path().join("precious").exists());
}

#[tokio::test]
async fn files_outside_the_allowed_directories_are_neither_read_nor_written() {
    let agent = Agent::new().await;
    agent.ok("proxy_start", json!({})).await;
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().join("x.har");
    let har = r#"{"log":{"version":"1.2","creator":{"name":"t","version":"1"},"entries":[]}}"#;
    std::fs::write(outside.path().join("in.har"), har).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(outside.path(), agent.path("link")).unwrap();
    let mut paths = vec![target.to_str().unwrap().to_owned(), "../x.har".into(), "a/../../x.har".into()];
    if cfg!(unix) {
        paths.push("link/x.har".into());
    }
    for path in paths {
        let export = json!({"session_id": "s1", "output_file": path});
        agent.refused("proxy_export_har", export, "path_not_allowed").await;
        let import = json!({"har_file": path.replace("x.har", "in.har")});
        agent.refused("proxy_import_har", import, "path_not_allowed").await;
    }
    agent.ok("proxy_stop", json!({})).await;
    agent.refused("proxy_start", json!({"storage_dir": "../elsewhere"}), "path_not_allowed").await;
    agent.refused("proxy_start", json!({"storage_dir": outside.path()}), "path_not_allowed").await;
    let left: Vec<_> = std::fs::read_dir(outside.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["in.har"]);

    let allowed = Agent::with(&["--allow-dir", outside.path().to_str().unwrap()]).await;
    let import = json!({"har_file": outside.path().join("in.har")});
    assert_eq!(allowed.ok("proxy_import_har", import).await["importSummary"]["totalEntries"], 0);
}
