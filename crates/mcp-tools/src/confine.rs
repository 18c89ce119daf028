//! File arguments, confined to allowed directories. A path is resolved first (symbolic links followed, as far as it
//! exists) and compared then, so that neither `..` nor a link leads out.

use std::{
    ffi::OsString,
    io,
    path::{Component, Path, PathBuf},
};

use crate::error::{ToolError, chain};

/// The directories file arguments may name.
#[derive(Clone, Debug)]
pub(crate) struct Confinement {
    base: PathBuf,
    allowed: Vec<PathBuf>,
    refused: Vec<PathBuf>,
}

impl Confinement {
    /// Confines to `directories`; those that do not exist yet count by what they will be. Relative paths are taken
    /// from the first. Nothing in or below `refused` may be named, wherever it lies.
    pub(crate) fn new(directories: &[PathBuf], refused: &[PathBuf]) -> Self {
        let resolved = |directories: &[PathBuf]| -> Vec<PathBuf> {
            directories.iter().filter_map(|directory| resolve(&absolute(directory)?).ok()).collect()
        };
        let allowed = resolved(directories);
        Self { base: allowed.first().cloned().unwrap_or_default(), allowed, refused: resolved(refused) }
    }

    /// Resolves the value of `argument` as a file to write, or refuses it: a file that is there is only written over
    /// when its name says that it is a HAR.
    pub(crate) fn output(&self, argument: &str, text: &str) -> Result<PathBuf, ToolError> {
        let path = self.path(argument, text)?;
        let named_har = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("har"));
        if path.exists() && !named_har {
            return Err(ToolError::new("file_exists", format!("{argument}: {} is there", path.display()))
                .hint("name a file that is not, or one that ends in .har"));
        }
        Ok(path)
    }

    /// Resolves the value of `argument`, or refuses it. The file itself need not exist.
    pub(crate) fn path(&self, argument: &str, text: &str) -> Result<PathBuf, ToolError> {
        if text.is_empty() || text.contains('\0') {
            return Err(ToolError::invalid(format!("{argument} is no path")));
        }
        let given = self.base.join(text);
        if given.components().any(|part| part == Component::ParentDir) {
            return Err(ToolError::new("path_not_allowed", format!("{argument} contains '..'"))
                .hint(format!("give the path without '..', {}", self.places())));
        }
        let resolved = resolve(&given).map_err(|error| {
            ToolError::new("path_unusable", format!("failed to resolve {argument}: {}", chain(&error)))
                .hint(format!("name a path {}", self.places()))
        })?;
        if let Some(kept) = self.refused.iter().find(|directory| resolved.starts_with(directory)) {
            return Err(ToolError::new(
                "path_not_allowed",
                format!("{argument} leads into {}, which is the server's own", kept.display()),
            )
            .hint("name another directory"));
        }
        if self.allowed.iter().any(|directory| resolved.starts_with(directory)) {
            return Ok(resolved);
        }
        Err(ToolError::new(
            "path_not_allowed",
            format!("{argument} leads to {}, outside the allowed directories", resolved.display()),
        )
        .hint(format!("name a path {}, or start the server with --allow-dir", self.places())))
    }

    fn places(&self) -> String {
        let names: Vec<String> =
            self.allowed.iter().map(|directory| directory.display().to_string()).collect();
        format!("below one of: {}", names.join(", "))
    }
}

/// Tells whether two paths lead to the same place.
pub(crate) fn same_place(left: &Path, right: &Path) -> bool {
    left == right
        || matches!((left.canonicalize(), right.canonicalize()), (Ok(left), Ok(right)) if left == right)
}

fn absolute(path: &Path) -> Option<PathBuf> {
    std::path::absolute(path).ok()
}

/// Resolves the part of an absolute path that exists, and adds the rest, which holds no links because it is not
/// there.
fn resolve(path: &Path) -> io::Result<PathBuf> {
    let mut missing: Vec<OsString> = Vec::new();
    let mut existing = path;
    loop {
        match existing.canonicalize() {
            Ok(mut resolved) => {
                resolved.extend(missing.iter().rev());
                return Ok(resolved);
            }
            // A dangling link exists, though what it points at does not: writing to it would write there.
            Err(error)
                if error.kind() == io::ErrorKind::NotFound
                    && existing.symlink_metadata().is_err_and(|e| e.kind() == io::ErrorKind::NotFound) =>
            {
                let (Some(parent), Some(name)) = (existing.parent(), existing.file_name()) else {
                    return Err(error);
                };
                missing.push(name.to_owned());
                existing = parent;
            }
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn confinement() -> (tempfile::TempDir, Confinement) {
        let root = tempfile::tempdir().unwrap();
        let inside = root.path().join("inside");
        std::fs::create_dir_all(&inside).unwrap();
        std::fs::create_dir_all(root.path().join("outside")).unwrap();
        let confinement = Confinement::new(std::slice::from_ref(&inside), &[inside.join("ca")]);
        (root, confinement)
    }

    #[test]
    fn paths_inside_are_resolved_whether_they_exist_or_not() {
        let (root, confinement) = confinement();
        let inside = root.path().canonicalize().unwrap().join("inside");
        assert_eq!(confinement.path("f", "new/a.har").unwrap(), inside.join("new/a.har"));
        let absolute = root.path().join("inside/b.har");
        assert_eq!(confinement.path("f", absolute.to_str().unwrap()).unwrap(), inside.join("b.har"));
    }

    #[test]
    fn no_way_leads_out() {
        let (root, confinement) = confinement();
        let outside = root.path().join("outside/x");
        for bad in ["../outside/x", "a/../../outside/x", "/etc/passwd", outside.to_str().unwrap(), "", "a\0b"]
        {
            let error = confinement.path("output_file", bad).unwrap_err();
            assert!(error.to_string().contains("output_file"), "{bad:?}: {error}");
        }
    }

    #[test]
    fn the_servers_own_directories_cannot_be_named() {
        let (_root, confinement) = confinement();
        for bad in ["ca", "ca/ca-key.pem", "./ca/x"] {
            assert_eq!(confinement.path("f", bad).unwrap_err().code(), "path_not_allowed", "{bad}");
        }
        assert!(confinement.path("f", "cafe").is_ok());
    }

    #[test]
    fn only_har_files_are_written_over() {
        let (root, confinement) = confinement();
        for name in ["a.har", "b.HAR", "main.rs", "har"] {
            std::fs::write(root.path().join("inside").join(name), "").unwrap();
        }
        assert!(confinement.output("f", "a.har").is_ok());
        assert!(confinement.output("f", "b.HAR").is_ok());
        assert!(confinement.output("f", "new.json").is_ok());
        for bad in ["main.rs", "har", "."] {
            assert_eq!(confinement.output("f", bad).unwrap_err().code(), "file_exists", "{bad}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_before_they_are_judged() {
        let (root, confinement) = confinement();
        let link = |name: &str, target: &Path| {
            std::os::unix::fs::symlink(target, root.path().join("inside").join(name)).unwrap();
        };
        link("out", &root.path().join("outside"));
        link("dangling", &root.path().join("outside/later"));
        link("within", &root.path().join("inside"));
        assert_eq!(confinement.path("f", "out/x").unwrap_err().code(), "path_not_allowed");
        assert_eq!(confinement.path("f", "dangling").unwrap_err().code(), "path_unusable");
        assert!(confinement.path("f", "within/x").is_ok());
    }
}
