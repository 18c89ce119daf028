//! The HTTP/2 legs (RFC 9113), on a codec of our own: [`Downstream`] faces the client, [`Upstream`] faces upstream.
//!
//! What enters: a connection that agreed on HTTP/2, and heads and pieces to write. What leaves: heads as they were
//! received, pieces of bodies in wire order, resets with their codes. What it does not know: exchanges, rules, the
//! other side. `docs/design/012-http2-codec.md` says why it is our own, and how it is put together: a [`core::Core`]
//! under a lock that takes frames in and makes frames, a [`connection::Connection`] that moves bytes, and handles.
//!
//! Every future here is cancel safe unless its doc says otherwise. A stream is cancelled (RST_STREAM with CANCEL,
//! or NO_ERROR when the response was whole) once every handle to it is dropped before both directions ended:
//! dropping one of them alone sends nothing.

mod arrive;
mod body;
mod calm;
mod connection;
mod core;
mod downstream;
mod fault;
mod fields;
mod fingerprint;
mod frame;
mod handle;
mod heads;
mod hpack;
mod receive;
mod send;
mod settings;
mod stream;
mod tunnel;
mod upstream;
mod wakes;
mod writer;

#[cfg(test)]
mod tests;

pub(crate) use crate::head::PROTOCOL;
pub(crate) use body::BodyReader;
pub(crate) use downstream::{Downstream, DownstreamError, Incoming, RefusedRequest, Responder};
pub(crate) use settings::Settings;
pub(crate) use tunnel::TunnelIo;
pub(crate) use upstream::{ResponseReader, SendError, Upstream};
pub(crate) use writer::{BodyToCome, Writer};
