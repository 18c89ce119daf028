//! A web shop's traffic of two days, the same on every run, with answers planted in it.

use std::{
    path::Path,
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use capture_store::{Exchange, ExchangeState, ImportedExchange, Store, StoreConfig};
use proxy_core::{Failure, FailureKind, Headers, RequestHead, ResponseHead, Scheme};
use serde_json::json;

/// Exchanges of today's session.
pub(crate) const EXCHANGES: u64 = 5_000;
/// When today's session began, on the minute.
const TODAY_MS: u64 = 1_790_000_040_000;
/// The customer whose address goes where it should not.
pub(crate) const EMAIL: &str = "maria.keller@example.test";
/// The token that is traced.
pub(crate) const TOKEN: &str = "shp_8Kx2Vq7LmT4bNcR1yZ0w";

/// What was planted, to be found.
#[derive(Debug, Default)]
pub(crate) struct Planted {
    /// Requests to submit an order that failed with 500.
    pub(crate) failed_submits: u64,
    /// Requests to a host that does not resolve.
    pub(crate) unresolved: u64,
    /// The id of the response that issued the token.
    pub(crate) issuer: String,
    /// Requests that sent the token to somebody else.
    pub(crate) leaked: u64,
    /// Requests that told somebody else the address.
    pub(crate) told: u64,
    /// The id of the exchange with the product that costs nothing, and the product.
    pub(crate) free: (String, String),
    /// Responses that may not be cached though they should.
    pub(crate) uncached: u64,
    /// Requests to the old interface by the old app.
    pub(crate) old: u64,
    /// The minute in which most failed, and how many.
    pub(crate) burst: (u64, u64),
    /// Answers that have the new checkout on.
    pub(crate) enabled: u64,
}

/// Writes both sessions into a store: `s1` is yesterday, `s2` today.
pub(crate) fn write(directory: &Path) -> Planted {
    let store = Store::open(directory, StoreConfig::default()).unwrap();
    let mut yesterday = store.import("yesterday", None).unwrap();
    for index in 0..EXCHANGES / 2 {
        let mut dice = Dice(index);
        yesterday.add(browsing(index, &mut dice, TODAY_MS - 86_400_000, 80).imported()).unwrap();
    }
    yesterday.finish().unwrap();
    let mut today = store.import("today", None).unwrap();
    let mut planted = Planted::default();
    for index in 0..EXCHANGES {
        let mut dice = Dice(index + 1_000_000);
        let made =
            planted_at(index, &mut planted).unwrap_or_else(|| browsing(index, &mut dice, TODAY_MS, 430));
        planted.enabled += u64::from(made.enabled);
        let id = today.add(made.imported()).unwrap().to_string();
        match index {
            500 => planted.issuer = id,
            2_222 => planted.free.0 = id,
            _ => {}
        }
    }
    today.finish().unwrap();
    planted
}

/// What is out of the ordinary.
fn planted_at(index: u64, planted: &mut Planted) -> Option<Made> {
    let at = at(TODAY_MS, index);
    let order = format!("https://api.shop.test/v2/orders/{}/submit", 70_000 + index);
    Some(match index {
        500 => Made::post(
            "https://auth.shop.test/oauth/token",
            at,
            "application/x-www-form-urlencoded",
            "grant_type=password",
        )
        .json(&json!({"access_token": TOKEN, "token_type": "bearer"})),
        2_222 => {
            planted.free.1 = "sku-77310".to_owned();
            let items = [
                json!({"sku": "sku-10001", "price": 1_990}),
                json!({"sku": "sku-77310", "price": 0, "title": "Voucher"}),
            ];
            Made::get("https://api.shop.test/v2/cart", at)
                .json(&json!({"cart": {"items": items, "currency": "EUR"}}))
        }
        // An outage of a minute, in which orders fail.
        3_000..=3_059 if index.is_multiple_of(2) => {
            planted.failed_submits += 1;
            planted.burst = (at / 60_000 * 60_000, planted.burst.1 + 1);
            Made::post(&order, at, "application/json", "{}").status(500)
        }
        4_000..=4_004 => retry(index - 4_000),
        _ if index % 97 == 1 => {
            planted.failed_submits += 1;
            Made::post(&order, at, "application/json", "{}").status(500)
        }
        _ if index % 211 == 3 => {
            planted.unresolved += 1;
            Made::get("https://legacy.shop.test/stock", at).failed(FailureKind::Dns)
        }
        _ if index % 301 == 5 && index > 500 => {
            planted.leaked += 1;
            Made::get(&format!("https://stats.vendor.test/hit?sid={TOKEN}&n={index}"), at).status(204)
        }
        _ if index % 401 == 7 => {
            planted.told += 1;
            let event = STANDARD.encode(format!("{{\"ev\":{index},\"user\":\"{EMAIL}\"}}"));
            Made::post("https://stats.vendor.test/batch", at, "text/plain", &format!("d={event}")).status(204)
        }
        _ if index % 307 == 11 => {
            planted.uncached += 1;
            Made::get(&format!("https://cdn.shop.test/fonts/{index}.woff2"), at)
        }
        _ if index % 83 == 13 => {
            planted.old += 1;
            Made::get(&format!("https://api.shop.test/v1/profile/{index}"), at)
                .sends("User-Agent", "shop-ios/3.9")
        }
        _ => return None,
    })
}

/// A payment that is tried five times, each wait twice the one before.
fn retry(attempt: u64) -> Made {
    let at = at(TODAY_MS, 4_000) + [0, 300, 800, 1_700, 3_400][usize::try_from(attempt).unwrap()];
    let made =
        Made::post("https://pay.shop.test/charges", at, "application/json", "{\"amount\":4990}").took(100);
    made.status(if attempt < 4 { 503 } else { 201 })
}

/// What customers do all day; `search_ms` is about how long a search takes.
fn browsing(index: u64, dice: &mut Dice, start: u64, search_ms: u64) -> Made {
    let at = at(start, index);
    let agent = ["shop-web/12.4", "shop-ios/4.1", "shop-android/4.0"][dice.roll(3)];
    let some = dice.roll(40) as u64;
    let id = 10_000 + dice.roll(900) as u64;
    let made = match dice.roll(10) {
        0..=2 => Made::get(&format!("https://api.shop.test/v2/products/{id}"), at)
            .took(20 + some)
            .json(&json!({"sku": format!("sku-{id}"), "price": id / 7, "stock": some})),
        3 | 4 => Made::get(&format!("https://api.shop.test/v2/search?q=word{some}&page=1"), at)
            .took(search_ms + some)
            .json(&json!({"hits": (0..some % 9).map(|n| json!({"sku": format!("sku-{}", id + n)})).collect::<Vec<_>>()})),
        5 => {
            let mut made = Made::get("https://api.shop.test/v2/config", at).took(8 + some % 5);
            made.enabled = index.is_multiple_of(9);
            let flags = json!({"checkout": if made.enabled { "new" } else { "old" }, "banner": some});
            made.json(&json!({"flags": flags}))
        }
        6 => Made::post(&format!("https://api.shop.test/v2/orders/{id}/items"), at, "application/json", "{\"qty\":1}")
            .took(40 + some)
            .status(201),
        _ => Made::get(&format!("https://cdn.shop.test/img/{id}.png"), at)
            .took(5 + some % 7)
            .answers("Cache-Control", "max-age=86400")
            .body("image/png", vec![0x89; 200 + dice.roll(400)]),
    };
    let signed_in = index > 600 && made.url.contains("api.shop.test") && start == TODAY_MS;
    let made = made.sends("User-Agent", agent);
    if signed_in { made.sends("Authorization", &format!("Bearer {TOKEN}")) } else { made }
}

/// One begins each second.
fn at(start: u64, index: u64) -> u64 {
    start + index * 1_000
}

/// An exchange to be.
struct Made {
    method: &'static str,
    url: String,
    at: u64,
    ms: u64,
    status: u16,
    failure: Option<FailureKind>,
    request: (Headers, Bytes),
    response: (Headers, Bytes),
    /// Whether its answer has the new checkout on.
    enabled: bool,
}

impl Made {
    fn get(url: &str, at: u64) -> Self {
        Self {
            method: "GET",
            url: url.to_owned(),
            at,
            ms: 30,
            status: 200,
            failure: None,
            request: (Headers::new(), Bytes::new()),
            response: (Headers::new(), Bytes::new()),
            enabled: false,
        }
    }

    fn post(url: &str, at: u64, kind: &'static str, body: &str) -> Self {
        let mut made = Self { method: "POST", ..Self::get(url, at) };
        made.request.0.push("Content-Type", kind);
        made.request.1 = body.to_owned().into();
        made
    }

    fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    fn took(mut self, ms: u64) -> Self {
        self.ms = ms;
        self
    }

    fn failed(mut self, kind: FailureKind) -> Self {
        self.failure = Some(kind);
        self
    }

    fn sends(mut self, name: &'static str, value: &str) -> Self {
        self.request.0.push(name, value.to_owned());
        self
    }

    fn answers(mut self, name: &'static str, value: &'static str) -> Self {
        self.response.0.push(name, value);
        self
    }

    fn body(mut self, kind: &'static str, body: impl Into<Bytes>) -> Self {
        self.response.0.push("Content-Type", kind);
        self.response.1 = body.into();
        self
    }

    fn json(self, body: &serde_json::Value) -> Self {
        self.body("application/json", body.to_string())
    }

    fn imported(self) -> ImportedExchange {
        let rest = self.url.strip_prefix("https://").unwrap();
        let (authority, target) = rest.split_once('/').unwrap();
        let head = RequestHead {
            method: self.method.parse().unwrap(),
            scheme: Scheme::Https,
            authority: authority.to_owned(),
            target: format!("/{target}"),
            version: http::Version::HTTP_11,
            headers: self.request.0,
        };
        let mut exchange = Exchange::new(head, SystemTime::UNIX_EPOCH + Duration::from_millis(self.at));
        exchange.timings.total = Duration::from_millis(self.ms);
        exchange.timings.wait = exchange.timings.total / 2;
        (exchange.request_body.wire_bytes, exchange.request_body.complete) =
            (self.request.1.len() as u64, true);
        (exchange.response_body.wire_bytes, exchange.response_body.complete) =
            (self.response.1.len() as u64, true);
        exchange.summary.state = match self.failure {
            Some(kind) => ExchangeState::Failed(Failure::new(kind, "no such host")),
            None => {
                let mut response = ResponseHead::new(http::StatusCode::from_u16(self.status).unwrap());
                response.headers = self.response.0;
                exchange.response = Some(response);
                ExchangeState::Response
            }
        };
        let body = |bytes: Bytes| (!bytes.is_empty()).then_some(bytes);
        ImportedExchange {
            exchange,
            request_body: body(self.request.1).map(Into::into),
            response_body: body(self.response.1).map(Into::into),
            messages: capture_store::ImportMessages::default(),
        }
    }
}

/// A generator of its own (SplitMix64), so that the sessions are the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % sides as u64).unwrap()
    }
}
