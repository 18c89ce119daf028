//! Files of rules: applied, loaded again, checked, explained, edited.

use std::path::Path;

use testkit::RawClient;

use crate::process::{Home, Running};

const MOCK: &str =
    "[[rules]]\nid = \"mock\"\nwhen.host = \"no-such.example\"\nthen = [{ mock = { status = 418 } }]\n";

/// The status line of a GET for `http://no-such.example/`.
async fn status(running: &mut Running) -> String {
    let mut client = RawClient::connect(running.address.parse().unwrap()).await.unwrap();
    let request =
        b"GET http://no-such.example/ HTTP/1.1\r\nHost: no-such.example\r\nConnection: close\r\n\r\n";
    client.send(request).await.unwrap();
    let line = running.line_with("no-such.example").await;
    line.split_whitespace().nth(3).unwrap().to_owned()
}

fn write(path: &Path, rules: &str) {
    std::fs::write(path, rules).unwrap();
}

#[tokio::test]
async fn a_file_of_rules_is_applied_and_loaded_again_when_it_changes() {
    let home = Home::new();
    let file = home.file("rules.toml");
    write(&file, MOCK);
    let mut running = Running::start(&home, ["--rules", file.to_str().unwrap()]).await;
    assert_eq!(status(&mut running).await, "418");
    write(&file, &MOCK.replace("418", "4180"));
    assert_eq!(status(&mut running).await, "418");
    write(&file, &MOCK.replace("418", "404"));
    // Each try waits for an answer; the file is looked at twice a second.
    while status(&mut running).await != "404" {}
    running.kill().await;
    let bad = home.file("bad.toml");
    write(&bad, "[[rules]]\nwhen.url = { regex = \"[\" }\n");
    let refused = home.run(["run", "--port", "0", "--rules", bad.to_str().unwrap()]).await;
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("line 2, column 22, at rules[0].when.url.regex"), "{}", refused.stderr);
}

#[tokio::test]
async fn rules_are_checked_listed_explained_and_edited() {
    let home = Home::new();
    let file = home.file("rules.json");
    let path = file.to_str().unwrap();
    home.ok(["rules", "edit", path, "--add", r#"{"id": "a", "when": {"path": "/x"}, "then": ["drop"]}"#])
        .await;
    home.ok([
        "rules",
        "edit",
        path,
        "--merge",
        r#"{"id": "a", "priority": 7}"#,
        "--add",
        "{}",
        "--disable",
        "r1",
    ])
    .await;
    assert!(home.ok(["rules", "check", path]).await.contains("2 rules, all right"));
    let listed = home.json(["rules", "list", path, "--json"]).await;
    assert_eq!((&listed[0]["id"], &listed[0]["priority"]), (&"a".into(), &7.into()));
    let explained = home.json(["rules", "test", path, "http://h/x", "--json"]).await;
    assert_eq!(explained[0]["actions"][0]["action"], "drop");
    let told = home.ok(["rules", "test", path, "http://h/y"]).await;
    assert!(told.contains("FAIL path fits \"/x\": /y") && told.contains("-> nothing is changed"), "{told}");
    let refused = home.run(["rules", "edit", path, "--add", r#"{"when": 3}"#]).await;
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(home.ok(["rules", "check", path]).await.contains("2 rules"));
}
