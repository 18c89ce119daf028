//! A parent proxy: what a proxy under test goes through on its way to an origin.

use std::{
    collections::BTreeMap,
    fmt, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

use crate::{ca::Leaf, deadline::within, tasks::Tasks};

/// The largest head a parent reads.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// What a parent speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParentKind {
    /// CONNECT, and absolute targets.
    Http,
    /// SOCKS 4 and 4a.
    Socks4,
    /// SOCKS 5.
    Socks5,
}

/// A listening parent proxy. Dropping it closes the listener and every connection.
#[derive(Debug)]
pub struct Parent {
    addr: SocketAddr,
    state: Arc<State>,
    tasks: Tasks,
}

/// What a parent is to be, before it listens.
#[derive(Debug)]
pub struct ParentBuilder {
    kind: ParentKind,
    leaf: Option<Leaf>,
    credentials: Option<(String, String)>,
    names: BTreeMap<String, SocketAddr>,
}

struct State {
    kind: ParentKind,
    credentials: Option<(String, String)>,
    names: BTreeMap<String, SocketAddr>,
    asked: Mutex<Vec<String>>,
    heads: Mutex<Vec<String>>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl ParentBuilder {
    /// Serves TLS with this certificate.
    #[must_use]
    pub fn leaf(self, leaf: Leaf) -> Self {
        Self { leaf: Some(leaf), ..self }
    }

    /// Serves only those who prove to be this user; SOCKS 4 looks at the user alone.
    #[must_use]
    pub fn credentials(self, user: &str, password: &str) -> Self {
        Self { credentials: Some((user.to_owned(), password.to_owned())), ..self }
    }

    /// Knows a name that nobody else does.
    #[must_use]
    pub fn knows(mut self, name: &str, addr: SocketAddr) -> Self {
        self.names.insert(name.to_owned(), addr);
        self
    }

    /// Listens.
    pub async fn start(self) -> io::Result<Parent> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let tls = match self.leaf {
            Some(leaf) => Some(TlsAcceptor::from(leaf.server_config(&["http/1.1"])?)),
            None => None,
        };
        let Self { kind, credentials, names, .. } = self;
        let state = State { kind, credentials, names, asked: Mutex::default(), heads: Mutex::default() };
        let (state, tasks) = (Arc::new(state), Tasks::default());
        tasks.spawn(accept(listener, tls, state.clone()));
        Ok(Parent { addr, state, tasks })
    }
}

impl Parent {
    /// Begins a parent.
    #[must_use]
    pub fn builder(kind: ParentKind) -> ParentBuilder {
        ParentBuilder { kind, leaf: None, credentials: None, names: BTreeMap::new() }
    }

    /// A parent that serves everybody, in cleartext.
    pub async fn start(kind: ParentKind) -> io::Result<Self> {
        Self::builder(kind).start().await
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What it was asked for and did: `CONNECT host:port`, `GET http://host/`, `SOCKS5 name host:port`, `SOCKS4 address
    /// 127.0.0.1:80`.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        lock(&self.state.asked).clone()
    }

    /// The heads of the HTTP requests it got, refused ones too.
    #[must_use]
    pub fn heads(&self) -> Vec<String> {
        lock(&self.state.heads).clone()
    }
}

