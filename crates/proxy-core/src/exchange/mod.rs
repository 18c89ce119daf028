//! The life of an exchange, from the head that was read to the one ending it gets.
//!
//! Start in [`run`](mod@run): it is the whole story. `forward` decides, purely, what the other side gets to see;
//! `ledger` keeps the account and tells the observers; `relay` carries what was upgraded.

pub(crate) mod forward;
pub(crate) mod ledger;
pub(crate) mod local;
pub(crate) mod relay;
pub(crate) mod run;
mod send;
