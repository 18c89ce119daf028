//! What is to become of a paused exchange, from the arguments that say it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::StatusCode;
use proxy_core::{
    Headers, Paused, RequestHead, ResponseHead, Resume,
    breakpoints::Edit,
    rules::{Described, FieldEdits, Phase, Side},
};
use serde_json::json;

use super::{Decision, ResumeParams};
use crate::{budget::cut, error::ToolError};

impl ResumeParams {
    /// What the arguments ask for.
    pub(super) fn resume(&self, paused: &Paused) -> Result<Resume, ToolError> {
        let edits = self.method.is_some()
            || self.url.is_some()
            || self.status.is_some()
            || !self.headers.is_empty()
            || self.body.is_some()
            || self.body_base64.is_some();
        match self.action {
            Decision::Continue | Decision::Abort if edits => {
                Err(ToolError::invalid("changes go with action edit or respond").hint("say action: edit"))
            }
            Decision::Continue => Ok(Resume::Continue),
            Decision::Abort => Ok(Resume::Abort),
            Decision::Edit => self.edit(paused).map(|edit| Resume::Edit(Box::new(edit))),
            Decision::Respond => {
                let mut head = ResponseHead::new(self.status()?.unwrap_or(StatusCode::OK));
                self.put_headers(Side::Response, &mut head.headers)?;
                Ok(Resume::Respond { head, body: self.body()?.unwrap_or_default() })
            }
        }
    }

    fn edit(&self, paused: &Paused) -> Result<Edit, ToolError> {
        let mut edit = Edit { body: self.body()?, ..Edit::default() };
        match (paused.phase, &paused.response) {
            (Phase::Response, Some(response)) => {
                if self.method.is_some() || self.url.is_some() {
                    return Err(ToolError::invalid(
                        "method and url are the request's, and the response waits",
                    ));
                }
                let mut head = ResponseHead::clone(response);
                if let Some(status) = self.status()? {
                    let reason = ResponseHead::new(status).reason;
                    head.reason = head.reason.and(reason);
                    head.status = status;
                }
                self.put_headers(Side::Response, &mut head.headers)?;
                edit.response = Some(head);
            }
            _ => {
                if self.status.is_some() {
                    return Err(ToolError::invalid("status is the response's, and the request waits")
                        .hint("action respond answers with it"));
                }
                edit.request = Some(self.request(&paused.request)?);
            }
        }
        Ok(edit)
    }

    fn request(&self, old: &RequestHead) -> Result<RequestHead, ToolError> {
        let wrong = |error: proxy_core::rules::ParsePatternError| ToolError::invalid(error.to_string());
        let mut head = old.clone();
        if let Some(url) = &self.url {
            let described = Described::get(url).map_err(wrong)?;
            let new = described.request_head();
            head.scheme = new.scheme;
            head.authority.clone_from(&new.authority);
            head.target.clone_from(&new.target);
        }
        if let Some(method) = &self.method {
            head.method = method
                .parse()
                .map_err(|_| ToolError::invalid(format!("method {:?} is no token", cut(method, 64))))?;
        }
        self.put_headers(Side::Request, &mut head.headers)?;
        Ok(head)
    }

    fn status(&self) -> Result<Option<StatusCode>, ToolError> {
        let status = self.status.map(StatusCode::from_u16).transpose();
        status.map_err(|_| ToolError::invalid("status must be from 200 to 999"))
    }

    fn body(&self) -> Result<Option<Bytes>, ToolError> {
        match (&self.body, &self.body_base64) {
            (Some(_), Some(_)) => {
                Err(ToolError::invalid("body and body_base64 are two ways to say the same"))
            }
            (Some(text), None) => Ok(Some(text.clone().into())),
            (None, Some(text)) => match STANDARD.decode(text) {
                Ok(bytes) => Ok(Some(bytes.into())),
                Err(error) => Err(ToolError::invalid(format!("body_base64 is no base64: {error}"))),
            },
            (None, None) => Ok(None),
        }
    }

    fn put_headers(&self, side: Side, headers: &mut Headers) -> Result<(), ToolError> {
        let edits: FieldEdits = serde_json::from_value(json!({"set": self.headers}))
            .map_err(|error| ToolError::invalid(format!("headers: {error}")))?;
        edits.apply(side, headers);
        Ok(())
    }
}
