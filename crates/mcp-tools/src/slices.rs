//! Parts of a decoded text: lines, what is around a match, what a JSON pointer leads to.

use regex::{Regex, RegexBuilder};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{
    budget::{cut, json_bytes},
    error::ToolError,
};

/// Matches that are counted at most.
const MAX_COUNTED: usize = 100_000;
/// Memory that a compiled expression may take.
const MAX_EXPRESSION_BYTES: usize = 1024 * 1024;
/// Characters of a member's value in an outline.
const OUTLINE_CHARS: usize = 60;

/// A match in a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Hit {
    /// The line it begins in, from 1.
    pub(crate) line: usize,
    /// Where it begins, in bytes of the decoded text.
    pub(crate) offset: usize,
    /// It, with what stands around it.
    pub(crate) text: String,
}

/// Compiles an expression given as `argument`, in whatever case.
pub(crate) fn expression(argument: &str, text: &str) -> Result<Regex, ToolError> {
    let built = RegexBuilder::new(text)
        .case_insensitive(true)
        .size_limit(MAX_EXPRESSION_BYTES)
        .dfa_size_limit(MAX_EXPRESSION_BYTES)
        .build();
    built.map_err(|error| {
        let brief = error.to_string();
        let brief = brief.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        ToolError::invalid(format!("{argument}: failed to read the regular expression: {brief}"))
            .hint("the syntax is Rust's regex crate: no look-around, no back-references; (?-i) heeds case")
    })
}

/// The first `limit` matches with `context` characters on either side, and how many there are.
pub(crate) fn hits(text: &str, expression: &Regex, limit: usize, context: usize) -> (Vec<Hit>, usize) {
    let (mut hits, mut count) = (Vec::new(), 0);
    let (mut line, mut counted_to) = (1, 0);
    for found in expression.find_iter(text).take(MAX_COUNTED) {
        count += 1;
        if hits.len() == limit {
            continue;
        }
        line += text[counted_to..found.start()].matches('\n').count();
        counted_to = found.start();
        hits.push(Hit { line, offset: found.start(), text: around(text, found.range(), context) });
    }
    (hits, count)
}

/// A part of a text with `context` characters on either side, ellipses where it goes on.
pub(crate) fn around(text: &str, range: std::ops::Range<usize>, context: usize) -> String {
    /// Characters of the part itself.
    const MAX_CHARS: usize = 1_000;
    let start =
        text[..range.start].char_indices().rev().take(context).last().map_or(range.start, |(at, _)| at);
    let end = text[range.end..].char_indices().nth(context).map_or(text.len(), |(at, _)| range.end + at);
    let mut out = String::new();
    if start > 0 {
        out.push('\u{2026}');
    }
    out.push_str(&text[start..range.start]);
    out.push_str(&cut(&text[range.clone()], MAX_CHARS));
    out.push_str(&text[range.end..end]);
    if end < text.len() {
        out.push('\u{2026}');
    }
    out
}

/// Reads `10-40`, `10-` or `10`: lines from 1, both included.
pub(crate) fn line_span(text: &str) -> Option<(usize, usize)> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let from: usize = from.trim().parse().ok().filter(|from| *from > 0)?;
    let to = to.trim();
    let to = if to.is_empty() { usize::MAX } else { to.parse().ok()? };
    (from <= to).then_some((from, to))
}

/// Lines of a text.
pub(crate) struct Lines {
    pub(crate) text: String,
    /// Lines in all.
    pub(crate) total: usize,
    /// The first line asked for that did not fit.
    pub(crate) next: Option<usize>,
}

/// Whole lines of a span, at most `limit` bytes; a line that is longer is cut.
pub(crate) fn lines(text: &str, (from, to): (usize, usize), limit: usize) -> Lines {
    let mut out = Lines { text: String::new(), total: 0, next: None };
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        out.total = number;
        if number < from || number > to || out.next.is_some() {
            continue;
        }
        if out.text.len() + line.len() < limit {
            out.text.push_str(line);
            out.text.push('\n');
        } else if out.text.is_empty() {
            out.text = cut(line, limit / 4);
            out.text.push('\n');
        } else {
            out.next = Some(number);
        }
    }
    out
}

