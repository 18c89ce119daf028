//! Credentials in bodies, by their type.

use super::{SecretKind, SecretSpan, Secrets, json, merge, pairs};

pub(super) fn find(secrets: &Secrets, content_type: &str, body: &[u8]) -> Vec<SecretSpan> {
    let lower = content_type.to_ascii_lowercase();
    let mime = lower.split(';').next().unwrap_or_default().trim();
    if mime == "application/x-www-form-urlencoded" {
        return pairs::form(secrets, body, SecretKind::Form);
    }
    if mime.starts_with("multipart/")
        && let Some(boundary) = boundary(content_type, &lower)
    {
        return multipart(secrets, body, boundary.as_bytes());
    }
    let begins_like_json = body.trim_ascii_start().first().is_some_and(|byte| matches!(byte, b'{' | b'['));
    if begins_like_json || mime.ends_with("json") || mime.ends_with("+json") {
        return json::find(secrets, body);
    }
    secrets.anywhere(body)
}

/// The boundary a content type names (RFC 2046 section 5.1.1).
fn boundary<'a>(content_type: &'a str, lower: &str) -> Option<&'a str> {
    let from = lower.find("boundary=")? + "boundary=".len();
    let rest = content_type.get(from..)?;
    let boundary = match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next()?,
        None => rest.split([';', ' ']).next()?,
    };
    (!boundary.is_empty()).then_some(boundary)
}

/// The fields of a multipart form (RFC 7578) whose name is that of a credential, and tokens in all of them.
fn multipart(secrets: &Secrets, body: &[u8], boundary: &[u8]) -> Vec<SecretSpan> {
    let delimiter = [b"--", boundary].concat();
    let mut spans = Vec::new();
    let mut at = find_from(body, 0, &delimiter);
    while let Some(start) = at {
        let head = start + delimiter.len();
        let next = find_from(body, head, &delimiter);
        let part = &body[head..next.unwrap_or(body.len())];
        if let Some(blank) = find_from(part, 0, b"\r\n\r\n") {
            let content = &part[blank + 4..];
            let content = content.strip_suffix(b"\r\n").unwrap_or(content);
            let name = field_name(&part[..blank]).filter(|name| secrets.is_name(name));
            if let Some(name) = name.filter(|_| !content.is_empty()) {
                let from = head + blank + 4;
                spans.push(SecretSpan::new(from..from + content.len(), SecretKind::Form, name));
            }
        }
        at = next;
    }
    merge(spans, secrets.anywhere(body))
}

/// The `name` parameter in a part's head.
fn field_name(head: &[u8]) -> Option<&[u8]> {
    const NAME: &[u8] = b"name=";
    let mut from = 0;
    loop {
        let at = find_from(head, from, NAME)?;
        from = at + NAME.len();
        // Not that of `filename=`.
        if at > 0 && head[at - 1].is_ascii_alphanumeric() {
            continue;
        }
        let rest = &head[from..];
        return match rest.strip_prefix(b"\"") {
            Some(quoted) => quoted.split(|byte| *byte == b'"').next(),
            None => rest.split(|byte| matches!(byte, b';' | b'\r' | b' ')).next(),
        };
    }
}

fn find_from(text: &[u8], from: usize, needle: &[u8]) -> Option<usize> {
    memchr::memmem::find(text.get(from..)?, needle).map(|at| from + at)
}
