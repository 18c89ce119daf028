//! What `proxy-core` can be told, as command-line flags: parent proxies, TLS, time-outs, a file of rules that is
//! watched, and a configuration file with flags by name.
//!
//! What enters: arguments, and the files they name. What leaves: a `ProxyBuilder` that was told. What it does not know:
//! what a program does with its proxy, HAR, MCP. The feature `recording` adds the flags of a capture-store's recorder.
//!
//! ```
//! use clap::Parser;
//! use proxy_core::{CertificateAuthority, Proxy};
//! use proxy_flags::UpstreamFlags;
//!
//! #[derive(Parser)]
//! struct Cli {
//!     #[command(flatten)]
//!     upstream: UpstreamFlags,
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! let cli = Cli::parse_from(["my-proxy", "--upstream", "http://127.0.0.1:3128", "--block-private"]);
//! let ca = CertificateAuthority::load_or_create(directory.path())?;
//! let builder = cli.upstream.apply(Proxy::builder(ca))?;
//! # drop(builder);
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod config_file;
mod error;
#[cfg(feature = "recording")]
mod keeping;
mod processes;
mod roads;
mod rules_file;
mod seconds;
mod threads;
mod tls;
mod upstream;

pub use config_file::{Refused, parse};
pub use error::FlagError;
#[cfg(feature = "recording")]
pub use keeping::KeepingFlags;
pub use processes::ProcessFlags;
pub use roads::{RoadFlags, TimeoutFlags};
pub use rules_file::{Reloaded, RulesFile, RulesFlags};
pub use threads::ThreadFlags;
pub use tls::TlsFlags;
pub use upstream::UpstreamFlags;
