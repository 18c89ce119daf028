//! Calls that need something of the client first, and get it when they are made again.

use std::{collections::hash_map::RandomState, hash::BuildHasher as _};

use rmcp::{
    ErrorData, RoleServer,
    model::{
        CallToolRequestParams, CallToolResponse, GetPromptRequestParams, GetPromptResponse, InputResponses,
    },
    service::RequestContext,
};
use serde_json::{Value, json};

use crate::{from, tools::said};

/// What is asked for, and the key that what clients give back is sealed with.
#[derive(Default)]
pub(crate) struct Asks {
    key: RandomState,
}

/// What a client gave.
struct Given<'a> {
    responses: Option<&'a InputResponses>,
    round: Option<u32>,
}

impl Given<'_> {
    fn has(&self, name: &str) -> bool {
        self.responses.is_some_and(|responses| responses.contains_key(name))
    }

    /// A text below what was given under a name.
    fn text(&self, name: &str, pointer: &str) -> String {
        let value = self.responses.and_then(|responses| responses.get(name)?.pointer(pointer));
        value.and_then(Value::as_str).unwrap_or_default().to_owned()
    }
}

impl Asks {
    /// What a client is to give back, so that the server knows where it was.
    fn seal(&self, round: u32) -> String {
        format!("{round}.{:016x}", self.key.hash_one(round))
    }

    fn open(&self, state: Option<&String>) -> Result<Option<u32>, ErrorData> {
        let Some(state) = state else { return Ok(None) };
        let round = state.split('.').next().and_then(|round| round.parse().ok());
        match round {
            Some(round) if *state == self.seal(round) => Ok(Some(round)),
            _ => Err(ErrorData::invalid_params("requestState is not what this server gave", None)),
        }
    }

    pub(crate) fn tool(
        &self,
        kind: &str,
        request: &CallToolRequestParams,
        context: &RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let round = self.open(request.request_state.as_ref())?;
        let given = Given { responses: request.input_responses.as_ref(), round };
        let answer = match kind {
            "elicitation" if given.has("user_name") => {
                said(&format!("Hello, {}!", given.text("user_name", "/content/name")))
            }
            "elicitation" => asked(json!({"user_name": name("What is your name?")}), None),
            "sampling" if given.has("capital_question") => {
                said(&given.text("capital_question", "/content/text"))
            }
            "sampling" => {
                asked(json!({"capital_question": sampling("What is the capital of France?")}), None)
            }
            "list_roots" if given.has("client_roots") => said(
                &given
                    .responses
                    .and_then(|all| all.get("client_roots"))
                    .map(Value::to_string)
                    .unwrap_or_default(),
            ),
            "list_roots" => asked(json!({"client_roots": roots()}), None),
            "request_state" | "tampered_state" if given.has("confirm") && given.round == Some(1) => {
                said("state-ok")
            }
            "request_state" | "tampered_state" => {
                let ask = elicit("Please confirm", json!({"ok": {"type": "boolean"}}), "ok");
                asked(json!({"confirm": ask}), Some(self.seal(1)))
            }
            "multiple_inputs"
                if ["user_name", "greeting", "client_roots"].iter().all(|name| given.has(name)) =>
            {
                said("all there")
            }
            "multiple_inputs" => asked(
                json!({
                    "user_name": name("What is your name?"),
                    "greeting": sampling("Generate a greeting"),
                    "client_roots": roots(),
                }),
                Some(self.seal(1)),
            ),
            "multi_round" => self.rounds(&given),
            "capabilities" => capabilities(&given, context),
            _ => return Err(ErrorData::invalid_params("there is no such tool", None)),
        };
        if answer.get("inputRequests").is_some() {
            return Ok(CallToolResponse::InputRequired(from(answer)?));
        }
        Ok(CallToolResponse::Complete(from(answer)?))
    }

    fn rounds(&self, given: &Given<'_>) -> Value {
        match given.round {
            Some(1) if given.has("step1") => {
                let ask = elicit(
                    "Step 2: What is your favorite color?",
                    json!({"color": {"type": "string"}}),
                    "color",
                );
                asked(json!({"step2": ask}), Some(self.seal(2)))
            }
            Some(2) if given.has("step2") => {
                said(&format!("you like {}", given.text("step2", "/content/color")))
            }
            _ => asked(json!({"step1": name("Step 1: What is your name?")}), Some(self.seal(1))),
        }
    }

    pub(crate) fn prompt(&self, request: &GetPromptRequestParams) -> Result<GetPromptResponse, ErrorData> {
        let given = Given { responses: request.input_responses.as_ref(), round: None };
        if given.has("user_context") {
            let text = format!("Use this context: {}", given.text("user_context", "/content/context"));
            let message = json!({"role": "user", "content": {"type": "text", "text": text}});
            return Ok(GetPromptResponse::Complete(from(
                json!({"resultType": "complete", "messages": [message]}),
            )?));
        }
        let ask =
            elicit("What context should the prompt use?", json!({"context": {"type": "string"}}), "context");
        Ok(GetPromptResponse::InputRequired(from(asked(json!({"user_context": ask}), None))?))
    }
}

/// Asks only for what the client can do.
fn capabilities(given: &Given<'_>, context: &RequestContext<RoleServer>) -> Value {
    if given.responses.is_some() {
        return said("thank you");
    }
    let can = context.client_capabilities().unwrap_or_default();
    let mut asks = json!({});
    if can.sampling.is_some() {
        asks["question"] = sampling("What is the capital of France?");
    }
    if can.elicitation.is_some() {
        asks["user_name"] = name("What is your name?");
    }
    if asks.as_object().is_some_and(|asks| asks.is_empty()) {
        said("nothing to ask")
    } else {
        asked(asks, None)
    }
}

fn asked(requests: Value, state: Option<String>) -> Value {
    let mut result = json!({"resultType": "input_required", "inputRequests": requests});
    if let Some(state) = state {
        result["requestState"] = state.into();
    }
    result
}

fn name(message: &str) -> Value {
    elicit(message, json!({"name": {"type": "string"}}), "name")
}

fn elicit(message: &str, properties: Value, required: &str) -> Value {
    json!({"method": "elicitation/create", "params": {"message": message, "requestedSchema": {
        "type": "object", "properties": properties, "required": [required]}}})
}

fn sampling(text: &str) -> Value {
    json!({"method": "sampling/createMessage", "params": {"maxTokens": 100,
        "messages": [{"role": "user", "content": {"type": "text", "text": text}}]}})
}

fn roots() -> Value {
    json!({"method": "roots/list", "params": {}})
}
