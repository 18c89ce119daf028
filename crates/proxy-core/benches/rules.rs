//! What rules cost a request that they do not match: none, a thousand that an index finds, a thousand that it does not.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::{
    hint::black_box,
    time::{Instant, SystemTime},
};

use http::{Method, Version};
use proxy_core::{
    ClientFacts, ConnectionId, Headers, RequestHead, Scheme,
    rules::{Asked, Course, Rule, Rules, Seen},
};

/// Requests of one measurement, and how many measurements there are; the fastest counts.
const REQUESTS: u32 = 5_000;
const ROUNDS: u32 = 15;

/// The matcher of the n-th rule, in JSON.
type Matchers<'m> = &'m dyn Fn(usize) -> String;

fn main() {
    let mixed = |n: usize| match n % 5 {
        0 => format!(r#"{{"host": "host{n}.example.org"}}"#),
        1 => format!(r#"{{"host": "*.domain{n}.example.org", "method": "GET"}}"#),
        2 => format!(r#"{{"path": "/service{n}/*"}}"#),
        3 => format!(r#"{{"url": {{"regex": "/v[0-9]+/resource{n}/\\w+[?]"}}}}"#),
        _ => format!(r#"{{"url": {{"contains": "token={n}x"}}}}"#),
    };
    let sets: [(&str, usize, Matchers<'_>); 6] = [
        ("no rule", 0, &mixed),
        ("1,000 by host, domain, path, URL", 1_000, &mixed),
        ("1,000 by path regex", 1_000, &|n| format!(r#"{{"path": {{"regex": "^/api/v[0-9]+/thing{n}$"}}}}"#)),
        ("1,000 by host glob", 1_000, &|n| format!(r#"{{"host": "api-*.region{n}.example.org"}}"#)),
        ("1,000 by method", 1_000, &|_| r#"{"method": "PURGE"}"#.to_owned()),
        ("1,000 by header", 1_000, &|n| format!(r#"{{"headers": {{"x-tenant": "tenant{n}"}}}}"#)),
    ];
    for (name, count, when) in sets {
        let rules = Rules::new();
        let all = (0..count).map(|n| {
            let json = format!(r#"{{"when": {}, "then": [{{"mock": {{}}}}]}}"#, when(n));
            Rule::from_json(&json).unwrap()
        });
        rules.replace_all(all.collect()).unwrap();
        println!("{name:<36} {:>9.3} us a request", measure(&rules));
    }
}

/// Microseconds for one request, in the fastest round.
fn measure(rules: &Rules) -> f64 {
    let (head, client) = request();
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        for _ in 0..REQUESTS {
            let asked = Asked { head: black_box(&head), client: &client, body: Seen::NotRead };
            if let Some(mut course) = Course::begin(rules, &asked)
                && !course.needs_request_body(&asked)
            {
                black_box(course.request(&asked, SystemTime::UNIX_EPOCH));
            }
        }
        best = best.min(begin.elapsed().as_secs_f64() * 1e6 / f64::from(REQUESTS));
    }
    best
}

/// A request as browsers send it.
fn request() -> (RequestHead, ClientFacts) {
    let mut headers = Headers::new();
    for (name, value) in [
        ("Host", "www.example.com"),
        (
            "User-Agent",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0",
        ),
        ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
        ("Accept-Language", "en-GB,en;q=0.5"),
        ("Accept-Encoding", "gzip, deflate, br, zstd"),
        ("Referer", "https://www.example.com/catalogue/books"),
        ("Cookie", "session=0123456789abcdef; theme=dark; consent=yes"),
        ("X-Tenant", "nobody"),
        ("Sec-Fetch-Dest", "document"),
        ("Sec-Fetch-Mode", "navigate"),
        ("Cache-Control", "max-age=0"),
    ] {
        headers.push(name, value);
    }
    let head = RequestHead {
        method: Method::GET,
        scheme: Scheme::Https,
        authority: "www.example.com".to_owned(),
        target: "/catalogue/books/page/17?sort=price&order=asc&session=8f2d".to_owned(),
        version: Version::HTTP_11,
        headers,
    };
    let address = ([127, 0, 0, 1], 4711).into();
    (head, ClientFacts::new(ConnectionId(1), address, address))
}
