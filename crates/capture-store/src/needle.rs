//! A text as it may stand in a body: as it is, and as JSON writes it.

use std::{collections::BTreeSet, ops::Range};

use memchr::memmem::Finder;

/// A text that is looked for, in all the forms it is looked for in.
#[derive(Clone, Debug)]
pub(crate) struct Needle {
    forms: Vec<Finder<'static>>,
    longest: usize,
    fold: bool,
}

impl Needle {
    /// Looks for `text`; in whatever ASCII case unless `case_sensitive`.
    pub(crate) fn new(text: &str, case_sensitive: bool) -> Self {
        let mut forms = BTreeSet::new();
        for ascii in [false, true] {
            for slashes in [false, true] {
                for markup in [false, true] {
                    forms.insert(as_json(text, ascii, slashes, markup));
                }
            }
        }
        if case_sensitive {
            let upper: Vec<_> = forms.iter().map(|form| with_upper_hex(form)).collect();
            forms.extend(upper);
        } else {
            forms = forms.into_iter().map(|form| form.to_ascii_lowercase()).collect();
        }
        let plain = if case_sensitive { text.to_owned() } else { text.to_ascii_lowercase() };
        // The text itself is looked for first: it is the form that nearly always is found.
        forms.remove(&plain);
        let forms: Vec<_> = std::iter::once(plain)
            .chain(forms)
            .map(|form| Finder::new(form.as_bytes()).into_owned())
            .collect();
        let longest = forms.iter().map(|form| form.needle().len()).max().unwrap_or(0);
        Self { forms, longest, fold: !case_sensitive }
    }

    /// Whether nothing is looked for.
    pub(crate) fn is_empty(&self) -> bool {
        self.longest == 0
    }

    /// Bytes of the longest form.
    pub(crate) fn longest(&self) -> usize {
        self.longest
    }

    /// Whether what is looked through is to be in lower case.
    pub(crate) fn folds(&self) -> bool {
        self.fold
    }

    /// The forms, folded where [`folds`](Self::folds) says so.
    pub(crate) fn forms(&self) -> impl Iterator<Item = &[u8]> {
        self.forms.iter().map(Finder::needle)
    }

    /// The first place in bytes that are folded where they are to be.
    pub(crate) fn find(&self, folded: &[u8]) -> Option<Range<usize>> {
        let found = self.forms.iter().filter_map(|form| {
            let at = form.find(folded)?;
            Some(at..at + form.needle().len())
        });
        found.min_by_key(|place| place.start)
    }

    /// Whether it is in bytes as they are; `scratch` is memory to fold them in.
    pub(crate) fn is_in(&self, raw: &[u8], scratch: &mut Vec<u8>) -> bool {
        if !self.fold {
            return self.forms.iter().any(|form| form.find(raw).is_some());
        }
        scratch.clear();
        scratch.extend_from_slice(raw);
        scratch.make_ascii_lowercase();
        self.forms.iter().any(|form| form.find(scratch).is_some())
    }
}

/// A text as a writer of JSON may put it into a string (RFC 8259 section 7).
fn as_json(text: &str, ascii: bool, slashes: bool, markup: bool) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '/' if slashes => out.push_str("\\/"),
            '<' | '>' | '&' | '\'' if markup => push_escaped(&mut out, letter),
            letter if ascii && !letter.is_ascii() => push_escaped(&mut out, letter),
            letter => out.push(letter),
        }
    }
    out
}

fn push_escaped(out: &mut String, letter: char) {
    for unit in letter.encode_utf16(&mut [0; 2]) {
        out.push_str(&format!("\\u{unit:04x}"));
    }
}

/// The same with its escapes in upper-case digits.
fn with_upper_hex(form: &str) -> String {
    let mut out = String::with_capacity(form.len());
    let mut rest = form;
    while let Some(at) = rest.find("\\u") {
        let end = (at + 6).min(rest.len());
        let (before, escape) = (&rest[..at + 2], rest.get(at + 2..end).unwrap_or_default());
        out.push_str(before);
        out.push_str(&escape.to_ascii_uppercase());
        rest = &rest[at + 2 + escape.len()..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_found_as_it_is_and_as_json_writes_it() {
        let mut scratch = Vec::new();
        for (text, body, found) in [
            ("Token", r#"{"TOKEN":1}"#, true),
            ("caf\u{e9}", r#"{"name":"Caf\u00E9"}"#, true),
            ("caf\u{e9}", "{\"name\":\"caf\u{e9}\"}", true),
            ("a/b", r#""a\/b""#, true),
            ("say \"hi\"", r#""say \"hi\"""#, true),
            ("x<y & z", r#""x\u003cy \u0026 z""#, true),
            ("\u{1f600}", r#""\ud83d\ude00""#, true),
            ("nothing", "else", false),
        ] {
            assert_eq!(Needle::new(text, false).is_in(body.as_bytes(), &mut scratch), found, "{text} {body}");
        }
        let exact = Needle::new("Caf\u{e9}", true);
        assert!(exact.is_in(br#""Caf\u00E9""#, &mut scratch) && exact.is_in(br#""Caf\u00e9""#, &mut scratch));
        assert!(!exact.is_in(br#""caf\u00e9""#, &mut scratch));
        assert_eq!(Needle::new("plain", false).forms().count(), 1);
    }
}
