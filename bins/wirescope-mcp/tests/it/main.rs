//! The built server, driven by rmcp's own client over standard input and output, with real traffic through its proxy.

mod agent;
mod captures;
mod commands;
mod lifecycle;
mod refusals;
mod sessions;
mod traffic;
