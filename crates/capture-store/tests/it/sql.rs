//! SQL over the views: what they are is a contract, and reading is all that can be done.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use capture_store::{ErrorKind, Sql, SqlValue, Store};
use proxy_core::{Direction, EventKind, MessageKind, Outcome, WebSocketMessage};

use crate::support::{Teller, TestStore, exchange, get, request, response};

fn filled() -> TestStore {
    let test = TestStore::new();
    let recorder = test.scratch();
    let mut head = response(200, "application/json");
    head.headers.push("X-Trace", "one");
    head.headers.push("x-trace", "two");
    Teller::begin(&recorder, 1, request("POST", "https", "api.test", "/login?next=1"))
        .request_body(&b"{\"user\":\"ann\"}"[..])
        .request_end()
        .response(head)
        .response_body(&br#"{"user":{"id":7,"tags":["a","b"]},"ok":true}"#[..])
        .end(Outcome::Response);
    let text = WebSocketMessage::new(Direction::ToUpstream, MessageKind::Text, Bytes::from("hello"));
    Teller::begin(&recorder, 2, get("/ws"))
        .response(response(101, "a/b"))
        .tell(EventKind::Message(text))
        .end(Outcome::Upgrade);
    exchange(&recorder, 3, "/large", vec![b'x'; 150_000]);
    recorder.close().unwrap();
    test
}

fn rows(store: &Store, statement: &str) -> Vec<String> {
    let answer = store.sql(&Sql::new(statement)).unwrap_or_else(|error| panic!("{statement}: {error}"));
    let show = |value: &SqlValue| match value {
        SqlValue::Null => "-".to_owned(),
        SqlValue::Integer(number) => number.to_string(),
        SqlValue::Real(number) => number.to_string(),
        SqlValue::Text(text) => text.clone(),
        SqlValue::Blob(bytes) => format!("{} bytes", bytes.len()),
    };
    answer.rows.iter().map(|row| row.iter().map(show).collect::<Vec<_>>().join("|")).collect()
}

#[test]
fn the_views_have_the_columns_they_are_documented_with() {
    let test = filled();
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/sql.md")).unwrap();
    for (view, expected) in [
        (
            "exchanges",
            "seq id session kind state started_ms started_at duration_ms method scheme host port url path http_version \
             status request_type response_type request_bytes response_bytes messages failure failure_detail \
             client_address upstream_address tunnel tls_version tls_sni tls_alpn upstream_tls_version ja3 ja4 wait_ms \
             listener user replay_of parent rules \
             comment template client_process client_pid",
        ),
        ("headers", "seq side position name value"),
        ("bodies", "seq side stored_bytes sha256 in_file"),
        ("messages", "seq number at_ms sender kind length truncated data"),
        (
            "sessions",
            "id name kind state started_ms ended_ms exchanges bytes max_bytes evicted not_recorded comment tags \
             last_error",
        ),
    ] {
        let answer = test.store.sql(&Sql::new(format!("SELECT * FROM {view}"))).unwrap();
        assert_eq!(answer.columns.join(" "), expected, "{view}");
        for column in answer.columns {
            assert!(page.contains(&format!("`{column}`")), "docs/sql.md does not name {view}.{column}");
        }
    }
}

#[test]
fn what_was_recorded_is_read_as_tables() {
    let test = filled();
    for (statement, expected) in [
        (
            "SELECT id, kind, state, method, host, path, status, client_address FROM exchanges ORDER BY seq",
            vec![
                "e1|http|response|POST|api.test|/login|200|127.0.0.1:50000",
                "e2|websocket|upgrade|GET|example.test|/ws|101|127.0.0.1:50000",
                "e3|http|response|GET|example.test|/large|200|127.0.0.1:50000",
            ],
        ),
        ("SELECT host, count(*) FROM exchanges GROUP BY 1 ORDER BY 1", vec!["api.test|1", "example.test|2"]),
        ("SELECT header(1, 'resp', 'X-TRACE'), header(1, 'req', 'nope')", vec!["one, two|-"]),
        (
            "SELECT name, value FROM headers WHERE seq = 1 AND side = 'resp' ORDER BY position",
            vec!["Content-Type|application/json", "X-Trace|one", "x-trace|two"],
        ),
        (
            "SELECT json_at(body_text(seq, 'resp'), '/user/id'), json_at(body_text(seq, 'resp'), '/user/tags/1'), \
             json_at(body_text(seq, 'resp'), '/ok'), json_at(body_text(seq, 'resp'), '/no') FROM exchanges WHERE seq = 1",
            vec!["7|b|1|-"],
        ),
        ("SELECT client_process, client_pid + 1 FROM exchanges WHERE seq < 3", vec!["-|-", "-|-"]),
        ("SELECT body_text(1, 'req') ->> '$.user'", vec!["ann"]),
        (
            "SELECT side, stored_bytes, in_file FROM bodies WHERE seq IN (1, 3) ORDER BY seq, side",
            vec!["req|14|0", "resp|44|0", "resp|150000|1"],
        ),
        ("SELECT number, sender, kind, data FROM messages", vec!["0|client|text|hello"]),
        ("SELECT id, kind, state, exchanges, tags FROM sessions", vec!["1|scratch|stopped|3|[]"]),
        (
            "SELECT template, path_template('/users/42?x') FROM exchanges WHERE seq = 1",
            vec!["/login|/users/{id}"],
        ),
        ("SELECT path_template(7), path_template(NULL)", vec!["-|-"]),
        ("WITH x AS (SELECT seq FROM exchanges) SELECT max(seq) FROM x", vec!["3"]),
        ("SELECT count(*) FROM json_each('[1,2]')", vec!["2"]),
    ] {
        assert_eq!(rows(&test.store, statement), expected, "{statement}");
    }
}

#[test]
fn nothing_but_reading_the_views_is_allowed() {
    let test = filled();
    let elsewhere = test.directory.path().join("x.db");
    for statement in [
        "DELETE FROM exchanges".to_owned(),
        "UPDATE sessions SET name = 'x'".to_owned(),
        "INSERT INTO sessions (id) VALUES (9)".to_owned(),
        "DROP VIEW exchanges".to_owned(),
        "CREATE TABLE t (x)".to_owned(),
        "CREATE TEMP TABLE t (x)".to_owned(),
        "PRAGMA user_version = 9".to_owned(),
        "PRAGMA journal_mode = DELETE".to_owned(),
        format!("ATTACH '{}' AS x", elsewhere.display()),
        format!("VACUUM INTO '{}'", elsewhere.display()),
        "BEGIN IMMEDIATE".to_owned(),
        "SELECT detail FROM main.details".to_owned(),
        "SELECT * FROM main.exchanges".to_owned(),
        "SELECT * FROM certificates".to_owned(),
        "SELECT * FROM sqlite_master".to_owned(),
        "SELECT load_extension('x')".to_owned(),
        "SELECT 1; SELECT 2".to_owned(),
        "".to_owned(),
        "SELEC".to_owned(),
        "SELECT header(1, 'both', 'x')".to_owned(),
    ] {
        let error = test.store.sql(&Sql::new(statement.clone())).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Sql(_)), "{statement}: {error}");
    }
    assert!(!elsewhere.exists());
    assert_eq!(rows(&test.store, "SELECT count(*) FROM exchanges"), ["3"]);
}

#[test]
fn a_statement_that_goes_on_forever_is_stopped() {
    let test = filled();
    let mut sql =
        Sql::new("WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n");
    sql.timeout = Duration::from_millis(50);
    let error = test.store.sql(&sql).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::SqlTimeout(sql.timeout));
}

#[test]
fn rows_bytes_and_values_are_bounded() {
    let test = filled();
    let endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x, printf('%1000d', x) FROM n";
    let mut sql = Sql::new(endless);
    sql.max_rows = 7;
    let answer = test.store.sql(&sql).unwrap();
    assert_eq!((answer.rows.len(), answer.truncated), (7, true));
    sql.max_rows = 1_000_000;
    sql.max_bytes = 100_000;
    let answer = test.store.sql(&sql).unwrap();
    assert!(answer.truncated && answer.rows.len() < 100);
    assert!(test.store.sql(&Sql::new("SELECT randomblob(1000000000)")).is_err());
}

#[test]
fn several_read_at_once() {
    let test = Arc::new(filled());
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let texts = rows(&test.store, "SELECT body_text(seq, 'req') FROM exchanges ORDER BY seq");
                assert_eq!(texts, [r#"{"user":"ann"}"#, "-", "-"]);
            });
        }
    });
}
