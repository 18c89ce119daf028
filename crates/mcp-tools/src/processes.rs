//! Child processes started with their traffic going through the proxy.

use std::{
    collections::{BTreeMap, VecDeque},
    path::PathBuf,
    process::Stdio,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::{Child, Command},
    sync::watch,
};

use crate::error::ToolError;

/// Bytes of each stream's end that are kept; what came before is dropped.
const TAIL_BYTES: usize = 64 * 1024;
/// Processes at once, ended ones that nobody asked about included.
const MAX_PROCESSES: usize = 64;
/// From asking a process to end to making it.
pub(crate) const GRACE: Duration = Duration::from_secs(3);
/// The same when the whole server ends.
pub(crate) const LAST_GRACE: Duration = Duration::from_millis(700);
/// From a process's end to the end of its streams, which a grandchild may hold open.
const STREAM_GRACE: Duration = Duration::from_millis(500);

/// The processes of one server. Dropping it kills them.
#[derive(Default)]
pub(crate) struct Processes {
    map: Mutex<BTreeMap<String, Arc<Process>>>,
}

/// What to run.
pub(crate) struct Spawn {
    pub(crate) command: String,
    pub(crate) args: Vec<String>,
    pub(crate) cwd: Option<PathBuf>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) proxy_url: String,
    pub(crate) ca_path: String,
}

/// One process.
pub(crate) struct Process {
    pub(crate) id: String,
    pub(crate) pid: u32,
    pub(crate) started_at: SystemTime,
    pub(crate) spawn: Spawn,
    stdout: Arc<Mutex<Tail>>,
    stderr: Arc<Mutex<Tail>>,
    exit: watch::Receiver<Option<Exit>>,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exit {
    /// Its exit code; `None` when a signal ended it.
    pub(crate) code: Option<i32>,
}

/// The end of a stream.
#[derive(Default)]
struct Tail {
    bytes: VecDeque<u8>,
    dropped: u64,
}

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        let over = self.bytes.len().saturating_sub(TAIL_BYTES);
        self.bytes.drain(..over);
        self.dropped += over as u64;
    }
}

impl Process {
    pub(crate) fn exit(&self) -> Option<Exit> {
        *self.exit.borrow()
    }

    /// The last `max_bytes` of standard output, as text.
    pub(crate) fn stdout_tail(&self, max_bytes: usize) -> String {
        tail(&self.stdout, max_bytes)
    }

    /// The last `max_bytes` of standard error, as text.
    pub(crate) fn stderr_tail(&self, max_bytes: usize) -> String {
        tail(&self.stderr, max_bytes)
    }

    /// Asks the process group to end, makes it after a while, and waits for the process. One that ended before is
    /// left alone, its group too: the number may be another's by now.
    pub(crate) async fn end(&self, grace: Duration) -> Option<Exit> {
        let mut exit = self.exit.clone();
        if exit.borrow().is_none() {
            signal(self.pid, Force::Ask);
            let _ = tokio::time::timeout(grace, exit.wait_for(Option::is_some)).await;
            // What it left behind in its group goes with it.
            signal(self.pid, Force::Make);
        }
        let ended = tokio::time::timeout(grace, exit.wait_for(Option::is_some)).await;
        ended.ok().and_then(Result::ok).and_then(|exit| *exit)
    }
}

impl Process {
    /// Makes the process group end at once, where the process has not ended.
    pub(crate) fn kill(&self) {
        if self.exit().is_none() {
            signal(self.pid, Force::Make);
        }
    }

    /// Waits for the process's end.
    pub(crate) async fn ended(&self) -> Option<Exit> {
        self.exit.clone().wait_for(Option::is_some).await.ok().and_then(|exit| *exit)
    }
}

