//! Peers that take their time, their share and more: each is bounded, and others are served meanwhile.

use std::time::Duration;

use proxy_core::{FailureKind, Limits, Outcome, Timeouts};
use testkit::{Origin, RawOrigin, Step};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::Handle,
};

use crate::lab::Lab;

/// Asks for something plain, to see that others are served.
async fn others_are_served(lab: &Lab, origin: &Origin) {
    let mut client = lab.client(&["http/1.1"]).https(&origin.authority()).await.unwrap();
    assert_eq!(client.get("/json").await.unwrap().status, 200);
}

#[tokio::test]
async fn a_request_body_that_stalls_is_given_up_with_408() {
    let mut timeouts = Timeouts::default();
    timeouts.idle_body = Duration::from_millis(200);
    let lab = Lab::with(|builder| builder.timeouts(timeouts)).await;
    let origin = RawOrigin::plain(vec![vec![Step::ReadToEnd]]).await.unwrap();
    let mut client = lab.client(&[]).raw().await.unwrap();
    let host = origin.authority();
    client
        .send(format!("POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: 100\r\n\r\nslow"))
        .await
        .unwrap();
    assert!(client.read_head().await.unwrap().starts_with("HTTP/1.1 408"));
    assert_eq!(lab.log.one().await.failure(), FailureKind::ClientTimeout);
    origin.finished(1).await.unwrap();
}

