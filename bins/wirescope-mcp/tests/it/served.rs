//! The server over HTTP, spoken to by hand: what stands on the wire is what is tested.

use std::{net::SocketAddr, process::Stdio};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    process::Child,
};

use crate::agent::{command, within};

/// A server process over HTTP.
pub(crate) struct Served {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) state: tempfile::TempDir,
    _work: tempfile::TempDir,
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// A field of the head.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The messages in the body, be it a stream of events or one message.
    pub(crate) fn messages(&self) -> Vec<Value> {
        if self.field("content-type").is_some_and(|kind| kind.starts_with("application/json")) {
            return vec![serde_json::from_str(&self.body).unwrap()];
        }
        let data = self.body.lines().filter_map(|line| line.strip_prefix("data:"));
        data.filter_map(|data| serde_json::from_str(data.trim()).ok()).collect()
    }

    /// The result or error that answers a request.
    pub(crate) fn reply(&self) -> Value {
        let answers = |message: &Value| message.get("result").is_some() || message.get("error").is_some();
        let found = self.messages().into_iter().find(answers);
        found.unwrap_or_else(|| panic!("{} {}\n{}", self.status, self.head, self.body))
    }
}

impl Served {
    pub(crate) async fn start(args: &[&str]) -> Self {
        Self::with(args, &[]).await
    }

    pub(crate) async fn with(args: &[&str], env: &[(&str, &str)]) -> Self {
        let (state, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut command = command(state.path(), work.path(), &["--transport", "http"]);
        command.args(args).envs(env.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line =
            within("the server's address", lines.next_line()).await.unwrap().expect("the server ended");
        let address = line.trim_start_matches("http://").trim_end_matches("/mcp").parse().unwrap();
        Self { child, address, state, _work: work }
    }

    /// Sends a request with these further header fields, and reads the answer to its end.
    pub(crate) async fn send(&self, method: &str, path: &str, fields: &[(&str, &str)], body: &str) -> Answer {
        let mut stream = self.open(method, path, fields, body).await;
        let mut bytes = Vec::new();
        // A server that refuses a body may reset the connection after its answer.
        let _ = within("the answer", stream.read_to_end(&mut bytes)).await;
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }

    /// Sends a request of HTTP/1.0, whose answer ends with the connection.
    pub(crate) async fn open(
        &self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: &str,
    ) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let mut head = format!("{method} {path} HTTP/1.0\r\nContent-Length: {}\r\n", body.len());
        let given = |name: &str| fields.iter().any(|(given, _)| given.eq_ignore_ascii_case(name));
        if !given("host") {
            head.push_str(&format!("Host: {}\r\n", self.address));
        }
        head.push_str("Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n");
        for (name, value) in fields {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        // The server may answer before it has read all.
        let _ = stream.write_all(body.as_bytes()).await;
        stream
    }

    /// Begins a session of the versions that have some.
    pub(crate) async fn greet(&self, fields: &[(&str, &str)]) -> Session<'_> {
        let hello = self.send("POST", "/mcp", fields, &hello()).await;
        assert_eq!(hello.status, 200, "{}", hello.body);
        assert_eq!(hello.reply()["result"]["serverInfo"]["name"], "wirescope");
        let id = hello.field("mcp-session-id").unwrap().to_owned();
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let session = Session { served: self, id, fields };
        let told = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        assert_eq!(session.post(&told).await.status, 202);
        session
    }

    /// Asks without a session, as 2026-07-28 does.
    pub(crate) async fn ask_alone(&self, method: &str, params: Value) -> Answer {
        let (fields, body) = alone(method, params);
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.send("POST", "/mcp", &fields, &body).await
    }
}

/// The fields and the body of a request without a session.
pub(crate) fn alone(method: &str, mut params: Value) -> (Vec<(&'static str, String)>, String) {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let mut fields =
        vec![("MCP-Protocol-Version", "2026-07-28".to_owned()), ("Mcp-Method", method.to_owned())];
    if let Some(name) = params["name"].as_str() {
        fields.push(("Mcp-Name", name.to_owned()));
    }
    let body = json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params});
    (fields, body.to_string())
}

/// An initialize request.
pub(crate) fn hello() -> String {
    json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}})
    .to_string()
}

/// A client's session.
pub(crate) struct Session<'a> {
    pub(crate) served: &'a Served,
    pub(crate) id: String,
    fields: Vec<(String, String)>,
}

impl Session<'_> {
    pub(crate) async fn post(&self, message: &Value) -> Answer {
        let mut fields = vec![("Mcp-Session-Id", self.id.as_str()), ("MCP-Protocol-Version", "2025-06-18")];
        fields.extend(self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        self.served.send("POST", "/mcp", &fields, &message.to_string()).await
    }

    pub(crate) async fn ask(&self, method: &str, params: Value) -> Value {
        let request = json!({"jsonrpc": "2.0", "id": 2, "method": method, "params": params});
        self.post(&request).await.reply()["result"].clone()
    }

    /// Calls a tool; its structured result.
    pub(crate) async fn call(&self, tool: &str, arguments: Value) -> Value {
        let result = self.ask("tools/call", json!({"name": tool, "arguments": arguments})).await;
        result["structuredContent"].clone()
    }

    pub(crate) async fn tools(&self) -> Vec<String> {
        let listed = self.ask("tools/list", json!({})).await;
        let name = |tool: &Value| tool["name"].as_str().unwrap().to_owned();
        listed["tools"].as_array().unwrap().iter().map(name).collect()
    }
}
