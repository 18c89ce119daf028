//! Recorders that are killed, and disks that fill up: tests of capture-store, run as often as one likes.

use anyhow::Result;

use crate::{process, repo::Repo};

/// How often, and what else.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How often a recorder is killed.
    #[arg(long, default_value_t = 200)]
    times: u64,
    /// What the moments are drawn from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Fill up a small file system instead, in a mount namespace of its own (Linux, and the right to make one).
    #[arg(long)]
    full_disk: bool,
}

const TEST: [&str; 7] = ["test", "--locked", "-p", "capture-store", "--test", "it", "--"];

/// Runs them. They fail when something that was committed is not there, or the store is not whole.
pub(crate) fn run(repo: &Repo, arguments: &Arguments) -> Result<()> {
    if arguments.full_disk {
        return full_disk(repo);
    }
    let name = "killing::what_was_committed_is_there_however_often_the_recorder_is_killed";
    process::run(
        repo.cargo()
            .args(TEST)
            .args(["--exact", name, "--nocapture"])
            .env("CAPTURE_STORE_KILLS", arguments.times.to_string())
            .env("CAPTURE_STORE_SEED", arguments.seed.to_string()),
    )
}

fn full_disk(repo: &Repo) -> Result<()> {
    let unshare = ["--map-root-user", "--mount"];
    let may_mount = std::process::Command::new("unshare").args(unshare).arg("true").status();
    if !may_mount.is_ok_and(|status| status.success()) {
        let missing = "unshare (util-linux) and a kernel that lets it make a mount namespace";
        return Err(process::Missing(vec![missing.to_owned()]).into());
    }
    let cargo = repo.cargo();
    let mut command = std::process::Command::new("unshare");
    command.args(unshare).arg(cargo.get_program()).current_dir(repo.root());
    let name = "small_disk::a_disk_that_fills_up_is_waited_for_and_what_was_recorded_is_whole";
    process::run(
        command.args(TEST).args(["--exact", name, "--nocapture"]).env("CAPTURE_STORE_MAY_MOUNT", "1"),
    )
}
