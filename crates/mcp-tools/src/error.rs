//! What a tool answers when it cannot do what was asked.

use std::fmt;

use rmcp::{
    handler::server::tool::IntoCallToolResult,
    model::{CallToolResponse, CallToolResult},
};
use serde_json::json;

/// A failure as an agent reads it: a stable code, what failed, and the argument or tool that helps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ToolError {
    code: &'static str,
    error: String,
    hint: Option<String>,
}

impl ToolError {
    /// Makes a failure without a hint.
    pub(crate) fn new(code: &'static str, error: impl Into<String>) -> Self {
        Self { code, error: error.into(), hint: None }
    }

    /// An argument that cannot be used; `error` names it.
    pub(crate) fn invalid(error: impl Into<String>) -> Self {
        Self::new("invalid_argument", error)
    }

    /// The tool or argument that helps.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The stable code.
    #[must_use]
    pub(crate) fn code(&self) -> &'static str {
        self.code
    }

    /// As a result: `isError`, the object as structured content and as text.
    pub(crate) fn into_result(self) -> CallToolResult {
        let mut value = json!({"status": "error", "code": self.code, "error": self.error});
        if let Some(hint) = self.hint {
            value["hint"] = hint.into();
        }
        CallToolResult::structured_error(value)
    }
}

impl fmt::Display for ToolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.error, self.code)
    }
}

impl std::error::Error for ToolError {}

impl IntoCallToolResult for ToolError {
    fn into_call_tool_result(self) -> Result<CallToolResponse, rmcp::ErrorData> {
        Ok(self.into_result().into())
    }
}

/// An error and all its causes in one line: each level's `Display` says that level only.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

impl From<capture_store::Error> for ToolError {
    fn from(error: capture_store::Error) -> Self {
        use capture_store::ErrorKind as Kind;
        let (code, hint) = match error.kind() {
            Kind::UnknownSession(_) => {
                ("unknown_session", "proxy_list_sessions names the sessions there are")
            }
            Kind::UnknownExchange(_) => (
                "unknown_exchange",
                "proxy_list_traffic and proxy_query_session list the exchanges there are",
            ),
            Kind::SessionActive(_) => {
                ("session_active", "proxy_session_stop ends a named session, proxy_stop the unnamed one")
            }
            Kind::Locked(_) => {
                ("store_locked", "give proxy_start another storage_dir, or stop the other wirescope")
            }
            Kind::NewerSchema { .. } => ("newer_schema", "use a newer wirescope, or another storage_dir"),
            Kind::Disk => ("disk_failing", "free some space; proxy_delete_session deletes recordings"),
            Kind::Directory(_) => ("store_unusable", "check that the directory exists and is yours"),
            Kind::Body(_) => ("body_unreadable", "the rest of the exchange can be read; its body is damaged"),
            _ => ("store_failed", "proxy_session_status says how the recorder stands"),
        };
        Self::new(code, format!("failed to {}", chain(&error))).hint(hint)
    }
}

impl From<capture_store::ParseIdError> for ToolError {
    fn from(error: capture_store::ParseIdError) -> Self {
        Self::invalid(format!("failed to {error}"))
            .hint("ids come from proxy_list_traffic (e412) and proxy_list_sessions (s3)")
    }
}
