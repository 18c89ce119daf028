//! What a credential is, and where one stands in a header value, a URL, a form or a JSON text.
//!
//! One list for everything that hides credentials: names of header fields, cookies, parameters and members
//! (`names`), and shapes that well-known tokens have wherever they stand (`shapes`). Pure functions over bytes: they
//! find, [`mask()`] replaces, and nothing here knows who asks. Documented in docs/secrets.md.

mod body;
mod header;
mod json;
mod known;
mod list;
mod mask;
mod names;
mod pairs;
mod shapes;
mod span;

pub use known::{Found, KnownSecrets, MIN_KNOWN_BYTES};
pub use list::Secrets;
pub use mask::{MASK, mask};
pub use names::{COOKIE_HEADERS, CREDENTIAL_HEADERS, MEMBER_ENDINGS, MEMBER_EXCEPTIONS, MEMBER_NAMES};
pub use span::{SecretKind, SecretSpan};

use span::merge;

#[cfg(test)]
mod tests;
