//! `run`: ready line, lines, shutdown, refusals.

use testkit::{Origin, RawClient};

use crate::process::{Home, Running};

#[cfg(unix)]
#[tokio::test]
async fn exchanges_are_told_line_by_line_and_kept_at_the_end() {
    let home = Home::new();
    let (origin, mut running) = Running::with_origin(&home).await;
    let client = home.client(&running, &["h2"]).await;
    let mut https = client.https(&origin.authority()).await.unwrap();
    https.get("/json?a=1").await.unwrap();
    // Ids are given as exchanges end, and streams end each on their own: the second waits for the first's.
    let line = running.line_with("/json?a=1").await;
    https.get("/status/404").await.unwrap();
    let host = origin.authority();
    assert!(line.contains(&format!("e1  GET  200  {host}  /json?a=1  application/json  40 B  ")), "{line}");
    assert!(running.line_with("/status/404").await.contains("  404  "));
    drop(https);
    running.signal("TERM").await;
    let (status, _, stderr) = running.end().await;
    assert!(status.success(), "{stderr}");
    assert!(stderr.contains("2 exchanges recorded in session s1"), "{stderr}");
    let sessions = home.json(["sessions", "--json"]).await;
    assert_eq!((&sessions[0]["state"], &sessions[0]["exchanges"]), (&"stopped".into(), &2.into()));
}

