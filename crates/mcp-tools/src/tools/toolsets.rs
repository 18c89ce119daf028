//! The toolsets themselves: which there are, and opening one.

use rmcp::{
    handler::server::{
        router::tool::ToolRouter,
        tool::Extension,
        wrapper::{Json, Parameters},
    },
    tool, tool_router,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    catalogue::Family, error::ToolError, shown::Shown, toolbox::Toolbox, toolsets::Toolset, view::Success,
};

/// The family.
pub(crate) const FAMILY: Family = Family {
    name: "toolsets",
    toolset: Toolset::Core,
    summary: "Groups of tools, of which most are closed at first: a long list of tools costs tokens before anything is asked.",
    router,
    references: &[],
};

fn router() -> ToolRouter<Toolbox> {
    Toolbox::toolsets_router()
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct EnableParams {
    /// Toolset to open.
    toolset: Toolset,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Listed {
    status: Success,
    toolsets: Vec<Group>,
}

/// A toolset.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Group {
    name: &'static str,
    /// What it is for.
    about: &'static str,
    /// Whether its tools are listed.
    enabled: bool,
    /// Bytes its tools take in the list of tools.
    bytes: u64,
    /// Its tools.
    tools: Vec<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Enabled {
    status: Success,
    toolset: &'static str,
    /// Tools that are listed now and were not before.
    added: Vec<String>,
}

#[tool_router(router = toolsets_router, vis = "pub(crate)")]
impl Toolbox {
    /// List the groups of tools, with their tools and whether they are enabled.
    #[tool(
        name = "list_toolsets",
        title = "List toolsets",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    pub(crate) async fn list_toolsets(
        &self,
        Extension(shown): Extension<Shown>,
    ) -> Result<Json<Listed>, ToolError> {
        let open = shown.open.toolsets();
        let group = |toolset: Toolset| {
            let entries = || shown.catalogue.entries.iter().filter(move |entry| entry.is_in(toolset));
            Group {
                name: toolset.name(),
                about: toolset.summary(),
                enabled: open.contains(toolset),
                bytes: entries().map(|entry| entry.bytes as u64).sum(),
                tools: entries().map(|entry| entry.tool.name.to_string()).collect(),
            }
        };
        let toolsets = Toolset::ALL.into_iter().map(group).filter(|group| !group.tools.is_empty());
        Ok(Json(Listed { status: Success::Success, toolsets: toolsets.collect() }))
    }

    /// Enable a group of tools, so that they are listed and can be called.
    #[tool(
        name = "enable_toolset",
        title = "Enable a toolset",
        annotations(
            read_only_hint = false,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    pub(crate) async fn enable_toolset(
        &self,
        Extension(shown): Extension<Shown>,
        Parameters(params): Parameters<EnableParams>,
    ) -> Result<Json<Enabled>, ToolError> {
        let before = shown.open.toolsets();
        shown.open.add(params.toolset);
        let added = shown
            .catalogue
            .entries
            .iter()
            .filter(|entry| entry.is_in(params.toolset) && !entry.is_shown(&before));
        let added = added.map(|entry| entry.tool.name.to_string()).collect();
        Ok(Json(Enabled { status: Success::Success, toolset: params.toolset.name(), added }))
    }
}
