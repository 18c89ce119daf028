//! Documentation: links that resolve, design notes in order, a changelog to write into.

use std::{fs, path::Path};

use super::{File, Finding, line_of, slashed};

/// Checks all documentation together.
pub(super) fn check(root: &Path, files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.is("md")) {
        let place = slashed(&file.path);
        let directory = root.join(file.path.parent().unwrap_or(Path::new("")));
        for (at, target) in links(&file.text) {
            if !resolves(&directory, target, &file.text) {
                findings.push(Finding::new(
                    &place,
                    line_of(&file.text, at),
                    format!("link to {target} leads nowhere"),
                ));
            }
        }
    }
    let designs = files.iter().filter(|file| file.path.starts_with("docs/design")).map(File::name);
    // The index of the notes is none of them.
    let designs: Vec<&str> = designs.filter(|name| *name != "README.md").collect();
    findings.extend(numbering(&designs));
    let changelog = files.iter().find(|file| file.path == Path::new("CHANGELOG.md"));
    if !changelog.is_some_and(|file| has_unreleased(&file.text)) {
        findings.push(Finding::new("CHANGELOG.md", 0, "has no `## Unreleased` section"));
    }
    findings
}

/// Where each inline link begins and where it leads; code blocks are left out.
fn links(text: &str) -> Vec<(usize, &str)> {
    let (mut links, mut fenced, mut start) = (Vec::new(), false, 0);
    for line in text.split_inclusive('\n') {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if !fenced {
            for (at, _) in line.match_indices("](") {
                let target = line.get(at + 2..).and_then(|rest| rest.split([')', ' ', '\n']).next());
                links.extend(target.map(|target| (start + at, target)));
            }
        }
        start += line.len();
    }
    links
}

/// Whether `target` is foreign, a file below the root, or a heading of this page.
fn resolves(directory: &Path, target: &str, page: &str) -> bool {
    if target.contains("://") || target.starts_with("mailto:") {
        return true;
    }
    let (path, anchor) = target.split_once('#').map_or((target, None), |(path, anchor)| (path, Some(anchor)));
    if path.is_empty() {
        return anchor.is_some_and(|anchor| has_heading(page, anchor));
    }
    let file = directory.join(path);
    match anchor {
        Some(anchor) => fs::read_to_string(&file).is_ok_and(|page| has_heading(&page, anchor)),
        None => file.exists(),
    }
}

fn has_heading(page: &str, anchor: &str) -> bool {
    page.lines()
        .filter(|line| line.starts_with('#'))
        .any(|line| slug(line.trim_start_matches('#').trim()) == anchor)
}

/// A heading as GitHub names it in links.
fn slug(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept.chars().filter(|letter| letter.is_alphanumeric() || "-_ ".contains(*letter));
    kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
}

/// Design notes are `NNN-title.md`, numbered from 001 without a gap.
fn numbering(names: &[&str]) -> Vec<Finding> {
    let mut numbers = Vec::new();
    let mut findings = Vec::new();
    for name in names {
        let number = name.split_once('-').filter(|(number, _)| number.len() == 3);
        match number.and_then(|(number, _)| number.parse::<usize>().ok()) {
            Some(number) if name.ends_with(".md") => numbers.push(number),
            _ => findings.push(Finding::new(format!("docs/design/{name}"), 0, "is not named NNN-title.md")),
        }
    }
    numbers.sort_unstable();
    let expected: Vec<usize> = (1..=numbers.len()).collect();
    if numbers != expected {
        findings.push(Finding::new(
            "docs/design",
            0,
            format!("is numbered {numbers:?}, not from 001 without a gap"),
        ));
    }
    findings
}

fn has_unreleased(changelog: &str) -> bool {
    changelog.lines().any(|line| line.trim() == "## Unreleased" || line.starts_with("## [Unreleased]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_outside_code_only() {
        let text = "[a](b.md) and [c](https://d)\n```\n[x](y)\n```\n[e](f.md#g \"title\")\n";
        let targets: Vec<&str> = links(text).into_iter().map(|(_, target)| target).collect();
        assert_eq!(targets, ["b.md", "https://d", "f.md#g"]);
    }

    #[test]
    fn links_resolve_to_files_and_headings() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("b.md"), "# One thing, `two` things\n").unwrap();
        for (target, resolved) in [
            ("b.md", true),
            ("b.md#one-thing-two-things", true),
            ("b.md#three", false),
            ("c.md", false),
            ("#here", true),
            ("#there", false),
            ("https://example.com/c.md", true),
        ] {
            assert_eq!(resolves(directory.path(), target, "## Here\n"), resolved, "{target}");
        }
    }

    #[test]
    fn design_notes_are_numbered_without_a_gap() {
        assert!(numbering(&["001-a.md", "002-b.md"]).is_empty());
        for names in [["001-a.md", "003-b.md"], ["001-a.md", "001-b.md"], ["001-a.md", "two.md"]] {
            assert_eq!(numbering(&names).len(), 1, "{names:?}");
        }
    }

    #[test]
    fn changelog_has_a_place_for_what_comes() {
        assert!(has_unreleased("# Changelog\n\n## Unreleased\n"));
        assert!(!has_unreleased("# Changelog\n\n## 0.1.0\n"));
    }
}
