//! Values known to be credentials, found wherever they stand and however they are written.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    ops::{Bound, Range},
};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};

/// Bytes by which a form is looked up; values shorter than this are parts of too much else, and are not known.
pub const MIN_KNOWN_BYTES: usize = 8;
/// A longer value is known as it is written only, not in other encodings.
const MAX_ENCODED_BYTES: usize = 4 * 1024;
/// Bytes of all forms; beyond it no more are known.
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// The longest end of a value that is looked for at the beginning of a text.
const MAX_END_BYTES: usize = 4 * 1024;
/// Bits of the filter that most places in a text are passed over by.
const FILTER_BITS: usize = 1 << 16;

/// A known value, or a part of one, in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Found {
    /// Where it stands, in bytes.
    pub range: Range<usize>,
    /// The value's number; `None` where only a part of it is there: the text begins or ends within the value, or another
    /// one that was found covers its beginning.
    pub number: Option<usize>,
}

/// Values known to be credentials, each with a number of its owner's.
///
/// Each is found as it is and in the forms it commonly has within something else: percent-encoded (either case, and as
/// in forms), percent-decoded, escaped in JSON and HTML, in base64 (of either alphabet, also in the midst of more), and
/// in hexadecimal; and its end where a text begins with that, its beginning where one ends so, because the text was
/// cut. Looking costs little more than reading the text, however many there are.
///
/// ```
/// use capture_store::secrets::KnownSecrets;
///
/// let mut known = KnownSecrets::default();
/// known.add(1, "p4ss/word");
/// // As it is, percent-encoded, and in the base64 of `x:` and the value.
/// let text = b"p4ss/word, p4ss%2Fword, eDpwNHNzL3dvcmQ=";
/// assert_eq!(known.find(text).len(), 3);
/// ```
#[derive(Clone, Default)]
pub struct KnownSecrets {
    /// The number of the value each form is of.
    forms: BTreeMap<Box<[u8]>, usize>,
    /// The forms backwards.
    backwards: BTreeSet<Box<[u8]>>,
    /// The lengths of the forms that begin so, longest first.
    starts: HashMap<[u8; MIN_KNOWN_BYTES], Vec<usize>>,
    /// How forms end.
    ends: HashSet<[u8; MIN_KNOWN_BYTES]>,
    /// Of hashes of first bytes.
    filter: Vec<u64>,
    bytes: usize,
}

impl std::fmt::Debug for KnownSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KnownSecrets").field("forms", &self.forms.len()).finish_non_exhaustive()
    }
}

impl KnownSecrets {
    /// Gets to know a value. One of fewer than [`MIN_KNOWN_BYTES`] bytes is not known, nor is any when there are 64 MiB
    /// of them.
    pub fn add(&mut self, number: usize, value: &str) {
        self.add_form(number, value.as_bytes());
        let decoded = percent_decoded(value);
        if decoded != value {
            self.add_form(number, decoded.as_bytes());
        }
        if decoded.len() > MAX_ENCODED_BYTES {
            return;
        }
        for form in encodings(&decoded) {
            self.add_form(number, form.as_bytes());
        }
        for form in in_base64(decoded.as_bytes()) {
            let url_safe = form.replace('+', "-").replace('/', "_");
            self.add_form(number, form.as_bytes());
            self.add_form(number, url_safe.as_bytes());
        }
    }

    fn add_form(&mut self, number: usize, form: &[u8]) {
        let Some(start) = start_of(form) else { return };
        if self.bytes + form.len() > MAX_BYTES || self.forms.contains_key(form) {
            return;
        }
        if self.filter.is_empty() {
            self.filter = vec![0; FILTER_BITS / 64];
        }
        let bit = hash(&start);
        self.filter[bit / 64] |= 1 << (bit % 64);
        let lengths = self.starts.entry(start).or_default();
        if let Err(at) = lengths.binary_search_by(|length| form.len().cmp(length)) {
            lengths.insert(at, form.len());
        }
        self.ends.extend(start_of(&form[form.len() - MIN_KNOWN_BYTES..]));
        self.backwards.insert(form.iter().rev().copied().collect());
        self.bytes += form.len();
        self.forms.insert(form.into(), number);
    }

