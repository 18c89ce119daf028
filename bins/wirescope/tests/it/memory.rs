//! Memory stays flat whatever passes.
#![cfg(target_os = "linux")]

use http_body_util::BodyExt as _;
use testkit::{Checksum, pattern};

use crate::process::{Home, Running};

const MIB: u64 = 1024 * 1024;
const LARGE: u64 = 200 * MIB;
const MAX_RESIDENT: u64 = 64 * MIB;

/// The most memory a process had resident (proc(5), `VmHWM`).
fn peak(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix("kB").unwrap().trim().parse::<u64>().unwrap() * 1024
}

#[tokio::test]
async fn large_bodies_pass_both_ways_through_flat_memory_and_are_recorded() {
    let home = Home::new();
    let (origin, mut running) = Running::with_origin(&home).await;
    let client = home.client(&running, &["http/1.1"]).await;
    let mut https = client.https(&origin.authority()).await.unwrap();
    let request =
        https.request("GET".parse().unwrap(), &format!("/bytes/{LARGE}"), testkit::full("")).unwrap();
    let mut body = https.send(request).await.unwrap().into_body();
    let mut received = Checksum::default();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.unwrap().into_data() {
            received.update(&data);
        }
    }
    assert_eq!(received.bytes(), LARGE);
    let answer = https.post("/upload", pattern(LARGE)).await.unwrap();
    assert!(answer.text().contains(&format!("\"crc32\":{}", received.crc32())), "{}", answer.text());
    running.line_with("/upload").await;
    let peak = peak(running.id());
    assert!(peak < MAX_RESIDENT, "{} MiB resident", peak / MIB);
    let shown = home.json(["show", "s1", "--json"]).await;
    assert_eq!(shown[0]["responseBodyBytes"], LARGE);
    assert_eq!(shown[1]["requestBodyBytes"], LARGE);
    running.kill().await;
}