#[tokio::test]
async fn captured_text_does_not_reach_the_terminal_as_it_is() {
    let home = Home::new();
    let plain = Origin::plain().await.unwrap();
    let mut running = Running::start(&home, [""; 0]).await;
    let mut client = RawClient::connect(running.address.parse().unwrap()).await.unwrap();
    let host = plain.authority();
    // C1 control sequence introducer in UTF-8, which some terminals obey.
    let request =
        format!("GET http://{host}/x\u{9b}31m HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    client.send(request.as_bytes()).await.unwrap();
    let line = running.line_with("GET").await;
    assert!(!line.chars().any(char::is_control), "{line:?}");
    running.kill().await;
}

#[cfg(unix)]
#[tokio::test]
async fn second_signal_cuts_what_is_under_way() {
    let home = Home::new();
    let (origin, running) = Running::with_origin(&home).await;
    let client = home.client(&running, &["http/1.1"]).await;
    let mut https = client.https(&origin.authority()).await.unwrap();
    let request = https.request("GET".parse().unwrap(), "/slow-body", testkit::full("")).unwrap();
    let response = https.send(request).await.unwrap();
    running.signal("INT").await;
    running.signal("TERM").await;
    let (status, _, stderr) = running.end().await;
    assert!(status.success(), "{stderr}");
    drop(response);
    assert!(stderr.contains("1 exchange recorded"), "{stderr}");
    let shown = home.json(["show", "last", "--json"]).await;
    assert_eq!(shown[0]["state"], "failed");
}

#[tokio::test]
async fn port_in_use_is_named_with_the_way_out() {
    let home = Home::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let ran = home.run(["run", "--port", &port]).await;
    assert_eq!(ran.code, Some(1));
    let start = format!("error: failed to listen on 127.0.0.1:{port} (choose another --port");
    assert!(ran.stderr.starts_with(&start) && ran.stderr.lines().count() == 1, "{}", ran.stderr);
    assert_eq!(ran.stdout, "");
    // Nothing came of it, so nothing is left of it.
    assert!(home.json(["sessions", "--json"]).await.is_empty());
}

#[tokio::test]
async fn relaying_without_capture_records_nothing() {
    let home = Home::new();
    let plain = Origin::plain().await.unwrap();
    let running = Running::start(&home, ["--no-capture"]).await;
    let client = home.client(&running, &[]).await;
    client.http(&plain.authority()).await.unwrap().get("/").await.unwrap();
    running.kill().await;
    assert!(home.json(["sessions", "--json"]).await.is_empty());
    assert!(!home.file("state/store").exists());
}

#[cfg(unix)]
#[tokio::test]
async fn proxy_goes_on_when_nobody_reads_its_lines() {
    let home = Home::new();
    let plain = Origin::plain().await.unwrap();
    let mut command = home.wirescope(["run", "--port", "0"]);
    let mut child =
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null()).spawn().unwrap();
    let mut stdout = tokio::io::BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    tokio::io::AsyncBufReadExt::read_line(&mut stdout, &mut line).await.unwrap();
    drop(stdout);
    let address = line.trim().strip_prefix("listening on http://").unwrap().parse().unwrap();
    let client = testkit::ProxyClient::new(address, "", &[]).unwrap();
    for _ in 0..3 {
        let answer = client.http(&plain.authority()).await.unwrap().get("/").await.unwrap();
        assert_eq!(answer.status, 200);
        // Each is committed, and the lines of the first go nowhere, before the next begins.
        home.until_recorded("last", 1).await;
    }
    child.kill().await.unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn reader_that_stops_reading_does_not_keep_the_proxy_from_ending() {
    let home = Home::new();
    let plain = Origin::plain().await.unwrap();
    let running = Running::start(&home, [""; 0]).await;
    let mut client = home.client(&running, &[]).await.http(&plain.authority()).await.unwrap();
    // More than a pipe takes (64 KiB on Linux), in few lines.
    let long = "x".repeat(4_000);
    for number in 0..40 {
        client.get(&format!("/?{number}{long}")).await.unwrap();
    }
    drop(client);
    home.until_recorded("last", 40).await;
    running.signal("TERM").await;
    let (status, stderr) = running.end_unread().await;
    assert!(status.success(), "{stderr}");
    assert!(stderr.contains("nobody reads stdout"), "{stderr}");
    assert!(stderr.contains("40 exchanges recorded in session s1"), "{stderr}");
}

#[tokio::test]
async fn every_listener_is_told_and_serves() {
    let home = Home::new();
    let origin = Origin::plain().await.unwrap();
    let reverse = format!("reverse://127.0.0.1:0=http://{}", origin.authority());
    let listeners = ["--listen", "127.0.0.1:0", "--listen", "socks5://127.0.0.1:0", "--listen", &reverse];
    let mut running = Running::start(&home, listeners).await;
    let told: Vec<_> = running.address.split(", ").map(str::to_owned).collect();
    let [explicit, socks, front] = &told[..] else { panic!("{told:?}") };
    let front = front.strip_prefix("reverse://").unwrap().split('=').next().unwrap();
    let mut client = RawClient::connect(front.parse().unwrap()).await.unwrap();
    client.send("GET /json?a=reverse HTTP/1.1\r\nHost: front.test\r\n\r\n").await.unwrap();
    assert!(client.read_head().await.unwrap().starts_with("HTTP/1.1 200"));
    running.line_with("/json?a=reverse").await;
    for (proxy, path) in
        [(socks.strip_prefix("socks5://").unwrap(), "/json?a=socks"), (explicit, "/json?a=both")]
    {
        let socks = testkit::SocksClient::new(proxy.parse().unwrap());
        let mut client = RawClient::over(socks.tunnel(&origin.authority()).await.unwrap());
        client.send(format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", origin.authority())).await.unwrap();
        assert!(client.read_head().await.unwrap().starts_with("HTTP/1.1 200"));
        running.line_with(path).await;
    }
    running.kill().await;
}

#[tokio::test]
async fn clients_without_the_password_are_told_so() {
    let home = Home::new();
    let file = home.file("users");
    std::fs::write(&file, "ann:secret\n\nbob:other\n").unwrap();
    let mut running =
        Running::start(&home, ["--proxy-auth-file".to_owned(), file.to_str().unwrap().to_owned()]).await;
    let mut client = RawClient::connect(running.address.parse().unwrap()).await.unwrap();
    client.send("GET http://wirescope.test/ HTTP/1.1\r\nHost: wirescope.test\r\n\r\n").await.unwrap();
    assert!(client.read_head().await.unwrap().starts_with("HTTP/1.1 407"));
    let mut client = RawClient::connect(running.address.parse().unwrap()).await.unwrap();
    // bob:other
    let credentials = "Proxy-Authorization: Basic Ym9iOm90aGVy";
    let request =
        format!("GET http://wirescope.test/ HTTP/1.1\r\nHost: wirescope.test\r\n{credentials}\r\n\r\n");
    client.send(request).await.unwrap();
    assert!(client.read_head().await.unwrap().starts_with("HTTP/1.1 200"));
    assert!(running.line_with("407").await.contains("authenticate"));
    running.kill().await;
    let shown = home.ok(["show", "--json", "last"]).await;
    assert!(!shown.contains("Ym9iOm90aGVy"), "{shown}");
}
