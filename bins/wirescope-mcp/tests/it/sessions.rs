use serde_json::{Value, json};
use testkit::full;

use crate::agent::{Agent, within};

#[tokio::test]
async fn a_named_session_records_is_queried_and_deleted() {
    let (agent, origin, proxy) = Agent::with_origin().await;
    let started = agent.ok("proxy_session_start", json!({"session_name": "shop"})).await;
    let id = started["session"]["id"].clone();
    assert_eq!(started["session"]["status"], "active");
    let again = agent.ok("proxy_session_start", json!({"session_name": "other"})).await;
    assert_eq!(again["session"]["id"], id);
    assert!(again["note"].is_string());
    let mut client = proxy.https(&origin.authority()).await.unwrap();
    client.get("/json").await.unwrap();
    client.post("/echo", full("a body")).await.unwrap();
    agent.settled(2).await;

    let status = agent.ok("proxy_session_status", json!({})).await;
    assert_eq!((&status["enabled"], &status["sessionId"]), (&json!(true), &id));
    agent.refused("proxy_delete_session", json!({"session_id": id}), "session_active").await;
    let stopped = agent.ok("proxy_session_stop", json!({})).await;
    assert_eq!(stopped["session"]["status"], "stopped");
    assert_eq!(stopped["session"]["exchangeCount"], 2);
    assert_eq!(agent.ok("proxy_session_stop", json!({})).await["session"], json!(null));
    // What was captured before stays listed.
    assert_eq!(agent.ok("proxy_list_traffic", json!({})).await["total"], 2);

    let page =
        agent.ok("proxy_query_session", json!({"session_id": id, "sort": "asc", "fields": ["*"]})).await;
    assert_eq!(page["total"], 2);
    assert_eq!(page["items"][1]["method"], "POST");
    assert_eq!(page["items"][1]["hasFullRequestBody"], true);
    for (filter, want) in [
        (json!({"method": "GET"}), 1),
        (json!({"text": "a BODY"}), 1),
        (json!({"url_contains": "nothing"}), 0),
        (json!({"status_code": 200}), 2),
        (json!({"hostname_contains": "LOCAL"}), 2),
        (json!({"to_ts": 1000}), 0),
        (json!({"from_ts": 1000}), 2),
    ] {
        let mut arguments = filter.clone();
        arguments["session_id"] = id.clone();
        assert_eq!(agent.ok("proxy_query_session", arguments).await["total"], want, "{filter}");
    }

    let by_seq = json!({"session_id": id, "seq": page["items"][1]["seq"]});
    let record = agent.ok("proxy_get_session_exchange", by_seq).await;
    assert_eq!(record["record"]["requestBodyText"], "a body");
    assert_eq!(record["record"]["requestBodyBase64"], Value::Null);
    let by_id =
        json!({"session_id": id, "exchange_id": page["items"][1]["exchangeId"], "include_body": false});
    let bare = agent.ok("proxy_get_session_exchange", by_id).await;
    assert_eq!(bare["record"]["responseBodyText"], Value::Null);
    assert_eq!(bare["index"]["url"], origin.url("/echo"));

    assert_eq!(agent.ok("proxy_get_session", json!({"session_id": id})).await["session"]["name"], "shop");
    agent.ok("proxy_delete_session", json!({"session_id": id})).await;
    agent.refused("proxy_get_session", json!({"session_id": id}), "unknown_session").await;
    assert_eq!(agent.ok("proxy_list_traffic", json!({})).await["total"], 0);
}

#[tokio::test]
async fn a_session_goes_out_as_har_and_comes_back() {
    let (agent, origin, proxy) = Agent::with_origin().await;
    let mut client = proxy.https(&origin.authority()).await.unwrap();
    client.get("/json").await.unwrap();
    client.get("/gzip").await.unwrap();
    client.post("/echo", full("x=1")).await.unwrap();
    agent.settled(3).await;

    let capture = agent.ok("start_live_capture", json!({})).await["capture_id"].clone();
    let exported = agent.ok("proxy_export_har", json!({"session_id": "s1", "output_file": "out.har"})).await;
    assert_eq!(exported["entries"], 3);
    assert_eq!(exported["outputFile"], agent.path("out.har").to_str().unwrap());
    let har: Value = serde_json::from_slice(&std::fs::read(agent.path("out.har")).unwrap()).unwrap();
    assert_eq!(har["log"]["version"], "1.2");
    assert_eq!(har["log"]["entries"].as_array().unwrap().len(), 3);

    let some =
        json!({"session_id": "s1", "output_file": "some.har", "method": "POST", "include_bodies": false});
    assert_eq!(agent.ok("proxy_export_har", some).await["entries"], 1);
    let default = agent.ok("proxy_export_har", json!({"session_id": "s1"})).await;
    assert!(default["outputFile"].as_str().unwrap().ends_with("exports/s1.har"), "{default}");

    let imported = agent.ok("proxy_import_har", json!({"har_file": "out.har", "session_name": "back"})).await;
    assert_eq!(imported["importSummary"]["importedEntries"], 3);
    assert_eq!(imported["session"]["name"], "back");
    let id = &imported["session"]["id"];
    let page = agent.ok("proxy_query_session", json!({"session_id": id, "text": "x=1"})).await;
    assert_eq!(page["total"], 1, "{page}");
    // Imports are no live traffic, and do not get into its way.
    assert_eq!(agent.ok("proxy_list_traffic", json!({})).await["total"], 3);
    client.get("/json?old").await.unwrap();
    agent.ok("proxy_session_start", json!({"session_name": "after"})).await;
    client.get("/json?new").await.unwrap();
    agent.settled(5).await;
    let read = agent.ok("read_live_capture", json!({"capture_id": capture})).await;
    let queries: Vec<_> =
        read["rows"].as_array().unwrap().iter().map(|row| row[5].as_str().unwrap().to_owned()).collect();
    assert_eq!(queries, [origin.url("/json?old"), origin.url("/json?new")]);
}

