//! Whether every library builds from what would be published.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{
    process,
    repo::{Package, Repo},
};

/// Packs the libraries and checks them as unpacked, outside the workspace.
///
/// `cargo package` can verify by itself, but builds what an earlier run has unpacked into cargo's home when name,
/// version and place are the same, and so passes or fails for what is no longer there.
pub(crate) fn run(repo: &Repo) -> Result<()> {
    let mut libraries = repo.packages()?;
    libraries
        .retain(|library| library.publishable && library.directory.starts_with(repo.root().join("crates")));
    let mut pack = repo.cargo();
    pack.args(["package", "--locked", "--allow-dirty", "--no-verify"]);
    for library in &libraries {
        pack.args(["--package", &library.name]);
    }
    process::run(&mut pack)?;

    let packed = repo.target()?.join("package");
    let place = unpack(&packed, &libraries)?;
    fs::write(place.join("Cargo.toml"), manifest(&libraries))?;
    fs::copy(repo.root().join("Cargo.lock"), place.join("Cargo.lock"))?;
    // The profiles are handed over, so that what has been built is used.
    let mut check = repo.cargo();
    check
        .args(["--config", "Cargo.toml", "check", "--workspace", "--manifest-path"])
        .arg(place.join("Cargo.toml"));
    process::run(check.arg("--target-dir").arg(repo.target()?))
}

/// Unpacks `libraries` beside each other into an empty directory.
fn unpack(packed: &Path, libraries: &[Package]) -> Result<PathBuf> {
    let place = packed.join("unpacked");
    if place.exists() {
        fs::remove_dir_all(&place)?;
    }
    fs::create_dir_all(&place)?;
    for library in libraries {
        let file = packed.join(format!("{}.crate", directory(library)));
        let mut tar = Command::new("tar");
        tar.arg("-xzf").arg(&file).arg("-C").arg(&place);
        process::run(&mut tar).with_context(|| format!("failed to unpack {}", file.display()))?;
    }
    Ok(place)
}

/// A workspace whose members find each other here and not in a registry.
fn manifest(libraries: &[Package]) -> String {
    let mut text = String::from("[workspace]\nresolver = \"3\"\nmembers = [\"*\"]\n\n[patch.crates-io]\n");
    for library in libraries {
        let _ = writeln!(text, "{} = {{ path = \"{}\" }}", library.name, directory(library));
    }
    text
}

fn directory(library: &Package) -> String {
    format!("{}-{}", library.name, library.version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_find_each_other_where_they_are_unpacked() {
        let library =
            Package { name: "proxy-core".to_owned(), version: "0.1.0".to_owned(), ..Package::default() };
        let text = manifest(&[library]);
        assert!(
            text.ends_with("[patch.crates-io]\nproxy-core = { path = \"proxy-core-0.1.0\" }\n"),
            "{text}"
        );
    }
}
