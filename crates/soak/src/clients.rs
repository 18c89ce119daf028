//! Who asks: clients that behave and check what they get, and clients that do not.

use std::{io, sync::Arc};

use http::Method;
use testkit::{
    Checksum, DeflateSocket, HttpClient, Opcode, ProxyClient, SocksClient, full, pattern, pattern_bytes,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::{Duration, timeout},
};

use crate::{dice::Dice, origins::Origins};

/// Who there is to ask, and through whom.
pub(crate) struct Scene {
    pub(crate) proxy: std::net::SocketAddr,
    pub(crate) ca_pem: String,
    pub(crate) origins: Origins,
}

/// What became of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// It behaved, and got what it asked for.
    Right(&'static str),
    /// It misbehaved, or its origin did.
    Rough(&'static str),
    /// It behaved, its origin too, and what it got was not right.
    Wrong(String),
}

/// How long a client of an origin that may never answer waits.
const IMPATIENCE: Duration = Duration::from_millis(700);

impl Scene {
    fn client(&self, alpn: &[&str]) -> io::Result<ProxyClient> {
        ProxyClient::new(self.proxy, &self.ca_pem, alpn)
    }
}

/// Plays one client.
pub(crate) async fn play(scene: Arc<Scene>, seed: u64) -> Report {
    let mut dice = Dice::new(seed);
    let dice = &mut dice;
    match dice.below(14) {
        0 => right("plain", polite(scene.client(&[]), &scene, Kind::Plain, dice).await),
        1 | 2 => right("HTTP/1.1 in TLS", polite(scene.client(&["http/1.1"]), &scene, Kind::Tls, dice).await),
        3 | 4 => right("HTTP/2", polite(scene.client(&["h2"]), &scene, Kind::Tls, dice).await),
        5 => right("WebSocket", socket(&scene, dice).await),
        12 => right("SOCKS", over_socks(&scene, dice).await),
        13 => right("rules", ruled(&scene).await),
        6 => right("pipelined", pipelined(&scene, dice).await),
        7 => rough("streams that are reset", leave_streams(&scene, dice).await),
        8 => rough("faulty origin", abrupt(&scene, dice, &scene.origins.faulty.authority()).await),
        9 => rough("faulty client", abrupt(&scene, dice, &scene.origins.plain.authority()).await),
        10 => rough("faulty tunnel", tunnel(&scene, dice).await),
        _ => rough("garbage", garbage(&scene, dice).await),
    }
}

fn right(what: &'static str, outcome: io::Result<()>) -> Report {
    match outcome {
        Ok(()) => Report::Right(what),
        Err(error) => Report::Wrong(format!("{what}: {error}")),
    }
}

fn rough(what: &'static str, _outcome: io::Result<()>) -> Report {
    Report::Rough(what)
}

enum Kind {
    Plain,
    Tls,
}

fn wrong(what: impl Into<String>) -> io::Error {
    io::Error::other(what.into())
}

/// A few requests, one after the other, each of whose answers is checked.
async fn polite(
    client: io::Result<ProxyClient>,
    scene: &Scene,
    kind: Kind,
    dice: &mut Dice,
) -> io::Result<()> {
    let mut client = match kind {
        Kind::Plain => client?.http(&scene.origins.plain.authority()).await?,
        Kind::Tls => client?.https(&scene.origins.tls.authority()).await?,
    };
    for _ in 0..1 + dice.below(5) {
        let size = dice.size(300_000);
        let path = if dice.one_in(2) { format!("/bytes/{size}") } else { format!("/chunked/{size}") };
        match dice.below(4) {
            0 => upload(&mut client, size).await?,
            1 if client.get("/gzip").await?.status != 200 => return Err(wrong("/gzip was no 200")),
            _ => {
                let answer = client.get(&path).await?;
                if Checksum::of(&answer.body) != Checksum::of(&pattern_bytes(size)) {
                    return Err(wrong(format!("{path} came as {} octets", answer.body.len())));
                }
            }
        }
    }
    Ok(())
}

async fn upload(client: &mut HttpClient, size: usize) -> io::Result<()> {
    let answer = client.post("/upload", pattern(size as u64)).await?;
    if answer.text().contains(&size.to_string()) {
        Ok(())
    } else {
        Err(wrong(format!("an upload of {size} octets came as {}", answer.text())))
    }
}

async fn socket(scene: &Scene, dice: &mut Dice) -> io::Result<()> {
    let authority = scene.origins.tls.authority();
    let tls = scene.client(&["http/1.1"])?.tls(&authority).await?;
    let path = if dice.one_in(2) { "/ws" } else { "/ws-deflate" };
    let mut socket = DeflateSocket::connect(tls, &authority, path).await?;
    for _ in 0..dice.below(6) {
        let text = "soak ".repeat(dice.size(5_000));
        socket.send_text(&text).await?;
        let (opcode, echo) = socket.read_message().await?;
        if opcode != Opcode::Text || echo != text.as_bytes() {
            return Err(wrong(format!("{} octets came back as {}", text.len(), echo.len())));
        }
    }
    Ok(())
}

/// A few requests in a tunnel that SOCKS opened.
async fn over_socks(scene: &Scene, dice: &mut Dice) -> io::Result<()> {
    let authority = scene.origins.plain.authority();
    let socks = SocksClient::new(scene.proxy);
    let tunnel = match dice.one_in(2) {
        true => socks.tunnel(&authority).await?,
        false => socks.tunnel4(&authority).await?,
    };
    let mut client = HttpClient::http1(tunnel, String::new(), &authority).await?;
    for _ in 0..1 + dice.below(4) {
        let size = dice.size(100_000);
        let answer = client.get(&format!("/bytes/{size}")).await?;
        if answer.body != pattern_bytes(size) {
            return Err(wrong(format!("{size} octets over SOCKS came as {}", answer.body.len())));
        }
    }
    Ok(())
}

/// What the rules say holds, whichever edit of them is in force.
async fn ruled(scene: &Scene) -> io::Result<()> {
    let mut client = scene.client(&["h2"])?.https(&scene.origins.tls.authority()).await?;
    let marked = client.get("/json?marked").await?;
    if marked.header("x-soak") != Some("1") {
        return Err(wrong("a rule that always holds did not"));
    }
    match client.get("/missing").await?.status.as_u16() {
        404 | 418 => Ok(()),
        other => Err(wrong(format!("/missing was {other}"))),
    }
}

/// Requests that do not wait for each other's answers.
async fn pipelined(scene: &Scene, dice: &mut Dice) -> io::Result<()> {
    let mut client = scene.client(&["http/1.1"])?.raw_tls(&scene.origins.tls.authority()).await?;
    let sizes: Vec<usize> = (0..2 + dice.below(6)).map(|_| 10_000 + dice.size(50_000)).collect();
    let all: String =
        sizes.iter().map(|size| format!("GET /bytes/{size} HTTP/1.1\r\nHost: x\r\n\r\n")).collect();
    client.send(all).await?;
    for size in sizes {
        let head = client.read_head().await?;
        if !head.starts_with("HTTP/1.1 200") || client.read(size).await? != pattern_bytes(size) {
            return Err(wrong(format!("the answer of {size} octets is another one: {head}")));
        }
    }
    Ok(())
}

/// Streams on one HTTP/2 connection, some dropped under way, some to an origin that resets them.
async fn leave_streams(scene: &Scene, dice: &mut Dice) -> io::Result<()> {
    let authority = match dice.one_in(3) {
        true => scene.origins.resetting.authority(),
        false => scene.origins.tls.authority(),
    };
    let client = scene.client(&["h2"])?.https(&authority).await?;
    let Some(sender) = client.h2_sender() else { return Ok(()) };
    let mut waiting = Vec::new();
    for _ in 0..dice.below(12) {
        let path = ["/json", "/bytes/400000", "/slow-headers", "/trailers", "/missing"][dice.size(5)];
        let body = if dice.one_in(3) { pattern(dice.below(200_000)) } else { full("") };
        let method = if dice.one_in(3) { Method::POST } else { Method::GET };
        let request = client.request(method, path, body)?;
        let mut sender = sender.clone();
        let patience = Duration::from_millis(dice.below(300));
        waiting.push(tokio::spawn(async move {
            let Ok(Ok(response)) = timeout(patience, sender.send_request(request)).await else { return };
            // A body that is dropped resets its stream.
            drop(response);
        }));
    }
    if dice.one_in(2) {
        for stream in waiting {
            let _ = stream.await;
        }
    }
    Ok(())
}

/// One or more raw requests to the proxy, cut off somewhere.
async fn abrupt(scene: &Scene, dice: &mut Dice, host: &str) -> io::Result<()> {
    let tcp = TcpStream::connect(scene.proxy).await?;
    if dice.one_in(3) {
        tcp.set_zero_linger()?;
    }
    let request = request(dice, &format!("http://{host}"), host);
    send_and_leave(dice, tcp, &request).await
}

/// The same inside a tunnel, in TLS or not.
async fn tunnel(scene: &Scene, dice: &mut Dice) -> io::Result<()> {
    let host = match dice.below(3) {
        0 => scene.origins.faulty.authority(),
        1 => scene.origins.plain.authority(),
        _ => scene.origins.tls.authority(),
    };
    let client = scene.client(&["http/1.1"])?;
    let request = if dice.one_in(4) { dice.bytes(300) } else { request(dice, "", &host) };
    match dice.one_in(2) {
        true => send_and_leave(dice, client.tls(&host).await?, &request).await,
        false => send_and_leave(dice, client.tunnel(&host).await?, &request).await,
    }
}

async fn garbage(scene: &Scene, dice: &mut Dice) -> io::Result<()> {
    let tcp = TcpStream::connect(scene.proxy).await?;
    let bytes = match dice.below(4) {
        // The beginning of a ClientHello, of a SOCKS greeting, of an HTTP/2 connection.
        0 => [&[22, 3, 1, 1, 0, 1][..], &dice.bytes(200)].concat(),
        1 => [&[4 + u8::from(dice.one_in(2))][..], &dice.bytes(20)].concat(),
        2 => [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &dice.bytes(200)].concat(),
        _ => {
            let count = dice.size(2_000);
            dice.bytes(count)
        }
    };
    send_and_leave(dice, tcp, &bytes).await
}

fn request(dice: &mut Dice, prefix: &str, host: &str) -> Vec<u8> {
    let size = dice.size(50_000);
    let body = "x".repeat(size);
    let end = format!("HTTP/1.1\r\nHost: {host}\r\n");
    let text = match dice.below(10) {
        0 => format!("GET {prefix}/json {end}\r\n").repeat(4),
        1 => format!("POST {prefix}/upload {end}Content-Length: 50000\r\n\r\n{body}"),
        2 => format!("POST {prefix}/echo {end}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz{body}"),
        3 => format!("GET {prefix}/bytes/3000000 {end}\r\n"),
        4 => format!(
            "GET {prefix}/ws {end}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\u{1}garbage"
        ),
        5 => format!("POST {prefix}/echo {end}Expect: 100-continue\r\nContent-Length: 3\r\n\r\n"),
        6 => format!(
            "GET {prefix}/ HTTP/1.0\r\nConnection: keep-alive\r\nHost: {host}\r\n\r\nGET {prefix}/missing HT"
        ),
        7 => format!("POST {prefix}/ {end}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        8 => format!("GET {prefix}/chunked/300000 {end}X: {body}"),
        _ => format!(
            "POST {prefix}/upload {end}Transfer-Encoding: chunked\r\n\r\n{size:x}\r\n{body}\r\n0\r\nT: 1\r\n\r\n"
        ),
    };
    text.into_bytes()
}

/// Sends, perhaps not all of it, reads some, and goes: by a close, a reset, or with one half first.
async fn send_and_leave(
    dice: &mut Dice,
    mut io: impl AsyncRead + AsyncWrite + Unpin,
    bytes: &[u8],
) -> io::Result<()> {
    let part = if dice.one_in(4) { dice.size(bytes.len() as u64 + 1) } else { bytes.len() };
    io.write_all(&bytes[..part]).await?;
    io.flush().await?;
    if dice.one_in(3) {
        io.shutdown().await?;
    }
    let mut wanted = dice.below(3) * dice.below(200_000);
    let mut buffer = [0; 4096];
    while wanted > 0 {
        match timeout(IMPATIENCE, io.read(&mut buffer)).await {
            Ok(Ok(read)) if read > 0 => wanted = wanted.saturating_sub(read as u64),
            _ => return Ok(()),
        }
    }
    Ok(())
}
