//! A file of rules that is watched while the proxy runs.

use std::{
    convert::Infallible,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result};
use clap::Args;
use proxy_core::rules::Rules;
use tokio::time::{MissedTickBehavior, interval};

use crate::text;

/// How often the file is looked at. Two `stat`s a second cost nothing, and see what a notification misses: files that
/// are replaced, network drives, directories that come later.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Which rules apply.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Rules")]
pub(crate) struct RulesArguments {
    /// Apply the rules in this file (.toml or .json; docs/rules.md), and again whenever it changes; one that cannot be
    /// read is told, and the old rules stay.
    #[arg(long, value_name = "FILE", env = "WIRESCOPE_RULES", hide_env_values = true)]
    rules: Option<PathBuf>,
}

/// The rules of a file.
pub(crate) struct RulesFile {
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

impl RulesArguments {
    /// Loads the file, if one was named.
    pub(crate) fn load(&self) -> Result<Option<RulesFile>> {
        let Some(path) = &self.rules else { return Ok(None) };
        let (rules, seen) = (Rules::new(), Stamp::of(path));
        rules.load(path).context("use --rules")?;
        Ok(Some(RulesFile { path: path.clone(), rules, seen }))
    }
}

impl RulesFile {
    /// The handle for the proxy.
    pub(crate) fn rules(&self) -> Rules {
        self.rules.clone()
    }

    /// Loads the file again whenever it changed, and says how that went. Runs until it is dropped.
    pub(crate) async fn watch(mut self, say: impl Fn(&str)) -> Infallible {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Some(said) = self.look() {
                say(&said);
            }
        }
    }

    /// Looks once; says what there is to say.
    fn look(&mut self) -> Option<String> {
        let now = Stamp::of(&self.path);
        if now == self.seen {
            return None;
        }
        self.seen = now;
        let shown = self.path.display();
        Some(match self.rules.load(&self.path) {
            Ok(()) => {
                let count = u64::try_from(self.rules.list().len()).unwrap_or(u64::MAX);
                format!("wirescope: {} loaded from {shown}", text::count(count, "rule"))
            }
            Err(error) => {
                let error = anyhow::Error::new(error);
                format!("{}; the old rules stay", crate::failure::one_line(&error))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_loaded_and_a_bad_one_leaves_the_old_rules() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rules.toml");
        std::fs::write(&path, "[[rules]]\nid = \"a\"\n").unwrap();
        let mut file = RulesArguments { rules: Some(path.clone()) }.load().unwrap().unwrap();
        assert_eq!(file.look(), None);
        std::fs::write(&path, "[[rules]]\nid = \"a\"\n[[rules]]\nid = \"b\"\n").unwrap();
        let said = file.look().unwrap();
        assert!(said.contains("2 rules loaded"), "{said}");
        std::fs::write(&path, "[[rules]]\nwhen.url = { regex = \"[\" }\n").unwrap();
        let said = file.look().unwrap();
        assert!(said.contains("line 2") && said.ends_with("the old rules stay"), "{said}");
        assert_eq!(file.rules().list().len(), 2);
        std::fs::remove_file(&path).unwrap();
        assert!(file.look().unwrap().ends_with("the old rules stay"));
        assert_eq!(file.look(), None);
    }
}
