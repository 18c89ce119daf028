//! The list, and what it is asked.

use std::{collections::BTreeSet, sync::Arc};

use super::{Found, KnownSecrets, SecretKind, SecretSpan, body, header, json, merge, names, pairs, shapes};

/// The list of what counts as a credential: the built-in one, and names added to it.
///
/// ```
/// use capture_store::secrets::{MASK, Secrets, mask};
///
/// let secrets = Secrets::default().with_name("shoe-size");
/// let text = br#"{"user": "ann", "access_token": "abc", "shoeSize": 43}"#;
/// let masked = mask(text, &secrets.json(text), MASK);
/// assert_eq!(masked, br#"{"user": "ann", "access_token": "[redacted]", "shoeSize": "[redacted]"}"#);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    added: BTreeSet<String>,
    known: Option<Arc<KnownSecrets>>,
}

/// The same names, and the same list of values.
impl PartialEq for Secrets {
    fn eq(&self, other: &Self) -> bool {
        let known = match (&self.known, &other.known) {
            (Some(one), Some(another)) => Arc::ptr_eq(one, another),
            (one, another) => one.is_none() && another.is_none(),
        };
        known && self.added == other.added
    }
}

impl Eq for Secrets {}

impl Secrets {
    /// Adds a name of header fields, cookies, parameters and members; case and punctuation do not matter. A name
    /// without a letter or digit adds nothing.
    #[must_use]
    pub fn with_name(mut self, name: &str) -> Self {
        let name = names::normalised(name.as_bytes());
        if !name.is_empty() {
            self.added.insert(name);
        }
        self
    }

    /// Adds values that are credentials wherever they stand.
    #[must_use]
    pub fn with_known(mut self, known: Arc<KnownSecrets>) -> Self {
        self.known = Some(known);
        self
    }

    /// Finds well-known tokens by their shape, and the values that were added.
    pub(super) fn anywhere(&self, text: &[u8]) -> Vec<SecretSpan> {
        let shapes = shapes::find(self, text);
        let Some(known) = &self.known else { return shapes };
        let span = |found: Found| SecretSpan::new(found.range, SecretKind::Token, b"known-value");
        merge(shapes, known.find(text).into_iter().map(span).collect())
    }

    /// Tells whether a parameter, form field or member of this name is a credential.
    #[must_use]
    pub fn is_name(&self, name: &[u8]) -> bool {
        names::is_member(name) || self.is_added(name)
    }

    /// Tells whether the whole value of a header field of this name is one.
    #[must_use]
    pub fn is_header(&self, name: &[u8]) -> bool {
        names::is_header(name) || self.is_added(name)
    }

    fn is_added(&self, name: &[u8]) -> bool {
        !self.added.is_empty() && self.added.contains(&names::normalised(name))
    }

    /// Finds the credentials in the value of a header field: the whole of it by its name, but for the scheme of an
    /// `Authorization`; the values of cookies; parameters of a URL in `Referer`, `Location` and the like; tokens.
    #[must_use]
    pub fn header(&self, name: &[u8], value: &[u8]) -> Vec<SecretSpan> {
        header::find(self, name, value)
    }

    /// Finds the credentials in a URL, or in the path and query of one.
    #[must_use]
    pub fn url(&self, url: &[u8]) -> Vec<SecretSpan> {
        pairs::url(self, url)
    }

    /// Finds the credentials in a URL-encoded form, or in a query without its question mark.
    #[must_use]
    pub fn form(&self, form: &[u8]) -> Vec<SecretSpan> {
        pairs::form(self, form, SecretKind::Form)
    }

    /// Finds the credentials in a JSON text, which may be cut, several one after the other, or not in order. Below a
    /// member that is one, all texts and numbers are.
    #[must_use]
    pub fn json(&self, json: &[u8]) -> Vec<SecretSpan> {
        json::find(self, json)
    }

    /// Finds tokens by their shape in any text, and parameters of the URLs that stand in it.
    #[must_use]
    pub fn text(&self, text: &[u8]) -> Vec<SecretSpan> {
        self.anywhere(text)
    }

    /// Finds the credentials in a decoded body by its `Content-Type`: JSON, forms, multipart forms, else any text. What
    /// begins like JSON counts as JSON whatever the type says.
    #[must_use]
    pub fn body(&self, content_type: &str, body: &[u8]) -> Vec<SecretSpan> {
        body::find(self, content_type, body)
    }
}
