//! The public interface of proxy-core as a text that is reviewed: a change of it shows in the diff that makes it.
//!
//! Read from what `cargo doc` makes with the stable compiler. cargo-public-api and cargo-semver-checks know more, and need
//! a nightly compiler or a published version to compare with; this needs neither, and no network.

mod html;

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context, Result, bail};

use crate::{process, repo::Repo};
use html::Page;

/// Where the text is.
const SNAPSHOT: &str = "docs/api/proxy-core.txt";

/// What of other crates may stand in a signature: of `bytes`, `http`, `tokio` (what can be bound to) and `serde`. That of
/// hyper, rustls or any other is an error. `JsonPatch` is ours, and no link because nobody can name it.
const FOREIGN: [&str; 8] = [
    "JsonPatch",
    "Bytes",
    "Method",
    "StatusCode",
    "Version",
    "ToSocketAddrs",
    "serde_core::Serialize",
    "serde_core::Deserialize",
];

/// Writes the text, or with `check` compares it.
pub(crate) fn run(repo: &Repo, check: bool) -> Result<()> {
    let mut doc = repo.cargo();
    process::run(doc.args(["doc", "--quiet", "--package", "proxy-core", "--no-deps", "--locked"]))?;
    let directory = repo.target()?.join("doc/proxy_core");
    let text = interface(&directory)?;
    let path = repo.root().join(SNAPSHOT);
    if !check {
        fs::create_dir_all(path.parent().context("no directory")?)?;
        return Ok(fs::write(&path, text)?);
    }
    let before = fs::read_to_string(&path).unwrap_or_default();
    if before == text {
        return Ok(());
    }
    // Another rustdoc writes some things in another way.
    if before.lines().next() != text.lines().next() {
        println!("not compared: {SNAPSHOT} was made by another compiler");
        return Ok(());
    }
    for line in difference(&before, &text) {
        println!("{line}");
    }
    bail!("the public interface of proxy-core is not what {SNAPSHOT} says; `cargo xtask api` writes it anew")
}

/// The whole interface, one page after the other.
fn interface(directory: &Path) -> Result<String> {
    let all = fs::read_to_string(directory.join("all.html")).context("cargo doc left no list of items")?;
    let mut text = format!("# Made by `cargo xtask api` with {}.\n", html::version(&all));
    let mut foreign = BTreeSet::new();
    for (link, name) in html::items(&all) {
        let page = fs::read_to_string(directory.join(&link)).with_context(|| link.clone())?;
        let page = Page::new(&page);
        text.push_str(&format!("\n## {name}\n\n"));
        for line in page.lines() {
            text.push_str(&format!("{line}\n"));
        }
        let others = page.foreign().into_iter().filter(|other| !FOREIGN.contains(&other.as_str()));
        foreign.extend(others.map(|other| format!("{name} names {other}")));
    }
    if !foreign.is_empty() {
        let foreign: Vec<String> = foreign.into_iter().collect();
        bail!("types of other crates in the public interface: {}", foreign.join("; "));
    }
    Ok(text)
}

/// The lines that are only in one of them.
fn difference(before: &str, after: &str) -> Vec<String> {
    let (old, new): (BTreeSet<&str>, BTreeSet<&str>) = (before.lines().collect(), after.lines().collect());
    let gone = old.difference(&new).map(|line| format!("- {line}"));
    let come = new.difference(&old).map(|line| format!("+ {line}"));
    gone.chain(come).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_and_went_is_told() {
        assert_eq!(difference("a\nb\n", "b\nc\n"), ["- a", "+ c"]);
    }
}
