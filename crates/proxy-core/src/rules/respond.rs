//! What rules answer with.

use bytes::Bytes;
use http::StatusCode;

use super::{
    answer::{Mock, Redirect},
    content::Content,
    media_type,
    template::{Filling, Template},
};
use crate::head::ResponseHead;

/// An answer that a rule makes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RuleAnswer {
    /// The head, without `Content-Length`.
    pub head: ResponseHead,
    /// The body.
    pub body: Bytes,
    /// What was done, for the record: `answered 503`.
    pub change: String,
}

impl RuleAnswer {
    pub(super) fn new(head: ResponseHead, body: Bytes) -> Self {
        let change = format!("answered {}", head.status.as_u16());
        Self { head, body, change }
    }

    /// A short text of our own, for what a rule cannot answer as it should.
    pub(super) fn note(status: StatusCode, text: &str) -> Self {
        let mut head = ResponseHead::new(status);
        head.headers.push("Content-Type", "text/plain; charset=utf-8");
        Self::new(head, Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl Mock {
    /// Whether a template in it needs the request's body.
    #[must_use]
    pub fn needs_request_body(&self) -> bool {
        let asks = |text: &str| Template::parse(text).is_ok_and(|template| template.needs_body());
        let fields = || self.headers.0.iter().flat_map(|(_, values)| values.iter());
        let body = match &self.body {
            Content::Text(text) => asks(text),
            // What is in the file is only known when it is read.
            Content::File(_) => true,
            Content::Bytes(_) | Content::Json(_) => false,
        };
        self.template && (body || fields().any(|value| asks(value.as_str())))
    }

    /// Whether [`answer`](Self::answer) reads a file, and so blocks.
    #[must_use]
    pub fn reads_file(&self) -> bool {
        self.body.file().is_some()
    }

    /// Makes the answer. A file that cannot be read, or is no template where it should be, is a 500 that says so.
    #[must_use]
    pub fn answer(&self, with: &Filling<'_>) -> RuleAnswer {
        match self.content(with) {
            Ok(body) => RuleAnswer::new(self.fields(with), body),
            Err(problem) => RuleAnswer::note(
                StatusCode::INTERNAL_SERVER_ERROR,
                &format!("wirescope cannot mock this: {problem}\n"),
            ),
        }
    }

    fn fields(&self, with: &Filling<'_>) -> ResponseHead {
        let mut head = ResponseHead::new(self.status.code());
        for (name, values) in &self.headers.0 {
            for value in values.iter() {
                let value = match Template::parse(value.as_str()) {
                    // A value from the request may hold what no field can.
                    Ok(template) if self.template => template.fill(with).replace(['\r', '\n', '\0'], " "),
                    _ => value.as_str().to_owned(),
                };
                head.headers.push(name.as_str().to_owned(), value);
            }
        }
        if !head.headers.contains("content-type") {
            let guess = match &self.body {
                Content::Json(_) => Some("application/json"),
                Content::File(path) => Some(media_type::of(path)),
                Content::Text(_) | Content::Bytes(_) => None,
            };
            if let Some(guess) = guess {
                head.headers.push("Content-Type", guess);
            }
        }
        head
    }

    fn content(&self, with: &Filling<'_>) -> Result<Bytes, String> {
        let body = self.body.read().map_err(|error| error.to_string())?;
        if !self.template || matches!(self.body, Content::Bytes(_) | Content::Json(_)) {
            return Ok(body);
        }
        let text = std::str::from_utf8(&body).map_err(|_| "the template is no UTF-8".to_owned())?;
        Ok(Template::parse(text).map_err(|error| error.0)?.fill(with).into())
    }
}

impl Redirect {
    /// Whether a template in it needs the request's body.
    #[must_use]
    pub fn needs_request_body(&self) -> bool {
        self.to.as_ref().is_some_and(Template::needs_body)
    }

    /// Makes the answer; a rewrite that finds nothing leads to the URL itself.
    #[must_use]
    pub fn answer(&self, with: &Filling<'_>) -> RuleAnswer {
        let to = match (&self.to, &self.rewrite) {
            (Some(template), _) => template.fill(with),
            (None, Some(replace)) => {
                replace.rewritten_url(with.request).unwrap_or_else(|| with.request.url())
            }
            (None, None) => with.request.url(),
        };
        let to: String = to.chars().filter(|c| !c.is_control()).collect();
        let mut head = ResponseHead::new(self.status.code());
        head.headers.push("Location", to.clone());
        let mut answer = RuleAnswer::new(head, Bytes::new());
        answer.change = format!("redirected to {to}");
        answer
    }
}
