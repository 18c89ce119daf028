//! Listeners opened and closed beside those of a proxy that runs already.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{sync::oneshot, task::JoinHandle};

use super::{address::Listener, build::guarded, doors::Doors};
use crate::{
    crew::Crew,
    engine::Engine,
    error::Error,
    proxy::{Drained, ProxyHandle, serve},
};

/// A listener opened while its proxy runs. What comes by it meets the same rules, interceptors, observers and CA as
/// everything else; no other listener notices. Dropping it cuts its connections at once.
///
/// It lives by itself: shutting the proxy down does not close it.
pub struct FurtherListener {
    engine: Arc<Engine>,
    listener: Listener,
    stop: Option<oneshot::Sender<Duration>>,
    task: JoinHandle<Drained>,
}

impl ProxyHandle {
    /// Listens here as well, from when the future resolves on. Dropping it before opens nothing. [`Limits::max_connections`](crate::Limits::max_connections) is counted for
    /// this listener apart.
    ///
    /// # Errors
    /// When the address cannot be listened on, or when it is no loopback address and nothing says who may use the
    /// proxy, as for [`ProxyBuilder::bind`](crate::ProxyBuilder::bind). Nothing changes then.
    pub fn listen(
        &self,
        listener: Listener,
    ) -> impl Future<Output = Result<FurtherListener, Error>> + Send + use<> {
        open(self.engine().clone(), listener)
    }
}

async fn open(engine: Arc<Engine>, listener: Listener) -> Result<FurtherListener, Error> {
    let (asks, admits) = (engine.clients.asks_credentials(), engine.clients.has_ranges());
    guarded(listener.address(), listener.kind(), asks, admits)?;
    let mut doors = Doors::default();
    let opened = doors.open(listener).await?;
    // On the caller's runtime, whatever threads the proxy has of its own.
    let crew = Crew::start(None)?;
    engine.guard.add(opened.address());
    let (stop, stopped) = oneshot::channel();
    // When the sender is dropped, this task is aborted as well.
    let shutdown = async { stopped.await.unwrap_or(Duration::ZERO) };
    let task = tokio::spawn(serve(engine.clone(), doors, crew, shutdown));
    Ok(FurtherListener { engine, listener: opened, stop: Some(stop), task })
}

impl FurtherListener {
    /// Where it listens, with the port the system gave it.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.listener.address()
    }

    /// Stops accepting, lets the exchanges under way go on for `drain`, and cuts what is left then. Dropping the
    /// future cuts everything at once.
    pub async fn shutdown(mut self, drain: Duration) -> Drained {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(drain);
        }
        (&mut self.task).await.unwrap_or(Drained { cut_connections: 0 })
    }
}

impl Drop for FurtherListener {
    fn drop(&mut self) {
        self.engine.guard.remove(self.listener.address());
        self.task.abort();
    }
}
