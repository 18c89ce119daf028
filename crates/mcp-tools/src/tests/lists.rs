use serde_json::{Value, json};

use super::support::{Bench, Fed, call, params};

fn ids(rows: &Value) -> Vec<&str> {
    rows.as_array().unwrap().iter().map(|row| row[0].as_str().unwrap()).collect()
}

#[tokio::test]
async fn long_rows_are_dropped_whole_and_the_next_call_has_them() {
    let bench = Bench::new().await;
    for n in 1..=100 {
        bench.feed(n, Fed::get(format!("/{n}?{}", "y".repeat(2000))));
    }
    let mut arguments = json!({"limit": 1000, "fields": ["*"]});
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
    assert_eq!(ids(&first["rows"]).len(), 1, "{first}");
    bench.end(1);
    bench.feed(3, Fed::get("/later"));
    let second = call!(bench, read_live_capture, json!({"capture_id": capture}));
    assert_eq!(second["rows"][0][5], "https://example.test/later");
    assert_eq!(second["total_new_items"], 1);
    let all = call!(bench, proxy_list_traffic, json!({"fields": ["*"]}));
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
        seen.extend(ids(&found["rows"]).into_iter().map(str::to_owned));
        assert_eq!(found["truncated"], found.get("next").is_some());
        match found.get("next") {
            Some(next) => arguments = next["arguments"].clone(),
            None => break,
        }
    }
    assert_eq!(seen, (1..=40).rev().map(|n| format!("e{n}")).collect::<Vec<_>>());
    let some = call!(bench, proxy_search_traffic, json!({"query": "needle", "filter": "path:/1 seq:<30"}));
    assert_eq!(ids(&some["rows"]).first(), Some(&"e19"));
}

#[tokio::test]
async fn requests_under_way_are_listed() {
    let bench = Bench::new().await;
    bench.feed(1, Fed { open: true, ..Fed::get("/poll") });
    let rows = call!(bench, proxy_list_traffic, json!({}))["rows"].clone();
    assert_eq!((&rows[0][0], &rows[0][2], &rows[0][4]), (&json!("e1"), &Value::Null, &Value::Null));
    let all = call!(bench, proxy_list_traffic, json!({"fields": ["*"]}));
    assert_eq!(all["exchanges"][0]["inProgress"], true);
    assert_eq!(all["exchanges"][0]["status"], Value::Null);
    assert_eq!(all["exchanges"][0]["duration"], Value::Null);
}

#[tokio::test]
async fn a_row_has_160_bytes_at_most_whatever_the_url() {
    let bench = Bench::new().await;
    for n in 1..=60 {
        let target = format!("/{}?q={}", "seg/".repeat(n % 9 * 8), "\"é".repeat(n * 3));
        let text = [("Content-Type", "text/plain")];
        bench.feed(n as u64, Fed::get(target).with_body(&text, "needle ".repeat(n)));
    }
    let capture = call!(bench, start_live_capture, json!({"include_existing": true}))["capture_id"].clone();
    let lists = [
        call!(bench, proxy_list_traffic, json!({"limit": 1000})),
        call!(bench, proxy_query_session, json!({"session_id": "s1", "limit": 1000})),
        call!(bench, proxy_search_traffic, json!({"query": "needle", "limit": 200})),
        call!(bench, peek_live_capture, json!({"capture_id": capture})),
        call!(bench, query_live_capture_entries, json!({"capture_id": capture, "max_items": 200})),
        call!(bench, analyze_recorded_traffic, json!({"recording_path": "s1", "max_items": 200})),
        call!(bench, get_recording_snapshot, json!({"path": "s1"})),
        call!(bench, query_recorded_traffic, json!({"host_contains": "example"})),
    ];
    for list in lists {
        let (columns, rows) = (list["columns"].as_array().unwrap(), list["rows"].as_array().unwrap());
        assert!(rows.len() >= 50, "{list}");
        for row in rows {
            assert_eq!(row.as_array().unwrap().len(), columns.len(), "{columns:?} {row}");
            assert!(row.to_string().len() <= 160, "{}: {row}", row.to_string().len());
            assert!(row[0].as_str().unwrap().starts_with('e'), "{row}");
        }
    }
    let store = bench.toolbox.fresh_store().await.unwrap();
    for summary in store.query(&capture_store::Query::default()).unwrap().items {
        let brief = serde_json::to_string(&crate::brief::Brief::new(&summary)).unwrap();
        assert!(brief.len() <= 160, "{}: {brief}", brief.len());
    }
}

#[tokio::test]
async fn usual_urls_are_told_whole() {
    let bench = Bench::new().await;
    for n in 1..=31 {
        // 60 to 90 characters.
        bench.feed(n, Fed::get(format!("/{}?page={n:02}", "x".repeat(30 + n as usize))));
    }
    let whole = |list: &Value| {
        let url = list["columns"].as_array().unwrap().iter().position(|name| name == "url").unwrap();
        let urls = list["rows"].as_array().unwrap().iter().map(|row| row[url].as_str().unwrap().to_owned());
        let urls: Vec<String> = urls.collect();
        assert_eq!(urls.len(), 31, "{list}");
        assert!(urls.iter().all(|url| (60..=90).contains(&url.len()) && !url.contains('…')), "{urls:?}");
    };
    whole(&call!(bench, proxy_list_traffic, json!({})));
    let ranked = json!({"recording_path": "s1", "max_items": 200});
    whole(&call!(bench, analyze_recorded_traffic, ranked));
}

#[tokio::test]
async fn matches_that_do_not_fit_are_a_call_away() {
    let bench = Bench::new().await;
    for n in 1..=25 {
        bench.feed(n, Fed::get(format!("/orders/{n}")));
    }
    let capture = call!(bench, start_live_capture, json!({"include_existing": true}))["capture_id"].clone();
    let mut arguments = json!({"capture_id": capture, "path_contains": "orders"});
    let mut seen = Vec::new();
    loop {
        let found = call!(bench, query_live_capture_entries, arguments);
        assert_eq!(found["matched_count"], 25);
        assert_eq!(found["match_reasons"], json!(["path contains \"orders\""]));
        seen.extend(ids(&found["rows"]).into_iter().map(str::to_owned));
        match found.get("next") {
            Some(next) => arguments = next["arguments"].clone(),
            None => break,
        }
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 25);
}

#[tokio::test]
async fn a_column_that_no_row_needs_is_left_out() {
    let bench = Bench::new().await;
    bench.feed(1, Fed::get("/"));
    let plain = call!(bench, proxy_list_traffic, json!({}));
    assert_eq!(plain["columns"], json!(["id", "ts", "ms", "method", "status", "url", "bytes"]));
    let mixed =
        bench.toolbox.proxy_list_traffic(params("proxy_list_traffic", json!({"fields": ["*", "id"]})));
    assert_eq!(mixed.await.err().unwrap().code(), "invalid_argument");
}
