//! The engine over real sockets: real clients, real origins, and peers that misbehave.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests say what they expect")]

mod admission;
mod bodies;
mod chaos;
mod curl;
mod dialling;
mod edited;
mod edits_under_load;
mod endings;
mod endurance;
mod h2spec;
mod heads;
mod hostile;
mod http2;
mod http2_tunnels;
mod keep_alive;
mod lab;
mod lifecycle;
mod listeners;
mod memory;
mod messages;
mod parents;
mod paused;
mod resting;
mod rewritten;
mod ruled;
mod rules_of_http1;
mod secured;
mod sending;
mod smuggling;
mod socks;
mod stalls;
mod threads;
mod trust;
mod tunnels;
mod upgrades;
