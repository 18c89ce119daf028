//! What is left after `kill -9`.

use crate::process::{Home, Running};

#[tokio::test]
async fn start_after_a_kill_recovers_and_says_what_was_lost() {
    let home = Home::new();
    let (origin, mut running) = Running::with_origin(&home).await;
    let client = home.client(&running, &["http/1.1"]).await;
    let mut https = client.https(&origin.authority()).await.unwrap();
    for number in 1..=20 {
        https.get(&format!("/json?number={number}")).await.unwrap();
    }
    let request = https.request("GET".parse().unwrap(), "/slow-body", testkit::full("")).unwrap();
    let response = https.send(request).await.unwrap();
    running.line_with("number=20").await;
    // The open one is written once it is a second old.
    home.until_recorded("s1", 21).await;
    running.kill().await;
    drop(response);

    let again = Running::start(&home, [""; 0]).await;
    let sessions = home.json(["sessions", "--json"]).await;
    let recovered = &sessions[1];
    assert_eq!(recovered["id"], "s1");
    assert_eq!(recovered["state"], "recovered");
    assert_eq!(recovered["exchanges"], 21);
    assert_eq!(recovered["recovery"]["unfinished"], 1);
    assert!(recovered["recovery"]["windowMs"].as_u64().unwrap() <= 1_000, "{recovered}");
    let failed = home.json(["show", "s1", "--failed", "--json"]).await;
    assert_eq!(failed[0]["failure"]["code"], "crash");
    #[cfg(unix)]
    {
        again.signal("TERM").await;
        let (_, _, stderr) = again.end().await;
        assert!(stderr.contains("recovered session s1 after a crash: 21 exchanges kept"), "{stderr}");
        assert!(stderr.contains("1 cut off by it"), "{stderr}");
    }
}

#[tokio::test]
async fn list_after_a_kill_does_not_pass_the_session_for_alive() {
    let home = Home::new();
    let (origin, mut running) = Running::with_origin(&home).await;
    let client = home.client(&running, &["http/1.1"]).await;
    client.https(&origin.authority()).await.unwrap().get("/json").await.unwrap();
    running.line_with("/json").await;
    assert_eq!(home.json(["sessions", "--json"]).await[0]["state"], "active");
    running.kill().await;
    let listed = home.run(["sessions"]).await;
    assert!(listed.stdout.contains("recovered"), "{}", listed.stdout);
    assert!(listed.stderr.contains("recovered session s1 after a crash"), "{}", listed.stderr);
}
