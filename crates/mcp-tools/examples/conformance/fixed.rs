//! Prompts and resources, which never change.

use serde_json::{Value, json};

/// One red pixel.
pub(crate) const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==";

pub(crate) fn prompts() -> Value {
    json!([
        {"name": "test_simple_prompt", "description": "No arguments."},
        {"name": "test_prompt_with_arguments", "description": "Two arguments.", "arguments": [
            {"name": "arg1", "description": "The first.", "required": true},
            {"name": "arg2", "description": "The second.", "required": true},
        ]},
        {"name": "test_prompt_with_embedded_resource", "description": "A resource in it.", "arguments": [
            {"name": "resourceUri", "description": "Which.", "required": true},
        ]},
        {"name": "test_prompt_with_image", "description": "An image in it."},
        {"name": "test_input_required_result_prompt", "description": "Asks for something first."},
    ])
}

pub(crate) fn prompt(name: &str, first: &str, second: &str) -> Option<Value> {
    let said = |text: &str| json!({"role": "user", "content": {"type": "text", "text": text}});
    let messages = match name {
        "test_simple_prompt" => vec![said("This is a simple prompt for testing.")],
        "test_prompt_with_arguments" => {
            vec![said(&format!("Prompt with arguments: arg1='{first}', arg2='{second}'"))]
        }
        "test_prompt_with_embedded_resource" => vec![
            json!({"role": "user", "content": {"type": "resource", "resource": {
                "uri": "test://example-resource", "mimeType": "text/plain", "text": "Embedded resource content."}}}),
            said("Please process the embedded resource above."),
        ],
        "test_prompt_with_image" => vec![
            json!({"role": "user", "content": {"type": "image", "data": PNG, "mimeType": "image/png"}}),
            said("Please analyze the image above."),
        ],
        _ => return None,
    };
    Some(json!({"resultType": "complete", "messages": messages}))
}

pub(crate) fn resources() -> Value {
    json!([
        {"uri": "test://static-text", "name": "text", "description": "A text.", "mimeType": "text/plain"},
        {"uri": "test://static-binary", "name": "binary", "description": "An image.", "mimeType": "image/png"},
        {"uri": "test://watched-resource", "name": "watched", "description": "Watched.", "mimeType": "text/plain"},
    ])
}

pub(crate) fn templates() -> Value {
    json!([{"uriTemplate": "test://template/{id}/data", "name": "by id", "description": "By id.",
            "mimeType": "application/json"}])
}

pub(crate) fn resource(uri: &str) -> Option<Value> {
    let text = |mime: &str, text: String| json!({"uri": uri, "mimeType": mime, "text": text});
    let contents = match uri {
        "test://static-text" => {
            text("text/plain", "This is the content of the static text resource.".to_owned())
        }
        "test://static-binary" => json!({"uri": uri, "mimeType": "image/png", "blob": PNG}),
        "test://watched-resource" => text("text/plain", "Watched resource content.".to_owned()),
        _ => {
            let id = uri.strip_prefix("test://template/")?.strip_suffix("/data")?;
            let data = json!({"id": id, "templateTest": true, "data": format!("Data for ID: {id}")});
            text("application/json", data.to_string())
        }
    };
    Some(json!({"resultType": "complete", "contents": [contents]}))
}
