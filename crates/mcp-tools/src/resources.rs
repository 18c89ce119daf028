//! Resources: what a client may read without calling a tool.

use capture_store::SessionId;
use rmcp::{
    ErrorData,
    handler::server::wrapper::{Json, Parameters},
    model::{ReadResourceResult, Resource, ResourceContents, ResourceTemplate},
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    budget::cut,
    error::ToolError,
    report::{self, Scope},
    toolbox::{Toolbox, blocking},
};

/// A resource, or a template of some: then `{session_id}` stands in its URI.
pub(crate) struct Described {
    pub(crate) uri: &'static str,
    name: &'static str,
    title: &'static str,
    pub(crate) description: &'static str,
    pub(crate) mime: &'static str,
}

const JSON: &str = "application/json";
const PEM: &str = "application/x-pem-file";
/// What a template has in place of a session's id.
const SESSION: &str = "{session_id}";

/// Every resource there is.
pub(crate) const ALL: &[Described] = &[
    described("proxy://status", "status", "Proxy status", "What proxy_status answers.", JSON),
    described(
        "proxy://ca-cert",
        "ca-cert",
        "CA certificate",
        "The CA certificate that clients must trust, PEM.",
        PEM,
    ),
    described(
        "proxy://traffic/summary",
        "traffic-summary",
        "Traffic summary",
        "The traffic since the server started: counts, hosts, statuses, failures.",
        JSON,
    ),
    described(
        "proxy://interceptors",
        "interceptors",
        "Interceptors",
        "What interceptor_list answers: commands led through the proxy.",
        JSON,
    ),
    described("proxy://sessions", "sessions", "Sessions", "What proxy_list_sessions answers.", JSON),
];

/// Resources of each session.
pub(crate) const TEMPLATES: &[Described] = &[
    described(
        "proxy://sessions/{session_id}/summary",
        "session-summary",
        "Session summary",
        "A session: counts, hosts, statuses, failures.",
        JSON,
    ),
    described(
        "proxy://sessions/{session_id}/timeline",
        "session-timeline",
        "Session timeline",
        "How many exchanges began in each interval, and how many failed.",
        JSON,
    ),
    described(
        "proxy://sessions/{session_id}/findings",
        "session-findings",
        "Session findings",
        "What is worth a look: failures, errors, slow answers, credentials in the clear.",
        JSON,
    ),
];

const fn described(
    uri: &'static str,
    name: &'static str,
    title: &'static str,
    description: &'static str,
    mime: &'static str,
) -> Described {
    Described { uri, name, title, description, mime }
}

/// The list a client gets.
pub(crate) fn list() -> Vec<Resource> {
    ALL.iter()
        .map(|described| {
            Resource::new(described.uri, described.name)
                .with_title(described.title)
                .with_description(described.description)
                .with_mime_type(described.mime)
        })
        .collect()
}

/// The templates a client gets.
pub(crate) fn templates() -> Vec<ResourceTemplate> {
    TEMPLATES
        .iter()
        .map(|described| {
            ResourceTemplate::new(described.uri, described.name)
                .with_title(described.title)
                .with_description(described.description)
                .with_mime_type(described.mime)
        })
        .collect()
}

/// What a URI names, and whose it is.
fn find(uri: &str) -> Option<(&'static Described, Option<&str>)> {
    if let Some(described) = ALL.iter().find(|described| described.uri == uri) {
        return Some((described, None));
    }
    TEMPLATES.iter().find_map(|described| {
        let (before, after) = described.uri.split_once(SESSION)?;
        let session = uri.strip_prefix(before)?.strip_suffix(after)?;
        Some((described, Some(session)))
    })
}

/// Whether there is a resource of this URI, as far as its form goes.
pub(crate) fn is_one(uri: &str) -> bool {
    find(uri).is_some_and(|(_, session)| session.is_none_or(|id| id.parse::<SessionId>().is_ok()))
}

/// The text of one.
pub(crate) async fn text(toolbox: &Toolbox, uri: &str) -> Result<String, ErrorData> {
    let Some((described, session)) = find(uri) else { return Err(unknown(uri)) };
    let text = match session {
        Some(session) => of_session(toolbox, described.name, session).await,
        None => of_proxy(toolbox, described.name).await,
    };
    text.map_err(|error| match error.code() {
        "unknown_session" | "invalid_argument" => not_found(uri, &error.to_string()),
        _ => ErrorData::internal_error(error.to_string(), None),
    })
}

/// A text as a client gets it.
pub(crate) fn contents(uri: &str, text: String) -> ReadResourceResult {
    let mime = find(uri).map_or(JSON, |(described, _)| described.mime);
    ReadResourceResult::new(vec![ResourceContents::text(text, uri).with_mime_type(mime)])
}

async fn of_proxy(toolbox: &Toolbox, name: &str) -> Result<String, ToolError> {
    match name {
        "status" => rendered(toolbox.proxy_status().await),
        "interceptors" => rendered(toolbox.interceptor_list().await),
        "sessions" => {
            let params = serde_json::from_value(json!({}))
                .map_err(|error| ToolError::new("internal", error.to_string()))?;
            rendered(toolbox.proxy_list_sessions(Parameters(params)).await)
        }
        "traffic-summary" => {
            let (store, live) = (toolbox.store().await?, toolbox.live());
            blocking(move || report::summary(&store, &Scope::live(&live)))
                .await
                .map(|value| value.to_string())
        }
        _ => toolbox.ca().await.map(|ca| ca.certificate_pem().to_owned()),
    }
}

async fn of_session(toolbox: &Toolbox, name: &'static str, session: &str) -> Result<String, ToolError> {
    let id: SessionId = session.parse()?;
    let store = toolbox.store().await?;
    let report = move || -> Result<Value, ToolError> {
        // Says which session is unknown, where a report would be empty.
        store.session(id)?;
        let scope = Scope::session(id);
        match name {
            "session-timeline" => report::timeline(&store, &scope),
            "session-findings" => report::findings(&store, &scope),
            _ => report::summary(&store, &scope),
        }
    };
    blocking(report).await.map(|value| value.to_string())
}

fn unknown(uri: &str) -> ErrorData {
    let names: Vec<&str> = ALL.iter().chain(TEMPLATES).map(|described| described.uri).collect();
    not_found(uri, &format!("there is no resource {:?}; there is {}", cut(uri, 200), names.join(", ")))
}

fn not_found(uri: &str, message: &str) -> ErrorData {
    ErrorData::resource_not_found(message.to_owned(), Some(json!({"uri": uri})))
}

fn rendered<T: Serialize>(answer: Result<Json<T>, ToolError>) -> Result<String, ToolError> {
    serde_json::to_string(&answer?.0).map_err(|error| ToolError::new("internal", error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_name_resources_and_sessions() {
        assert!(is_one("proxy://status"));
        assert!(is_one("proxy://sessions/s12/timeline"));
        for wrong in
            ["proxy://nothing", "proxy://sessions/../timeline", "proxy://sessions/s1", "file:///etc/passwd"]
        {
            assert!(!is_one(wrong), "{wrong}");
        }
    }
}
