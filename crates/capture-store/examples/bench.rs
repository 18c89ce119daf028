//! Measures a store: `cargo run --release -p capture-store --example bench -- 1000000 [directory]`. `cargo xtask bench
//! store` runs it. What is wanted stands beside each figure; the exit code says nothing about them.
#![expect(clippy::print_stdout, reason = "its result is a table")]

use std::{
    error::Error,
    fs::{self, File},
    hint::black_box,
    io::Write as _,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use capture_store::{
    BodySide, Order, Query, Recorder, RecorderConfig, Search, Seq, SessionSpec, Store, StoreConfig, parse,
};
use proxy_core::{
    ClientFacts, ConnectionId, Ending, Event, EventKind, ExchangeId, Headers, Observer as _, Outcome,
    RequestHead, ResponseHead, ResponseSource, Scheme, Sizes, Timings,
};

type Outcomes = Result<(), Box<dyn Error>>;

/// Bytes of a small body.
const BODY_BYTES: usize = 2_048;
/// Bytes of one large body, and how many there are.
const LARGE_BYTES: usize = 256 * 1024 * 1024;
const LARGE: usize = 4;
/// How a proxy hands bodies on.
const PIECE_BYTES: usize = 64 * 1024;
/// How often each question is asked; the median is told.
const ROUNDS: usize = 9;
/// Words that bodies are made of.
const WORDS: [&str; 16] = [
    "alpha",
    "order",
    "customer",
    "price",
    "quantity",
    "shipping",
    "address",
    "status",
    "pending",
    "complete",
    "invoice",
    "total",
    "currency",
    "discount",
    "warehouse",
    "tracking",
];

fn main() -> Outcomes {
    let mut arguments = std::env::args().skip(1);
    let exchanges: u64 = arguments.next().map_or(Ok(100_000), |text| text.parse())?;
    let temporary = tempfile::tempdir()?;
    let directory = arguments.next().map_or_else(|| temporary.path().join("store"), Into::into);
    println!("{exchanges} exchanges with bodies of {BODY_BYTES} bytes, in {}", directory.display());
    if !directory.join("store.db").exists() {
        ingest(&directory, exchanges)?;
    }
    questions(&directory, exchanges)?;
    large_bodies(&temporary.path().join("large"))
}

/// A line of the result.
fn tell(what: &str, figure: &str, wanted: &str) {
    println!("{what:<46} {figure:>16}   {wanted}");
}

fn memory() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: u64 = peak.and_then(|text| text.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0);
    format!("{} MiB", kib / 1024)
}

fn millis(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1_000.0)
}

fn per_second(count: f64, elapsed: Duration) -> f64 {
    count / elapsed.as_secs_f64()
}

/// The median of some rounds.
fn median(mut ask: impl FnMut() -> Outcomes) -> Result<Duration, Box<dyn Error>> {
    let mut rounds = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let began = Instant::now();
        ask()?;
        rounds.push(began.elapsed());
    }
    rounds.sort();
    Ok(rounds[ROUNDS / 2])
}

/// A small generator, the same in every run.
struct Noise(u64);

impl Noise {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % below
    }
}

/// Where a body has its number.
const ID: std::ops::Range<usize> = 13..21;

/// JSON of words and numbers.
fn body(number: u64, noise: &mut Noise) -> Bytes {
    let mut text = format!("{{\"id\":\"order-{number:08}\",\"items\":[");
    while text.len() < BODY_BYTES - 80 {
        let word = WORDS[usize::try_from(noise.next(16)).unwrap_or(0)];
        text.push_str(&format!(
            "{{\"{word}\":{},\"ref\":\"{:08x}\"}},",
            noise.next(10_000),
            noise.next(u64::MAX)
        ));
    }
    while text.len() < BODY_BYTES - 2 {
        text.push(' ');
    }
    text.push_str("]}");
    text.into()
}

fn request(number: u64, noise: &mut Noise) -> RequestHead {
    let host = format!("api{}.example.com", noise.next(200));
    let mut headers = Headers::new();
    headers.push("Host", host.clone());
    headers.push(
        "User-Agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0",
    );
    headers.push("Accept", "application/json, text/plain, */*");
    headers.push(
        "Authorization",
        "Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.e30.Et9HFtf9R3GEMA0IICOfFMVXY7kkTX1wr4qCyhIf58U",
    );
    let method = ["GET", "GET", "GET", "GET", "POST", "PUT"][usize::try_from(noise.next(6)).unwrap_or(0)];
    RequestHead {
        method: if number % 50_000 == 17 { http::Method::DELETE } else { method.parse().unwrap_or_default() },
        scheme: Scheme::Https,
        authority: host,
        target: format!("/v1/customers/{}/orders/{number}?expand=items", noise.next(100_000)),
        version: http::Version::HTTP_11,
        headers,
    }
}

