//! Bodies larger than the memory they may take, and tunnels at rest: measured on a proxy in a process of its own.
#![cfg(target_os = "linux")]

use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use http::Method;
use http_body_util::BodyExt;
use proxy_core::{CertificateAuthority, Proxy};
use testkit::{Origin, ProxyClient, TestCa, full, pattern};

/// Set in the process that is to be the proxy: where its CA and the origin's are.
const DIRECTORY: &str = "PROXY_CORE_TEST_MEMORY";

const BODY_BYTES: u64 = 96 << 20;
const MAX_RESIDENT_KIB: u64 = 64 << 10;

const WARMING_UP: u64 = 64;
const TUNNELS: u64 = 256;
const MAX_TUNNEL_KIB: u64 = 26;

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

/// A proxy in a process of its own.
struct Apart {
    process: Child,
    addr: SocketAddr,
    ca: CertificateAuthority,
    origin: Origin,
}

async fn apart(directory: &Path) -> Apart {
    let ca = CertificateAuthority::load_or_create(directory.join("ca")).unwrap();
    let origin_ca = TestCa::new().unwrap();
    std::fs::write(directory.join("origin.pem"), origin_ca.pem()).unwrap();
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "memory::proxy_of_its_own", "--nocapture"])
        .env(DIRECTORY, directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(process.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    let addr = std::fs::read_to_string(directory.join("address")).unwrap().parse().unwrap();
    let origin = Origin::https(&origin_ca).await.unwrap();
    Apart { process, addr, ca, origin }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_bodies_pass_in_little_memory() {
    let directory = tempfile::tempdir().unwrap();
    let Apart { process: mut proxy, addr, ca, origin } = apart(directory.path()).await;
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
    let peak = kib(proxy.id(), "VmHWM:");
    drop(proxy.stdin.take());
    assert!(proxy.wait().unwrap().success());
    assert!(peak < MAX_RESIDENT_KIB, "the proxy took {peak} KiB");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tunnel_at_rest_takes_little_memory() {
    let directory = tempfile::tempdir().unwrap();
    let Apart { process: mut proxy, addr, ca, origin } = apart(directory.path()).await;
    let client = ProxyClient::new(addr, ca.certificate_pem(), &["http/1.1"]).unwrap();
    // What the first ones take is the proxy's, not the tunnel's.
    let mut tunnels = Vec::new();
    let mut before = 0;
    for number in 0..(WARMING_UP + TUNNELS) {
        if number == WARMING_UP {
            before = kib(proxy.id(), "VmRSS:");
        }
        let mut tunnel = client.https(&origin.authority()).await.unwrap();
        assert_eq!(tunnel.get("/bytes/1000").await.unwrap().status, 200);
        tunnels.push(tunnel);
    }
    let each = (kib(proxy.id(), "VmRSS:") - before) / TUNNELS;
    drop(proxy.stdin.take());
    assert!(proxy.wait().unwrap().success());
    assert!(each <= MAX_TUNNEL_KIB, "a tunnel takes {each} KiB");
}

/// What the system says of a process: the most it ever had resident, or what it has now.
fn kib(pid: u32, what: &str) -> u64 {
    let status = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(what)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
