//! Everything CI runs, in CI's order.

use anyhow::Result;

use crate::{api, codegen, conformance, package, repo::Repo, steps::Steps, tidy};

/// Runs the checks from the quickest to the slowest; the tests come last, so that their results close the output.
///
/// All steps share one target directory and one profile: what one has built, the next one uses.
pub(crate) fn run(repo: &Repo) -> Result<()> {
    let mut steps = Steps::default();
    steps.command("fmt", repo.cargo().args(["fmt", "--all", "--check"]))?;
    steps.run("tidy", || tidy::run(repo))?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--locked", "--", "--deny=warnings"];
    steps.command("clippy", repo.cargo().args(clippy))?;
    let doc = ["doc", "--workspace", "--no-deps", "--locked"];
    steps.command("doc", repo.cargo().args(doc).env("RUSTDOCFLAGS", "--deny=warnings"))?;
    steps.run("api --check", || api::run(repo, true))?;
    steps.command("build", repo.cargo().args(codegen::BUILD))?;
    steps.run("codegen --check", || codegen::run(repo, true))?;
    steps.run_if_possible("conformance", || conformance::run_on_built(repo))?;
    steps.run("package", || package::run(repo))?;
    let test = ["test", "--workspace", "--locked", "--no-fail-fast"];
    steps.tests_last("test", repo.cargo().args(test))
}
