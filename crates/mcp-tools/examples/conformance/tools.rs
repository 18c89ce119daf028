//! The suite's tools.

use std::time::Duration;

use rmcp::{
    ErrorData, RoleServer,
    model::{
        CallToolRequestParams, CallToolResponse, ClientCapabilities, LoggingLevel,
        LoggingMessageNotificationParam, ProgressNotificationParam, ServerRequest, Tool,
    },
    service::RequestContext,
};
use serde_json::{Value, json};

use crate::{Fixture, fixed::PNG, from};

/// A silent sound.
const WAV: &str = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQAAAAA=";
/// Between two steps of a tool.
const STEP: Duration = Duration::from_millis(50);

const PLAIN: [&str; 24] = [
    "test_simple_text",
    "test_image_content",
    "test_audio_content",
    "test_embedded_resource",
    "test_multiple_content_types",
    "test_tool_with_logging",
    "test_error_handling",
    "test_tool_with_progress",
    "test_reconnection",
    "test_missing_capability",
    "test_streaming_elicitation",
    "test_logging_tool",
    "test_trigger_tool_change",
    "test_trigger_prompt_change",
    "test_elicitation_sep1034_defaults",
    "test_elicitation_sep1330_enums",
    "test_input_required_result_elicitation",
    "test_input_required_result_sampling",
    "test_input_required_result_list_roots",
    "test_input_required_result_request_state",
    "test_input_required_result_tampered_state",
    "test_input_required_result_multiple_inputs",
    "test_input_required_result_multi_round",
    "test_input_required_result_capabilities",
];

pub(crate) fn list() -> Result<Vec<Tool>, ErrorData> {
    let mut tools: Vec<Value> = PLAIN
        .iter()
        .map(|name| json!({"name": name, "description": name, "inputSchema": {"type": "object", "properties": {}}}))
        .collect();
    let text =
        |name: &str| json!({"type": "object", "required": [name], "properties": {name: {"type": "string"}}});
    tools.push(json!({"name": "test_sampling", "description": "Samples.", "inputSchema": text("prompt")}));
    tools.push(json!({"name": "test_elicitation", "description": "Asks.", "inputSchema": text("message")}));
    tools.push(json!({"name": "test_custom_headers", "description": "Has parameters that headers repeat.",
    "inputSchema": {"type": "object", "properties": {
        "region": {"type": "string", "x-mcp-header": "Region"},
        "query": {"type": "string"},
    }}}));
    tools.push(json!({"name": "json_schema_2020_12_tool", "description": "Has a schema of all kinds.",
        "inputSchema": schema()}));
    tools.into_iter().map(from).collect()
}

fn schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {"address": {"$anchor": "addressDef", "type": "object", "properties": {
            "street": {"type": "string"}, "city": {"type": "string"}}}},
        "properties": {
            "name": {"type": "string"},
            "address": {"$ref": "#/$defs/address"},
            "contactMethod": {"type": "string", "enum": ["phone", "email"]},
            "phone": {"type": "string"},
            "email": {"type": "string"},
        },
        "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
        "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
        "then": {"required": ["phone"]},
        "else": {"required": ["email"]},
        "additionalProperties": false,
    })
}

/// A result of one text.
pub(crate) fn said(text: &str) -> Value {
    json!({"resultType": "complete", "content": [{"type": "text", "text": text}]})
}

fn holds(content: Value) -> Value {
    json!({"resultType": "complete", "content": content})
}

