//! Recorded requests sent again, and what came of it compared with what came of it then.
//!
//! [`prepare`] makes a request of a recorded exchange, byte for byte but for the [`Changes`] asked for, or tells why it
//! cannot ([`Skip`]). A [`Replay`] sends many through a [`Sender`](proxy_core::Sender): each attempt is an exchange of its
//! own, linked to the one it replays (`replay-of:e412`), and its response is compared with the recorded one.

mod body;
mod changes;
mod outcome;
mod prepare;
mod run;
mod send;
mod sent;
#[cfg(test)]
mod tests;

pub use changes::{Changes, ParseTargetError, Target};
pub use outcome::{Answer, Became, Outcome, Summary};
pub use prepare::{Prepared, Skip, prepare};
pub use run::Replay;
pub use send::Settings;
pub use sent::SentIndex;
