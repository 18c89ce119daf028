//! What is sent.

use std::{
    collections::VecDeque,
    fmt, io,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Uri, Version};

use crate::{
    failure::{Failure, FailureKind},
    head::{Headers, RequestHead, Scheme},
};

/// A request to send. Its `Debug` shows no field values and nothing of the body.
#[derive(Debug)]
#[non_exhaustive]
pub struct SendRequest {
    /// The head, as upstream is to see it: fields in this order and case. What is only for one hop is taken off, and the
    /// framing put right, as for any client's. Its `version` says in which version's form it is written.
    pub head: RequestHead,
    /// The body, with its content coding.
    pub body: SendBody,
    /// What is spoken with upstream.
    pub version: SendVersion,
    /// The host and port to connect to in place of the URL's, which is named to it all the same, in TLS as well.
    pub connect_to: Option<(String, u16)>,
    /// What the request is a copy of, in the words of whoever sends it; see
    /// [`ClientFacts::origin`](crate::ClientFacts::origin).
    pub origin: Option<String>,
    /// How long the whole response may take, from the call on; besides the engine's own time-outs.
    pub patience: Option<Duration>,
}

impl SendRequest {
    /// A request without a body, to where its head says.
    #[must_use]
    pub fn new(head: RequestHead) -> Self {
        Self {
            head,
            body: SendBody::empty(),
            version: SendVersion::Auto,
            connect_to: None,
            origin: None,
            patience: None,
        }
    }
}

/// Which HTTP version is spoken with upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SendVersion {
    /// What upstream chooses in TLS of HTTP/2 and HTTP/1.1; HTTP/1.1 in cleartext.
    #[default]
    Auto,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2; in cleartext with prior knowledge.
    Http2,
}

/// What requests share that go the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Course {
    pub(crate) version: SendVersion,
    pub(crate) connect_to: Option<(String, u16)>,
}

/// Gives a body's pieces.
pub trait BodySource: Send + 'static {
    /// The next piece; `None` at the end, and from then on. An error breaks the request off.
    fn poll_piece(&mut self, task: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>>;
}

/// The body of a request to send. Its `Debug` tells how long it is, not what is in it.
pub struct SendBody {
    content: Content,
    length: Option<u64>,
    trailers: Option<Headers>,
}

enum Content {
    Whole(VecDeque<Bytes>),
    Source(Box<dyn BodySource>),
}

impl SendBody {
    /// No body.
    #[must_use]
    pub fn empty() -> Self {
        Self::whole(Bytes::new())
    }

    /// A body that is at hand, told with its length.
    #[must_use]
    pub fn whole(data: impl Into<Bytes>) -> Self {
        let data = data.into();
        let length = Some(data.len() as u64);
        let pieces = (!data.is_empty()).then_some(data).into_iter().collect();
        Self { content: Content::Whole(pieces), length, trailers: None }
    }

    /// A body that comes piece by piece. Where its length is known it is told; should it be another one, the request is
    /// broken off. Where it is not, the body is chunked, or ends with its stream.
    #[must_use]
    pub fn stream(length: Option<u64>, source: impl BodySource) -> Self {
        Self { content: Content::Source(Box::new(source)), length, trailers: None }
    }

    /// Does not tell the length: the body is chunked in HTTP/1.1.
    #[must_use]
    pub fn without_length(mut self) -> Self {
        self.length = None;
        self
    }

    /// Adds trailer fields, and does not tell the length.
    #[must_use]
    pub fn with_trailers(mut self, trailers: Headers) -> Self {
        self.trailers = (!trailers.is_empty()).then_some(trailers);
        self
    }

    pub(super) fn length(&self) -> Option<u64> {
        self.length
    }

    pub(super) fn trailers(&self) -> Option<&Headers> {
        self.trailers.as_ref()
    }

    pub(super) fn take_trailers(&mut self) -> Option<Headers> {
        self.trailers.take()
    }

    pub(super) fn poll_piece(&mut self, task: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        match &mut self.content {
            Content::Whole(pieces) => Poll::Ready(Ok(pieces.pop_front())),
            Content::Source(source) => source.poll_piece(task),
        }
    }
}

impl fmt::Debug for SendBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trailers = &self.trailers;
        f.debug_struct("SendBody")
            .field("length", &self.length)
            .field("trailers", trailers)
            .finish_non_exhaustive()
    }
}

impl RequestHead {
    /// A GET of an `http` or `https` URL in HTTP/1.1, with its `Host` and nothing else. A fragment is left out.
    ///
    /// # Errors
    /// As for [`to_url`](Self::to_url).
    pub fn get(url: &str) -> Result<Self, Failure> {
        Self::to_url(Method::GET, url)
    }

    /// A request to an `http` or `https` URL in HTTP/1.1, with its `Host` and nothing else. A fragment is left out.
    ///
    /// # Errors
    /// When the URL is not an absolute one of these schemes, or has user information.
    pub fn to_url(method: Method, url: &str) -> Result<Self, Failure> {
        let shown: String = url.chars().take(200).collect();
        let bad = |what: &str| {
            let detail = format!("the URL {shown:?} {what}; write http://HOST/PATH or https://HOST/PATH");
            Failure::new(FailureKind::ClientMalformed, detail)
        };
        let bare = url.split('#').next().unwrap_or(url);
        let uri: Uri = bare.parse().map_err(|_| bad("cannot be read"))?;
        let scheme = match uri.scheme_str() {
            Some("http") => Scheme::Http,
            Some("https") => Scheme::Https,
            _ => return Err(bad("is neither http nor https")),
        };
        let authority = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
        if authority.contains('@') {
            return Err(bad("has user information, which belongs in an Authorization field"));
        }
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let target = if target.starts_with('?') { format!("/{target}") } else { target.to_owned() };
        let mut headers = Headers::new();
        headers.push("Host", authority.to_owned());
        let authority = authority.to_owned();
        Ok(Self { method, scheme, authority, target, version: Version::HTTP_11, headers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        for (url, expected) in [
            ("http://a.test", Some(("a.test", "/", 80))),
            ("https://a.test:8443/x?y=1#z", Some(("a.test:8443", "/x?y=1", 8443))),
            ("https://[::1]?q", Some(("[::1]", "/?q", 443))),
            ("ftp://a.test/", None),
            ("/x", None),
            ("http://u:p@a.test/", None),
            ("http://a b/", None),
        ] {
            let head = RequestHead::get(url).ok();
            let seen = head.as_ref().map(|head| (head.authority.as_str(), head.target.as_str(), head.port()));
            assert_eq!(seen, expected, "{url}");
        }
    }
}
