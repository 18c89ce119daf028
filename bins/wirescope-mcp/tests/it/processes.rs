//! Traffic by the process that caused it.
#![cfg(target_os = "linux")]

use serde_json::json;

use crate::agent::{Agent, rows};

#[tokio::test]
async fn traffic_is_grouped_filtered_and_shown_by_process() {
    let agent = Agent::with(&["--client-process"]).await;
    let proxy = agent.start_proxy(json!({})).await;
    // The proxy's own page does without an origin.
    let mut client = proxy.http("wirescope.test").await.unwrap();
    for _ in 0..3 {
        client.get("/").await.unwrap();
    }
    agent.settled(3).await;
    let name = std::fs::read_to_string("/proc/self/comm").unwrap().trim_end().to_owned();
    let pid = std::process::id();

    let groups = agent.ok("aggregate", json!({"by": ["process", "pid"]})).await;
    let (columns, row) = (groups["columns"].as_array().unwrap(), groups["rows"][0].as_array().unwrap());
    assert_eq!(columns[..3], [json!("process"), json!("pid"), json!("count")]);
    assert_eq!(row[..3], [json!(name), json!(pid), json!(3)], "{groups}");
    for (filter, found) in [
        (format!("process:{name}"), 3),
        (format!("process:{pid}"), 3),
        (format!("process:*{}", &name[1..]), 3),
        ("-process:*".to_owned(), 0),
    ] {
        let counted = agent.ok("aggregate", json!({"filter": filter})).await;
        assert_eq!(counted["exchanges"], found, "{filter}: {counted}");
    }
    let listed = agent.ok("proxy_list_traffic", json!({"fields": ["process", "pid"]})).await;
    assert_eq!(rows(&listed)[2]["process"], name.as_str(), "{listed}");
    let shown = agent.ok("proxy_get_exchange", json!({"exchange_id": "e1"})).await;
    assert_eq!(shown["exchange"]["clientProcess"], format!("{name} ({pid})"), "{shown}");
    let sql = "SELECT DISTINCT client_process, client_pid FROM exchanges";
    assert_eq!(agent.ok("query_sql", json!({"sql": sql})).await["rows"], json!([[name, pid]]));
}
