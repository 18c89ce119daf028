//! Child processes that serve, and end with this one.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// How long a child may take to end when asked to.
const PATIENCE: Duration = Duration::from_secs(30);

/// A child that is killed and waited for when it is dropped.
pub(crate) struct Service {
    child: Child,
    first_line: String,
}

impl Service {
    /// Starts `command` and waits for its first line on stdout, which says that it is ready.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("failed to start {}", command.get_program().to_string_lossy()))?;
        let stdout = child.stdout.take().context("no stdout")?;
        let mut service = Self { child, first_line: String::new() };
        let mut stdout = BufReader::new(stdout);
        stdout.read_line(&mut service.first_line)?;
        if service.first_line.is_empty() {
            let status = service.child.wait()?;
            bail!("{} ended ({status}) before it was ready", command.get_program().to_string_lossy());
        }
        // What follows is read and let go, so that the child never blocks on a full pipe.
        thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        Ok(service)
    }

    /// The line that said it is ready.
    pub(crate) fn first_line(&self) -> &str {
        self.first_line.trim_end()
    }

    /// The process's number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks the child to end (SIGINT, as Ctrl-C does) and waits until it has.
    pub(crate) fn stop(mut self) -> Result<()> {
        let asked = Command::new("kill").args(["-INT", &self.id().to_string()]).status()?;
        if !asked.success() {
            bail!("failed to signal process {}", self.id());
        }
        let until = Instant::now() + PATIENCE;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > until {
                bail!("process {} did not end within {PATIENCE:?} of SIGINT", self.id());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
