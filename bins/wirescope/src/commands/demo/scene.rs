//! The scenes of the demo: each sends one kind of traffic and makes sure that it came through.

use std::{
    future::Future,
    io,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use capture_store::{ExchangeKind, ExchangeState, ExchangeSummary};
use http_body_util::BodyExt as _;
use proxy_core::FailureKind;
use testkit::{DeflateSocket, Frame, HttpClient, Opcode, full};

use super::stage::Stage;
use crate::progress::Bar;

/// The large body.
const LARGE_BYTES: u64 = 100 * 1024 * 1024;

/// Server-sent events, and the time between two of them.
const EVENTS: usize = 5;
const EVENT_INTERVAL_MS: u64 = 60;

/// WebSocket messages sent; each comes back.
const MESSAGES: usize = 3;

/// The longest a scene may take on a slow machine.
const LIMIT: Duration = Duration::from_secs(60);

/// One kind of traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scene {
    Plain,
    KeepAlive,
    Http2,
    Gzip,
    Post,
    Large,
    Events,
    WebSocket,
    Refused,
    Untrusted,
    Distrusted,
}

impl Scene {
    /// All of them, in the order they are played.
    pub(super) const ALL: [Self; 11] = [
        Self::Plain,
        Self::KeepAlive,
        Self::Http2,
        Self::Gzip,
        Self::Post,
        Self::Large,
        Self::Events,
        Self::WebSocket,
        Self::Refused,
        Self::Untrusted,
        Self::Distrusted,
    ];

    /// What it shows.
    pub(super) fn shows(self) -> &'static str {
        match self {
            Self::Plain => "HTTP without TLS",
            Self::KeepAlive => "HTTPS decrypted, HTTP/1.1 kept alive",
            Self::Http2 => "HTTP/2 on one connection",
            Self::Gzip => "a gzip body, searchable as text",
            Self::Post => "a JSON body sent and received",
            Self::Large => "a large body, streamed through flat memory",
            Self::Events => "server-sent events, each as it comes",
            Self::WebSocket => "WebSocket messages, compressed on the wire",
            Self::Refused => "an upstream that refuses: the client gets 502",
            Self::Untrusted => "an upstream whose certificate is not trusted",
            Self::Distrusted => "a client that does not trust the CA",
        }
    }

    /// The scene that an exchange belongs to.
    pub(super) fn of(exchange: &ExchangeSummary) -> Option<Self> {
        if let ExchangeState::Failed(failure) = &exchange.state {
            return match failure.kind {
                FailureKind::ConnectionRefused => Some(Self::Refused),
                FailureKind::CertificateUntrusted => Some(Self::Untrusted),
                FailureKind::ClientDistrustsCa => Some(Self::Distrusted),
                _ => None,
            };
        }
        let path = exchange.target.split(['?', '/']).nth(1).unwrap_or_default();
        Some(match path {
            _ if exchange.kind == ExchangeKind::WebSocket => Self::WebSocket,
            _ if exchange.scheme == "http" => Self::Plain,
            "html" => Self::Http2,
            "gzip" => Self::Gzip,
            "echo" => Self::Post,
            "bytes" => Self::Large,
            "sse" => Self::Events,
            "" | "json" | "cookies" => Self::KeepAlive,
            _ => return None,
        })
    }

    /// Sends it, and fails when it did not come through as it should.
    pub(super) async fn play(self, stage: &Stage, bar: &Bar) -> Result<()> {
        let played = Box::pin(async {
            match self {
                Self::Plain => plain(stage).await,
                Self::KeepAlive => keep_alive(stage).await,
                Self::Http2 => http2(stage).await,
                Self::Gzip => gzip(stage).await,
                Self::Post => post(stage).await,
                Self::Large => large(stage, bar).await,
                Self::Events => events(stage).await,
                Self::WebSocket => websocket(stage).await,
                Self::Refused => refused(stage).await,
                Self::Untrusted => untrusted(stage).await,
                Self::Distrusted => distrusted(stage).await,
            }
        });
        tokio::time::timeout(LIMIT, played).await.context("get to the end of it in a minute")?
    }
}

async fn plain(stage: &Stage) -> Result<()> {
    let mut client = stage.client(&[])?.http(&stage.plain.authority()).await?;
    let answer = client.get("/headers").await?;
    ensure!(answer.status == 200, "get an answer: it was {}", answer.status);
    Ok(())
}

async fn keep_alive(stage: &Stage) -> Result<()> {
    let mut client = https(stage, "http/1.1").await?;
    for path in ["/", "/json", "/cookies"] {
        let answer = client.get(path).await?;
        ensure!(answer.status == 200, "get {path}: it was {}", answer.status);
    }
    Ok(())
}

