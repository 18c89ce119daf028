//! An HTTP client over one connection, either version.

use std::{io, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version, header::HOST};
use http_body_util::BodyExt;
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    body::{Body, full},
    deadline::within,
    proxy_client::host_of,
    tasks::Tasks,
};

/// One connection to an origin, through a proxy or not. Dropping it closes the connection.
#[derive(Debug)]
pub struct HttpClient {
    sender: Sender,
    prefix: String,
    authority: String,
    _tasks: Tasks,
}

#[derive(Debug)]
enum Sender {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

/// A response, read to its end.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: StatusCode,
    /// The version it came in.
    pub version: Version,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body as sent, not decoded.
    pub body: Bytes,
    /// The trailer fields, when there were any.
    pub trailers: Option<HeaderMap>,
}

impl Answer {
    /// The body as text, with anything that is not UTF-8 replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The first value of the field `name`, when there is one and it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

impl HttpClient {
    /// Connects to the origin at `addr` without a proxy, with TLS for the host of `authority`.
    pub async fn direct(addr: SocketAddr, authority: &str, tls: Arc<ClientConfig>) -> io::Result<Self> {
        let name = ServerName::try_from(host_of(authority).to_owned()).map_err(io::Error::other)?;
        let stream = within("connecting", TcpStream::connect(addr)).await?;
        let stream = within("the handshake", TlsConnector::from(tls).connect(name, stream)).await?;
        Self::over_tls(stream, authority).await
    }

    /// Speaks the version that ALPN chose on `stream`.
    pub async fn over_tls(stream: TlsStream<TcpStream>, authority: &str) -> io::Result<Self> {
        let chosen = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        match chosen.as_deref() {
            Some(b"h2") => Self::http2(stream, authority).await,
            _ => Self::http1(stream, String::new(), authority).await,
        }
    }

    /// Speaks HTTP/1.1 on `stream`; every request target begins with `prefix` (empty for the origin form).
    pub async fn http1<S>(stream: S, prefix: String, authority: &str) -> io::Result<Self>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let handshake = http1::Builder::new().preserve_header_case(true).handshake(TokioIo::new(stream));
        let (sender, connection) = handshake.await.map_err(io::Error::other)?;
        let tasks = Tasks::default();
        tasks.spawn(async move {
            // What went wrong is reported to whoever waits for a response.
            let _ = connection.with_upgrades().await;
        });
        Ok(Self { sender: Sender::Http1(sender), prefix, authority: authority.to_owned(), _tasks: tasks })
    }

    /// Speaks HTTP/2 on `stream`.
    pub async fn http2<S>(stream: S, authority: &str) -> io::Result<Self>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let handshake = http2::Builder::new(TokioExecutor::new()).handshake(TokioIo::new(stream));
        let (sender, connection) = handshake.await.map_err(io::Error::other)?;
        let tasks = Tasks::default();
        tasks.spawn(async move {
            let _ = connection.await;
        });
        let prefix = format!("https://{authority}");
        Ok(Self { sender: Sender::Http2(sender), prefix, authority: authority.to_owned(), _tasks: tasks })
    }

    /// The version this connection speaks.
    #[must_use]
    pub fn version(&self) -> Version {
        match self.sender {
            Sender::Http1(_) => Version::HTTP_11,
            Sender::Http2(_) => Version::HTTP_2,
        }
    }

    /// A request for `path` in the form this connection wants; add to it and hand it to [`Self::send`].
    pub fn request(&self, method: Method, path: &str, body: Body) -> io::Result<Request<Body>> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.prefix));
        if matches!(self.sender, Sender::Http1(_)) {
            request = request.header(HOST, &self.authority);
        }
        request.body(body).map_err(io::Error::other)
    }

    /// Sends `request` and waits for the response's head; its body streams.
    pub async fn send(&mut self, request: Request<Body>) -> io::Result<Response<Incoming>> {
        match &mut self.sender {
            Sender::Http1(sender) => {
                within("the connection's turn", async { sender.ready().await.map_err(io::Error::other) })
                    .await?;
                let response = sender.send_request(request);
                within("the response", async { response.await.map_err(io::Error::other) }).await
            }
            Sender::Http2(sender) => {
                let response = sender.send_request(request);
                within("the response", async { response.await.map_err(io::Error::other) }).await
            }
        }
    }

    /// A further sender on the same HTTP/2 connection, for requests side by side; `None` on HTTP/1.1.
    #[must_use]
    pub fn h2_sender(&self) -> Option<http2::SendRequest<Body>> {
        match &self.sender {
            Sender::Http1(_) => None,
            Sender::Http2(sender) => Some(sender.clone()),
        }
    }

    /// Gets `path` and reads the answer to its end.
    pub async fn get(&mut self, path: &str) -> io::Result<Answer> {
        let request = self.request(Method::GET, path, full(""))?;
        self.fetch(request).await
    }

    /// Posts `body` to `path` and reads the answer to its end.
    pub async fn post(&mut self, path: &str, body: Body) -> io::Result<Answer> {
        let request = self.request(Method::POST, path, body)?;
        self.fetch(request).await
    }

    /// Sends `request` and reads the answer to its end. Fails if the body breaks off.
    pub async fn fetch(&mut self, request: Request<Body>) -> io::Result<Answer> {
        let (head, body) = self.send(request).await?.into_parts();
        let body = within("the body", async { body.collect().await.map_err(io::Error::other) }).await?;
        let trailers = body.trailers().cloned();
        let (status, version, headers) = (head.status, head.version, head.headers);
        Ok(Answer { status, version, headers, body: body.to_bytes(), trailers })
    }
}
