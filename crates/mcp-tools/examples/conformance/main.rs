//! The fixture of the protocol's conformance suite, served by the transport that `wirescope-mcp` has: tools, prompts and
//! resources that the suite names, so that all its scenarios can be run. `cargo xtask conformance` starts it.
#![expect(
    deprecated,
    reason = "the suite asks for logging, sampling and subscriptions of earlier versions, too"
)]

mod asks;
mod fixed;
mod tools;

use std::{
    io::Write as _,
    sync::{Arc, Mutex},
};

use mcp_tools::http::{HttpListener, HttpOptions};
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CompleteRequestParams, CompleteResult, CompletionInfo,
        GetPromptRequestParams, GetPromptResponse, Implementation, ListPromptsResult,
        ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, PaginatedRequestParams,
        ReadResourceRequestParams, ReadResourceResponse, ServerCapabilities, ServerConfig,
        SetLevelRequestParams, SubscribeRequestParams, SubscriptionFilter, Tool, UnsubscribeRequestParams,
    },
    service::{RequestContext, SubscriptionContext},
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::watch;

/// What the fixture's clients share.
#[derive(Clone)]
struct Fixture {
    /// How often tools and prompts changed.
    changes: Arc<(watch::Sender<u64>, watch::Sender<u64>)>,
    asks: Arc<asks::Asks>,
    level: Arc<Mutex<Option<rmcp::model::LoggingLevel>>>,
}

/// A value of the protocol from JSON.
fn from<T: DeserializeOwned>(value: Value) -> Result<T, ErrorData> {
    serde_json::from_value(value).map_err(|error| ErrorData::internal_error(error.to_string(), None))
}

impl ServerHandler for Fixture {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_logging()
            .enable_completions()
            .enable_prompts()
            .enable_prompts_list_changed()
            .enable_resources()
            .enable_resources_subscribe()
            .enable_tools()
            .enable_tool_list_changed()
            .build();
        let mut config = ServerConfig::new(capabilities);
        config.server_info = Implementation::new("wirescope-conformance", "1");
        config
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(tools::list()?))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        tools::list().ok()?.into_iter().find(|tool| tool.name == name)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        match request.name.strip_prefix("test_input_required_result_") {
            Some(kind) => self.asks.tool(kind, &request, &context),
            None => tools::call(self, &request, &context).await,
        }
    }

    async fn list_prompts(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        Ok(ListPromptsResult::with_all_items(from(fixed::prompts())?))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        if request.name == "test_input_required_result_prompt" {
            return self.asks.prompt(&request);
        }
        let text = |name: &str| {
            let given = request.arguments.as_ref().and_then(|arguments| arguments.get(name));
            given.and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        match fixed::prompt(&request.name, &text("arg1"), &text("arg2")) {
            Some(prompt) => Ok(GetPromptResponse::Complete(from(prompt)?)),
            None => Err(ErrorData::invalid_params("there is no such prompt", None)),
        }
    }

    async fn list_resources(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Ok(ListResourcesResult::with_all_items(from(fixed::resources())?))
    }

    async fn list_resource_templates(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Ok(ListResourceTemplatesResult::with_all_items(from(fixed::templates())?))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        match fixed::resource(&request.uri) {
            Some(contents) => Ok(ReadResourceResponse::Complete(from(contents)?)),
            None => {
                let uri = serde_json::json!({"uri": request.uri});
                Err(ErrorData::resource_not_found("there is no such resource", Some(uri)))
            }
        }
    }

    async fn complete(
        &self,
        _request: CompleteRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        let values = ["paris", "park", "party"].map(str::to_owned).to_vec();
        let completion = CompletionInfo::with_all_values(values);
        completion.map(CompleteResult::new).map_err(|error| ErrorData::internal_error(error, None))
    }

    async fn set_level(
        &self,
        request: SetLevelRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        if let Ok(mut level) = self.level.lock() {
            *level = Some(request.level);
        }
        Ok(())
    }

    async fn subscribe(
        &self,
        _request: SubscribeRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        Ok(())
    }

    async fn unsubscribe(
        &self,
        _request: UnsubscribeRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        Ok(())
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(requested.clone())
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let (mut tools, mut prompts) = (self.changes.0.subscribe(), self.changes.1.subscribe());
        let wants = (
            context.accepted().tools_list_changed == Some(true),
            context.accepted().prompts_list_changed == Some(true),
        );
        loop {
            let sent = tokio::select! {
                () = context.cancelled() => return Ok(()),
                Ok(()) = tools.changed(), if wants.0 => context.sink().notify_tool_list_changed().await,
                Ok(()) = prompts.changed(), if wants.1 => context.sink().notify_prompt_list_changed().await,
            };
            if sent.is_err() {
                return Ok(());
            }
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let fixture = Fixture {
        changes: Arc::new((watch::Sender::new(0), watch::Sender::new(0))),
        asks: Arc::default(),
        level: Arc::default(),
    };
    let listener = HttpListener::bind(([127, 0, 0, 1], 0).into(), HttpOptions::default()).await?;
    writeln!(std::io::stdout(), "{}", listener.url())?;
    listener.serve(move || fixture.clone(), std::future::pending()).await;
    Ok(())
}
