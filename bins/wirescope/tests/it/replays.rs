//! Recorded requests sent again, and recordings compared.

use std::ffi::OsStr;

use testkit::{Origin, RawOrigin, Step, TestCa, full};

use crate::process::{Home, Running};

/// A session s1 with a GET, a POST of 100 KB and an error, over.
async fn recorded(home: &Home) -> (Origin, TestCa) {
    let ca = TestCa::new().unwrap();
    let origin = Origin::https(&ca).await.unwrap();
    let file = home.write_ca(&ca);
    let mut running = Running::start(home, [OsStr::new("--upstream-ca"), file.as_os_str()]).await;
    let mut https = home.client(&running, &["h2"]).await.https(&origin.authority()).await.unwrap();
    https.get("/gzip").await.unwrap();
    https.get("/status/503").await.unwrap();
    let post = https.request("POST".parse().unwrap(), "/echo?a=1", full("x".repeat(100_000))).unwrap();
    https.fetch(post).await.unwrap();
    for _ in 0..3 {
        running.next_line().await.unwrap();
    }
    running.kill().await;
    (origin, ca)
}

#[tokio::test]
async fn sessions_are_replayed_and_compared() {
    let home = Home::new();
    let (origin, _ca) = recorded(&home).await;
    let file = home.file("origin-ca.pem");
    let ca = file.to_str().unwrap();

    let planned = home.ok(["replay", "s1", "--dry-run", "--param", "n=1"]).await;
    assert_eq!(planned.lines().count(), 3);
    assert!(planned.contains("/echo?a=1&n=1"), "{planned}");
    assert_eq!(origin.counts().requests, 3);

    let told = home.json(["replay", "s1", "--json", "--upstream-ca", ca]).await;
    assert_eq!(told.len(), 3);
    assert!(told.iter().all(|line| line["same"] == true && line["status"] == line["wasStatus"]), "{told:?}");
    assert_eq!(origin.counts().requests, 6);
    let linked = home.json(["show", "s2", "-f", "replay-of:e3", "--json"]).await;
    assert_eq!(linked.len(), 1);
    assert_eq!(linked[0]["requestBodyBytes"], 100_000);
    let shown = home.ok(["show", linked[0]["id"].as_str().unwrap()]).await;
    assert!(shown.contains("client the proxy itself") && shown.contains("replaying e3"), "{shown}");

    // Both sessions have the same endpoints with the same outcomes.
    let alike = home.run(["diff", "s1", "s2", "--exit-code"]).await;
    assert_eq!(alike.code, Some(0), "{alike:?}");
    assert!(alike.stderr.contains("3 exchanges and 3 exchanges, 3 endpoints"), "{alike:?}");
    // Outcomes are told as they come.
    let first = told.iter().find(|line| line["origin"] == "e1").unwrap();
    let same = home.run(["diff", "e1", first["id"].as_str().unwrap()]).await;
    assert!(same.stdout.is_empty() && same.stderr.contains("they are the same"), "{same:?}");

    // A rule changes what comes.
    let rules = home.file("rules.json");
    std::fs::write(
        &rules,
        r#"{"rules":[{"when":{"path":"/gzip"},"then":[{"mock":{"status":418,"body":"short"}}]}]}"#,
    )
    .unwrap();
    let other = home.run(["replay", "e1", "--upstream-ca", ca, "--rules", rules.to_str().unwrap()]).await;
    assert_eq!(other.code, Some(0), "{other:?}");
    assert!(
        other.stdout.contains("200 418  differs") && other.stdout.contains("status: 200 | 418"),
        "{other:?}"
    );
    let differing = home.run(["diff", "s1", "s3", "--exit-code", "--json"]).await;
    assert_eq!(differing.code, Some(1), "{differing:?}");
    assert!(differing.stdout.lines().next().unwrap().contains(r#""differs":"outcome""#), "{differing:?}");
    let detail = home.json(["diff", "s1", "s3", "--endpoint", "GET localhost/gzip", "--json"]).await;
    assert_eq!(
        (&detail[0]["pairs"], &detail[0]["places"][0]["place"]),
        (&1.into(), &"resp.body.line.1".into())
    );
}

#[tokio::test]
async fn a_replay_beside_a_running_proxy_compares_and_keeps_nothing() {
    let home = Home::new();
    let (origin, _ca) = recorded(&home).await;
    let running = Running::start(&home, ["--session", "other"]).await;
    let file = home.file("origin-ca.pem");
    let told = home.run(["replay", "e1", "--upstream-ca", file.to_str().unwrap()]).await;
    assert_eq!(told.code, Some(0), "{told:?}");
    assert!(told.stderr.contains("not kept") && told.stdout.contains("200 200  same"), "{told:?}");
    assert_eq!(origin.counts().requests, 4);
    running.kill().await;
}

#[tokio::test]
async fn what_fails_and_what_cannot_be_replayed_is_told() {
    let home = Home::new();
    let (_origin, _ca) = recorded(&home).await;
    // Its certificate is not trusted here.
    let failed = home.run(["replay", "e1", "--retries", "1"]).await;
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert!(failed.stdout.contains("failed: ") && failed.stdout.contains("(attempt 2)"), "{failed:?}");
    for (arguments, expected) in [
        (&["replay", "e99"][..], "e99"),
        (&["replay", "s1", "--host", "nowhere"], "nothing in the session"),
        (&["replay", "e1", "--target", "nowhere"], "write http://HOST"),
        (&["replay", "e1", "--rate", "0"], "write requests a second"),
        (&["replay", "e1", "--set", "a=1", "--set", "a=2"], "name it once"),
        (&["diff", "e1", "s1"], "two exchanges like e1 e2"),
        (&["diff", "e1", "e2", "-f", "status:200"], "name two sessions"),
        (&["diff", "s1", "s1", "--endpoint", "x"], "write one like"),
    ] {
        let refused = home.run(arguments).await;
        assert!(refused.code != Some(0) && refused.stderr.contains(expected), "{arguments:?}: {refused:?}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn ctrl_c_ends_a_replay_and_says_what_was_not_sent() {
    let home = Home::new();
    let silent = RawOrigin::plain(vec![
        vec![Step::ReadHead, Step::send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), Step::HalfClose],
        vec![Step::ReadHead, Step::ReadToEnd],
    ])
    .await
    .unwrap();
    let mut running = Running::start(&home, ["--session", "all"]).await;
    let client = home.client(&running, &[]).await;
    let mut raw = client.raw().await.unwrap();
    let authority = silent.authority();
    raw.send(format!("GET http://{authority}/a HTTP/1.1\r\nHost: {authority}\r\n\r\n")).await.unwrap();
    raw.read_until(b"ok").await.unwrap();
    running.next_line().await.unwrap();
    running.kill().await;

    let mut command = home.wirescope(["replay", "e1", "--retries", "20", "--json"]);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let child = command.spawn().unwrap();
    let id = child.id().unwrap().to_string();
    let stopping = async {
        // The origin has the request, and is silent.
        while silent.connections() < 2 {
            tokio::task::yield_now().await;
        }
        tokio::process::Command::new("kill").args(["-INT", &id]).status().await
    };
    let (output, killed) = tokio::join!(child.wait_with_output(), stopping);
    assert!(killed.unwrap().success());
    let output = output.unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("0 of 1") && told.contains("1 broken off"), "{told}");
    let kept = home.json(["show", "last", "-f", "replay-of:e1", "--json"]).await;
    assert_eq!(kept.len(), 1, "{kept:?}");
}
