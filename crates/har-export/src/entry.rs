//! The shape of an entry as it is written: HAR 1.2, and the `_` fields Chrome adds.

use serde::Serialize;

use crate::{
    body::BodyText,
    cookie::Cookie,
    extra::Extra,
    form::{Pair, Param},
    message::Messages,
    text::Field,
};

/// One entry of `log.entries`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry<'a> {
    pub(crate) started_date_time: String,
    pub(crate) time: f64,
    pub(crate) request: Request<'a>,
    pub(crate) response: Response<'a>,
    pub(crate) cache: Cache,
    pub(crate) timings: Timings,
    #[serde(rename = "serverIPAddress", skip_serializing_if = "Option::is_none")]
    pub(crate) server_ip_address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) connection: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) comment: Option<&'a str>,
    #[serde(rename = "_resourceType")]
    pub(crate) resource_type: &'static str,
    #[serde(rename = "_webSocketMessages", skip_serializing_if = "Option::is_none")]
    pub(crate) messages: Option<Messages<'a>>,
    #[serde(rename = "_wirescope")]
    pub(crate) extra: Extra,
}

impl Entry<'_> {
    /// Leaves out what is read while it is written.
    pub(crate) fn without_texts(&mut self) {
        self.messages = None;
        self.response.content.text = None;
        if let Some(post) = &mut self.request.post_data {
            post.text = None;
        }
    }
}

/// HAR's cache facts, which a proxy does not have.
#[derive(Serialize)]
pub(crate) struct Cache {}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    pub(crate) url: String,
    pub(crate) http_version: &'static str,
    pub(crate) cookies: Vec<Cookie>,
    pub(crate) headers: Vec<Field>,
    pub(crate) query_string: Vec<Pair>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) post_data: Option<PostData<'a>>,
    pub(crate) headers_size: i64,
    pub(crate) body_size: i64,
}

/// A request's body. `encoding` is not in HAR 1.2, which has no way to say that a posted body is no text; it is
/// named as in `content`, where Playwright looks for it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PostData<'a> {
    pub(crate) mime_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<BodyText<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) encoding: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) params: Option<Vec<Param>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) comment: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Response<'a> {
    pub(crate) status: u16,
    pub(crate) status_text: String,
    pub(crate) http_version: &'static str,
    pub(crate) cookies: Vec<Cookie>,
    pub(crate) headers: Vec<Field>,
    pub(crate) content: Content<'a>,
    #[serde(rename = "redirectURL")]
    pub(crate) redirect_url: String,
    pub(crate) headers_size: i64,
    pub(crate) body_size: i64,
    #[serde(rename = "_error", skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Content<'a> {
    pub(crate) size: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) compression: Option<i64>,
    pub(crate) mime_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<BodyText<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) encoding: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) comment: Option<String>,
}

/// Milliseconds; -1 where a part did not take place. `connect` includes `ssl`.
#[derive(Serialize)]
pub(crate) struct Timings {
    pub(crate) blocked: f64,
    pub(crate) dns: f64,
    pub(crate) connect: f64,
    pub(crate) ssl: f64,
    pub(crate) send: f64,
    pub(crate) wait: f64,
    pub(crate) receive: f64,
}
