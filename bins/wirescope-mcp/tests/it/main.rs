//! The built server, driven by rmcp's own client over standard input and output, with real traffic through its proxy.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests say what they expect")]

mod agent;
mod captures;
mod charles;
#[cfg(unix)]
mod clients;
mod commands;
mod explaining;
mod explaining_tls;
mod hostile;
mod http;
mod inferring;
mod lifecycle;
mod masks;
mod processes;
mod protocol;
mod questions;
mod refusals;
mod replays;
mod rules;
mod running;
mod secrets;
mod sending;
mod served;
mod sessions;
mod shop;
mod snapshots;
mod toolsets;
mod tour;
mod traffic;
mod transparent;
mod waiting;
