//! HTTP/1.x on the wire, in both directions and on both legs (RFC 9112).
//!
//! What enters: bytes. What leaves: heads as they were sent (order, case and duplicates of the fields, the request
//! target and the reason phrase untouched) and bodies in pieces, and the same back into bytes. Everything that
//! decides is a pure state machine over a buffer; [`Reader`] and [`Writer`] are the thin async shells around them.
//! What it does not know: exchanges, connections, time. Timeouts and keep-alive are the caller's.
//!
//! A message whose end two recipients could see differently is refused, never repaired: that is what request
//! smuggling is made of (RFC 9112 section 11.2). docs/design/001-http1-codec.md tells why this is not hyper.

mod decode;
mod encode;
mod error;
mod fields;
mod framing;
mod hop;
mod lines;
mod parse;
mod reader;
mod target;
mod writer;

pub(crate) use decode::Decoder;
pub(crate) use encode::TargetForm;
pub(crate) use error::HeadError;
pub(crate) use fields::is_token;
pub(crate) use framing::{Encoding, Framing, request_framing, response_framing};
pub(crate) use hop::{is_host_right, is_stripped, keeps_alive, put_host_right, strip_hop_by_hop};
pub(crate) use parse::Defaults;
pub(crate) use reader::{HeadLimits, Reader};
pub(crate) use target::check_authority;
pub(crate) use writer::Writer;

#[cfg(test)]
mod tests;
