//! What may be written at a cursor.

use std::ops::Range;

use super::fields::{self, FIELDS, Field, FieldKind};
use crate::condition::TextField;

/// Proposals at most.
const MAX_CANDIDATES: usize = 50;

/// Something that may be written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Candidate {
    /// What of the filter it stands for, in bytes.
    pub span: Range<usize>,
    /// What to write there.
    pub text: String,
    /// What it is, in a few words; may be empty.
    pub doc: String,
}

/// Values that a store knows of a field.
pub(crate) type Known<'k> = &'k dyn Fn(TextField, &str) -> Vec<String>;

/// Proposes what may be written at `cursor` (in bytes): fields, and the values of a field that has some.
#[must_use]
pub fn complete(filter: &str, cursor: usize) -> Vec<Candidate> {
    complete_with(filter, cursor, &|_, _| Vec::new())
}

/// The same with values that are known beside those of the language.
pub(crate) fn complete_with(filter: &str, cursor: usize, known: Known<'_>) -> Vec<Candidate> {
    let mut cursor = cursor.min(filter.len());
    while !filter.is_char_boundary(cursor) {
        cursor -= 1;
    }
    let Some(start) = word_start(&filter[..cursor]) else { return Vec::new() };
    let word = &filter[start..cursor];
    let mut candidates = match word.find([':', '=', '~']) {
        None => names(word, start..cursor),
        Some(at) => {
            let name = word[..at].trim_end_matches(['<', '>', '!']);
            let from = start + word.rfind(',').map_or(at + 1, |comma| comma.max(at) + 1);
            match fields::find(name) {
                Some((field, _)) => values(field, &filter[from..cursor], from..cursor, known),
                None => Vec::new(),
            }
        }
    };
    candidates.truncate(MAX_CANDIDATES);
    candidates
}

/// Where the word at the end of a text begins; `None` inside quotes.
fn word_start(text: &str) -> Option<usize> {
    let (mut start, mut quote, mut previous) = (0, None, ' ');
    for (at, letter) in text.char_indices() {
        match (quote, letter) {
            (Some(open), letter) if letter == open && previous != '\\' => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') if matches!(previous, ' ' | ':' | '=' | '~' | ',' | '(' | '-') => {
                quote = Some(letter)
            }
            (None, ' ' | '\t' | '\n' | '(' | ')') => start = at + 1,
            (None, '-' | '!') if start == at => start = at + 1,
            (None, _) => {}
        }
        previous = letter;
    }
    quote.is_none().then_some(start)
}

fn names(word: &str, span: Range<usize>) -> Vec<Candidate> {
    let lower = word.to_ascii_lowercase();
    let candidate = |field: &Field| {
        let mut names = std::iter::once(&field.name).chain(field.aliases);
        let name = names.find(|name| name.starts_with(&lower))?;
        Some(Candidate { span: span.clone(), text: format!("{name}:"), doc: field.doc.to_owned() })
    };
    let mut found: Vec<_> = FIELDS.iter().filter_map(candidate).collect();
    for (keyword, doc) in [("or", "one of both holds"), ("not", "what follows does not hold")] {
        if !lower.is_empty() && keyword.starts_with(&lower) {
            found.push(Candidate { span: span.clone(), text: format!("{keyword} "), doc: doc.to_owned() });
        }
    }
    found
}

fn values(field: &Field, written: &str, span: Range<usize>, known: Known<'_>) -> Vec<Candidate> {
    let lower = written.to_ascii_lowercase();
    let begins = |value: &str| value.to_ascii_lowercase().starts_with(&lower);
    let mut found: Vec<String> =
        field.values.iter().filter(|value| begins(value)).map(|value| (*value).to_owned()).collect();
    let stored = match field.kind {
        FieldKind::Word(text) | FieldKind::Type(text) => known(text, &lower),
        _ => Vec::new(),
    };
    for value in stored {
        let value = if value.contains([' ', ',', '(', ')', '"']) { format!("{value:?}") } else { value };
        if !found.iter().any(|known| known.eq_ignore_ascii_case(&value)) {
            found.push(value);
        }
    }
    found.into_iter().map(|text| Candidate { span: span.clone(), text, doc: field.doc.to_owned() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(filter: &str) -> Vec<String> {
        let hosts = |field: TextField, begin: &str| {
            let hosts =
                ["api.example.com", "app.example.com"].into_iter().filter(|host| host.starts_with(begin));
            if field == TextField::Host { hosts.map(str::to_owned).collect() } else { Vec::new() }
        };
        complete_with(filter, filter.len(), &hosts).into_iter().map(|candidate| candidate.text).collect()
    }

    #[test]
    fn names_and_values_are_proposed_where_they_fit() {
        for (filter, expected) in [
            ("ho", vec!["host:"]),
            ("status:404 -meth", vec!["method:"]),
            ("(sta", vec!["status:"]),
            ("method:P", vec!["POST", "PUT", "PATCH"]),
            ("method:GET,DEL", vec!["DELETE"]),
            ("host:ap", vec!["api.example.com", "app.example.com"]),
            ("host:api", vec!["api.example.com"]),
            ("is:we", vec!["websocket"]),
            ("not", vec!["not "]),
            ("body:\"meth", vec![]),
            ("nofield:x", vec![]),
        ] {
            assert_eq!(texts(filter), expected, "{filter}");
        }
        assert!(texts("").len() > 40);
        let middle = complete("st x", 2);
        assert_eq!((middle[0].text.as_str(), middle[0].span.clone()), ("status:", 0..2));
        assert!(complete("\u{e9}x", 1).len() > 40);
    }
}
