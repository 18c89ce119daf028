//! One-line filters for people and agents: `host:api.example.com status:>=500 -path:/health since:10m`.
//!
//! Text is cut into tokens by `lexer`, put together by `parser` with the fields of `fields` and the values of `value`,
//! and becomes a [`Condition`](crate::Condition), which [`Query::condition`](crate::Query::condition) takes. docs/filter.md describes the
//! language. `complete` proposes what may be written at a cursor.

mod complete;
mod error;
mod fields;
mod lexer;
mod parser;
mod sessions;
mod value;

pub(crate) use complete::complete_with;
pub use complete::{Candidate, complete};
pub use error::FilterError;
pub use parser::{parse, parse_at};
pub use sessions::SessionFilter;
