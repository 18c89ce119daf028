//! rmcp's own client over Streamable HTTP: several at once, what they are told, who is refused, how it ends.
//!
//! Of rmcp's HTTP clients this is the one on hyper, which the build has anyway. It dials Unix sockets, so one that leads to
//! the server's port stands between.

use std::collections::HashMap;

use http::{HeaderName, HeaderValue};
use rmcp::{
    RoleClient, ServiceExt as _,
    model::CallToolRequestParams,
    service::{ClientInitializeError, RunningService},
    transport::{
        StreamableHttpClientTransport, UnixSocketHttpClient,
        streamable_http_client::StreamableHttpClientTransportConfig,
    },
};
use serde_json::{Value, json};
use tokio::{
    io::copy_bidirectional,
    net::{TcpStream, UnixListener},
    sync::mpsc,
    task::JoinSet,
};

use crate::{
    agent::within,
    protocol::{Ears, Heard},
    served::Served,
};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A Unix socket that leads to a server's port.
struct Way {
    served: Served,
    path: std::path::PathBuf,
    _directory: tempfile::TempDir,
    _forwarding: JoinSet<()>,
}

impl Way {
    fn to(served: Served) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mcp.sock");
        let (listener, address) = (UnixListener::bind(&path).unwrap(), served.address);
        let mut forwarding = JoinSet::new();
        forwarding.spawn(async move {
            let mut each = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                each.spawn(async move {
                    let mut server = TcpStream::connect(address).await?;
                    copy_bidirectional(&mut client, &mut server).await
                });
            }
        });
        Self { served, path, _directory: directory, _forwarding: forwarding }
    }

    /// A client that greets the server as `host`, with these header fields and this token.
    async fn client_as(
        &self,
        host: &str,
        fields: &[(&'static str, &'static str)],
        token: Option<&str>,
    ) -> Result<Remote, ClientInitializeError> {
        let uri = format!("http://{host}/mcp");
        let field = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let fields: HashMap<_, _> = fields.iter().map(field).collect();
        let mut config = StreamableHttpClientTransportConfig::with_uri(uri.as_str()).custom_headers(fields);
        if let Some(token) = token {
            config = config.auth_header(token);
        }
        let client = UnixSocketHttpClient::new(self.path.to_str().unwrap(), &uri);
        let transport = StreamableHttpClientTransport::with_client(client, config);
        let (told, heard) = mpsc::unbounded_channel();
        let client = within("the greeting", Ears(told).serve(transport)).await?;
        Ok(Remote { client, heard })
    }

    async fn client(&self) -> Remote {
        self.client_as(&self.served.address.to_string(), &[], None).await.unwrap()
    }
}

/// A client that writes down what it is told.
struct Remote {
    client: RunningService<RoleClient, Ears>,
    heard: mpsc::UnboundedReceiver<Heard>,
}

impl Remote {
    async fn call(&self, tool: &'static str, arguments: Value) -> Value {
        let Value::Object(arguments) = arguments else { panic!("an object") };
        let params = CallToolRequestParams::new(tool).with_arguments(arguments);
        let result = within(tool, Box::pin(self.client.call_tool(params))).await.unwrap();
        result.structured_content.unwrap()
    }

