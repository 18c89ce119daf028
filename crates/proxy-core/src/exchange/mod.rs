//! The life of an exchange, from the head that was read to the one ending it gets.
//!
//! Start in [`run`](mod@run): it is the whole story. `forward` decides, purely, what the other side gets to see;
//! `upload` and `download` are the two halves that go on at the same time; `ledger` keeps the account and tells the
//! observers; `relay` carries what was upgraded. Where somebody changes traffic, `desk` is where a message lies while it is
//! looked at, and `flow` what its body goes through; `ruled` is an exchange's way through the rules.

mod broken;
mod desk;
mod download;
mod flow;
pub(crate) mod forward;
mod intercept;
pub(crate) mod ledger;
pub(crate) mod local;
mod messages;
pub(crate) mod pace;
mod patience;
mod pause;
pub(crate) mod relay;
mod ruled;
pub(crate) mod run;
mod steps;
mod upload;
