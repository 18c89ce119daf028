//! What actions do to heads. Each helper says what it changed, one short line each, for the record.

use super::{
    edit::{FieldEdits, QueryEdits},
    fault::Side,
    matcher::SchemeMatch,
    query,
    replace::Replace,
    reroute::MapRemote,
};
use crate::head::{Headers, RequestHead, Scheme};

/// The longest URL a rule can make, in bytes.
const MAX_URL_BYTES: usize = 64 * 1024;

impl FieldEdits {
    /// Edits the fields of a request's or a response's head.
    pub fn apply(&self, side: Side, headers: &mut Headers) -> Vec<String> {
        let side = match side {
            Side::Request => "request",
            Side::Response => "response",
        };
        let mut changes = Vec::new();
        let cleared = self.set.0.iter().filter(|(_, value)| value.is_none()).map(|(name, _)| name);
        for name in self.remove.iter().chain(cleared).map(super::edit::FieldName::as_str) {
            if headers.contains(name) {
                headers.remove(name);
                changes.push(format!("removed {side} header {name}"));
            }
        }
        for (name, value) in &self.set.0 {
            if let Some(value) = value {
                headers.set(name.as_str(), value.as_str().to_owned());
                changes.push(format!("set {side} header {}", name.as_str()));
            }
        }
        for (name, values) in &self.add.0 {
            for value in values.iter() {
                headers.push(name.as_str().to_owned(), value.as_str().to_owned());
                changes.push(format!("added {side} header {}", name.as_str()));
            }
        }
        changes
    }
}

impl QueryEdits {
    /// Edits the query of a request. Parameters that no edit names stay as they are written.
    pub fn apply(&self, request: &mut RequestHead) -> Vec<String> {
        let (path, old) = query::split(&request.target);
        let mut parts: Vec<_> =
            old.unwrap_or_default().split('&').filter(|part| !part.is_empty()).map(str::to_owned).collect();
        let mut changes = Vec::new();
        let named = |part: &str, name: &str| query::decode(part.split('=').next().unwrap_or(part)) == name;
        let cleared = self.set.0.iter().filter(|(_, value)| value.is_none()).map(|(name, _)| name);
        for name in self.remove.iter().chain(cleared) {
            let before = parts.len();
            parts.retain(|part| !named(part, name));
            if parts.len() < before {
                changes.push(format!("removed query parameter {name}"));
            }
        }
        for (name, value) in &self.set.0 {
            let Some(value) = value else { continue };
            let at = parts.iter().position(|part| named(part, name)).unwrap_or(parts.len());
            let kept: Vec<_> = parts.split_off(at).into_iter().filter(|part| !named(part, name)).collect();
            parts.push(written(name, value));
            parts.extend(kept);
            changes.push(format!("set query parameter {name}"));
        }
        for (name, values) in &self.add.0 {
            parts.extend(values.iter().map(|value| written(name, value)));
            changes.extend(values.iter().map(|_| format!("added query parameter {name}")));
        }
        if !changes.is_empty() {
            let mark = if parts.is_empty() { "" } else { "?" };
            request.target = format!("{path}{mark}{}", parts.join("&"));
        }
        changes
    }
}

/// A parameter as a query has it.
fn written(name: &str, value: &str) -> String {
    let mut out = String::new();
    query::encode(name, &mut out);
    out.push('=');
    query::encode(value, &mut out);
    out
}