#[tokio::test]
async fn files_that_are_no_har_are_refused_and_leave_no_session() {
    let agent = Agent::new().await;
    std::fs::write(agent.path("bad.har"), "not json").unwrap();
    std::fs::write(agent.path("json.har"), "{\"a\":1}").unwrap();
    for name in ["bad.har", "json.har"] {
        agent.refused("proxy_import_har", json!({"har_file": name}), "not_har").await;
    }
    agent.refused("proxy_import_har", json!({"har_file": "missing.har"}), "file_unreadable").await;
    assert_eq!(agent.ok("proxy_list_sessions", json!({})).await["count"], 0);
}

#[tokio::test]
async fn a_start_can_name_its_session_and_its_store() {
    let agent = Agent::new().await;
    let arguments =
        json!({"persistence_enabled": true, "session_name": "run", "storage_dir": "mine", "max_disk_mb": 8});
    let started = agent.ok("proxy_start", arguments).await;
    let persistence = &started["persistence"];
    assert_eq!(persistence["enabled"], true);
    assert_eq!(persistence["storageDir"], agent.path("mine").to_str().unwrap());
    assert_eq!(persistence["maxDiskMb"], 8.0);
    let listed = agent.ok("proxy_list_sessions", json!({})).await;
    assert_eq!(listed["sessions"][0]["name"], "run");
    agent.ok("proxy_stop", json!({})).await;
    // The store stays the current one until the proxy is started elsewhere.
    assert_eq!(agent.ok("proxy_list_sessions", json!({})).await["count"], 1);
    agent.ok("proxy_start", json!({})).await;
    assert_eq!(agent.ok("proxy_list_sessions", json!({})).await["count"], 1);
    agent.refused("proxy_session_start", json!({"storage_dir": "mine"}), "invalid_argument").await;
}

#[tokio::test]
async fn two_servers_do_not_record_into_one_store() {
    let agent = Agent::new().await;
    agent.ok("proxy_start", json!({})).await;
    let store = agent.state.path().join("store");
    let other = Agent::with(&["--store", store.to_str().unwrap()]).await;
    let error = other.refused("proxy_start", json!({}), "store_locked").await;
    assert!(error["hint"].as_str().unwrap().contains("storage_dir"), "{error}");
    // Reading beside the other works.
    assert_eq!(other.ok("proxy_list_sessions", json!({})).await["count"], 1);
    let free = other.state.path().join("store-2");
    assert!(error["hint"].as_str().unwrap().contains(free.to_str().unwrap()), "{error}");
    other.ok("proxy_start", json!({"storage_dir": free})).await;
}

#[tokio::test]
async fn a_killed_server_leaves_a_session_that_the_next_one_recovers() {
    let (agent, origin, proxy) = Agent::with_origin().await;
    let mut client = proxy.https(&origin.authority()).await.unwrap();
    client.get("/json").await.unwrap();
    agent.settled(1).await;
    std::process::Command::new("kill").args(["-KILL", &agent.pid.to_string()]).status().unwrap();
    let _ = within("the end", agent.client.waiting()).await;

    let store = agent.state.path().join("store");
    let next = Agent::with(&["--store", store.to_str().unwrap()]).await;
    let recovered = next.ok("proxy_session_recover", json!({})).await;
    assert_eq!(recovered["recovered"][0]["sessionId"], "s1", "{recovered}");
    assert_eq!(recovered["recovered"][0]["exchanges"], 1);
    let session = next.ok("proxy_get_session", json!({"session_id": "s1"})).await;
    assert_eq!(session["session"]["recoveryState"], "recovered");
    assert_eq!(session["session"]["status"], "stopped");
    next.refused("proxy_session_recover", json!({"session_id": "s99"}), "unknown_session").await;
}

