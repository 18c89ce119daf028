//! What differs by its nature: times, ids, tokens, framing.

use capture_store::path_template;

/// Longest text that is looked at for its shape.
const MAX_SHAPED_BYTES: usize = 4096;
/// Pieces of a text that are looked at for their shape.
const MAX_PIECES: usize = 4096;

/// Why a difference says little.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Volatile {
    /// A time, or how long something took.
    Time,
    /// What names one thing among many.
    Id,
    /// A nonce, a token, a signature.
    Token,
    /// How a message is carried: its length, its coding, the connection.
    Framing,
}

impl Volatile {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Id => "id",
            Self::Token => "token",
            Self::Framing => "framing",
        }
    }
}

/// Header fields that differ from message to message.
const FIELDS: &[(&str, Volatile)] = &[
    ("date", Volatile::Time),
    ("age", Volatile::Time),
    ("expires", Volatile::Time),
    ("last-modified", Volatile::Time),
    ("if-modified-since", Volatile::Time),
    ("retry-after", Volatile::Time),
    ("server-timing", Volatile::Time),
    ("x-runtime", Volatile::Time),
    ("x-response-time", Volatile::Time),
    ("x-envoy-upstream-service-time", Volatile::Time),
    ("x-ratelimit-remaining", Volatile::Time),
    ("x-ratelimit-reset", Volatile::Time),
    ("ratelimit-remaining", Volatile::Time),
    ("ratelimit-reset", Volatile::Time),
    ("etag", Volatile::Token),
    ("if-none-match", Volatile::Token),
    ("digest", Volatile::Token),
    ("content-digest", Volatile::Token),
    ("content-md5", Volatile::Token),
    ("cf-ray", Volatile::Id),
    ("x-request-id", Volatile::Id),
    ("x-correlation-id", Volatile::Id),
    ("x-amzn-requestid", Volatile::Id),
    ("x-amzn-trace-id", Volatile::Id),
    ("x-amz-cf-id", Volatile::Id),
    ("x-amz-request-id", Volatile::Id),
    ("x-amz-id-2", Volatile::Id),
    ("x-cloud-trace-context", Volatile::Id),
    ("x-b3-traceid", Volatile::Id),
    ("x-b3-spanid", Volatile::Id),
    ("x-served-by", Volatile::Id),
    ("x-timer", Volatile::Time),
    ("x-cache", Volatile::Framing),
    ("x-cache-hits", Volatile::Framing),
    ("cf-cache-status", Volatile::Framing),
    ("traceparent", Volatile::Id),
    ("tracestate", Volatile::Id),
    ("sec-websocket-key", Volatile::Token),
    ("sec-websocket-accept", Volatile::Token),
    ("content-length", Volatile::Framing),
    ("transfer-encoding", Volatile::Framing),
    ("connection", Volatile::Framing),
    ("keep-alive", Volatile::Framing),
    ("proxy-connection", Volatile::Framing),
    ("te", Volatile::Framing),
    ("via", Volatile::Framing),
    ("alt-svc", Volatile::Framing),
    ("report-to", Volatile::Framing),
    ("nel", Volatile::Framing),
];

/// Last words of names whose values differ from message to message.
const WORDS: &[(&str, Volatile)] = &[
    ("id", Volatile::Id),
    ("uuid", Volatile::Id),
    ("guid", Volatile::Id),
    ("trace", Volatile::Id),
    ("requestid", Volatile::Id),
    ("sid", Volatile::Token),
    ("nonce", Volatile::Token),
    ("token", Volatile::Token),
    ("csrf", Volatile::Token),
    ("xsrf", Volatile::Token),
    ("etag", Volatile::Token),
    ("signature", Volatile::Token),
    ("sig", Volatile::Token),
    ("hmac", Volatile::Token),
    ("jti", Volatile::Id),
    ("timestamp", Volatile::Time),
    ("timestamps", Volatile::Time),
    ("ts", Volatile::Time),
    ("time", Volatile::Time),
    ("datetime", Volatile::Time),
    ("expires", Volatile::Time),
    ("expiry", Volatile::Time),
    ("iat", Volatile::Time),
    ("exp", Volatile::Time),
    ("nbf", Volatile::Time),
    ("elapsed", Volatile::Time),
    ("duration", Volatile::Time),
    ("latency", Volatile::Time),
    ("uptime", Volatile::Time),
    ("ms", Volatile::Time),
    ("now", Volatile::Time),
];

/// Why two values of a header field say little, by its name.
pub(super) fn field(name: &str) -> Option<Volatile> {
    FIELDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, why)| *why)
}

/// Why two values under a name say little, by the name's last word: `requestId`, `created_at`, `csrf-token`.
pub(super) fn name(name: &str) -> Option<Volatile> {
    let words = words(name);
    let last = words.last()?.as_str();
    if words.len() > 1 && matches!(last, "at" | "on" | "in") {
        let verb = words[words.len() - 2].as_str();
        return (verb.ends_with("ed") || verb.ends_with("es") || verb == "seen").then_some(Volatile::Time);
    }
    WORDS.iter().find(|(known, _)| *known == last).map(|(_, why)| *why)
}

