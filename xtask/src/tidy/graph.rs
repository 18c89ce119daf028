//! Which crate may name which: dependencies point one way.

use super::Finding;
use crate::repo::Package;

/// The crates from left to right. A crate names only crates to its left.
const ORDER: [&str; 9] = [
    "proxy-core",
    "capture-store",
    "client-setup",
    "har-export",
    "traffic-analysis",
    "proxy-flags",
    "mcp-tools",
    "wirescope",
    "wirescope-mcp",
];

/// Crates outside the order, with what they may name: they stand for the peer, or only run commands.
const APART: [(&str, &[&str]); 3] =
    [("testkit", &[]), ("xtask", &["testkit"]), ("soak", &["proxy-core", "capture-store", "testkit"])];

/// Crates that may build on the testkit: `demo` serves its origin.
const DEMO: [&str; 1] = ["wirescope"];

/// Foreign crates that only some of ours may build on.
const FOREIGN: [(&[&str], &[&str]); 4] = [
    (&["h2", "rustls", "rcgen", "tokio-rustls"], &["proxy-core", "testkit"]),
    // mcp-tools serves MCP over HTTP with it.
    (&["hyper", "hyper-util"], &["proxy-core", "testkit", "mcp-tools"]),
    (&["rusqlite"], &["capture-store"]),
    (&["rmcp"], &["mcp-tools", "wirescope-mcp"]),
];

/// Checks every dependency of every member.
pub(super) fn check(packages: &[Package]) -> Vec<Finding> {
    packages.iter().flat_map(check_package).collect()
}

fn check_package(package: &Package) -> Vec<Finding> {
    let name = package.name.as_str();
    let place = ORDER.iter().position(|&known| known == name);
    let apart = APART.iter().find(|(known, _)| *known == name).map(|(_, allowed)| *allowed);
    let allowed: &[&str] = match (place, apart) {
        (Some(place), _) => ORDER.get(..place).unwrap_or_default(),
        (None, Some(allowed)) => allowed,
        (None, None) => {
            return vec![Finding::new(name, 0, "is not in the crate graph of xtask/src/tidy/graph.rs")];
        }
    };
    let ours = |other: &str| ORDER.contains(&other) || APART.iter().any(|(known, _)| *known == other);
    let mut findings = Vec::new();
    for dependency in &package.dependencies {
        let other = dependency.name.as_str();
        let testkit = other == "testkit" && (dependency.development || DEMO.contains(&name));
        if ours(other) && !allowed.contains(&other) && !testkit {
            findings.push(Finding::new(name, 0, format!("must not depend on {other}")));
        }
        let owners = FOREIGN.iter().find(|(crates, _)| crates.contains(&other)).map(|(_, owners)| owners);
        if !dependency.development && owners.is_some_and(|owners| !owners.contains(&name)) {
            findings.push(Finding::new(name, 0, format!("must not build on {other}")));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repo::Dependency;

    fn told(name: &str, dependencies: &[(&str, bool)]) -> Vec<String> {
        let dependencies = dependencies
            .iter()
            .map(|&(name, development)| Dependency { name: name.to_owned(), development })
            .collect();
        let package = Package { name: name.to_owned(), dependencies, ..Package::default() };
        check(&[package]).into_iter().map(|finding| finding.to_string()).collect()
    }

    #[test]
    fn dependencies_to_the_left_pass_and_others_are_told() {
        let nothing: [&str; 0] = [];
        assert_eq!(
            told("capture-store", &[("proxy-core", false), ("testkit", true), ("rusqlite", false)]),
            nothing
        );
        assert_eq!(told("wirescope", &[("testkit", false), ("mcp-tools", false)]), nothing);
        for (name, dependency, development, expected) in [
            ("proxy-core", "capture-store", false, "proxy-core: must not depend on capture-store"),
            ("proxy-core", "capture-store", true, "proxy-core: must not depend on capture-store"),
            ("proxy-core", "testkit", false, "proxy-core: must not depend on testkit"),
            ("testkit", "proxy-core", false, "testkit: must not depend on proxy-core"),
            ("har-export", "hyper", false, "har-export: must not build on hyper"),
            ("wirescope", "rusqlite", false, "wirescope: must not build on rusqlite"),
            ("har-export", "rmcp", false, "har-export: must not build on rmcp"),
        ] {
            assert_eq!(told(name, &[(dependency, development)]), [expected]);
        }
        assert!(told("helpers", &[])[0].contains("not in the crate graph"));
    }
}
