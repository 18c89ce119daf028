//! Bodies far larger than the memory the proxy may use.

use std::{
    fs,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use super::{curl, stage::Stage};
use crate::process;

/// What passes in each direction.
const BODY_BYTES: u64 = 1 << 30;

/// What the proxy may hold resident at its peak.
const MAX_RESIDENT_KIB: u64 = 64 * 1024;

/// Downloads and uploads 1 GiB in both HTTP versions, then looks at the proxy's peak of resident memory.
pub(super) fn run(stage: &Stage) -> Result<()> {
    for version in ["--http1.1", "--http2"] {
        let mut download = curl::command(stage, version)?;
        download.args(["--output", "/dev/null", "--write-out", "%{size_download}"]);
        let got = process::output(download.arg(stage.secure(&format!("/bytes/{BODY_BYTES}"))))?;
        if got != BODY_BYTES.to_string() {
            bail!("curl {version} downloaded {got} bytes of {BODY_BYTES}");
        }
        let counted = upload(stage, version)?;
        if !counted.contains(&format!("\"bytes\":{BODY_BYTES}")) {
            bail!("curl {version} uploaded {BODY_BYTES} bytes, of which arrived: {counted}");
        }
        match peak_resident_kib(stage.proxy_id())? {
            Some(peak) if peak > MAX_RESIDENT_KIB => bail!("the proxy's memory peaked at {peak} KiB"),
            Some(peak) => {
                println!("ok: curl {version}, 1 GiB each way; the proxy's memory peaked at {peak} KiB")
            }
            None => println!("ok: curl {version}, 1 GiB each way; memory is only measured on Linux"),
        }
    }
    Ok(())
}

/// Streams zeros to the origin and returns its summary.
fn upload(stage: &Stage, version: &str) -> Result<String> {
    let mut zeros = Command::new("head")
        .args(["-c", &BODY_BYTES.to_string(), "/dev/zero"])
        .stdout(Stdio::piped())
        .spawn()
        .context("failed to start head")?;
    let stdout = zeros.stdout.take().context("no stdout")?;
    let mut upload = curl::command(stage, version)?;
    upload.args(["--request", "POST", "--upload-file", "-"]).arg(stage.secure("/upload"));
    let counted = process::output(upload.stdin(stdout));
    zeros.wait()?;
    counted
}

/// VmHWM of proc(5); none where there is no /proc.
fn peak_resident_kib(process: u32) -> Result<Option<u64>> {
    let Ok(status) = fs::read_to_string(format!("/proc/{process}/status")) else { return Ok(None) };
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .context("no VmHWM in /proc/PID/status")?;
    let kib = line.trim().trim_end_matches("kB").trim();
    Ok(Some(kib.parse()?))
}
