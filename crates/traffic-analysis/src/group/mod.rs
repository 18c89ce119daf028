//! Exchanges in groups, with the figures of each, and two sets of groups compared.

mod figures;
mod grouping;
mod key;
mod order;

pub use figures::Figures;
pub use grouping::{Groups, group};
pub use key::{Key, KeyError, KeyValue};
pub use order::{Metric, Ordering, Row, compared, ordered};
