use std::{process::Stdio, time::Duration};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    process::{Child, Command},
};

use crate::agent::{Agent, command, within};

#[tokio::test]
async fn the_proxy_starts_says_where_it_is_and_stops() {
    let agent = Agent::new().await;
    let idle = agent.ok("proxy_status", json!({})).await;
    assert_eq!(idle["running"], false);
    assert_eq!(idle["port"], json!(null));
    let started = agent.ok("proxy_start", json!({"port": 0})).await;
    let port = u16::try_from(started["port"].as_u64().unwrap()).unwrap();
    assert_eq!(started["url"], format!("http://127.0.0.1:{port}"));
    let status = agent.ok("proxy_status", json!({})).await;
    assert_eq!(status["running"], true);
    assert_eq!(status["certFingerprint"], started["certFingerprint"]);
    TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let again = agent.refused("proxy_start", json!({}), "already_running").await;
    assert!(again["hint"].as_str().unwrap().contains("proxy_stop"));
    agent.ok("proxy_stop", json!({})).await;
    agent.refused("proxy_stop", json!({}), "not_running").await;
    TcpStream::connect(("127.0.0.1", port)).await.unwrap_err();
}

#[tokio::test]
async fn a_port_in_use_is_said_and_leaves_nothing_behind() {
    let agent = Agent::new().await;
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let error = agent.refused("proxy_start", json!({"port": port}), "port_in_use").await;
    assert!(error["error"].as_str().unwrap().contains(&port.to_string()), "{error}");
    assert_eq!(agent.ok("proxy_status", json!({})).await["running"], false);
    assert_eq!(agent.ok("proxy_list_sessions", json!({})).await["count"], 0);
    drop(taken);
    assert_eq!(agent.ok("proxy_start", json!({"port": port})).await["port"], port);
}

#[tokio::test]
async fn the_ca_stays_the_same_between_servers() {
    let agent = Agent::new().await;
    let first = agent.ok("proxy_get_ca_cert", json!({})).await;
    assert!(first["certPem"].as_str().unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
    assert_eq!(first["certPem"], std::fs::read_to_string(first["path"].as_str().unwrap()).unwrap());
    let next = Agent::with(&["--state-dir", agent.state.path().to_str().unwrap()]).await;
    assert_eq!(next.ok("proxy_get_ca_cert", json!({})).await["certPem"], first["certPem"]);
    let fingerprint = agent.ok("proxy_get_ca_cert", json!({"format": "fingerprint"})).await;
    assert!(fingerprint.get("certPem").is_none());
    assert_eq!(fingerprint["fingerprint"], first["fingerprint"]);
    let pem = agent.ok("proxy_get_ca_cert", json!({"format": "pem"})).await;
    assert!(pem.get("fingerprint").is_none());
}

#[tokio::test]
async fn the_resources_are_there_and_others_are_not() {
    let agent = Agent::new().await;
    let listed = agent.client.list_all_resources().await.unwrap();
    let mut uris: Vec<_> = listed.iter().map(|resource| resource.uri.clone()).collect();
    uris.sort();
    let all = ["ca-cert", "interceptors", "sessions", "status", "traffic/summary"];
    assert_eq!(uris, all.map(|name| format!("proxy://{name}")));
    let (pem, mime) = agent.resource("proxy://ca-cert").await.unwrap();
    assert_eq!(mime, "application/x-pem-file");
    assert!(pem.starts_with("-----BEGIN CERTIFICATE-----"));
    let (status, mime) = agent.resource("proxy://status").await.unwrap();
    assert_eq!(mime, "application/json");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&status).unwrap()["running"], false);
    let (sessions, _) = agent.resource("proxy://sessions").await.unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&sessions).unwrap()["count"], 0);
    let unknown = agent.resource("proxy://nothing").await.unwrap_err().to_string();
    assert!(unknown.contains("proxy://nothing"), "{unknown}");
}

