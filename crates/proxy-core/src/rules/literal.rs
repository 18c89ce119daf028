//! Literals that a regex cannot do without, so that most rules are ruled out before their regex runs.

use regex_syntax::hir::{Class, Hir, HirKind};

/// A text that every match of the regex holds, in whatever ASCII case; the longest one found.
pub(super) fn required(regex: &str, ignore_case: bool) -> Option<String> {
    // The same reading as `regex::bytes` has: it may match bytes that are not UTF-8.
    let hir = regex_syntax::ParserBuilder::new()
        .utf8(false)
        .case_insensitive(ignore_case)
        .build()
        .parse(regex)
        .ok()?;
    let mut search = Search::default();
    search.visit(&hir);
    search.finish()
}

#[derive(Default)]
struct Search {
    run: String,
    best: String,
}

impl Search {
    /// Extends the current run where what follows is certain to follow, and ends it elsewhere.
    fn visit(&mut self, hir: &Hir) {
        match hir.kind() {
            HirKind::Literal(literal) => match std::str::from_utf8(&literal.0) {
                Ok(text) => self.run.push_str(text),
                Err(_) => self.cut(),
            },
            HirKind::Class(class) => match folded(class) {
                Some(letter) => self.run.push(letter),
                None => self.cut(),
            },
            HirKind::Concat(parts) => parts.iter().for_each(|part| self.visit(part)),
            HirKind::Capture(capture) => self.visit(&capture.sub),
            HirKind::Repetition(repetition) if repetition.min > 0 => {
                self.cut();
                self.visit(&repetition.sub);
                self.cut();
            }
            HirKind::Empty | HirKind::Look(_) => {}
            HirKind::Repetition(_) | HirKind::Alternation(_) => self.cut(),
        }
    }

    fn cut(&mut self) {
        if self.run.len() > self.best.len() {
            self.best = std::mem::take(&mut self.run);
        }
        self.run.clear();
    }

    fn finish(mut self) -> Option<String> {
        self.cut();
        Some(self.best).filter(|best| !best.is_empty())
    }
}

/// The one ASCII letter a class stands for in either case.
fn folded(class: &Class) -> Option<char> {
    let Class::Unicode(class) = class else { return None };
    let mut letters = class.iter().flat_map(|range| [range.start(), range.end()]);
    let first = letters.next()?.to_ascii_lowercase();
    let single = class.iter().all(|range| range.start() == range.end());
    (single && first.is_ascii() && letters.all(|letter| letter.to_ascii_lowercase() == first))
        .then_some(first)
}

#[cfg(test)]
mod tests {
    use super::required;

    #[test]
    fn the_longest_certain_literal_is_found() {
        for (regex, expected) in [
            ("^https://example/api/v[0-9]+/users", Some("https://example/api/v")),
            ("a|b", None),
            ("(foo)+bar", Some("foo")),
            ("x*abc", Some("abc")),
            ("(?i)abc", Some("abc")),
            ("[a-z]+", None),
            ("a.bcd", Some("bcd")),
            ("/api/(users|orders)/x", Some("/api/")),
            ("", None),
        ] {
            assert_eq!(required(regex, false).as_deref(), expected, "{regex}");
        }
    }
}
