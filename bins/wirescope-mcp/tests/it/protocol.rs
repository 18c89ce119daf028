#![expect(
    deprecated,
    reason = "earlier versions of the protocol have logging and subscriptions in forms of their own"
)]

use rmcp::{
    ClientHandler, RoleClient, ServiceExt as _,
    model::{
        ArgumentInfo, CallToolRequestParams, CompleteRequestParams, GetPromptRequestParams, LoggingLevel,
        LoggingMessageNotificationParam, ProgressNotificationParam, Reference,
        ResourceUpdatedNotificationParam, SetLevelRequestParams, SubscribeRequestParams,
    },
    service::{NotificationContext, RunningService},
    transport::TokioChildProcess,
};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::agent::{Agent, command, within};

/// What a client was told.
#[derive(Debug)]
pub(crate) enum Heard {
    Progress(f64),
    Updated(String),
    Log(Value),
    Tools,
}

/// A client that writes down what it is told.
pub(crate) struct Ears(pub(crate) mpsc::UnboundedSender<Heard>);

impl ClientHandler for Ears {
    async fn on_progress(&self, told: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        let _ = self.0.send(Heard::Progress(told.progress));
    }
    async fn on_resource_updated(
        &self,
        told: ResourceUpdatedNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        let _ = self.0.send(Heard::Updated(told.uri));
    }
    async fn on_logging_message(
        &self,
        told: LoggingMessageNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        let _ = self.0.send(Heard::Log(told.data));
    }
    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        let _ = self.0.send(Heard::Tools);
    }
}

/// A server with a client that listens.
struct Listening {
    client: RunningService<RoleClient, Ears>,
    heard: mpsc::UnboundedReceiver<Heard>,
    _dirs: (tempfile::TempDir, tempfile::TempDir),
}

impl Listening {
    async fn new() -> Self {
        let dirs = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let command = command(dirs.0.path(), dirs.1.path(), &["--toolsets", "core,capture"]);
        let (told, heard) = mpsc::unbounded_channel();
        let process = TokioChildProcess::new(command).unwrap();
        let client = within("greeting", Ears(told).serve(process)).await.unwrap();
        Self { client, heard, _dirs: dirs }
    }

    async fn call(&self, tool: &'static str, arguments: Value) -> Value {
        let Value::Object(arguments) = arguments else { panic!("an object") };
        let params = CallToolRequestParams::new(tool).with_arguments(arguments);
        let result = within(tool, Box::pin(self.client.call_tool(params))).await.unwrap();
        result.structured_content.unwrap()
    }

    async fn hears<T>(&mut self, what: &str, is: impl Fn(&Heard) -> Option<T>) -> T {
        within(what, async {
            loop {
                if let Some(found) = is(&self.heard.recv().await.unwrap()) {
                    return found;
                }
            }
        })
        .await
    }
}

#[tokio::test]
async fn long_calls_tell_of_progress() {
    let mut server = Listening::new().await;
    server.call("proxy_start", json!({})).await;
    server.call("capture_traffic", json!({"duration": 2.5})).await;
    let progress = |heard: &Heard| match heard {
        Heard::Progress(progress) => Some(*progress),
        _ => None,
    };
    let first = server.hears("progress", progress).await;
    let second = server.hears("more progress", progress).await;
    assert!(second > first && first > 0.0, "{first} {second}");
}

#[tokio::test]
async fn subscribers_hear_of_changes_and_of_new_tools() {
    let mut server = Listening::new().await;
    server.client.subscribe(SubscribeRequestParams::new("proxy://status")).await.unwrap();
    let error = server.client.subscribe(SubscribeRequestParams::new("proxy://nothing")).await.unwrap_err();
    assert!(error.to_string().contains("proxy://nothing"), "{error}");
    server.call("proxy_start", json!({})).await;
    let updated = |heard: &Heard| match heard {
        Heard::Updated(uri) => Some(uri.clone()),
        _ => None,
    };
    assert_eq!(server.hears("the change", updated).await, "proxy://status");
    server.call("enable_toolset", json!({"toolset": "rules"})).await;
    server.hears("the new tools", |heard| matches!(heard, Heard::Tools).then_some(())).await;
}

#[tokio::test]
async fn the_log_is_read_by_who_asks_for_it() {
    let mut server = Listening::new().await;
    server.client.set_level(SetLevelRequestParams::new(LoggingLevel::Info)).await.unwrap();
    server.call("proxy_start", json!({})).await;
    server.call("proxy_stop", json!({})).await;
    let line = |heard: &Heard| match heard {
        Heard::Log(line) => Some(line.to_string()),
        _ => None,
    };
    let line = server.hears("a line", line).await;
    assert!(!line.is_empty());
}

