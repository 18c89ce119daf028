//! The store from outside: events in, answers out, over real files.

#[cfg(test)]
mod support;

mod record;
