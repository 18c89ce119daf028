//! Clients that keep their connections and send the next request when the answer has come.

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use http::Request;
use http_body_util::BodyExt;
use rustls::{ClientConfig, pki_types::ServerName};
use serde_json::json;
use testkit::{HttpClient, ProxyClient, client_config, full};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// What to ask, how, and for how long.
#[derive(Clone, clap::Args)]
pub(crate) struct Arguments {
    /// The origin, as `localhost:port`.
    #[arg(long)]
    authority: String,
    /// The path to get.
    #[arg(long, default_value = "/bytes/1024")]
    path: String,
    /// The proxy to go through; without it, the origin is asked directly.
    #[arg(long)]
    proxy: Option<SocketAddr>,
    /// The certificates to trust.
    #[arg(long, value_name = "FILE")]
    ca: PathBuf,
    /// Connections side by side.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Streams side by side on each connection, over HTTP/2; 0 means HTTP/1.1.
    #[arg(long, default_value_t = 0)]
    streams: usize,
    /// How long to go on once every connection is open.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

pub(crate) async fn run(arguments: Arguments) -> io::Result<()> {
    let roots = tokio::fs::read_to_string(&arguments.ca).await?;
    let alpn = if arguments.streams == 0 { "http/1.1" } else { "h2" };
    let tls = client_config(&roots, &[alpn])?;
    let mut streams = Vec::new();
    for _ in 0..arguments.connections {
        streams.push(open(&arguments, tls.clone()).await?);
    }
    let start = Instant::now();
    let until = start + Duration::from_secs(arguments.seconds);
    let mut clients = JoinSet::new();
    for stream in streams {
        if arguments.streams == 0 {
            clients.spawn(http1(stream, arguments.authority.clone(), arguments.path.clone(), until));
            continue;
        }
        let client = Arc::new(HttpClient::over_tls(stream, &arguments.authority).await?);
        for _ in 0..arguments.streams {
            clients.spawn(http2(client.clone(), arguments.authority.clone(), arguments.path.clone(), until));
        }
    }
    let mut times = Vec::new();
    while let Some(ended) = clients.join_next().await {
        times.extend(ended.map_err(io::Error::other)??);
    }
    let took = start.elapsed();
    times.sort_unstable();
    let percentile = |percent: usize| times.get(times.len() * percent / 100).copied().unwrap_or_default();
    let summary = json!({
        "requests": times.len(),
        "seconds": took.as_secs_f64(),
        "p50_us": percentile(50),
        "p99_us": percentile(99),
    });
    println!("{summary}");
    Ok(())
}

async fn open(arguments: &Arguments, tls: Arc<ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
    let authority = &arguments.authority;
    if let Some(proxy) = arguments.proxy {
        return ProxyClient::new(proxy, "", &[])?.with_tls(tls).tls(authority).await;
    }
    let (host, port) =
        authority.rsplit_once(':').ok_or_else(|| io::Error::other("no port in the authority"))?;
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let port: u16 = port.parse().map_err(io::Error::other)?;
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    TlsConnector::from(tls).connect(name, stream).await
}

/// One HTTP/1.1 connection; returns how long each request took, in microseconds.
async fn http1(
    mut stream: TlsStream<TcpStream>,
    authority: String,
    path: String,
    until: Instant,
) -> io::Result<Vec<u32>> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\nAccept: */*\r\n\r\n");
    let mut buffer = Vec::with_capacity(64 * 1024);
    let mut times = Vec::new();
    while Instant::now() < until {
        let start = Instant::now();
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await?;
        buffer.clear();
        let expected = loop {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the connection ended in an answer",
                ));
            }
            if let Some(length) = message_length(&buffer)? {
                break length;
            }
        };
        while buffer.len() < expected {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection ended in a body"));
            }
        }
        times.push(micros(start));
    }
    Ok(times)
}

/// The length of head and body, once the head is whole; an answer other than 200 is an error.
fn message_length(answer: &[u8]) -> io::Result<Option<usize>> {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8_lossy(answer.get(..end).unwrap_or_default()).to_ascii_lowercase();
    if !head.starts_with("http/1.1 200") {
        return Err(io::Error::other(head));
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length = length.and_then(|value| value.trim().parse::<usize>().ok());
    Ok(Some(end + 4 + length.ok_or_else(|| io::Error::other("an answer without a length"))?))
}

/// One of the streams of an HTTP/2 connection.
async fn http2(
    client: Arc<HttpClient>,
    authority: String,
    path: String,
    until: Instant,
) -> io::Result<Vec<u32>> {
    let mut sender = client.h2_sender().ok_or_else(|| io::Error::other("HTTP/2 was not agreed"))?;
    let uri = format!("https://{authority}{path}");
    let mut times = Vec::new();
    while Instant::now() < until {
        let start = Instant::now();
        sender.ready().await.map_err(io::Error::other)?;
        let request = Request::get(&uri).body(full("")).map_err(io::Error::other)?;
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        if response.status() != 200 {
            return Err(io::Error::other(format!("answered {}", response.status())));
        }
        response.into_body().collect().await.map_err(io::Error::other)?;
        times.push(micros(start));
    }
    Ok(times)
}

fn micros(start: Instant) -> u32 {
    u32::try_from(start.elapsed().as_micros()).unwrap_or(u32::MAX)
}
