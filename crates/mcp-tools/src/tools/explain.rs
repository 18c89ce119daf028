//! Why an exchange failed, or is missing.

use capture_store::{Seq, SessionId};
use rmcp::{
    handler::server::{
        router::tool::ToolRouter,
        wrapper::{Json, Parameters},
    },
    tool, tool_router,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use traffic_analysis::explain::{self, Certainty, ErrorBody, Explanation};

use crate::{
    budget::cut,
    catalogue::Family,
    error::ToolError,
    toolbox::{Toolbox, blocking},
    toolsets::Toolset,
    view::{Success, is_false},
};

/// Causes an answer tells beside the first.
const MAX_OTHERS: usize = 4;

/// The family.
pub(crate) const FAMILY: Family = Family {
    name: "explain",
    toolset: Toolset::Analysis,
    summary: "Why an exchange failed, or is missing, and what helps.",
    router,
    references: &[],
};

fn router() -> ToolRouter<Toolbox> {
    Toolbox::explain_failure_router()
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct ExplainParams {
    /// The exchange, like e412.
    #[schemars(length(min = 1, max = 40))]
    exchange_id: Option<String>,
    /// Or a host, for one that is missing.
    #[schemars(length(min = 1, max = 255))]
    host: Option<String>,
    /// Text in its URL.
    #[schemars(length(min = 1, max = 2000))]
    url_contains: Option<String>,
    /// Not the live traffic.
    #[schemars(length(min = 1, max = 40))]
    session_id: Option<String>,
}

/// A cause.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct CauseView {
    /// A stable code.
    cause: &'static str,
    /// `certain`, `likely`, `possible`.
    certainty: &'static str,
    /// The side at fault: `client`, `upstream`, `proxy`.
    #[serde(skip_serializing_if = "Option::is_none")]
    side: Option<&'static str>,
    /// The step: `dns`, `connect`, `client_tls`, `upstream_tls`, `request`, `wait`, `response`, `rule`.
    #[serde(skip_serializing_if = "Option::is_none")]
    phase: Option<&'static str>,
    summary: String,
    /// What in the record says so.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    evidence: Vec<String>,
    /// What helps, the best first.
    fix: Vec<String>,
    /// What the error's body says.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<BodySays>,
}

/// What an error's body says.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct BodySays {
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    /// Its telling fields: pointer and value.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<(String, String)>,
    /// Its beginning, where it has no such field.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "is_false")]
    truncated: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Explained {
    status: Success,
    /// The exchange that is explained; absent where it is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    exchange_id: Option<String>,
    #[serde(flatten)]
    first: CauseView,
    /// Other causes, less likely.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    others: Vec<CauseView>,
    /// Exchanges with the host that are recorded, newest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    seen: Vec<String>,
}

#[tool_router(router = explain_failure_router, vis = "pub(crate)")]
impl Toolbox {
    /// Explain why an exchange failed, or why one with a host is missing: cause, step, evidence, error body, fix.
    #[tool(
        name = "explain_failure",
        title = "Explain a failure",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    pub(crate) async fn explain_failure(
        &self,
        Parameters(params): Parameters<ExplainParams>,
    ) -> Result<Json<Explained>, ToolError> {
        let store = self.fresh_store().await?;
        let seq = params.exchange_id.as_deref().map(str::parse::<Seq>).transpose()?;
        let session = params.session_id.as_deref().map(str::parse::<SessionId>).transpose()?;
        let sessions = match session {
            Some(session) => vec![session],
            None => self.live().iter().map(|session| session.id).collect(),
        };
        let running = self.running().is_some();
        blocking(move || match (seq, params.host.as_deref()) {
            (Some(seq), None) => {
                let told = explain::exchange(&store, seq)?;
                Ok(Json(Explained::new(Some(seq), vec![told], Vec::new())))
            }
            (None, Some(host)) => {
                let mut causes = Vec::new();
                if sessions.is_empty() && !running {
                    return Err(ToolError::new(
                        "not_running",
                        "the proxy is not running, so nothing is recorded",
                    )
                    .hint("proxy_start starts it; session_id explains a recorded session"));
                }
                let host = host.to_ascii_lowercase();
                let missing = explain::missing(&store, &sessions, &host, params.url_contains.as_deref())?;
                causes.extend(missing.causes);
                let seen = missing.seen.iter().take(10).map(ToString::to_string).collect();
                Ok(Json(Explained::new(missing.failed, causes, seen)))
            }
            _ => Err(ToolError::invalid("explain_failure needs exchange_id or host").hint(
                "give exchange_id for a recorded exchange, host (and url_contains) for one that is missing",
            )),
        })
        .await
    }
}

impl Explained {
    fn new(exchange: Option<Seq>, causes: Vec<Explanation>, seen: Vec<String>) -> Self {
        let mut causes = causes.into_iter();
        let first = causes.next().map_or_else(nothing_wrong, CauseView::from);
        Self {
            status: Success::Success,
            exchange_id: exchange.map(|seq| seq.to_string()),
            first,
            others: causes.take(MAX_OTHERS).map(CauseView::from).collect(),
            seen,
        }
    }
}

/// The host was asked and answered.
fn nothing_wrong() -> CauseView {
    CauseView {
        cause: "none",
        certainty: Certainty::Certain.as_str(),
        side: None,
        phase: None,
        summary: "exchanges with this host are recorded, and none of them went wrong".to_owned(),
        evidence: Vec::new(),
        fix: vec!["look at those in `seen`; give url_contains for one that is not among them".to_owned()],
        body: None,
    }
}

impl From<Explanation> for CauseView {
    fn from(told: Explanation) -> Self {
        let lines = |lines: Vec<String>| lines.iter().take(8).map(|line| cut(line, 400)).collect();
        Self {
            cause: told.cause.code(),
            certainty: told.certainty.as_str(),
            side: told.side,
            phase: told.phase,
            summary: cut(&told.summary, 600),
            evidence: lines(told.evidence),
            fix: lines(told.fixes),
            body: told.body.map(BodySays::from),
        }
    }
}

impl From<ErrorBody> for BodySays {
    fn from(body: ErrorBody) -> Self {
        Self {
            content_type: body.content_type,
            fields: body.fields,
            text: body.text,
            truncated: body.truncated,
        }
    }
}
