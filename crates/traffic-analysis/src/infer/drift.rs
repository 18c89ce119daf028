//! What exchanges do that an OpenAPI document does not say.

mod check;
mod spec;

use std::{collections::BTreeMap, fmt};

use capture_store::{BodySide, Error, ErrorKind, Exchange, Query, Seq, Store};
use serde_json::Value;

use self::{
    check::Checker,
    spec::{Operation, Spec},
};
use super::{
    Counts, Options,
    collect::{self, METHODS},
    route::Key,
    sample::{self, Content},
};

/// Changes told apart; beyond it they are only counted.
const MAX_CHANGES: usize = 2_000;

/// How exchanges differ from a document.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Drift {
    /// The changes, those that break clients first.
    pub changes: Vec<Change>,
    /// Changes beyond the first 2,000 that differ.
    pub more_changes: u64,
    /// Documented operations that no exchange used.
    pub unused: Vec<String>,
    /// Exchanges held against the document.
    pub checked: u64,
    /// Exchanges with origins that the document does not serve.
    pub elsewhere: u64,
    /// What was read and what was left out.
    pub counts: Counts,
}

/// A difference, however often it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// What differs.
    pub kind: ChangeKind,
    /// The operation, as `GET /users/{user_id}`.
    pub endpoint: String,
    /// Where: `request/name`, `response 200/items/*/id`, `query page`.
    pub at: String,
    /// What was documented, and what came.
    pub detail: String,
    /// Exchanges it was seen in.
    pub count: u64,
    /// The first of them.
    pub first: Seq,
}

/// What differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ChangeKind {
    /// A value has a type that is not documented.
    TypeChange,
    /// A required field is missing.
    MissingField,
    /// A required parameter is missing.
    MissingParameter,
    /// A status that is not documented.
    NewStatus,
    /// A media type that is not documented.
    NewMediaType,
    /// A value that is none of those documented.
    NewValue,
    /// A path, or a method of one, that is not documented.
    NewEndpoint,
    /// A field that is not documented.
    NewField,
    /// A parameter of the query that is not documented.
    NewParameter,
}

impl ChangeKind {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TypeChange => "type_change",
            Self::MissingField => "missing_field",
            Self::MissingParameter => "missing_parameter",
            Self::NewStatus => "new_status",
            Self::NewMediaType => "new_media_type",
            Self::NewValue => "new_value",
            Self::NewEndpoint => "new_endpoint",
            Self::NewField => "new_field",
            Self::NewParameter => "new_parameter",
        }
    }
}

/// Why there is no answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum DriftError {
    /// The document is no OpenAPI 3 document; the reason fits after "because".
    Document(String),
    /// The store cannot be read.
    Store(Error),
}

impl fmt::Display for DriftError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Document(reason) => write!(f, "read the document as OpenAPI 3: {reason}"),
            Self::Store(_) => f.write_str("read the exchanges"),
        }
    }
}

impl std::error::Error for DriftError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Store(error) => Some(error),
            Self::Document(_) => None,
        }
    }
}

