//! An exchange in one short line, for answers that show a few of them beside something else.

use capture_store::{ExchangeState, ExchangeSummary};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    budget::{cut_json, cut_url_json, json_bytes},
    rows::ROW_BYTES,
    view::duration_millis,
};

/// Bytes that a URL may have, whatever else there is.
const LEAST_URL_BYTES: usize = 40;

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
    /// At most [`ROW_BYTES`] of JSON: the URL is cut.
    pub(crate) fn new(summary: &ExchangeSummary) -> Self {
        let mut brief = Self {
            id: summary.seq.to_string(),
            method: cut_json(&summary.method, 24),
            url: summary.url.clone(),
            status: summary.status,
            ms: summary.duration.map(duration_millis),
            error: match &summary.state {
                ExchangeState::Failed(failure) => Some(failure.kind.code()),
                _ => None,
            },
        };
        let excess = json_bytes(&brief).saturating_sub(ROW_BYTES);
        if excess > 0 {
            let most = json_bytes(&brief.url).saturating_sub(excess).max(LEAST_URL_BYTES);
            brief.url = cut_url_json(&brief.url, most);
        }
        brief
    }
}
