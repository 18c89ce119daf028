//! What no text file of the project contains.

use std::path::Path;

use super::{Finding, line_of, slashed};

/// Beginnings of paths that exist on one machine only. Written in two pieces, so that this file passes.
const MACHINE_PATHS: [&str; 4] =
    [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Use", "rs/")];

/// Hosts of package registries, which lock files pick up from the machine that wrote them.
const REGISTRIES: [&str; 4] = [
    concat!("registry.npm", "js.org"),
    concat!("registry.yarn", "pkg.com"),
    concat!("index.crates", ".io"),
    concat!("artifact", "ory"),
];

/// Checks one file.
pub(super) fn check(path: &Path, text: &str) -> Vec<Finding> {
    let place = slashed(path);
    let mut findings = Vec::new();
    for start in MACHINE_PATHS {
        let absolute = text.match_indices(start).find(|(at, _)| begins_a_path(text, *at));
        if let Some((at, _)) = absolute {
            findings.push(Finding::new(
                &place,
                line_of(text, at),
                format!("names a path of one machine ({start}...)"),
            ));
        }
    }
    for host in REGISTRIES {
        if let Some(at) = text.find(host) {
            findings.push(Finding::new(&place, line_of(text, at), format!("names a registry host ({host})")));
        }
    }
    findings
}

/// Whether the slash at `at` begins a path rather than continuing a URL or a relative path.
fn begins_a_path(text: &str, at: usize) -> bool {
    let before = text.get(..at).and_then(|before| before.chars().next_back());
    before.is_none_or(|letter| !letter.is_alphanumeric() && !"._-~/}*$".contains(letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_paths_and_registries_are_told() {
        for (text, count) in [
            (concat!("see /wo", "rk/tree"), 1),
            (concat!("\"/ho", "me/someone/x\""), 1),
            (concat!("https://example.com/ho", "me/page"), 0),
            ("docs/work/notes and ~/work/notes", 0),
            (concat!("\"resolved\": \"https://registry.npm", "js.org/a\""), 1),
            ("registry+https://github.com/rust-lang/crates.io-index", 0),
        ] {
            assert_eq!(check(Path::new("a.md"), text).len(), count, "{text}");
        }
    }
}
