//! docs/protocols.md: every row is proven by tests that exist, or says why not.

use std::{collections::HashSet, path::Path};

use super::{File, Finding};

/// The page.
const PAGE: &str = "docs/protocols.md";

/// What a row may say instead of naming a test.
const EXCUSES: [&str; 3] = ["not yet", "cannot be had", "by hand"];

/// Checks the page against every function of every Rust file.
pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let Some(page) = files.iter().find(|file| file.path == Path::new(PAGE)) else { return Vec::new() };
    let functions: HashSet<&str> =
        files.iter().filter(|file| file.is("rs")).flat_map(|file| functions(&file.text)).collect();
    let mut findings = Vec::new();
    for (index, line) in page.text.lines().enumerate() {
        let Some(proof) = proof(line) else { continue };
        let tests: Vec<&str> = proof.split('`').skip(1).step_by(2).filter(|code| is_name(code)).collect();
        let excused = EXCUSES.iter().any(|excuse| proof.to_lowercase().contains(excuse));
        if tests.is_empty() && !excused {
            findings.push(Finding::new(PAGE, index + 1, "names neither a test nor a reason"));
        }
        for test in tests.iter().filter(|test| !functions.contains(*test)) {
            findings.push(Finding::new(PAGE, index + 1, format!("names a test that does not exist: {test}")));
        }
    }
    findings
}

/// The last cell of a row of a table.
fn proof(line: &str) -> Option<&str> {
    let row = line.strip_prefix('|')?.trim_end().strip_suffix('|')?;
    let (_, proof) = row.rsplit_once('|')?;
    let is_row = !proof.contains("---") && proof.trim() != "held by";
    is_row.then_some(proof)
}

fn functions(text: &str) -> impl Iterator<Item = &str> {
    text.split("fn ").skip(1).map(|rest| {
        let end = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
        rest.get(..end.unwrap_or(rest.len())).unwrap_or_default()
    })
}

/// Whether this is the name of a test, and no command or field.
fn is_name(code: &str) -> bool {
    code.contains('_')
        && code.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_numeric() || letter == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_name_tests_that_exist_or_say_why_not() {
        let file = |path: &str, text: &str| File { path: path.into(), text: text.to_owned() };
        let page = "| behaviour | held by |\n|---|---|\n| a | `it_holds` |\n| b | `it_is_gone` |\n| c | nobody |\n| d | not yet |\n";
        let files = [file(PAGE, page), file("crates/a/tests/it/main.rs", "#[test]\nfn it_holds() {}\n")];
        let told: Vec<String> = check(&files).iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "docs/protocols.md:4: names a test that does not exist: it_is_gone",
                "docs/protocols.md:5: names neither a test nor a reason",
            ]
        );
    }
}
