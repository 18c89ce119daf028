//! What the report of handshakes says.

use serde_json::json;

use super::support::{Bench, Fed, call};

#[tokio::test]
async fn totals_are_of_everything_whatever_page_is_asked_for() {
    let bench = Bench::new().await;
    for id in 0..30 {
        bench.feed(id, Fed { tls: id % 3 == 0, ..Fed::get(format!("/{id}")) });
    }
    let session = call!(bench, proxy_list_sessions, json!({}))["sessions"][0]["id"].clone();
    let told =
        call!(bench, proxy_get_session_handshakes, json!({"session_id": session, "limit": 2, "sort": "asc"}));
    assert_eq!(
        (&told["total"], &told["withTlsMetadata"], &told["withoutTlsMetadata"]),
        (&json!(30), &json!(10), &json!(20))
    );
    assert_eq!(told["unavailableReason"], json!(null));
    assert_eq!(told["items"][0]["ja4"], "t13d1516h2_8daaf6152771_e5627efa2ab1");
    assert_eq!(told["items"][0]["ja3"], "ada70206e40642a3e4461f35503241d5");
    assert_eq!((&told["items"][0]["hasTls"], &told["items"][1]["hasTls"]), (&json!(true), &json!(false)));
    let next = told["next"]["arguments"].clone();
    assert_eq!(next["offset"], 2);
    let told =
        call!(bench, proxy_get_session_handshakes, json!({"session_id": session, "url_contains": "/1"}));
    assert_eq!((&told["total"], &told["withTlsMetadata"]), (&json!(11), &json!(3)));
    assert!(told.get("next").is_none());
}
