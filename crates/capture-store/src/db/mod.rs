//! The database: rows in and out. No other module names SQLite.
//!
//! Start at [`schema`] for what is stored, at [`connection`] for how it is opened, at [`write`](mod@write) for the
//! path of a recorded exchange and at [`read`] for the way back.

mod blocks;
mod codes;
mod connection;
mod copy;
mod delete;
mod driver;
mod error;
mod facts;
mod filing;
mod filter;
mod functions;
mod gather;
mod posting;
mod probe;
mod range;
mod read;
mod recover;
mod schema;
mod segments;
mod sessions;
mod sql;
mod tally;
mod verify;
mod views;
mod write;

use codes::{int, uint};
pub(crate) use connection::{Connection, Mode, Opener, Tx};
pub(crate) use delete::Excess;
pub(crate) use error::DbError;
pub(crate) use facts::FactsPlace;
pub(crate) use filter::Filter;
pub(crate) use probe::Light;
pub(crate) use read::{BodyRow, BodySource, Content, Count};
pub(crate) use sessions::{NewSession, SessionDelta};
pub(crate) use sql::{Contents, Refused, run as run_sql};
pub(crate) use tally::Spans;
pub(crate) use verify::BodyCheck;
pub(crate) use write::{BodyContent, Columns, ExchangeRow, Text};
