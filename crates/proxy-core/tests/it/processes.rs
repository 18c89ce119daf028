//! Which process a client is, where that is asked for.
#![cfg(target_os = "linux")]

use std::{
    env,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::{self, Command, Stdio},
};

use proxy_core::{CertificateAuthority, ClientProcess, Proxy, ProxyBuilder};
use testkit::Origin;

use crate::lab::{Lab, Log, Told};

/// Tells the test below what to ask of which proxy, when it runs as somebody's child.
const PROXY: &str = "TEST_CHILD_ASKS_PROXY";
const FOR: &str = "TEST_CHILD_ASKS_FOR";

fn sought(builder: ProxyBuilder) -> ProxyBuilder {
    builder.client_processes(true)
}

fn process_of(told: &Told) -> Option<&ClientProcess> {
    told.client.as_ref().unwrap().process()
}

fn own_name() -> String {
    std::fs::read_to_string("/proc/self/comm").unwrap().trim_end().to_owned()
}

/// Asks for something in cleartext, and reads all of the answer.
fn ask(proxy: SocketAddr, authority: &str) -> TcpStream {
    let mut client = TcpStream::connect(proxy).unwrap();
    write!(client, "GET http://{authority}/status/204 HTTP/1.1\r\nHost: {authority}\r\n\r\n").unwrap();
    client
}

#[tokio::test]
async fn each_connection_of_a_client_is_told_with_its_process() {
    let lab = Lab::with(sought).await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    let own = ClientProcess::new(process::id(), own_name());
    let mut clients = Vec::new();
    for alpn in ["h2", "http/1.1"] {
        // In a tunnel and in TLS it is the tunnel's client.
        let mut client = lab.client(&[alpn]).https(&origin.authority()).await.unwrap();
        for path in ["/json", "/status/404"] {
            client.get(path).await.unwrap();
        }
        // One that goes is not found any more.
        clients.push(client);
    }
    let told = lab.log.ended(4).await;
    assert!(told.iter().map(process_of).all(|found| found == Some(&own)));
    drop(clients);
}

#[tokio::test]
async fn process_that_was_found_is_the_same_for_the_whole_connection() {
    let lab = Lab::with(sought).await;
    let origin = Origin::plain().await.unwrap();
    let mut client = lab.client(&[]).raw().await.unwrap();
    let request = format!("GET http://{0}/status/204 HTTP/1.1\r\nHost: {0}\r\n\r\n", origin.authority());
    client.send(&request).await.unwrap();
    client.read_head().await.unwrap();
    let first = lab.log.one().await;
    client.send(&request).await.unwrap();
    client.read_head().await.unwrap();
    let told = lab.log.ended(2).await;
    let facts = told.iter().map(|told| told.client.as_ref().unwrap().connection);
    assert!(facts.eq([first.client.as_ref().unwrap().connection; 2]));
    let found = told.iter().map(|told| process_of(told).unwrap() as *const ClientProcess);
    assert!(found.eq([process_of(&first).unwrap() as *const _; 2]), "it was looked up once");
}

#[test]
fn child_asks_a_proxy() {
    let (Ok(proxy), Ok(authority)) = (env::var(PROXY), env::var(FOR)) else { return };
    let mut client = ask(proxy.parse().unwrap(), &authority);
    let mut head = [0; 12];
    client.read_exact(&mut head).unwrap();
    // Its process lives until the test has seen enough.
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

#[tokio::test]
async fn another_process_is_told_with_its_own_name() {
    let lab = Lab::with(sought).await;
    let origin = Origin::plain().await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("wirescope-kid");
    std::os::unix::fs::symlink(env::current_exe().unwrap(), &program).unwrap();
    let mut child = Command::new(&program)
        .args(["--exact", "processes::child_asks_a_proxy"])
        .envs([(PROXY, lab.addr.to_string()), (FOR, origin.authority())])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let told = lab.log.one().await;
    assert_eq!(process_of(&told), Some(&ClientProcess::new(child.id(), "wirescope-kid")));
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

#[tokio::test]
async fn client_that_went_before_it_was_accepted_stays_unknown() {
    let origin = Origin::plain().await.unwrap();
    let log = Log::default();
    let builder = Proxy::builder(CertificateAuthority::in_memory().unwrap()).observer(log.clone());
    let proxy = builder.client_processes(true).bind("127.0.0.1:0").await.unwrap();
    // The system takes the connection and the request; nobody has accepted it yet.
    drop(ask(proxy.local_addr(), &origin.authority()));
    let _proxy = proxy.spawn();
    let told = log.one().await;
    assert_eq!(process_of(&told), None);
}

#[tokio::test]
async fn nothing_is_sought_unless_it_is_asked_for() {
    let lab = Lab::new().await;
    let origin = Origin::plain().await.unwrap();
    let client = ask(lab.addr, &origin.authority());
    assert_eq!(process_of(&lab.log.one().await), None);
    drop(client);
}

#[tokio::test]
async fn shutdown_leaves_no_ending_untold() {
    let lab = Lab::with(sought).await;
    let origin = Origin::plain().await.unwrap();
    let clients: Vec<TcpStream> = (0..20).map(|_| ask(lab.addr, &origin.authority())).collect();
    lab.log.until("a request", |told| !told.is_empty()).await;
    let Lab { proxy, log, .. } = lab;
    proxy.unwrap().shutdown(std::time::Duration::ZERO).await;
    let told = log.all();
    assert!(!told.is_empty() && told.iter().all(|told| told.endings.len() == 1), "{told:?}");
    drop(clients);
}
