//! What a request meets before MCP does.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited, combinators::BoxBody};
use hyper::body::Incoming;
use rmcp::{
    ServerHandler,
    transport::streamable_http_server::{StreamableHttpService, session::local::LocalSessionManager},
};

use super::{BearerToken, sessions::Sessions};

/// The one path there is.
const PATH: &str = "/mcp";
/// Bytes of a request's body: larger ones are answered 413. Arguments hold bodies to be sent.
pub(super) const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;
/// How long a request's body may take to come: slower ones are answered 408.
const BODY_TIME: Duration = Duration::from_secs(30);
/// The first version of the protocol without sessions.
const SESSIONLESS: &str = "2026-07-28";

type Answer = Response<BoxBody<Bytes, Infallible>>;

/// What a request meets before MCP does.
pub(super) struct Gate<H> {
    pub(super) service: StreamableHttpService<H, LocalSessionManager>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) token: Option<BearerToken>,
}

impl<H: ServerHandler> Gate<H> {
    /// Answers one request. Never fails: what goes wrong is an answer.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Answer {
        if request.uri().path() != PATH {
            return said(StatusCode::NOT_FOUND, "MCP is served at /mcp");
        }
        if !self.lets_in(request.headers()) {
            let mut answer = said(StatusCode::UNAUTHORIZED, "the server's token is missing or wrong");
            let challenge = header::HeaderValue::from_static("Bearer realm=\"wirescope\"");
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
            return answer;
        }
        self.count(request.method(), request.headers()).await;
        let (head, body) = request.into_parts();
        let whole = tokio::time::timeout(BODY_TIME, Limited::new(body, MAX_BODY_BYTES).collect()).await;
        let body = match whole {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
                return said(StatusCode::PAYLOAD_TOO_LARGE, "a request has at most 16 MiB");
            }
            Ok(Err(_)) => return said(StatusCode::BAD_REQUEST, "the body came to no end"),
            Err(_) => return said(StatusCode::REQUEST_TIMEOUT, "the body took more than 30 seconds"),
        };
        self.service.clone().handle(Request::from_parts(head, Full::new(body))).await
    }

    fn lets_in(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else { return true };
        let mut shown = headers.get_all(header::AUTHORIZATION).iter();
        match (shown.next(), shown.next()) {
            (Some(only), None) => token.is_shown_by(only.as_bytes()),
            _ => false,
        }
    }

    /// Keeps count of sessions.
    async fn count(&self, method: &Method, headers: &HeaderMap) {
        if let Some(id) = headers.get("mcp-session-id").and_then(|id| id.to_str().ok()) {
            self.sessions.hear(id);
            return;
        }
        let version = headers.get("mcp-protocol-version").and_then(|version| version.to_str().ok());
        if method == Method::POST && version.is_none_or(|version| version < SESSIONLESS) {
            self.sessions.make_room().await;
        }
    }
}

fn said(status: StatusCode, text: &'static str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from_static(text.as_bytes())).boxed());
    *answer.status_mut() = status;
    let plain = header::HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, plain);
    answer
}