impl Processes {
    fn map(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Process>>> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a process in a group of its own, without standard input.
    pub(crate) fn spawn(&self, spawn: Spawn) -> Result<Arc<Process>, ToolError> {
        self.make_room()?;
        let mut child = command(&spawn).spawn().map_err(|error| {
            let hint = match error.kind() {
                std::io::ErrorKind::NotFound => {
                    "command is a program on PATH or a path, without arguments; cwd must exist"
                }
                _ => "check that command may be executed and cwd entered",
            };
            ToolError::new("spawn_failed", format!("failed to start {:?}: {error}", spawn.command)).hint(hint)
        })?;
        let pid = child.id().unwrap_or_default();
        let (stdout, stderr) = (Arc::<Mutex<Tail>>::default(), Arc::<Mutex<Tail>>::default());
        let (sender, exit) = watch::channel(None);
        let streams = [
            child.stdout.take().map(|stream| tokio::spawn(drain(stream, stdout.clone()))),
            child.stderr.take().map(|stream| tokio::spawn(drain(stream, stderr.clone()))),
        ];
        tokio::spawn(watch_exit(child, streams, sender));
        let id = format!("proc_{pid}");
        let process = Arc::new(Process {
            id: id.clone(),
            pid,
            started_at: SystemTime::now(),
            spawn,
            stdout,
            stderr,
            exit,
        });
        self.map().insert(id, process.clone());
        Ok(process)
    }

    /// Forgets the oldest ended process when there are too many.
    fn make_room(&self) -> Result<(), ToolError> {
        let mut map = self.map();
        if map.len() < MAX_PROCESSES {
            return Ok(());
        }
        let oldest = map
            .values()
            .filter(|process| process.exit().is_some())
            .min_by_key(|process| process.started_at)
            .map(|process| process.id.clone());
        match oldest {
            Some(id) => {
                map.remove(&id);
                Ok(())
            }
            None => {
                Err(ToolError::new("too_many_processes", format!("{MAX_PROCESSES} processes are running"))
                    .hint("interceptor_kill ends one"))
            }
        }
    }

    /// All processes, oldest first, ended ones included until they are killed.
    pub(crate) fn list(&self) -> Vec<Arc<Process>> {
        let mut all: Vec<_> = self.map().values().cloned().collect();
        all.sort_by_key(|process| process.started_at);
        all
    }

    /// Takes a process out of the list.
    pub(crate) fn remove(&self, id: &str) -> Option<Arc<Process>> {
        self.map().remove(id)
    }

    /// Ends all processes, side by side.
    pub(crate) async fn kill_all(&self, grace: Duration) {
        let all: Vec<_> = std::mem::take(&mut *self.map()).into_values().collect();
        let ending: Vec<_> =
            all.into_iter().map(|process| tokio::spawn(async move { process.end(grace).await })).collect();
        for task in ending {
            let _ = task.await;
        }
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for process in self.map().values() {
            if process.exit().is_none() {
                signal(process.pid, Force::Make);
            }
        }
    }
}

fn command(spawn: &Spawn) -> Command {
    let mut command = Command::new(&spawn.command);
    command
        .args(&spawn.args)
        .envs(spawn.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    if let Some(cwd) = &spawn.cwd {
        command.current_dir(cwd);
    }
    #[cfg(unix)]
    command.process_group(0);
    command
}

/// Waits for the process, then briefly for its streams, and tells.
async fn watch_exit(
    mut child: Child,
    streams: [Option<tokio::task::JoinHandle<()>>; 2],
    exit: watch::Sender<Option<Exit>>,
) {
    let code = child.wait().await.ok().and_then(|status| status.code());
    for stream in streams.into_iter().flatten() {
        let abort = stream.abort_handle();
        if tokio::time::timeout(STREAM_GRACE, stream).await.is_err() {
            abort.abort();
        }
    }
    exit.send_replace(Some(Exit { code }));
}

async fn drain(mut stream: impl AsyncRead + Unpin, tail: Arc<Mutex<Tail>>) {
    let mut buffer = vec![0; 8 * 1024];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        tail.lock().unwrap_or_else(PoisonError::into_inner).push(&buffer[..count]);
    }
}

fn tail(tail: &Mutex<Tail>, max_bytes: usize) -> String {
    let tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
    let start = tail.bytes.len().saturating_sub(max_bytes);
    let bytes: Vec<u8> = tail.bytes.iter().skip(start).copied().collect();
    let text = String::from_utf8_lossy(&bytes);
    // The first character may have been cut in two.
    let text = if start > 0 || tail.dropped > 0 { text.trim_start_matches('\u{FFFD}') } else { &text };
    text.to_owned()
}

#[derive(Clone, Copy)]
enum Force {
    Ask,
    Make,
}

/// Signals a process's whole group; one that is gone is no error.
#[cfg(unix)]
fn signal(pid: u32, force: Force) {
    use rustix::process::{Pid, Signal, kill_process_group};
    let signal = match force {
        Force::Ask => Signal::TERM,
        Force::Make => Signal::KILL,
    };
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(pid, signal);
    }
}

/// There are no groups to signal: `taskkill` ends the process and its children.
#[cfg(not(unix))]
fn signal(pid: u32, force: Force) {
    let mut command = std::process::Command::new("taskkill");
    command.args(["/PID", &pid.to_string(), "/T"]);
    if matches!(force, Force::Make) {
        command.arg("/F");
    }
    let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
}
