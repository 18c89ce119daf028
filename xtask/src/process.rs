//! Running commands, and what a command needs that is not there.

use std::{
    fmt,
    io::Read as _,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// How often a command with a time limit is looked at.
const GLANCE: Duration = Duration::from_millis(50);

/// What has to be installed before a command can run; the exit code is 2.
#[derive(Debug)]
pub(crate) struct Missing(pub(crate) Vec<String>);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "missing: {}", self.0.join("; "))
    }
}

impl std::error::Error for Missing {}

/// Runs `command` and returns its stdout; fails with its stderr.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("failed to start {program}"))?;
    if !output.status.success() {
        bail!("{program} failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Runs `command` with the terminal as its own; fails when it does.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("failed to start {program}"))?;
    if !status.success() {
        bail!("{program} failed ({status})");
    }
    Ok(())
}

/// Runs `command`, ends it when it takes longer than `limit`, and fails with what it said on stderr.
pub(crate) fn run_within(command: &mut Command, limit: Duration) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut child = child.with_context(|| format!("failed to start {program}"))?;
    let stderr = child.stderr.take();
    // Read beside the wait: a full pipe would make the command wait for its reader.
    let said = thread::spawn(move || {
        let mut said = Vec::new();
        if let Some(mut stderr) = stderr {
            let _ = stderr.read_to_end(&mut said);
        }
        String::from_utf8_lossy(&said).trim().to_owned()
    });
    let until = Instant::now() + limit;
    let status = loop {
        match child.try_wait()? {
            Some(status) => break status,
            None if Instant::now() < until => thread::sleep(GLANCE),
            None => {
                child.kill()?;
                child.wait()?;
                bail!("{program} did not end within {} s", limit.as_secs());
            }
        }
    };
    if !status.success() {
        bail!("{program} failed ({status}): {}", said.join().unwrap_or_default());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_with_a_time_limit_is_ended_or_says_why_it_failed() {
        let minute = Duration::from_secs(60);
        run_within(&mut Command::new("true"), minute).unwrap();
        let shell = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            command
        };
        let error = run_within(&mut shell("echo no such host >&2; exit 3"), minute).unwrap_err();
        assert!(error.to_string().contains("no such host"), "{error}");
        let error = run_within(&mut shell("exec sleep 600"), Duration::from_millis(10)).unwrap_err();
        assert!(error.to_string().contains("did not end"), "{error}");
    }
}
