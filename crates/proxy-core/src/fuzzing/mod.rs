//! The one door for fuzzers: every parser of hostile bytes as a function that holds its properties and panics where one
//! does not hold. No part of the library's interface.
//!
//! What holds everywhere: no panic, no loop without progress, and no difference made by where the network cuts the
//! stream. `tests.rs` runs the same functions over mutated seeds in `cargo test`; `fuzz/` runs them under libFuzzer.

mod cuts;
mod detection;
pub mod hot;
mod http1;
mod http2;
mod peer;
mod seeds;
mod socks;
mod target;
mod websocket;

pub use target::{TARGETS, Target, run};

#[cfg(test)]
mod tests;
