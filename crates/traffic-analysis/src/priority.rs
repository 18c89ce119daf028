//! What kind of resource an exchange asked for, and how likely it is what an investigation is about.
//!
//! The classes and scores are those of Charles MCP, so that prompts written for it order traffic as they did there.

use capture_store::{ExchangeState, ExchangeSummary};

/// Hosts that stand for a proxy itself.
const CONTROL_HOSTS: [&str; 2] = ["control.charles", "wirescope.test"];

/// A kind of resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ResourceClass {
    /// A call of an API, or what looks like one.
    ApiCandidate,
    /// A tunnel's opening.
    ConnectTunnel,
    /// The proxy itself.
    Control,
    /// An HTML document.
    Document,
    /// A font.
    Font,
    /// Audio or video.
    Media,
    /// A script.
    Script,
    /// An image, a style sheet, a source map.
    StaticAsset,
    /// Something else.
    Unknown,
}

impl ResourceClass {
    /// Every class there is, by name.
    pub const ALL: &'static [Self] = &[
        Self::ApiCandidate,
        Self::ConnectTunnel,
        Self::Control,
        Self::Document,
        Self::Font,
        Self::Media,
        Self::Script,
        Self::StaticAsset,
        Self::Unknown,
    ];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ApiCandidate => "api_candidate",
            Self::ConnectTunnel => "connect_tunnel",
            Self::Control => "control",
            Self::Document => "document",
            Self::Font => "font",
            Self::Media => "media",
            Self::Script => "script",
            Self::StaticAsset => "static_asset",
            Self::Unknown => "unknown",
        }
    }
}

/// How an exchange ranks.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Priority {
    /// What it asked for.
    pub class: ResourceClass,
    /// From 0, which is of no interest, to 120.
    pub score: u32,
    /// What made the score of an API call.
    pub reasons: Vec<&'static str>,
}

/// Ranks an exchange by what its summary says.
#[must_use]
pub fn prioritize(exchange: &ExchangeSummary) -> Priority {
    let fixed = |class, score| Priority { class, score, reasons: Vec::new() };
    if CONTROL_HOSTS.contains(&exchange.host.as_str()) {
        return fixed(ResourceClass::Control, 0);
    }
    if exchange.method.eq_ignore_ascii_case("CONNECT") {
        return fixed(ResourceClass::ConnectTunnel, 0);
    }
    let path = path(&exchange.target).to_ascii_lowercase();
    let media_type = exchange.response_content_type.as_deref().unwrap_or_default().to_ascii_lowercase();
    let extension = extension(&path);
    let is = |extensions: &[&str]| extension.is_some_and(|extension| extensions.contains(&extension));
    if media_type.starts_with("image/")
        || is(&["png", "jpg", "jpeg", "gif", "webp", "svg", "ico", "css", "map"])
    {
        return fixed(ResourceClass::StaticAsset, 5);
    }
    if media_type.starts_with("font/") || is(&["woff", "woff2", "ttf", "eot", "otf"]) {
        return fixed(ResourceClass::Font, 5);
    }
    if media_type.starts_with("audio/")
        || media_type.starts_with("video/")
        || is(&["mp3", "mp4", "wav", "webm", "mov", "avi", "m4a"])
    {
        return fixed(ResourceClass::Media, 5);
    }
    if media_type.starts_with("text/html") {
        return fixed(ResourceClass::Document, 40);
    }
    if media_type.contains("javascript") || media_type.contains("ecmascript") || is(&["js", "mjs"]) {
        return fixed(ResourceClass::Script, 35);
    }
    api(exchange, &path, &media_type)
}

