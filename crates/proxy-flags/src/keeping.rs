//! How long a recording is kept and how safely: the flags of commands that record.

use std::time::Duration;

use capture_store::{OnDiskFailure, RecorderConfig, SyncPolicy};
use clap::{Args, ValueEnum};

/// Flags that say what is kept.
#[derive(Args, Clone, Debug, Default)]
#[non_exhaustive]
pub struct KeepingFlags {
    /// Keep at most this many exchanges of a session without name; the oldest go first.
    #[arg(long, value_name = "N", env = "WIRESCOPE_MAX_EXCHANGES", hide_env_values = true)]
    max_exchanges: Option<u64>,
    /// Keep exchanges of a session without name for at most so many minutes.
    #[arg(long, value_name = "MINUTES", env = "WIRESCOPE_MAX_AGE_MINUTES", hide_env_values = true)]
    max_age_minutes: Option<u64>,
    /// What a power cut may cost [default: normal].
    #[arg(long, value_name = "WHEN", env = "WIRESCOPE_SYNC", hide_env_values = true)]
    sync: Option<Sync>,
    /// What to do with traffic while the disk is full or fails [default: hold].
    #[arg(long, value_name = "WHAT", env = "WIRESCOPE_ON_DISK_FAILURE", hide_env_values = true)]
    on_disk_failure: Option<Failure>,
}

/// What happens to traffic that cannot be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Failure {
    /// It waits until it can be.
    Hold,
    /// After five seconds it goes on; what is not recorded is counted.
    Drop,
}

/// When what is recorded is forced to the disk. A crash of the process costs the same under all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Sync {
    /// Every 16 MiB or so: a power cut may cost what came since.
    Normal,
    /// With every commit, large bodies included.
    Full,
    /// When the system likes: a power cut may damage the store.
    Off,
}

impl KeepingFlags {
    /// Puts them into a recorder's configuration.
    pub fn apply(&self, config: &mut RecorderConfig) {
        config.max_exchanges = self.max_exchanges;
        config.max_age = self.max_age_minutes.map(|minutes| Duration::from_secs(minutes.saturating_mul(60)));
        config.sync = match self.sync {
            None | Some(Sync::Normal) => SyncPolicy::Normal,
            Some(Sync::Full) => SyncPolicy::Full,
            Some(Sync::Off) => SyncPolicy::Off,
        };
        config.on_disk_failure = match self.on_disk_failure {
            None | Some(Failure::Hold) => OnDiskFailure::Hold,
            Some(Failure::Drop) => OnDiskFailure::Drop,
        };
    }
}
