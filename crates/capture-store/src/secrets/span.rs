//! A credential within a text.

use std::ops::Range;

/// The longest name a [`SecretSpan`] gives, in bytes; longer ones are cut.
const MAX_NAME_BYTES: usize = 100;

/// A credential within a text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SecretSpan {
    /// Where it stands, in bytes. Begins and ends between characters where the text is UTF-8.
    pub range: Range<usize>,
    /// What it is.
    pub kind: SecretKind,
    /// The name that gave it away: of the header field, cookie, parameter or member, or of the token's shape.
    pub name: String,
    /// Whether what takes its place needs quotation marks: a JSON number.
    pub bare: bool,
}

/// What a credential is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum SecretKind {
    /// The value of a header field that carries credentials; of `Authorization` all but the scheme.
    Header,
    /// The value of a cookie.
    Cookie,
    /// The value of a parameter of a URL, in its query, fragment or path.
    Query,
    /// The user information of a URL.
    UserInfo,
    /// The value of a field of a form, URL-encoded or multipart.
    Form,
    /// The value of a member of a JSON object.
    Json,
    /// A token known by its shape.
    Token,
}

impl SecretKind {
    /// The word for it: `header`, `cookie`, `query`, `userinfo`, `form`, `json`, `token`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Cookie => "cookie",
            Self::Query => "query",
            Self::UserInfo => "userinfo",
            Self::Form => "form",
            Self::Json => "json",
            Self::Token => "token",
        }
    }
}

impl SecretSpan {
    /// A text of so many bytes that is a credential as a whole, by the name it stands under.
    #[must_use]
    pub fn whole(bytes: usize, kind: SecretKind, name: &[u8]) -> Self {
        Self::new(0..bytes, kind, name)
    }

    pub(super) fn new(range: Range<usize>, kind: SecretKind, name: &[u8]) -> Self {
        let name = String::from_utf8_lossy(&name[..name.len().min(MAX_NAME_BYTES)]).into_owned();
        Self { range, kind, name, bare: false }
    }
}

/// Puts spans in order. Of a later list's only that is taken which an earlier list's leave.
pub(super) fn merge(mut first: Vec<SecretSpan>, second: Vec<SecretSpan>) -> Vec<SecretSpan> {
    if second.is_empty() {
        return first;
    }
    let known = first.len();
    for span in second {
        let mut at = span.range.start;
        let mut next = first[..known].partition_point(|other| other.range.end <= at);
        while next < known && first[next].range.start < span.range.end {
            let other = first[next].range.clone();
            if at < other.start {
                first.push(SecretSpan { range: at..other.start, ..span.clone() });
            }
            at = other.end;
            next += 1;
        }
        if at < span.range.end {
            first.push(SecretSpan { range: at..span.range.end, ..span });
        }
    }
    first.sort_by_key(|span| span.range.start);
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_earlier_list_leaves_of_a_span_is_taken() {
        let spans = |ranges: &[(usize, usize)]| -> Vec<SecretSpan> {
            ranges.iter().map(|(from, to)| SecretSpan::new(*from..*to, SecretKind::Token, b"x")).collect()
        };
        for (first, second, merged) in [
            (&[(10, 20)][..], &[(12, 18)][..], &[(10, 20)][..]),
            (&[(10, 20)], &[(10, 20)], &[(10, 20)]),
            (&[(10, 20)], &[(5, 12)], &[(5, 10), (10, 20)]),
            (&[(10, 20)], &[(15, 30)], &[(10, 20), (20, 30)]),
            (&[(10, 20), (25, 30)], &[(5, 40)], &[(5, 10), (10, 20), (20, 25), (25, 30), (30, 40)]),
            (&[(10, 20)], &[(0, 10), (20, 21)], &[(0, 10), (10, 20), (20, 21)]),
            (&[], &[(1, 2)], &[(1, 2)]),
        ] {
            let merge = merge(spans(first), spans(second)).into_iter();
            let ranges: Vec<_> = merge.map(|span| (span.range.start, span.range.end)).collect();
            assert_eq!(ranges, merged, "{first:?} and {second:?}");
        }
    }
}