/// The words of a name, in lower case.
fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut before = ' ';
    for letter in name.chars().take(100) {
        let begins = !before.is_alphanumeric() || (letter.is_uppercase() && !before.is_uppercase());
        if letter.is_alphanumeric() {
            match words.last_mut() {
                Some(word) if !begins => word.extend(letter.to_lowercase()),
                _ => words.push(letter.to_lowercase().collect()),
            }
        }
        before = letter;
    }
    words
}

/// Why two different texts under a name say little: by the name, or because both are of one shape.
pub(super) fn texts(under: &str, left: &str, right: &str) -> Option<Volatile> {
    if left.is_empty() || right.is_empty() {
        return None;
    }
    name(under).or_else(|| shapes(left, right))
}

/// Why two different texts say little whatever their name: they are the same but for pieces that are both times, both
/// ids or both tokens.
pub(super) fn shapes(left: &str, right: &str) -> Option<Volatile> {
    if left.len() > MAX_SHAPED_BYTES || right.len() > MAX_SHAPED_BYTES {
        return None;
    }
    if let (Some(of_left), Some(of_right)) = (shape(left), shape(right))
        && of_left == of_right
    {
        return Some(of_left);
    }
    let (mut left, mut right) = (pieces(left), pieces(right));
    let mut why = None;
    for _ in 0..MAX_PIECES {
        match (left.next(), right.next()) {
            (None, None) => return why,
            (Some(one), Some(other)) if one == other => {}
            (Some(one), Some(other)) => {
                let of_one = shape(one)?;
                if shape(other) != Some(of_one) {
                    return None;
                }
                why = why.or(Some(of_one));
            }
            _ => return None,
        }
    }
    None
}

/// The runs of a text that may be values, and what stands between them.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let is_value = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:+~%".contains(&byte) || byte >= 0x80;
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = *rest.as_bytes().first()?;
        let end = rest.bytes().position(|byte| is_value(byte) != is_value(first)).unwrap_or(rest.len());
        let (piece, after) = rest.split_at(end);
        rest = after;
        Some(piece)
    })
}

/// What a text is by its shape.
fn shape(text: &str) -> Option<Volatile> {
    if text.len() < 8 || text.len() > MAX_SHAPED_BYTES {
        return None;
    }
    if is_http_date(text) || is_epoch(text) {
        return Some(Volatile::Time);
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) || text.contains(['/', '?', '#', ' ', '@']) {
        return None;
    }
    let path = format!("/{text}");
    match path_template(&path).as_ref() {
        "/{date}" => Some(Volatile::Time),
        "/{uuid}" | "/{id}" => Some(Volatile::Id),
        "/{hash}" | "/{token}" => Some(Volatile::Token),
        _ => None,
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 section 5.6.7).
fn is_http_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 29 && text.ends_with(" GMT") && bytes[3] == b',' && bytes[19] == b':' && bytes[22] == b':'
}

/// Seconds, milli-, micro- or nanoseconds since 1970, of this century up to 2100.
fn is_epoch(text: &str) -> bool {
    let whole = text.split('.').next().unwrap_or(text);
    let all = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let fraction = text.get(whole.len()..).unwrap_or_default().trim_start_matches('.');
    matches!(whole.len(), 10 | 13 | 16 | 19)
        && all(whole)
        && all(fraction)
        && (1_000_000_000..4_102_444_800).contains(&whole[..10].parse::<u64>().unwrap_or(0))
}

#[cfg(test)]
mod unit_tests {
    use super::*;

    #[test]
    fn names_tell_what_their_values_are() {
        for (written, expected) in [
            ("id", Some(Volatile::Id)),
            ("requestId", Some(Volatile::Id)),
            ("user_id", Some(Volatile::Id)),
            ("X-Trace-ID", Some(Volatile::Id)),
            ("createdAt", Some(Volatile::Time)),
            ("expires_in", Some(Volatile::Time)),
            ("lastSeenAt", Some(Volatile::Time)),
            ("csrfToken", Some(Volatile::Token)),
            ("lookedAt", Some(Volatile::Time)),
            ("valid", None),
            ("at", None),
            ("name", None),
            ("fluid", None),
            ("", None),
        ] {
            assert_eq!(name(written), expected, "{written}");
        }
    }

    #[test]
    fn shapes_tell_what_values_are() {
        for (left, right, expected) in [
            ("1700000000", "1700000009", Some(Volatile::Time)),
            ("1700000000123", "1800000000123", Some(Volatile::Time)),
            ("1700000000.5", "1700000009.25", Some(Volatile::Time)),
            ("2026-01-31T10:00:00Z", "2026-02-01T11:30:00Z", Some(Volatile::Time)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", "Mon, 07 Nov 1994 08:49:37 GMT", Some(Volatile::Time)),
            (
                "9b2e4c1d-8f3a-4b6e-9d2c-1a2b3c4d5e6f",
                "1b2e4c1d-8f3a-4b6e-9d2c-1a2b3c4d5e60",
                Some(Volatile::Id),
            ),
            ("took 9b2e4c1d8f3a then", "took 1a2b3c4d5e6f then", Some(Volatile::Id)),
            ("took 9b2e4c1d8f3a then", "took 1a2b3c4d5e6f now", None),
            ("12345678", "12345679", None),
            ("hello", "world", None),
            ("", "1700000000", None),
        ] {
            assert_eq!(texts("x", left, right), expected, "{left} {right}");
            assert_eq!(texts("x", right, left), expected, "{right} {left}");
        }
    }
}