async fn http2(stage: &Stage) -> Result<()> {
    let mut client = https(stage, "h2").await?;
    for path in ["/html", "/html/style.css", "/html/script.js", "/html/dot.png"] {
        let answer = client.get(path).await?;
        ensure!(answer.status == 200, "get {path}: it was {}", answer.status);
    }
    Ok(())
}

async fn gzip(stage: &Stage) -> Result<()> {
    let answer = https(stage, "h2").await?.get("/gzip").await?;
    ensure!(answer.header("content-encoding") == Some("gzip"), "get a gzip body");
    Ok(())
}

async fn post(stage: &Stage) -> Result<()> {
    const ORDER: &str = r#"{"order":{"item":"tea","cups":2},"note":"hello from the demo"}"#;
    let mut client = https(stage, "http/1.1").await?;
    let mut request = client.request("POST".parse()?, "/echo", full(ORDER))?;
    request.headers_mut().insert("content-type", "application/json".parse()?);
    let answer = client.fetch(request).await?;
    ensure!(answer.body == ORDER, "get back what was sent");
    Ok(())
}

async fn large(stage: &Stage, bar: &Bar) -> Result<()> {
    let mut client = https(stage, "http/1.1").await?;
    let request = client.request("GET".parse()?, &format!("/bytes/{LARGE_BYTES}"), full(""))?;
    let mut body = client.send(request).await?.into_body();
    let mut received = 0;
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            received += u64::try_from(data.len())?;
            bar.at(received, Some(LARGE_BYTES));
        }
    }
    ensure!(received == LARGE_BYTES, "get {LARGE_BYTES} bytes: it was {received}");
    Ok(())
}

/// The first event must be here well before the last is sent: nobody held them back.
async fn events(stage: &Stage) -> Result<()> {
    let mut client = https(stage, "h2").await?;
    let path = format!("/sse?events={EVENTS}&ms={EVENT_INTERVAL_MS}");
    let request = client.request("GET".parse()?, &path, full(""))?;
    let mut body = client.send(request).await?.into_body();
    let mut came = Vec::new();
    while let Some(frame) = body.frame().await {
        // HTTP/2 may end with an empty frame.
        if frame?.into_data().is_ok_and(|data| !data.is_empty()) {
            came.push(Instant::now());
        }
    }
    let span = came.last().zip(came.first()).map(|(last, first)| last.duration_since(*first));
    ensure!(came.len() == EVENTS, "get {EVENTS} events: it was {}", came.len());
    ensure!(span >= Some(Duration::from_millis(EVENT_INTERVAL_MS)), "get the events one by one");
    Ok(())
}

async fn websocket(stage: &Stage) -> Result<()> {
    let authority = stage.origin.authority();
    let stream = stage.client(&["http/1.1"])?.tls(&authority).await?;
    let mut socket = DeflateSocket::connect(stream, &authority, "/ws-deflate").await?;
    ensure!(socket.is_compressed(), "agree on compression");
    for number in 1..=MESSAGES {
        let message = format!("{{\"message\":{number},\"text\":\"hello hello hello hello\"}}");
        socket.send_text(&message).await?;
        let (_, echoed) = socket.read_message().await?;
        ensure!(echoed == message.as_bytes(), "get message {number} back");
    }
    // Code 1000, a normal closure (RFC 6455 section 7.4.1).
    socket.send_frame(Frame::new(Opcode::Close, vec![0x03, 0xe8])).await?;
    let (opcode, _) = socket.read_message().await?;
    ensure!(opcode == Opcode::Close, "close as agreed");
    Ok(())
}

async fn refused(stage: &Stage) -> Result<()> {
    let answered = stage.client(&["http/1.1"])?.https(&stage.closed).await;
    let asked = async { answered?.get("/").await };
    ensure_refused(asked).await
}

async fn untrusted(stage: &Stage) -> Result<()> {
    let answered = stage.client(&["http/1.1"])?.https(&stage.impostor.authority()).await;
    let asked = async { answered?.get("/").await };
    ensure_refused(asked).await
}

/// Either the tunnel is answered 502, or the request inside it is.
async fn ensure_refused(asked: impl Future<Output = io::Result<testkit::Answer>>) -> Result<()> {
    match asked.await {
        Ok(answer) => ensure!(answer.status == 502, "get 502: it was {}", answer.status),
        Err(error) => ensure!(error.to_string().contains(" 502 "), "get 502: it was {error}"),
    }
    Ok(())
}

async fn distrusted(stage: &Stage) -> Result<()> {
    let refused = stage.distrustful()?.tls(&stage.origin.authority()).await;
    ensure!(refused.is_err(), "see the client refuse the certificate");
    Ok(())
}

async fn https(stage: &Stage, protocol: &str) -> Result<HttpClient> {
    let client = stage.client(&[protocol])?.https(&stage.origin.authority()).await?;
    Ok(client)
}
