//! A real client: curl, where it is installed.

use std::process::Stdio;

use http::Version;
use testkit::Origin;
use tokio::process::Command;

use crate::lab::Lab;

/// Runs curl through the lab's proxy; `None` where there is no curl.
async fn curl(lab: &Lab, args: &[&str], url: &str) -> Option<String> {
    curl_to("http", lab, args, url).await
}

/// As [`curl`], to a proxy that is reached in cleartext (`http`) or over TLS (`https`).
async fn curl_to(scheme: &str, lab: &Lab, args: &[&str], url: &str) -> Option<String> {
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, &lab.ca_pem).unwrap();
    let ca = ca.to_str().unwrap();
    let run = Command::new("curl")
        .env_remove("NO_PROXY")
        .env_remove("no_proxy")
        .args(["--silent", "--show-error", "--max-time", "20", "--noproxy", ""])
        .args(["--proxy", &format!("{scheme}://{}", lab.addr), "--proxy-cacert", ca, "--cacert", ca])
        .args(args)
        .arg(url)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await;
    let output = match run {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => panic!("curl: {error}"),
    };
    assert!(output.status.success(), "curl: {}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[tokio::test]
async fn curl_goes_through_in_both_versions() {
    for (flag, version) in [("--http1.1", Version::HTTP_11), ("--http2", Version::HTTP_2)] {
        let lab = Lab::new().await;
        let origin = Origin::https(&lab.origin_ca).await.unwrap();
        let Some(body) = curl(&lab, &[flag, "--compressed"], &origin.url("/gzip")).await else { return };
        assert!(!body.is_empty());
        let Some(echo) = curl(&lab, &[flag, "--data", "a=1&b=2"], &origin.url("/echo")).await else { return };
        assert_eq!(echo, "a=1&b=2");
        assert_eq!(origin.seen()[0].version, version);
        let told = lab.log.ended(2).await;
        assert_eq!(told[0].request.as_ref().unwrap().version, version);
        assert_eq!(told[1].request_body, "a=1&b=2");
    }
}

#[tokio::test]
async fn curl_reaches_the_proxy_itself_over_tls() {
    let lab = Lab::new().await;
    let (https, http) = (Origin::https(&lab.origin_ca).await.unwrap(), Origin::plain().await.unwrap());
    for (url, version) in
        [(https.url("/json"), "--http2"), (https.url("/json"), "--http1.1"), (http.url("/json"), "--http1.1")]
    {
        let Some(body) = curl_to("https", &lab, &[version], &url).await else { return };
        assert!(body.contains("hello"), "{body}");
    }
    let told = lab.log.ended(3).await;
    assert_eq!(told[0].request.as_ref().unwrap().version, Version::HTTP_2);
    assert_eq!(told[2].url(), http.url("/json"));
}

#[tokio::test]
async fn curl_sees_what_failed_in_the_form_it_asks_for() {
    let lab = Lab::new().await;
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url = format!("http://{free}/");
    let Some(text) = curl(&lab, &["-i"], &url).await else { return };
    let head = text.split("\r\n\r\n").next().unwrap().to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 502") && head.contains("content-type: text/plain"), "{text}");
    assert!(head.contains("x-wirescope-error: connection_refused"), "{text}");
    let html = curl(&lab, &["-H", "Accept: text/html,*/*;q=0.8"], &url).await.unwrap();
    assert!(html.starts_with("<!doctype html>"), "{html}");
    let head = curl(&lab, &["--head"], &url).await.unwrap().to_ascii_lowercase();
    assert!(head.contains("content-length: ") && !head.contains("content-length: 0"), "{head}");
}
