//! Minimal HTTP load generator that can talk through an HTTP(S)-intercepting proxy.
//!
//! loadgen MODE --url URL [--proxy HOST:PORT | --connect-to HOST:PORT] [--ca PEM] [options]
//!   keepalive  closed loop, -c connections (h1) or -c connections x --streams (with --h2)
//!   handshake  closed loop, new TCP + CONNECT + full TLS handshake + 1 GET each time
//!   rate       one connection, fixed --rate requests per second, latency percentiles
//!   download   one GET, MB/s and time to first byte
//!   idle       opens -c tunnels; waits for a stdin line; 1 GET on each; waits again
//! --hosts N spreads new connections over h0.bench.test .. h(N-1).bench.test instead of the URL's host (not with --h2).
//! Lines on stdout: START / END (measured window), READY <what> (idle), then one JSON line.
use std::io::{BufRead, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::rustls::{self, pki_types::{pem::PemObject, CertificateDer, ServerName}};
use tokio_rustls::TlsConnector;

type Res<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

struct Cfg {
    mode: String, tls: bool, host: String, port: u16, path: String,
    proxy: Option<String>, connect_to: Option<String>, ca: Option<String>,
    conns: usize, streams: usize, threads: usize, secs: f64, warm: f64, rate: f64,
    requests: u64, h2: bool, hosts: u64,
}

fn parse_args() -> Cfg {
    let mut a = std::env::args().skip(1);
    let mut c = Cfg { mode: a.next().expect("mode"), tls: true, host: String::new(), port: 0, path: String::new(),
        proxy: None, connect_to: None, ca: None, conns: 64, streams: 25, threads: 2, secs: 5.0, warm: 1.0,
        rate: 200.0, requests: 0, h2: false, hosts: 0 };
    while let Some(k) = a.next() {
        if k == "--h2" { c.h2 = true; continue; }
        let v = a.next().unwrap_or_else(|| panic!("{k} needs a value"));
        match k.as_str() {
            "--url" => {
                let (scheme, rest) = v.split_once("://").expect("url");
                c.tls = scheme == "https";
                let (auth, path) = rest.split_once('/').expect("path");
                let (h, p) = auth.split_once(':').expect("port");
                c.host = h.into(); c.port = p.parse().unwrap(); c.path = format!("/{path}");
            }
            "--proxy" => c.proxy = Some(v), "--connect-to" => c.connect_to = Some(v), "--ca" => c.ca = Some(v),
            "-c" => c.conns = v.parse().unwrap(), "--streams" => c.streams = v.parse().unwrap(),
            "--threads" => c.threads = v.parse().unwrap(), "-d" => c.secs = v.parse().unwrap(),
            "-w" => c.warm = v.parse().unwrap(), "--rate" => c.rate = v.parse().unwrap(),
            "--hosts" => c.hosts = v.parse().unwrap(),
            "--requests" => c.requests = v.parse().unwrap(),
            _ => panic!("unknown option {k}"),
        }
    }
    c
}

/// Accepts any certificate; used only without --ca.
#[derive(Debug)]
struct NoVerify(Arc<rustls::crypto::CryptoProvider>);
impl rustls::client::danger::ServerCertVerifier for NoVerify {
    fn verify_server_cert(&self, _: &CertificateDer, _: &[CertificateDer], _: &ServerName, _: &[u8], _: rustls::pki_types::UnixTime)
        -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> { Ok(rustls::client::danger::ServerCertVerified::assertion()) }
    fn verify_tls12_signature(&self, m: &[u8], c: &CertificateDer, d: &rustls::DigitallySignedStruct)
        -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> { rustls::crypto::verify_tls12_signature(m, c, d, &self.0.signature_verification_algorithms) }
    fn verify_tls13_signature(&self, m: &[u8], c: &CertificateDer, d: &rustls::DigitallySignedStruct)
        -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> { rustls::crypto::verify_tls13_signature(m, c, d, &self.0.signature_verification_algorithms) }
    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> { self.0.signature_verification_algorithms.supported_schemes() }
}

fn tls_config(c: &Cfg) -> Arc<rustls::ClientConfig> {
    let prov = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let b = rustls::ClientConfig::builder_with_provider(prov.clone()).with_safe_default_protocol_versions().unwrap();
    let mut cfg = if let Some(p) = &c.ca {
        let mut roots = rustls::RootCertStore::empty();
        for der in CertificateDer::pem_file_iter(p).expect("CA file") { roots.add(der.unwrap()).unwrap(); }
        b.with_root_certificates(roots).with_no_client_auth()
    } else {
        b.dangerous().with_custom_certificate_verifier(Arc::new(NoVerify(prov))).with_no_client_auth()
    };
    cfg.resumption = rustls::client::Resumption::disabled(); // always full handshakes
    cfg.alpn_protocols = if c.h2 { vec![b"h2".to_vec(), b"http/1.1".to_vec()] } else { vec![b"http/1.1".to_vec()] };
    Arc::new(cfg)
}

struct Shared {
    c: Cfg, tls: TlsConnector, req: Arc<[u8]>,
    phase: AtomicU8, // 0 warm-up, 1 measuring, 2 stop
    done: AtomicU64, errors: AtomicU64, bytes: AtomicU64, conns: AtomicU64,
    lat: Mutex<Vec<u32>>, info: Mutex<String>, errmsg: Mutex<String>, stop: AtomicBool,
}

impl Shared {
    fn fail(&self, e: &dyn std::fmt::Display) {
        if self.phase.load(Relaxed) == 2 { return; }
        self.errors.fetch_add(1, Relaxed);
        let mut m = self.errmsg.lock().unwrap();
        if m.is_empty() { *m = e.to_string(); }
    }
}

/// The request, as bytes.
fn request(c: &Cfg, host: &str) -> Vec<u8> {
    let target = if !c.tls && c.proxy.is_some() { format!("http://{host}:{}{}", c.port, c.path) } else { c.path.clone() };
    format!("GET {target} HTTP/1.1\r\nHost: {host}:{}\r\nUser-Agent: loadgen\r\nAccept: */*\r\n\r\n", c.port).into_bytes()
}

/// TCP (+ CONNECT through the proxy) (+ TLS), and the request to send there.
async fn open(s: &Shared) -> Res<(Box<dyn Io>, Arc<[u8]>)> {
    let c = &s.c;
    let number = s.conns.fetch_add(1, Relaxed);
    let host = if c.hosts > 0 { format!("h{}.bench.test", number % c.hosts) } else { c.host.clone() };
    let req: Arc<[u8]> = if c.hosts > 0 { request(c, &host).into() } else { s.req.clone() };
    let addr = c.proxy.clone().or(c.connect_to.clone()).unwrap_or_else(|| format!("127.0.0.1:{}", c.port));
    let mut tcp = TcpStream::connect(&addr).await?;
    tcp.set_nodelay(true)?;
    if !c.tls { return Ok((Box::new(tcp), req)); }
    if c.proxy.is_some() {
        tcp.write_all(format!("CONNECT {0}:{1} HTTP/1.1\r\nHost: {0}:{1}\r\n\r\n", host, c.port).as_bytes()).await?;
        let (mut b, mut n) = ([0u8; 2048], 0);
        while !b[..n].windows(4).any(|w| w == b"\r\n\r\n") {
            let r = tcp.read(&mut b[n..]).await?;
            if r == 0 { return Err("closed in CONNECT".into()); }
            n += r;
        }
        if b.get(9..12) != Some(b"200") { return Err(format!("CONNECT: {}", String::from_utf8_lossy(&b[..n.min(80)])).into()); }
    }
    let t = s.tls.connect(ServerName::try_from(host)?, tcp).await?;
    let k = t.get_ref().1;
    let alpn = k.alpn_protocol().map(|a| String::from_utf8_lossy(a).into_owned()).unwrap_or("-".into());
    if c.h2 && alpn != "h2" { return Err(format!("no h2: alpn {alpn}").into()); }
    let mut i = s.info.lock().unwrap();
    if i.is_empty() {
        let key = k.peer_certificates().map(|v| v[0].len()).unwrap_or(0);
        *i = format!("{:?} {:?} alpn={alpn} leaf={key}B", k.protocol_version().unwrap(), k.negotiated_cipher_suite().unwrap().suite());
    }
    drop(i);
    Ok((Box::new(t), req))
}

/// Buffered HTTP/1 response reader; bodies are counted, not kept.
struct Rd { buf: Vec<u8>, a: usize, b: usize }
impl Rd {
    fn new() -> Self { Rd { buf: vec![0; 128 * 1024], a: 0, b: 0 } }
    async fn fill(&mut self, io: &mut dyn Io) -> Res<usize> {
        if self.a == self.b { self.a = 0; self.b = 0; }
        if self.b == self.buf.len() { self.buf.copy_within(self.a.., 0); self.b -= self.a; self.a = 0; }
        let n = io.read(&mut self.buf[self.b..]).await?;
        self.b += n;
        Ok(n)
    }
    async fn skip(&mut self, io: &mut dyn Io, mut n: u64) -> Res<()> {
        loop {
            let k = ((self.b - self.a) as u64).min(n);
            self.a += k as usize; n -= k;
            if n == 0 { return Ok(()); }
            if self.fill(io).await? == 0 { return Err("closed in body".into()); }
        }
    }
    async fn line(&mut self, io: &mut dyn Io) -> Res<String> {
        loop {
            if let Some(p) = self.buf[self.a..self.b].windows(2).position(|w| w == b"\r\n") {
                let l = String::from_utf8_lossy(&self.buf[self.a..self.a + p]).into_owned();
                self.a += p + 2;
                return Ok(l);
            }
            if self.fill(io).await? == 0 { return Err("closed in chunk".into()); }
        }
    }
    /// Returns (body bytes, connection may be reused).
    async fn response(&mut self, io: &mut dyn Io) -> Res<(u64, bool)> {
        let (status, len, chunked, mut keep);
        loop {
            if self.b > self.a {
                let mut hs = [httparse::EMPTY_HEADER; 48];
                let mut r = httparse::Response::new(&mut hs);
                if let httparse::Status::Complete(n) = r.parse(&self.buf[self.a..self.b])? {
                    status = r.code.unwrap_or(0);
                    keep = r.version == Some(1);
                    let (mut l, mut ch) = (None, false);
                    for h in r.headers.iter() {
                        if h.name.eq_ignore_ascii_case("content-length") { l = Some(std::str::from_utf8(h.value)?.trim().parse::<u64>()?); }
                        else if h.name.eq_ignore_ascii_case("transfer-encoding") { ch = true; }
                        else if h.name.eq_ignore_ascii_case("connection") { keep = !h.value.eq_ignore_ascii_case(b"close"); }
                    }
                    len = l; chunked = ch;
                    self.a += n;
                    break;
                }
            }
            if self.fill(io).await? == 0 { return Err("closed before response".into()); }
        }
        if status != 200 { return Err(format!("status {status}").into()); }
        if chunked {
            let mut total = 0;
            loop {
                let n = u64::from_str_radix(self.line(io).await?.split(';').next().unwrap().trim(), 16)?;
                self.skip(io, n + 2).await?;
                if n == 0 { return Ok((total, keep)); }
                total += n;
            }
        } else if let Some(n) = len {
            self.skip(io, n).await?;
            Ok((n, keep))
        } else {
            let mut n = (self.b - self.a) as u64;
            loop { self.a = self.b; let k = self.fill(io).await?; if k == 0 { return Ok((n, false)); } n += k as u64; }
        }
    }
}

fn finish(s: &Shared, lat: &mut Vec<u32>, t: Instant, n: u64) {
    s.done.fetch_add(1, Relaxed);
    s.bytes.fetch_add(n, Relaxed);
    if s.phase.load(Relaxed) == 1 { lat.push(t.elapsed().as_micros() as u32); }
}

async fn worker_h1(s: Arc<Shared>, fresh: bool) {
    let mut lat = Vec::new();
    let mut conn: Option<(Box<dyn Io>, Arc<[u8]>)> = None;
    let mut rd = Rd::new();
    while !s.stop.load(Relaxed) {
        let t = Instant::now();
        let reused = conn.is_some();
        let r: Res<bool> = async {
            if conn.is_none() { conn = Some(open(&s).await?); rd.a = 0; rd.b = 0; }
            let (io, req) = conn.as_mut().unwrap();
            io.write_all(req).await?;
            io.flush().await?;
            let (n, keep) = rd.response(io.as_mut()).await?;
            finish(&s, &mut lat, t, n);
            Ok(keep)
        }.await;
        match r {
            Ok(true) if !fresh => {}
            Ok(_) => { if let Some((mut io, _)) = conn.take() { let _ = io.shutdown().await; } }
            // The peer closed an idle keep-alive connection: open a new one, no error.
            Err(_) if reused && rd.a == rd.b => conn = None,
            Err(e) => { conn = None; s.fail(&e); tokio::time::sleep(Duration::from_millis(5)).await; }
        }
    }
    s.lat.lock().unwrap().append(&mut lat);
}

async fn worker_h2(s: Arc<Shared>) {
    while !s.stop.load(Relaxed) {
        let r: Res<()> = async {
            let (io, _) = open(&s).await?;
            let (send, conn) = h2::client::Builder::new().initial_window_size(1 << 20)
                .initial_connection_window_size(1 << 24).handshake::<_, bytes::Bytes>(io).await?;
            let drive = tokio::task::spawn_local(async move { let _ = conn.await; });
            let uri = format!("https://{}:{}{}", s.c.host, s.c.port, s.c.path);
            let tasks: Vec<_> = (0..s.c.streams).map(|_| {
                let (s, mut send, uri) = (s.clone(), send.clone(), uri.clone());
                tokio::task::spawn_local(async move {
                    let mut lat = Vec::new();
                    while !s.stop.load(Relaxed) {
                        let t = Instant::now();
                        let r: Res<u64> = async {
                            send = send.clone().ready().await?;
                            let req = http::Request::get(&uri).header("user-agent", "loadgen").body(())?;
                            let resp = send.send_request(req, true)?.0.await?;
                            if resp.status() != 200 { return Err(format!("status {}", resp.status()).into()); }
                            let (mut body, mut n) = (resp.into_body(), 0u64);
                            while let Some(d) = body.data().await {
                                let d = d?; n += d.len() as u64;
                                body.flow_control().release_capacity(d.len())?;
                            }
                            Ok(n)
                        }.await;
                        match r {
                            Ok(n) => finish(&s, &mut lat, t, n),
                            Err(e) => { s.fail(&e); break; }
                        }
                    }
                    s.lat.lock().unwrap().append(&mut lat);
                })
            }).collect();
            for t in tasks { let _ = t.await; }
            drive.abort();
            Ok(())
        }.await;
        if let Err(e) = r { s.fail(&e); tokio::time::sleep(Duration::from_millis(50)).await; }
    }
}

fn say(x: &str) { println!("{x}"); std::io::stdout().flush().unwrap(); }

fn report(s: &Shared, reqs: u64, secs: f64, extra: &str) {
    let mut l = s.lat.lock().unwrap();
    l.sort_unstable();
    let p = |q: f64| if l.is_empty() { 0 } else { l[((l.len() - 1) as f64 * q) as usize] };
    let err = s.errmsg.lock().unwrap().replace(['"', '\\', '\n', '\r'], " ");
    say(&format!("{{\"requests\":{reqs},\"secs\":{secs:.4},\"rps\":{:.1},\"errors\":{},\"conns\":{},\"bytes\":{},\"p50_us\":{},\"p90_us\":{},\"p99_us\":{},\"max_us\":{},\"tls\":\"{}\",\"error\":\"{err}\"{extra}}}",
        reqs as f64 / secs, s.errors.load(Relaxed), s.conns.load(Relaxed), s.bytes.load(Relaxed),
        p(0.5), p(0.9), p(0.99), p(1.0), s.info.lock().unwrap()));
}

fn rt() -> tokio::runtime::Runtime { tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap() }

fn closed_loop(s: Arc<Shared>) {
    let n = s.c.threads.min(s.c.conns);
    let hs: Vec<_> = (0..n).map(|i| {
        let s = s.clone();
        std::thread::spawn(move || {
            let mine = s.c.conns / n + usize::from(i < s.c.conns % n);
            let local = tokio::task::LocalSet::new();
            local.block_on(&rt(), async {
                let js: Vec<_> = (0..mine).map(|_| {
                    let s = s.clone();
                    tokio::task::spawn_local(async move {
                        if s.c.h2 { worker_h2(s).await } else { let f = s.c.mode == "handshake"; worker_h1(s, f).await }
                    })
                }).collect();
                // A stuck connection must not hang the run: leave 3 s after stop.
                for j in js { while !j.is_finished() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    if s.phase.load(Relaxed) == 2 { let _ = tokio::time::timeout(Duration::from_secs(3), async { while !j.is_finished() { tokio::time::sleep(Duration::from_millis(20)).await } }).await; break; }
                } }
            });
        })
    }).collect();
    std::thread::sleep(Duration::from_secs_f64(s.c.warm));
    let (a, t) = (s.done.load(Relaxed), Instant::now());
    s.phase.store(1, Relaxed);
    say("START");
    if s.c.requests > 0 {
        while s.done.load(Relaxed) - a < s.c.requests && t.elapsed().as_secs_f64() < s.c.secs { std::thread::sleep(Duration::from_millis(5)); }
    } else { std::thread::sleep(Duration::from_secs_f64(s.c.secs)); }
    let (b, secs) = (s.done.load(Relaxed), t.elapsed().as_secs_f64());
    s.phase.store(2, Relaxed);
    s.stop.store(true, Relaxed);
    say("END");
    for h in hs { let _ = h.join(); }
    report(&s, b - a, secs, "");
}

