//! Accepting connections, and ending them.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rmcp::{
    ServerHandler,
    transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::{
    BearerToken,
    gate::{Gate, MAX_BODY_BYTES},
    sessions::Sessions,
};

/// Connections at once. Beyond it, the next one waits to be accepted.
const MAX_CONNECTIONS: usize = 512;
/// How long a request's head may take to come; the connection ends then.
const HEAD_TIME: Duration = Duration::from_secs(20);
/// Bytes of a request's head, and of what is read ahead.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// The pause after a connection could not be accepted, because there are too many open files, say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long answers under way may take at the end, before streams are closed, and after.
const LAST_ANSWERS: Duration = Duration::from_millis(500);

/// Names under which this machine is reached by itself.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Who is let in.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct HttpOptions {
    /// What every request has to show. Needed beyond loopback.
    pub token: Option<BearerToken>,
    /// Names or addresses in `Host`, with a port or for all of them, beside those of loopback and the address listened on.
    pub hosts: Vec<String>,
    /// Origins of pages that may call, like `https://app.example.com:443` or with `:*`, beside those of loopback.
    pub origins: Vec<String>,
}

/// Why HTTP cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// Anybody could use it.
    #[error("listen on {0} without a token; give one, or listen on 127.0.0.1")]
    OpenToAll(SocketAddr),
    /// The address cannot be listened on.
    #[error("listen on {0}")]
    Listen(SocketAddr, #[source] io::Error),
}

/// A socket that listens, not served yet.
#[derive(Debug)]
pub struct HttpListener {
    listener: TcpListener,
    address: SocketAddr,
    options: HttpOptions,
}

impl HttpListener {
    /// Listens on `address`; port 0 takes any free one.
    ///
    /// # Errors
    ///
    /// When the address is not of loopback and there is no token, or it cannot be listened on.
    pub async fn bind(address: SocketAddr, options: HttpOptions) -> Result<Self, HttpError> {
        if !address.ip().is_loopback() && options.token.is_none() {
            return Err(HttpError::OpenToAll(address));
        }
        let failed = |error| HttpError::Listen(address, error);
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address, options })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL that clients use.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// Serves each client with what `make` gives, until `end` resolves. Then answers under way are given, streams are
    /// closed, and what is left after a second is cut. Dropping the future cuts everything at once.
    pub async fn serve<H: ServerHandler>(
        self,
        make: impl Fn() -> H + Send + Sync + 'static,
        end: impl Future<Output = ()>,
    ) {
        let (streams, draining) = (CancellationToken::new(), CancellationToken::new());
        let sessions = Arc::new(Sessions::new());
        let config = self.config(streams.clone());
        let service = StreamableHttpService::new(move || Ok(make()), sessions.manager(), config);
        let gate = Arc::new(Gate { service, sessions, token: self.options.token });
        let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut connections = JoinSet::new();
        let mut end = std::pin::pin!(end);
        loop {
            let accepted = tokio::select! {
                () = &mut end => break,
                accepted = accept(&self.listener, &room) => accepted,
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            };
            let Some((stream, place)) = accepted else { return };
            let (gate, draining) = (Arc::clone(&gate), draining.clone());
            connections.spawn(async move {
                connection(stream, gate, draining).await;
                drop(place);
            });
        }
        drop(self.listener);
        draining.cancel();
        let ended = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_ANSWERS, ended).await.is_ok() {
            streams.cancel();
            return;
        }
        streams.cancel();
        let ended = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_ANSWERS, ended).await.is_err() {
            tracing::debug!(left = connections.len(), "connections were cut at the end");
        }
    }

    fn config(&self, streams: CancellationToken) -> StreamableHttpServerConfig {
        let own = self.address.ip();
        let mut hosts: Vec<String> = LOOPBACK.map(str::to_owned).to_vec();
        if !own.is_unspecified() {
            hosts.push(own.to_string());
        }
        hosts.extend(self.options.hosts.iter().cloned());
        let mut origins: Vec<String> =
            ["http://localhost:*", "http://127.0.0.1:*", "http://[::1]:*"].map(str::to_owned).to_vec();
        origins.extend(self.options.origins.iter().cloned());
        StreamableHttpServerConfig::default()
            .with_allowed_hosts(hosts)
            .with_allowed_origins(origins)
            .enforce_origin_validation()
            .with_max_request_body_bytes(MAX_BODY_BYTES)
            .with_cancellation_token(streams)
    }
}

type Place = tokio::sync::OwnedSemaphorePermit;

/// The next connection, when there is room for it; `None` when there never will be.
async fn accept(listener: &TcpListener, room: &Arc<Semaphore>) -> Option<(TcpStream, Place)> {
    let place = Arc::clone(room).acquire_owned().await.ok()?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return Some((stream, place)),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection<H: ServerHandler>(stream: TcpStream, gate: Arc<Gate<H>>, draining: CancellationToken) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: http::Request<Incoming>| {
        let gate = Arc::clone(&gate);
        async move { Ok::<_, Infallible>(gate.answer(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = draining.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended early");
    }
}
