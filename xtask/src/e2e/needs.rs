//! What has to be there, and what is fetched: the judges, at the versions their lock file pins.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use crate::process::{self, Missing};

/// Browsers looked for on the path.
const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// The judges' files.
const FILES: [&str; 5] = ["package.json", "package-lock.json", "browse.mjs", "validate.mjs", "replay.mjs"];

/// The programs of this machine.
pub(super) struct Needs {
    pub(super) chromium: PathBuf,
}

/// The scripts that judge, with their packages installed.
pub(super) struct Judges {
    directory: PathBuf,
}

impl Needs {
    /// Finds every program, or says all that is missing at once.
    pub(super) fn find(chromium: Option<&Path>) -> Result<Self> {
        let mut missing = Vec::new();
        let answers =
            |program: &str, argument: &str| process::output(Command::new(program).arg(argument)).ok();
        match answers("curl", "--version") {
            Some(version) if version.contains("HTTP2") => {}
            _ => missing.push("curl with HTTP/2 (Debian: curl)".to_owned()),
        }
        for (program, argument, package) in
            [("node", "--version", "nodejs"), ("npm", "--version", "npm"), ("kill", "-l", "procps")]
        {
            if answers(program, argument).is_none() {
                missing.push(format!("{program} (Debian: {package})"));
            }
        }
        // certutil has no argument that succeeds without a database.
        if Command::new("certutil").arg("-H").output().is_err() {
            missing.push("certutil, to let Chromium trust the CA (Debian: libnss3-tools)".to_owned());
        }
        let on_path = || BROWSERS.iter().find(|name| answers(name, "--version").is_some()).map(PathBuf::from);
        let chromium = chromium.map(Path::to_owned).or_else(on_path).and_then(|name| full_path(&name));
        if chromium.is_none() {
            missing.push("Chromium (Debian: chromium), or CHROMIUM naming one".to_owned());
        }
        match chromium {
            Some(chromium) if missing.is_empty() => Ok(Self { chromium }),
            _ => Err(Missing(missing).into()),
        }
    }

    /// Copies the judges from `source` to `directory` and installs their pinned packages there, unless it has been done.
    pub(super) fn judges(&self, source: &Path, directory: &Path) -> Result<Judges> {
        let lock = "package-lock.json";
        let installed = directory.join("node_modules/.package-lock.json").exists()
            && fs::read(source.join(lock))? == fs::read(directory.join(lock)).unwrap_or_default();
        fs::create_dir_all(directory)?;
        for file in FILES {
            fs::copy(source.join(file), directory.join(file))?;
        }
        if !installed {
            let install = ["ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"];
            process::run(Command::new("npm").args(install).current_dir(directory))?;
        }
        Ok(Judges { directory: directory.to_owned() })
    }
}

impl Judges {
    /// Runs one of the scripts with `arguments`.
    pub(super) fn script(&self, name: &str) -> Command {
        let mut command = Command::new("node");
        command.arg(self.directory.join(name));
        command
    }

    /// Fails unless `har` is valid HAR 1.2.
    pub(super) fn validate(&self, har: &Path) -> Result<()> {
        process::run(self.script("validate.mjs").arg(har))
    }

    /// Fails unless Playwright replays what `har` recorded.
    pub(super) fn replay(&self, chromium: &Path, har: &Path) -> Result<()> {
        process::run(self.script("replay.mjs").arg(chromium).arg(har))
    }
}

/// Where `program` is: as given if it is a path, else on the search path.
fn full_path(program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return program.exists().then(|| program.to_owned());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
}
