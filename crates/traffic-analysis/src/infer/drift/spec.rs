//! An OpenAPI 3 document, as far as exchanges are held against it.

use serde_json::{Map, Value};

/// Operations of a document that are read.
const MAX_OPERATIONS: usize = 10_000;
/// References that lead to references.
const MAX_REFERENCES: usize = 16;
/// The methods a path item may have, in its own words.
const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/// A document.
pub(super) struct Spec<'d> {
    document: &'d Value,
    /// Origins and base paths of its servers; an empty origin stands for any.
    servers: Vec<(String, String)>,
    pub(super) operations: Vec<Operation<'d>>,
}

/// An operation of a document.
pub(super) struct Operation<'d> {
    method: String,
    path: &'d str,
    segments: Vec<&'d str>,
    item: &'d Value,
    pub(super) value: &'d Value,
}

/// A documented parameter.
pub(super) struct Parameter<'d> {
    pub(super) name: &'d str,
    pub(super) place: &'d str,
    pub(super) required: bool,
    pub(super) schema: Option<&'d Value>,
}

impl Operation<'_> {
    /// `GET /users/{id}`.
    pub(super) fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// The statuses documented.
    pub(super) fn statuses(&self) -> impl Iterator<Item = &String> {
        self.value.get("responses").and_then(Value::as_object).into_iter().flat_map(Map::keys)
    }
}

impl<'d> Spec<'d> {
    /// Reads a document; the error fits after "because".
    pub(super) fn read(document: &'d Value) -> Result<Self, String> {
        let version = document.get("openapi").and_then(Value::as_str);
        match version {
            Some(version) if version.starts_with("3.") => {}
            Some(version) => return Err(format!("its version is {version}, and only 3.0 and 3.1 are read")),
            None => return Err("it has no `openapi` field".to_owned()),
        }
        let paths = document.get("paths").and_then(Value::as_object);
        let paths = paths.ok_or("it has no `paths` object")?;
        let mut spec = Self { document, servers: servers(document), operations: Vec::new() };
        for (path, item) in paths {
            let item = spec.resolve(item);
            for method in METHODS {
                let Some(value) = item.get(method).filter(|value| value.is_object()) else { continue };
                if spec.operations.len() >= MAX_OPERATIONS {
                    return Err(format!("it has more than {MAX_OPERATIONS} operations"));
                }
                let segments = path.split('/').skip(1).collect();
                let method = method.to_ascii_uppercase();
                spec.operations.push(Operation { method, path, segments, item, value });
            }
        }
        Ok(spec)
    }