fn api(exchange: &ExchangeSummary, path: &str, media_type: &str) -> Priority {
    /// What is in paths of APIs; with a `/` behind, so that the last segment counts too.
    const HINTS: [&str; 7] = ["/api/", "/graphql/", "/rpc/", "/auth/", "/login/", "/token/", "/session/"];
    let request_type = exchange.request_content_type.as_deref().unwrap_or_default().to_ascii_lowercase();
    let segments = format!("{}/", path.trim_end_matches('/'));
    let mutating =
        ["POST", "PUT", "PATCH", "DELETE"].iter().any(|method| exchange.method.eq_ignore_ascii_case(method));
    let (mut score, mut reasons) = (20, Vec::new());
    for (holds, points, reason) in [
        (media_type.contains("json") || request_type.contains("json"), 40, "json_content_type"),
        (HINTS.iter().any(|hint| segments.contains(hint)), 25, "api_path_hint"),
        (mutating, 15, "mutating_method"),
        (exchange.status.is_some_and(|status| status >= 400), 20, "error_status"),
    ] {
        if holds {
            score += points;
            reasons.push(reason);
        }
    }
    let class = if reasons.is_empty() { ResourceClass::Unknown } else { ResourceClass::ApiCandidate };
    Priority { class, score, reasons }
}

/// Tells whether an exchange went wrong: it failed, or was answered with a status of 400 or above.
#[must_use]
pub fn is_error(exchange: &ExchangeSummary) -> bool {
    matches!(exchange.state, ExchangeState::Failed(_)) || exchange.status.is_some_and(|status| status >= 400)
}

fn path(target: &str) -> &str {
    target.split(['?', '#']).next().unwrap_or_default()
}

fn extension(path: &str) -> Option<&str> {
    let name = path.rsplit('/').next()?;
    name.rsplit_once('.').map(|(_, extension)| extension)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use capture_store::Exchange;
    use http::{Method, Version};
    use proxy_core::{Headers, RequestHead, Scheme};

    use super::*;

    fn ranked(method: &str, host: &str, target: &str, media_type: &str, status: u16) -> (&'static str, u32) {
        let head = RequestHead {
            method: Method::from_bytes(method.as_bytes()).unwrap(),
            scheme: Scheme::Https,
            authority: host.to_owned(),
            target: target.to_owned(),
            version: Version::HTTP_11,
            headers: Headers::new(),
        };
        let mut summary = Exchange::new(head, SystemTime::UNIX_EPOCH).summary;
        summary.response_content_type = Some(media_type.to_owned());
        summary.status = Some(status);
        let priority = prioritize(&summary);
        (priority.class.as_str(), priority.score)
    }

    #[test]
    fn classes_and_scores_are_those_of_the_reference() {
        for (method, host, target, media_type, status, want) in [
            ("GET", "control.charles", "/", "text/html", 200, ("control", 0)),
            ("GET", "wirescope.test", "/", "text/html", 200, ("control", 0)),
            ("CONNECT", "a.test", "a.test:443", "", 200, ("connect_tunnel", 0)),
            ("GET", "a.test", "/x.css?v=1", "text/css", 200, ("static_asset", 5)),
            ("GET", "a.test", "/x", "image/png", 404, ("static_asset", 5)),
            ("GET", "a.test", "/f.woff2", "application/octet-stream", 200, ("font", 5)),
            ("GET", "a.test", "/v.mp4", "application/octet-stream", 200, ("media", 5)),
            ("GET", "a.test", "/", "text/html; charset=utf-8", 200, ("document", 40)),
            ("GET", "a.test", "/app.js", "application/octet-stream", 200, ("script", 35)),
            ("GET", "a.test", "/plain", "text/plain", 200, ("unknown", 20)),
            ("GET", "a.test", "/plain", "application/json", 200, ("api_candidate", 60)),
            ("GET", "a.test", "/graphql", "text/plain", 200, ("api_candidate", 45)),
            ("POST", "a.test", "/api/v1", "application/problem+json", 500, ("api_candidate", 120)),
            ("GET", "a.test", "/apiary", "text/plain", 200, ("unknown", 20)),
        ] {
            assert_eq!(ranked(method, host, target, media_type, status), want, "{method} {host}{target}");
        }
    }
}