#[tokio::test]
async fn clients_are_told_that_captured_content_is_untrusted() {
    let agent = Agent::new().await;
    let info = agent.client.peer_info().unwrap();
    assert!(info.instructions.as_ref().unwrap().contains("untrusted"));
}

/// Speaks the protocol by hand, so that the test owns the process.
struct Bare {
    child: Child,
    _dirs: (tempfile::TempDir, tempfile::TempDir),
}

impl Bare {
    async fn start() -> Self {
        let dirs = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut command: Command = command(dirs.0.path(), dirs.1.path(), &[]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut bare = Self { child: command.spawn().unwrap(), _dirs: dirs };
        let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}});
        bare.ask(hello).await;
        bare.tell(json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
        bare
    }

    async fn tell(&mut self, message: serde_json::Value) {
        let line = format!("{message}\n");
        self.child.stdin.as_mut().unwrap().write_all(line.as_bytes()).await.unwrap();
    }

    async fn ask(&mut self, message: serde_json::Value) -> serde_json::Value {
        self.tell(message).await;
        let stdout = self.child.stdout.as_mut().unwrap();
        let mut line = Vec::new();
        within("the answer", async {
            while !line.ends_with(b"\n") {
                line.push(stdout.read_u8().await.unwrap());
            }
        })
        .await;
        serde_json::from_slice(&line).unwrap()
    }

    async fn tool(&mut self, name: &str, arguments: serde_json::Value) -> serde_json::Value {
        let params = json!({"name": name, "arguments": arguments});
        let answer =
            self.ask(json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params})).await;
        answer["result"]["structuredContent"].clone()
    }

    /// Starts the proxy and a command that would go on for long; gives the port and the command's pid.
    async fn busy(&mut self) -> (u16, u64) {
        let started = self.tool("proxy_start", json!({})).await;
        let spawned = self.tool("interceptor_spawn", json!({"command": "sleep", "args": ["600"]})).await;
        let port = u16::try_from(started["port"].as_u64().unwrap()).unwrap();
        (port, spawned["details"]["pid"].as_u64().unwrap())
    }

    async fn ends(mut self) -> std::process::ExitStatus {
        within("the end", self.child.wait()).await.unwrap()
    }
}

/// Waits until a process is gone, or a zombie that init is about to reap.
#[cfg(target_os = "linux")]
async fn is_gone(pid: u64) -> bool {
    let path = format!("/proc/{pid}/stat");
    within("the command's end", async {
        while std::fs::read_to_string(&path).is_ok_and(|stat| !stat.contains(") Z ")) {
            tokio::task::yield_now().await;
        }
        true
    })
    .await
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn closing_standard_input_ends_the_server_its_proxy_and_its_commands() {
    let mut server = Bare::start().await;
    let (port, pid) = server.busy().await;
    drop(server.child.stdin.take());
    assert!(server.ends().await.success());
    assert!(is_gone(pid).await);
    TcpStream::connect(("127.0.0.1", port)).await.unwrap_err();
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_termination_signal_ends_the_server_its_proxy_and_its_commands() {
    let mut server = Bare::start().await;
    let (port, pid) = server.busy().await;
    let own = server.child.id().unwrap().to_string();
    Command::new("kill").args(["-TERM", &own]).status().await.unwrap();
    assert!(server.ends().await.success());
    assert!(is_gone(pid).await);
    TcpStream::connect(("127.0.0.1", port)).await.unwrap_err();
}

#[tokio::test]
async fn a_wait_for_traffic_does_not_keep_the_server_alive() {
    let mut server = Bare::start().await;
    server.tool("proxy_start", json!({})).await;
    let params = json!({"name": "capture_traffic", "arguments": {"duration": 300}});
    server.tell(json!({"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": params})).await;
    let begun = std::time::Instant::now();
    drop(server.child.stdin.take());
    assert!(server.ends().await.success());
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}
