//! Who is asked: origins that behave, and one that does not.

use std::{io, sync::Arc};

use testkit::{H2Origin, Origin, TestCa};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{Duration, sleep, timeout},
};

use crate::dice::Dice;

/// All of them.
pub(crate) struct Origins {
    pub(crate) tls: Origin,
    pub(crate) plain: Origin,
    pub(crate) resetting: H2Origin,
    pub(crate) faulty: Faulty,
}

impl Origins {
    pub(crate) async fn start(ca: &TestCa, seed: u64) -> io::Result<Self> {
        Ok(Self {
            tls: Origin::https(ca).await?,
            plain: Origin::plain().await?,
            resetting: H2Origin::start(ca, |_request, mut respond| async move {
                let Ok(mut stream) = respond.send_response(http::Response::new(()), false) else { return };
                let _ = stream.send_data("half".into(), false);
                sleep(Duration::from_millis(1)).await;
            })
            .await?,
            faulty: Faulty::start(seed).await?,
        })
    }
}

/// An origin in cleartext that does whatever comes to its mind.
pub(crate) struct Faulty {
    authority: String,
    task: tokio::task::JoinHandle<()>,
}

impl Faulty {
    async fn start(seed: u64) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let authority = format!("localhost:{}", listener.local_addr()?.port());
        let listener = Arc::new(listener);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            for number in 0_u64.. {
                let Ok((tcp, _)) = listener.accept().await else { continue };
                while connections.try_join_next().is_some() {}
                connections.spawn(misbehave(tcp, Dice::new(seed.wrapping_add(number))));
            }
        });
        Ok(Self { authority, task })
    }

    pub(crate) fn authority(&self) -> String {
        self.authority.clone()
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn misbehave(mut tcp: TcpStream, mut dice: Dice) {
    // One that speaks first.
    if dice.one_in(6) {
        let _ = tcp.write_all(b"220 soak\r\n").await;
    }
    for _ in 0..4 {
        let mut request = vec![0; 2048];
        match timeout(Duration::from_millis(500), tcp.read(&mut request)).await {
            Ok(Ok(read)) if read > 0 => {}
            _ => break,
        }
        let answer = answer(&mut dice);
        if tcp.write_all(&answer).await.is_err() {
            return;
        }
        match dice.below(6) {
            0 => {
                let _ = tcp.set_zero_linger();
                return;
            }
            1 => return,
            2 => {
                let _ = tcp.shutdown().await;
            }
            3 => sleep(Duration::from_millis(dice.below(400))).await,
            _ => {}
        }
    }
}

/// What it says: right, wrong, half, or nothing.
fn answer(dice: &mut Dice) -> Vec<u8> {
    let size = dice.size(60_000);
    let body = "x".repeat(size);
    let half = &body[..size / 2];
    let text = match dice.below(16) {
        0 => String::new(),
        1 => format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n{half}"),
        2 => format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{size:x}\r\n{body}\r\n"),
        3 => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".to_owned(),
        4 => format!("HTTP/1.1 200 OK\r\n\r\n{body}"),
        5 => "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(1 + dice.size(150)),
        6 => {
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\u{1}\u{2}"
                .to_owned()
        }
        7 => format!("HTTP/1.1 200 OK\r\nX: {}", "y".repeat(size)),
        8 => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc".to_owned(),
        9 => return dice.bytes(400),
        10 => "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello".to_owned(),
        11 => format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok{half}"),
        12 => "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned(),
        _ => format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n{body}"),
    };
    text.into_bytes()
}