impl From<Error> for DriftError {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

/// Holds the exchanges of a query against an OpenAPI 3 document. Of the options, `origin` (else the document's servers),
/// `max_exchanges`, `max_body_bytes` and `everything` count. Blocks on the disk.
///
/// # Errors
/// When the document is none, or the store cannot be read.
pub fn drift(store: &Store, query: &Query, document: &Value, options: &Options) -> Result<Drift, DriftError> {
    let spec = Spec::read(document).map_err(DriftError::Document)?;
    let mut found = Found { changes: BTreeMap::new(), more: 0 };
    let mut result = Drift {
        changes: Vec::new(),
        more_changes: 0,
        unused: Vec::new(),
        checked: 0,
        elsewhere: 0,
        counts: Counts::default(),
    };
    let mut used = vec![false; spec.operations.len()];
    let counts = &mut result.counts;
    let bodies = (store, options.max_body_bytes);
    let more = collect::each(store, query, options.max_exchanges, |summary| {
        counts.read += 1;
        if !collect::is_answered(summary) || !METHODS.contains(&summary.method.as_str()) {
            counts.unanswered += 1;
            return Ok(());
        }
        if !spec.serves(&collect::origin(summary), options.origin.as_deref()) {
            result.elsewhere += 1;
            return Ok(());
        }
        let operation = spec.find(&summary.method, &summary.target);
        let exchange = match store.exchange(summary.seq) {
            Ok(exchange) => exchange,
            Err(error) if matches!(error.kind(), ErrorKind::UnknownExchange(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        // What is documented is a call, whatever it looks like.
        if operation.is_none() && !collect::is_call(summary, Some(&exchange), options.everything) {
            counts.not_api += 1;
            return Ok(());
        }
        result.checked += 1;
        counts.described += u64::from(operation.is_some());
        match operation {
            None => found.new_endpoint(&spec, &exchange),
            Some(at) => {
                used[at] = true;
                let operation = &spec.operations[at];
                counts.unread_bodies += hold(bodies, &spec, operation, &exchange, &mut found);
            }
        }
        Ok(())
    })?;
    result.counts.more = more;
    let unused = spec.operations.iter().zip(&used).filter(|(_, used)| !**used);
    result.unused = unused.map(|(operation, _)| operation.name()).collect();
    result.more_changes = found.more;
    result.changes = found.changes.into_values().collect();
    result.changes.sort_by(|a, b| {
        a.kind.cmp(&b.kind).then_with(|| b.count.cmp(&a.count)).then_with(|| a.endpoint.cmp(&b.endpoint))
    });
    Ok(result)
}

/// What was found so far.
struct Found {
    changes: BTreeMap<(ChangeKind, String, String), Change>,
    more: u64,
}

impl Found {
    /// Notes a change of a kind, at an endpoint, at a place in it.
    fn note(&mut self, key: (ChangeKind, String, String), detail: String, seq: Seq) {
        if let Some(change) = self.changes.get_mut(&key) {
            change.count += 1;
        } else if self.changes.len() >= MAX_CHANGES {
            self.more += 1;
        } else {
            let (kind, endpoint, at) = key.clone();
            self.changes.insert(key, Change { kind, endpoint, at, detail, count: 1, first: seq });
        }
    }

    fn new_endpoint(&mut self, spec: &Spec<'_>, exchange: &Exchange) {
        let summary = &exchange.summary;
        let path = Key::new(&summary.method, &summary.target).template();
        let endpoint = format!("{} {path}", summary.method);
        let detail = match spec.knows_path(&summary.target) {
            true => "the path is documented, the method is not",
            false => "the path is not documented",
        };
        let status = summary.status.map(|status| format!("; it answered {status}")).unwrap_or_default();
        let key = (ChangeKind::NewEndpoint, endpoint, String::new());
        self.note(key, format!("{detail}{status}"), summary.seq);
    }
}

/// Holds one exchange against its operation; gives back how many bodies were not looked into.
fn hold(
    (store, max_body_bytes): (&Store, u64),
    spec: &Spec<'_>,
    operation: &Operation<'_>,
    exchange: &Exchange,
    found: &mut Found,
) -> u64 {
    let (summary, endpoint) = (&exchange.summary, operation.name());
    let mut note = |kind, at: String, detail: String| {
        found.note((kind, endpoint.clone(), at), detail, summary.seq);
    };
    parameters(spec, operation, exchange, &mut note);
    let status = summary.status.unwrap_or_default();
    let mut unread = 0;
    let mut side = |described: Option<&Value>, side: BodySide, place: String| {
        let Some((media_type, content)) = sample::body(store, exchange, side, max_body_bytes) else {
            return;
        };
        let Some(described) = described.map(|described| spec.resolve(described)) else { return };
        let Some(types) = described.get("content").and_then(Value::as_object) else { return };
        let Some(media) = spec::media(types, &media_type) else {
            let known: Vec<&str> = types.keys().map(String::as_str).take(5).collect();
            let detail = format!("documented: {}; came: {media_type}", known.join(", "));
            note(ChangeKind::NewMediaType, place, detail);
            return;
        };
        match (content, media.get("schema")) {
            (Content::Unread, _) => unread += 1,
            (Content::Value(value), Some(schema)) => {
                let mut checker = Checker::new(spec);
                checker.check(schema, &value, &place);
                for finding in checker.findings {
                    note(finding.kind, finding.at, finding.detail);
                }
            }
            _ => {}
        }
    };
    side(operation.value.get("requestBody"), BodySide::Request, "request".to_owned());
    match spec.response(operation, status) {
        Some(described) => side(Some(described), BodySide::Response, format!("response {status}")),
        None => {
            let known: Vec<&String> = operation.statuses().take(10).collect();
            let known: Vec<&str> = known.into_iter().map(String::as_str).collect();
            note(
                ChangeKind::NewStatus,
                format!("response {status}"),
                format!("documented: {}", known.join(", ")),
            );
        }
    }
    unread
}

fn parameters(
    spec: &Spec<'_>,
    operation: &Operation<'_>,
    exchange: &Exchange,
    note: &mut impl FnMut(ChangeKind, String, String),
) {
    let given = sample::query(&exchange.summary.target);
    let documented = spec.parameters(operation);
    let keys = |name: &str| super::auth::is_key_parameter(name);
    for (name, value) in given.iter().filter(|(name, _)| !keys(name)) {
        match documented.iter().find(|parameter| parameter.place == "query" && parameter.name == *name) {
            None => note(ChangeKind::NewParameter, format!("query {name}"), "not documented".to_owned()),
            Some(parameter) => {
                let Some(schema) = parameter.schema else { continue };
                if let Some(detail) = check::parameter(schema, value) {
                    note(ChangeKind::TypeChange, format!("query {name}"), detail);
                }
            }
        }
    }
    for parameter in documented.iter().filter(|parameter| parameter.required) {
        let there = match parameter.place {
            "query" => given.iter().any(|(name, _)| name == parameter.name),
            "header" => exchange.request.headers.contains(parameter.name),
            _ => true,
        };
        if !there {
            let at = format!("{} {}", parameter.place, parameter.name);
            note(ChangeKind::MissingParameter, at, "documented as required".to_owned());
        }
    }
}
