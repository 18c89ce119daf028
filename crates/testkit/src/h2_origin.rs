//! An HTTP/2 origin driven stream by stream, for what hyper does not say: 1xx, RST_STREAM, GOAWAY.

use std::{future::Future, io, net::SocketAddr, pin::Pin, sync::Arc};

use bytes::Bytes;
use h2::{
    RecvStream,
    server::{Builder, SendResponse},
};
use http::Request;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::{ca::TestCa, deadline::within, tasks::Tasks};

/// What answers one stream.
type Handler = dyn Fn(Request<RecvStream>, SendResponse<Bytes>) -> Pin<Box<dyn Future<Output = ()> + Send>>
    + Send
    + Sync;

/// A TLS listener that speaks only HTTP/2 and hands every stream to one function.
#[derive(Debug)]
pub struct H2Origin {
    addr: SocketAddr,
    tasks: Tasks,
}

impl H2Origin {
    /// Listens for `localhost` under `ca`; `handler` answers every stream with h2's own types.
    pub async fn start<F, A>(ca: &TestCa, handler: F) -> io::Result<Self>
    where
        F: Fn(Request<RecvStream>, SendResponse<Bytes>) -> A + Send + Sync + 'static,
        A: Future<Output = ()> + Send + 'static,
    {
        Self::start_with(Builder::new(), ca, handler).await
    }

    /// As [`start`](Self::start), with other settings.
    pub async fn start_with<F, A>(builder: Builder, ca: &TestCa, handler: F) -> io::Result<Self>
    where
        F: Fn(Request<RecvStream>, SendResponse<Bytes>) -> A + Send + Sync + 'static,
        A: Future<Output = ()> + Send + 'static,
    {
        let config = ca.leaf(&["localhost", "127.0.0.1"])?.server_config(&["h2"])?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let handler: Arc<Handler> = Arc::new(move |request, respond| Box::pin(handler(request, respond)));
        let tasks = Tasks::default();
        tasks.spawn(async move {
            let connections = Tasks::default();
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, handler, builder) =
                    (TlsAcceptor::from(config.clone()), handler.clone(), builder.clone());
                connections.spawn(async move {
                    // A peer that breaks the connection is what these tests provoke.
                    let _ = serve(stream, acceptor, handler, &builder).await;
                });
            }
        });
        Ok(Self { addr, tasks })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `localhost:port`, for CONNECT and Host.
    #[must_use]
    pub fn authority(&self) -> String {
        format!("localhost:{}", self.addr.port())
    }
}

impl Drop for H2Origin {
    fn drop(&mut self) {
        self.tasks.abort();
    }
}

async fn serve(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    handler: Arc<Handler>,
    builder: &Builder,
) -> io::Result<()> {
    let stream = within("the handshake", acceptor.accept(stream)).await?;
    let mut connection = builder.handshake(stream).await.map_err(io::Error::other)?;
    let streams = Tasks::default();
    while let Some(accepted) = connection.accept().await {
        let (request, respond) = accepted.map_err(io::Error::other)?;
        streams.spawn(handler(request, respond));
    }
    Ok(())
}