    /// Finds them, in order and apart from each other, the longest where several begin. What belongs to any of them is
    /// found, also where they overlap.
    #[must_use]
    pub fn find(&self, text: &[u8]) -> Vec<Found> {
        let mut found: Vec<Found> = Vec::new();
        if self.forms.is_empty() {
            return found;
        }
        // How far the values reach that begin before `at`.
        let (mut at, mut reach) = (0, self.end_at_the_beginning(text));
        while at < text.len() {
            if at >= reach && self.lengths_at(text, at).is_empty() {
                at += 1;
                continue;
            }
            if let Some((length, number)) = self.whole_at(text, at, 0) {
                reach = self.reach_within(text, at..at + length, reach);
                found.push(Found { range: at..at + length, number: Some(number) });
                at += length;
                continue;
            }
            reach = reach.max(self.beginning_at_the_end(text, at));
            if at < reach {
                add_part(&mut found, at);
            }
            at += 1;
        }
        found
    }

    /// How far values reach that begin within what was found, as far as `known` at least.
    fn reach_within(&self, text: &[u8], found: Range<usize>, known: usize) -> usize {
        // From its end on, so that most of what begins before cannot reach further, and is not compared.
        found.rev().fold(known, |reach, at| {
            let whole =
                self.whole_at(text, at, reach.saturating_sub(at)).map_or(0, |(length, _)| at + length);
            reach.max(whole).max(self.beginning_at_the_end(text, at))
        })
    }

    /// The lengths of the forms that may begin here, longest first.
    fn lengths_at(&self, text: &[u8], at: usize) -> &[usize] {
        let Some(start) = text.get(at..).and_then(start_of) else { return &[] };
        let bit = hash(&start);
        if self.filter[bit / 64] & (1 << (bit % 64)) == 0 {
            return &[];
        }
        self.starts.get(&start).map_or(&[], Vec::as_slice)
    }

    /// The longest form that stands here and is longer than `least`, and the number of its value.
    fn whole_at(&self, text: &[u8], at: usize, least: usize) -> Option<(usize, usize)> {
        let longer = self.lengths_at(text, at).iter().take_while(|length| **length > least);
        longer.into_iter().find_map(|length| {
            let number = self.forms.get(text.get(at..at + length)?)?;
            Some((*length, *number))
        })
    }

    /// The end of the text where the beginning of a form stands from here to there, else 0.
    fn beginning_at_the_end(&self, text: &[u8], at: usize) -> usize {
        let is_cut = self.lengths_at(text, at).first().is_some_and(|longest| at + longest > text.len());
        let rest = &text[at..];
        let from = (Bound::Included(rest), Bound::Unbounded);
        let begins =
            || self.forms.range::<[u8], _>(from).next().is_some_and(|(form, _)| form.starts_with(rest));
        if is_cut && begins() { text.len() } else { 0 }
    }

    /// How long the end of a value is that the text begins with, 0 where there is none.
    fn end_at_the_beginning(&self, text: &[u8]) -> usize {
        let lengths = MIN_KNOWN_BYTES..=text.len().min(MAX_END_BYTES);
        let is_end = |length: &usize| {
            let end = start_of(&text[length - MIN_KNOWN_BYTES..*length]);
            if !end.is_some_and(|end| self.ends.contains(&end)) {
                return false;
            }
            let reversed: Vec<u8> = text[..*length].iter().rev().copied().collect();
            let from = (Bound::Included(reversed.as_slice()), Bound::Unbounded);
            self.backwards.range::<[u8], _>(from).next().is_some_and(|form| form.starts_with(&reversed))
        };
        lengths.rev().find(is_end).unwrap_or(0)
    }
}

/// Adds the byte at a place to what was found, as a part of a value.
fn add_part(found: &mut Vec<Found>, at: usize) {
    match found.last_mut() {
        Some(last) if last.number.is_none() && last.range.end == at => last.range.end = at + 1,
        _ => found.push(Found { range: at..at + 1, number: None }),
    }
}

