//! Requests of one's own, sent through the engine and recorded like any other.

use std::{borrow::Cow, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use capture_store::BodySide;
use http::Method;
use proxy_core::{
    ConnectionId, Failure, HostPattern, RequestHead, SendBody, SendRequest, SendVersion, Sender,
};
use rmcp::{
    RoleServer,
    handler::server::{
        router::tool::ToolRouter,
        wrapper::{Json, Parameters},
    },
    service::RequestContext,
    tool, tool_router,
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::{
    body::{Encoding, slice},
    catalogue::{Family, Reference},
    detail::{BodyView, Depth, ExchangeView},
    error::{ToolError, chain},
    toolbox::{Toolbox, blocking},
    toolsets::Toolset,
    view::{HeaderMap, Success},
};

/// The family.
pub(crate) const FAMILY: Family = Family {
    name: "send",
    toolset: Toolset::Replay,
    summary: "Requests of one's own, sent through the engine and recorded like any other.",
    router,
    references: &[Reference::new(
        "send_http_request",
        "httptoolkit-mcp",
        "goes through the engine: rules, parent proxies and TLS options apply, and it is recorded (`exchange_id`); Host and \
         Content-Length are added where they are missing; HTTP version by choice; bodies that are no text as base64, by slice; \
         redirects are not followed",
    )],
};

fn router() -> ToolRouter<Toolbox> {
    Toolbox::send_router()
}

fn thirty_seconds() -> u64 {
    30_000
}

fn body_limit() -> u32 {
    4096
}

/// Hosts whose certificates are not verified: a list, or `true` for all.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum IgnoreErrors {
    All(bool),
    Hosts(Vec<String>),
}

impl JsonSchema for IgnoreErrors {
    fn schema_name() -> Cow<'static, str> {
        "IgnoreErrors".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["array", "boolean"], "items": {"type": "string"}, "maxItems": 100})
    }
}

/// How a body is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum BodyEncoding {
    /// As it is.
    #[default]
    Text,
    /// Base64.
    Base64,
}

/// What is spoken with upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub(crate) enum HttpVersion {
    /// What upstream chooses.
    #[default]
    #[serde(rename = "auto")]
    Auto,
    /// HTTP/1.1.
    #[serde(rename = "1.1")]
    Http1,
    /// HTTP/2.
    #[serde(rename = "2")]
    Http2,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct SendParams {
    /// The method.
    #[schemars(length(min = 1, max = 64))]
    method: String,
    /// The absolute URL.
    #[schemars(length(min = 1, max = 65_536))]
    url: String,
    /// [name, value], in this order and case.
    #[serde(default)]
    #[schemars(length(max = 500))]
    headers: Vec<[String; 2]>,
    /// The body.
    #[schemars(length(max = 16_777_216))]
    body: Option<String>,
    /// How `body` is written.
    #[serde(default)]
    body_encoding: BodyEncoding,
    /// Hosts not to verify; true for all.
    #[serde(rename = "ignoreHostHttpsErrors")]
    ignore_errors: Option<IgnoreErrors>,
    /// HTTP version.
    #[serde(default)]
    http_version: HttpVersion,
    /// Milliseconds.
    #[serde(default = "thirty_seconds")]
    #[schemars(range(min = 1, max = 600_000))]
    timeout_ms: u64,
    /// Bytes of the answer to skip.
    #[serde(default)]
    #[schemars(range(min = 0))]
    body_offset: u64,
    /// Bytes of it at most.
    #[serde(default = "body_limit")]
    #[schemars(range(min = 0, max = 65_536))]
    body_limit: u32,
}

/// What came back.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Sent {
    status: Success,
    /// Its exchange, for proxy_get_exchange.
    #[serde(rename = "exchange_id")]
    exchange_id: String,
    status_code: u16,
    status_message: String,
    http_version: String,
    /// By lower-case name.
    headers: HeaderMap,
    /// Its piece that was asked for, decoded.
    body: String,
    /// `base64` where the bytes are no text; absent where they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_encoding: Option<Encoding>,
    /// Bytes on the wire.
    body_size: u64,
    /// The body_offset of proxy_get_exchange that continues; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_next_offset: Option<u64>,
    /// What is missing of the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_problem: Option<String>,
    /// Milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<u64>,
}

#[tool_router(router = send_router, vis = "pub(crate)")]
impl Toolbox {
    /// Send an HTTP request through the engine: rules apply, it is recorded; redirects are not followed.
    #[tool(
        name = "send_http_request",
        title = "Send a request",
        annotations(
            read_only_hint = false,
            destructive_hint = true,
            idempotent_hint = false,
            open_world_hint = true
        )
    )]
    pub(crate) async fn send_http_request(
        &self,
        Parameters(params): Parameters<SendParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<Json<Sent>, ToolError> {
        let request = request(&params)?;
        let hosts = insecure(&params)?;
        let (sender, mark) = if hosts.is_empty() {
            (self.must_run()?.sender, None)
        } else {
            let (sender, mark) = self.trusting_sender(hosts).await?;
            (sender, Some(mark))
        };
        let sent = tokio::select! {
            sent = Box::pin(conduct(&sender, request)) => sent,
            () = context.ct.cancelled() => return Err(cancelled()),
            () = self.closing() => return Err(cancelled()),
        };
        let (connection, failure) = sent?;
        let number = mark.map_or(connection.0, |mark| mark.connection(connection));
        let seq = self.sent_exchange(number).await?;
        if let Some(failure) = failure {
            return Err(failed(&failure, seq.map(|seq| seq.to_string())));
        }
        let Some(seq) = seq else {
            return Err(ToolError::new(
                "not_recorded",
                "the request was answered, but its exchange is not recorded",
            )
            .hint("proxy_session_status says how the recorder stands"));
        };
        let store = self.store().await?;
        blocking(move || {
            let exchange = store.exchange(seq)?;
            let depth = Depth {
                request_body: None,
                response_body: slice(params.body_offset, params.body_limit),
                full_headers: false,
                messages: (0, 0),
            };
            let view = ExchangeView::read(&store, &exchange, depth)?;
            let recorded = store.body(seq, BodySide::Response)?.map_or(0, |body| body.recorded().wire_bytes);
            Sent::new(view, recorded).map(Json)
        })
        .await
    }
}

