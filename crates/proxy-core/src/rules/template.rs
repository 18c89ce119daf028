//! Texts with places to fill in from the request.

use std::{fmt, time::SystemTime};

use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{moment::Moment, pattern::ParsePatternError, query};
use crate::head::RequestHead;

/// A text with places that are filled in from the request. Nothing is computed, and nothing is filled in twice.
///
/// | place | is |
/// |---|---|
/// | `{{request.method}}` | the method |
/// | `{{request.url}}` | the whole URL |
/// | `{{request.scheme}}`, `{{request.host}}`, `{{request.port}}` | its parts |
/// | `{{request.path}}` | the path without the query |
/// | `{{request.target}}` | the path and the query |
/// | `{{request.query.NAME}}` | the first value of a parameter, percent-decoded; empty where there is none |
/// | `{{request.header.NAME}}` | the first value of a field; empty where there is none |
/// | `{{request.body}}` | the body as text, decoded from its content coding; empty over the limit for buffered bodies |
/// | `{{now}}`, `{{now_ms}}` | the time in RFC 3339, and in milliseconds since 1970 |
/// | `{{uuid}}` | a random UUID, another one at each place |
/// | `{{open}}` | two opening braces |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: String,
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Place(Place),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Method,
    Url,
    Scheme,
    Host,
    Port,
    Path,
    Target,
    Query(String),
    Header(String),
    Body,
    Now,
    NowMs,
    Uuid,
}

/// What templates are filled in with.
#[derive(Clone, Copy)]
pub struct Filling<'a> {
    /// The request as the client sent it.
    pub request: &'a RequestHead,
    /// Its body, decoded, where it was read.
    pub body: Option<&'a [u8]>,
    /// The time.
    pub now: SystemTime,
    /// Sixteen random bytes, others each time.
    pub random: &'a dyn Fn() -> [u8; 16],
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// When a place is unknown or not closed.
    pub fn parse(text: &str) -> Result<Self, ParsePatternError> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, place)) = rest.split_once("{{") {
            let Some((name, after)) = place.split_once("}}") else {
                return Err(ParsePatternError("a place `{{...}}` is not closed".to_owned()));
            };
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            pieces.push(piece(name.trim())?);
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Self { text: text.to_owned(), pieces })
    }

    /// Whether it has to have the request's body.
    #[must_use]
    pub fn needs_body(&self) -> bool {
        self.pieces.contains(&Piece::Place(Place::Body))
    }

    /// Fills the places in. Bodies that are not UTF-8 have the wrong bytes replaced.
    #[must_use]
    pub fn fill(&self, with: &Filling<'_>) -> String {
        let mut out = String::with_capacity(self.text.len());
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Place(place) => place.put(with, &mut out),
            }
        }
        out
    }
}

fn piece(name: &str) -> Result<Piece, ParsePatternError> {
    let place = match name {
        "open" => return Ok(Piece::Text("{{".to_owned())),
        "request.method" => Place::Method,
        "request.url" => Place::Url,
        "request.scheme" => Place::Scheme,
        "request.host" => Place::Host,
        "request.port" => Place::Port,
        "request.path" => Place::Path,
        "request.target" => Place::Target,
        "request.body" => Place::Body,
        "now" => Place::Now,
        "now_ms" => Place::NowMs,
        "uuid" => Place::Uuid,
        _ => match (name.strip_prefix("request.query."), name.strip_prefix("request.header.")) {
            (Some(name), _) if !name.is_empty() => Place::Query(name.to_owned()),
            (_, Some(name)) if !name.is_empty() => Place::Header(name.to_owned()),
            _ => {
                let shown: String = name.chars().take(80).collect();
                return Err(ParsePatternError(format!(
                    "there is no place {{{{{shown}}}}}; there are request.method, request.url, request.scheme, \
                     request.host, request.port, request.path, request.target, request.query.NAME, \
                     request.header.NAME, request.body, now, now_ms, uuid, and open for two braces"
                )));
            }
        },
    };
    Ok(Piece::Place(place))
}

impl Place {
    fn put(&self, with: &Filling<'_>, out: &mut String) {
        let request = with.request;
        match self {
            Self::Method => out.push_str(request.method.as_str()),
            Self::Url => out.push_str(&request.url()),
            Self::Scheme => out.push_str(request.scheme.as_str()),
            Self::Host => out.push_str(request.host()),
            Self::Port => out.push_str(&request.port().to_string()),
            Self::Path => out.push_str(query::split(&request.target).0),
            Self::Target => out.push_str(&request.target),
            Self::Query(name) => {
                let found = query::parameters(&request.target).find(|(key, _)| key == name);
                out.push_str(&found.map(|(_, value)| value).unwrap_or_default());
            }
            Self::Header(name) => {
                if let Some(value) = request.headers.get(name) {
                    out.push_str(&String::from_utf8_lossy(value));
                }
            }
            Self::Body => out.push_str(&String::from_utf8_lossy(with.body.unwrap_or_default())),
            Self::Now => out.push_str(&Moment::new(with.now).to_string()),
            Self::NowMs => {
                let since = with.now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                out.push_str(&since.as_millis().to_string());
            }
            Self::Uuid => out.push_str(&uuid((with.random)())),
        }
    }
}

/// Sixteen random bytes, for [`Filling::random`].
#[must_use]
pub fn random_bytes() -> [u8; 16] {
    let mut bytes = [0; 16];
    // The system's source fails on no system in use; a UUID of zeros would show it.
    let _ = SystemRandom::new().fill(&mut bytes);
    bytes
}

/// A random UUID (RFC 9562 section 5.4).
fn uuid(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(source)?).map_err(de::Error::custom)
    }
}

impl Serialize for Template {
    fn serialize<S: Serializer>(&self, sink: S) -> Result<S::Ok, S::Error> {
        sink.serialize_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{Method, Version};

    use super::*;
    use crate::head::{Headers, Scheme};

    #[test]
    fn places_are_filled_in_from_the_request() {
        let mut headers = Headers::new();
        headers.push("X-Name", "Ada");
        let request = RequestHead {
            method: Method::POST,
            scheme: Scheme::Https,
            authority: "api.example.com:8443".to_owned(),
            target: "/users/7?q=a+b%21&q=2".to_owned(),
            version: Version::HTTP_11,
            headers,
        };
        let with = Filling {
            request: &request,
            body: Some(b"{{now}}"),
            now: SystemTime::UNIX_EPOCH + Duration::from_secs(951_782_400),
            random: &|| [0xff; 16],
        };
        for (template, expected) in [
            ("{{request.method}} {{ request.path }}", "POST /users/7"),
            ("{{request.scheme}}://{{request.host}}:{{request.port}}", "https://api.example.com:8443"),
            ("{{request.url}}", "https://api.example.com:8443/users/7?q=a+b%21&q=2"),
            ("{{request.target}}", "/users/7?q=a+b%21&q=2"),
            ("{{request.query.q}}|{{request.query.none}}|", "a b!||"),
            ("{{request.header.x-name}}", "Ada"),
            ("{{request.body}}", "{{now}}"),
            ("{{now}} {{now_ms}}", "2000-02-29T00:00:00Z 951782400000"),
            ("{{uuid}}", "ffffffff-ffff-4fff-bfff-ffffffffffff"),
            ("{{open}}x}}", "{{x}}"),
            ("no place", "no place"),
        ] {
            assert_eq!(Template::parse(template).unwrap().fill(&with), expected, "{template}");
        }
    }

    #[test]
    fn unknown_and_open_places_are_refused() {
        for bad in ["{{nope}}", "{{request.query.}}", "{{now", "{{request.header}}"] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
    }
}