fn start_of(text: &[u8]) -> Option<[u8; MIN_KNOWN_BYTES]> {
    text.get(..MIN_KNOWN_BYTES)?.try_into().ok()
}

/// Of the first bytes (Fibonacci hashing), as a bit of the filter.
fn hash(start: &[u8; MIN_KNOWN_BYTES]) -> usize {
    let mixed = u64::from_le_bytes(*start).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    usize::try_from(mixed >> 48).unwrap_or_default() % FILTER_BITS
}

/// A value as other texts have it within them.
fn encodings(value: &str) -> Vec<String> {
    let upper = percent_encoded(value, |byte| matches!(byte, b'-' | b'_' | b'.' | b'~'));
    // What `encodeURIComponent` leaves (ECMA-262 section 19.2.6).
    let script = percent_encoded(value, |byte| {
        matches!(byte, b'-' | b'_' | b'.' | b'~' | b'!' | b'*' | b'\'' | b'(' | b')')
    });
    let form =
        percent_encoded(value, |byte| matches!(byte, b'-' | b'_' | b'.' | b'*' | b' ')).replace(' ', "+");
    let json = serde_json::Value::from(value).to_string();
    let json = json[1..json.len() - 1].to_owned();
    let html = value.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    let hex: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
    vec![
        lower_escapes(&upper),
        upper,
        script,
        form,
        json.replace('/', "\\/"),
        json,
        html.replace('\'', "&#39;"),
        html,
        hex.to_ascii_uppercase(),
        hex,
    ]
}

/// The characters of base64 that only the value decides, for each of the three places it may begin at within a group of
/// three bytes (RFC 4648 section 4).
fn in_base64(value: &[u8]) -> Vec<String> {
    let at = |before: usize| {
        let mut bytes = vec![0; before];
        bytes.extend_from_slice(value);
        let text = STANDARD_NO_PAD.encode(&bytes);
        // The character that the bytes before have a part in, and the last one, if what comes after has.
        let from = [0, 2, 3][before];
        let to = if bytes.len().is_multiple_of(3) { text.len() } else { text.len() - 1 };
        text.get(from..to).unwrap_or_default().to_owned()
    };
    (0..3).map(at).collect()
}

fn percent_encoded(value: &str, stays: impl Fn(u8) -> bool) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || stays(byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// With the letters of `%2F` small.
fn lower_escapes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut left = 0_usize;
    for c in text.chars() {
        out.push(if left > 0 { c.to_ascii_lowercase() } else { c });
        left = if c == '%' { 2 } else { left.saturating_sub(1) };
    }
    out
}

