//! Two origins and a proxy between them and whoever plays.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::{bench::address, process, service::Service};

/// Everything running. Dropping it ends the processes and removes the files.
pub(super) struct Stage {
    binaries: PathBuf,
    directory: TempDir,
    secure: Service,
    plain: Service,
    proxy: Service,
    /// The certificate of the proxy's CA.
    pub(super) ca: PathBuf,
    /// The certificate of the authority behind the origin with TLS.
    pub(super) origin_ca: PathBuf,
}

/// What a run left behind.
pub(super) struct Recording {
    /// The exported file.
    pub(super) har: PathBuf,
    /// The URL of the origin with TLS.
    pub(super) origin: String,
    _directory: TempDir,
}

impl Stage {
    /// Starts the origins, then the proxy with an empty store.
    pub(super) fn set(binaries: &Path) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let origin_ca = directory.path().join("origin.pem");
        let peer = binaries.join("testkit-peer");
        let secure = Service::start(Command::new(&peer).arg("serve").arg("--ca-out").arg(&origin_ca))?;
        let plain = Service::start(Command::new(&peer).arg("serve"))?;
        let (store, state) = (directory.path().join("store"), directory.path().join("state"));
        let mut run = Command::new(binaries.join("wirescope"));
        run.args(["run", "--port", "0", "--upstream-ca"]).arg(&origin_ca);
        run.arg("--store").arg(store).arg("--state-dir").arg(&state);
        let proxy = Service::start(&mut run)?;
        let mut path = Command::new(binaries.join("wirescope"));
        let ca = process::output(path.args(["ca", "path", "--state-dir"]).arg(&state))?.trim().into();
        Ok(Self { binaries: binaries.to_owned(), directory, secure, plain, proxy, ca, origin_ca })
    }

    /// The URL of `path` at the origin with TLS.
    pub(super) fn secure(&self, path: &str) -> String {
        format!("{}{path}", self.secure.first_line())
    }

    /// The URL of `path` at the origin without TLS.
    pub(super) fn plain(&self, path: &str) -> String {
        format!("{}{path}", self.plain.first_line())
    }

    /// The URL of the proxy.
    pub(super) fn proxy(&self) -> Result<String> {
        Ok(format!("http://{}", address(self.proxy.first_line())?))
    }

    /// A further wirescope command, with a state directory and a store of its own.
    pub(super) fn wirescope(&self, command: &str) -> Command {
        let place = self.directory.path().join("apart");
        let mut wirescope = Command::new(self.binaries.join("wirescope"));
        wirescope.arg(command).arg("--state-dir").arg(place);
        wirescope
    }

    /// A further wirescope command on the proxy's own recordings.
    pub(super) fn beside(&self, command: &str) -> Command {
        let mut wirescope = Command::new(self.binaries.join("wirescope"));
        wirescope.arg(command).arg("--store").arg(self.directory.path().join("store"));
        wirescope.arg("--state-dir").arg(self.directory.path().join("state"));
        wirescope
    }

    /// The proxy's process.
    pub(super) fn proxy_id(&self) -> u32 {
        self.proxy.id()
    }

    /// A directory to play in.
    pub(super) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Stops the proxy, so that everything is on disk, and exports what it recorded.
    pub(super) fn strike(self) -> Result<Recording> {
        self.proxy.stop()?;
        let har = self.directory.path().join("recording.har");
        let mut export = Command::new(self.binaries.join("wirescope"));
        export.args(["export", "latest", "--out"]).arg(&har);
        process::output(export.arg("--store").arg(self.directory.path().join("store")))?;
        let origin = self.secure.first_line().to_owned();
        Ok(Recording { har, origin, _directory: self.directory })
    }
}

/// Runs the demo in a fresh directory and finds the HAR file it wrote.
pub(super) fn demo(binaries: &Path) -> Result<Recording> {
    let directory = tempfile::tempdir()?;
    let mut demo = Command::new(binaries.join("wirescope"));
    process::output(demo.args(["demo", "--dir"]).arg(directory.path()).current_dir(directory.path()))?;
    let mut files = fs::read_dir(directory.path())?.filter_map(|entry| Some(entry.ok()?.path()));
    let har = files.find(|path| path.extension().is_some_and(|extension| extension == "har"));
    let Some(har) = har else { bail!("the demo wrote no .har file into {}", directory.path().display()) };
    let size = fs::metadata(&har).context("the demo's HAR")?.len();
    if size == 0 {
        bail!("the demo's HAR is empty");
    }
    Ok(Recording { har, origin: String::new(), _directory: directory })
}
