//! One command under `wirescope exec`, with nothing else set up.

use std::fs;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::stage::Stage;
use crate::process;

/// Runs curl, which is told of neither proxy nor CA, and looks for its exchange in the HAR; then a command that fails.
pub(super) fn run(stage: &Stage) -> Result<()> {
    let har = stage.directory().join("exec.har");
    let url = stage.secure("/json");
    let mut exec = stage.wirescope("exec");
    exec.arg("--har").arg(&har).arg("--upstream-ca").arg(&stage.origin_ca);
    let printed = process::output(exec.args(["--", "curl", "--silent", "--show-error", &url]))?;
    if !printed.contains("greeting") {
        bail!("curl under exec printed {printed:?}");
    }
    let recorded: Value = serde_json::from_slice(&fs::read(&har)?)?;
    let entries = recorded["log"]["entries"].as_array().context("the HAR has no entries")?;
    if !entries.iter().any(|entry| entry["request"]["url"] == url && entry["response"]["status"] == 200) {
        bail!("the HAR of exec does not hold {url}");
    }
    let status = stage.wirescope("exec").args(["--", "sh", "-c", "exit 7"]).output()?.status;
    if status.code() != Some(7) {
        bail!("a command that exits with 7 makes exec end with {status}");
    }
    println!("ok: curl under exec");
    Ok(())
}
