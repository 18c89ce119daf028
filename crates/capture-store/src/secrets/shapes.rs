//! Tokens known by their shape, wherever they stand.

use super::{SecretKind, SecretSpan, Secrets};

/// A well-known token: how it begins, and at least how many bytes come after.
struct Shape {
    name: &'static str,
    prefix: &'static str,
    at_least: usize,
    /// Whether what comes after is letters and digits only.
    plain: bool,
}

const fn shape(name: &'static str, prefix: &'static str, at_least: usize, plain: bool) -> Shape {
    Shape { name, prefix, at_least, plain }
}

/// The shapes, as their issuers document them. JSON Web Tokens, `Bearer` and `Basic`, and private keys are below.
const SHAPES: &[Shape] = &[
    shape("aws-access-key-id", "AKIA", 16, true),
    shape("aws-access-key-id", "ASIA", 16, true),
    shape("github-token", "ghp_", 30, true),
    shape("github-token", "gho_", 30, true),
    shape("github-token", "ghu_", 30, true),
    shape("github-token", "ghs_", 30, false),
    shape("github-token", "ghr_", 30, true),
    shape("github-token", "github_pat_", 30, false),
    shape("gitlab-token", "glpat-", 16, false),
    shape("gitlab-token", "gldt-", 16, false),
    shape("stripe-key", "sk_live_", 10, true),
    shape("stripe-key", "sk_test_", 10, true),
    shape("stripe-key", "rk_live_", 10, true),
    shape("stripe-key", "rk_test_", 10, true),
    shape("stripe-key", "whsec_", 16, false),
    shape("api-key", "sk-", 20, false),
    shape("slack-token", "xoxb-", 10, false),
    shape("slack-token", "xoxp-", 10, false),
    shape("slack-token", "xoxa-", 10, false),
    shape("slack-token", "xoxr-", 10, false),
    shape("slack-token", "xoxs-", 10, false),
    shape("slack-token", "xoxe-", 10, false),
    shape("slack-token", "xapp-", 10, false),
    shape("google-api-key", "AIza", 35, false),
    shape("google-access-token", "ya29.", 20, false),
    shape("google-client-secret", "GOCSPX-", 20, false),
    shape("npm-token", "npm_", 30, true),
    shape("pypi-token", "pypi-", 50, false),
    shape("sendgrid-key", "SG.", 40, false),
    shape("huggingface-token", "hf_", 30, true),
    shape("digitalocean-token", "dop_v1_", 60, true),
    shape("shopify-token", "shpat_", 30, true),
    shape("shopify-token", "shpss_", 30, true),
    shape("vault-token", "hvs.", 20, false),
    shape("databricks-token", "dapi", 32, true),
];

/// The least bytes of what follows `Bearer` or `Basic` outside a header field of credentials.
const MIN_CREDENTIAL_BYTES: usize = 12;

/// The first bytes by which a word can be a token, so that most words cost one look.
fn may_begin(byte: u8) -> bool {
    matches!(
        byte,
        b'A' | b'G'
            | b'S'
            | b'b'
            | b'B'
            | b'd'
            | b'e'
            | b'g'
            | b'h'
            | b'n'
            | b'p'
            | b'r'
            | b's'
            | b'w'
            | b'x'
            | b'y'
    )
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

pub(super) fn find(secrets: &Secrets, text: &[u8]) -> Vec<SecretSpan> {
    let mut spans = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let byte = text[at];
        if byte == b'-' && text[at..].starts_with(BEGIN) {
            at = private_key(text, at, &mut spans);
        } else if is_word(byte) {
            at = word(secrets, text, at, &mut spans);
        } else {
            at += 1;
        }
    }
    spans
}

/// Looks at the word at `start`, and gives where to go on.
fn word(secrets: &Secrets, text: &[u8], start: usize, spans: &mut Vec<SecretSpan>) -> usize {
    let length = text[start..].iter().position(|byte| !is_word(*byte));
    let mut end = length.map_or(text.len(), |length| start + length);
    // A line of dashes may run into the first of `-----BEGIN`, a full stop ends a sentence.
    while end > start + 1 && text[end - 1] == b'.' {
        end -= 1;
    }
    let word = &text[start..end];
    if may_begin(word[0]) {
        if let Some(name) = known(word) {
            spans.push(SecretSpan::new(start..end, SecretKind::Token, name.as_bytes()));
            return end;
        }
        if let Some((from, to)) = after_scheme(text, word, end) {
            spans.push(SecretSpan::new(from..to, SecretKind::Token, &word.to_ascii_lowercase()));
            return to;
        }
    }
    parameter(secrets, text, start, end, spans)
}

