//! Answers written in a rule.

use std::path::PathBuf;

use http::StatusCode;
use serde::{Deserialize, Deserializer, Serialize, de};

use super::{
    content::Content,
    edit::{FieldName, FieldValue, Pairs},
    json::OneOrMany,
    replace::Replace,
    template::Template,
    token::Status,
};

/// A response written in the rule.
///
/// With `template = true` there are places to fill in, in a text body, a file and the fields' values: see
/// [`Template`](super::Template). `Content-Length` is put right; `Content-Type` is guessed for JSON and files where it is
/// not given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, try_from = "MockForm")]
#[non_exhaustive]
pub struct Mock {
    /// The status, 200 without this.
    pub status: Status,
    /// The fields, in order; several of a name as a list.
    #[serde(skip_serializing_if = "Pairs::is_empty")]
    pub headers: Pairs<FieldName, OneOrMany<FieldValue>>,
    /// The body.
    #[serde(skip_serializing_if = "Content::is_empty")]
    pub body: Content,
    /// Whether there are places to fill in.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub template: bool,
}

impl Default for Mock {
    fn default() -> Self {
        Self::new(StatusCode::OK)
    }
}

impl Mock {
    /// A response with a status and nothing else.
    #[must_use]
    pub fn new(status: StatusCode) -> Self {
        Self { status: Status(status), headers: Pairs::default(), body: Content::default(), template: false }
    }

    /// With a field. What is no field is left out.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let (Ok(name), Ok(value)) = (FieldName::parse(name), FieldValue::parse(value)) {
            self.headers.0.push((name, OneOrMany::one(value)));
        }
        self
    }

    /// With a body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Content>) -> Self {
        self.body = body.into();
        self
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MockForm {
    #[serde(default = "ok")]
    status: Status,
    #[serde(default)]
    headers: Pairs<FieldName, OneOrMany<FieldValue>>,
    #[serde(default)]
    body: Content,
    #[serde(default)]
    template: bool,
}

fn ok() -> Status {
    Status(StatusCode::OK)
}

impl TryFrom<MockForm> for Mock {
    type Error = super::pattern::ParsePatternError;

    fn try_from(form: MockForm) -> Result<Self, Self::Error> {
        let MockForm { status, headers, body, template } = form;
        if template {
            if let Content::Text(text) = &body {
                Template::parse(text)?;
            }
            for value in headers.0.iter().flat_map(|(_, values)| values.iter()) {
                Template::parse(value.as_str())?;
            }
        }
        Ok(Self { status, headers, body, template })
    }
}

/// Files in the place of upstream.
///
/// The request's path, without `strip_prefix` and percent-decoded, is looked up below `directory`; a directory is
/// answered with its `index`. What is not there, lies outside (`..`, a symbolic link that leads out) or is not a file is
/// a 404; another method than GET and HEAD a 405. The content type goes by the file's extension.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct MapLocal {
    /// Where the files are. In a rule file a relative path is relative to that file's directory.
    pub directory: PathBuf,
    /// What the request's path loses at its beginning before it is looked up: `/static`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub strip_prefix: String,
    /// The file that stands for a directory.
    #[serde(default = "index", skip_serializing_if = "is_index")]
    pub index: String,
}

impl MapLocal {
    /// Answers with the files of a directory.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), strip_prefix: String::new(), index: index() }
    }
}

fn index() -> String {
    "index.html".to_owned()
}

fn is_index(name: &String) -> bool {
    name == "index.html"
}

/// A redirection: to `to`, with places to fill in (see [`Template`](super::Template)), or to the request's URL after
/// a `rewrite`; with neither found nothing is answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RedirectForm")]
#[non_exhaustive]
pub struct Redirect {
    /// The status, 300 to 399; 302 without this.
    pub status: Status,
    /// Where to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Template>,
    /// Or a search over the request's URL, which is answered as it then is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rewrite: Option<Replace>,
}

impl Redirect {
    /// Redirects to a URL with a 302.
    #[must_use]
    pub fn to(url: Template) -> Self {
        Self { status: Status(StatusCode::FOUND), to: Some(url), rewrite: None }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RedirectForm {
    #[serde(default = "found", deserialize_with = "redirection")]
    status: Status,
    #[serde(default)]
    to: Option<Template>,
    #[serde(default)]
    rewrite: Option<Replace>,
}

fn found() -> Status {
    Status(StatusCode::FOUND)
}

fn redirection<'de, D: Deserializer<'de>>(source: D) -> Result<Status, D::Error> {
    let status = Status::deserialize(source)?;
    if status.code().is_redirection() {
        Ok(status)
    } else {
        Err(de::Error::custom("the status of a redirection is 300 to 399"))
    }
}

impl TryFrom<RedirectForm> for Redirect {
    type Error = &'static str;

    fn try_from(form: RedirectForm) -> Result<Self, Self::Error> {
        let RedirectForm { status, to, rewrite } = form;
        if to.is_some() == rewrite.is_some() {
            return Err("a redirection has exactly one of `to` and `rewrite`");
        }
        Ok(Self { status, to, rewrite })
    }
}
