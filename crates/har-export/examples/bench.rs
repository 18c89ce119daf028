//! Measures HAR out of and into a store: `cargo run --release -p har-export --example bench -- 1000000 [directory]`. `cargo
//! xtask bench har` runs it. What is wanted stands beside each figure; the exit code says nothing about them.
//!
//! Each step is a process of its own, whose memory is its own.
#![expect(clippy::print_stdout, reason = "its result is a table")]

use std::{
    error::Error,
    fs::{self, File},
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use capture_store::{Exchange, ExchangeState, ImportedExchange, Peer, Query, Store, StoreConfig};
use har_export::{ExportOptions, ImportOptions, export, import};
use http::{Method, StatusCode, Version};
use proxy_core::{Header, Headers, RequestHead, ResponseHead, ResponseSource, Scheme, TlsFacts};

type Outcomes = Result<(), Box<dyn Error>>;

/// Bytes of a small body.
const BODY_BYTES: usize = 2_048;
/// Bytes of the text of one large body, in base64.
const LARGE_BYTES: usize = 400 * 1024 * 1024;
/// Words that bodies are made of.
const WORDS: [&str; 8] = ["alpha", "order", "customer", "price", "quantity", "shipping", "address", "status"];

fn main() -> Outcomes {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["make", count, directory] => make(Path::new(directory), count.parse()?),
        ["export", directory, options] => measure_export(Path::new(directory), options),
        ["import", directory, file] => measure_import(Path::new(directory), file),
        ["large", directory] => make_large(Path::new(directory)),
        [] => all(100_000, None),
        [count] => all(count.parse()?, None),
        [count, directory] => all(count.parse()?, Some(directory.into())),
        _ => Err("name how many exchanges, and a directory".into()),
    }
}

fn all(count: u64, directory: Option<PathBuf>) -> Outcomes {
    let temporary = tempfile::tempdir()?;
    let directory = directory.unwrap_or_else(|| temporary.path().to_owned());
    let place = directory.to_string_lossy().into_owned();
    println!("{count} exchanges with bodies of {BODY_BYTES} bytes, in {place}");
    if !directory.join("store").exists() {
        step(&["make", &count.to_string(), &place])?;
    }
    step(&["export", &place, "plain"])?;
    step(&["import", &place, "plain.har"])?;
    step(&["export", &place, "gzip"])?;
    step(&["import", &place, "gzip.har.gz"])?;
    step(&["export", &place, "redact"])?;
    step(&["large", &place])?;
    step(&["import", &place, "large.har"])
}

fn step(arguments: &[&str]) -> Outcomes {
    let status = Command::new(std::env::current_exe()?).args(arguments).status()?;
    if status.success() { Ok(()) } else { Err(format!("{arguments:?} failed").into()) }
}

/// A line of the result.
fn tell(what: &str, bytes: u64, spent: Duration, wanted: &str) {
    let megabytes = bytes / 1_000_000;
    let rate = u128::from(bytes) / spent.as_micros().max(1);
    let memory = memory();
    println!("{what:<22} {megabytes:>6} MB  {spent:>8.1?}  {rate:>5} MB/s  {memory:>4} MiB   {wanted}");
}

fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|text| text.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) / 1024
}

fn measure_export(directory: &Path, kind: &str) -> Outcomes {
    let store = Store::open(directory.join("store"), StoreConfig::default())?;
    let mut options = ExportOptions::default();
    options.gzip = kind == "gzip";
    options.redact = (kind == "redact").then(Default::default);
    let out = directory.join(if options.gzip { "gzip.har.gz".to_owned() } else { format!("{kind}.har") });
    let began = Instant::now();
    let summary = export(&store, &Query::default(), &out, &options, |_| {})?;
    let wanted = if kind == "plain" { "wanted: 150 MB/s, 128 MiB" } else { "" };
    tell(&format!("export {kind}"), summary.bytes, began.elapsed(), wanted);
    if kind == "redact" {
        fs::remove_file(out)?;
    }
    Ok(())
}

