//! A client with a server of its own, an origin, and a way through the proxy.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use rmcp::{
    RoleClient, ServiceExt as _,
    model::{CallToolRequestParams, ReadResourceRequestParams, Tool},
    service::RunningService,
    transport::TokioChildProcess,
};
use serde_json::{Map, Value, json};
use testkit::{DEADLINE, Origin, ProxyClient, TestCa};
use tokio::process::Command;

/// A client, its server process and the directories that one uses.
pub(crate) struct Agent {
    pub(crate) client: RunningService<RoleClient, ()>,
    pub(crate) pid: u32,
    tools: Vec<Tool>,
    /// What each tool's result is, in full.
    results: BTreeMap<String, Value>,
    /// The server's current directory, and so the allowed one.
    pub(crate) work: tempfile::TempDir,
    pub(crate) state: tempfile::TempDir,
}

/// How to start the server for tests: state of its own, nothing inherited.
pub(crate) fn command(state: &std::path::Path, work: &std::path::Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wirescope-mcp"));
    command.args(args).current_dir(work).env("WIRESCOPE_STATE_DIR", state);
    command.env("WIRESCOPE_TOOLSETS", "all");
    for name in
        ["WIRESCOPE_STORE", "WIRESCOPE_PORT", "WIRESCOPE_LISTEN", "WIRESCOPE_CLIENT_PROCESS", "RUST_LOG"]
    {
        command.env_remove(name);
    }
    command
}

impl Agent {
    pub(crate) async fn new() -> Self {
        Self::with(&[]).await
    }

    pub(crate) async fn with(args: &[&str]) -> Self {
        Self::within(tempfile::tempdir().unwrap(), args).await
    }

    async fn within(state: tempfile::TempDir, args: &[&str]) -> Self {
        let work = tempfile::tempdir().unwrap();
        let process = TokioChildProcess::new(command(state.path(), work.path(), args)).unwrap();
        let pid = process.id().unwrap();
        let client = within("greeting", ().serve(process)).await.unwrap();
        let tools = client.list_all_tools().await.unwrap();
        Self { client, pid, tools, results: mcp_tools::output_schemas(), work, state }
    }

    /// An agent whose proxy runs and trusts a TLS origin.
    pub(crate) async fn with_origin() -> (Self, Origin, ProxyClient) {
        let (agent, origin) = Self::beside_origin().await;
        let proxy = agent.start_proxy(json!({})).await;
        (agent, origin, proxy)
    }

    /// An agent whose proxy will trust a TLS origin, once it is started.
    pub(crate) async fn beside_origin() -> (Self, Origin) {
        let ca = TestCa::new().unwrap();
        let origin = Origin::https(&ca).await.unwrap();
        let state = tempfile::tempdir().unwrap();
        // As long as the server runs it may read it again.
        let pem = state.path().join("origins.pem");
        std::fs::write(&pem, ca.pem()).unwrap();
        (Self::within(state, &["--upstream-ca", pem.to_str().unwrap()]).await, origin)
    }

    /// Starts the proxy and gives a client of it that trusts its CA.
    pub(crate) async fn start_proxy(&self, arguments: Value) -> ProxyClient {
        let started = self.ok("proxy_start", arguments).await;
        let port = u16::try_from(started["port"].as_u64().unwrap()).unwrap();
        let pem = self.ok("proxy_get_ca_cert", json!({})).await["certPem"].as_str().unwrap().to_owned();
        ProxyClient::new(SocketAddr::from(([127, 0, 0, 1], port)), &pem, &["h2", "http/1.1"]).unwrap()
    }

    /// Calls a tool; the answer, or the error object.
    pub(crate) async fn call(&self, tool: &str, arguments: Value) -> Result<Value, Value> {
        let Value::Object(map) = arguments else { panic!("arguments are an object") };
        let params = CallToolRequestParams::new(tool.to_owned()).with_arguments(map);
        let result = within(tool, Box::pin(self.client.call_tool(params))).await.unwrap();
        let structured = result.structured_content.unwrap();
        let text = result.content[0].as_text().unwrap().text.clone();
        assert_eq!(
            serde_json::from_str::<Value>(&text).unwrap(),
            structured,
            "{tool}: text and structure differ"
        );
        assert_eq!(result.content.len(), 1);
        if let Some(listed) = self.tools.iter().find(|known| known.name == tool) {
            let outline = Value::Object(listed.output_schema.as_ref().unwrap().as_ref().clone());
            conform_outline(tool, &outline, &structured);
        }
        if result.is_error == Some(true) {
            return Err(structured);
        }
        if let Some(schema) = self.results.get(tool) {
            conform(tool, schema, &structured);
        }
        Ok(structured)
    }

