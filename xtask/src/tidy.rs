//! The house rules no compiler knows. Each check is a pure function over names and text.

mod code;
mod docs;
mod graph;
mod house;
mod proof;
mod source;
mod text;

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};

use crate::repo::Repo;

/// One broken rule.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    /// The file, relative to the root, or a crate's name.
    place: String,
    /// From 1; 0 when the finding is about the whole.
    line: usize,
    what: String,
}

impl Finding {
    fn new(place: impl fmt::Display, line: usize, what: impl Into<String>) -> Self {
        Self { place: place.to_string(), line, what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.place, self.what),
            line => write!(f, "{}:{line}: {}", self.place, self.what),
        }
    }
}

/// A text file of the project.
struct File {
    path: PathBuf,
    text: String,
}

impl File {
    fn is(&self, extension: &str) -> bool {
        self.path.extension().is_some_and(|found| found == extension)
    }

    fn name(&self) -> &str {
        self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }

    /// Where the modules declared in this file are.
    fn modules(&self) -> PathBuf {
        match self.name() {
            "lib.rs" | "main.rs" | "mod.rs" => self.path.parent().map(Path::to_owned).unwrap_or_default(),
            _ => self.path.with_extension(""),
        }
    }
}

/// Runs every check and tells all findings at once.
pub(crate) fn run(repo: &Repo) -> Result<()> {
    let files = read(repo)?;
    let packages = repo.packages()?;
    let mut findings = graph::check(&packages);
    findings.extend(house::check(repo.root(), &packages));
    let sources = sources(&files);
    findings.extend(sources.iter().flat_map(|file| source::check(&file.path, &file.text)));
    findings.extend(files.iter().flat_map(|file| text::check(&file.path, &file.text)));
    findings.extend(docs::check(repo.root(), &files));
    findings.extend(proof::check(&files));
    for (path, lines) in source::long(&sources) {
        println!(
            "note: {path} has {lines} lines before its tests; over {} wants a reason",
            source::WANTED_LINES
        );
    }
    for finding in &findings {
        println!("{finding}");
    }
    if !findings.is_empty() {
        bail!("{} findings", findings.len());
    }
    Ok(())
}

/// Reads the files that are text.
fn read(repo: &Repo) -> Result<Vec<File>> {
    let mut files = Vec::new();
    for path in repo.files()? {
        if let Ok(text) = String::from_utf8(fs::read(repo.root().join(&path))?) {
            files.push(File { path, text });
        }
    }
    Ok(files)
}

/// The Rust files that end up in a library or a binary.
fn sources(files: &[File]) -> Vec<&File> {
    // What `bench/` compares us with, and its load generator, are programs beside the project.
    let is_ours = |file: &File| file.is("rs") && !file.path.starts_with("bench");
    let rust = files.iter().filter(|file| is_ours(file) && file.path.iter().any(|part| part == "src"));
    let rust: Vec<&File> = rust.collect();
    let test_modules = rust.iter().flat_map(|file| {
        let directory = file.modules();
        code::test_modules(&file.text).into_iter().map(move |name| directory.join(name))
    });
    let test_modules: Vec<PathBuf> = test_modules.collect();
    let in_tests =
        |file: &File| test_modules.iter().any(|module| file.path.with_extension("").starts_with(module));
    rust.into_iter().filter(|file| !in_tests(file)).collect()
}

/// The 1-based line of the byte at `offset`.
fn line_of(text: &str, offset: usize) -> usize {
    text.get(..offset).unwrap_or(text).matches('\n').count() + 1
}

/// `path` with forward slashes, as findings and rules name it.
fn slashed(path: &Path) -> String {
    path.to_string_lossy().replace('\\', "/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_leave_out_what_only_tests_compile() {
        let file = |path: &str, text: &str| File { path: path.into(), text: text.to_owned() };
        let files = [
            file("crates/a/src/lib.rs", "mod b;\n#[cfg(test)]\nmod c;\n"),
            file("crates/a/src/b.rs", "#[cfg(test)]\nmod tests;\n"),
            file("crates/a/src/b/tests.rs", ""),
            file("crates/a/src/c.rs", ""),
            file("crates/a/src/c/d.rs", ""),
            file("crates/a/tests/it/main.rs", ""),
            file("docs/architecture.md", ""),
        ];
        let kept: Vec<String> = sources(&files).iter().map(|file| slashed(&file.path)).collect();
        assert_eq!(kept, ["crates/a/src/lib.rs", "crates/a/src/b.rs"]);
    }
}