    async fn lists(&self, tool: &str) -> bool {
        let tools = within("the tools", self.client.list_all_tools()).await.unwrap();
        tools.iter().any(|listed| listed.name == tool)
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

async fn served(args: &[&str]) -> Way {
    Way::to(Served::with(args, &[("WIRESCOPE_TOOLSETS", "core,capture")]).await)
}

#[tokio::test]
async fn clients_list_and_call_over_http_and_share_one_engine() {
    let way = served(&[]).await;
    let (first, second) = (way.client().await, way.client().await);
    assert!(first.lists("proxy_start").await);
    let started = first.call("proxy_start", json!({})).await;
    // Many calls of many clients at once.
    let mut calls = JoinSet::new();
    for remote in [way.client().await, way.client().await, way.client().await] {
        let port = started["port"].clone();
        calls.spawn(async move {
            for _ in 0..10 {
                assert_eq!(remote.call("proxy_status", json!({})).await["port"], port);
            }
        });
    }
    calls.join_all().await;
    let capture = first.call("start_live_capture", json!({})).await["capture_id"].clone();
    let peeked = second.call("peek_live_capture", json!({"capture_id": capture})).await;
    assert_eq!(peeked["rows"], json!([]), "{peeked}");
    second.call("proxy_stop", json!({})).await;
    assert_eq!(first.call("proxy_status", json!({})).await["running"], false);
}

#[tokio::test]
async fn clients_over_http_hear_of_tools_progress_and_resources() {
    let way = served(&[]).await;
    let (mut first, mut second) = (way.client().await, way.client().await);
    let enabled = first.call("enable_toolset", json!({"toolset": "rules"})).await;
    assert_eq!(enabled["status"], "success");
    first.hears("the new tools", |heard| matches!(heard, Heard::Tools).then_some(())).await;
    assert!(first.lists("proxy_add_rule").await && !second.lists("proxy_add_rule").await);

    second.subscribe("proxy://status").await;
    first.call("proxy_start", json!({})).await;
    let updated = |heard: &Heard| match heard {
        Heard::Updated(uri) => Some(uri.clone()),
        _ => None,
    };
    assert_eq!(second.hears("the change", updated).await, "proxy://status");

    first.call("capture_traffic", json!({"duration": 1.5})).await;
    let progress = |heard: &Heard| match heard {
        Heard::Progress(progress) => Some(*progress),
        _ => None,
    };
    assert!(first.hears("progress", progress).await > 0.0);
}

#[tokio::test]
async fn clients_without_the_token_or_from_elsewhere_are_refused_over_http() {
    let way = Way::to(Served::with(&[], &[("WIRESCOPE_MCP_TOKEN", TOKEN)]).await);
    let host = way.served.address.to_string();
    let evil: [(&str, &str); 1] = [("origin", "https://evil.example")];
    for (host, fields, token) in [
        (host.as_str(), &[][..], None),
        (host.as_str(), &[][..], Some("another-token-of-32-characters-xx")),
        (host.as_str(), &evil[..], Some(TOKEN)),
        ("evil.example", &[][..], Some(TOKEN)),
    ] {
        let refused = way.client_as(host, fields, token).await;
        assert!(refused.is_err(), "{host} {fields:?} {token:?}");
    }
    let local: [(&str, &str); 1] = [("origin", "http://localhost:5173")];
    for fields in [&[][..], &local[..]] {
        let remote = way.client_as(&host, fields, Some(TOKEN)).await.unwrap();
        assert_eq!(remote.call("proxy_status", json!({})).await["running"], false);
    }
}

#[tokio::test]
async fn a_server_over_http_that_is_told_to_end_answers_what_is_under_way() {
    let mut way = served(&[]).await;
    let (mut waiting, other) = (way.client().await, way.client().await);
    other.call("proxy_start", json!({})).await;
    let call = async {
        let arguments = json!({"duration": 250.0}).as_object().cloned().unwrap();
        let params = CallToolRequestParams::new("capture_traffic").with_arguments(arguments);
        within("the answer", Box::pin(waiting.client.call_tool(params))).await
    };
    let pid = way.served.child.id().unwrap().to_string();
    let end = async {
        let progress = |heard: &Heard| matches!(heard, Heard::Progress(_)).then_some(());
        within("the call's begin", async {
            while progress(&waiting.heard.recv().await.unwrap()).is_none() {}
        })
        .await;
        tokio::process::Command::new("kill").args(["-TERM", &pid]).status().await.unwrap();
    };
    let (answer, ()) = tokio::join!(call, end);
    let answer = answer.unwrap().structured_content.unwrap();
    assert_eq!(answer["status"], "success", "{answer}");
    assert!(within("the end", way.served.child.wait()).await.unwrap().success());
}

impl Remote {
    #[expect(
        deprecated,
        reason = "earlier versions of the protocol have subscriptions in a form of their own"
    )]
    async fn subscribe(&self, uri: &str) {
        let params = rmcp::model::SubscribeRequestParams::new(uri);
        within("the subscription", self.client.subscribe(params)).await.unwrap();
    }
}
