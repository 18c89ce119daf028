//! Clients whose address is not let in.

use std::{net::SocketAddr, sync::Arc};

use tokio::{io::AsyncWriteExt, net::TcpStream, sync::Semaphore, time::timeout};

use super::doors::Accepted;
use crate::{
    engine::Engine,
    event::{ListenerKind, Outcome},
    failure::{Failure, FailureKind},
    linger::{LINGER, linger},
    serve::unreadable,
};

/// Clients that are told at once that they are not let in; others are closed without a word while as many are.
const MAX_TOLD: usize = 64;

/// What clients of an explicit listener are told (RFC 9110 section 15.5.4).
const FORBIDDEN: &str = "HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\
                         X-Wirescope-Error: client_not_allowed\r\nContent-Length: 67\r\n\r\n\
                         wirescope: your address is not among those that may use this proxy\n";

/// Turns clients away.
pub(crate) struct Strangers {
    room: Arc<Semaphore>,
}

impl Default for Strangers {
    fn default() -> Self {
        Self { room: Arc::new(Semaphore::new(MAX_TOLD)) }
    }
}

impl Strangers {
    /// Records that a client is not let in, and gives what tells it so if there is room for that. It takes no place
    /// among the connections of those who are.
    pub(crate) fn turn_away(
        &self,
        engine: &Engine,
        accepted: Accepted,
    ) -> Option<impl Future<Output = ()> + Send + use<>> {
        let Accepted { tcp, peer, listener, permit } = accepted;
        drop(permit);
        note(engine, &tcp, peer, &listener);
        let told = self.room.clone().try_acquire_owned().ok()?;
        let is_http = listener.kind() == ListenerKind::Explicit;
        Some(async move {
            let mut tcp = tcp;
            let _ = timeout(LINGER, say_no(&mut tcp, is_http)).await;
            drop(told);
        })
    }
}

fn note(engine: &Engine, tcp: &TcpStream, peer: SocketAddr, listener: &super::Listener) {
    let facts = engine.client_facts(tcp, peer, listener);
    let detail = format!("{} is in none of the ranges that are", peer.ip().to_canonical());
    let mut failure = Failure::new(FailureKind::ClientNotAllowed, detail);
    let ledger = engine.refusal_ledger(&facts, &Arc::new(unreadable()), 0, &mut failure);
    ledger.end(Outcome::Failed(failure));
}

async fn say_no(tcp: &mut TcpStream, is_http: bool) {
    if is_http && tcp.write_all(FORBIDDEN.as_bytes()).await.is_ok() {
        linger(tcp).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_is_as_long_as_it_says() {
        let (head, body) = FORBIDDEN.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())), "{}", body.len());
    }
}
