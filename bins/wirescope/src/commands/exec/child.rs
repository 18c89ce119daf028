//! The command that is run: started, signalled, waited for.

use std::{ffi::OsString, io, process::ExitStatus};

use anyhow::{Context as _, Result};
#[cfg(not(unix))]
use tokio::process::Child;
use tokio::process::Command;

use crate::text;

/// The exit code for a command that was not found, as shells have it (POSIX, Shell Command Language, 2.8.2).
const NOT_FOUND: u8 = 127;

/// The exit code for a command that was found and cannot be run.
const NOT_EXECUTABLE: u8 = 126;

/// What became of the command.
pub(super) enum Ended {
    /// It could not be started: the code to return, and why.
    NotStarted(u8, anyhow::Error),
    /// It ran and ended with this code.
    Ran(u8),
}

impl Ended {
    /// The exit code to return.
    pub(super) fn code(&self) -> u8 {
        match self {
            Self::NotStarted(code, _) | Self::Ran(code) => *code,
        }
    }
}

/// Runs the command on this process's own stdin, stdout and stderr, with `env` over its environment, and waits.
///
/// Signals from the terminal reach it directly, because it is in the same group; SIGTERM and SIGHUP are passed on. This
/// process outlives all of them, to save what was captured.
pub(super) async fn run(command: &[OsString], env: Vec<(String, String)>) -> Result<Ended> {
    let Some((program, arguments)) = command.split_first() else { return Ok(Ended::Ran(0)) };
    let mut signals = Signals::listen()?;
    let mut child = match Command::new(program).args(arguments).envs(env).kill_on_drop(true).spawn() {
        Ok(child) => child,
        Err(error) => {
            let code = if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE };
            let name = text::harmless(&program.to_string_lossy()).into_owned();
            let way_out = if code == NOT_FOUND { "check its name and PATH" } else { "check its permissions" };
            let error = anyhow::Error::new(error).context(format!("run the command {name:?} ({way_out})"));
            return Ok(Ended::NotStarted(code, error));
        }
    };
    let status = loop {
        tokio::select! {
            status = child.wait() => break status.context("wait for the command")?,
            signal = signals.next() => signal.pass_to(&child),
        }
    };
    Ok(Ended::Ran(code(status)))
}

#[cfg(unix)]
fn code(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt as _;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}

#[cfg(not(unix))]
fn code(status: ExitStatus) -> u8 {
    let code = status.code().unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}

#[cfg(unix)]
use unix::Signals;

#[cfg(unix)]
mod unix {
    use anyhow::{Context as _, Result};
    use rustix::process::{Pid, Signal as Number, kill_process};
    use tokio::{
        process::Child,
        signal::unix::{Signal, SignalKind, signal},
    };

    /// The signals taken over while the command runs.
    pub(super) struct Signals {
        interrupt: Signal,
        quit: Signal,
        terminate: Signal,
        hang_up: Signal,
    }

    /// A signal that came.
    pub(super) enum Came {
        /// The command got it from the terminal as well.
        FromTerminal,
        /// It came to this process alone.
        Alone(Number),
    }

    impl Signals {
        pub(super) fn listen() -> Result<Self> {
            let listen = |kind| signal(kind).context("listen for signals");
            Ok(Self {
                interrupt: listen(SignalKind::interrupt())?,
                quit: listen(SignalKind::quit())?,
                terminate: listen(SignalKind::terminate())?,
                hang_up: listen(SignalKind::hangup())?,
            })
        }

        /// Waits for the next. Nothing is lost when the future is dropped.
        pub(super) async fn next(&mut self) -> Came {
            tokio::select! {
                _ = self.interrupt.recv() => Came::FromTerminal,
                _ = self.quit.recv() => Came::FromTerminal,
                _ = self.terminate.recv() => Came::Alone(Number::TERM),
                _ = self.hang_up.recv() => Came::Alone(Number::HUP),
            }
        }
    }

    impl Came {
        pub(super) fn pass_to(self, child: &Child) {
            let Self::Alone(signal) = self else { return };
            let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
            let Some(pid) = pid else { return };
            if let Err(error) = kill_process(pid, signal) {
                tracing::warn!(%error, "passing a signal to the command failed");
            }
        }
    }
}

/// Consoles deliver Ctrl-C to every process attached; there is nothing to pass on.
#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
struct Came;

#[cfg(not(unix))]
impl Signals {
    fn listen() -> Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> Came {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        Came
    }
}

#[cfg(not(unix))]
impl Came {
    fn pass_to(self, _child: &Child) {}
}
