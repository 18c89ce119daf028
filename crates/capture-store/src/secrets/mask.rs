//! Putting something else where credentials stand.

use super::SecretSpan;

/// What stands for a credential that was hidden. JSON and headers take it as it is; in a URL its brackets are to be
/// percent-encoded.
pub const MASK: &str = "[redacted]";

/// Gives `text` with `with` in place of each span; in quotation marks for what had none in JSON. The spans are in order
/// and apart, as [`Secrets`](super::Secrets) gives them; one that is not within the text is left out.
#[must_use]
pub fn mask(text: &[u8], spans: &[SecretSpan], with: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    for span in spans {
        let (start, end) = (span.range.start, span.range.end);
        if start < at || end < start || end > text.len() {
            continue;
        }
        out.extend_from_slice(&text[at..start]);
        let quote: &[u8] = if span.bare { b"\"" } else { b"" };
        out.extend_from_slice(quote);
        out.extend_from_slice(with.as_bytes());
        out.extend_from_slice(quote);
        at = end;
    }
    out.extend_from_slice(&text[at..]);
    out
}
