//! What recorded exchanges have in common, how they differ, and what API they speak.
//!
//! What enters: a `capture-store`. What leaves: groups with figures, differences, documents. What it does not know:
//! where exchanges come from, HAR, MCP, command lines.
//!
//! A [`Scope`] says which exchanges are looked at and walks over them; a [`Subject`] is one of them, read as far as it is
//! asked about; a [`Field`] is a part of it by name.

#![forbid(unsafe_code)]

pub mod diff;
pub mod explain;
pub mod group;
pub mod infer;
pub mod priority;
pub mod render;
pub mod replay;
pub mod trace;

mod enclosing;
mod field;
#[cfg(test)]
mod fixture;
mod form;
mod glance;
mod retries;
mod scope;
mod subject;

pub use enclosing::{Enclosing, enclosing};
pub use field::{Field, FieldError};
pub use glance::{Credential, ErrorGroup, Glance, glance};
pub use retries::{Attempt, Backoff, Retries, find_retries};
pub use scope::{Bounds, Scope, Walked};
pub use subject::{Subject, Text};
