//! One call of a tool, from its arguments to its answer: the one place that every call goes through.

use std::convert::Infallible;

use rmcp::{
    ErrorData, Peer, RoleServer,
    handler::server::tool::ToolCallContext,
    model::{CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock},
    service::RequestContext,
};
use serde_json::{Map, Value};

use crate::{
    arguments, cap,
    catalogue::Entry,
    error::ToolError,
    progress::{Progress, Teller},
    secrets::Vault,
    server::Server,
    shown::Shown,
    toolsets::Toolset,
};

/// Runs a call. Credentials are put back in its arguments before anything reads them, and hidden in all it answers.
pub(crate) async fn run(
    server: &Server,
    shown: Shown,
    mut request: CallToolRequestParams,
    mut context: RequestContext<RoleServer>,
) -> Result<CallToolResponse, ErrorData> {
    let catalogue = shown.catalogue.clone();
    let entry = match prepare(server, &shown, &mut request) {
        Ok(name) => catalogue.entry(&name),
        Err(error) => return Ok(finished(server, None, error.into_result()).into()),
    };
    let Some(entry) = entry else {
        return Ok(finished(server, None, unknown(&shown, &request.name).into_result()).into());
    };
    let before = shown.open.toolsets();
    let progress = Progress::new();
    context.extensions.insert(shown.clone());
    context.extensions.insert(progress.clone());
    let (peer, gone) = (context.peer.clone(), context.ct.clone());
    let beside = beside(server, &context, progress);
    let changes = !is_read_only(entry);
    let asked = cap::Asked::of(&request.name, request.arguments.as_ref().unwrap_or(&Map::new()));
    let call = catalogue.router.call(ToolCallContext::new(server.toolbox(), request, context));
    let answer = tokio::select! {
        answer = call => answer,
        // What only reads can be left at any point. What changes something comes to its end, told to hurry by the token
        // it was given: nothing is left half done.
        () = gone.cancelled(), if !changes => Err(ErrorData::internal_error("the call was cancelled", None)),
        never = beside => match never {},
    };
    if changes {
        server.toolbox().touch();
    }
    if shown.open.toolsets() != before {
        tell_of_tools(&peer).await;
    }
    if let Some(vault) = server.vault() {
        vault.learn(server.toolbox()).await;
    }
    match answer {
        Ok(CallToolResponse::Complete(result)) => {
            Ok(cap::capped(Some(entry), changes, &asked, finished(server, Some(entry), result)).into())
        }
        other => other,
    }
}

/// What goes on beside a call and never ends by itself: progress and the log, where the client asked for them.
fn beside(
    server: &Server,
    context: &RequestContext<RoleServer>,
    progress: Progress,
) -> impl Future<Output = Infallible> + Send + 'static {
    let (feed, vault, peer) = (server.feed().clone(), server.vault().cloned(), context.peer.clone());
    let token = context.meta.get_progress_token();
    let teller = token.map(|token| Teller::new(peer.clone(), token, progress, vault.clone()));
    let level = context.meta.log_level();
    async move {
        let told = async {
            match teller {
                Some(teller) => teller.tell().await,
                None => std::future::pending().await,
            }
        };
        let logged = async {
            match level {
                Some(level) => feed.forward(peer, level, vault).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            never = told => never,
            never = logged => never,
        }
    }
}

/// Finds the tool and checks what it was given; gives its name.
fn prepare(server: &Server, shown: &Shown, request: &mut CallToolRequestParams) -> Result<String, ToolError> {
    let name = request.name.to_string();
    let entry = shown.catalogue.entry(&name).ok_or_else(|| unknown(shown, &name))?;
    if !entry.is_shown(&shown.open.toolsets()) {
        return Err(closed(&name, entry.family.toolset));
    }
    let mut given = request.arguments.take().unwrap_or_default();
    if let Some(vault) = server.vault() {
        vault.restore(&mut given)?;
    }
    request.arguments = Some(arguments::check(&name, &entry.input, given)?);
    Ok(name)
}

/// The result as it leaves: without credentials, and the same as structure and as text.
fn finished(server: &Server, entry: Option<&Entry>, mut result: CallToolResult) -> CallToolResult {
    let Some(vault) = server.vault() else { return result };
    let mut text = None;
    if let Some(structure) = &mut result.structured_content {
        vault.hide(structure, entry.map(|entry| &entry.output));
        text = Some(structure.to_string());
    }
    for content in &mut result.content {
        hide_content(vault, content, &mut text);
    }
    result
}

/// The first text is the structure's.
fn hide_content(vault: &Vault, content: &mut ContentBlock, structure: &mut Option<String>) {
    if let ContentBlock::Text(block) = content {
        let is_structure = serde_json::from_str::<Value>(&block.text).is_ok_and(|value| value.is_object());
        block.text = match structure.take_if(|_| is_structure) {
            Some(text) => text,
            None => vault.hide_text(&block.text),
        };
    }
}

fn is_read_only(entry: &Entry) -> bool {
    entry.tool.annotations.as_ref().is_some_and(|hints| hints.read_only_hint == Some(true))
}

async fn tell_of_tools(peer: &Peer<RoleServer>) {
    if let Err(error) = peer.notify_tool_list_changed().await {
        tracing::debug!(%error, "the client was not told that there are more tools");
    }
}

fn unknown(shown: &Shown, name: &str) -> ToolError {
    let names: Vec<&str> = shown.catalogue.entries.iter().map(|entry| &*entry.tool.name).collect();
    let error =
        ToolError::new("unknown_tool", format!("there is no tool {:?}", crate::budget::cut(name, 80)));
    match arguments::nearest(name, &names) {
        Some(near) => error.hint(format!("did you mean {near}?")),
        None => error.hint("tools/list names the tools"),
    }
}

/// The error for a tool that is there, but not listed.
fn closed(name: &str, toolset: Toolset) -> ToolError {
    ToolError::new("toolset_off", format!("{name} is in the toolset {toolset}, which is not enabled"))
        .hint(format!("enable_toolset with toolset \"{toolset}\" enables it"))
}