async fn rate(s: Arc<Shared>) -> Res<()> {
    let ((mut io, req), mut rd) = (open(&s).await?, Rd::new());
    let step = Duration::from_secs_f64(1.0 / s.c.rate);
    let warm = (s.c.warm * s.c.rate) as u32;
    let total = warm + (s.c.secs * s.c.rate) as u32;
    let (t0, mut lat, mut w0) = (Instant::now(), Vec::new(), Instant::now());
    for i in 0..total {
        if i == warm { s.phase.store(1, Relaxed); w0 = Instant::now(); say("START"); }
        let due = t0 + step * i;
        // Late because the previous reply was slow: count from the due time.
        let from = if Instant::now() > due + Duration::from_micros(200) { due } else {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            Instant::now()
        };
        io.write_all(&req).await?;
        io.flush().await?;
        let (n, keep) = rd.response(io.as_mut()).await?;
        finish(&s, &mut lat, from, n);
        if !keep { io = open(&s).await?.0; rd.a = 0; rd.b = 0; }
    }
    let secs = w0.elapsed().as_secs_f64();
    say("END");
    *s.lat.lock().unwrap() = lat;
    report(&s, (total - warm) as u64, secs, "");
    Ok(())
}

async fn download(s: Arc<Shared>) -> Res<()> {
    let ((mut io, req), mut rd) = (open(&s).await?, Rd::new());
    say("START");
    let t = Instant::now();
    io.write_all(&req).await?;
    io.flush().await?;
    rd.fill(io.as_mut()).await?;
    let ttfb = t.elapsed().as_secs_f64();
    let (n, _) = rd.response(io.as_mut()).await?;
    let secs = t.elapsed().as_secs_f64();
    say("END");
    s.bytes.store(n, Relaxed);
    report(&s, 1, secs, &format!(",\"mb_s\":{:.1},\"ttfb_s\":{ttfb:.4}", n as f64 / 1e6 / secs));
    Ok(())
}

