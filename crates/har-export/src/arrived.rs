//! Bodies out of an entry: decoded where they are base64, rebuilt where only parameters were kept, and told apart where
//! tools do not say in what form they are.

use std::io::Read;

use capture_store::{Exchange, ImportBody, Recorded};
use http::Method;
use proxy_core::Headers;
use serde_json::Value;

use crate::{
    base64_text::{self, Outcome},
    error::{Error, ErrorKind},
    extra::BodyExtra,
    form,
    json::{number, text, whole},
    log::Depot,
    text::readable,
};

/// Takes the bodies of one entry.
pub(crate) struct Arrival<'a> {
    pub(crate) notes: &'a mut Vec<String>,
    pub(crate) depot: &'a mut dyn Depot,
}

/// What is known of a body beside its bytes.
struct Facts<'a> {
    size: Option<f64>,
    /// The `Content-Encoding` of its head.
    coding: Option<String>,
    /// What our own file says of it.
    said: Option<&'a BodyExtra>,
}

impl Arrival<'_> {
    /// The request's body.
    pub(crate) fn posted(
        &mut self,
        request: &Value,
        exchange: &mut Exchange,
        text: Option<ImportBody>,
        said: Option<&BodyExtra>,
    ) -> Result<Option<ImportBody>, Error> {
        let post = request.get("postData").unwrap_or(&Value::Null);
        let content = self.content(post, text, "request")?.filter(|content| !content.is_empty());
        let content = content.or_else(|| rebuilt(post, self.notes));
        let coding = coding(&exchange.request.headers);
        let facts = Facts { size: number(request, "bodySize"), coding, said };
        let (recorded, body) = self.recorded(content, &facts)?;
        exchange.request_body = recorded;
        Ok(body)
    }

    /// The response's body.
    pub(crate) fn received(
        &mut self,
        response: &Value,
        exchange: &mut Exchange,
        text: Option<ImportBody>,
        said: Option<&BodyExtra>,
    ) -> Result<Option<ImportBody>, Error> {
        let content = response.get("content").unwrap_or(&Value::Null);
        let body = self.content(content, text, "response")?;
        let mut size = number(response, "bodySize").filter(|size| *size > 0.0);
        if body.is_none() && exchange.request.method != Method::HEAD {
            size = size.or_else(|| number(content, "size"));
        }
        if exchange.request.method == Method::HEAD && said.is_none() && body.is_none() {
            // What some tools give as its size is the Content-Length of the body that HEAD leaves out.
            size = None;
        }
        let coding = exchange.response.as_ref().and_then(|head| coding(&head.headers));
        let (recorded, body) = self.recorded(body, &Facts { size, coding, said })?;
        exchange.response_body = recorded;
        Ok(body)
    }

    /// Turns the text of a body into its bytes.
    fn content(
        &mut self,
        content: &Value,
        arrived: Option<ImportBody>,
        whose: &str,
    ) -> Result<Option<ImportBody>, Error> {
        if let Some(file) = text(content, "_file") {
            self.notes.push(format!("its {whose} body is in a file of its own, which is not read: {file:?}"));
        }
        let encoding = ["encoding", "_encoding"].into_iter().find_map(|key| text(content, key));
        let says_base64 = encoding.is_some_and(|encoding| encoding.trim().eq_ignore_ascii_case("base64"));
        let body = match (arrived, content.get("text")) {
            (Some(body), _) => body,
            (None, None | Some(Value::Null)) => return Ok(None),
            (None, Some(other)) => {
                self.notes
                    .push(format!("its {whose} body is no text, but JSON, and was written out as such"));
                return Ok(Some(other.to_string().into_bytes().into()));
            }
        };
        if !says_base64 && !self.must_be_base64(content, &body)? {
            return Ok(Some(body));
        }
        match base64_text::decode(body, self.depot)? {
            Outcome::Decoded(bytes) => {
                if !says_base64 {
                    self.notes
                        .push(format!("its {whose} body does not say so, but is base64, and was decoded"));
                }
                Ok(Some(bytes))
            }
            Outcome::Not(text) => {
                self.notes.push(format!(
                    "its {whose} body says it is base64 but is not, and was kept as the text it is"
                ));
                Ok(Some(text))
            }
        }
    }

    /// Whether a text that does not say what it is can only be base64: its type is no text's, and it has another size.
    fn must_be_base64(&mut self, content: &Value, body: &ImportBody) -> Result<bool, Error> {
        if !is_binary(text(content, "mimeType").unwrap_or_default()) {
            return Ok(false);
        }
        let decoded_length = match body.held() {
            Some(held) => base64_text::canonical_length(held),
            None => {
                let beginning = self.beginning(body, 64 * 1024)?;
                base64_text::canonical_length(&beginning).map(|_| body.len() / 4 * 3)
            }
        };
        let says_it_is_text = number(content, "size").and_then(whole) == Some(body.len());
        Ok(decoded_length.is_some() && !says_it_is_text)
    }

    fn beginning(&self, body: &ImportBody, most: u64) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        let read = self.depot.open(body)?.take(most).read_to_end(&mut bytes);
        read.map_err(|error| Error::with_source(ErrorKind::Body, error))?;
        Ok(bytes)
    }

    /// How much of a body there is, by our own words or by the entry's size.
    fn recorded(
        &self,
        body: Option<ImportBody>,
        facts: &Facts<'_>,
    ) -> Result<(Recorded, Option<ImportBody>), Error> {
        let body = body.filter(|body| !body.is_empty());
        let stored = body.as_ref().map_or(0, ImportBody::len);
        let mut recorded = Recorded::default();
        recorded.stored_bytes = stored;
        recorded.identity = match (facts.said, facts.coding.as_deref(), &body) {
            (Some(said), Some(_), Some(_)) => !said.coded,
            (None, Some(coding), Some(body)) => !is_coded(coding, &self.beginning(body, 4)?),
            _ => false,
        };
        recorded.wire_bytes = match facts.said {
            Some(said) => said.wire_bytes,
            None => facts.size.and_then(whole).filter(|size| *size > 0).unwrap_or(stored),
        };
        recorded.complete = facts.said.is_none_or(|said| said.complete);
        Ok((recorded, body))
    }
}

