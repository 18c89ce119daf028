//! Chromium through the proxy, trusting its CA as a user would make it.

use std::{fs, process::Command};

use anyhow::Result;

use super::{
    needs::{Judges, Needs},
    stage::Stage,
};
use crate::process;

/// Opens the page whose script loads, fetches, posts and opens a WebSocket; fails unless all of it arrives.
pub(super) fn browse(stage: &Stage, needs: &Needs, judges: &Judges) -> Result<()> {
    let home = stage.directory().join("home");
    let database = home.join(".pki/nssdb");
    fs::create_dir_all(&database)?;
    let database = format!("sql:{}", database.display());
    process::output(Command::new("certutil").args(["-N", "--empty-password", "-d", &database]))?;
    let trust = ["-A", "-d", &database, "-n", "wirescope", "-t", "C,,", "-i"];
    process::output(Command::new("certutil").args(trust).arg(&stage.ca))?;
    let mut browse = judges.script("browse.mjs");
    browse.arg(&needs.chromium).arg(&home).arg(stage.proxy()?).arg(stage.secure("/html"));
    process::run(&mut browse)?;
    println!("ok: Chromium");
    Ok(())
}
