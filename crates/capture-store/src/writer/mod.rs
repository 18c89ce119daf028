//! The writer's thread: takes events from the queue, assembles exchanges, and commits them in groups.
//!
//! Start at [`thread`]; a commit is in [`commit`], what the disk does to us in [`disk`] and [`patience`].

mod commit;
mod disk;
mod patience;
mod press;
mod session;
mod thread;

pub(crate) use thread::{Command, Writer};