impl Drop for Parent {
    fn drop(&mut self) {
        self.tasks.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, state: Arc<State>) {
    let tasks = Tasks::default();
    while let Ok((tcp, _)) = listener.accept().await {
        let (tls, state) = (tls.clone(), state.clone());
        tasks.spawn(async move {
            // What becomes of it is the client's to notice.
            let _ = async {
                match tls {
                    Some(tls) => serve(&mut within("the handshake", tls.accept(tcp)).await?, &state).await,
                    None => serve(&mut { tcp }, &state).await,
                }
            }
            .await;
        });
    }
}

async fn serve(client: &mut impl Stream, state: &State) -> io::Result<()> {
    let opened = within("the parent's request", async {
        match state.kind {
            ParentKind::Http => http(client, state).await,
            ParentKind::Socks4 => socks4(client, state).await,
            ParentKind::Socks5 => socks5(client, state).await,
        }
    })
    .await?;
    if let Some(mut upstream) = opened {
        copy_bidirectional(client, &mut upstream).await?;
    }
    Ok(())
}

async fn http(client: &mut impl Stream, state: &State) -> io::Result<Option<TcpStream>> {
    let head = read_until(client, b"\r\n\r\n").await?;
    let head = String::from_utf8_lossy(&head).into_owned();
    lock(&state.heads).push(head.clone());
    if let Some((user, password)) = &state.credentials {
        let wanted = format!("proxy-authorization: basic {}", base64(&format!("{user}:{password}")));
        if !head.to_ascii_lowercase().contains(&wanted.to_ascii_lowercase()) {
            let answer = "HTTP/1.1 407 Who are you\r\nProxy-Authenticate: Basic realm=\"parent\"\r\nContent-Length: 0\r\n\r\n";
            client.write_all(answer.as_bytes()).await?;
            return Ok(None);
        }
    }
    let mut words = head.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    lock(&state.asked).push(format!("{method} {target}"));
    if method == "CONNECT" {
        let Ok(upstream) = state.connect(target).await else {
            client.write_all(b"HTTP/1.1 502 Cannot\r\nContent-Length: 0\r\n\r\n").await?;
            return Ok(None);
        };
        client.write_all(b"HTTP/1.1 200 OK\r\nX-Parent: yes\r\n\r\n").await?;
        return Ok(Some(upstream));
    }
    let rest = target.strip_prefix("http://").unwrap_or(target);
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let authority = if authority.contains(':') { authority.to_owned() } else { format!("{authority}:80") };
    let mut upstream = state.connect(&authority).await?;
    let kept = |line: &&str| !line.to_ascii_lowercase().starts_with("proxy-authorization:");
    let fields: Vec<&str> = head.split("\r\n").skip(1).filter(kept).collect();
    let head = format!("{method} {path} HTTP/1.1\r\n{}", fields.join("\r\n"));
    upstream.write_all(head.as_bytes()).await?;
    Ok(Some(upstream))
}

async fn socks4(client: &mut impl Stream, state: &State) -> io::Result<Option<TcpStream>> {
    let mut start = [0; 8];
    client.read_exact(&mut start).await?;
    let user = read_until(client, b"\0").await?;
    let port = u16::from_be_bytes([start[2], start[3]]);
    let ip = Ipv4Addr::new(start[4], start[5], start[6], start[7]);
    let (kind, host) = match ip.octets() {
        [0, 0, 0, 1..=255] => {
            let name = read_until(client, b"\0").await?;
            ("name", String::from_utf8_lossy(&name[..name.len() - 1]).into_owned())
        }
        _ => ("address", ip.to_string()),
    };
    lock(&state.asked).push(format!("SOCKS4 {kind} {host}:{port}"));
    let is_known =
        state.credentials.as_ref().is_none_or(|(known, _)| known.as_bytes() == &user[..user.len() - 1]);
    let upstream =
        state.connect(&format!("{host}:{port}")).await.ok().filter(|_| is_known && start[..2] == [4, 1]);
    let code = if upstream.is_some() { 90 } else { 91 };
    client.write_all(&[0, code, 0, 0, 0, 0, 0, 0]).await?;
    Ok(upstream)
}

/// Agrees on how the client proves who it is, and has it do so.
async fn greeted(client: &mut impl Stream, state: &State) -> io::Result<bool> {
    let mut start = [0; 2];
    client.read_exact(&mut start).await?;
    let methods = read(client, usize::from(start[1])).await?;
    let wanted = if state.credentials.is_some() { 2 } else { 0 };
    if !methods.contains(&wanted) {
        client.write_all(&[5, 0xff]).await?;
        return Ok(false);
    }
    client.write_all(&[5, wanted]).await?;
    if let Some((user, password)) = &state.credentials {
        client.read_u8().await?;
        let length = client.read_u8().await?;
        let given = read(client, usize::from(length)).await?;
        let length = client.read_u8().await?;
        let is_right =
            given == user.as_bytes() && read(client, usize::from(length)).await? == password.as_bytes();
        client.write_all(&[1, u8::from(!is_right)]).await?;
        if !is_right {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn socks5(client: &mut impl Stream, state: &State) -> io::Result<Option<TcpStream>> {
    if !greeted(client, state).await? {
        return Ok(None);
    }
    let request = read(client, 4).await?;
    let (kind, host) = match request[3] {
        1 => ("address", Ipv4Addr::from(client.read_u32().await?).to_string()),
        4 => ("address", format!("[{}]", Ipv6Addr::from(client.read_u128().await?))),
        _ => {
            let length = client.read_u8().await?;
            ("name", String::from_utf8_lossy(&read(client, usize::from(length)).await?).into_owned())
        }
    };
    let port = client.read_u16().await?;
    lock(&state.asked).push(format!("SOCKS5 {kind} {host}:{port}"));
    match state.connect(&format!("{host}:{port}")).await {
        Ok(upstream) => {
            // A bound address that is a name, so that its length has to be looked at.
            client.write_all(b"\x05\x00\x00\x03\x05bound\x00\x01").await?;
            Ok(Some(upstream))
        }
        Err(_) => {
            client.write_all(&[5, 5, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
            Ok(None)
        }
    }
}

impl State {
    async fn connect(&self, authority: &str) -> io::Result<TcpStream> {
        let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
        match self.names.get(host) {
            Some(addr) => TcpStream::connect(addr).await,
            None => TcpStream::connect(authority).await,
        }
    }
}

async fn read(stream: &mut impl Stream, count: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// Reads byte by byte, so that nothing of what follows is taken.
async fn read_until(stream: &mut impl Stream, end: &[u8]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end) && bytes.len() < MAX_HEAD_BYTES {
        bytes.push(stream.read_u8().await?);
    }
    Ok(bytes)
}

/// RFC 4648 section 4.
fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut encoded = String::new();
    for group in text.as_bytes().chunks(3) {
        let bits = group.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for at in 0..4 {
            let digit = char::from(DIGITS[(bits >> (18 - 6 * at) & 63) as usize]);
            encoded.push(if at <= group.len() { digit } else { '=' });
        }
    }
    encoded
}
