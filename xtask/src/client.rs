//! A client of the built server, over standard input and output.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A client with a server of its own.
pub(crate) struct Client {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    directory: TempDir,
    asked: u64,
}

impl Client {
    /// Starts the server with these arguments, and greets it.
    pub(crate) fn start(server: &Path, arguments: &[&str]) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let mut child = Command::new(server)
            .args(arguments)
            .arg("--state-dir")
            .arg(directory.path().join("state"))
            .current_dir(directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("failed to start wirescope-mcp")?;
        let input = child.stdin.take().context("no standard input")?;
        let output = BufReader::new(child.stdout.take().context("no standard output")?);
        let mut client = Self { child, input, output, directory, asked: 0 };
        let hello = json!({"protocolVersion": "2025-06-18", "capabilities": {},
                           "clientInfo": {"name": "xtask", "version": "1"}});
        client.ask("initialize", hello)?;
        client.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))?;
        Ok(client)
    }

    /// The server's directory, where it may read files.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    fn send(&mut self, message: &Value) -> Result<()> {
        writeln!(self.input, "{message}")?;
        Ok(self.input.flush()?)
    }

    /// Asks, and gives the result.
    pub(crate) fn ask(&mut self, method: &str, params: Value) -> Result<Value> {
        self.asked += 1;
        let id = self.asked;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))?;
        loop {
            let mut line = String::new();
            if self.output.read_line(&mut line)? == 0 {
                bail!("wirescope-mcp ended");
            }
            let message: Value = serde_json::from_str(&line)?;
            if message["id"] == id {
                return match message.get("result") {
                    Some(result) => Ok(result.clone()),
                    None => bail!("{method} failed: {message}"),
                };
            }
        }
    }

    /// Calls a tool, and gives its structured result.
    pub(crate) fn call(&mut self, tool: &str, arguments: Value) -> Result<Value> {
        let result = self.ask("tools/call", json!({"name": tool, "arguments": arguments}))?;
        if result["isError"] == true {
            bail!("{tool} failed: {}", result["structuredContent"]);
        }
        Ok(result["structuredContent"].clone())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
