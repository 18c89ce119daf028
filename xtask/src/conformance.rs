//! The protocol's own judges against the built server: its conformance suite, its inspector and its TypeScript client.

mod judges;

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::{process, repo::Repo, service::Service};
use judges::Judges;

/// Scenarios of the suite that need nothing but a server: every one that does not call a tool, read a resource or get a
/// prompt of a name that the suite made up.
const SCENARIOS: [&str; 12] = [
    "server-initialize",
    "server-session-lifecycle",
    "logging-set-level",
    "ping",
    "tools-list",
    "resources-list",
    "prompts-list",
    "sep-2164-resource-not-found",
    "dns-rebinding-protection",
    "caching",
    "http-header-validation",
    "server-sse-multiple-streams",
];

/// Revisions of the protocol whose requirements the fixture has to meet as a whole.
const REVISIONS: [&str; 2] = ["2025-11-25", "2026-07-28"];

/// What to run.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// One scenario of the suite only, against the fixture, with all that is said.
    #[arg(long, value_name = "NAME")]
    scenario: Option<String>,
}

/// Installs the judges below the target directory, builds what they judge and runs them.
pub(crate) fn run(repo: &Repo, arguments: &Arguments) -> Result<()> {
    let judges = install(repo)?;
    let mut build = repo.cargo();
    build.args(["build", "--locked", "-p", "wirescope-mcp", "--bin", "wirescope-mcp"]);
    process::run(build.args(["-p", "mcp-tools", "--example", "conformance"]))?;
    match &arguments.scenario {
        Some(scenario) => judges.scenario(fixture(repo)?.first_line(), scenario),
        None => judge(repo, &judges),
    }
}

/// Has the judges look at what was built with all targets.
///
/// # Errors
///
/// [`process::Missing`] when there is no Node, no npm, or no way to the packages.
pub(crate) fn run_on_built(repo: &Repo) -> Result<()> {
    judge(repo, &install(repo)?)
}

fn install(repo: &Repo) -> Result<Judges> {
    Judges::install(&repo.root().join("xtask/conformance"), &repo.target()?.join("conformance"))
}

fn fixture(repo: &Repo) -> Result<Service> {
    Service::start(&mut Command::new(repo.target()?.join("debug/examples/conformance")))
}

fn judge(repo: &Repo, judges: &Judges) -> Result<()> {
    let fixture = fixture(repo)?;
    let binaries = repo.target()?.join("debug");
    let directory = tempfile::tempdir()?;
    let server = binaries.join("wirescope-mcp");
    let mut serve = Command::new(&server);
    serve.args(["--transport", "http", "--port", "0", "--state-dir"]).arg(directory.path());
    let served = Service::start(serve.current_dir(directory.path()))?;
    for scenario in SCENARIOS {
        judges
            .scenario(served.first_line(), scenario)
            .with_context(|| format!("{scenario} against wirescope-mcp"))?;
    }
    println!("ok: {} scenarios against wirescope-mcp", SCENARIOS.len());
    for revision in REVISIONS {
        judges.revision(fixture.first_line(), revision)?;
        println!("ok: all that {revision} requires, against the fixture");
    }
    judges.inspect(&server, directory.path())?;
    println!("ok: the inspector lists and calls, strictly");
    judges.client(&server, served.first_line())?;
    served.stop()
}
