//! How two exchanges differ, and how two sessions do.
//!
//! Exchanges are compared by meaning: fields by name in whatever case and order, cookies and their attributes one by one,
//! JSON by structure, forms by field, texts by line, anything else by its bytes. What differs by its nature (times, ids,
//! nonces, tokens, framing) is recognised and counted apart ([`Volatile`]). Each difference has a place, in the words of
//! [`Field`](crate::Field): `status`, `param.page`, `req.header.accept`, `resp.json./user/name`.
//!
//! Sessions are compared by endpoint: method, host and path template. [`sessions`] gives the figures of each endpoint on both
//! sides, [`endpoint`] pairs the exchanges of one and tells where they differ.

mod body;
mod difference;
mod exchange;
mod heads;
mod json;
mod pairs;
mod sessions;
#[cfg(test)]
mod tests;
mod text;
mod volatile;

pub use difference::{Difference, ExchangeDiff, Options, Shown};
pub use exchange::exchanges;
pub use pairs::{EndpointDiff, Pair, PlaceDiff, endpoint};
pub use sessions::{
    Endpoint, EndpointFigures, Hosts, SessionsDiff, SessionsOptions, Side, SideFigures, Verdict, sessions,
};
pub use volatile::Volatile;
