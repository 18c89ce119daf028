//! SOCKS, as a server: version 5 (RFC 1928) with user names and passwords (RFC 1929), 4 and 4a. Only CONNECT; what it
//! opens is a tunnel like any other.

mod parse;
mod reply;
mod serve;

pub(crate) use serve::{is_socks, serve};

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use parse::{Parsed, greeting, login, request};
