//! Rules edited while exchanges run: no exchange fails, no connection is cut, and each sees one edition of the rules.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use proxy_core::{Outcome, Rules, rules::Rule};
use serde_json::json;
use testkit::Origin;

use crate::lab::Lab;

const CONNECTIONS: usize = 64;
const EDITS: usize = 1_000;

/// Two rules that say the same number, one on the way up and one on the way down.
fn edition(number: usize) -> Vec<Rule> {
    let number = number.to_string();
    let rules = json!([
        { "id": "up", "then": [{ "request_headers": { "set": { "x-up": number } } }] },
        { "id": "down", "when": { "status": 200 }, "then": [{ "response_headers": { "set": { "x-down": number } } }] },
    ]);
    serde_json::from_value(rules).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_edits_fail_no_exchange_and_cut_no_connection() {
    let rules = Rules::new();
    rules.replace_all(edition(0)).unwrap();
    let lab = Lab::with(|builder| builder.rules(rules.clone())).await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let mut clients = tokio::task::JoinSet::new();
    for at in 0..CONNECTIONS {
        let alpn: &[&str] = if at % 2 == 0 { &["http/1.1"] } else { &["h2"] };
        let mut client = lab.client(alpn).https(&origin.authority()).await.unwrap();
        let over = over.clone();
        clients.spawn(async move {
            let mut exchanges = 0;
            loop {
                let is_last = over.load(Relaxed);
                // The origin says what reached it.
                let answer =
                    client.get("/headers").await.expect("an exchange failed, or its connection was cut");
                assert_eq!(answer.status, 200);
                let down = answer.header("x-down").expect("a rule was passed over").to_owned();
                let up = format!("[\"x-up\",\"{down}\"]");
                assert!(answer.text().contains(&up), "two editions met: {down} and {}", answer.text());
                exchanges += 1;
                if is_last {
                    return (exchanges, down);
                }
            }
        });
    }
    for number in 1..=EDITS {
        rules.replace_all(edition(number)).unwrap();
        // What does not parse changes nothing.
        serde_json::from_value::<Rule>(json!({ "when": { "path": { "regex": "(" } } })).unwrap_err();
        tokio::task::yield_now().await;
    }
    over.store(true, Relaxed);
    let mut exchanges = 0;
    while let Some(ended) = clients.join_next().await {
        let (count, last) = ended.unwrap();
        assert_eq!(last, EDITS.to_string(), "the last edition applies");
        exchanges += count;
    }
    let told = lab.log.ended(exchanges).await;
    assert!(told.iter().all(|told| told.outcome() == &Outcome::Response));
    assert_eq!(origin.counts().connections, CONNECTIONS as u64);
}
