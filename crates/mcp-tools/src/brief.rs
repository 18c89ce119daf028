//! An exchange in one short line, for answers that show a few of them beside something else.

use capture_store::{ExchangeState, ExchangeSummary};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{budget::cut, view::duration_millis};

/// Characters of a URL.
const MAX_URL: usize = 160;

/// An exchange, in short; proxy_get_exchange shows it in full by its id.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct Brief {
    pub(crate) id: String,
    method: String,
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// Milliseconds; absent while it goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    ms: Option<u64>,
    /// The code of its failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
}

impl Brief {
    pub(crate) fn new(summary: &ExchangeSummary) -> Self {
        Self {
            id: summary.seq.to_string(),
            method: summary.method.clone(),
            url: cut(&summary.url, MAX_URL),
            status: summary.status,
            ms: summary.duration.map(duration_millis),
            error: match &summary.state {
                ExchangeState::Failed(failure) => Some(failure.kind.code()),
                _ => None,
            },
        }
    }
}
