//! Breakpoints: exchanges that wait for somebody to look at them, and what that somebody may do.
//!
//! What enters: exchanges that a rule's `breakpoint` pauses. What leaves: what is to become of them. Each pause has a
//! deadline and something that happens then, so nobody waits for ever; others go on meanwhile.

mod list;
mod paused;
mod resume;

pub use list::{BreakpointLimits, Breakpoints};
pub use paused::{ParsePauseIdError, PauseId, Paused};
pub use resume::{Edit, Resume, ResumeError};

#[cfg(test)]
mod tests;