#[tokio::test]
async fn a_response_head_that_drips_is_a_504() {
    let mut timeouts = Timeouts::default();
    timeouts.response_head = Duration::from_millis(200);
    let lab = Lab::with(|builder| builder.timeouts(timeouts)).await;
    let script = vec![Step::ReadHead, Step::send("HTTP/1.1 200 OK\r\nX-Dr"), Step::ReadToEnd];
    let origin = RawOrigin::plain(vec![script]).await.unwrap();
    let mut client = lab.client(&[]).raw().await.unwrap();
    let host = origin.authority();
    client.send(format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n")).await.unwrap();
    assert!(client.read_head().await.unwrap().starts_with("HTTP/1.1 504"));
    assert_eq!(lab.log.one().await.failure(), FailureKind::UpstreamTimeout);
}

#[tokio::test]
async fn a_response_body_that_stalls_is_seen_as_cut() {
    let mut timeouts = Timeouts::default();
    timeouts.idle_body = Duration::from_millis(200);
    let lab = Lab::with(|builder| builder.timeouts(timeouts)).await;
    let script =
        vec![Step::ReadHead, Step::send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nslow"), Step::ReadToEnd];
    let origin = RawOrigin::plain(vec![script]).await.unwrap();
    let mut client = lab.client(&[]).raw().await.unwrap();
    let host = origin.authority();
    client.send(format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n")).await.unwrap();
    client.read_until(b"slow").await.unwrap();
    assert!(client.read(1).await.is_err(), "nothing that looks like the rest");
    assert_eq!(lab.log.one().await.failure(), FailureKind::UpstreamTimeout);
}

/// Heads, trailers, chunk extensions, an interim response and a status line that never end.
#[tokio::test]
async fn what_never_ends_is_cut_at_its_limit() {
    let mut limits = Limits::default();
    limits.max_head_bytes = 16 * 1024;
    let lab = Lab::with(|builder| builder.limits(limits)).await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    let sink = RawOrigin::plain(vec![vec![Step::ReadToEnd]]).await.unwrap();
    let host = sink.authority();
    let start = format!("POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\n");
    let chunked = format!("{start}Transfer-Encoding: chunked\r\n\r\n");
    for (begin, more, status) in [
        (format!("GET http://{host}/"), "x".repeat(1_000), "414"),
        (start.clone(), "X: endless\r\n".repeat(50), "431"),
        (format!("{start}X: "), "x".repeat(1_000), "431"),
        (format!("{chunked}0\r\n"), "X: endless\r\n".repeat(50), "431"),
        (format!("{chunked}5;"), "x".repeat(1_000), "431"),
        (chunked.clone(), format!("1;{}\r\nx\r\n", "x".repeat(1_000)), "431"),
    ] {
        let ended = lab.log.all().len();
        let tcp = TcpStream::connect(lab.addr).await.unwrap();
        let (mut read, mut write) = tcp.into_split();
        write.write_all(begin.as_bytes()).await.unwrap();
        // It goes on until it is told to stop, by an answer or by a reset.
        let sending = tokio::spawn(async move {
            let mut sent = begin.len();
            while write.write_all(more.as_bytes()).await.is_ok() {
                sent += more.len();
            }
            sent
        });
        let mut answer = vec![0; 12];
        read.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, format!("HTTP/1.1 {status}").as_bytes());
        drop(read);
        let told = lab.log.ended(ended + 1).await.remove(ended);
        assert_eq!(told.failure(), FailureKind::Limit, "{status}");
        sending.await.unwrap();
        others_are_served(&lab, &origin).await;
        lab.log.ended(ended + 2).await;
    }
    for endless in ["HTTP/1.1 200 ", "HTTP/1.1 200 OK\r\nX: ", "HTTP/1.1 103 E\r\nX: "] {
        let ended = lab.log.all().len();
        let script =
            vec![Step::ReadHead, Step::send(format!("{endless}{}", "x".repeat(20_000))), Step::ReadToEnd];
        let origin = RawOrigin::plain(vec![script]).await.unwrap();
        let host = origin.authority();
        let mut client = lab.client(&[]).raw().await.unwrap();
        client.send(format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n")).await.unwrap();
        assert!(client.read_head().await.unwrap().starts_with("HTTP/1.1 502"));
        assert_eq!(lab.log.ended(ended + 1).await[ended].failure(), FailureKind::Limit, "{endless}");
    }
}

/// A megabyte that begins like a ClientHello and goes on like one.
#[tokio::test]
async fn a_huge_client_hello_is_given_up_and_others_are_served() {
    let lab = Lab::new().await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    let mut tunnel = lab.client(&[]).tunnel(&origin.authority()).await.unwrap();
    let record = [&[22, 3, 1, 0x3f, 0xff][..], &[1, 0xff, 0xff, 0xff, 3, 3], &[0; 0x3fff - 6]].concat();
    let follows = [&[22, 3, 1, 0x3f, 0xff][..], &[0; 0x3fff]].concat();
    let _ = tunnel.write_all(&record).await;
    for _ in 0..64 {
        if tunnel.write_all(&follows).await.is_err() {
            break;
        }
    }
    // Whatever comes back, an alert or a reset, is no byte of the origin's.
    let mut answer = Vec::new();
    let _ = tunnel.read_to_end(&mut answer).await;
    assert!(answer.len() < 100, "{answer:?}");
    assert_eq!(lab.log.one().await.failure(), FailureKind::ClientTls);
    others_are_served(&lab, &origin).await;
}

#[tokio::test]
async fn idle_connections_wait_at_the_bound_and_others_take_their_place() {
    let mut limits = Limits::default();
    limits.max_connections = 50;
    let mut timeouts = Timeouts::default();
    timeouts.keep_alive = Duration::from_millis(500);
    let lab = Lab::with(|builder| builder.limits(limits).timeouts(timeouts)).await;
    let mut idle = Vec::new();
    for _ in 0..200 {
        idle.push(TcpStream::connect(lab.addr).await.unwrap());
    }
    // Those beyond the bound wait in the system's queue until the first ones have been idle for too long.
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    others_are_served(&lab, &origin).await;
    drop(idle);
}

/// Everything runs in this test's own runtime, so that what it counts is its own.
#[test]
fn a_dropped_handle_leaves_no_task_behind() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let origin_ca = testkit::TestCa::new().unwrap();
        let origin = Origin::https(&origin_ca).await.unwrap();
        let before = Handle::current().metrics().num_alive_tasks();
        for dropped in [true, false] {
            let lab = Lab::new().await;
            let mut tunnels = Vec::new();
            for _ in 0..5 {
                tunnels.push(lab.client(&[]).tunnel(&origin.authority()).await.unwrap());
                tunnels.push(TcpStream::connect(lab.addr).await.unwrap());
            }
            let address = lab.addr;
            if dropped {
                drop(lab);
            } else {
                // A future that is dropped while it drains cuts everything as well.
                let mut lab = lab;
                let shutdown = lab.proxy.take().unwrap().shutdown(Duration::from_secs(60));
                let _ = tokio::time::timeout(Duration::from_millis(20), shutdown).await;
            }
            for mut tunnel in tunnels {
                let mut rest = Vec::new();
                let ended = tokio::time::timeout(testkit::DEADLINE, tunnel.read_to_end(&mut rest)).await;
                assert!(ended.is_ok(), "a connection goes on without its proxy");
            }
            assert!(TcpStream::connect(address).await.is_err(), "the listener goes on without its proxy");
        }
        // The origin's own tasks end with their connections.
        let settled = async {
            while Handle::current().metrics().num_alive_tasks() > before {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(testkit::DEADLINE, settled).await.expect("every task has ended");
    });
}

#[tokio::test]
async fn an_exchange_beside_one_that_never_reads_goes_on() {
    let lab = Lab::new().await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    let mut stalled = lab.client(&["http/1.1"]).raw_tls(&origin.authority()).await.unwrap();
    stalled.send("GET /bytes/1000000000 HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    stalled.read_head().await.unwrap();
    for _ in 0..5 {
        others_are_served(&lab, &origin).await;
    }
    drop(stalled);
    let told = lab.log.ended(6).await;
    assert_eq!(told.iter().filter(|told| told.outcome() == &Outcome::Response).count(), 5);
}