pub(crate) async fn call(
    fixture: &Fixture,
    request: &CallToolRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResponse, ErrorData> {
    let image = json!({"type": "image", "data": PNG, "mimeType": "image/png"});
    let resource = |uri: &str, mime: &str, text: &str| json!({"type": "resource", "resource": {"uri": uri, "mimeType": mime, "text": text}});
    let answer = match &*request.name {
        "test_simple_text" => said("This is a simple text response for testing."),
        "test_image_content" => holds(json!([image])),
        "test_audio_content" => holds(json!([{"type": "audio", "data": WAV, "mimeType": "audio/wav"}])),
        "test_embedded_resource" => holds(json!([resource(
            "test://embedded-resource",
            "text/plain",
            "This is an embedded resource content."
        )])),
        "test_multiple_content_types" => holds(json!([
            {"type": "text", "text": "Multiple content types test:"},
            image,
            resource("test://mixed-content-resource", "application/json", "{\"test\":\"data\",\"value\":123}"),
        ])),
        "test_error_handling" => json!({"resultType": "complete", "isError": true, "content": [
            {"type": "text", "text": "This tool intentionally returns an error for testing"}]}),
        "test_tool_with_logging" => logging(context, true).await,
        "test_logging_tool" => logging(context, context.meta.log_level().is_some()).await,
        "test_tool_with_progress" => progress(context).await,
        "test_reconnection" | "test_streaming_elicitation" => {
            tokio::time::sleep(STEP).await;
            said("done")
        }
        "test_missing_capability" => needs_sampling(context)?,
        "test_trigger_tool_change" => {
            fixture.changes.0.send_modify(|count| *count += 1);
            said("the tools changed")
        }
        "test_trigger_prompt_change" => {
            fixture.changes.1.send_modify(|count| *count += 1);
            said("the prompts changed")
        }
        "test_custom_headers" | "json_schema_2020_12_tool" => said("taken"),
        name => asking(name, request, context).await?,
    };
    Ok(CallToolResponse::Complete(from(answer)?))
}

async fn logging(context: &RequestContext<RoleServer>, wanted: bool) -> Value {
    for text in ["Tool execution started", "Tool processing data", "Tool execution completed"] {
        if wanted {
            let line = LoggingMessageNotificationParam::new(LoggingLevel::Info, text.into());
            // A client that is gone hears nothing.
            let _ = context.peer.notify_logging_message(line).await;
        }
        tokio::time::sleep(STEP).await;
    }
    said("logged")
}

async fn progress(context: &RequestContext<RoleServer>) -> Value {
    let token = context.meta.get_progress_token();
    for done in [0.0, 50.0, 100.0] {
        if let Some(token) = &token {
            let told = ProgressNotificationParam::new(token.clone(), done).with_total(100.0);
            let _ = context.peer.notify_progress(told).await;
        }
        tokio::time::sleep(STEP).await;
    }
    said("done")
}

fn needs_sampling(context: &RequestContext<RoleServer>) -> Result<Value, ErrorData> {
    if context.client_capabilities().is_some_and(|can| can.sampling.is_some()) {
        return Ok(said("the client can sample"));
    }
    let needed = ClientCapabilities::builder().enable_sampling().build();
    Err(ErrorData::missing_required_client_capability(needed))
}

/// Tools that ask the client while they run, as earlier versions of the protocol allow.
async fn asking(
    name: &str,
    request: &CallToolRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<Value, ErrorData> {
    let given = |name: &str| {
        let arguments = request.arguments.as_ref();
        arguments.and_then(|arguments| arguments.get(name)).cloned().unwrap_or_default()
    };
    let elicit = |message: Value, properties: Value| {
        json!({"method": "elicitation/create", "params": {"message": message, "requestedSchema": {
            "type": "object", "properties": properties}}})
    };
    let asked = match name {
        "test_sampling" => json!({"method": "sampling/createMessage", "params": {"maxTokens": 100,
            "messages": [{"role": "user", "content": {"type": "text", "text": given("prompt")}}]}}),
        "test_elicitation" => elicit(given("message"), json!({"response": {"type": "string"}})),
        "test_elicitation_sep1034_defaults" => elicit("Defaults".into(), defaults()),
        "test_elicitation_sep1330_enums" => elicit("Choices".into(), choices()),
        _ => return Err(ErrorData::invalid_params("there is no such tool", None)),
    };
    let asked: ServerRequest = from(asked)?;
    let answer = context.peer.send_request(asked).await;
    let answer = answer.map_err(|error| ErrorData::internal_error(error.to_string(), None))?;
    let answer = serde_json::to_value(answer).unwrap_or_default();
    let text = match name {
        "test_sampling" => {
            format!("LLM response: {}", answer["content"]["text"].as_str().unwrap_or_default())
        }
        _ => format!("User response: {answer}"),
    };
    Ok(said(&text))
}

fn defaults() -> Value {
    json!({
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "default": true},
    })
}

fn choices() -> Value {
    let options = json!(["option1", "option2", "option3"]);
    let titled = json!([
        {"const": "value1", "title": "First Option"},
        {"const": "value2", "title": "Second Option"},
        {"const": "value3", "title": "Third Option"},
    ]);
    json!({
        "untitledSingle": {"type": "string", "enum": options},
        "titledSingle": {"type": "string", "oneOf": titled},
        "legacyEnum": {"type": "string", "enum": ["opt1", "opt2", "opt3"],
                       "enumNames": ["Option One", "Option Two", "Option Three"]},
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": options}},
        "titledMulti": {"type": "array", "items": {"anyOf": titled}},
    })
}
