//! Exchanges in words or from a recording, to be explained.

use std::time::SystemTime;

use http::{Method, Version};

use super::{
    apply_head,
    explain::Explanation,
    handle::Rules,
    pattern::ParsePatternError,
    subject::{Answered, Asked, Seen},
};
use crate::{
    event::{ClientFacts, ConnectionId},
    head::{Headers, RequestHead, ResponseHead},
};

/// An exchange that may have taken place or not.
#[derive(Clone, Debug)]
pub struct Described {
    request: RequestHead,
    request_body: DescribedBody,
    response: Option<(ResponseHead, DescribedBody)>,
    client: ClientFacts,
}

/// What is known of a body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DescribedBody {
    /// Nothing.
    #[default]
    Unknown,
    /// All of it, decoded from its content coding.
    Whole(Vec<u8>),
    /// It is over the limit for buffered bodies.
    OverLimit,
    /// Its content coding cannot be decoded.
    Undecodable,
}

impl DescribedBody {
    fn seen(&self) -> Seen<'_> {
        match self {
            Self::Unknown => Seen::NotRead,
            Self::Whole(bytes) => Seen::Whole(bytes),
            Self::OverLimit => Seen::OverLimit,
            Self::Undecodable => Seen::Undecodable,
        }
    }
}

impl Described {
    /// A GET for a URL over HTTP/1.1 without a body, from a client on this machine.
    ///
    /// # Errors
    /// When it is no http or https URL.
    pub fn get(url: &str) -> Result<Self, ParsePatternError> {
        let Some((scheme, authority, target)) = apply_head::split_url(url) else {
            let shown: String = url.chars().take(120).collect();
            return Err(ParsePatternError(format!(
                "{shown:?} is no URL; write `https://example.com/path?query`"
            )));
        };
        let mut headers = Headers::new();
        headers.push("Host", authority.to_owned());
        let request = RequestHead {
            method: Method::GET,
            scheme,
            authority: authority.to_owned(),
            target,
            version: Version::HTTP_11,
            headers,
        };
        let mut described = Self::of(request);
        described.request_body = DescribedBody::Whole(Vec::new());
        Ok(described)
    }

    /// A request as it was recorded, without its body, from a client on this machine.
    #[must_use]
    pub fn of(request: RequestHead) -> Self {
        let address = ([127, 0, 0, 1], 0).into();
        let client = ClientFacts::new(ConnectionId(0), address, address);
        Self { request, request_body: DescribedBody::Unknown, response: None, client }
    }

    /// With another method.
    ///
    /// # Errors
    /// When it is no token.
    pub fn method(mut self, method: &str) -> Result<Self, ParsePatternError> {
        self.request.method = Method::from_bytes(method.as_bytes())
            .map_err(|_| ParsePatternError(format!("{method:?} is no method; write a token such as GET")))?;
        Ok(self)
    }

    /// With a field of the request.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if name.eq_ignore_ascii_case("host") {
            self.request.headers.remove("host");
        }
        self.request.headers.push(name.to_owned(), value.to_owned());
        self
    }

    /// With a body of the request.
    #[must_use]
    pub fn body(mut self, body: DescribedBody) -> Self {
        self.request_body = body;
        self
    }

    /// With a response.
    #[must_use]
    pub fn response(mut self, head: ResponseHead, body: DescribedBody) -> Self {
        self.response = Some((head, body));
        self
    }

    /// From another client.
    #[must_use]
    pub fn client(mut self, client: ClientFacts) -> Self {
        self.client = client;
        self
    }

    /// The request.
    #[must_use]
    pub fn request_head(&self) -> &RequestHead {
        &self.request
    }

    /// What rules do to it, and why.
    #[must_use]
    pub fn explain(&self, rules: &Rules, now: SystemTime) -> Explanation {
        let asked = Asked { head: &self.request, client: &self.client, body: self.request_body.seen() };
        let answered = self.response.as_ref().map(|(head, body)| Answered { head, body: body.seen() });
        rules.explain(&asked, answered.as_ref(), now)
    }
}
