use proxy_core::{Direction, MessageKind, WebSocketMessage};
use serde_json::{Value, json};

use super::support::{Bench, Fed, call};

#[tokio::test]
async fn long_headers_are_cut_and_said_so_and_can_be_had_whole() {
    let bench = Bench::new().await;
    let long = "v".repeat(5000);
    let mut exchange = Fed::get("/");
    exchange.response_headers = (0..20).map(|n| (format!("X-Long-{n}"), long.clone())).collect();
    bench.feed(1, exchange);
    let shown = call!(bench, proxy_get_exchange, json!({"exchange_id": "e1"}));
    let response = &shown["exchange"]["response"];
    assert_eq!(response["headersCut"], true);
    assert!(response.to_string().len() < 8 * 1024);
    let whole = call!(bench, proxy_get_exchange, json!({"exchange_id": "e1", "full_headers": true}));
    let response = &whole["exchange"]["response"];
    assert_eq!(response["headers"]["x-long-7"], long);
    assert_eq!(response["rawHeaders"][7], json!(["X-Long-7", long]));
    assert_eq!(response.get("headersCut"), None);
}

#[tokio::test]
async fn a_body_that_does_not_decode_comes_as_received_and_says_so() {
    let bench = Bench::new().await;
    let headers = [("Content-Encoding", "gzip"), ("Content-Type", "text/plain")];
    bench.feed(1, Fed::get("/").with_body(&headers, "this is no gzip"));
    let shown = call!(bench, proxy_get_exchange, json!({"exchange_id": "e1"}));
    let response = &shown["exchange"]["response"];
    assert_eq!(response["bodyPreview"], "this is no gzip");
    assert!(response["bodyProblem"].as_str().unwrap().starts_with("not decoded (gzip"), "{response}");
}

#[tokio::test]
async fn a_body_in_latin1_is_text() {
    let bench = Bench::new().await;
    let headers = [("Content-Type", "text/html; charset=iso-8859-1")];
    bench.feed(1, Fed::get("/").with_body(&headers, &b"caf\xE9"[..]));
    let shown = call!(bench, proxy_get_exchange, json!({"exchange_id": "e1"}));
    assert_eq!(shown["exchange"]["response"]["bodyPreview"], "café");
}

#[tokio::test]
async fn binary_bodies_are_given_once_as_base64() {
    let bench = Bench::new().await;
    bench.feed(1, Fed::get("/").with_body(&[("Content-Type", "image/png")], &b"\x89PNG\0"[..]));
    let arguments = json!({"session_id": "s1", "exchange_id": "e1"});
    let shown = call!(bench, proxy_get_session_exchange, arguments);
    let record = &shown["record"];
    assert_eq!(
        (&record["responseBodyBase64"], &record["responseBodyText"]),
        (&json!("iVBORwA="), &Value::Null)
    );
    assert_eq!(record["exchange"]["response"]["bodyPreview"], "");
    assert_eq!((&record["requestBodyBase64"], &record["requestBodyText"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn messages_come_by_offset_within_a_budget() {
    let bench = Bench::new().await;
    let mut exchange = Fed::get("/ws");
    exchange.messages = (0..50)
        .map(|n| {
            let text = format!("{n} {}", "m".repeat(2000));
            WebSocketMessage::new(Direction::ToClient, MessageKind::Text, text.into())
        })
        .collect();
    bench.feed(1, exchange);
    let (mut offset, mut seen) = (Some(0), 0);
    while let Some(from) = offset {
        let arguments = json!({"exchange_id": "e1", "message_offset": from, "message_limit": 200});
        let shown = call!(bench, proxy_get_exchange, arguments);
        let exchange = &shown["exchange"];
        assert!(exchange.to_string().len() < 16 * 1024);
        assert_eq!(exchange["messageCount"], 50);
        for message in exchange["messages"].as_array().unwrap() {
            assert_eq!(message["index"], seen);
            assert_eq!(message["from"], "server");
            assert!(message["length"].as_u64().unwrap() > 2000);
            seen += 1;
        }
        offset = exchange["messageNextOffset"].as_u64();
    }
    assert_eq!(seen, 50);
}

#[tokio::test]
async fn an_exchange_of_another_session_is_not_passed_off_as_this_ones() {
    let bench = Bench::new().await;
    bench.feed(1, Fed::get("/"));
    call!(bench, proxy_session_start, json!({"session_name": "other"}));
    let params = super::support::params(
        "proxy_get_session_exchange",
        json!({"session_id": "s2", "exchange_id": "e1"}),
    );
    let error = bench.toolbox.proxy_get_session_exchange(params).await.map(drop).unwrap_err();
    assert_eq!(error.code(), "unknown_exchange");
}
