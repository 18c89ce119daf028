//! The tools called directly, over a store of the test's own and events made by hand.

mod analysis;
mod captures;
mod detail;
mod handshakes;
mod lists;
pub(crate) mod support;
