//! Clients that send requests and count what came of them.

mod http1;
mod paces;

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::{ClientConfig, client::Resumption, pki_types::ServerName};
use serde_json::json;
use testkit::{ProxyClient, client_config};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// What to ask, how, and for how long.
#[derive(Clone, clap::Args)]
pub(crate) struct Arguments {
    /// How requests follow each other.
    #[arg(long, value_enum, default_value_t = Pace::Keepalive)]
    pace: Pace,
    /// The origin, as `localhost:port`.
    #[arg(long)]
    authority: String,
    /// The path to get.
    #[arg(long, default_value = "/bytes/1024")]
    path: String,
    /// The proxy to go through; without it, the origin is asked directly.
    #[arg(long)]
    proxy: Option<SocketAddr>,
    /// The certificates to trust; without them, the origin is asked in cleartext.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Connections side by side.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Streams side by side on each connection, over HTTP/2; 0 means HTTP/1.1.
    #[arg(long, default_value_t = 0)]
    streams: usize,
    /// How long to go on once every connection is open.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// How many requests to stop after, where that comes first.
    #[arg(long)]
    requests: Option<u64>,
    /// Requests a second, at a rate.
    #[arg(long, default_value_t = 200)]
    rate: u32,
}

/// How requests follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Pace {
    /// On each connection, the next when the answer has come.
    Keepalive,
    /// Each on a connection of its own, with a whole handshake.
    Handshake,
    /// One.
    Download,
    /// On one connection, so many a second.
    Rate,
    /// One on each connection; then `idle` is said, and stdin's end is waited for.
    Idle,
}

/// What was counted.
#[derive(Default)]
pub(crate) struct Count {
    /// How long each request took, in microseconds.
    times: Vec<u32>,
    bytes: u64,
}

impl Count {
    fn add(&mut self, since: Instant, bytes: u64) {
        self.times.push(u32::try_from(since.elapsed().as_micros()).unwrap_or(u32::MAX));
        self.bytes += bytes;
    }

    fn take(&mut self, other: Self) {
        self.times.extend(other.times);
        self.bytes += other.bytes;
    }
}

/// A connection of either kind.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// Where requests go, and how connections are made.
#[derive(Clone)]
pub(crate) struct Target {
    arguments: Arguments,
    tls: Option<Arc<ClientConfig>>,
}

impl Target {
    async fn new(arguments: Arguments) -> io::Result<Self> {
        let Some(file) = &arguments.ca else { return Ok(Self { arguments, tls: None }) };
        let roots = tokio::fs::read_to_string(file).await?;
        let alpn = if arguments.streams == 0 { "http/1.1" } else { "h2" };
        let mut tls = ClientConfig::clone(&*client_config(&roots, &[alpn])?);
        tls.resumption = Resumption::disabled();
        Ok(Self { arguments, tls: Some(Arc::new(tls)) })
    }

    /// A connection on which HTTP/1.1 is spoken.
    pub(crate) async fn open(&self) -> io::Result<Box<dyn Wire>> {
        match (&self.tls, self.arguments.proxy) {
            (Some(tls), _) => Ok(Box::new(self.open_tls(tls.clone()).await?)),
            (None, Some(proxy)) => Ok(Box::new(connect(proxy).await?)),
            (None, None) => Ok(Box::new(connect(self.origin()?).await?)),
        }
    }

    /// A connection over TLS.
    async fn open_tls(&self, tls: Arc<ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
        let authority = &self.arguments.authority;
        if let Some(proxy) = self.arguments.proxy {
            return ProxyClient::new(proxy, "", &[])?.with_tls(tls).tls(authority).await;
        }
        let host = authority.rsplit_once(':').map_or(&**authority, |(host, _)| host);
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        TlsConnector::from(tls).connect(name, connect(self.origin()?).await?).await
    }

    fn origin(&self) -> io::Result<SocketAddr> {
        let port = self.arguments.authority.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        Ok((std::net::Ipv4Addr::LOCALHOST, port.ok_or_else(|| io::Error::other("no port in the authority"))?)
            .into())
    }

    /// The request of HTTP/1.1.
    pub(crate) fn request(&self) -> String {
        let Arguments { authority, path, proxy, .. } = &self.arguments;
        let scheme =
            if self.tls.is_none() && proxy.is_some() { format!("http://{authority}") } else { String::new() };
        format!("GET {scheme}{path} HTTP/1.1\r\nHost: {authority}\r\nAccept: */*\r\n\r\n")
    }
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

pub(crate) async fn run(arguments: Arguments) -> io::Result<()> {
    let target = Target::new(arguments).await?;
    let until = Duration::from_secs(target.arguments.seconds);
    let (Count { mut times, bytes }, took) = match target.arguments.pace {
        Pace::Keepalive => paces::keepalive(&target, until).await?,
        Pace::Handshake => paces::handshake(&target, until).await?,
        Pace::Download => paces::download(&target).await?,
        Pace::Rate => paces::rate(&target, until).await?,
        Pace::Idle => paces::idle(&target).await?,
    };
    times.sort_unstable();
    let percentile = |percent: usize| times.get(times.len() * percent / 100).copied().unwrap_or_default();
    let summary = json!({
        "requests": times.len(),
        "seconds": took.as_secs_f64(),
        "bytes": bytes,
        "p50_us": percentile(50),
        "p99_us": percentile(99),
    });
    println!("{summary}");
    Ok(())
}
