//! The tools from outside: against the contracts of the servers they stand in for.
#![expect(clippy::unwrap_used, reason = "tests say what they expect")]

mod contract;
