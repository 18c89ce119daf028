//! What every crate brings along.

use std::path::Path;

use super::Finding;
use crate::repo::Package;

/// Checks that each member has a description and a README, and that publishable ones show theirs.
pub(super) fn check(root: &Path, packages: &[Package]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in packages {
        if package.description.as_deref().unwrap_or_default().is_empty() {
            findings.push(Finding::new(&package.name, 0, "has no description"));
        }
        if !package.directory.join("README.md").is_file() {
            let place = package.directory.strip_prefix(root).unwrap_or(&package.directory);
            findings.push(Finding::new(place.display(), 0, "has no README.md"));
        }
    }
    findings
}
