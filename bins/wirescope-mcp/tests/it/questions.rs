//! Ten questions as an agent has them, asked of the built server about a generated session of 5,000 exchanges. Each must be
//! answered rightly in at most two calls and two kilobytes; `cargo xtask questions` writes what they cost into
//! docs/token-budget.md.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::{
    agent::Agent,
    shop::{self, EMAIL, EXCHANGES, Planted, TOKEN},
};

/// Calls a question may take, and bytes of their answers together.
const MOST_CALLS: usize = 2;
const MOST_BYTES: usize = 2_048;
/// Where the report goes, if it is wanted.
const REPORT: &str = "WIRESCOPE_QUESTIONS_REPORT";

/// A question, the calls that answer it, and whether what they say is right.
struct Question {
    asked: &'static str,
    calls: Vec<(&'static str, Value)>,
    right: fn(&[Value], &Planted) -> bool,
}

fn question(
    asked: &'static str,
    calls: Vec<(&'static str, Value)>,
    right: fn(&[Value], &Planted) -> bool,
) -> Question {
    Question { asked, calls, right }
}

#[expect(clippy::too_many_lines, reason = "one table of ten questions")]
fn questions() -> Vec<Question> {
    let clean = "SELECT template, count(*) n FROM exchanges WHERE session = 2 AND host = 'cdn.shop.test' AND \
                 header(seq, 'resp', 'cache-control') IS NULL GROUP BY 1 ORDER BY n DESC";
    vec![
        question(
            "What is in this session, and why do requests fail without a status?",
            vec![("summarize", json!({"session": "s2"}))],
            |answers, planted| {
                let failure = &answers[0]["failures"]["rows"][0];
                answers[0]["exchanges"] == EXCHANGES
                    && failure[0] == "dns"
                    && failure[1] == planted.unresolved
            },
        ),
        question(
            "Which endpoint fails most, and with which status?",
            vec![(
                "aggregate",
                json!({"session": "s2", "filter": "status:>=400", "by": ["method", "host", "template", "status"], "limit": 5}),
            )],
            |answers, planted| {
                let row = &answers[0]["rows"][0];
                row[2] == "/v2/orders/{id}/submit" && row[3] == 500 && row[4] == planted.failed_submits
            },
        ),
        question(
            "When did it fail most?",
            vec![(
                "aggregate",
                json!({"session": "s2", "filter": "status:>=500", "by": ["time:1m"], "limit": 3}),
            )],
            |answers, planted| {
                let row = &answers[0]["rows"][0];
                row[0] == planted.burst.0 && row[1].as_u64() >= Some(planted.burst.1)
            },
        ),
        question(
            "What got slower since yesterday, and by how much?",
            vec![(
                "aggregate",
                json!({"session": "s2", "compare_to": "s1", "by": ["host", "template"], "limit": 3}),
            )],
            |answers, _| {
                let row = &answers[0]["rows"][0];
                let (now, before) = (row[6].as_f64().unwrap(), row[7].as_f64().unwrap());
                row[1] == "/v2/search"
                    && now - before > 300.0
                    && answers[0]["rows"][1][6].as_f64() < Some(100.0)
            },
        ),
        question(
            "Where does this access token come from, and who else is it sent to?",
            vec![("trace_value", json!({"session": "s2", "value": TOKEN}))],
            |answers, planted| {
                let first = &answers[0]["first"];
                let foreign = answers[0]["sent"].as_array().unwrap().iter();
                let mut foreign = foreign.filter(|row| !row[0].as_str().unwrap().ends_with("shop.test"));
                let leak = foreign.next().unwrap();
                first["id"] == planted.issuer
                    && first["field"] == "resp.json./access_token"
                    && leak[0] == "stats.vendor.test"
                    && leak[1] == "param.sid"
                    && leak[3] == planted.leaked
            },
        ),
        question(
            "Is this customer's address sent to anybody else, in whatever encoding?",
            vec![("find_value", json!({"session": "s2", "value": EMAIL, "filter": "-host:*.shop.test"}))],
            |answers, planted| {
                let row = &answers[0]["rows"][0];
                row[0] == "stats.vendor.test" && row[2] == "base64" && row[3] == planted.told
            },
        ),
        question(
            "Which product in a cart costs nothing?",
            vec![(
                "search_bodies",
                json!({"session": "s2", "text": "\"price\":0\\b", "regex": true, "filter": "path:/cart"}),
            )],
            |answers, planted| {
                let hit = &answers[0]["hits"][0];
                hit["id"] == planted.free.0 && hit["object"]["sku"] == planted.free.1
            },
        ),
        question(
            "Which requests are retried, and do they back off?",
            vec![("find_retries", json!({"session": "s2", "filter": "host:pay.shop.test"}))],
            |answers, _| {
                let row = &answers[0]["rows"][0];
                answers[0]["chains"] == 1
                    && row[5] == json!(["503", "503", "503", "503", "201"])
                    && row[6] == json!([200, 400, 800, 1600])
                    && row[7] == "exponential"
            },
        ),
        question(
            "Which files of the CDN may not be cached?",
            vec![("query_sql", json!({"sql": clean}))],
            |answers, planted| answers[0]["rows"] == json!([["/fonts/{id}.woff2", planted.uncached]]),
        ),
        question(
            "Which apps still call the old interface, and how many answers switch the new checkout on?",
            vec![
                (
                    "aggregate",
                    json!({"session": "s2", "filter": "path:/v1/", "by": ["req.header.user-agent"]}),
                ),
                (
                    "aggregate",
                    json!({"session": "s2", "filter": "path:/v2/config", "by": ["resp.json./flags/checkout"]}),
                ),
            ],
            |answers, planted| {
                let switched = answers[1]["rows"].as_array().unwrap().iter().find(|row| row[0] == "new");
                answers[0]["groups"] == 1
                    && answers[0]["rows"][0][0] == "shop-ios/3.9"
                    && answers[0]["rows"][0][1] == planted.old
                    && switched.is_some_and(|row| row[1] == planted.enabled)
            },
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_questions_are_answered_rightly_in_two_calls_and_two_kilobytes_each() {
    let store = tempfile::tempdir().unwrap();
    let directory = store.path().to_owned();
    let planted = tokio::task::spawn_blocking(move || shop::write(&directory)).await.unwrap();
    let agent = Agent::with(&["--store", store.path().to_str().unwrap()]).await;
    let mut report = String::from("| question | calls | bytes asked | bytes answered |\n|---|---|---|---|\n");
    let (mut calls, mut asked, mut answered, mut wrong) = (0, 0, 0, Vec::new());
    for question in questions() {
        let mut answers = Vec::new();
        let (mut sent, mut bytes) = (0, 0);
        for (tool, arguments) in &question.calls {
            sent += tool.len() + arguments.to_string().len();
            let answer = agent.ok(tool, arguments.clone()).await;
            bytes += answer.to_string().len();
            answers.push(answer);
        }
        if !(question.right)(&answers, &planted) {
            wrong.push(format!("{}: {planted:?}\n{}", question.asked, json!(answers)));
        }
        if bytes > MOST_BYTES || answers.len() > MOST_CALLS {
            wrong.push(format!(
                "{}: {} calls, {bytes} bytes\n{}",
                question.asked,
                answers.len(),
                json!(answers)
            ));
        }
        let tools: Vec<&str> = question.calls.iter().map(|(tool, _)| *tool).collect();
        let tools = tools.join("`, `");
        let _ = writeln!(report, "| {} | {}: `{tools}` | {sent} | {bytes} |", question.asked, answers.len());
        calls += answers.len();
        asked += sent;
        answered += bytes;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    let _ = writeln!(report, "| all of them | {calls} | {asked} | {answered} |");
    if let Some(path) = std::env::var_os(REPORT) {
        std::fs::write(path, report).unwrap();
    }
}