/// What a pointer leads to, whole where it fits into `limit` bytes; otherwise an outline of it.
pub(crate) fn fitted(value: &Value, limit: usize) -> (Value, bool) {
    if json_bytes(value) <= limit {
        return (value.clone(), false);
    }
    let brief = |value: &Value| match value {
        Value::Object(members) => json!(format!("{{{}}}", members.len())),
        Value::Array(items) => json!(format!("[{}]", items.len())),
        Value::String(text) => json!(cut(text, OUTLINE_CHARS)),
        other => other.clone(),
    };
    let mut room = limit;
    match value {
        Value::Object(members) => {
            let mut outline = Map::new();
            for (name, member) in members {
                let member = brief(member);
                let size = name.len() + json_bytes(&member) + 4;
                if size > room {
                    outline.insert("\u{2026}".to_owned(), (members.len() - outline.len()).into());
                    break;
                }
                room -= size;
                outline.insert(name.clone(), member);
            }
            (Value::Object(outline), true)
        }
        Value::Array(items) => {
            // The first items whole, as far as they fit; what they look like tells of the others.
            let mut shown = Vec::new();
            for item in items {
                let item = if json_bytes(item) + 2 <= room { item.clone() } else { brief(item) };
                let size = json_bytes(&item) + 2;
                if size > room {
                    break;
                }
                room -= size;
                shown.push(item);
            }
            if shown.len() < items.len() {
                shown.push(format!("\u{2026}{}", items.len() - shown.len()).into());
            }
            (Value::Array(shown), true)
        }
        Value::String(text) => (cut(text, limit / 4).into(), true),
        other => (other.clone(), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_given_whole_and_go_on_where_they_stopped() {
        let text = "one\ntwo\r\nthree\n\nfive";
        assert_eq!(line_span("2-3"), Some((2, 3)));
        assert_eq!((line_span("4"), line_span("2-")), (Some((4, 4)), Some((2, usize::MAX))));
        assert_eq!((line_span("0"), line_span("3-2"), line_span("x")), (None, None, None));
        let part = lines(text, (2, 3), 100);
        assert_eq!((part.text.as_str(), part.total, part.next), ("two\nthree\n", 5, None));
        let part = lines(text, (1, 9), 9);
        assert_eq!((part.text.as_str(), part.next), ("one\ntwo\n", Some(3)));
    }

    #[test]
    fn matches_come_with_their_line_and_what_is_around() {
        let expression = expression("pattern", "b+").unwrap();
        let (found, count) = hits("aaBbaa\ncc\n\u{e9}\u{e9}b\u{e9}\u{e9}", &expression, 10, 1);
        assert_eq!(count, 2);
        assert_eq!(found[0], Hit { line: 1, offset: 2, text: "\u{2026}aBba\u{2026}".to_owned() });
        assert_eq!((found[1].line, found[1].text.as_str()), (3, "\u{2026}\u{e9}b\u{e9}\u{2026}"));
        assert!(super::expression("pattern", "(").unwrap_err().to_string().contains("pattern"));
    }

    #[test]
    fn what_does_not_fit_is_outlined_as_json() {
        let value = json!({"a": [1, 2, 3], "b": {"c": 1}, "d": "x".repeat(500), "e": 7});
        assert_eq!(fitted(&value["b"], 100), (json!({"c": 1}), false));
        let (outline, cut) = fitted(&value, 200);
        assert!(cut);
        assert_eq!((&outline["a"], &outline["b"], &outline["e"]), (&json!("[3]"), &json!("{1}"), &json!(7)));
        let many = Value::Array((0..1_000).map(|n| json!({"n": n})).collect());
        let (outline, _) = fitted(&many, 100);
        assert_eq!(outline[0], json!({"n": 0}));
        assert!(json_bytes(&outline) < 120, "{outline}");
    }
}
