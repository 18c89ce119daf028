//! What /proc tells of a process: its CPU time, and the memory it holds.

use std::{fs, process::Command, thread, time::Duration};

use anyhow::{Context, Result, bail};

use crate::process;

/// How long the proxy must use no CPU to count as having finished its work.
const SETTLED: Duration = Duration::from_millis(300);

/// How often to look before giving up on that.
const MAX_LOOKS: usize = 100;

/// CPU time once the process has been still for a while: what it recorded is then on disk.
pub(super) fn settled_cpu(process: u32) -> Result<f64> {
    let mut last = cpu_seconds(process)?;
    for _ in 0..MAX_LOOKS {
        thread::sleep(SETTLED);
        let now = cpu_seconds(process)?;
        if now - last < 0.005 {
            return Ok(now);
        }
        last = now;
    }
    bail!("the proxy is still working long after the last request")
}

/// User and system time, all threads, since the process began.
pub(super) fn cpu_seconds(process: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let ticks = cpu_ticks(&stat).context("/proc/PID/stat is not as proc(5) has it")?;
    let per_second: f64 = process::output(Command::new("getconf").arg("CLK_TCK"))?.trim().parse()?;
    Ok(f64::from(ticks) / per_second)
}

/// Fields 14 (utime) and 15 (stime) of proc(5), counted after the command's name, which may hold anything.
fn cpu_ticks(stat: &str) -> Option<u32> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, system) = (fields.next()?.parse::<u32>().ok()?, fields.next()?.parse::<u32>().ok()?);
    user.checked_add(system)
}

/// A figure of /proc/PID/status (proc(5)) in KiB: `VmRSS` now, or `VmHWM` at its peak.
pub(super) fn resident_kib(process: u32, figure: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(figure)?.strip_prefix(':'));
    let kib = line.with_context(|| format!("no {figure} in /proc/PID/status"))?;
    Ok(kib.trim().trim_end_matches("kB").trim().parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_ticks_are_found_behind_any_name() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 4 0 100 1 1";
        assert_eq!(cpu_ticks(stat), Some(300));
    }
}
