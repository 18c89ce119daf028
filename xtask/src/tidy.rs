//! The house rules no compiler knows. Each check is a pure function over names and text.

mod code;
mod docs;
mod graph;
mod house;
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

    /// Whether this is Rust that ends up in a library or a binary.
    fn is_source(&self) -> bool {
        let parts: Vec<_> = self.path.iter().collect();
        let tests = parts.iter().any(|part| *part == "tests") || self.name() == "tests.rs";
        self.is("rs") && parts.iter().any(|part| *part == "src") && !tests
    }
}

/// Runs every check and tells all findings at once.
pub(crate) fn run(repo: &Repo) -> Result<()> {
    let files = read(repo)?;
    let packages = repo.packages()?;
    let mut findings = graph::check(&packages);
    findings.extend(house::check(repo.root(), &packages));
    for file in &files {
        if file.is_source() {
            findings.extend(source::check(&file.path, &file.text));
        }
        findings.extend(text::check(&file.path, &file.text));
    }
    findings.extend(docs::check(repo.root(), &files));
    for (path, lines) in source::long(&files) {
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

/// The 1-based line of the byte at `offset`.
fn line_of(text: &str, offset: usize) -> usize {
    text.get(..offset).unwrap_or(text).matches('\n').count() + 1
}

/// `path` with forward slashes, as findings and rules name it.
fn slashed(path: &Path) -> String {
    path.to_string_lossy().replace('\\', "/")
}
