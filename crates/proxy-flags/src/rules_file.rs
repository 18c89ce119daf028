//! A file of rules that is watched while the proxy runs.

use std::{
    convert::Infallible,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use clap::Args;
use proxy_core::rules::Rules;
use tokio::time::{MissedTickBehavior, interval};

use crate::error::FlagError;

/// How often the file is looked at. Two `stat`s a second cost nothing, and see what a notification misses: files that
/// are replaced, network drives, directories that come later.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Which rules apply.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Rules")]
#[non_exhaustive]
pub struct RulesFlags {
    /// Apply the rules in this file (.toml or .json; docs/rules.md), and again whenever it changes; one that cannot be
    /// read is told, and the old rules stay.
    #[arg(long, value_name = "FILE", env = "WIRESCOPE_RULES", hide_env_values = true)]
    pub rules: Option<PathBuf>,
}

/// The rules of a file.
#[derive(Debug)]
pub struct RulesFile {
    path: PathBuf,
    rules: Rules,
    seen: Stamp,
}

/// What tells one version of a file from another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    bytes: u64,
}

impl Stamp {
    fn of(path: &Path) -> Self {
        std::fs::metadata(path).map_or_else(
            |_| Self::default(),
            |data| Self { modified: data.modified().ok(), bytes: data.len() },
        )
    }
}

impl RulesFlags {
    /// Loads the file, if one was named.
    ///
    /// # Errors
    ///
    /// When it cannot be read or holds what is no rule; the error names the line.
    pub fn load(&self) -> Result<Option<RulesFile>, FlagError> {
        let Some(path) = &self.rules else { return Ok(None) };
        let (rules, seen) = (Rules::new(), Stamp::of(path));
        rules.load(path).map_err(|error| FlagError::failed("use --rules", error))?;
        Ok(Some(RulesFile { path: path.clone(), rules, seen }))
    }
}

impl RulesFile {
    /// The handle for the proxy.
    #[must_use]
    pub fn rules(&self) -> Rules {
        self.rules.clone()
    }

    /// Loads the file again whenever it changed, and says how that went. Runs until it is dropped.
    pub async fn watch(mut self, say: impl Fn(Reloaded<'_>)) -> Infallible {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Some(outcome) = self.look() {
                say(Reloaded { path: &self.path, outcome });
            }
        }
    }

    /// Looks once; the number of rules when the file had changed, or why the old ones stay.
    fn look(&mut self) -> Option<Result<usize, FlagError>> {
        let now = Stamp::of(&self.path);
        if now == self.seen {
            return None;
        }
        self.seen = now;
        let loaded = self.rules.load(&self.path);
        Some(match loaded {
            Ok(()) => Ok(self.rules.list().len()),
            Err(error) => Err(FlagError::failed("use --rules", error)),
        })
    }
}

/// How reading a changed file went.
#[derive(Debug)]
#[non_exhaustive]
pub struct Reloaded<'a> {
    /// The file.
    pub path: &'a Path,
    /// How many rules apply now, or why the old ones stay.
    pub outcome: Result<usize, FlagError>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_loaded_and_a_bad_one_leaves_the_old_rules() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rules.toml");
        std::fs::write(&path, "[[rules]]\nid = \"a\"\n").unwrap();
        let mut file = RulesFlags { rules: Some(path.clone()) }.load().unwrap().unwrap();
        assert!(file.look().is_none());
        std::fs::write(&path, "[[rules]]\nid = \"a\"\n[[rules]]\nid = \"b\"\n").unwrap();
        assert_eq!(file.look().unwrap().unwrap(), 2);
        std::fs::write(&path, "[[rules]]\nwhen.url = { regex = \"[\" }\n").unwrap();
        let error = file.look().unwrap().unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("line 2"), "{cause}");
        assert_eq!(file.rules().list().len(), 2);
        std::fs::remove_file(&path).unwrap();
        assert!(file.look().unwrap().is_err());
        assert!(file.look().is_none());
    }
}
