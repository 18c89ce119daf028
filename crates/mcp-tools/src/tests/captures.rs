use bytes::Bytes;
use serde_json::json;

use super::support::{Bench, Fed, call};

/// Bytes that do not compress.
fn noise(length: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(step).collect()
}

#[tokio::test]
async fn evictions_before_a_read_are_counted() {
    let bench = Bench::starting(json!({"max_disk_mb": 1})).await;
    let capture = call!(bench, start_live_capture, json!({}))["capture_id"].clone();
    for n in 1..=40 {
        bench.feed(n, Fed::get(format!("/{n}")).with_body(&[], noise(100_000, n)));
    }
    let read = call!(bench, read_live_capture, json!({"capture_id": capture}));
    let (evicted, left) = (read["evicted"].as_u64().unwrap(), read["total_new_items"].as_u64().unwrap());
    assert!(evicted > 0, "{read}");
    assert_eq!(evicted + left, 40);
    assert!(read["warnings"][0].as_str().unwrap().starts_with("evicted: "));
    let again = call!(bench, read_live_capture, json!({"capture_id": capture}));
    assert_eq!((&again["evicted"], &again["total_new_items"]), (&json!(0), &json!(0)));
}

#[tokio::test]
async fn reads_at_once_deliver_each_exchange_once() {
    let bench = Bench::new().await;
    let capture = call!(bench, start_live_capture, json!({}))["capture_id"].clone();
    for n in 1..=40 {
        bench.feed(n, Fed::get(format!("/{n}")));
    }
    let read = async || call!(bench, read_live_capture, json!({"capture_id": capture, "limit": 10}));
    let (a, b, c, d) = tokio::join!(read(), read(), read(), read());
    let mut paths: Vec<String> = [a, b, c, d]
        .iter()
        .flat_map(|read| read["rows"].as_array().unwrap().clone())
        .map(|row| row[5].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(paths.len(), 40);
    paths.sort();
    paths.dedup();
    assert_eq!(paths.len(), 40);
}

#[tokio::test]
async fn a_capture_stays_readable_when_the_server_records_elsewhere() {
    let bench = Bench::new().await;
    let capture = call!(bench, start_live_capture, json!({}))["capture_id"].clone();
    bench.feed(1, Fed::get("/first"));
    bench.toolbox.proxy_stop().await.map(drop).unwrap();
    let elsewhere = bench.toolbox.config().state.path().join("elsewhere");
    call!(bench, proxy_start, json!({"storage_dir": elsewhere}));
    bench.feed(2, Fed::get("/elsewhere"));
    let read = call!(bench, read_live_capture, json!({"capture_id": capture}));
    assert_eq!(read["status"], "stopped");
    assert_eq!(read["rows"][0][5], "https://example.test/first");
    assert_eq!(read["total_new_items"], 1);
    assert_eq!(call!(bench, proxy_list_traffic, json!({}))["total"], 1);
    assert_eq!(call!(bench, stop_live_capture, json!({"capture_id": capture}))["status"], "stopped");
}

#[tokio::test]
async fn a_page_of_long_items_stays_within_its_budget() {
    let bench = Bench::new().await;
    let capture = call!(bench, start_live_capture, json!({}))["capture_id"].clone();
    for n in 1..=200 {
        bench.feed(n, Fed::get(format!("/{n}/{}?{}", "p".repeat(400), "q".repeat(400))));
    }
    let (mut seen, mut calls) = (0, 0);
    loop {
        let arguments = json!({"capture_id": capture, "limit": 1000, "fields": ["*"]});
        let read = call!(bench, read_live_capture, arguments);
        assert!(read.to_string().len() <= 16 * 1024, "{}", read.to_string().len());
        seen += read["items"].as_array().unwrap().len();
        calls += 1;
        if read["truncated"] == false {
            break;
        }
    }
    assert_eq!(seen, 200);
    assert!(calls > 5);
}
