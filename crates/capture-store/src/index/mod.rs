//! An index of the texts of what was recorded: which exchanges can hold some bytes. It leaves out, and never decides:
//! what it does not leave out is looked at as if there were no index.
//!
//! It is made of segments, each of a run of seqs. A [`Draft`](segment::Draft) becomes a segment when enough exchanges
//! are together; [`build`](mod@build) fills drafts from the store, [`keeper`] does that in the background while little is
//! recorded, and [`narrow`] asks segments. Start at [`segment`] for what one consists of; the rows are in
//! `db::segments`.

mod build;
mod grams;
mod keeper;
mod narrow;
mod segment;
#[cfg(test)]
mod tests;

pub use build::IndexStatus;
pub(crate) use build::{Limits, Progress, is_untidy, step, tidy};
pub(crate) use keeper::Keeper;
pub(crate) use narrow::Narrow;
pub(crate) use segment::{Class, Docs, Segment, Written};
