#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod error;
mod pem;
mod setup;
mod truststore;

pub use error::{Error, ErrorKind};
pub use setup::ClientSetup;
