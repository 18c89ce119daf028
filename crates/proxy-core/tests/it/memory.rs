//! Bodies larger than the memory they may take: measured on a proxy in a process of its own.
#![cfg(target_os = "linux")]

use std::{
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use http::Method;
use http_body_util::BodyExt;
use proxy_core::{CertificateAuthority, Proxy};
use testkit::{Origin, ProxyClient, TestCa, full, pattern};

/// Set in the process that is to be the proxy: where its CA and the origin's are.
const DIRECTORY: &str = "PROXY_CORE_TEST_MEMORY";

const BODY_BYTES: u64 = 96 << 20;
const MAX_RESIDENT_KIB: u64 = 64 << 10;

/// Not a test of its own: the proxy that the one below starts.
#[test]
fn proxy_of_its_own() {
    let Some(directory) = std::env::var_os(DIRECTORY).map(PathBuf::from) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let ca = CertificateAuthority::load_or_create(directory.join("ca")).unwrap();
        let builder = Proxy::builder(ca).upstream_ca_file(directory.join("origin.pem")).unwrap();
        let proxy = builder.bind("127.0.0.1:0").await.unwrap();
        std::fs::write(directory.join("address.new"), proxy.local_addr().to_string()).unwrap();
        std::fs::rename(directory.join("address.new"), directory.join("address")).unwrap();
        eprintln!("ready");
        let proxy = proxy.spawn();
        // Its parent ends it by closing its input.
        tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await.unwrap().unwrap();
        proxy.shutdown(std::time::Duration::ZERO).await;
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_bodies_pass_in_little_memory() {
    let directory = tempfile::tempdir().unwrap();
    let ca = CertificateAuthority::load_or_create(directory.path().join("ca")).unwrap();
    let origin_ca = TestCa::new().unwrap();
    std::fs::write(directory.path().join("origin.pem"), origin_ca.pem()).unwrap();
    let mut proxy = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "memory::proxy_of_its_own", "--nocapture"])
        .env(DIRECTORY, directory.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(proxy.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    let addr = std::fs::read_to_string(directory.path().join("address")).unwrap().parse().unwrap();
    let origin = Origin::https(&origin_ca).await.unwrap();
    for alpn in [&["http/1.1"][..], &["h2"]] {
        let client = ProxyClient::new(addr, ca.certificate_pem(), alpn).unwrap();
        let mut client = client.https(&origin.authority()).await.unwrap();
        let path = format!("/bytes/{BODY_BYTES}");
        let request = client.request(Method::GET, &path, full("")).unwrap();
        let mut body = client.send(request).await.unwrap().into_body();
        let mut bytes = 0;
        while let Some(frame) = body.frame().await {
            bytes += frame.unwrap().into_data().unwrap().len() as u64;
        }
        assert_eq!(bytes, BODY_BYTES);
        let answer = client.post("/upload", pattern(BODY_BYTES)).await.unwrap();
        assert!(answer.text().contains(&BODY_BYTES.to_string()), "{}", answer.text());
    }
    let peak = peak_kib(proxy.id());
    drop(proxy.stdin.take());
    assert!(proxy.wait().unwrap().success());
    assert!(peak < MAX_RESIDENT_KIB, "the proxy took {peak} KiB");
}

/// The most a process ever had resident.
fn peak_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
