//! TLS on both sides: accepting clients with leafs of our CA, and connecting to upstream under its trust.

mod acceptor;
mod aia;
mod alert;
mod certificates;
mod client_certificate;
mod connector;
mod facts;
mod hello_tap;
mod interception;
mod intermediates;
mod key_log;
mod options;
mod provider;
mod stream;
mod tickets;
mod trust;
mod verify;
mod versions;

pub(crate) use acceptor::{Acceptor, Handshake, NotAccepted};
pub(crate) use aia::learn;
pub use client_certificate::{ClientCertificate, ClientCertificateFiles, ParseClientCertificateError};
pub(crate) use connector::{Connected, Connector, NotConnected, is_http, upstream_alpn};
pub(crate) use facts::of_hello as facts_of_hello;
pub(crate) use interception::{Interception, Passing};
pub use key_log::KeyLog;
pub use options::{AutoPassthrough, TlsOptions};
pub(crate) use stream::Refusal;
pub use trust::UpstreamTrust;
pub use versions::{ParseTlsVersionError, TlsVersion, TlsVersions};

#[cfg(test)]
mod tests;