impl MapRemote {
    /// Turns a request to another origin: its `scheme`, `authority` and `target`. `Host` is left to the caller, who puts it
    /// right unless [`keep_host`](Self::keep_host) is set.
    pub fn apply(&self, request: &mut RequestHead) -> Vec<String> {
        let before = request.url();
        if let Some(replace) = &self.path {
            let (path, query) = query::split(&request.target);
            if let Ok(Some(new)) = replace.apply(path.as_bytes(), MAX_URL_BYTES)
                && let Ok(new) = String::from_utf8(new)
                && is_target(&new)
            {
                // A replacement may bring a query of its own; the request's own follows it.
                let mark = if new.contains('?') { '&' } else { '?' };
                request.target = query.map_or_else(|| new.clone(), |query| format!("{new}{mark}{query}"));
            }
        }
        let own_port = crate::head::split_authority(&request.authority).1;
        let port = if self.scheme.is_some() { self.port } else { self.port.or(own_port) };
        match self.scheme {
            Some(SchemeMatch::Http) => request.scheme = Scheme::Http,
            Some(SchemeMatch::Https) => request.scheme = Scheme::Https,
            None => {}
        }
        if self.scheme.is_some() || self.host.is_some() || self.port.is_some() {
            let host = self.host.clone().unwrap_or_else(|| bracketed(request.host()));
            request.authority = port.map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
        }
        moved(&before, request)
    }
}

/// What a move is called in the record.
fn moved(before: &str, request: &RequestHead) -> Vec<String> {
    let after = request.url();
    if after == before { Vec::new() } else { vec![format!("sent to {after}")] }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

fn is_target(text: &str) -> bool {
    text.starts_with('/') && text.bytes().all(|byte| byte > b' ' && byte != 0x7f && byte != b'#')
}

impl Replace {
    /// Rewrites a request's URL by a search over all of it, with the scheme and host in lower case. When the result is no
    /// URL of http or https the request stays as it is, and the line says so.
    pub fn rewrite_url(&self, request: &mut RequestHead) -> Vec<String> {
        let url = lower_url(request);
        let rewritten = match self.apply(url.as_bytes(), MAX_URL_BYTES) {
            Ok(None) => return Vec::new(),
            Ok(Some(new)) => String::from_utf8(new).ok(),
            Err(_) => None,
        };
        let Some((scheme, authority, target)) = rewritten.as_deref().and_then(split_url) else {
            return vec!["left the URL: the rewritten one is no http or https URL".to_owned()];
        };
        let origin = url.split_once("://").map_or("", |(_, rest)| rest);
        let origin = &origin[..origin.find(['/', '?']).unwrap_or(origin.len())];
        if scheme != request.scheme || !authority.eq_ignore_ascii_case(origin) {
            request.scheme = scheme;
            request.authority = authority.to_owned();
        }
        request.target = target;
        moved(&url, request)
    }

    /// The URL of a request after the replacement; `None` when nothing was found or the result is too long.
    pub(super) fn rewritten_url(&self, request: &RequestHead) -> Option<String> {
        let new = self.apply(lower_url(request).as_bytes(), MAX_URL_BYTES).ok()??;
        String::from_utf8(new).ok()
    }
}

/// A request's URL, its scheme and host in lower case.
pub(super) fn lower_url(head: &RequestHead) -> String {
    let url = head.url();
    let origin = head.scheme.as_str().len() + "://".len();
    let end = url[origin..].find(['/', '?']).map_or(url.len(), |at| origin + at);
    if url[..end].bytes().any(|byte| byte.is_ascii_uppercase()) {
        format!("{}{}", url[..end].to_ascii_lowercase(), &url[end..])
    } else {
        url
    }
}

/// Splits an absolute URL into what a request's head is made of.
pub(super) fn split_url(url: &str) -> Option<(Scheme, &str, String)> {
    let (scheme, rest) = url.split_once("://")?;
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        _ => return None,
    };
    let rest = rest.split('#').next().unwrap_or(rest);
    let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
    let named = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    let (host, port) = crate::head::split_authority(authority);
    let port_is_one = port.is_some() || authority == host || authority == format!("[{host}]");
    (!host.is_empty() && port_is_one && authority.bytes().all(named) && is_target(&target))
        .then_some((scheme, authority, target))
}

#[cfg(test)]
mod tests {
    use http::{Method, Version};

    use super::*;