fn ingest(directory: &Path, exchanges: u64) -> Outcomes {
    let store = Store::open(directory, StoreConfig::default())?;
    let session = SessionSpec::Named { name: "bench".to_owned(), max_bytes: None };
    let recorder = Recorder::start(&store, session, RecorderConfig::default())?;
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    let client =
        Arc::new(ClientFacts::new(ConnectionId(1), "127.0.0.1:50000".parse()?, "127.0.0.1:8080".parse()?));
    // Made before, so that the recorder is measured and not this.
    let bodies: Vec<Bytes> = (0..exchanges.min(4_096)).map(|number| body(number, &mut noise)).collect();
    let began = Instant::now();
    for number in 0..exchanges {
        // Each its own: the same ones would be stored once.
        let mut own = bodies[usize::try_from(number % 4_096).unwrap_or(0)].to_vec();
        own[ID].copy_from_slice(format!("{number:08}").as_bytes());
        let mut text = Bytes::from(own);
        if number % 100_000 == 77 {
            text = body(number, &mut noise);
            text = [&text[..], b"needle-in-the-haystack"].concat().into();
        }
        one(&recorder, number, client.clone(), request(number, &mut noise), (text, noise.next(1_000)));
        while recorder.ready().is_some() {
            thread::sleep(Duration::from_millis(1));
        }
    }
    recorder.flush()?;
    let elapsed = began.elapsed();
    let rate = per_second(exchanges as f64, elapsed);
    tell("ingest, 2 KB exchanges", &format!("{rate:.0}/s"), "40,000/s");
    tell("memory after ingest (peak)", &memory(), "200 MiB");
    let status = recorder.status()?;
    recorder.close()?;
    tell("  not recorded", &status.dropped.to_string(), "0");
    let bytes: u64 = fs::read_dir(directory)?
        .flatten()
        .filter_map(|entry| entry.metadata().ok())
        .map(|data| data.len())
        .sum();
    tell("  database", &format!("{} MB", bytes / 1_000_000), "");
    Ok(())
}

fn one(
    recorder: &Recorder,
    number: u64,
    client: Arc<ClientFacts>,
    head: RequestHead,
    (text, luck): (Bytes, u64),
) {
    let tell =
        |kind| recorder.observe(&Event { exchange: ExchangeId(number), at: Duration::from_millis(3), kind });
    tell(EventKind::Request { client, head: Arc::new(head), started_at: SystemTime::now() });
    tell(EventKind::RequestEnd);
    let status = match luck {
        0 => 503,
        1..=20 => 500,
        21..=80 => 404,
        _ => 200,
    };
    let mut head = ResponseHead::new(http::StatusCode::from_u16(status).unwrap_or_default());
    let kind = if luck % 10 == 0 { "text/html; charset=utf-8" } else { "application/json" };
    head.headers.push("Content-Type", kind);
    head.headers.push("Date", "Sat, 21 Nov 2026 05:00:00 GMT");
    head.headers.push("Server", "nginx");
    tell(EventKind::Response { head: Arc::new(head), source: ResponseSource::Upstream });
    tell(EventKind::ResponseBody(text));
    tell(EventKind::Ended(Box::new(Ending::new(Outcome::Response, Timings::default(), Sizes::default()))));
}

