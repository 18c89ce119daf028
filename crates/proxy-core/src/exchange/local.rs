//! Answers that do not come from upstream: mocks, the set-up page, error pages.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode, Version};
use tokio::time::timeout;

use super::{
    flow::{Flow, Unwritten},
    forward,
    ledger::Ledger,
    run::{Afterwards, Ended},
};
use crate::{
    event::{Outcome, ResponseSource},
    failure::{Failure, FailureKind, Side},
    head::{RequestHead, ResponseHead},
    http1::Encoding,
    leg::{BodyReader, Responder, Writer, code},
    setup_page,
    wire::Piece,
};

/// What is still read of a request's body after a local answer, so that the client gets to read the answer.
const MAX_SWALLOWED_BYTES: usize = 4 * 1024 * 1024;
/// And how long.
const SWALLOW_FOR: Duration = Duration::from_secs(5);

/// What error pages are headed.
pub(crate) const TITLE: &str = "wirescope could not pass this on";

/// An answer of our own.
pub(crate) struct Answer {
    pub(crate) head: ResponseHead,
    pub(crate) body: Bytes,
    pub(crate) source: ResponseSource,
    /// What its body goes through, if anything.
    pub(super) flow: Option<Box<Flow>>,
}

impl Answer {
    /// An answer of the proxy itself.
    pub(crate) fn own(head: ResponseHead, body: Bytes) -> Self {
        Self { head, body, source: ResponseSource::Proxy, flow: None }
    }
}

/// Gives an answer, and takes in what the client still sends.
pub(crate) async fn answer(
    ledger: &Ledger,
    request: &RequestHead,
    body: &mut BodyReader<'_>,
    client: Responder<'_>,
    answer: Answer,
) -> Ended {
    let waits = request.headers.has_token("expect", "100-continue") && !ledger.is_request_done();
    let keep = forward::client_keeps_alive(request) && !answer.head.headers.has_token("connection", "close");
    let outcome = give(ledger, request, client, answer, !keep || waits).await;
    let swallowed = !waits && timeout(SWALLOW_FOR, swallow(ledger, body)).await.is_ok_and(|done| done);
    let afterwards = match outcome {
        // What the client has of it is not whole, and must not look so.
        Outcome::Failed(_) => Afterwards::Cut,
        _ if keep && swallowed => Afterwards::KeepAlive,
        _ => Afterwards::Close,
    };
    Ended { outcome, afterwards }
}

/// Answers with an error page that says what failed.
pub(crate) async fn refuse(
    ledger: &Ledger,
    request: &RequestHead,
    body: &mut BodyReader<'_>,
    client: Responder<'_>,
    failure: Failure,
) -> Ended {
    if matches!(client, Responder::Own(_)) {
        // Whoever waits is told the failure itself.
        return Ended::failed(failure);
    }
    let (head, page) = error_page(request, &failure);
    let ended = answer(ledger, request, body, client, Answer::own(head, page)).await;
    Ended { outcome: Outcome::Failed(failure), afterwards: ended.afterwards }
}

/// The error page for a failure, in the form the client asks for.
pub(crate) fn error_page(request: &RequestHead, failure: &Failure) -> (ResponseHead, Bytes) {
    let accept = request.headers.get_str("accept");
    setup_page::error_page(error_status(failure), TITLE, failure, request.host(), accept)
}

/// Puts an answer on the wire and in the books.
pub(crate) async fn give(
    ledger: &Ledger,
    request: &RequestHead,
    client: Responder<'_>,
    answer: Answer,
    close: bool,
) -> Outcome {
    let Answer { mut head, body, source, flow } = answer;
    let length = match head.status {
        // RFC 9110 section 8.6: no length where there can be no content, nor one of ours on what was not changed.
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED => None,
        StatusCode::RESET_CONTENT => Some(0),
        _ => Some(body.len()),
    };
    match length {
        Some(length) => head.headers.set("Content-Length", length.to_string()),
        None if head.status == StatusCode::NO_CONTENT => head.headers.remove("content-length"),
        None => {}
    }
    head.headers.remove("transfer-encoding");
    let silent = matches!(length, None | Some(0)) || request.method == Method::HEAD;
    if request.version != Version::HTTP_2 {
        forward::put_connection(&mut head.headers, request.version, close);
    }
    let encoding = if silent { Encoding::None } else { Encoding::Length(body.len() as u64) };
    ledger.response(&std::sync::Arc::new(head.clone()), 0, source);
    let mut writer = match client.head(&head, encoding) {
        Ok(writer) => writer,
        Err(refused) => return Outcome::Failed(refused.1.into_failure(Side::Client)),
    };
    if encoding != Encoding::None {
        ledger.response_piece(&body);
    }
    match put(&mut writer, encoding, body, flow).await {
        Ok(()) => Outcome::Mock,
        Err(Unwritten::Sink(error)) => Outcome::Failed(error.into_failure(Side::Client)),
        Err(Unwritten::Here(failure)) => {
            writer.reset(code::CANCEL);
            Outcome::Failed(failure)
        }
    }
}

async fn put(
    writer: &mut Writer<'_>,
    encoding: Encoding,
    body: Bytes,
    flow: Option<Box<Flow>>,
) -> Result<(), Unwritten> {
    match flow {
        _ if encoding == Encoding::None => writer.end(None).await.map_err(Unwritten::Sink),
        None => writer.last(body).await.map_err(Unwritten::Sink),
        Some(mut flow) => {
            writer.flush().await.map_err(Unwritten::Sink)?;
            flow.put(body, writer).await?;
            flow.end(None, writer).await
        }
    }
}

/// Reads the rest of a request's body for the record. `true` when it came to its end.
async fn swallow(ledger: &Ledger, body: &mut BodyReader<'_>) -> bool {
    let mut left = MAX_SWALLOWED_BYTES;
    loop {
        ledger.ready().await;
        match body.piece().await {
            Ok(Some(Piece::Data(data))) => {
                ledger.request_piece(&data);
                match left.checked_sub(data.len()) {
                    Some(rest) => left = rest,
                    None => return false,
                }
            }
            Ok(Some(Piece::Trailers(trailers))) => ledger.request_trailers(&trailers),
            Ok(None) => {
                if !ledger.is_request_done() {
                    ledger.request_done();
                }
                return true;
            }
            Err(_) => return false,
        }
    }
}

/// The status of the error page for a failure.
pub(crate) fn error_status(failure: &Failure) -> StatusCode {
    if let Some(status) = failure.status {
        return status;
    }
    match failure.kind {
        FailureKind::ConnectTimeout | FailureKind::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
        FailureKind::Loop => StatusCode::LOOP_DETECTED,
        FailureKind::BlockedAddress => StatusCode::FORBIDDEN,
        FailureKind::ClientMalformed => StatusCode::BAD_REQUEST,
        FailureKind::ClientTimeout => StatusCode::REQUEST_TIMEOUT,
        FailureKind::ClientUnauthenticated => StatusCode::PROXY_AUTHENTICATION_REQUIRED,
        FailureKind::ClientNotAllowed => StatusCode::FORBIDDEN,
        _ => StatusCode::BAD_GATEWAY,
    }
}
