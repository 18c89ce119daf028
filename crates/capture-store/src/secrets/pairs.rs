//! Credentials in `name=value` pairs: queries, fragments, forms, and whole URLs.

use super::{SecretKind, SecretSpan, Secrets, merge};

/// What beside a parameter `code` makes it an authorization code (RFC 6749 sections 4.1.2 and 4.1.3).
const OAUTH_COMPANIONS: &[&str] = &["state", "grant_type", "client_id", "iss", "session_state"];

/// Finds the credentials in pairs joined by `&`.
pub(super) fn form(secrets: &Secrets, form: &[u8], kind: SecretKind) -> Vec<SecretSpan> {
    merge(named(secrets, form, 0, b"&", kind), secrets.anywhere(form))
}

/// The pairs of `text`, which stands `offset` bytes into a longer one, whose name is that of a credential.
fn named(
    secrets: &Secrets,
    text: &[u8],
    offset: usize,
    separators: &[u8],
    kind: SecretKind,
) -> Vec<SecretSpan> {
    let pairs = || text.split(|byte| separators.contains(byte));
    let has_companion = pairs().any(|pair| {
        let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
        OAUTH_COMPANIONS.iter().any(|companion| companion.as_bytes() == name)
    });
    let mut spans = Vec::new();
    let mut at = offset;
    for pair in pairs() {
        if let Some(equals) = pair.iter().position(|byte| *byte == b'=') {
            let (name, value) = (&pair[..equals], &pair[equals + 1..]);
            let is_code = has_companion && name == b"code";
            if !value.is_empty() && (is_code || secrets.is_name(name)) {
                let start = at + equals + 1;
                spans.push(SecretSpan::new(start..start + value.len(), kind, name));
            }
        }
        at += pair.len() + 1;
    }
    spans
}

/// Finds the credentials in a URL: user information, parameters of its path (`;jsessionid=`), query and fragment, tokens.
pub(super) fn url(secrets: &Secrets, url: &[u8]) -> Vec<SecretSpan> {
    let fragment = url.iter().position(|byte| *byte == b'#').unwrap_or(url.len());
    let query = url[..fragment].iter().position(|byte| *byte == b'?').unwrap_or(fragment);
    let mut spans = user_information(&url[..query]);
    let path = first_semicolon(&url[..query]);
    spans.extend(named(secrets, &url[path..query], path, b";/", SecretKind::Query));
    if query < fragment {
        spans.extend(named(secrets, &url[query + 1..fragment], query + 1, b"&;", SecretKind::Query));
    }
    if fragment < url.len() {
        // Pages that route by fragment have a path and a `?` of their own in it.
        spans.extend(named(secrets, &url[fragment + 1..], fragment + 1, b"&?;/", SecretKind::Query));
    }
    merge(spans, secrets.anywhere(url))
}

fn first_semicolon(path: &[u8]) -> usize {
    path.iter().position(|byte| *byte == b';').unwrap_or(path.len())
}

/// The password of `user:password@`, or what stands there alone (RFC 3986 section 3.2.1).
fn user_information(url: &[u8]) -> Vec<SecretSpan> {
    let Some(scheme) = url.windows(3).position(|three| three == b"://") else { return Vec::new() };
    let from = scheme + 3;
    let authority = url[from..].split(|byte| *byte == b'/').next().unwrap_or_default();
    let Some(at) = authority.iter().rposition(|byte| *byte == b'@') else { return Vec::new() };
    let colon = authority[..at].iter().position(|byte| *byte == b':');
    let start = from + colon.map_or(0, |colon| colon + 1);
    let range = start..from + at;
    if range.is_empty() {
        Vec::new()
    } else {
        vec![SecretSpan::new(range, SecretKind::UserInfo, b"userinfo")]
    }
}
