//! An HTTP(S) intercepting proxy engine.
//!
//! What enters: a listening address, a [`CertificateAuthority`], and whoever wants to look ([`Observer`]) or
//! change ([`Interceptor`]). What leaves: every exchange, relayed as it was received and told as a run of
//! [`Event`]s that ends exactly once. What it does not know: storage, HAR, MCP, command lines.

#[allow(dead_code, unused_imports, reason = "wired by the listener")]
mod ca;
mod calendar;
#[allow(dead_code, unused_imports, reason = "wired by the listener")]
mod client_hello;
#[allow(dead_code, unused_imports, reason = "wired by the listener")]
mod detect;
#[allow(dead_code, unused_imports, reason = "wired by the exchange")]
mod dial;
pub mod error;
pub mod event;
pub mod failure;
pub mod head;
#[cfg_attr(not(test), expect(dead_code, unused_imports, reason = "the exchange that drives it lands next"))]
mod http1;
#[cfg_attr(not(test), expect(dead_code, unused_imports, reason = "the exchange that drives it lands next"))]
mod http2;
pub mod interceptor;
pub mod limits;
pub mod observer;
#[allow(dead_code, unused_imports, reason = "wired by the listener")]
mod peek;
#[allow(dead_code, unused_imports, reason = "wired by the listener")]
mod setup_page;
#[allow(dead_code, unused_imports, reason = "wired by the listener")]
mod tls;
#[allow(dead_code, unused_imports, reason = "wired by the relay of upgrades")]
mod websocket;
mod wire;

pub use ca::CertificateAuthority;
pub use error::{Error, ErrorKind};
pub use event::{
    ClientFacts, ConnectionId, Direction, Ending, Event, EventKind, ExchangeId, MessageKind, Outcome,
    ResponseSource, Sizes, Timings, TlsFacts, UpstreamFacts, WebSocketMessage,
};
pub use failure::{Failure, FailureKind, Side};
pub use head::{Header, Headers, RequestHead, ResponseHead, Scheme};
pub use interceptor::{Interceptor, Verdict};
pub use limits::{Limits, Timeouts};
pub use observer::Observer;
pub use tls::{HostPattern, UpstreamTrust};
