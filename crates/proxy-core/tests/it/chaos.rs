//! Clients and origins of all kinds that leave at any moment: every exchange ends once, and nothing is left behind.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::Request;
use proxy_core::Timeouts;
use testkit::{H2Origin, Origin, RawOrigin, Step};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

use crate::lab::Lab;

/// Numbers that look random and are the same each time (the generator of Knuth's MMIX).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Who is asked.
struct Origins {
    kind: Origin,
    plain: Origin,
    abrupt: RawOrigin,
    resetting: H2Origin,
}

/// Sends bytes, reads some, and leaves in one of the ways there are.
async fn raw(dice: &mut Dice, mut io: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin, host: &str) {
    let body = "x".repeat(usize::try_from(dice.below(50_000)).unwrap());
    let request = match dice.below(9) {
        0 => "GET /json HTTP/1.1\r\nHost: x\r\n\r\n".repeat(5),
        1 => format!("POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 50000\r\n\r\n{body}"),
        2 => format!("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz{body}"),
        3 => "GET /bytes/10000000 HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        4 => "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\u{1}garbage".to_owned(),
        5 => "GET /slow-headers HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n".to_owned(),
        6 => "\0\u{1}\u{2} no HTTP at all".to_owned(),
        7 => "GET / HTTP/1.0\r\nConnection: keep-alive\r\nHost: x\r\n\r\nGET /missing HT".to_owned(),
        _ => format!("GET http://{host}/chunked/300000 HTTP/1.1\r\nHost: {host}\r\n\r\n"),
    };
    if io.write_all(request.as_bytes()).await.is_err() {
        return;
    }
    let _ = io.flush().await;
    if dice.below(2) == 0 {
        let _ = io.shutdown().await;
    }
    let mut wanted = dice.below(3) * dice.below(100_000);
    let mut buffer = [0; 4096];
    while wanted > 0 {
        match tokio::time::timeout(Duration::from_millis(300), io.read(&mut buffer)).await {
            Ok(Ok(read)) if read > 0 => wanted = wanted.saturating_sub(read as u64),
            _ => return,
        }
    }
}

/// Opens a few streams, resets some of them, and leaves.
async fn streams(dice: &mut Dice, io: tokio_rustls::client::TlsStream<TcpStream>, host: &str) {
    let Ok((sender, connection)) = h2::client::handshake(io).await else { return };
    let driver = tokio::spawn(connection);
    let Ok(mut sender) = sender.ready().await else { return };
    let mut kept = Vec::new();
    for _ in 0..dice.below(12) {
        let path =
            ["json", "bytes/300000", "slow-headers", "trailers", "sse?events=2"][dice.below(5) as usize];
        let ends = dice.below(2) == 0;
        let request = Request::post(format!("https://{host}/{path}")).body(()).unwrap();
        let Ok((response, mut body)) = sender.send_request(request, ends) else { break };
        if !ends {
            let _ = body.send_data(Bytes::from_static(b"some"), dice.below(2) == 0);
        }
        match dice.below(4) {
            0 => body.send_reset(h2::Reason::CANCEL),
            1 => drop(response),
            _ => kept.push((response, body)),
        }
        match sender.ready().await {
            Ok(ready) => sender = ready,
            Err(_) => break,
        }
    }
    if let Some((response, _body)) = kept.pop() {
        let _ = tokio::time::timeout(Duration::from_millis(300), response).await;
    }
    driver.abort();
}

async fn client(seed: u64, lab: Arc<Lab>, origins: Arc<Origins>) {
    let mut dice = Dice(seed);
    let dice = &mut dice;
    let host = match dice.below(4) {
        0 => origins.plain.authority(),
        1 => origins.abrupt.authority(),
        2 => origins.resetting.authority(),
        _ => origins.kind.authority(),
    };
    match dice.below(5) {
        0 => {
            let tcp = TcpStream::connect(lab.addr).await.unwrap();
            if dice.below(2) == 0 {
                tcp.set_zero_linger().unwrap();
            }
            raw(dice, tcp, &host).await;
        }
        1 => {
            if let Ok(tcp) = lab.client(&[]).tunnel(&host).await {
                raw(dice, tcp, &host).await;
            }
        }
        2 | 3 => {
            if let Ok(tls) = lab.client(&["h2"]).tls(&host).await {
                streams(dice, tls, &host).await;
            }
        }
        _ => {
            if let Ok(tls) = lab.client(&["http/1.1"]).tls(&host).await {
                raw(dice, tls, &host).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_exchange_ends_once_and_nothing_is_left() {
    let mut timeouts = Timeouts::default();
    timeouts.peek = Duration::from_millis(30);
    timeouts.half_closed = Duration::from_millis(200);
    timeouts.response_head = Duration::from_millis(500);
    let lab = Lab::with(|builder| builder.timeouts(timeouts)).await;
    let scripts = [
        Step::Reset,
        Step::Cut,
        Step::send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"),
        Step::HalfClose,
    ];
    let scripts = scripts.into_iter().map(|last| vec![Step::Read(20), last]).collect();
    let origins = Arc::new(Origins {
        kind: Origin::https(&lab.origin_ca).await.unwrap(),
        plain: Origin::plain().await.unwrap(),
        abrupt: RawOrigin::https(&lab.origin_ca, &["http/1.1"], scripts).await.unwrap(),
        resetting: H2Origin::start(&lab.origin_ca, |_request, mut respond| async move {
            let Ok(mut stream) = respond.send_response(http::Response::new(()), false) else { return };
            let _ = stream.send_data("half".into(), false);
            stream.send_reset(h2::Reason::INTERNAL_ERROR);
        })
        .await
        .unwrap(),
    });
    let lab = Arc::new(lab);
    let mut clients = JoinSet::new();
    for seed in 0..200 {
        clients.spawn(client(seed, lab.clone(), origins.clone()));
        if clients.len() >= 16 {
            clients.join_next().await.unwrap().unwrap();
        }
    }
    while let Some(left) = clients.join_next().await {
        left.unwrap();
    }
    let mut lab = Arc::into_inner(lab).unwrap();
    let drained = lab.proxy.take().unwrap().shutdown(Duration::from_secs(20)).await;
    assert_eq!(drained.cut_connections, 0, "something waits for what will not come");
    let told = lab.log.all();
    assert!(told.len() > 150, "{}", told.len());
    for told in told {
        told.outcome();
    }
}
