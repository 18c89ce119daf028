//! The checkout: where it is, which files belong to it, what cargo knows of it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Directories that never hold files of the project, for checkouts without git.
const FOREIGN: [&str; 3] = [".git", "target", "node_modules"];

/// The checkout this command was built from.
pub(crate) struct Repo {
    root: PathBuf,
}

/// A workspace member, as far as the checks care.
#[derive(Clone, Debug, Default)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) directory: PathBuf,
    pub(crate) description: Option<String>,
    /// Whether `publish = false` is absent.
    pub(crate) publishable: bool,
    pub(crate) dependencies: Vec<Dependency>,
}

/// One line of a member's manifest.
#[derive(Clone, Debug)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// Whether only tests, examples and benches use it.
    pub(crate) development: bool,
}

impl Repo {
    /// Finds the checkout.
    pub(crate) fn find() -> Result<Self> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = manifest.parent().context("xtask has no parent directory")?;
        Ok(Self { root: root.to_owned() })
    }

    /// The top of the checkout.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The cargo this command was run by, in the checkout.
    ///
    /// `cargo run` describes xtask in the environment. Build scripts that watch those variables (ring's does) would
    /// run again each time cargo is called from here and then from a shell, so they are not handed on.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(&self.root);
        for (name, _) in env::vars_os().filter(|(name, _)| describes_package(&name.to_string_lossy())) {
            command.env_remove(name);
        }
        command
    }

    /// Every file of the project, relative to the root: what git tracks or would add, or all files without git.
    pub(crate) fn files(&self) -> Result<Vec<PathBuf>> {
        let listed = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(&self.root)
            .output();
        let mut files: Vec<PathBuf> = match listed {
            Ok(output) if output.status.success() => String::from_utf8(output.stdout)?
                .split_terminator('\0')
                .map(PathBuf::from)
                .filter(|path| self.root.join(path).is_file())
                .collect(),
            _ => self.walk()?,
        };
        files.sort();
        Ok(files)
    }

    fn walk(&self) -> Result<Vec<PathBuf>> {
        let (mut pending, mut files) = (vec![self.root.clone()], Vec::new());
        while let Some(directory) = pending.pop() {
            for entry in fs::read_dir(&directory)? {
                let entry = entry?;
                let foreign = FOREIGN.iter().any(|&name| entry.file_name() == name);
                if entry.file_type()?.is_dir() && !foreign {
                    pending.push(entry.path());
                } else if entry.file_type()?.is_file() {
                    files.push(entry.path().strip_prefix(&self.root)?.to_owned());
                }
            }
        }
        Ok(files)
    }

    /// The workspace's members.
    pub(crate) fn packages(&self) -> Result<Vec<Package>> {
        let metadata = self.metadata()?;
        let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
        packages.iter().map(package).collect()
    }

    /// Where cargo puts what it builds.
    pub(crate) fn target(&self) -> Result<PathBuf> {
        let metadata = self.metadata()?;
        Ok(metadata["target_directory"].as_str().context("cargo metadata names no target directory")?.into())
    }

    fn metadata(&self) -> Result<Value> {
        let output = self.cargo().args(["metadata", "--format-version=1", "--no-deps"]).output()?;
        if !output.status.success() {
            bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

/// Whether `cargo run` sets the variable `name` to tell a program of its package.
fn describes_package(name: &str) -> bool {
    name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") || name == "CARGO_PRIMARY_PACKAGE"
}

fn package(value: &Value) -> Result<Package> {
    let text = |key: &str| value[key].as_str().map(str::to_owned);
    let manifest = PathBuf::from(text("manifest_path").context("a package without a manifest")?);
    let dependencies = value["dependencies"].as_array().into_iter().flatten();
    Ok(Package {
        name: text("name").context("a package without a name")?,
        version: text("version").context("a package without a version")?,
        directory: manifest.parent().context("a manifest without a directory")?.to_owned(),
        description: text("description"),
        publishable: value["publish"].as_array().is_none_or(|registries| !registries.is_empty()),
        dependencies: dependencies
            .filter_map(|dependency| {
                let name = dependency["name"].as_str()?.to_owned();
                Some(Dependency { name, development: dependency["kind"] == "dev" })
            })
            .collect(),
    })
}