    fn request(url: &str) -> RequestHead {
        let (scheme, authority, target) = split_url(url).unwrap();
        RequestHead {
            method: Method::GET,
            scheme,
            authority: authority.to_owned(),
            target,
            version: Version::HTTP_11,
            headers: Headers::new(),
        }
    }

    #[test]
    fn the_url_itself_is_rewritten() {
        for (replace, url, expected) in [
            (Replace::regex("/v1/(.*)", "/v2/$1"), "http://a.example/v1/x?q=1", "http://a.example/v2/x?q=1"),
            (Replace::literal("q=1", "q=2"), "http://a.example/v1/x?q=1", "http://a.example/v1/x?q=2"),
            (
                Replace::regex("^http://([a-z.]+)", "https://$1:8443"),
                "http://A.example/x",
                "https://a.example:8443/x",
            ),
            (Replace::literal("/x", "?y"), "http://a.example/x", "http://a.example/?y"),
            (Replace::literal("http:", "ftp:"), "http://a.example/x", "http://a.example/x"),
            (Replace::literal("/x", "/x y"), "http://a.example/x", "http://a.example/x"),
            (Replace::literal("a.example", "user@b"), "http://a.example/x", "http://a.example/x"),
        ] {
            let mut head = request(url);
            let changes = replace.unwrap().rewrite_url(&mut head);
            assert_eq!(head.url(), expected);
            assert_eq!(changes.len(), 1, "{changes:?}");
        }
    }

    #[test]
    fn requests_are_sent_to_another_origin() {
        for (origin, url, expected) in [
            ("https://staging.example:8443", "http://a.example/x?q", "https://staging.example:8443/x?q"),
            ("https://staging.example", "http://a.example:81/x", "https://staging.example/x"),
            ("staging.example", "http://a.example:81/x", "http://staging.example:81/x"),
            ("http://[::1]:8080/", "https://a.example/", "http://[::1]:8080/"),
        ] {
            let mut head = request(url);
            MapRemote::to_origin(origin).unwrap().apply(&mut head);
            assert_eq!(head.url(), expected);
        }
        for bad in ["ftp://x", "https://x/path", "", "http://x:0", "http://x:y", "http://us er"] {
            assert!(MapRemote::to_origin(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn paths_are_mapped_with_the_query_kept() {
        let mut map = MapRemote::to_origin("https://b.example").unwrap();
        map.path = Some(Replace::regex("^/api/(.*)$", "/v2/$1").unwrap());
        let mut head = request("http://a.example/api/users?page=2");
        map.apply(&mut head);
        assert_eq!(head.url(), "https://b.example/v2/users?page=2");
    }

    #[test]
    fn query_edits_leave_other_parameters_as_they_are_written() {
        let edits: QueryEdits = serde_json::from_str(
            r#"{"remove": ["gone"], "set": {"a": "x y", "b": null}, "add": {"c": ["1", "2"]}}"#,
        )
        .unwrap();
        let mut head = request("http://h/p?gone=1&k=%7e+&a=1&b=2&a=3&gone");
        let changes = edits.apply(&mut head);
        assert_eq!(head.target, "/p?k=%7e+&a=x+y&c=1&c=2");
        assert_eq!(changes.len(), 5, "{changes:?}");
    }

    #[test]
    fn null_removes_a_header() {
        let edits: FieldEdits =
            serde_json::from_str(r#"{"set": {"x-a": "1", "x-b": null}, "add": {"x-c": ["1", "2"]}}"#)
                .unwrap();
        let mut headers = Headers::new();
        headers.push("X-B", "0");
        headers.push("X-A", "0");
        let changes = edits.apply(Side::Request, &mut headers);
        let seen: Vec<_> = headers.iter().map(|h| format!("{}={}", h.name_text(), h.value_text())).collect();
        assert_eq!(seen, ["X-A=1", "x-c=1", "x-c=2"]);
        assert_eq!(changes[0], "removed request header x-b");
    }
}
