//! TLS on both sides: accepting clients with leafs of our CA, and connecting to upstream under its trust.

mod acceptor;
mod alert;
mod connector;
mod facts;
mod stream;
mod trust;
mod verify;

pub(crate) use acceptor::Acceptor;
pub(crate) use connector::{Connected, Connector, upstream_alpn};
pub(crate) use stream::Refusal;
pub use trust::UpstreamTrust;

#[cfg(test)]
mod tests;
