//! A text in the traffic, however it is encoded: where it is, where it came from, where it went.

mod follow;
mod forms;
mod place;

pub use follow::{Appearance, Sighting, Sightings, Trace, TraceError, find, trace};
pub use forms::{Encoding, Needle, NeedleError};
pub(crate) use place::escaped;
pub use place::{Place, places};
