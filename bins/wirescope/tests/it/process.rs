//! The binary as a process with a home of its own.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;
use testkit::{Origin, ProxyClient, TestCa, within};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines},
    process::{Child, ChildStderr, ChildStdout, Command},
};

/// A directory for state and files, gone at the end.
pub(crate) struct Home(TempDir);

impl Home {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The binary with this home as its state and its current directory, and nothing of the tester's own settings.
    pub(crate) fn wirescope<I: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wirescope"));
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy().to_ascii_uppercase();
            if text.starts_with("WIRESCOPE_") || text.ends_with("_PROXY") {
                command.env_remove(name);
            }
        }
        command
            .args(arguments)
            .env("WIRESCOPE_STATE_DIR", self.path().join("state"))
            .current_dir(self.path())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Runs the binary to its end.
    pub(crate) async fn run<I: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> Ran {
        ran(&mut self.wirescope(arguments)).await
    }

    /// Runs the binary, which must succeed, and gives what it printed.
    pub(crate) async fn ok<I: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> String {
        let ran = self.run(arguments).await;
        assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
        ran.stdout
    }

    /// Runs the binary, which must succeed, and reads what it printed as an object to the line.
    pub(crate) async fn json<I: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> Vec<Value> {
        self.ok(arguments).await.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Asks until the session has this many exchanges.
    pub(crate) async fn until_recorded(&self, session: &str, count: usize) {
        let asked = async {
            while self.json(["show", session, "--json"]).await.len() < count {}
            Ok(())
        };
        within("the recording", asked).await.unwrap();
    }

    /// Writes the authority's certificate into a file.
    pub(crate) fn write_ca(&self, ca: &TestCa) -> PathBuf {
        let file = self.file("origin-ca.pem");
        fs::write(&file, ca.pem()).unwrap();
        file
    }

    /// A client that trusts the CA of this home.
    pub(crate) async fn client(&self, proxy: &Running, alpn: &[&str]) -> ProxyClient {
        let ca = self.ok(["ca", "print"]).await;
        ProxyClient::new(proxy.address.parse().unwrap(), &ca, alpn).unwrap()
    }
}

/// A process that has ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a command to its end.
pub(crate) async fn ran(command: &mut Command) -> Ran {
    let output = within("the command", command.output()).await.unwrap();
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A `wirescope run` that is ready.
pub(crate) struct Running {
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: ChildStderr,
    /// `host:port`.
    pub(crate) address: String,
}

impl Running {
    /// Starts `run` on a free port with these further arguments.
    pub(crate) async fn start<I: AsRef<OsStr>>(home: &Home, more: impl IntoIterator<Item = I>) -> Self {
        let mut command = home.wirescope(["run", "--port", "0"]);
        command.args(more).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let stderr = child.stderr.take().unwrap();
        let mut running = Self { child, stdout, stderr, address: String::new() };
        let Ok(ready) = running.next_line().await else {
            let mut told = String::new();
            running.stderr.read_to_string(&mut told).await.unwrap();
            panic!("it is not ready: {told}");
        };
        running.address = ready.strip_prefix("listening on http://").unwrap().to_owned();
        running
    }

    /// An origin over HTTPS, and a `run` that trusts it.
    pub(crate) async fn with_origin(home: &Home) -> (Origin, Self) {
        let ca = TestCa::new().unwrap();
        let origin = Origin::https(&ca).await.unwrap();
        let file = home.write_ca(&ca);
        let running = Self::start(home, [OsStr::new("--upstream-ca"), file.as_os_str()]).await;
        (origin, running)
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// The next line on stdout; fails at the end.
    pub(crate) async fn next_line(&mut self) -> io::Result<String> {
        let line = within("a line", self.stdout.next_line()).await?;
        line.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Reads lines until one holds `text`.
    pub(crate) async fn line_with(&mut self, text: &str) -> String {
        loop {
            let line = self.next_line().await.unwrap();
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Sends a signal, as kill(1) names it.
    #[cfg(unix)]
    pub(crate) async fn signal(&self, name: &str) {
        let id = self.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().await.unwrap().success());
    }

    /// Kills it without warning, and waits until it is gone.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Waits for its end without reading stdout; gives its status and what it told.
    pub(crate) async fn end_unread(mut self) -> (ExitStatus, String) {
        let mut err = String::new();
        let read = async {
            self.stderr.read_to_string(&mut err).await?;
            self.child.wait().await
        };
        let status = within("its end", read).await.unwrap();
        (status, err)
    }

    /// Waits for its end; gives its status and the rest of what it printed.
    pub(crate) async fn end(mut self) -> (ExitStatus, String, String) {
        let (mut out, mut err) = (String::new(), String::new());
        let read = async {
            while let Some(line) = self.stdout.next_line().await? {
                out.push_str(&line);
                out.push('\n');
            }
            self.stderr.read_to_string(&mut err).await?;
            self.child.wait().await
        };
        let status = within("its end", read).await.unwrap();
        (status, out, err)
    }
}
