//! How requests follow each other.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use http::Request;
use http_body_util::BodyExt;
use testkit::{HttpClient, full};
use tokio::{
    task::{JoinSet, spawn_blocking},
    time::{MissedTickBehavior, interval},
};

use super::{Count, Target, http1::Client};

/// When a crowd has done enough.
#[derive(Clone)]
struct Bound {
    until: Instant,
    left: Option<Arc<AtomicU64>>,
}

impl Bound {
    fn new(target: &Target, time: Duration) -> Self {
        let left = target.arguments.requests.map(|requests| Arc::new(AtomicU64::new(requests)));
        Self { until: Instant::now() + time, left }
    }

    /// Whether there is time for another request, which is then taken off those that are left.
    fn admits(&self) -> bool {
        let is_left =
            |left: &Arc<AtomicU64>| left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok();
        Instant::now() < self.until && self.left.as_ref().is_none_or(is_left)
    }
}

/// On each connection the next request when the answer has come.
pub(super) async fn keepalive(target: &Target, time: Duration) -> io::Result<(Count, Duration)> {
    let mut crowd = JoinSet::new();
    if target.arguments.streams == 0 {
        let mut clients = Vec::new();
        for _ in 0..target.arguments.connections {
            clients.push(Client::new(target.open().await?));
        }
        let bound = Bound::new(target, time);
        for client in clients {
            crowd.spawn(on_one(client, target.request(), bound.clone()));
        }
    } else {
        let tls = target.tls.clone().ok_or_else(|| io::Error::other("HTTP/2 needs --ca"))?;
        let mut clients = Vec::new();
        for _ in 0..target.arguments.connections {
            let stream = target.open_tls(tls.clone()).await?;
            clients.push(Arc::new(HttpClient::over_tls(stream, &target.arguments.authority).await?));
        }
        let bound = Bound::new(target, time);
        for client in clients.iter().flat_map(|client| vec![client; target.arguments.streams]) {
            crowd.spawn(on_a_stream(client.clone(), target.clone(), bound.clone()));
        }
    }
    gather(crowd).await
}

/// Each request on a connection of its own.
pub(super) async fn handshake(target: &Target, time: Duration) -> io::Result<(Count, Duration)> {
    let (mut crowd, bound) = (JoinSet::new(), Bound::new(target, time));
    for _ in 0..target.arguments.connections {
        let (target, bound) = (target.clone(), bound.clone());
        crowd.spawn(async move {
            let (mut count, request) = (Count::default(), target.request());
            while bound.admits() {
                let since = Instant::now();
                let mut client = Client::frugal(target.open().await?);
                let bytes = client.get(&request).await?;
                count.add(since, bytes);
                client.leave().await;
            }
            Ok(count)
        });
    }
    gather(crowd).await
}

/// One request.
pub(super) async fn download(target: &Target) -> io::Result<(Count, Duration)> {
    let mut client = Client::new(target.open().await?);
    let (mut count, since) = (Count::default(), Instant::now());
    let bytes = client.get(&target.request()).await?;
    count.add(since, bytes);
    Ok((count, since.elapsed()))
}

/// So many requests a second on one connection; a late answer makes the next request late, which counts.
pub(super) async fn rate(target: &Target, time: Duration) -> io::Result<(Count, Duration)> {
    let (mut client, request) = (Client::new(target.open().await?), target.request());
    let (mut count, bound) = (Count::default(), Bound::new(target, time));
    let mut ticks = interval(Duration::from_secs(1) / target.arguments.rate.max(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let begun = Instant::now();
    while bound.admits() {
        ticks.tick().await;
        let since = Instant::now();
        let bytes = client.get(&request).await?;
        count.add(since, bytes);
    }
    Ok((count, begun.elapsed()))
}

/// One request on each connection, which then rest until stdin ends.
pub(super) async fn idle(target: &Target) -> io::Result<(Count, Duration)> {
    let (mut count, mut clients, begun) = (Count::default(), Vec::new(), Instant::now());
    for _ in 0..target.arguments.connections {
        let since = Instant::now();
        let mut client = Client::frugal(target.open().await?);
        let bytes = client.get(&target.request()).await?;
        count.add(since, bytes);
        clients.push(client);
    }
    let took = begun.elapsed();
    println!("idle");
    spawn_blocking(|| io::copy(&mut io::stdin(), &mut io::sink())).await.map_err(io::Error::other)??;
    Ok((count, took))
}

async fn gather(mut crowd: JoinSet<io::Result<Count>>) -> io::Result<(Count, Duration)> {
    let (mut count, begun) = (Count::default(), Instant::now());
    while let Some(ended) = crowd.join_next().await {
        count.take(ended.map_err(io::Error::other)??);
    }
    Ok((count, begun.elapsed()))
}

async fn on_one(mut client: Client, request: String, bound: Bound) -> io::Result<Count> {
    let mut count = Count::default();
    while bound.admits() {
        let since = Instant::now();
        let bytes = client.get(&request).await?;
        count.add(since, bytes);
    }
    Ok(count)
}

/// One of the streams of an HTTP/2 connection.
async fn on_a_stream(client: Arc<HttpClient>, target: Target, bound: Bound) -> io::Result<Count> {
    let mut sender = client.h2_sender().ok_or_else(|| io::Error::other("HTTP/2 was not agreed"))?;
    let uri = format!("https://{}{}", target.arguments.authority, target.arguments.path);
    let mut count = Count::default();
    while bound.admits() {
        let since = Instant::now();
        sender.ready().await.map_err(io::Error::other)?;
        let request = Request::get(&uri).body(full("")).map_err(io::Error::other)?;
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        if response.status() != 200 {
            return Err(io::Error::other(format!("answered {}", response.status())));
        }
        let body = response.into_body().collect().await.map_err(io::Error::other)?;
        count.add(since, body.to_bytes().len() as u64);
    }
    Ok(count)
}
