//! One module per command.

pub(crate) mod ca;
pub(crate) mod completions;
pub(crate) mod delete;
pub(crate) mod demo;
pub(crate) mod diff;
mod dispatch;
pub(crate) mod exec;
pub(crate) mod explain;
pub(crate) mod export;
mod formats;
pub(crate) mod import;
pub(crate) mod infer;
mod reference;
pub(crate) mod replay;
pub(crate) mod rules;
pub(crate) mod run;
pub(crate) mod search;
pub(crate) mod sessions;
pub(crate) mod show;
pub(crate) mod sql;

pub(crate) use dispatch::run;
