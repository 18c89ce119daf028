//! What lists show of an exchange, from its heads.

use std::{borrow::Cow, time::SystemTime};

use proxy_core::{Headers, RequestHead, ResponseHead};

use crate::{
    id::{Seq, SessionId},
    record::{ExchangeKind, ExchangeState, ExchangeSummary},
};

impl ExchangeSummary {
    /// What a request's head says; open, without number.
    pub(crate) fn of_request(head: &RequestHead, started_at: SystemTime) -> Self {
        let mut summary = Self::empty();
        summary.set_request(head, started_at);
        summary
    }

    /// Says nothing yet; to be filled again and again.
    pub(crate) fn empty() -> Self {
        Self {
            seq: Seq(0),
            session: SessionId(0),
            kind: ExchangeKind::Http,
            started_at: SystemTime::UNIX_EPOCH,
            duration: None,
            method: String::new(),
            scheme: String::new(),
            host: String::new(),
            port: 0,
            target: String::new(),
            url: String::new(),
            http_version: String::new(),
            status: None,
            request_content_type: None,
            response_content_type: None,
            request_body_bytes: 0,
            response_body_bytes: 0,
            messages: 0,
            state: ExchangeState::Open,
        }
    }

    /// Says what a request's head says, and no more of what it said before.
    pub(crate) fn set_request(&mut self, head: &RequestHead, started_at: SystemTime) {
        (self.seq, self.session) = (Seq(0), SessionId(0));
        self.kind =
            if head.method == http::Method::CONNECT { ExchangeKind::Tunnel } else { ExchangeKind::Http };
        (self.started_at, self.duration) = (started_at, None);
        put(&mut self.method, head.method.as_str());
        put(&mut self.scheme, head.scheme.as_str());
        put(&mut self.host, head.host());
        self.host.make_ascii_lowercase();
        self.port = head.port();
        put(&mut self.target, &head.target);
        self.url = head.url();
        put(&mut self.http_version, version_text(head.version));
        put_content_type(&mut self.request_content_type, &head.headers);
        (self.status, self.response_content_type) = (None, None);
        (self.request_body_bytes, self.response_body_bytes, self.messages) = (0, 0, 0);
        self.state = ExchangeState::Open;
    }

    /// Adds what the final response's head says.
    pub(crate) fn set_response(&mut self, head: &ResponseHead) {
        self.status = Some(head.status.as_u16());
        put_content_type(&mut self.response_content_type, &head.headers);
    }
}

/// Replaces a text, in its place.
pub(crate) fn put(text: &mut String, new: &str) {
    text.clear();
    text.push_str(new);
}

/// A value as text; bytes that are not UTF-8 are replaced. `String::from_utf8_lossy` goes byte by byte even where none is.
pub(crate) fn lossy(value: &[u8]) -> Cow<'_, str> {
    str::from_utf8(value).map_or_else(|_| String::from_utf8_lossy(value), Cow::Borrowed)
}

fn put_content_type(text: &mut Option<String>, headers: &Headers) {
    match headers.get("content-type") {
        Some(value) => put(text.get_or_insert_default(), &lossy(value)),
        None => *text = None,
    }
}

pub(crate) fn version_text(version: http::Version) -> &'static str {
    match version {
        http::Version::HTTP_09 => "HTTP/0.9",
        http::Version::HTTP_10 => "HTTP/1.0",
        http::Version::HTTP_2 => "HTTP/2",
        http::Version::HTTP_3 => "HTTP/3",
        _ => "HTTP/1.1",
    }
}
