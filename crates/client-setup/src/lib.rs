#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod error;
mod pem;
mod setup;
mod state_dir;
mod truststore;

pub use error::{Error, ErrorKind};
pub use setup::ClientSetup;
pub use state_dir::StateDir;
