//! har-export over real stores and real files.
#![expect(clippy::unwrap_used, reason = "what fails in a helper of the tests fails the test")]

mod cases;
mod charles;
mod export;
mod files;
mod import;
mod options;
mod recorded;
mod same;
mod schema;
mod seed;
mod whole;
