//! Resources: what a client may read without calling a tool.

use rmcp::{
    ErrorData,
    handler::server::wrapper::{Json, Parameters},
    model::{ReadResourceResult, Resource, ResourceContents},
};
use serde::Serialize;
use serde_json::json;

use crate::{error::ToolError, toolbox::Toolbox};

/// A resource.
pub(crate) struct Described {
    pub(crate) uri: &'static str,
    name: &'static str,
    title: &'static str,
    pub(crate) description: &'static str,
    pub(crate) mime: &'static str,
}

const JSON: &str = "application/json";

/// Every resource there is.
pub(crate) const ALL: &[Described] = &[
    Described {
        uri: "proxy://status",
        name: "status",
        title: "Proxy status",
        description: "What proxy_status answers.",
        mime: JSON,
    },
    Described {
        uri: "proxy://ca-cert",
        name: "ca-cert",
        title: "CA certificate",
        description: "The CA certificate that clients must trust, PEM.",
        mime: "application/x-pem-file",
    },
    Described {
        uri: "proxy://sessions",
        name: "sessions",
        title: "Sessions",
        description: "What proxy_list_sessions answers.",
        mime: JSON,
    },
];

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

/// Reads one.
pub(crate) async fn read(toolbox: &Toolbox, uri: &str) -> Result<ReadResourceResult, ErrorData> {
    let Some(described) = ALL.iter().find(|described| described.uri == uri) else {
        let names: Vec<&str> = ALL.iter().map(|described| described.uri).collect();
        let message =
            format!("there is no resource {:?}; there is {}", crate::budget::cut(uri, 200), names.join(", "));
        return Err(ErrorData::resource_not_found(message, Some(json!({"uri": uri}))));
    };
    let text = match described.name {
        "status" => text(toolbox.proxy_status().await),
        "sessions" => {
            let params = serde_json::from_value(json!({}))
                .map_err(|error| ErrorData::internal_error(error.to_string(), None))?;
            text(toolbox.proxy_list_sessions(Parameters(params)).await)
        }
        _ => toolbox.ca().await.map(|ca| ca.certificate_pem().to_owned()),
    };
    let text = text.map_err(|error| ErrorData::internal_error(error.to_string(), None))?;
    let contents = ResourceContents::text(text, described.uri).with_mime_type(described.mime);
    Ok(ReadResourceResult::new(vec![contents]))
}

fn text<T: Serialize>(answer: Result<Json<T>, ToolError>) -> Result<String, ToolError> {
    serde_json::to_string(&answer?.0).map_err(|error| ToolError::new("internal", error.to_string()))
}
