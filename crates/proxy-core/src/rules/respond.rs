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

    /// Makes the answer. A file that cannot be read, or is no template where it should be, is a 500 that says so; the
    /// record, and not the client, is told which file.
    #[must_use]
    pub fn answer(&self, with: &Filling<'_>) -> RuleAnswer {
        match self.content(with) {
            Ok(body) => RuleAnswer::new(self.fields(with), body),
            Err(Problem { shown, detail }) => {
                let text = format!("wirescope cannot mock this: {shown}\n");
                let mut answer = RuleAnswer::note(StatusCode::INTERNAL_SERVER_ERROR, &text);
                answer.change = format!("{}: {detail}", answer.change);
                answer
            }
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

    fn content(&self, with: &Filling<'_>) -> Result<Bytes, Problem> {
        let body = self.body.read().map_err(|error| Problem {
            shown: "the file of its rule cannot be read".to_owned(),
            detail: error.to_string(),
        })?;
        if !self.template || matches!(self.body, Content::Bytes(_) | Content::Json(_)) {
            return Ok(body);
        }
        let text = std::str::from_utf8(&body).map_err(|_| Problem::new("the template is no UTF-8"))?;
        Ok(Template::parse(text).map_err(|error| Problem::new(&error.0))?.fill(with).into())
    }
}

/// Why there is no body.
struct Problem {
    /// What anyone may know.
    shown: String,
    /// What only the record says: names of this machine may be in it.
    detail: String,
}

impl Problem {
    fn new(text: &str) -> Self {
        Self { shown: text.to_owned(), detail: text.to_owned() }
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

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use http::{Method, Version};

    use super::*;
    use crate::head::{Headers, RequestHead, Scheme};

    #[test]
    fn a_client_is_not_told_which_file_is_missing() {
        let request = RequestHead {
            method: Method::GET,
            scheme: Scheme::Https,
            authority: "a.test".to_owned(),
            target: "/".to_owned(),
            version: Version::HTTP_11,
            headers: Headers::new(),
        };
        let mut mock = Mock::new(StatusCode::OK);
        mock.body = Content::File("/nowhere/secret-name.json".into());
        let with =
            Filling { request: &request, body: None, now: SystemTime::UNIX_EPOCH, random: &|| [0; 16] };
        let answer = mock.answer(&with);
        assert_eq!(answer.head.status, StatusCode::INTERNAL_SERVER_ERROR);
        let body = std::str::from_utf8(&answer.body).unwrap();
        assert!(!body.contains("nowhere") && body.contains("cannot be read"), "{body}");
        assert!(answer.change.contains("secret-name"), "{}", answer.change);
    }
}
