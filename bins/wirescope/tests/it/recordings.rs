//! What was recorded, from a second process while the first goes on: list, show, search, export, import, delete.

use std::fs;

use serde_json::Value;
use testkit::{DeflateSocket, RawOrigin, Step, full};

use crate::process::{Home, Running, ran};

/// A proxy that goes on, with some exchanges recorded.
async fn recorded(home: &Home) -> Running {
    let (origin, mut running) = Running::with_origin(home).await;
    let client = home.client(&running, &["http/1.1"]).await;
    let mut https = client.https(&origin.authority()).await.unwrap();
    https.get("/gzip").await.unwrap();
    https.get("/html/dot.png").await.unwrap();
    https.get("/status/503").await.unwrap();
    let mut post = https.request("POST".parse().unwrap(), "/echo?a=1&b=2", full("name=tea&cups=2")).unwrap();
    post.headers_mut().insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
    https.fetch(post).await.unwrap();
    let authority = origin.authority();
    let stream = client.tls(&authority).await.unwrap();
    let mut socket = DeflateSocket::connect(stream, &authority, "/ws-deflate").await.unwrap();
    socket.send_text("over the socket").await.unwrap();
    socket.read_message().await.unwrap();
    drop(socket);
    running.line_with("/ws-deflate").await;
    running
}

