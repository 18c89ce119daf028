//! Rules about Rust source that clippy does not have.

use std::path::Path;

use super::{File, Finding, code, line_of, slashed};

/// More lines than this before the tests are told as a note.
pub(super) const WANTED_LINES: usize = 400;

/// More lines than this before the tests are a finding.
const MAX_LINES: usize = 600;

/// What production code does not contain, and why.
const BANNED: [(&str, &str); 6] = [
    (".unwrap()", "return the error, or expect() an invariant visible on the same screen"),
    ("todo!", "finish it or leave it out"),
    ("unimplemented!", "finish it or leave it out"),
    ("dbg!", "use tracing"),
    ("thread_local!", STATE),
    ("lazy_static!", STATE),
];

/// Why there are no statics.
const STATE: &str = "no state outside what main builds and passes";

/// Names that only some places of the project may say, in code.
const CONFINED: [(&str, &[&str]); 2] = [
    ("rusqlite", &["crates/capture-store/src/db/", "crates/capture-store/src/db.rs"]),
    ("rmcp", &["crates/mcp-tools/", "bins/wirescope-mcp/"]),
];

/// How the items of a `lib.rs` or `mod.rs` begin.
const DECLARATIONS: [&str; 5] = ["mod ", "use ", "pub ", "pub(crate) ", "extern crate "];

/// Checks one source file.
pub(super) fn check(path: &Path, text: &str) -> Vec<Finding> {
    let place = slashed(path);
    let production = code::production(text);
    let mut findings = Vec::new();
    let lines = production.lines().count();
    if lines > MAX_LINES {
        findings.push(Finding::new(
            &place,
            0,
            format!("{lines} lines before its tests; {MAX_LINES} is the limit"),
        ));
    }
    for (banned, why) in BANNED {
        for (at, _) in production.match_indices(banned) {
            let what = format!("`{}`: {why}", banned.trim());
            findings.push(Finding::new(&place, line_of(&production, at), what));
        }
    }
    for (index, line) in production.lines().enumerate().filter(|(_, line)| is_static(line)) {
        findings.push(Finding::new(&place, index + 1, format!("`{}`: {STATE}", line.trim())));
    }
    for (name, places) in CONFINED {
        let confined = !places.iter().any(|allowed| place.starts_with(allowed));
        if let Some(at) = production.find(name).filter(|_| confined) {
            let what = format!("names {name}; only {} may", places.join(" and "));
            findings.push(Finding::new(&place, line_of(&production, at), what));
        }
    }
    if place.ends_with("/lib.rs") || place.ends_with("/mod.rs") {
        findings.extend(logic(&place, &production));
    }
    findings
}

/// Whether `line` begins a static item.
fn is_static(line: &str) -> bool {
    let item = line.trim_start();
    let item = ["pub(crate) ", "pub(super) ", "pub "]
        .iter()
        .find_map(|seen| item.strip_prefix(seen))
        .unwrap_or(item);
    item.starts_with("static ")
}

/// The source files over the wanted length, the longest first.
pub(super) fn long(sources: &[&File]) -> Vec<(String, usize)> {
    let mut long: Vec<(String, usize)> = sources
        .iter()
        .map(|file| (slashed(&file.path), code::before_tests(&file.text).lines().count()))
        .filter(|(_, lines)| *lines > WANTED_LINES)
        .collect();
    long.sort_by_key(|(_, lines)| std::cmp::Reverse(*lines));
    long
}

/// What a `lib.rs` or `mod.rs` holds beyond documentation, `mod` and `use`.
fn logic(place: &str, production: &str) -> Option<Finding> {
    let bare = without_attributes(production);
    let items = bare.split(';').map(str::trim).filter(|item| !item.is_empty());
    let stray = items.into_iter().find(|item| {
        let declared = DECLARATIONS.iter().find_map(|begin| item.strip_prefix(begin)).unwrap_or_default();
        let public = item.starts_with("pub");
        let plain =
            !declared.is_empty() && (!public || declared.starts_with("mod ") || declared.starts_with("use "));
        !plain
    })?;
    let first = stray.lines().next().unwrap_or_default();
    Some(Finding::new(place, 0, format!("holds more than docs, `mod` and `use`: `{first}`")))
}

/// `code` without `#[...]` and `#![...]`.
fn without_attributes(code: &str) -> String {
    let (mut bare, mut depth, mut hash) = (String::new(), 0_usize, false);
    for letter in code.chars() {
        match letter {
            '#' if depth == 0 => hash = true,
            '!' if hash && depth == 0 => {}
            '[' if hash || depth > 0 => {
                depth += 1;
                hash = false;
            }
            ']' if depth > 0 => depth -= 1,
            _ if depth == 0 => bare.push(letter),
            _ => {}
        }
    }
    bare
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(path: &str, text: &str) -> Vec<String> {
        check(Path::new(path), text).into_iter().map(|finding| finding.to_string()).collect()
    }

    #[test]
    fn banned_code_is_told_with_its_line_and_mentions_are_not() {
        let clean = "// .unwrap()\nfn a() -> &'static str { \"todo!\" }\n#[cfg(test)]\nmod tests {\n x.unwrap();\n}\n";
        assert!(told("crates/a/src/b.rs", clean).is_empty());
        let told = told("crates/a/src/b.rs", "fn a() {\n    b().unwrap();\n}\n");
        assert_eq!(told.len(), 1);
        assert!(told[0].starts_with("crates/a/src/b.rs:2: `.unwrap()`"), "{}", told[0]);
    }

    #[test]
    fn statics_are_told_and_lifetimes_are_not() {
        assert!(told("crates/a/src/b.rs", "fn a(x: &'static str, y: OnceLock<u8>) {}\n").is_empty());
        for item in
            ["static A: u8 = 1;", "    pub(crate) static A: LazyLock<u8> = f();", "static mut A: u8 = 1;"]
        {
            assert_eq!(told("crates/a/src/b.rs", item).len(), 1, "{item}");
        }
    }

    #[test]
    fn file_over_the_limit_is_told() {
        assert!(told("crates/a/src/b.rs", &"//\n".repeat(MAX_LINES)).is_empty());
        assert!(told("crates/a/src/b.rs", &"//\n".repeat(MAX_LINES + 1))[0].contains("601 lines"));
    }

    #[test]
    fn confined_names_are_told_outside_their_place() {
        assert!(told("crates/capture-store/src/db/schema.rs", "use rusqlite::Connection;").is_empty());
        assert!(
            told("crates/capture-store/src/store.rs", "use rusqlite::Connection;")[0]
                .contains("names rusqlite")
        );
        assert!(told("crates/har-export/src/out.rs", "use rmcp::model;")[0].contains("names rmcp"));
    }

    #[test]
    fn library_roots_hold_declarations_only() {
        let root = "//! Docs.\n#![forbid(unsafe_code)]\n\nmod a;\npub mod b;\n#[cfg(unix)]\npub use a::{\n    B, C,\n};\n";
        assert!(told("crates/a/src/lib.rs", root).is_empty());
        for stray in ["pub fn f() {}", "const A: u8 = 1;", "pub struct S;", "impl S {}"] {
            let text = format!("{root}{stray}\n");
            assert!(told("crates/a/src/lib.rs", &text)[0].contains("holds more than"), "{stray}");
        }
    }
}