/// The last `Content-Encoding` there is; a field that is no text is one all the same.
fn coding(headers: &Headers) -> Option<String> {
    headers.get_all("content-encoding").last().map(|value| readable(value).into_owned())
}

/// Types whose bodies are no text.
fn is_binary(mime: &str) -> bool {
    let mime = mime.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let kind = mime.split('/').next().unwrap_or_default();
    (matches!(kind, "image" | "font" | "audio" | "video")
        && !mime.contains("svg")
        && !mime.contains("mpegurl"))
        || matches!(
            mime.as_str(),
            "application/octet-stream"
                | "application/pdf"
                | "application/zip"
                | "application/gzip"
                | "application/wasm"
                | "application/protobuf"
                | "application/x-protobuf"
                | "application/grpc"
                | "application/font-woff"
                | "application/font-woff2"
                | "application/x-font-ttf"
                | "application/vnd.ms-fontobject"
        )
}

/// Whether bytes begin as what a coding makes, so that a tool wrote them as they were on the wire. Brotli has no mark of its
/// own: it counts as taken off, as it is in all files seen.
fn is_coded(coding: &str, beginning: &[u8]) -> bool {
    let outer = coding.rsplit(',').next().unwrap_or_default().trim().to_ascii_lowercase();
    match (outer.as_str(), beginning) {
        ("gzip" | "x-gzip", [0x1f, 0x8b, 8, ..]) | ("zstd", [0x28, 0xb5, 0x2f, 0xfd]) => true,
        // RFC 1950 section 2.2: the two bytes are a multiple of 31.
        ("deflate", [first, second, ..]) => {
            first & 0x0f == 8 && (u16::from(*first) << 8 | u16::from(*second)).is_multiple_of(31)
        }
        _ => false,
    }
}

/// A form's body out of its parameters, where only those were kept.
fn rebuilt(post: &Value, notes: &mut Vec<String>) -> Option<ImportBody> {
    let params = post.get("params").and_then(Value::as_array).filter(|params| !params.is_empty())?;
    let mime = text(post, "mimeType").unwrap_or_default().to_ascii_lowercase();
    if !mime.starts_with("application/x-www-form-urlencoded") {
        notes.push("its request body is missing: only its parameters were kept".to_owned());
        return None;
    }
    let pairs = params
        .iter()
        .filter_map(|param| Some((text(param, "name")?, text(param, "value").unwrap_or_default())));
    Some(form::encode(pairs).into_bytes().into())
}
