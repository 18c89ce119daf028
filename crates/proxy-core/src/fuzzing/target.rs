//! The table of targets.

use super::{detection, http1, http2, seeds, socks, websocket};

/// One function to fuzz.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The name of the fuzz target.
    pub name: &'static str,
    /// Takes any bytes.
    pub run: fn(&[u8]),
    /// Bytes that lead deep into it.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// Every function there is to fuzz.
pub const TARGETS: &[Target] = &[
    Target { name: "detection", run: detection::detection, seeds: seeds::openings },
    Target { name: "client_hello", run: detection::client_hello, seeds: seeds::hellos },
    Target { name: "authority", run: detection::authority, seeds: seeds::authorities },
    Target { name: "http1_requests", run: http1::requests, seeds: seeds::requests },
    Target { name: "http1_responses", run: http1::responses, seeds: seeds::responses },
    Target { name: "http1_chunked", run: http1::chunked, seeds: seeds::chunked },
    Target { name: "http2_requests", run: http2::requests, seeds: seeds::http2_requests },
    Target { name: "http2_responses", run: http2::responses, seeds: seeds::http2_responses },
    Target { name: "hpack", run: http2::blocks, seeds: seeds::blocks },
    Target { name: "socks", run: socks::messages, seeds: seeds::socks },
    Target { name: "websocket", run: websocket::messages, seeds: seeds::frames },
];

/// Runs the target of this name.
///
/// # Panics
/// When there is none, or one of its properties does not hold.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    assert!(target.is_some(), "there is no fuzz target {name}");
    if let Some(target) = target {
        (target.run)(data);
    }
}