impl Sent {
    fn new(view: ExchangeView, body_size: u64) -> Result<Self, ToolError> {
        let Some(response) = view.response else {
            return Err(ToolError::new("not_recorded", "the response is not recorded")
                .hint("proxy_session_status says how the recorder stands"));
        };
        let BodyView { body_preview, body_encoding, body_next_offset, body_problem, .. } = response.body;
        Ok(Self {
            status: Success::Success,
            exchange_id: view.id,
            status_code: response.status_code,
            status_message: response.status_message,
            http_version: response.http_version,
            headers: response.headers,
            body: body_preview,
            body_encoding,
            body_size,
            body_next_offset,
            body_problem,
            duration: view.duration,
        })
    }
}

/// Sends and reads to the end; the body is kept by the recorder. An exchange that began is told by its connection.
async fn conduct(
    sender: &Sender,
    request: SendRequest,
) -> Result<(ConnectionId, Option<Failure>), ToolError> {
    let sending = sender.send(request).await.map_err(|failure| failed(&failure, None))?;
    let connection = sending.connection();
    let ended = async {
        let mut response = sending.response().await?;
        response.body.collect(0).await.map(drop)
    };
    Ok((connection, Box::pin(ended).await.err()))
}

/// The request as it is to be sent.
fn request(params: &SendParams) -> Result<SendRequest, ToolError> {
    let method = Method::from_bytes(params.method.as_bytes())
        .map_err(|_| ToolError::invalid("method is no token").hint("write one like GET"))?;
    let mut head = RequestHead::to_url(method, &params.url).map_err(|failure| {
        ToolError::invalid(format!("url: {}", failure.detail)).hint("give an absolute URL")
    })?;
    let given = |name: &str| params.headers.iter().any(|[given, _]| given.eq_ignore_ascii_case(name));
    if given("host") {
        head.headers.remove("host");
    }
    for [name, value] in &params.headers {
        let valid = !name.is_empty()
            && http::HeaderName::from_bytes(name.as_bytes()).is_ok()
            && !value.contains(['\r', '\n', '\0']);
        if !valid {
            return Err(ToolError::invalid(format!(
                "headers holds {name:?}, which is no field or has line breaks"
            ))
            .hint("write fields as [\"name\", \"value\"]"));
        }
        head.headers.push(name.clone(), value.clone());
    }
    let mut request = SendRequest::new(head);
    if let Some(body) = &params.body {
        let bytes = match params.body_encoding {
            BodyEncoding::Text => Bytes::copy_from_slice(body.as_bytes()),
            BodyEncoding::Base64 => STANDARD.decode(body.trim()).map(Bytes::from).map_err(|error| {
                ToolError::invalid(format!("body is no base64: {error}")).hint("or give body_encoding text")
            })?,
        };
        request.body = SendBody::whole(bytes);
    }
    request.version = match params.http_version {
        HttpVersion::Auto => SendVersion::Auto,
        HttpVersion::Http1 => SendVersion::Http1,
        HttpVersion::Http2 => SendVersion::Http2,
    };
    request.patience = Some(Duration::from_millis(params.timeout_ms));
    Ok(request)
}

/// The hosts whose certificates are not verified.
fn insecure(params: &SendParams) -> Result<Vec<HostPattern>, ToolError> {
    let hosts = match &params.ignore_errors {
        None | Some(IgnoreErrors::All(false)) => Vec::new(),
        Some(IgnoreErrors::All(true)) => vec!["*".to_owned()],
        Some(IgnoreErrors::Hosts(hosts)) => hosts.clone(),
    };
    let host = |host: &String| {
        host.parse::<HostPattern>().map_err(|error| {
            ToolError::invalid(format!("ignoreHostHttpsErrors: failed to {}", chain(&error)))
                .hint("give host names, or true for all")
        })
    };
    hosts.iter().map(host).collect()
}

fn cancelled() -> ToolError {
    ToolError::new("cancelled", "the call was cancelled, and the request broken off").hint("call again")
}

fn failed(failure: &Failure, id: Option<String>) -> ToolError {
    let error = ToolError::new(
        "send_failed",
        format!("failed to send the request: {}: {failure}", failure.kind.code()),
    );
    match id {
        Some(id) => error.hint(format!("explain_failure with exchange_id {id} tells the cause and the fix")),
        None => error.hint("check method, url and headers"),
    }
}
