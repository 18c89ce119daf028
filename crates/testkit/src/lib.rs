//! The independent peer that wirescope is tested against: origins, clients and certificate authorities on loopback.
//!
//! What enters: what a test wants served, broken or sent. What leaves: sockets on `127.0.0.1` with port 0, and a
//! record of what arrived there. What it does not know: the engine, its store and its tools. It shares no code
//! with them, so that both cannot be wrong in the same way.
//!
//! Every task is owned by the value that started it and ends when that value is dropped. Every read has a
//! deadline ([`DEADLINE`]), so a test fails instead of hanging.
#![expect(
    clippy::missing_errors_doc,
    reason = "every error here is the socket's, the handshake's or the peer's"
)]

mod body;
mod ca;
mod deadline;
mod deflate;
mod frame;
mod h2_origin;
mod http_client;
mod origin;
mod parent;
mod proxy_client;
mod raw_client;
mod raw_origin;
mod socks_client;
mod tasks;
mod websocket;

pub use body::{Body, Checksum, full, pattern, pattern_bytes};
pub use ca::{Leaf, TestCa, client_config};
pub use deadline::{DEADLINE, within};
pub use frame::{Frame, Opcode};
pub use h2_origin::H2Origin;
pub use http_client::{Answer, HttpClient};
pub use origin::{Counts, Origin, OriginBuilder, Seen};
pub use parent::{Parent, ParentBuilder, ParentKind};
pub use proxy_client::ProxyClient;
pub use raw_client::RawClient;
pub use raw_origin::{RawOrigin, Step};
pub use socks_client::SocksClient;
pub use websocket::DeflateSocket;
