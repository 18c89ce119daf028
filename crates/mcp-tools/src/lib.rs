#![doc = include_str!("../README.md")]
//!
//! What enters: a [`Config`], and the calls of MCP clients. What leaves: a [`Server`] to be served over whatever
//! transport, and [`tools_markdown`], the document of every tool. It knows no command line and no transport.
#![forbid(unsafe_code)]

mod aggregate;
mod arguments;
mod body;
mod budget;
mod captures;
mod catalogue;
mod columns;
mod config;
mod confine;
mod detail;
mod engine;
mod error;
mod hits;
mod item;
mod live;
mod markdown;
mod overview;
mod parts;
mod persistence;
mod processes;
mod recovery;
mod resources;
mod schema;
mod scoped;
mod server;
mod shown;
mod slices;
#[cfg(test)]
mod tests;
mod toolbox;
mod tools;
mod toolsets;
mod view;

pub use capture_store::{OnDiskFailure, RecorderConfig, SyncPolicy};
pub use client_setup::StateDir;
pub use config::Config;
pub use proxy_core::AddressRange;
pub use server::{Server, output_schemas, tools_markdown};
pub use toolsets::{Toolset, Toolsets, UnknownToolset};