async fn idle(s: Arc<Shared>) -> Res<()> {
    let wait = || { let mut l = String::new(); std::io::stdin().lock().read_line(&mut l).unwrap(); };
    let mut all = Vec::new();
    let t = Instant::now();
    let mut left = s.c.conns;
    while left > 0 { // batches of 16
        let k = left.min(16);
        left -= k;
        let hs: Vec<_> = (0..k).map(|_| { let s = s.clone(); tokio::spawn(async move { open(&s).await }) }).collect();
        for h in hs { match h.await? { Ok(io) => all.push(io), Err(e) => s.fail(&e) } }
    }
    let opened = all.len();
    say("READY handshakes");
    wait();
    let mut ok = 0u64;
    for (io, req) in all.iter_mut() {
        let r: Res<()> = async {
            io.write_all(req).await?;
            io.flush().await?;
            Rd { buf: vec![0; 8192], a: 0, b: 0 }.response(io.as_mut()).await?;
            Ok(())
        }.await;
        match r { Ok(()) => ok += 1, Err(e) => s.fail(&e) }
    }
    say("READY requests");
    wait();
    report(&s, ok, t.elapsed().as_secs_f64(), &format!(",\"opened\":{opened}"));
    Ok(())
}

fn main() {
    let c = parse_args();
    let req = request(&c, &c.host).into();
    let s = Arc::new(Shared { tls: TlsConnector::from(tls_config(&c)), req, phase: AtomicU8::new(0),
        done: AtomicU64::new(0), errors: AtomicU64::new(0), bytes: AtomicU64::new(0), conns: AtomicU64::new(0),
        lat: Mutex::new(Vec::new()), info: Mutex::new(String::new()), errmsg: Mutex::new(String::new()), stop: AtomicBool::new(false), c });
    let r = match s.c.mode.as_str() {
        "keepalive" | "handshake" => { closed_loop(s.clone()); Ok(()) }
        "rate" => rt().block_on(rate(s.clone())),
        "download" => rt().block_on(download(s.clone())),
        "idle" => rt().block_on(idle(s.clone())),
        m => panic!("mode {m}"),
    };
    if let Err(e) = r { s.fail(&e); report(&s, s.done.load(Relaxed), 1.0, ""); }
}
