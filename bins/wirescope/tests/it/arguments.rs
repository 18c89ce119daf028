//! Bad input: what is told, and with which code.

use std::fs;

use crate::process::Home;

/// Files to be wrong about.
fn files(home: &Home) {
    fs::write(home.file("empty.pem"), "").unwrap();
    fs::write(home.file("text.har"), "this is no JSON").unwrap();
    fs::write(home.file("other.har"), r#"{"some":"thing"}"#).unwrap();
    fs::write(home.file("bad.har"), r#"{"log":{"entries":[{"request":7}]}}"#).unwrap();
    fs::create_dir(home.file("folder")).unwrap();
}

#[tokio::test]
async fn bad_input_gets_one_line_that_names_the_argument() {
    let home = Home::new();
    files(&home);
    // A store to be asked for what is not in it.
    fs::write(home.file("one.har"), ONE).unwrap();
    home.ok(["import", "one.har"]).await;
    for (arguments, code, named) in CASES {
        let ran = home.run(arguments.split(' ')).await;
        assert_eq!(ran.code, Some(*code), "{arguments}: {}", ran.stderr);
        assert_eq!(ran.stdout, "", "{arguments}");
        assert_eq!(ran.stderr.lines().count(), 1, "{arguments}: {}", ran.stderr);
        assert!(ran.stderr.starts_with("error: failed to "), "{arguments}: {}", ran.stderr);
        assert!(ran.stderr.contains(named), "{arguments} ({named}): {}", ran.stderr);
        assert!(!ran.stderr.contains("hunter2"), "{arguments}: {}", ran.stderr);
    }
    // Nothing of all this was recorded.
    assert_eq!(home.json(["sessions", "--json"]).await.len(), 1);
}

/// Arguments, the exit code, and a part of the line that is told.
const CASES: &[(&str, i32, &str)] = &[
    ("walk", 2, "walk"),
    ("run --prot 8080", 2, "--port"),
    ("run --port x", 2, "--port"),
    ("run --port 65536", 2, "--port"),
    ("run --listen 0.0.0.0", 2, "--allow-client"),
    ("run --listen socks5://0.0.0.0:1080", 2, "--proxy-auth"),
    ("run --listen reverse://0.0.0.0:0=http://a --proxy-auth a:b", 2, "--allow-client"),
    ("run --listen socks5://127.0.0.1", 2, "socks5://127.0.0.1:1080"),
    ("run --reverse example.com", 2, "https://example.com"),
    ("run --reverse https://a --listen 127.0.0.1", 2, "--listen"),
    ("run --port 0 --proxy-auth secret", 2, "--proxy-auth"),
    ("run --port 0 --proxy-auth-file missing.txt", 1, "--proxy-auth-file missing.txt"),
    ("run --config missing.toml", 1, "--config missing.toml"),
    ("run --config one.har", 2, "--config one.har"),
    ("run --allow-client 10.0.0.0/33", 2, "10.0.0.0/33"),
    ("run --listen nowhere", 2, "--listen"),
    ("run --no-capture --session a", 2, "--session"),
    ("run --port 0 --upstream-ca missing.pem", 1, "--upstream-ca"),
    ("run --port 0 --upstream-ca empty.pem", 1, "--upstream-ca"),
    ("run --port 0 --insecure-upstream http://a", 2, "--insecure-upstream"),
    ("run --port 0 --passthrough a/b", 2, "--passthrough"),
    ("run --port 0 --upstream proxy:3128", 2, "--upstream: find a scheme"),
    ("run --port 0 --upstream http://user:hunter2@", 2, "--upstream: find a host"),
    ("run --port 0 --upstream-for a=ftp://b", 2, "--upstream-for: use this scheme"),
    ("run --port 0 --upstream-for a", 2, "--upstream-for without `=`"),
    ("run --port 0 --no-proxy a", 2, "--upstream"),
    ("run --port 0 --upstream direct --no-proxy http://a", 2, "--no-proxy"),
    ("run --port 0 --resolve a:1:b", 2, "--resolve"),
    ("run --port 0 --allow-private a", 2, "--block-private"),
    ("run --port 0 --connect-timeout 0", 2, "--connect-timeout"),
    ("run --port 0 --log =x=y", 2, "--log"),
    ("run --port 0 --store one.har", 1, "one.har"),
    ("run --port 0 --state-dir one.har", 1, "one.har"),
    ("exec", 2, "<COMMAND>"),
    ("exec --har folder -- true", 1, "--har folder"),
    ("exec --har missing/out.har -- true", 1, "--har missing/out.har"),
    ("exec -- no-such-command-here", 127, "no-such-command-here"),
    ("demo --dir missing", 1, "--dir missing"),
    ("show", 2, "<ID>"),
    ("show ../e1", 2, "e412"),
    ("show e1/../../e2", 2, "e412"),
    ("show s1x", 2, "s3"),
    ("show e99", 1, "e99"),
    ("show s99", 1, "s99"),
    ("show s1 --body response", 2, "exchange"),
    ("show e1 --body both", 2, "--body"),
    ("show e1 --raw", 2, "--body"),
    ("show s1 --status 20x", 2, "--status"),
    ("show e1 --store missing", 1, "--store"),
    ("search", 2, "<TEXT>"),
    ("search a --session s99", 1, "s99"),
    ("search a --session ../s1", 2, "--session"),
    ("search a --limit 0", 2, "--limit"),
    ("export s1", 2, "--out"),
    ("export s99 --out a.har", 1, "s99"),
    ("export ../s1 --out a.har", 2, "s3"),
    ("export s1 --out folder", 1, "--out"),
    ("export s1 --out missing/a.har", 1, "--out"),
    ("import missing.har", 1, "missing.har"),
    ("import folder", 1, "folder"),
    ("import text.har", 1, "text.har"),
    ("import other.har", 1, "log.entries"),
    ("import bad.har --strict", 1, "entry 0"),
    ("delete s99", 1, "s99"),
    ("delete e1", 2, "s3"),
    ("ca", 2, "wirescope ca"),
    ("ca give", 2, "give"),
    ("completions tcl", 2, "tcl"),
];

/// A HAR file with one entry.
const ONE: &str = r#"{"log":{"version":"1.2","creator":{"name":"t","version":"1"},"entries":[{
    "startedDateTime":"2026-01-01T00:00:00.000Z","time":1,
    "request":{"method":"GET","url":"https://example.com/","httpVersion":"HTTP/1.1","cookies":[],"headers":[],
        "queryString":[],"headersSize":-1,"bodySize":0},
    "response":{"status":200,"statusText":"OK","httpVersion":"HTTP/1.1","cookies":[],"headers":[],
        "content":{"size":2,"mimeType":"text/plain","text":"ok"},"redirectURL":"","headersSize":-1,"bodySize":2},
    "cache":{},"timings":{"send":0,"wait":1,"receive":0}}]}}"#;