/// Without percent-encoding; as it is where that would not be text.
fn percent_decoded(value: &str) -> String {
    let mut out = Vec::with_capacity(value.len());
    let bytes = value.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.filter(|_| bytes[at] == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| value.to_owned())
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};
    use proptest::prelude::*;

    use super::*;

    fn known(values: &[&str]) -> KnownSecrets {
        let mut known = KnownSecrets::default();
        values.iter().enumerate().for_each(|(at, value)| known.add(at + 1, value));
        known
    }

    #[test]
    fn a_value_is_found_in_every_form() {
        let value = "Tr0ub4dor&/\"é?~";
        let known = known(&[value]);
        for text in [
            value.to_owned(),
            "a=Tr0ub4dor%26%2F%22%C3%A9%3F~&b".to_owned(),
            "a=Tr0ub4dor%26%2f%22%c3%a9%3f~&b".to_owned(),
            "a=Tr0ub4dor%26%2F%22%C3%A9%3F%7E".to_owned(),
            serde_json::json!({ "x": value }).to_string(),
            r#"{"x":"Tr0ub4dor&\/\"é?~"}"#.to_owned(),
            "<b>Tr0ub4dor&amp;/&quot;é?~</b>".to_owned(),
            STANDARD.encode(value),
            STANDARD.encode(format!("u:{value}")),
            STANDARD.encode(format!("us:{value}\n and more")),
            URL_SAFE.encode(format!("usr:{value}")),
            value.bytes().map(|byte| format!("{byte:02x}")).collect(),
        ] {
            assert_eq!(known.find(text.as_bytes()).len(), 1, "{text}");
        }
        assert!(known.find(b"Tr0ub4dor and more").is_empty());
    }

    #[test]
    fn parts_are_found_where_a_text_is_cut() {
        let known = known(&["first-secret-of-all", "another-secret-value"]);
        let found = |text: &str| {
            let found = known.find(text.as_bytes()).into_iter();
            found.map(|found| (text[found.range].to_owned(), found.number)).collect::<Vec<_>>()
        };
        assert_eq!(found("ret-of-all, and"), [("ret-of-all".to_owned(), None)]);
        assert_eq!(found("it is another-sec"), [("another-sec".to_owned(), None)]);
        assert_eq!(found("secret-of-all"), [("secret-of-all".to_owned(), None)]);
        assert_eq!(found("of-all and so: first-s"), []);
    }

    #[test]
    fn values_that_overlap_are_found_to_the_last_byte() {
        let values = [
            "abcdefgh",
            "efgh-long-secret",
            "cret-and-more-of-it",
            "ofofofofof",
            "value-one",
            "value-one-two",
        ];
        let known = known(&values);
        let found = |text: &str| {
            let found = known.find(text.as_bytes()).into_iter();
            found.map(|found| (text[found.range].to_owned(), found.number)).collect::<Vec<_>>()
        };
        let whole = |at: usize| (values[at - 1].to_owned(), Some(at));
        let part = |text: &str| (text.to_owned(), None);
        assert_eq!(found("x abcdefgh-long-secret."), [whole(1), part("-long-secret")]);
        let three = [whole(1), part("-long-se"), whole(3)];
        assert_eq!(found("abcdefgh-long-secret-and-more-of-it."), three);
        assert_eq!(found("ng-secret-and-more-of-it"), [part("ng-se"), whole(3)]);
        // What begins right behind one, or later, is found as a whole.
        assert_eq!(found("ofofofofofofofofofof"), [whole(4), whole(4)]);
        assert_eq!(found("abcdefgh-long-abcdefgh"), [whole(1), whole(1)]);
        // Where the text is cut within the second.
        assert_eq!(found("abcdefgh-long"), [whole(1), part("-long")]);
        assert_eq!(found("value-one-tw"), [whole(5), part("-tw")]);
    }

    #[test]
    fn the_longest_of_several_counts_and_short_ones_do_not() {
        let known = known(&["abcdefgh", "abcdefghij", "short", "eyJhbGciOi.one", "eyJhbGciOi.two"]);
        let found = |text: &str| {
            known.find(text.as_bytes()).into_iter().filter_map(|found| found.number).collect::<Vec<_>>()
        };
        assert_eq!(found("abcdefgh abcdefghij short"), [1, 2]);
        assert_eq!(found("eyJhbGciOi.two,eyJhbGciOi.one,eyJhbGciOi.six"), [5, 4]);
        assert_eq!(found(""), Vec::<usize>::new());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn every_byte_of_every_value_is_found(
            values in proptest::collection::vec("[ab]{8,12}", 1..5),
            text in "[abc]{0,60}",
        ) {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            let found = known(&values).find(text.as_bytes());
            let mut hidden = vec![false; text.len()];
            let mut end = 0;
            for Found { range, number } in found {
                prop_assert!(range.start >= end && range.start < range.end, "in order and apart");
                end = range.end;
                hidden[range.clone()].fill(true);
                // Numbers are told of whole values only.
                prop_assert!(number.is_none_or(|number| values[number - 1] == &text[range]));
            }
            for value in values {
                for at in 0..text.len() {
                    if text[at..].starts_with(value) {
                        prop_assert!(hidden[at..at + value.len()].iter().all(|hidden| *hidden), "{at}");
                    }
                }
            }
        }
    }
}
