use serde_json::{Value, json};

use super::support::{Bench, Fed, call};

fn ids(items: &Value) -> Vec<&str> {
    items.as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn long_rows_are_dropped_whole_and_the_next_call_has_them() {
    let bench = Bench::new().await;
    for n in 1..=100 {
        bench.feed(n, Fed::get(format!("/{n}?{}", "y".repeat(2000))));
    }
    let mut arguments = json!({"limit": 1000});
    let mut seen = 0;
    loop {
        let page = call!(bench, proxy_list_traffic, arguments);
        assert!(page.to_string().len() <= 16 * 1024);
        seen += page["showing"].as_u64().unwrap();
        match page.get("next") {
            Some(next) => {
                assert_eq!(page["truncated"], true);
                assert_eq!(next["tool"], "proxy_list_traffic");
                arguments = next["arguments"].clone();
            }
            None => break,
        }
    }
    assert_eq!(seen, 100);
}

#[tokio::test]
async fn an_exchange_that_spans_two_sessions_is_neither_lost_nor_doubled() {
    let bench = Bench::new().await;
    bench.feed(1, Fed { open: true, ..Fed::get("/slow") });
    let capture = call!(bench, start_live_capture, json!({}))["capture_id"].clone();
    call!(bench, proxy_session_start, json!({"session_name": "next"}));
    bench.feed(2, Fed::get("/in-next"));
    let first = call!(bench, read_live_capture, json!({"capture_id": capture}));
    assert_eq!(ids(&first["items"]).len(), 1, "{first}");
    bench.end(1);
    bench.feed(3, Fed::get("/later"));
    let second = call!(bench, read_live_capture, json!({"capture_id": capture}));
    assert_eq!(second["items"][0]["path"], "/later");
    assert_eq!(second["total_new_items"], 1);
    let all = call!(bench, proxy_list_traffic, json!({}));
    assert_eq!(all["total"], 3);
    let slow = all["exchanges"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["url"].as_str().unwrap().ends_with("/slow"));
    assert_eq!(slow.unwrap().get("inProgress"), None);
}

#[tokio::test]
async fn a_search_goes_on_where_it_stopped() {
    let bench = Bench::new().await;
    for n in 1..=30 {
        let body = format!("{} needle {n}", "hay ".repeat(20));
        bench.feed(n, Fed::get(format!("/{n}")).with_body(&[("Content-Type", "text/plain")], body));
    }
    call!(bench, proxy_session_start, json!({"session_name": "other"}));
    for n in 31..=40 {
        bench.feed(n, Fed::get(format!("/needle/{n}")));
    }
    let mut arguments = json!({"query": "needle", "limit": 7});
    let mut seen = Vec::new();
    loop {
        let found = call!(bench, proxy_search_traffic, arguments);
        seen.extend(ids(&found["results"]).into_iter().map(str::to_owned));
        assert_eq!(found["truncated"], found.get("next").is_some());
        match found.get("next") {
            Some(next) => arguments = next["arguments"].clone(),
            None => break,
        }
    }
    assert_eq!(seen, (1..=40).rev().map(|n| format!("e{n}")).collect::<Vec<_>>());
    let some = call!(bench, proxy_search_traffic, json!({"query": "needle", "filter": "path:/1 seq:<30"}));
    assert_eq!(ids(&some["results"]).first(), Some(&"e19"));
}

#[tokio::test]
async fn requests_under_way_are_listed() {
    let bench = Bench::new().await;
    bench.feed(1, Fed { open: true, ..Fed::get("/poll") });
    let all = call!(bench, proxy_list_traffic, json!({}));
    assert_eq!(all["exchanges"][0]["inProgress"], true);
    assert_eq!(all["exchanges"][0]["status"], Value::Null);
    assert_eq!(all["exchanges"][0]["duration"], Value::Null);
}
