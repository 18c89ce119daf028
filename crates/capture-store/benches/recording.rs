//! What recording an exchange costs: its events into the queue, put together, encoded and committed.
//!
//! `cargo bench -p capture-store --bench recording [-- NAME [EXCHANGES]]` runs all cases, or those whose name has `NAME` in
//! it, with so many exchanges in each round. Under
//! `valgrind --tool=callgrind --separate-threads=yes` the counts of one case repeat where times do not.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::{
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use capture_store::{IndexPolicy, Recorder, RecorderConfig, SessionSpec, Store, StoreConfig};
use http::{Method, StatusCode, Version};
use proxy_core::{
    ClientFacts, ConnectionId, Ending, Event, EventKind, ExchangeId, Headers, Observer, Outcome, RequestHead,
    ResponseHead, ResponseSource, Scheme, Sizes, Timings, TlsFacts, TlsFingerprint, UpstreamFacts,
};

/// Exchanges of one round, and how many rounds there are; the fastest counts.
const EXCHANGES: u64 = 10_000;
const ROUNDS: u64 = 5;
/// Connections that exchanges come by, one after the other.
const CONNECTIONS: u64 = 64;

/// What is recorded.
struct Case {
    name: &'static str,
    body: usize,
    /// Whether each body is another.
    is_varied: bool,
    /// What the session keeps.
    max_bytes: u64,
}

const CASES: [Case; 5] = [
    Case { name: "without bodies", body: 0, is_varied: true, max_bytes: 64 << 30 },
    Case { name: "with 1 KiB", body: 1024, is_varied: true, max_bytes: 64 << 30 },
    Case { name: "with the same 1 KiB", body: 1024, is_varied: false, max_bytes: 64 << 30 },
    Case { name: "with 1 KiB, evicting", body: 1024, is_varied: true, max_bytes: 12 << 20 },
    Case { name: "with 64 KiB", body: 64 * 1024, is_varied: true, max_bytes: 64 << 30 },
];

fn main() {
    let mut wanted = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let (name, exchanges) = (wanted.next().unwrap_or_default(), wanted.next());
    let exchanges = exchanges.map_or(EXCHANGES, |exchanges| exchanges.parse().unwrap());
    for case in CASES.iter().filter(|case| case.name.contains(&name)) {
        run(case, exchanges);
    }
}

fn run(case: &Case, exchanges: u64) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), StoreConfig::default()).unwrap();
    let session = SessionSpec::Scratch { max_bytes: Some(case.max_bytes) };
    let mut config = RecorderConfig::default();
    // It is built beside, and is none of this.
    config.index = IndexPolicy::Never;
    let recorder = Recorder::start(&store, session, config).unwrap();
    let connections: Vec<_> = (0..CONNECTIONS).map(connection).collect();
    let exchanges = exchanges / if case.body > 1024 { 20 } else { 1 };
    let (mut told, mut committed) = (f64::MAX, f64::MAX);
    for round in 0..ROUNDS {
        let begin = Instant::now();
        for number in 0..exchanges {
            tell(&recorder, round * exchanges + number + 1, case, &connections);
        }
        told = told.min(begin.elapsed().as_secs_f64() * 1e6 / exchanges as f64);
        recorder.flush().unwrap();
        committed = committed.min(begin.elapsed().as_secs_f64() * 1e6 / exchanges as f64);
    }
    recorder.close().unwrap();
    drop(store);
    let stored = stored_bytes(directory.path()) as f64 / (exchanges * ROUNDS) as f64;
    println!(
        "{:<22} {told:>8.2} us to tell an exchange, {committed:>8.2} us until it is committed, {stored:>6.0} bytes",
        case.name
    );
}

/// Bytes of the database.
fn stored_bytes(directory: &Path) -> u64 {
    fs::metadata(directory.join("store.db")).unwrap().len()
}

/// A connection on both sides, as a browser's through the proxy is.
fn connection(number: u64) -> (Arc<ClientFacts>, Arc<UpstreamFacts>) {
    let port = 40_000 + u16::try_from(number).unwrap();
    let address = |host: [u8; 4], port: u16| (host, port).into();
    let (own, id) = (address([127, 0, 0, 1], 8080), ConnectionId(number));
    let mut client = ClientFacts::new(id, address([127, 0, 0, 1], port), own);
    client.tunnel = Some("www.example.com:443".to_owned());
    let mut tls = tls("771,4866-4867-4865-49196-49200-159,43-51-0-11-10-35-22-23-13-45,29-23-30-25-24,0-1-2");
    tls.offered_alpn = vec!["h2".to_owned(), "http/1.1".to_owned()];
    client.tls = Some(tls);
    let mut upstream = UpstreamFacts::new(ConnectionId(1_000 + number), address([127, 0, 0, 1], 443), own);
    let mut tls = self::tls("771,4866,43-51");
    tls.certificates = vec![Bytes::from(vec![7; 1200]), Bytes::from(vec![9; 1000])];
    upstream.tls = Some(tls);
    (Arc::new(client), Arc::new(upstream))
}

fn tls(ja3: &str) -> TlsFacts {
    let mut tls = TlsFacts::default();
    tls.version = "TLSv1.3".to_owned();
    tls.cipher = "TLS_AES_256_GCM_SHA384".to_owned();
    tls.alpn = Some("http/1.1".to_owned());
    tls.sni = Some("www.example.com".to_owned());
    let (hash, ja4) = ("cd08e31494f9531f560d64c695473da9", "t13d1516h2_8daaf6152771_e5627efa2ab1");
    tls.fingerprint = Some(TlsFingerprint::new(ja3.to_owned(), hash.to_owned(), ja4.to_owned()));
    tls
}

/// Tells the events of one exchange.
fn tell(
    recorder: &Recorder,
    number: u64,
    case: &Case,
    connections: &[(Arc<ClientFacts>, Arc<UpstreamFacts>)],
) {
    let (client, upstream) = &connections[usize::try_from(number % CONNECTIONS).unwrap()];
    let request = RequestHead {
        method: Method::GET,
        scheme: Scheme::Https,
        authority: "www.example.com".to_owned(),
        target: format!("/catalogue/{number}"),
        version: Version::HTTP_11,
        headers: headers(&[("Host", "www.example.com"), ("User-Agent", "bench"), ("Accept", "*/*")]),
    };
    let mut response = ResponseHead::new(StatusCode::OK);
    response.headers =
        headers(&[("Content-Type", "application/octet-stream"), ("Server", "bench"), ("ETag", "\"1\"")]);
    let mut content = vec![0_u8; case.body];
    let mark = if case.is_varied { number } else { 1 }.to_le_bytes();
    content.iter_mut().zip(mark.iter().cycle()).for_each(|(byte, mark)| *byte = *mark);
    let source = ResponseSource::Upstream;
    let ending = Ending::new(Outcome::Response, Timings::default(), Sizes::default());
    let kinds = [
        EventKind::Request { client: client.clone(), head: Arc::new(request), started_at: SystemTime::now() },
        EventKind::RequestEnd,
        EventKind::Upstream { upstream: upstream.clone(), reused: true },
        EventKind::Response { head: Arc::new(response), source },
        EventKind::ResponseBody(Bytes::from(content)),
        EventKind::Ended(Box::new(ending)),
    ];
    for kind in kinds {
        recorder.observe(&Event { exchange: ExchangeId(number), at: Duration::from_millis(1), kind });
    }
}

fn headers(fields: &[(&'static str, &'static str)]) -> Headers {
    let mut headers = Headers::new();
    fields.iter().for_each(|(name, value)| headers.push(*name, *value));
    headers
}
