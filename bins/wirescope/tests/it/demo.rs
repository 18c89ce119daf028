//! `demo`, end to end.

use std::fs;

use serde_json::Value;

use crate::process::Home;

#[tokio::test]
async fn demo_shows_every_kind_of_traffic_and_writes_it_as_har() {
    let home = Home::new();
    let ran = home.run(["demo"]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    for expected in [
        "HTTP without TLS",
        "HTTP/2 on one connection",
        "text/event-stream",
        "websocket, 8 messages",
        "104.9 MB",
        "a gzip body",
        "POST",
        "upstream refused the connection",
        "upstream certificate is not trusted",
        "client does not trust the CA",
        "wirescope-demo.har",
        "exec --har",
    ] {
        assert!(ran.stdout.contains(expected), "{expected}: {}", ran.stdout);
    }
    let har: Value = serde_json::from_slice(&fs::read(home.file("wirescope-demo.har")).unwrap()).unwrap();
    let entries = har["log"]["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 16, "{}", ran.stdout);
    let of = |path: &str| {
        let at = |entry: &&Value| entry["request"]["url"].as_str().is_some_and(|url| url.contains(path));
        entries.iter().find(at).unwrap()
    };
    assert_eq!(of("/gzip")["response"]["content"]["text"], r#"{"greeting":"hello","from":"the origin"}"#);
    assert_eq!(of("/ws-deflate")["_webSocketMessages"].as_array().unwrap().len(), 8);
    assert!(of("/sse")["response"]["content"]["text"].as_str().unwrap().contains("data: {\"tick\":5}"));
    assert_eq!(of("/html/style.css")["request"]["httpVersion"], "http/2.0");
    assert!(of("/echo")["request"]["postData"]["text"].as_str().unwrap().contains("tea"));
}

#[tokio::test]
async fn demo_leaves_nothing_behind_but_the_file() {
    let (home, elsewhere) = (Home::new(), Home::new());
    fs::create_dir(home.file("tmp")).unwrap();
    let mut demo = home.wirescope(["demo", "--dir"]);
    demo.arg(elsewhere.path()).env("TMPDIR", home.file("tmp"));
    let ran = crate::process::ran(&mut demo).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let names = |directory: &std::path::Path| -> Vec<String> {
        fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect()
    };
    assert_eq!(names(elsewhere.path()), ["wirescope-demo.har"]);
    assert_eq!(names(home.path()), ["tmp"]);
    assert!(names(&home.file("tmp")).is_empty());
}
