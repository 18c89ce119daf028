//! What the pure parts below an exchange cost: telling what is spoken, minting a leaf, passing a head on.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::{hint::black_box, time::Instant};

use proxy_core::{
    CertificateAuthority,
    fuzzing::hot::{Mint, detects, pass_request},
};

/// The fastest of so many rounds counts.
const ROUNDS: u32 = 15;

const REQUEST: &[u8] = b"GET /catalogue/books?page=2 HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux \
x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0\r\nAccept: text/html,application/xhtml+xml\r\n\
Accept-Language: en-GB,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nCookie: session=0123456789abcdef\r\n\
Sec-Fetch-Mode: navigate\r\nConnection: keep-alive\r\n\r\n";

fn main() {
    tell("detection: HTTP/1 request", 20_000, || assert!(detects(black_box(REQUEST))));
    tell("detection: HTTP/2 preface", 20_000, || {
        assert!(detects(black_box(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")));
    });
    tell("a request's head, read, checked and written", 20_000, || {
        assert!(pass_request(black_box(REQUEST)) > 300);
    });
    let mint = Mint::new(CertificateAuthority::in_memory().unwrap(), 1_000).unwrap();
    let mut number = 0_u64;
    tell("a leaf that is new", 50, || {
        number += 1;
        assert!(mint.leaf(&format!("host{number}.example.com")) > 0);
    });
    tell("a leaf that is remembered", 20_000, || assert!(mint.leaf(black_box("www.example.com")) > 0));
}

/// Runs `work` so many times a round, and tells the microseconds of one.
fn tell(what: &str, times: u32, mut work: impl FnMut()) {
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        (0..times).for_each(|_| work());
        best = best.min(begin.elapsed().as_secs_f64() * 1e6 / f64::from(times));
    }
    println!("{what:<46} {best:>9.3} us");
}