fn known(word: &[u8]) -> Option<&'static str> {
    if is_jwt(word) {
        return Some("jwt");
    }
    let fits = |shape: &&Shape| {
        word.strip_prefix(shape.prefix.as_bytes()).is_some_and(|rest| {
            rest.len() >= shape.at_least && (!shape.plain || rest.iter().all(u8::is_ascii_alphanumeric))
        })
    };
    SHAPES.iter().find(fits).map(|shape| shape.name)
}

/// A JSON Web Token in compact form (RFC 7515 section 7.1, RFC 7516 section 7.1): three or five parts, of which the first
/// is an object in base64.
fn is_jwt(word: &[u8]) -> bool {
    if !word.starts_with(b"eyJ") {
        return false;
    }
    let mut parts = word.split(|byte| *byte == b'.');
    let header = parts.next().unwrap_or_default();
    let payload = parts.next().unwrap_or_default();
    let more = parts.count();
    header.len() >= 10 && (more == 3 || (more == 1 && payload.len() >= 4))
}

/// What follows `Bearer` or `Basic`, where it looks like a credential rather than the next word of a sentence.
fn after_scheme(text: &[u8], word: &[u8], end: usize) -> Option<(usize, usize)> {
    if !(word.eq_ignore_ascii_case(b"bearer") || word.eq_ignore_ascii_case(b"basic")) {
        return None;
    }
    let from = match text.get(end..)? {
        [b' ' | b'+', ..] => end + 1,
        [b'%', b'2', b'0', ..] => end + 3,
        _ => return None,
    };
    let is_token = |byte: &u8| is_word(*byte) || matches!(byte, b'~' | b'+' | b'/' | b'=');
    let to = from + text[from..].iter().take_while(|byte| is_token(byte)).count();
    let credential = &text[from..to];
    let any = |is: fn(&u8) -> bool| credential.iter().any(is);
    let looks_random = any(u8::is_ascii_digit)
        || (any(u8::is_ascii_uppercase) && any(u8::is_ascii_lowercase))
        || any(|byte| *byte == b'=');
    (credential.len() >= MIN_CREDENTIAL_BYTES && looks_random).then_some((from, to))
}

/// A parameter of a URL within a text: `?name=value`, `&name=value`.
fn parameter(secrets: &Secrets, text: &[u8], start: usize, end: usize, spans: &mut Vec<SecretSpan>) -> usize {
    let begins = start > 0 && matches!(text[start - 1], b'?' | b'&' | b'#');
    if !begins || text.get(end) != Some(&b'=') || !secrets.is_name(&text[start..end]) {
        return end;
    }
    let from = end + 1;
    let ends = |byte: &u8| {
        matches!(byte, b'&' | b'"' | b'\'' | b'<' | b'>' | b'\\' | b'#' | b';' | b')')
            || byte.is_ascii_whitespace()
    };
    let to = text[from..].iter().position(ends).map_or(text.len(), |length| from + length);
    if to > from {
        spans.push(SecretSpan::new(from..to, SecretKind::Query, &text[start..end]));
    }
    to.max(end)
}

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";

/// The longest label of a private key: `ENCRYPTED PRIVATE KEY` and the like (RFC 7468 section 4).
const MAX_LABEL_BYTES: usize = 64;

/// A private key as text: all between its first and its last line (RFC 7468).
fn private_key(text: &[u8], start: usize, spans: &mut Vec<SecretSpan>) -> usize {
    let from = start + BEGIN.len();
    let label = &text[from..text.len().min(from + MAX_LABEL_BYTES)];
    let Some(close) = label.windows(5).position(|five| five == b"-----") else { return from };
    if !label[..close].ends_with(b"PRIVATE KEY") {
        return from + close + 5;
    }
    let body = from + close + 5;
    let length = text[body..].windows(END.len()).position(|window| window == END);
    let to = length.map_or(text.len(), |length| body + length);
    spans.push(SecretSpan::new(body..to, SecretKind::Token, b"private-key"));
    to
}
