//! One operation as its samples show it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{OperationSummary, auth::Scheme, route::Key, sample::Content, shape::Shape};

/// Parameters and header fields of one operation that are told apart.
const MAX_PARAMETERS: usize = 100;
/// Media types of one message.
const MAX_MEDIA_TYPES: usize = 16;
/// Bytes of JSON of an example.
const MAX_EXAMPLE: usize = 4 * 1024;
/// Combinations of security schemes.
const MAX_SECURITY: usize = 16;

/// What is known of an operation.
#[derive(Clone, Debug, Default)]
pub(super) struct Operation {
    pub(super) count: u64,
    pub(super) path: Vec<Shape>,
    pub(super) query: BTreeMap<String, Parameter>,
    pub(super) headers: BTreeMap<String, Parameter>,
    pub(super) request: Message,
    pub(super) responses: BTreeMap<u16, Message>,
    pub(super) security: BTreeSet<BTreeSet<Scheme>>,
}

/// A parameter.
#[derive(Clone, Debug, Default)]
pub(super) struct Parameter {
    /// Requests that had it.
    pub(super) count: u64,
    pub(super) shape: Shape,
    /// Whether one had it several times.
    pub(super) repeated: bool,
}

/// The bodies of one side, or of one status.
#[derive(Clone, Debug, Default)]
pub(super) struct Message {
    pub(super) count: u64,
    /// Those with a body.
    pub(super) bodies: u64,
    pub(super) content: BTreeMap<String, Media>,
}

/// Bodies of one media type.
#[derive(Clone, Debug, Default)]
pub(super) struct Media {
    pub(super) values: u64,
    pub(super) shape: Shape,
    pub(super) binary: bool,
    pub(super) example: Option<Value>,
}

impl Operation {
    pub(super) fn summary(&self, key: &Key) -> OperationSummary {
        OperationSummary {
            method: key.method.clone(),
            path: key.template(),
            count: self.count,
            statuses: self.responses.keys().copied().collect(),
        }
    }

    /// Takes note of what stands for the path's placeholders.
    pub(super) fn add_path(&mut self, values: &[Option<&str>]) {
        self.path.resize_with(self.path.len().max(values.len()), Shape::default);
        for (shape, value) in self.path.iter_mut().zip(values) {
            if let Some(value) = value {
                shape.add_typed(&super::sample::decoded(value));
            }
        }
    }

    /// Takes note of a query's parameters.
    pub(super) fn add_query(&mut self, parameters: &[(String, String)]) {
        note_all(&mut self.query, parameters);
    }

    /// Takes note of header fields.
    pub(super) fn add_headers(&mut self, fields: &[(String, String)]) {
        note_all(&mut self.headers, fields);
    }

    pub(super) fn add_security(&mut self, schemes: BTreeSet<Scheme>) {
        if self.security.len() < MAX_SECURITY {
            self.security.insert(schemes);
        }
    }

    /// A new placeholder at `index`, which this literal stood for.
    pub(super) fn with_value(mut self, index: usize, literal: &str) -> Self {
        let mut shape = Shape::default();
        shape.add(&Value::String(literal.to_owned()));
        self.path.insert(index.min(self.path.len()), shape);
        self
    }

    /// Adds what another operation saw.
    pub(super) fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.path.resize_with(self.path.len().max(other.path.len()), Shape::default);
        for (ours, theirs) in self.path.iter_mut().zip(other.path) {
            ours.merge(theirs);
        }
        for (ours, theirs) in [(&mut self.query, other.query), (&mut self.headers, other.headers)] {
            for (name, parameter) in theirs {
                if let Some(place) = place(ours, &name) {
                    place.count += parameter.count;
                    place.repeated |= parameter.repeated;
                    place.shape.merge(parameter.shape);
                }
            }
        }
        self.request.merge(other.request);
        for (status, message) in other.responses {
            self.responses.entry(status).or_default().merge(message);
        }
        for schemes in other.security {
            self.add_security(schemes);
        }
    }
}

impl Message {
    /// Takes note of a message, and of its body where it has one. Gives back whether the body was not looked into.
    pub(super) fn add(&mut self, body: Option<(String, Content)>) -> bool {
        self.count += 1;
        let Some((media_type, content)) = body else { return false };
        self.bodies += 1;
        if !self.content.contains_key(&media_type) && self.content.len() >= MAX_MEDIA_TYPES {
            return true;
        }
        let media = self.content.entry(media_type).or_default();
        match content {
            Content::Value(value) => {
                media.values += 1;
                media.shape.add(&value);
                if media.example.is_none() && value.to_string().len() <= MAX_EXAMPLE {
                    media.example = Some(value);
                }
            }
            Content::Text => {}
            Content::Binary => media.binary = true,
            Content::Unread => return true,
        }
        false
    }

    fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.bodies += other.bodies;
        for (media_type, media) in other.content {
            let ours = self.content.entry(media_type).or_default();
            ours.values += media.values;
            ours.binary |= media.binary;
            ours.shape.merge(media.shape);
            ours.example = ours.example.take().or(media.example);
        }
    }
}

fn place<'p>(parameters: &'p mut BTreeMap<String, Parameter>, name: &str) -> Option<&'p mut Parameter> {
    let room = parameters.contains_key(name) || parameters.len() < MAX_PARAMETERS;
    room.then(|| parameters.entry(name.to_owned()).or_default())
}

fn note_all(parameters: &mut BTreeMap<String, Parameter>, given: &[(String, String)]) {
    let mut seen = BTreeSet::new();
    for (name, value) in given {
        let Some(parameter) = place(parameters, name) else { continue };
        parameter.shape.add_typed(value);
        if seen.insert(name.as_str()) {
            parameter.count += 1;
        } else {
            parameter.repeated = true;
        }
    }
}
