//! The open listeners of a proxy.

use std::{future::poll_fn, io, net::SocketAddr, sync::Arc, task::Poll, time::Duration};

use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpStream, ToSocketAddrs, lookup_host},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::sleep,
};

use super::address::Listener;
use crate::error::{Error, ErrorKind};

/// How long the accept loop rests when the system has no more descriptors, so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The open listeners of a proxy. Dropping it closes them.
#[derive(Default)]
pub(crate) struct Doors {
    open: Vec<(TcpListener, Arc<Listener>)>,
    /// The one asked first, so that a busy listener does not starve the others.
    next: usize,
}

/// A connection a client made.
pub(crate) struct Accepted {
    pub(crate) tcp: TcpStream,
    pub(crate) peer: SocketAddr,
    pub(crate) listener: Arc<Listener>,
    /// Its place among the connections that may be open at once.
    pub(crate) permit: Option<OwnedSemaphorePermit>,
}

impl Doors {
    /// Opens one more; gives it with the address the system gave it.
    pub(crate) async fn open(&mut self, listener: Listener) -> Result<Listener, Error> {
        let addr = listener.address();
        let failed = |error: io::Error| Error::new(ErrorKind::Bind { addr }).because(error);
        let tcp = TcpListener::bind(addr).await.map_err(failed)?;
        let bound = tcp.local_addr().map_err(failed)?;
        let listener = listener.at(bound);
        self.open.push((tcp, Arc::new(listener.clone())));
        Ok(listener)
    }

    /// The same doors for one more to stand at, who learns of connections by the runtime whose context this is called
    /// in. Each connection comes to one of those who stand there. They are closed when all have left.
    pub(crate) fn again(&self) -> io::Result<Self> {
        let one_more = |(tcp, listener): &(TcpListener, Arc<Listener>)| {
            let tcp = SockRef::from(tcp).try_clone()?;
            Ok((TcpListener::from_std(tcp.into())?, listener.clone()))
        };
        let open = self.open.iter().map(one_more).collect::<io::Result<_>>()?;
        Ok(Self { open, next: 0 })
    }

    pub(crate) fn listeners(&self) -> Vec<Listener> {
        self.open.iter().map(|(_, listener)| Listener::clone(listener)).collect()
    }

    /// Waits for room, then for a connection at any of them. Dropping the future loses none.
    pub(crate) async fn accept(&mut self, room: &Arc<Semaphore>) -> Accepted {
        // The semaphore is never closed; without a permit the connection would only go uncounted.
        let permit = room.clone().acquire_owned().await.ok();
        loop {
            match self.next_connection().await {
                Ok((tcp, peer, listener)) => return Accepted { tcp, peer, listener, permit },
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn next_connection(&mut self) -> io::Result<(TcpStream, SocketAddr, Arc<Listener>)> {
        let Self { open, next } = self;
        poll_fn(|task| {
            for turn in 0..open.len() {
                let at = (*next + turn) % open.len();
                let (tcp, listener) = &open[at];
                if let Poll::Ready(accepted) = tcp.poll_accept(task) {
                    *next = at + 1;
                    return Poll::Ready(accepted.map(|(tcp, peer)| (tcp, peer, listener.clone())));
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// Whether the error is about a connection that is gone already, not about the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

/// The addresses a name to listen at has.
pub(crate) async fn addresses(address: impl ToSocketAddrs) -> Result<Vec<SocketAddr>, Error> {
    let unresolved = || Error::new(ErrorKind::Bind { addr: ([0, 0, 0, 0], 0).into() });
    let found: Vec<_> = lookup_host(address).await.map_err(|error| unresolved().because(error))?.collect();
    if found.is_empty() { Err(unresolved()) } else { Ok(found) }
}
