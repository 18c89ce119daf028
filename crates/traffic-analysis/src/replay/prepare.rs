//! A request made of a recorded exchange.

use std::{borrow::Cow, fmt, io};

use bytes::Bytes;
use capture_store::{BodySide, Error, ErrorKind, Exchange, ExchangeKind, ExchangeState, Seq, Store};
use http::Version;
use proxy_core::{Headers, RequestHead, Scheme, SendBody, SendRequest, SendVersion};

use super::{body, changes::Changes};

/// Decoded bytes of a body in which texts are replaced; a larger one is sent as it was.
const MAX_CHANGED_BYTES: usize = 16 * 1024 * 1024;

/// Why a recorded exchange cannot be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Skip {
    /// It is a tunnel.
    Tunnel,
    /// It was upgraded, to WebSocket or something else.
    Upgrade,
    /// Its request is not over yet.
    Open,
    /// Its request failed before it was whole, or was no valid request.
    NoRequest,
    /// Its request's body was not recorded whole.
    BodyCut,
    /// It is not in the store any more.
    Gone,
}

impl Skip {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tunnel => "tunnel",
            Self::Upgrade => "upgrade",
            Self::Open => "open",
            Self::NoRequest => "no_request",
            Self::BodyCut => "body_cut",
            Self::Gone => "gone",
        }
    }
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tunnel => "a tunnel has no request to send again",
            Self::Upgrade => "what follows an upgrade (a WebSocket) cannot be sent again",
            Self::Open => "its request is not over yet",
            Self::NoRequest => "its request was not valid or not whole",
            Self::BodyCut => "its request's body was not recorded whole",
            Self::Gone => "it is not in the store any more",
        })
    }
}

/// A request that can be sent again, as often as one likes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Prepared {
    /// The exchange it is of.
    pub origin: Seq,
    /// The URL as it was recorded.
    pub recorded_url: String,
    /// The head that is sent.
    pub head: RequestHead,
    /// Bytes of the body that is sent, with its content coding.
    pub body_bytes: u64,
    /// What could not be changed as asked.
    pub note: Option<String>,
    body: Body,
    trailers: Headers,
    version: SendVersion,
}

#[derive(Clone, Debug)]
enum Body {
    /// That which is stored.
    Stored,
    /// Another one.
    Changed(Bytes),
}

/// Makes a request of a recorded exchange: its head field by field, its body with the content coding it had, whole.
/// Blocks on the disk.
///
/// # Errors
/// When the store cannot be read.
pub fn prepare(store: &Store, seq: Seq, changes: &Changes) -> Result<Result<Prepared, Skip>, Error> {
    let exchange = match store.exchange(seq) {
        Ok(exchange) => exchange,
        Err(error) if matches!(error.kind(), ErrorKind::UnknownExchange(_)) => return Ok(Err(Skip::Gone)),
        Err(error) => return Err(error),
    };
    if let Some(skip) = skip(&exchange) {
        return Ok(Err(skip));
    }
    let recorded_url = exchange.request.url();
    let version = version(&exchange);
    let Exchange { request: mut head, request_trailers: trailers, request_body: recorded, .. } = exchange;
    changes.head(&mut head);
    if recorded.identity {
        // What was imported decoded is sent so.
        head.headers.remove("content-encoding");
    }
    let mut prepared = Prepared {
        origin: seq,
        recorded_url,
        head,
        body_bytes: recorded.stored_bytes,
        note: None,
        body: Body::Stored,
        trailers,
        version,
    };
    if changes.reads_bodies() && recorded.stored_bytes > 0 {
        prepared.change_body(store, changes)?;
    }
    Ok(Ok(prepared))
}

fn skip(exchange: &Exchange) -> Option<Skip> {
    let (summary, body) = (&exchange.summary, &exchange.request_body);
    let is_upgrade = exchange.request.headers.has_token("connection", "upgrade")
        && exchange.request.headers.contains("upgrade")
        && !exchange.request.headers.has_token("upgrade", "h2c");
    match summary.kind {
        ExchangeKind::Tunnel => return Some(Skip::Tunnel),
        ExchangeKind::WebSocket | ExchangeKind::Upgrade => return Some(Skip::Upgrade),
        _ if is_upgrade => return Some(Skip::Upgrade),
        _ => {}
    }
    if exchange.request.method == http::Method::CONNECT {
        return Some(Skip::Tunnel);
    }
    let malformed = exchange.request.host().is_empty()
        || matches!(&summary.state, ExchangeState::Failed(failure) if failure.kind == proxy_core::FailureKind::ClientMalformed);
    if malformed {
        return Some(Skip::NoRequest);
    }
    if !body.complete {
        return Some(if summary.state == ExchangeState::Open { Skip::Open } else { Skip::NoRequest });
    }
    (!body.identity && body.stored_bytes < body.wire_bytes).then_some(Skip::BodyCut)
}

/// The version that upstream is to be spoken to in: what the client spoke, since both legs speak the same.
fn version(exchange: &Exchange) -> SendVersion {
    match (exchange.request.version, exchange.request.scheme) {
        (Version::HTTP_2 | Version::HTTP_3, Scheme::Https) => SendVersion::Auto,
        (Version::HTTP_2, Scheme::Http) => SendVersion::Http2,
        _ => SendVersion::Http1,
    }
}

impl Prepared {
    /// Puts texts in the place of others in the body, which is then sent without content coding.
    fn change_body(&mut self, store: &Store, changes: &Changes) -> Result<(), Error> {
        let Some(body) = store.body(self.origin, BodySide::Request)? else { return Ok(()) };
        let decoded = body.decode(MAX_CHANGED_BYTES);
        if decoded.truncated || decoded.problem.is_some() {
            let why = decoded.problem.unwrap_or_else(|| "it is over 16 MiB".to_owned());
            self.note = Some(format!("the body was not looked into: {why}"));
            return Ok(());
        }
        let Ok(text) = std::str::from_utf8(&decoded.bytes) else { return Ok(()) };
        if let Cow::Owned(changed) = changes.text(text)
            && changed != text
        {
            self.head.headers.remove("content-encoding");
            self.body_bytes = changed.len() as u64;
            self.body = Body::Changed(changed.into());
        }
        Ok(())
    }

    /// The request, to be sent once. A large body is read from the store while it is sent.
    ///
    /// # Errors
    /// When the body cannot be read.
    pub async fn request(&self, store: &Store) -> io::Result<SendRequest> {
        let mut body = match &self.body {
            Body::Changed(bytes) => SendBody::whole(bytes.clone()),
            Body::Stored if self.body_bytes == 0 => SendBody::empty(),
            Body::Stored => body::stored(store, self.origin, self.body_bytes).await?,
        };
        let headers = &self.head.headers;
        let is_framed = self.body_bytes == 0 || headers.contains("content-length");
        if !is_framed || headers.has_token("transfer-encoding", "chunked") {
            body = body.without_length();
        }
        let mut request = SendRequest::new(self.head.clone());
        request.body = body.with_trailers(self.trailers.clone());
        request.version = self.version;
        request.origin = Some(self.origin.to_string());
        Ok(request)
    }
}
