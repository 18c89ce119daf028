//! How requests prove who sends them, as OpenAPI's security schemes. Names and schemes only, never a value.

use std::collections::BTreeSet;

use capture_store::secrets::Secrets;
use proxy_core::Headers;
use serde_json::{Value, json};

/// A way to prove it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scheme {
    /// `Authorization: Bearer`, with a JWT or not.
    Bearer {
        /// Whether the token has the three parts of one.
        jwt: bool,
    },
    /// `Authorization: Basic`.
    Basic,
    /// `Authorization` with another scheme.
    Other(String),
    /// A key in a header field.
    Header(String),
    /// A key in the query.
    Query(String),
    /// A session's cookie.
    Cookie(String),
}

/// Words that say of a name that its value is better not told, beside the names of credentials.
const SECRETS: [&str; 15] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "api_key",
    "api-key",
    "authorization",
    "credential",
    "private_key",
    "session",
    "cookie",
    "signature",
    "otp",
];

/// Tells whether values of this name are credentials.
pub(super) fn is_secret_name(name: &str) -> bool {
    let known = Secrets::default().is_name(name.as_bytes());
    let name = name.to_ascii_lowercase();
    known || SECRETS.iter().any(|word| name.contains(word)) || matches!(name.as_str(), "pin" | "cvv" | "jwt")
}

/// Header fields that carry keys.
fn is_key_header(name: &str) -> bool {
    matches!(name, "x-api-key" | "api-key" | "apikey" | "x-auth-token" | "x-access-token" | "x-session-token")
        || (name.starts_with("x-") && (name.ends_with("-api-key") || name.ends_with("-auth-token")))
}

/// Parameters that carry keys.
pub(super) fn is_key_parameter(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    matches!(
        name.as_str(),
        "api_key" | "apikey" | "api-key" | "access_token" | "auth_token" | "key" | "token"
    )
}

/// Tells whether a cookie of this name stands for a session.
fn is_session_cookie(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let telling = ["sess", "sid", "auth", "token", "jwt", "remember"];
    !name.contains("csrf") && !name.contains("xsrf") && telling.iter().any(|part| name.contains(part))
}

/// The ways one request proves it, all of them at once.
pub(super) fn schemes(headers: &Headers, parameters: &[(String, String)]) -> BTreeSet<Scheme> {
    /// Nobody has more; a hostile request might.
    const MOST: usize = 8;
    let mut schemes = BTreeSet::new();
    for header in headers.iter() {
        let name = header.name_text().to_ascii_lowercase();
        let value = header.value_text();
        match name.as_str() {
            "authorization" => schemes.extend(authorization(&value)),
            "cookie" => {
                let names =
                    value.split(';').filter_map(|pair| Some(pair.trim().split_once('=')?.0.to_owned()));
                schemes.extend(names.filter(|name| is_session_cookie(name)).map(Scheme::Cookie));
            }
            name if is_key_header(name) => {
                schemes.insert(Scheme::Header(header.name_text().into_owned()));
            }
            _ => {}
        }
    }
    let keys = parameters.iter().filter(|(name, _)| is_key_parameter(name));
    schemes.extend(keys.map(|(name, _)| Scheme::Query(name.clone())));
    while schemes.len() > MOST {
        schemes.pop_last();
    }
    schemes
}

fn authorization(value: &str) -> Option<Scheme> {
    let (scheme, rest) = value.trim().split_once(' ').unwrap_or((value.trim(), ""));
    let token = !scheme.is_empty()
        && scheme.len() <= 32
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    match scheme.to_ascii_lowercase().as_str() {
        "bearer" => Some(Scheme::Bearer { jwt: rest.trim().split('.').count() == 3 }),
        "basic" => Some(Scheme::Basic),
        // Without a scheme the value is the key itself.
        _ if rest.is_empty() || !token => Some(Scheme::Header("Authorization".to_owned())),
        other => Some(Scheme::Other(other.to_owned())),
    }
}

impl Scheme {
    /// Its name in the document.
    pub(super) fn name(&self) -> String {
        let word = |text: &str| -> String {
            text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).take(60).collect()
        };
        match self {
            Self::Bearer { jwt: true } => "bearerJwt".to_owned(),
            Self::Bearer { jwt: false } => "bearer".to_owned(),
            Self::Basic => "basic".to_owned(),
            Self::Other(scheme) => format!("http_{}", word(scheme)),
            Self::Header(name) => format!("header_{}", word(name)),
            Self::Query(name) => format!("query_{}", word(name)),
            Self::Cookie(name) => format!("cookie_{}", word(name)),
        }
    }

    /// Itself in the document.
    pub(super) fn describe(&self) -> Value {
        match self {
            Self::Bearer { jwt: true } => json!({"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}),
            Self::Bearer { jwt: false } => json!({"type": "http", "scheme": "bearer"}),
            Self::Basic => json!({"type": "http", "scheme": "basic"}),
            Self::Other(scheme) => json!({"type": "http", "scheme": scheme}),
            Self::Header(name) => json!({"type": "apiKey", "in": "header", "name": name}),
            Self::Query(name) => json!({"type": "apiKey", "in": "query", "name": name}),
            Self::Cookie(name) => json!({"type": "apiKey", "in": "cookie", "name": name}),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes_are_told_by_where_the_credential_stands() {
        let mut headers = Headers::new();
        headers.push("Authorization", "Bearer a.b.c");
        headers.push("Cookie", "theme=dark; JSESSIONID=1; csrftoken=2");
        headers.push("X-Api-Key", "k");
        let parameters = [("access_token".to_owned(), "t".to_owned()), ("page".to_owned(), "2".to_owned())];
        let names: Vec<String> = schemes(&headers, &parameters).iter().map(Scheme::name).collect();
        assert_eq!(names, ["bearerJwt", "header_X_Api_Key", "query_access_token", "cookie_JSESSIONID"]);
        assert_eq!(authorization("AWS4-HMAC-SHA256 x"), Some(Scheme::Other("aws4-hmac-sha256".to_owned())));
        assert_eq!(authorization("abcdef"), Some(Scheme::Header("Authorization".to_owned())));
    }
}
