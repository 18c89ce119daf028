//! The WebSocket routes: agreeing to the upgrade, then echoing.

use std::{io, sync::Arc};

use futures_util::{SinkExt, StreamExt};
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{handshake::derive_accept_key, protocol::Role},
};

use super::State;
use crate::{
    body::{Body, full},
    websocket::DeflateSocket,
};

/// How messages are carried on an upgraded connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Plain,
    /// permessage-deflate, if the client offers it.
    Deflate,
}

/// Answers 101 and echoes every message, or 426 when the request is no upgrade.
pub(super) fn upgrade(mut request: Request<Incoming>, coding: Coding, state: &Arc<State>) -> Response<Body> {
    let mut response = Response::new(full(""));
    let Some(key) = request.headers().get(header::SEC_WEBSOCKET_KEY) else {
        *response.status_mut() = StatusCode::UPGRADE_REQUIRED;
        return response;
    };
    let accept = derive_accept_key(key.as_bytes());
    let offered = request.headers().get(header::SEC_WEBSOCKET_EXTENSIONS);
    let offered =
        offered.and_then(|value| value.to_str().ok()).is_some_and(|v| v.contains("permessage-deflate"));
    let deflate = coding == Coding::Deflate && offered;
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(&accept) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    if deflate {
        headers.insert(header::SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static("permessage-deflate"));
    }
    if let Some(protocol) = first_protocol(&request) {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    let upgraded = hyper::upgrade::on(&mut request);
    state.tasks.spawn(async move {
        let Ok(upgraded) = upgraded.await else { return };
        // How the peer ends the conversation is its own affair.
        let _ = echo(TokioIo::new(upgraded), deflate).await;
    });
    response
}

fn first_protocol(request: &Request<Incoming>) -> Option<HeaderValue> {
    let offered = request.headers().get(header::SEC_WEBSOCKET_PROTOCOL)?.to_str().ok()?;
    HeaderValue::from_str(offered.split(',').next()?.trim()).ok()
}

async fn echo(stream: TokioIo<hyper::upgrade::Upgraded>, deflate: bool) -> io::Result<()> {
    if deflate {
        return DeflateSocket::accepted(stream).echo().await;
    }
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
    while let Some(message) = socket.next().await {
        let message = message.map_err(io::Error::other)?;
        if message.is_text() || message.is_binary() {
            socket.send(message).await.map_err(io::Error::other)?;
        }
    }
    Ok(())
}
