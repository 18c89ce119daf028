//! What a tool knows of the client that calls it: the tools there are, and those it is shown.

use std::sync::Arc;

use crate::{catalogue::Catalogue, toolsets::Open};

/// Every tool, and what is open to the client. In the extensions of each call.
#[derive(Clone)]
pub(crate) struct Shown {
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) open: Open,
}
