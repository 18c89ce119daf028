//! The HTTP/2 legs (RFC 9113), both on the `h2` crate: [`Downstream`] faces the client, [`Upstream`] faces upstream.
//!
//! What enters: a connection that agreed on HTTP/2, and heads and pieces to write. What leaves: heads as they were
//! received, pieces of bodies in wire order, resets with their codes. What it does not know: exchanges, rules, the
//! other side. `docs/design/002-http2-legs.md` says why it stands on `h2` itself, and what that costs.
//!
//! Every future here is cancel safe unless its doc says otherwise. A stream is cancelled (RST_STREAM with CANCEL,
//! or NO_ERROR when the response was whole) once every handle to it is dropped before both directions ended:
//! dropping one of them alone sends nothing.

mod body;
mod downstream;
mod fault;
mod fields;
mod heads;
mod settings;
mod upstream;
mod writer;

#[cfg(test)]
mod tests;

pub(crate) use body::BodyReader;
pub(crate) use downstream::{Downstream, DownstreamError, Incoming, Responder};
pub(crate) use settings::Settings;
pub(crate) use upstream::{ResponseReader, SendError, Upstream};
pub(crate) use writer::{BodyToCome, Writer};
