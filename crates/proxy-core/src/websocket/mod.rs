//! WebSocket messages, decoded beside the relay only to be recorded (docs/design/003-websocket-tap.md).
//!
//! What enters: the bytes of one direction of an upgraded connection, in pieces of any size, and what the 101
//! agreed on. What leaves: the messages they hold. The bytes themselves are relayed untouched by whoever calls;
//! the tap cannot delay, change or stop them.
//!
//! Only where a rule edits messages is a direction taken apart on its way, by `edit`
//! (docs/design/018-changing-bodies-and-streams.md).

mod edit;
mod extension;
mod frame;
mod inflate;
mod tap;

pub(crate) use edit::{MessageSplitter, Passing, frame};
pub(crate) use extension::{Negotiated, negotiated};
pub(crate) use tap::MessageTap;

#[cfg(test)]
mod tests;