#[tokio::test]
async fn second_process_reads_while_the_first_records() {
    let home = Home::new();
    let running = recorded(&home).await;

    let sessions = home.ok(["sessions"]).await;
    assert!(sessions.contains("s1") && sessions.contains("active"), "{sessions}");
    let all = home.json(["show", "s1", "--json"]).await;
    assert_eq!(all.len(), 5);
    for (arguments, expected) in [
        (vec!["--status", "5xx"], 1),
        (vec!["--status", "200"], 3),
        (vec!["--method", "post"], 1),
        (vec!["--url", "dot.png"], 1),
        (vec!["--host", "nowhere"], 0),
        (vec!["--type", "image"], 1),
        (vec!["--limit", "2"], 2),
        (vec!["--after", "e3"], 2),
        (vec!["--before", "e3"], 2),
        (vec!["--text", "the origin"], 1),
    ] {
        let shown = home.json(["show", "last", "--json"].iter().chain(&arguments)).await;
        assert_eq!(shown.len(), expected, "{arguments:?}");
    }
    assert_eq!(home.ok(["show", "s1"]).await.lines().count(), 6);
    let newest = home.run(["show", "s1", "--newest-first", "--limit", "2", "--json"]).await;
    assert!(newest.stdout.starts_with(r#"{"#) && newest.stdout.contains(r#""id":"e5""#), "{}", newest.stdout);
    assert_eq!(newest.stderr, "more follow; go on with --before e4\n");
    running.kill().await;
}

#[tokio::test]
async fn exchange_is_shown_with_heads_bodies_and_messages() {
    let home = Home::new();
    let running = recorded(&home).await;
    let gzip = home.ok(["show", "e1"]).await;
    for expected in [
        "GET /gzip HTTP/1.1",
        "content-encoding: gzip",
        r#"{"greeting":"hello","from":"the origin"}"#,
        "TLSv1.3",
    ] {
        assert!(gzip.contains(expected), "{expected}: {gzip}");
    }
    let decoded = home.ok(["show", "e1", "--body", "response"]).await;
    assert_eq!(decoded, r#"{"greeting":"hello","from":"the origin"}"#);
    let mut raw = home.wirescope(["show", "e1", "--body", "response", "--raw"]);
    assert_eq!(raw.output().await.unwrap().stdout[..2], [0x1f, 0x8b]);
    assert!(home.ok(["show", "e2"]).await.contains("not text"));
    assert_eq!(home.ok(["show", "e4", "--body", "request"]).await, "name=tea&cups=2");
    let nothing = home.run(["show", "e1", "--body", "request"]).await;
    assert_eq!((nothing.code, nothing.stdout.as_str()), (Some(0), ""));
    assert!(nothing.stderr.contains("has no body"), "{}", nothing.stderr);

    let messages = home.ok(["show", "e5", "--messages"]).await;
    let (first, second) = messages.split_once('\n').unwrap();
    assert!(first.contains("-> text 15 B  over the socket"), "{messages}");
    assert!(second.contains("<- text 15 B  over the socket"), "{messages}");
    let object = &home.json(["show", "e4", "--json"]).await[0];
    assert_eq!(object["requestBody"]["wireBytes"], 15);
    assert_eq!(object["upstream"]["tls"]["sni"], "localhost");
    running.kill().await;
}

#[tokio::test]
async fn body_that_does_not_decode_is_told_and_can_still_be_had() {
    let home = Home::new();
    let answer = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 12\r\n\r\nnot gzip \x1b[J";
    let origin = RawOrigin::plain(vec![vec![Step::ReadHead, Step::send(answer)]]).await.unwrap();
    let mut running = Running::start(&home, [""; 0]).await;
    let client = home.client(&running, &[]).await;
    client.http(&origin.authority()).await.unwrap().get("/").await.unwrap();
    running.line_with("GET").await;
    let shown = home.ok(["show", "e1"]).await;
    assert!(shown.contains("its content coding cannot be taken off"), "{shown}");
    let refused = home.run(["show", "e1", "--body", "response"]).await;
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.stderr.starts_with("error: failed to decode the response body as \"gzip\" (--raw "),
        "{refused:?}"
    );
    assert_eq!(refused.stderr.lines().count(), 1);
    assert_eq!(home.ok(["show", "e1", "--body", "response", "--raw"]).await, "not gzip \x1b[J");
    running.kill().await;
}

#[tokio::test]
async fn captured_text_is_shown_harmless_and_given_exact() {
    let home = Home::new();
    let text = "line one\n\x1b]0;title\x07two\u{202e}";
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n", text.len());
    let origin =
        RawOrigin::plain(vec![vec![Step::ReadHead, Step::send(format!("{head}{text}"))]]).await.unwrap();
    let mut running = Running::start(&home, [""; 0]).await;
    let client = home.client(&running, &[]).await;
    client.http(&origin.authority()).await.unwrap().get("/").await.unwrap();
    running.line_with("GET").await;
    let shown = home.ok(["show", "e1"]).await;
    assert!(shown.contains("line one\n\\x1b]0;title\\x07two\\u{202e}\n"), "{shown}");
    let found = home.ok(["search", "title"]).await;
    assert!(!found.contains('\x1b') && found.contains("title"), "{found}");
    // Into a pipe go the bytes themselves.
    assert_eq!(home.ok(["show", "e1", "--body", "response"]).await, text);
    running.kill().await;
}

#[tokio::test]
async fn search_finds_text_in_decoded_bodies_and_says_where() {
    let home = Home::new();
    let running = recorded(&home).await;
    let found = home.ok(["search", "THE ORIGIN"]).await;
    assert!(found.contains("e1  GET  200") && found.contains("response.body: "), "{found}");
    let hits = home.json(["search", "tea", "--session", "last", "--json"]).await;
    assert_eq!(hits[0]["id"], "e4");
    let nothing = home.run(["search", "nowhere to be found"]).await;
    assert_eq!((nothing.code, nothing.stdout.as_str()), (Some(0), ""));
    assert!(nothing.stderr.contains("not found in 5 exchanges"), "{}", nothing.stderr);
    running.kill().await;
}

#[tokio::test]
async fn session_goes_out_as_har_and_comes_back() {
    let home = Home::new();
    let running = recorded(&home).await;
    let out = home.run(["export", "latest", "--out", "all.har"]).await;
    assert_eq!(out.code, Some(0), "{}", out.stderr);
    let har: Value = serde_json::from_slice(&fs::read(home.file("all.har")).unwrap()).unwrap();
    assert_eq!(har["log"]["entries"].as_array().unwrap().len(), 5);
    let piped: Value =
        serde_json::from_str(&home.ok(["export", "s1", "--out", "-", "--status", "503"]).await).unwrap();
    assert_eq!(piped["log"]["entries"].as_array().unwrap().len(), 1);

    let id = home.ok(["import", "all.har", "--name", "again"]).await;
    assert_eq!(id, "s2\n");
    let again = home.json(["show", "s2", "--json"]).await;
    assert_eq!(again.len(), 5);
    assert!(home.ok(["sessions"]).await.contains("again"));
    let refused = home.run(["delete", "s1"]).await;
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    home.ok(["delete", "s2"]).await;
    assert_eq!(home.json(["sessions", "--json"]).await.len(), 1);
    running.kill().await;
}

#[cfg(unix)]
#[tokio::test]
async fn reader_that_leaves_early_is_no_failure() {
    let home = Home::new();
    let running = recorded(&home).await;
    for arguments in ["show s1", "export s1 --out -", "completions bash", "ca trust", "--help"] {
        let script = format!("'{}' {arguments} | :; echo ended", env!("CARGO_BIN_EXE_wirescope"));
        let mut shell = tokio::process::Command::new("sh");
        shell.args(["-c", &script]).env("WIRESCOPE_STATE_DIR", home.file("state"));
        let ran = ran(&mut shell).await;
        assert!(
            !ran.stderr.contains("error") && !ran.stderr.contains("panic"),
            "{arguments}: {}",
            ran.stderr
        );
    }
    running.kill().await;
}

#[tokio::test]
async fn exchanges_go_out_as_commands_messages_and_lines_of_json() {
    let home = Home::new();
    let running = recorded(&home).await;
    let curl = home.ok(["export", "e4", "--format", "curl"]).await;
    assert!(
        curl.starts_with("curl -g --path-as-is --http1.1 \\\n") && curl.ends_with("/echo?a=1&b=2'\n"),
        "{curl}"
    );
    assert!(curl.contains("  --data-raw 'name=tea&cups=2' \\\n"), "{curl}");
    let raw = home.ok(["export", "e4", "--format", "raw"]).await;
    assert!(raw.starts_with("POST /echo?a=1&b=2 HTTP/1.1\r\n"), "{raw}");
    assert!(raw.contains("\r\n\r\nname=tea&cups=2HTTP/1.1 200 OK\r\n"), "{raw}");
    let lines = home.json(["export", "s1", "--format", "jsonl"]).await;
    assert_eq!(lines.len(), 5);
    assert_eq!(lines[0]["response"]["body"]["text"], r#"{"greeting":"hello","from":"the origin"}"#);
    assert_eq!(lines[4]["messages"][0]["text"], "over the socket");
    let written =
        home.run(["export", "last", "--format", "jsonl", "--status", "503", "--out", "one.jsonl"]).await;
    assert_eq!(written.code, Some(0), "{}", written.stderr);
    assert_eq!(fs::read_to_string(home.file("one.jsonl")).unwrap().lines().count(), 1);
    for refused in [
        vec!["export", "s1", "--format", "curl", "--redact"],
        vec!["export", "e4", "--out", "x.har"],
        vec!["export", "s1"],
    ] {
        let refused = home.run(refused).await;
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(2), ""), "{}", refused.stderr);
    }
    running.kill().await;
}

#[tokio::test]
async fn sessions_are_marked_and_found_by_what_they_are() {
    let home = Home::new();
    let running = recorded(&home).await;
    home.ok(["sessions", "copy", "s1", "--name", "posts", "--method", "post"]).await;
    home.ok(["sessions", "edit", "s2", "--tag", "tea", "--comment", "before the fix"]).await;
    home.ok(["sessions", "edit", "s2", "--add-tag", "slow", "--remove-tag", "tea"]).await;
    for (filter, ids) in [
        ("tag:slow", vec!["s2"]),
        ("tag:tea", vec![]),
        ("state:active", vec!["s1"]),
        ("posts exchanges:1 since:1h", vec!["s2"]),
        ("-tag:slow", vec!["s1"]),
    ] {
        let found = home.json(["sessions", "--json", "--filter", filter]).await;
        let found: Vec<_> = found.iter().map(|session| session["id"].as_str().unwrap()).collect();
        assert_eq!(found, ids, "{filter}");
    }
    let refused = home.run(["sessions", "--filter", "state:odd"]).await;
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("column 1: state wants active"), "{}", refused.stderr);
    running.kill().await;
}
