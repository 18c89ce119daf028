//! Everything CI runs, in CI's order.

use anyhow::Result;

use crate::{api, codegen, repo::Repo, steps::Steps, tidy};

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
    // A packaged crate is verified outside the workspace. Handing the profiles over lets it use what has been built.
    let mut package = repo.cargo();
    package.args(["--config", "Cargo.toml", "package", "--locked", "--allow-dirty"]);
    for library in repo.packages()?.into_iter().filter(|package| package.publishable) {
        if library.directory.starts_with(repo.root().join("crates")) {
            package.args(["--package", &library.name]);
        }
    }
    steps.command("package", &mut package)?;
    let test = ["test", "--workspace", "--locked", "--no-fail-fast"];
    steps.tests_last("test", repo.cargo().args(test))
}