#[tokio::test]
async fn store_of_a_newer_version_is_left_alone() {
    let home = Home::new();
    fs::write(home.file("one.har"), ONE).unwrap();
    home.ok(["import", "one.har"]).await;
    let database = home.file("state/store/store.db");
    let mut bytes = fs::read(&database).unwrap();
    // The user version, by which the schema is known (SQLite, Database File Format, 1.3, offset 60).
    bytes[60..64].copy_from_slice(&1_000_000_u32.to_be_bytes());
    fs::write(&database, &bytes).unwrap();
    for arguments in ["sessions", "run --port 0", "exec -- true", "import one.har"] {
        let ran = home.run(arguments.split(' ')).await;
        assert_eq!(ran.code, Some(1), "{arguments}: {}", ran.stderr);
        assert!(ran.stderr.contains("use a newer wirescope or another --store"), "{}", ran.stderr);
        assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    }
    // All but SQLite's own change counters in its header of 100 bytes.
    assert!(fs::read(&database).unwrap()[100..] == bytes[100..], "it was written to");
}

#[tokio::test]
async fn nothing_recorded_yet_is_told_apart_from_a_failure() {
    let home = Home::new();
    let ran = home.run(["sessions"]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""));
    assert!(ran.stderr.contains("no session in"), "{}", ran.stderr);
    for arguments in ["show last", "search x", "export last --out x.har", "delete s1"] {
        let ran = home.run(arguments.split(' ')).await;
        assert_eq!(ran.code, Some(1), "{arguments}");
        assert!(ran.stderr.contains("nothing is recorded there yet"), "{}", ran.stderr);
    }
    assert!(!home.file("state").exists());
}

#[tokio::test]
async fn ca_is_made_once_and_given_without_its_key() {
    let home = Home::new();
    let path = home.ok(["ca", "path"]).await;
    let printed = home.ok(["ca", "print"]).await;
    assert_eq!(fs::read_to_string(path.trim()).unwrap(), printed);
    let trust = home.ok(["ca", "trust"]).await;
    assert!(trust.contains(path.trim()) && trust.contains(home.ok(["ca", "fingerprint"]).await.trim()));
    for text in [&printed, &trust] {
        assert!(!text.contains("PRIVATE KEY"));
    }
    for system in ["Debian", "Fedora", "Arch", "macOS", "Windows", "Firefox", "Java", "iOS", "Android"] {
        assert!(trust.contains(system), "{system}");
    }
}
