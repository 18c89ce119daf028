//! The writer's thread: takes events from the queue, assembles exchanges, and commits them in groups.
//!
//! Start at [`thread`]; a commit is in [`commit`], [`transaction`] and [`settle`], what
//! comes whole in [`staged`], what the disk does to us in [`disk`], [`patience`] and
//! [`stall`], what it makes us drop in [`unwritten`], what is done beside it in [`checkpoint`] and [`press`], and what is
//! given back when there is nothing to do in [`rest`].

mod certificates;
mod checkpoint;
mod commit;
mod disk;
mod facts;
mod patience;
mod press;
mod rest;
mod session;
mod settle;
mod staged;
mod stall;
#[cfg(test)]
mod tests;
mod thread;
mod transaction;
mod unwritten;

pub(crate) use patience::Stage;
pub(crate) use thread::{Command, Writer};