fn measure_import(directory: &Path, file: &str) -> Outcomes {
    let target = directory.join("imported");
    let path = directory.join(file);
    let store = Store::open(&target, StoreConfig::default())?;
    let mut bytes = 0;
    let began = Instant::now();
    import(&store, &path, &ImportOptions::default(), |progress| bytes = progress.bytes)?;
    tell(&format!("import {file}"), bytes, began.elapsed(), "wanted: 60 MB/s, 128 MiB");
    drop(store);
    fs::remove_dir_all(target)?;
    Ok(fs::remove_file(path)?)
}

/// A file with one entry that has one large body.
fn make_large(directory: &Path) -> Outcomes {
    let mut out = BufWriter::new(File::create(directory.join("large.har"))?);
    out.write_all(br#"{"log":{"entries":[{"startedDateTime":"2026-03-02T09:15:00Z","request":{"method":"GET","url":"http://a.test/"},"response":{"status":200,"content":{"mimeType":"video/mp4","text":""#)?;
    let line = b"AAEC".repeat(64 * 1024);
    for _ in 0..LARGE_BYTES / line.len() {
        out.write_all(&line)?;
    }
    out.write_all(br#"","encoding":"base64"}}}]}}"#)?;
    Ok(out.flush()?)
}

fn make(directory: &Path, count: u64) -> Outcomes {
    fs::create_dir_all(directory)?;
    let store = Store::open(directory.join("store"), StoreConfig::default())?;
    let mut session = store.import("bench", None)?;
    let certificates: Vec<Bytes> = (0..3_u8).map(|number| vec![number; 1_200].into()).collect();
    for number in 0..count {
        session.add(exchange(number, &certificates))?;
    }
    session.finish()?;
    Ok(())
}

fn fields(list: &[(&'static str, String)]) -> Headers {
    list.iter().map(|(name, value)| Header::new(*name, value.clone())).collect()
}

fn exchange(number: u64, certificates: &[Bytes]) -> ImportedExchange {
    let head = RequestHead {
        method: Method::GET,
        scheme: Scheme::Https,
        authority: format!("api{}.example.test", number % 20),
        target: format!("/v1/orders/{number}?page={}&size=50", number % 100),
        version: Version::HTTP_11,
        headers: fields(&[
            ("Host", format!("api{}.example.test", number % 20)),
            (
                "User-Agent",
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)".to_owned(),
            ),
            ("Accept", "application/json".to_owned()),
            ("Authorization", format!("Bearer token-{number}")),
            ("Cookie", format!("session={number}; theme=dark")),
        ]),
    };
    let began = SystemTime::UNIX_EPOCH + Duration::from_millis(1_772_442_900_000 + number);
    let mut exchange = Exchange::new(head, began);
    let mut response = ResponseHead::new(StatusCode::OK);
    response.headers = fields(&[
        ("Content-Type", "application/json".to_owned()),
        ("Cache-Control", "no-store".to_owned()),
        ("Date", "Mon, 02 Mar 2026 09:15:00 GMT".to_owned()),
        ("X-Request-Id", format!("{number:032x}")),
    ]);
    exchange.response = Some(response);
    exchange.response_source = Some(ResponseSource::Upstream);
    exchange.summary.state = ExchangeState::Response;
    let mut tls = TlsFacts::default();
    (tls.version, tls.cipher) = ("TLSv1.3".to_owned(), "TLS_AES_128_GCM_SHA256".to_owned());
    tls.certificates = certificates.to_vec();
    exchange.upstream = Some(Peer::new(number / 100, Some(([203, 0, 113, 7], 443).into()), Some(tls)));
    exchange.timings.wait = Duration::from_micros(35_120);
    exchange.timings.total = Duration::from_micros(35_120);
    let body = body(number);
    exchange.response_body.wire_bytes = body.len() as u64;
    exchange.response_body.complete = true;
    ImportedExchange {
        exchange,
        request_body: None,
        response_body: Some(body.into()),
        messages: Vec::new().into(),
    }
}

/// A body of JSON.
fn body(number: u64) -> Vec<u8> {
    let mut text = String::from("{\"items\":[");
    let mut at = number;
    while text.len() < BODY_BYTES - 60 {
        at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let word = WORDS[usize::try_from(at >> 61).unwrap_or(0)];
        text.push_str(&format!("{{\"{word}\":\"{:x}\"}},", at >> 20));
    }
    text.push_str("{}]}");
    text.into_bytes()
}
