//! An upstream that writes down every byte, answers what it strictly understands, and gives up on anything else.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

use super::readings::{Messages, strict};

/// What one connection brought.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard {
    pub(super) received: Vec<u8>,
    pub(super) messages: Messages,
}

/// The listener and what its connections brought.
pub(super) struct Listener {
    authority: String,
    heard: Arc<Mutex<Vec<Heard>>>,
    stop: tokio::sync::oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Listener {
    /// Answers each request that is not the marker with `odd`, or plainly where that is empty, and then ends the
    /// connection if it `closes`.
    pub(super) async fn start(odd: Vec<u8>, closes: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = format!("127.0.0.1:{}", listener.local_addr().unwrap().port());
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
        let all = heard.clone();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let index = {
                            let mut all = all.lock().unwrap();
                            all.push(Heard::default());
                            all.len() - 1
                        };
                        let odd = Odd { bytes: odd.clone(), closes };
                        connections.spawn(serve(accepted.unwrap().0, index, all.clone(), odd));
                    }
                    _ = &mut stopped => break,
                }
            }
            while let Some(connection) = connections.join_next().await {
                connection.unwrap();
            }
        });
        Self { authority, heard, stop, task }
    }

    pub(super) fn authority(&self) -> String {
        self.authority.clone()
    }

    /// Waits until every connection has ended, and tells what they brought.
    pub(super) async fn done(self) -> Vec<Heard> {
        let _ = self.stop.send(());
        tokio::time::timeout(testkit::DEADLINE, self.task).await.expect("connections end").unwrap();
        let heard = self.heard.lock().unwrap();
        heard.clone()
    }
}

/// What is answered to all but the marker.
struct Odd {
    bytes: Vec<u8>,
    closes: bool,
}

async fn serve(mut tcp: TcpStream, index: usize, all: Arc<Mutex<Vec<Heard>>>, odd: Odd) {
    let (mut received, mut answered) = (Vec::new(), 0);
    loop {
        let messages = strict(&received);
        let due = messages.whole[answered..].to_vec();
        all.lock().unwrap()[index] = Heard { received: received.clone(), messages };
        for message in due {
            answered += 1;
            let is_marker = message.start.contains("/marker");
            let answer: &[u8] = match odd.bytes.is_empty() || is_marker {
                true if is_marker => b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nMARKER",
                true => b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
                false => &odd.bytes,
            };
            if tcp.write_all(answer).await.is_err() {
                return;
            }
            if odd.closes && !is_marker && tcp.shutdown().await.is_err() {
                return;
            }
        }
        if all.lock().unwrap()[index].messages.bad.is_some() {
            return;
        }
        match tcp.read_buf(&mut received).await {
            Ok(read) if read > 0 => {}
            _ => return,
        }
    }
}
