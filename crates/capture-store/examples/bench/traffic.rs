//! Exchanges to record: the same in every run.

use std::{
    net::Ipv4Addr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use capture_store::Recorder;
use proxy_core::{
    ClientFacts, ConnectionId, Ending, Event, EventKind, ExchangeId, Headers, Observer as _, Outcome,
    RequestHead, ResponseHead, ResponseSource, Scheme, Sizes, Timings,
};

/// Bytes of a small body.
pub(crate) const BODY_BYTES: usize = 2_048;
/// Where a body has its number, which makes it unlike all others.
const ID: std::ops::Range<usize> = 13..21;
/// What few bodies hold.
pub(crate) const NEEDLE: &str = "needle-in-the-haystack";
/// One body in so many holds it.
const NEEDLE_EVERY: u64 = 100_000;
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

/// A small generator, the same in every run.
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    pub(crate) fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % below
    }
}

/// Bodies and heads, one after the other.
pub(crate) struct Traffic {
    noise: Noise,
    bodies: Vec<Bytes>,
    client: Arc<ClientFacts>,
}

impl Traffic {
    /// Makes some thousand bodies before, so that the recorder is measured and not this.
    pub(crate) fn new(client: Arc<ClientFacts>) -> Self {
        let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
        let bodies = (0..4_096).map(|number| body(number, &mut noise)).collect();
        Self { noise, bodies, client }
    }

    /// Tells a recorder an exchange.
    pub(crate) fn tell(&mut self, recorder: &Recorder, number: u64) {
        // Each its own: the same ones would be stored once.
        let mut text = self.bodies[usize::try_from(number % 4_096).unwrap_or(0)].to_vec();
        text[ID].copy_from_slice(format!("{:08}", number % 100_000_000).as_bytes());
        if number % NEEDLE_EVERY == 77 {
            text.extend_from_slice(NEEDLE.as_bytes());
        }
        let head = request(number, &mut self.noise);
        let luck = self.noise.next(1_000);
        let tell = |kind| tell(recorder, number, kind);
        tell(EventKind::Request {
            client: self.client.clone(),
            head: Arc::new(head),
            started_at: SystemTime::now(),
        });
        tell(EventKind::RequestEnd);
        let status = match luck {
            0 => 503,
            1..=20 => 500,
            21..=80 => 404,
            _ => 200,
        };
        let mut head = ResponseHead::new(http::StatusCode::from_u16(status).unwrap_or_default());
        let kind = if luck.is_multiple_of(10) { "text/html; charset=utf-8" } else { "application/json" };
        head.headers.push("Content-Type", kind);
        head.headers.push("Date", "Sat, 21 Nov 2026 05:00:00 GMT");
        head.headers.push("Server", "nginx");
        tell(EventKind::Response { head: Arc::new(head), source: ResponseSource::Upstream });
        tell(EventKind::ResponseBody(text.into()));
        tell(ended());
    }
}

/// The client all of it comes from.
pub(crate) fn client() -> Arc<ClientFacts> {
    let at = |port| (Ipv4Addr::LOCALHOST, port).into();
    Arc::new(ClientFacts::new(ConnectionId(1), at(50_000), at(8_080)))
}

/// Tells a recorder what happens to an exchange.
pub(crate) fn tell(recorder: &Recorder, number: u64, kind: EventKind) {
    recorder.observe(&Event { exchange: ExchangeId(number), at: Duration::from_millis(3), kind });
}

/// The end of an exchange that was answered.
pub(crate) fn ended() -> EventKind {
    EventKind::Ended(Box::new(Ending::new(Outcome::Response, Timings::default(), Sizes::default())))
}

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

/// So many bytes of such bodies.
pub(crate) fn text(bytes: usize) -> Vec<u8> {
    let mut noise = Noise(11);
    let mut text = Vec::new();
    while text.len() < bytes {
        text.extend_from_slice(&body(noise.next(1_000_000), &mut noise));
    }
    text.truncate(bytes);
    text
}

pub(crate) fn request(number: u64, noise: &mut Noise) -> RequestHead {
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