#[tokio::test]
async fn sessions_have_resources_by_template() {
    let (agent, origin, proxy) = Agent::with_origin().await;
    let mut client = proxy.https(&origin.authority()).await.unwrap();
    client.get("/json").await.unwrap();
    client.get("/status/503").await.unwrap();
    agent.settled(2).await;
    let templates = agent.client.list_all_resource_templates().await.unwrap();
    assert_eq!(templates.len(), 3);
    for template in templates {
        let uri = template.uri_template.replace("{session_id}", "s1");
        let (text, mime) = agent.resource(&uri).await.unwrap();
        assert_eq!(mime, "application/json");
        let report: Value = serde_json::from_str(&text).unwrap();
        match template.name.as_str() {
            "session-summary" => assert_eq!(report["exchanges"], 2, "{report}"),
            "session-timeline" => assert!(!report["intervals"].as_array().unwrap().is_empty(), "{report}"),
            _ => assert!(report["findings"].is_array(), "{report}"),
        }
    }
    let (text, _) = agent.resource("proxy://traffic/summary").await.unwrap();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["exchanges"], 2, "{text}");
    let (text, _) = agent.resource("proxy://interceptors").await.unwrap();
    assert!(text.contains("terminal"), "{text}");
    for wrong in ["proxy://sessions/s9/summary", "proxy://sessions/../summary", "proxy://sessions/s1/nothing"]
    {
        agent.resource(wrong).await.unwrap_err();
    }
}

#[tokio::test]
async fn arguments_of_prompts_and_templates_are_completed() {
    let (agent, origin, proxy) = Agent::with_origin().await;
    proxy.https(&origin.authority()).await.unwrap().get("/json").await.unwrap();
    agent.settled(1).await;
    let complete = async |reference: Reference, name: &str, value: &str| {
        let params = CompleteRequestParams::new(reference, ArgumentInfo::new(name, value));
        agent.client.complete(params).await.unwrap().completion.values
    };
    let prompt = || Reference::for_prompt("map-this-api");
    let hosts = complete(prompt(), "host", "").await;
    assert_eq!(hosts.len(), 1, "{hosts:?}");
    assert_eq!(complete(prompt(), "host", &hosts[0][..3]).await, hosts);
    assert!(complete(prompt(), "host", "nowhere' OR 1=1 --").await.is_empty());
    assert_eq!(complete(prompt(), "session_id", "s").await, ["s1"]);
    assert_eq!(complete(Reference::for_prompt("debug-failing-request"), "exchange_id", "e").await, ["e1"]);
    assert!(complete(prompt(), "nothing", "x").await.is_empty());
    let template = Reference::for_resource("proxy://sessions/{session_id}/summary");
    assert_eq!(complete(template, "session_id", "").await, ["s1"]);
}

#[tokio::test]
async fn prompts_lead_through_an_investigation() {
    let agent = Agent::with(&["--toolsets", "core"]).await;
    let prompts = agent.client.list_all_prompts().await.unwrap();
    let names: Vec<_> = prompts.iter().map(|prompt| prompt.name.as_str()).collect();
    assert_eq!(names, ["debug-failing-request", "map-this-api", "compare-two-runs"]);
    let get = async |name: &str, arguments: Value| {
        let Value::Object(arguments) = arguments else { panic!("an object") };
        let params = GetPromptRequestParams::new(name).with_arguments(arguments);
        agent.client.get_prompt(params).await
    };
    let prompt = get("debug-failing-request", json!({"exchange_id": "e7"})).await.unwrap();
    let text = serde_json::to_string(&prompt.messages).unwrap();
    assert!(
        text.contains("e7") && text.contains("proxy_get_exchange") && text.contains("untrusted"),
        "{text}"
    );
    get("map-this-api", json!({})).await.unwrap_err();
    get("map-this-api", json!({"host": "a", "hots": "b"})).await.unwrap_err();
    get("nothing", json!({})).await.unwrap_err();
}

#[tokio::test]
async fn the_server_tells_about_itself() {
    let agent = Agent::new().await;
    assert_eq!(agent.ok("get_version", json!({})).await["version"], env!("CARGO_PKG_VERSION"));
    let config = agent.ok("get_config", json!({"proxyPort": 8000})).await;
    let pem = config["config"]["certificateContent"].as_str().unwrap();
    assert!(pem.starts_with("-----BEGIN CERTIFICATE-----"));
    assert_eq!(config["config"]["redact"], false);
    let interfaces = agent.ok("get_network_interfaces", json!({})).await;
    let all = interfaces["networkInterfaces"].to_string();
    assert!(all.contains("127.0.0.1"), "{all}");
    agent.refused("shutdown_server", json!({}), "not_confirmed").await;
    agent.ok("shutdown_server", json!({"confirm": true})).await;
}

#[tokio::test]
async fn a_file_of_flags_and_a_file_of_rules_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let (config, rules) = (directory.path().join("mcp.toml"), directory.path().join("rules.toml"));
    std::fs::write(&rules, "[[rules]]\nid = \"mine\"\n").unwrap();
    std::fs::write(&config, format!("toolsets = \"core,rules\"\nrules = {rules:?}\n")).unwrap();
    // The environment goes before the file.
    let agent = Agent::with(&["--config", config.to_str().unwrap()]).await;
    assert_eq!(agent.ok("proxy_list_rules", json!({})).await["rules"][0]["id"], "mine");
}