fn questions(directory: &Path, exchanges: u64) -> Outcomes {
    let opening = median(|| {
        let store = Store::open(directory, StoreConfig::read_only())?;
        black_box(store.sessions()?);
        Ok(())
    })?;
    tell("open", &millis(opening), "200 ms");
    let store = Store::open(directory, StoreConfig::default())?;
    for filter in [
        "",
        "host:api7.example.com",
        "host:*7.example.com",
        "status:503",
        "status:5xx",
        "method:DELETE",
        "type:html",
        "failure:dns",
        "since:1h",
        "before:2020-01-01",
        "status:503 method:POST",
    ] {
        for order in [Order::Ascending, Order::Descending] {
            let mut query = Query::default();
            (query.condition, query.order, query.session) = (Some(parse(filter)?), order, None);
            let took = median(|| {
                black_box(store.query(&query)?);
                Ok(())
            })?;
            let first = if order == Order::Ascending { "oldest" } else { "newest" };
            tell(&format!("first page, {first}: {filter}"), &millis(took), "5 ms");
        }
    }
    let took = median(|| {
        black_box(store.tail(Seq(exchanges / 2), &Query::default())?.next);
        Ok(())
    })?;
    tell("tail from a cursor in the middle", &millis(took), "5 ms");
    let took = median(|| {
        black_box(store.exchange(Seq(exchanges / 2))?);
        black_box(store.body(Seq(exchanges / 2), BodySide::Response)?.map(|body| body.decode(10_000)));
        Ok(())
    })?;
    tell("one exchange by id, with its body", &millis(took), "5 ms");
    let mut query = Query::default();
    query.url_contains = Some(format!("orders/{}?", exchanges - 1));
    let took = median(|| {
        black_box(store.query(&query)?);
        Ok(())
    })?;
    tell("URL substring, one match at the end", &millis(took), "100 ms");
    scan(&store, exchanges)?;
    tell("memory after questions (peak)", &memory(), "200 MiB");
    Ok(())
}

fn scan(store: &Store, exchanges: u64) -> Outcomes {
    let mut search = Search::new("needle-in-the-haystack", None);
    search.limit = 1_000;
    let began = Instant::now();
    let page = store.search(&search)?;
    let elapsed = began.elapsed();
    let rate = per_second((exchanges as usize * BODY_BYTES) as f64 / 1e6, elapsed);
    tell("body search, unindexed", &format!("{rate:.0} MB/s"), "500 MB/s");
    tell("  hits, exchanges looked through", &format!("{}, {}", page.hits.len(), page.scanned), "");
    let mut query = Query::default();
    query.condition = Some(parse("body:needle-in-the-haystack")?);
    let began = Instant::now();
    black_box(store.query(&query)?);
    tell("body:… as a filter, unindexed", &millis(began.elapsed()), "");
    Ok(())
}

fn large_bodies(directory: &Path) -> Outcomes {
    let piece = Bytes::from(vec![0x5a; PIECE_BYTES]);
    let plain = {
        fs::create_dir_all(directory)?;
        let began = Instant::now();
        for number in 0..LARGE {
            let mut file = File::create(directory.join(format!("plain-{number}")))?;
            for _ in 0..LARGE_BYTES / PIECE_BYTES {
                file.write_all(&piece)?;
            }
        }
        per_second((LARGE * LARGE_BYTES) as f64 / 1e6, began.elapsed())
    };
    for number in 0..LARGE {
        fs::remove_file(directory.join(format!("plain-{number}")))?;
    }
    let store = Store::open(directory.join("store"), StoreConfig::default())?;
    let session = SessionSpec::Named { name: "large".to_owned(), max_bytes: None };
    let recorder = Recorder::start(&store, session, RecorderConfig::default())?;
    let client =
        Arc::new(ClientFacts::new(ConnectionId(1), "127.0.0.1:50000".parse()?, "127.0.0.1:8080".parse()?));
    let mut noise = Noise(7);
    let began = Instant::now();
    for number in 0..LARGE as u64 {
        let tell = |kind| {
            recorder.observe(&Event { exchange: ExchangeId(number), at: Duration::from_millis(3), kind })
        };
        tell(EventKind::Request {
            client: client.clone(),
            head: Arc::new(request(number, &mut noise)),
            started_at: SystemTime::now(),
        });
        tell(EventKind::Response {
            head: Arc::new(ResponseHead::new(http::StatusCode::OK)),
            source: ResponseSource::Upstream,
        });
        for _ in 0..LARGE_BYTES / PIECE_BYTES {
            tell(EventKind::ResponseBody(piece.clone()));
            while recorder.ready().is_some() {
                thread::sleep(Duration::from_micros(200));
            }
        }
        tell(EventKind::Ended(Box::new(Ending::new(
            Outcome::Response,
            Timings::default(),
            Sizes::default(),
        ))));
    }
    recorder.flush()?;
    let rate = per_second((LARGE * LARGE_BYTES) as f64 / 1e6, began.elapsed());
    tell("large bodies", &format!("{rate:.0} MB/s"), &format!("1000 MB/s, or 0.7 of {plain:.0} MB/s"));
    tell("  of what plain writing takes", &format!("{:.2}", rate / plain), "0.70");
    Ok(())
}