    /// Calls a tool that must answer.
    pub(crate) async fn ok(&self, tool: &str, arguments: Value) -> Value {
        self.call(tool, arguments).await.unwrap_or_else(|error| panic!("{tool}: {error}"))
    }

    /// Calls a tool that must refuse, with this code.
    pub(crate) async fn refused(&self, tool: &str, arguments: Value, code: &str) -> Value {
        let error = self.call(tool, arguments.clone()).await.expect_err(tool);
        assert_eq!(error["status"], "error");
        assert_eq!(error["code"], code, "{tool} {arguments}: {error}");
        assert!(error["hint"].is_string(), "{tool} {arguments}: {error}");
        error
    }

    /// Waits until the traffic holds `count` exchanges and all of them have ended: a client has its answer before the
    /// exchange is over.
    pub(crate) async fn settled(&self, count: u64) -> Value {
        within("the end of the exchanges", async {
            loop {
                let all = self.ok("proxy_list_traffic", json!({"limit": 1000, "fields": ["*"]})).await;
                if all["total"] == count && !all.to_string().contains("inProgress") {
                    return all;
                }
            }
        })
        .await
    }

    /// Reads a resource's text and MIME type.
    pub(crate) async fn resource(&self, uri: &str) -> Result<(String, String), rmcp::ServiceError> {
        let result = self.client.read_resource(ReadResourceRequestParams::new(uri)).await?;
        let json = serde_json::to_value(&result.contents[0]).unwrap();
        let field = |name: &str| json[name].as_str().unwrap().to_owned();
        Ok((field("text"), field("mimeType")))
    }

    pub(crate) fn tools(&self) -> &[Tool] {
        &self.tools
    }

    /// A path in the allowed directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.work.path().canonicalize().unwrap().join(name)
    }
}

/// Checks what our schemas say: required fields, types, nothing that is not described.
fn conform(path: &str, schema: &Value, value: &Value) {
    if let Some(choices) = schema["anyOf"].as_array() {
        let kind = |choice: &&Value| fits(choice, value);
        let choice =
            choices.iter().find(kind).unwrap_or_else(|| panic!("{path}: {value} fits none of {schema}"));
        return conform(path, choice, value);
    }
    assert!(fits(schema, value), "{path}: {value} does not fit {schema}");
    if let (Some(properties), Some(object)) = (schema["properties"].as_object(), value.as_object()) {
        for required in schema["required"].as_array().into_iter().flatten() {
            assert!(
                object.contains_key(required.as_str().unwrap()),
                "{path}: {required} is missing in {value}"
            );
        }
        for (name, value) in object {
            let schema = properties.get(name).unwrap_or_else(|| panic!("{path}.{name} is not described"));
            conform(&format!("{path}.{name}"), schema, value);
        }
    }
    if let (Some(schema), Some(items)) = (schema.get("items").filter(|s| s.is_object()), value.as_array()) {
        items.iter().for_each(|item| conform(&format!("{path}[]"), schema, item));
    }
}

/// Checks what clients check: the types of the first level.
fn conform_outline(tool: &str, schema: &Value, value: &Value) {
    for (name, value) in value.as_object().unwrap() {
        let schema = &schema["properties"][name];
        assert!(fits(schema, value), "{tool}.{name}: {value} does not fit {schema}");
    }
}

fn fits(schema: &Value, value: &Value) -> bool {
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => return true,
    };
    let allowed = schema["enum"].as_array().is_none_or(|allowed| allowed.contains(value));
    allowed
        && kinds.iter().any(|kind| match *kind {
            "string" => value.is_string(),
            "integer" => value.is_u64() || value.is_i64(),
            "number" => value.is_number(),
            "boolean" => value.is_boolean(),
            "array" => value.is_array(),
            "object" => value.is_object(),
            "null" => value.is_null(),
            _ => false,
        })
}

/// The ids of a list of objects.
pub(crate) fn ids(items: &Value) -> Vec<String> {
    let id = |item: &Value| item.get("id").unwrap_or(&item[0]).as_str().unwrap().to_owned();
    items.as_array().unwrap().iter().map(id).collect()
}

/// The rows of a table as objects, under the names of its columns.
pub(crate) fn rows(table: &Value) -> Vec<Value> {
    let columns = table["columns"].as_array().unwrap();
    let object = |row: &Value| {
        let cells = row.as_array().unwrap().iter().cloned();
        Value::Object(columns.iter().map(|name| name.as_str().unwrap().to_owned()).zip(cells).collect())
    };
    table["rows"].as_array().unwrap().iter().map(object).collect()
}

/// An object's entries.
pub(crate) fn object(value: &Value) -> &Map<String, Value> {
    value.as_object().unwrap()
}

/// Waits, but not for ever.
pub(crate) async fn within<T>(what: &str, wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, wait).await.unwrap_or_else(|_| panic!("{what} did not come in time"))
}
