#![doc = include_str!("../README.md")]
//!
//! What enters: a [`Config`], and the calls of MCP clients. What leaves: a [`Server`] to be served over whatever
//! transport, of which [`http`] is one, and [`tools_markdown`], the document of every tool. It knows no command line.
#![forbid(unsafe_code)]

mod aggregate;
mod arguments;
mod body;
mod brief;
mod budget;
mod call;
mod cap;
mod captures;
mod catalogue;
mod client;
mod columns;
mod completion;
mod config;
mod confine;
mod curl;
mod detail;
mod engine;
mod error;
mod feed;
mod hits;
pub mod http;
mod item;
mod live;
mod markdown;
mod overview;
mod parts;
mod persistence;
mod processes;
mod progress;
mod prompts;
mod recovery;
mod report;
mod resources;
mod rows;
mod schema;
mod scoped;
mod secrets;
mod server;
mod shown;
mod slices;
mod subscriptions;
#[cfg(test)]
mod tests;
mod toolbox;
mod tools;
mod toolsets;
mod view;

pub use capture_store::{RecorderConfig, secrets::Secrets};
pub use client_setup::StateDir;
pub use config::Config;
pub use feed::{LogFeed, LogLevel};
pub use proxy_core::AddressRange;
pub use server::{Server, output_schemas, tools_markdown};
pub use toolsets::{Toolset, Toolsets, UnknownToolset};
