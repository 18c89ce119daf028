//! A transaction as both formats tell it, and as a HAR entry.

use std::time::Duration;

use serde_json::{Value, json};

use crate::clock;

/// A transaction.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Transaction {
    pub(super) method: String,
    pub(super) version: String,
    pub(super) scheme: String,
    pub(super) host: String,
    pub(super) port: Option<u16>,
    pub(super) path: String,
    pub(super) query: String,
    /// In ISO 8601.
    pub(super) started: Option<String>,
    pub(super) durations: Durations,
    /// The upstream address, where it is one.
    pub(super) address: Option<String>,
    /// What went wrong.
    pub(super) error: Option<String>,
    pub(super) notes: Option<String>,
    pub(super) request: Message,
    pub(super) response: Option<Message>,
}

/// Milliseconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Durations {
    pub(super) total: Option<f64>,
    pub(super) dns: Option<f64>,
    /// Without TLS.
    pub(super) connect: Option<f64>,
    pub(super) ssl: Option<f64>,
    pub(super) request: Option<f64>,
    pub(super) latency: Option<f64>,
    pub(super) response: Option<f64>,
}

/// A message.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Message {
    pub(super) first_line: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) status: Option<u16>,
    pub(super) mime_type: Option<String>,
    pub(super) body: Body,
    /// Bytes of the body on the wire.
    pub(super) wire_bytes: Option<f64>,
}

/// A body.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Body {
    #[default]
    None,
    /// Text, its content coding taken off.
    Text(String),
    /// Base64. `decoded` says that the content coding is off.
    Base64 { text: String, decoded: bool },
}

impl Transaction {
    /// Its URL.
    fn url(&self) -> String {
        let scheme = if self.scheme.is_empty() { "http" } else { &self.scheme };
        let usual = if scheme.eq_ignore_ascii_case("https") { 443 } else { 80 };
        let host = match self.host.contains(':') && !self.host.starts_with('[') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        let port = self.port.filter(|port| *port != usual).map(|port| format!(":{port}")).unwrap_or_default();
        let slash = if self.path.starts_with('/') || self.path.is_empty() { "" } else { "/" };
        // Some write the query into the path, too.
        let query = match self.query.is_empty() || self.path.contains('?') {
            true => String::new(),
            false => format!("?{}", self.query),
        };
        format!("{scheme}://{host}{port}{slash}{}{query}", self.path)
    }

    /// As an entry of HAR 1.2, in the words that the reader of HAR understands.
    pub(super) fn into_entry(self) -> Value {
        let url = self.url();
        let version = match self.version.as_str() {
            "" => self.request.first_line.rsplit(' ').next().unwrap_or_default(),
            version => version,
        };
        let timings = self.durations.timings();
        let mut entry = json!({
            "request": {
                "method": self.method,
                "url": url,
                "httpVersion": version,
                "headers": fields(&self.request.headers),
            },
            "timings": timings,
        });
        if let Some(bytes) = self.request.wire_bytes {
            entry["request"]["bodySize"] = json!(bytes);
        }
        if let Some(mut content) = content(&self.request) {
            content["mimeType"] = json!(self.request.mime_type);
            entry["request"]["postData"] = content;
        }
        let mut extra = json!({});
        if let Some(said) = coded(&self.request) {
            extra["requestBody"] = said;
        }
        if let Some(response) = &self.response {
            entry["response"] = response.as_response(version);
            if let Some(said) = coded(response) {
                extra["responseBody"] = said;
            }
        }
        for (key, value) in [
            ("startedDateTime", self.started.map(Value::from)),
            ("time", self.durations.total.map(Value::from)),
            ("serverIPAddress", self.address.map(Value::from)),
            ("comment", self.notes.map(Value::from)),
            ("_error", self.error.filter(|error| !error.is_empty()).map(Value::from)),
            ("_wirescope", extra.as_object().is_some_and(|extra| !extra.is_empty()).then_some(extra)),
        ] {
            if let Some(value) = value {
                entry[key] = value;
            }
        }
        entry
    }
}

impl Durations {
    fn timings(&self) -> Value {
        let mut timings = json!({
            "send": self.request.unwrap_or(0.0),
            "wait": self.latency.unwrap_or(0.0),
            "receive": self.response.unwrap_or(0.0),
        });
        let connect = match (self.connect, self.ssl) {
            (None, None) => None,
            // HAR counts TLS to connecting.
            (connect, ssl) => Some(connect.unwrap_or(0.0) + ssl.unwrap_or(0.0)),
        };
        for (name, span) in [("dns", self.dns), ("connect", connect), ("ssl", self.ssl)] {
            if let Some(span) = span {
                timings[name] = json!(span);
            }
        }
        timings
    }
}

impl Message {
    fn as_response(&self, version: &str) -> Value {
        // `HTTP/1.1 404 Not Found`
        let mut line = self.first_line.splitn(3, ' ');
        let said = line.next().filter(|said| said.starts_with("HTTP/")).unwrap_or(version);
        let status = line.next().and_then(|status| status.parse::<u16>().ok());
        let mut response = json!({
            "status": self.status.or(status).unwrap_or(0),
            "statusText": line.next().unwrap_or_default(),
            "httpVersion": said,
            "headers": fields(&self.headers),
        });
        if let Some(bytes) = self.wire_bytes {
            response["bodySize"] = json!(bytes);
        }
        if let Some(content) = content(self) {
            response["content"] = content;
        }
        response
    }

    fn is_coded(&self) -> bool {
        let coding = self.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-encoding"));
        coding.is_some_and(|(_, value)| {
            !value.trim().is_empty() && !value.trim().eq_ignore_ascii_case("identity")
        })
    }
}

fn fields(headers: &[(String, String)]) -> Value {
    headers.iter().map(|(name, value)| json!({"name": name, "value": value})).collect()
}

fn content(message: &Message) -> Option<Value> {
    match &message.body {
        Body::None => None,
        Body::Text(text) => Some(json!({"text": text})),
        Body::Base64 { text, .. } => Some(json!({"text": text, "encoding": "base64"})),
    }
}

/// What is to be said of a body whose content coding is still on: text never has one, bytes do unless they are said
/// to be decoded.
fn coded(message: &Message) -> Option<Value> {
    let Body::Base64 { text, decoded: false } = &message.body else { return None };
    message.is_coded().then(|| {
        let padding = text.bytes().rev().take_while(|byte| *byte == b'=').count();
        let digits = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).count();
        let bytes = (digits / 4 * 3).saturating_sub(padding);
        json!({"wireBytes": bytes, "storedBytes": bytes, "complete": true, "coded": true})
    })
}

/// An instant in milliseconds since 1970, in ISO 8601.
pub(super) fn iso(millis: f64) -> Option<String> {
    let span: Duration = clock::from_millis(millis)?;
    std::time::SystemTime::UNIX_EPOCH.checked_add(span).map(clock::iso)
}

/// The address in `example.com/93.184.216.34`, or one alone.
pub(super) fn address(text: &str) -> Option<String> {
    let address = text.rsplit('/').next().unwrap_or(text).trim_matches(['[', ']']);
    address.parse::<std::net::IpAddr>().is_ok().then(|| address.to_owned())
}
