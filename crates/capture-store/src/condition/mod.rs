//! Typed conditions on exchanges: what the filter language ([`crate::filter`]) compiles to, and what programs build by
//! hand. One function, `evaluate::holds`, says what a condition means; the database only narrows down what it is asked
//! about.

mod evaluate;
mod field;
mod network;
mod pattern;
mod tree;

pub(crate) use evaluate::{Subject, holds, listener_name, path};
pub use field::{NumberField, PeerSide, TextField};
pub use network::Network;
pub use pattern::{Pattern, PatternError};
pub use tree::{Condition, Cost, StateFilter};