#[expect(clippy::too_many_lines, reason = "one story of one store")]
#[tokio::test]
async fn sessions_are_marked_found_copied_merged_and_verified() {
    let (agent, origin, proxy) = Agent::with_origin().await;
    let mut ids = Vec::new();
    for name in ["first", "second"] {
        let started = agent.ok("proxy_session_start", json!({"session_name": name})).await;
        let mut client = proxy.https(&origin.authority()).await.unwrap();
        client.get("/json").await.unwrap();
        client.post("/echo", full(format!("a body of {name}"))).await.unwrap();
        agent.settled(ids.len() as u64 * 2 + 2).await;
        agent.ok("proxy_session_stop", json!({})).await;
        ids.push(started["session"]["id"].clone());
    }
    let edit = json!({"session_id": ids[0], "comment": "before the fix", "tags": ["login", "slow"]});
    agent.ok("edit_session", edit).await;
    agent.ok("edit_session", json!({"session_id": ids[0], "name": "renamed"})).await;
    agent.refused("edit_session", json!({"session_id": ids[0]}), "invalid_argument").await;
    agent.refused("edit_session", json!({"session_id": "s99", "name": "x"}), "unknown_session").await;
    for (filter, count) in [
        ("tag:login", 1),
        ("renamed", 1),
        ("fix", 1),
        ("kind:named", 2),
        ("-tag:slow kind:named", 1),
        ("tag:x", 0),
    ] {
        let listed = agent.ok("proxy_list_sessions", json!({"filter": filter})).await;
        assert_eq!(listed["count"], count, "{filter}");
    }
    let refused =
        agent.refused("proxy_list_sessions", json!({"filter": "color:red"}), "invalid_argument").await;
    assert!(refused["error"].as_str().unwrap().contains("column 1"), "{refused}");

    let copied = json!({"session_ids": [ids[0]], "name": "posts", "filter": "method:POST"});
    let copied = agent.ok("copy_sessions", copied).await;
    assert_eq!(copied["session"]["exchangeCount"], 1);
    let merged = agent.ok("copy_sessions", json!({"session_ids": ids, "name": "both"})).await;
    assert_eq!(merged["session"]["exchangeCount"], 4);
    let unknown = json!({"session_ids": ["s99"], "name": "none"});
    agent.refused("copy_sessions", unknown, "unknown_session").await;
    let whole = agent.ok("verify_sessions", json!({})).await;
    assert_eq!((&whole["whole"], &whole["problems"]), (&json!(true), &json!([])));

    let search = |more: Value| {
        let mut arguments = json!({"session_id": merged["session"]["id"], "text": "A BODY"});
        arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        agent.ok("proxy_search_session_bodies", arguments)
    };
    let found = search(json!({})).await;
    // Each echo has it in both of its bodies.
    assert_eq!((&found["scanned"], &found["totalMatches"]), (&json!(4), &json!(4)));
    assert_eq!(found["matches"][0]["snippets"][0]["context"], "[a body] of second");
    assert_eq!(search(json!({"search_in": "request"})).await["totalMatches"], 2);
    assert_eq!(search(json!({"case_sensitive": true})).await["totalMatches"], 0);
    assert_eq!(search(json!({"filter": "body:first"})).await["totalMatches"], 2);
    let id = &found["matches"][0]["exchangeId"];
    let shown = agent.ok("proxy_get_exchange", json!({"exchange_id": id, "as_curl": true})).await;
    let curl = shown["curl"].as_str().unwrap();
    assert!(
        curl.starts_with("curl -g --path-as-is") && curl.contains("--data-raw 'a body of second'"),
        "{curl}"
    );
    let first = search(json!({"limit": 1})).await;
    assert_eq!(first["totalMatches"], 2);
    let rest = agent.ok("proxy_search_session_bodies", first["next"]["arguments"].clone()).await;
    assert_eq!(rest["matches"][0]["snippets"][0]["context"], "[a body] of first");
    let unknown = json!({"session_id": "s99", "text": "x"});
    agent.refused("proxy_search_session_bodies", unknown, "unknown_session").await;
}

#[tokio::test]
async fn a_match_beyond_what_one_search_looks_through_is_found_by_going_on() {
    let (agent, origin, proxy) = Agent::with_origin().await;
    let started = agent.ok("proxy_session_start", json!({})).await;
    let mut client = proxy.https(&origin.authority()).await.unwrap();
    client.post("/echo", full("the needle")).await.unwrap();
    for _ in 0..30 {
        client.get("/json").await.unwrap();
    }
    agent.settled(31).await;
    let mut arguments = json!({"session_id": started["session"]["id"], "text": "needle", "max_scan": 10});
    let mut looks = 0;
    let found = loop {
        looks += 1;
        let found = agent.ok("proxy_search_session_bodies", arguments.clone()).await;
        if found["totalMatches"] != 0 || found["next"].is_null() {
            break found;
        }
        arguments = found["next"]["arguments"].clone();
    };
    assert_eq!(found["totalMatches"], 2);
    assert!(looks > 1);
}
