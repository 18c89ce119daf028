//! A real client: curl, where it is installed.

use std::process::Stdio;

use http::Version;
use testkit::Origin;
use tokio::process::Command;

use crate::lab::Lab;

/// Runs curl through the lab's proxy; `None` where there is no curl.
async fn curl(lab: &Lab, args: &[&str], url: &str) -> Option<String> {
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, &lab.ca_pem).unwrap();
    let run = Command::new("curl")
        .env_remove("NO_PROXY")
        .env_remove("no_proxy")
        .args(["--silent", "--show-error", "--max-time", "20", "--noproxy", ""])
        .args(["--proxy", &format!("http://{}", lab.addr), "--cacert", ca.to_str().unwrap()])
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