    /// Follows a reference within the document.
    pub(super) fn resolve(&self, value: &'d Value) -> &'d Value {
        let mut value = value;
        for _ in 0..MAX_REFERENCES {
            let Some(reference) = value.get("$ref").and_then(Value::as_str) else { return value };
            let Some(target) = reference.strip_prefix('#').and_then(|pointer| self.document.pointer(pointer))
            else {
                return value;
            };
            value = target;
        }
        value
    }

    /// Tells whether an origin is one of the document's, or the one that was asked for.
    pub(super) fn serves(&self, origin: &str, wanted: Option<&str>) -> bool {
        if let Some(wanted) = wanted {
            let wanted = wanted.trim_end_matches('/').to_ascii_lowercase();
            return origin == wanted || origin.rsplit("://").next() == Some(wanted.as_str());
        }
        self.servers.iter().any(|(server, _)| server.is_empty() || server == origin)
    }

    /// The operation for a request: of those that fit, the one with most literal segments.
    pub(super) fn find(&self, method: &str, target: &str) -> Option<usize> {
        self.fitting(target)
            .filter(|(_, operation, _)| operation.method.eq_ignore_ascii_case(method))
            .max_by_key(|(_, _, literals)| *literals)
            .map(|(at, ..)| at)
    }

    /// Tells whether some operation has a request's path.
    pub(super) fn knows_path(&self, target: &str) -> bool {
        self.fitting(target).next().is_some()
    }

    fn fitting(&self, target: &str) -> impl Iterator<Item = (usize, &Operation<'d>, usize)> {
        let path = target.split(['?', '#']).next().unwrap_or_default().to_owned();
        let mut relative: Vec<String> = self
            .servers
            .iter()
            .filter_map(|(_, base)| path.strip_prefix(base.as_str()).map(str::to_owned))
            .collect();
        relative.dedup();
        self.operations.iter().enumerate().filter_map(move |(at, operation)| {
            let fits = |path: &String| literals(&operation.segments, path);
            relative.iter().find_map(fits).map(|literals| (at, operation, literals))
        })
    }

    /// What a status is documented to answer.
    pub(super) fn response(&self, operation: &Operation<'d>, status: u16) -> Option<&'d Value> {
        let responses = operation.value.get("responses")?;
        let class = format!("{}XX", status / 100);
        let names = [status.to_string(), class.clone(), class.to_lowercase(), "default".to_owned()];
        names.iter().find_map(|name| responses.get(name)).map(|value| self.resolve(value))
    }

    /// The parameters of an operation, its path's included.
    pub(super) fn parameters(&self, operation: &Operation<'d>) -> Vec<Parameter<'d>> {
        let lists =
            [operation.item, operation.value].into_iter().filter_map(|it| it.get("parameters")?.as_array());
        lists
            .flatten()
            .filter_map(|parameter| {
                let parameter = self.resolve(parameter);
                Some(Parameter {
                    name: parameter.get("name")?.as_str()?,
                    place: parameter.get("in")?.as_str()?,
                    required: parameter.get("required").and_then(Value::as_bool).unwrap_or(false),
                    schema: parameter.get("schema"),
                })
            })
            .collect()
    }
}

/// The servers' origins and base paths.
fn servers(document: &Value) -> Vec<(String, String)> {
    let list = document.get("servers").and_then(Value::as_array).into_iter().flatten();
    let mut servers: Vec<(String, String)> = list
        .filter_map(|server| server.get("url")?.as_str())
        .map(|url| {
            let Some((scheme, rest)) = url.split_once("://") else {
                return (String::new(), url.trim_end_matches('/').to_owned());
            };
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            // A variable stands for any host.
            let any = authority.contains('{');
            let origin = format!("{scheme}://{authority}").to_ascii_lowercase();
            let usual = [("http://", ":80"), ("https://", ":443")];
            let plain = usual.iter().find(|(scheme, _)| origin.starts_with(scheme));
            let origin = plain.and_then(|(_, port)| origin.strip_suffix(port)).unwrap_or(&origin).to_owned();
            (if any { String::new() } else { origin }, path.trim_end_matches('/').to_owned())
        })
        .collect();
    if servers.is_empty() {
        servers.push((String::new(), String::new()));
    }
    servers
}

/// How many segments of a path are literally those of a template; `None` where it does not fit.
fn literals(template: &[&str], path: &str) -> Option<usize> {
    let given: Vec<&str> = path.split('/').skip(1).collect();
    if given.len() != template.len() {
        return None;
    }
    let mut literal = 0;
    for (want, have) in template.iter().zip(given) {
        match (want.find('{'), want.rfind('}')) {
            (Some(open), Some(close)) if open < close => {
                let inner = have.strip_prefix(&want[..open])?.strip_suffix(&want[close + 1..])?;
                if inner.is_empty() {
                    return None;
                }
            }
            _ if *want == have => literal += 1,
            _ => return None,
        }
    }
    Some(literal)
}

/// What a media type is documented to be, ranges included (RFC 9110 section 12.5.1).
pub(super) fn media<'d>(types: &'d Map<String, Value>, media_type: &str) -> Option<&'d Value> {
    let plain = |name: &str| name.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let class = media_type.split('/').next().unwrap_or_default();
    types
        .iter()
        .find(|(name, _)| plain(name) == media_type)
        .or_else(|| types.iter().find(|(name, _)| plain(name) == format!("{class}/*")))
        .or_else(|| types.iter().find(|(name, _)| plain(name) == "*/*"))
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_most_literal_template_wins() {
        let document = json!({"openapi": "3.1.0", "servers": [{"url": "https://a.test:443/v1/"}], "paths": {
            "/users/{id}": {"get": {}}, "/users/me": {"get": {}, "post": {}}, "/files/{name}.json": {"get": {}}}});
        let spec = Spec::read(&document).unwrap();
        let find = |method, target| spec.find(method, target).map(|at| spec.operations[at].name());
        assert_eq!(find("GET", "/v1/users/12?x=1").as_deref(), Some("GET /users/{id}"));
        assert_eq!(find("GET", "/v1/users/me").as_deref(), Some("GET /users/me"));
        assert_eq!(find("GET", "/v1/files/a.json").as_deref(), Some("GET /files/{name}.json"));
        assert_eq!(find("GET", "/v1/files/a.txt"), None);
        assert_eq!(find("GET", "/users/12"), None);
        assert_eq!(find("DELETE", "/v1/users/me"), None);
        assert!(spec.knows_path("/v1/users/me"));
        assert!(spec.serves("https://a.test", None) && !spec.serves("https://b.test", None));
        assert!(spec.serves("https://b.test", Some("b.test")));
    }

    #[test]
    fn what_is_no_document_says_why() {
        for (document, why) in [
            (json!({}), "no `openapi`"),
            (json!({"swagger": "2.0"}), "no `openapi`"),
            (json!({"openapi": "2.0"}), "only 3.0"),
            (json!({"openapi": "3.1.0"}), "no `paths`"),
        ] {
            let error = Spec::read(&document).err().unwrap();
            assert!(error.contains(why), "{error}");
        }
    }
}
