//! Listeners opened and closed beside those of a proxy that runs already.

use std::{
    future::Future,
    net::SocketAddr,
    sync::{Arc, Weak},
    time::Duration,
};

use super::{address::Listener, build::guarded, doors::Doors};
use crate::{
    crew::Crew,
    engine::Engine,
    error::Error,
    proxy::ProxyHandle,
    serving::{Drained, Serving, serve},
};

/// A listener opened while its proxy runs. What comes by it meets the same rules, interceptors, observers and CA as
/// everything else; no other listener notices. Dropping it cuts its connections at once.
///
/// Its connections are carried where the proxy's own are: on threads of the proxy's own, or on the caller's runtime. It lives by
/// itself: shutting the proxy down does not close it, and threads stay for as long as it does.
pub struct FurtherListener {
    engine: Arc<Engine>,
    listener: Listener,
    serving: Serving,
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
        open(self.engine().clone(), self.crew().clone(), listener)
    }
}

async fn open(engine: Arc<Engine>, crew: Weak<Crew>, listener: Listener) -> Result<FurtherListener, Error> {
    let (asks, admits) = (engine.clients.asks_credentials(), engine.clients.has_ranges());
    guarded(listener.address(), listener.kind(), asks, admits)?;
    let mut doors = Doors::default();
    let opened = doors.open(listener).await?;
    let crew = match crew.upgrade() {
        Some(crew) => crew,
        // The proxy has ended, and its threads with it.
        None => Arc::new(Crew::start(None)?),
    };
    engine.guard.add(opened.address());
    let serving = Serving::begin(|stopped| serve(engine.clone(), doors, crew, stopped.deadline()));
    Ok(FurtherListener { engine, listener: opened, serving })
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
        self.serving.shutdown(drain).await
    }
}

impl Drop for FurtherListener {
    fn drop(&mut self) {
        self.engine.guard.remove(self.listener.address());
    }
}
