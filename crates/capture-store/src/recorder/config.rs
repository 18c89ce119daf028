//! How to record, and into what.

use std::time::Duration;

use crate::faults::DiskFaults;

/// How to record.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RecorderConfig {
    /// Body bytes waiting for the writer at most (each piece counts 256 more); beyond it `Observer::ready` makes the
    /// wire wait. Default 16 MiB.
    pub max_queued_bytes: usize,
    /// The longest an ended exchange waits for its commit. Default 200 ms.
    pub commit_interval: Duration,
    /// How long an exchange goes on before it is written although it is open. Default 1 s.
    pub open_after: Duration,
    /// Bytes of one body that are stored; the rest passes and is counted. Default none.
    pub max_body_bytes: Option<u64>,
    /// How long a write that the disk refuses is tried again, with the wire waiting behind it, before that is told as a
    /// failure and `on_disk_failure` holds. Default 5 s.
    pub disk_patience: Duration,
    /// What happens then. Default [`OnDiskFailure::Hold`].
    pub on_disk_failure: OnDiskFailure,
    /// Exchanges that a scratch session keeps; beyond it the oldest are evicted. Default no limit.
    pub max_exchanges: Option<u64>,
    /// How long a scratch session keeps exchanges; older ones are evicted, whether others come or not. Default for ever.
    pub max_age: Option<Duration>,
    /// What a power cut may cost. Default [`SyncPolicy::Normal`].
    pub sync: SyncPolicy,
    /// When the index of texts is built. Default [`IndexPolicy::WhenIdle`].
    pub index: IndexPolicy,
    /// Makes the disk fail, for tests. Default not.
    pub faults: DiskFaults,
}

/// What a recorder does with traffic that a failing disk does not take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnDiskFailure {
    /// The wire waits until the disk takes it: nothing passes unrecorded.
    #[default]
    Hold,
    /// Traffic goes on, and what is not recorded is counted.
    Drop,
}

/// When written data is forced to the disk. A killed process costs the same under all: what was not committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SyncPolicy {
    /// Before each checkpoint of the database's log, about every 16 MiB and every 32 at most. A power cut may cost what
    /// was committed since, and the ends of large bodies; the database stays whole.
    #[default]
    Normal,
    /// With each commit, large bodies included. A power cut costs what was not committed.
    Full,
    /// Never: the system writes when it likes. A power cut may damage the database.
    Off,
}

/// When the index of texts is built, which searches of URLs, fields and bodies ask first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum IndexPolicy {
    /// While little is recorded, by a thread that works half of the time at most.
    #[default]
    WhenIdle,
    /// Not by the recorder; [`Store::build_index`](crate::Store::build_index) builds it all the same.
    Never,
}

impl Default for RecorderConfig {
    fn default() -> Self {
        Self {
            max_queued_bytes: 16 * 1024 * 1024,
            commit_interval: Duration::from_millis(200),
            open_after: Duration::from_secs(1),
            max_body_bytes: None,
            disk_patience: Duration::from_secs(5),
            on_disk_failure: OnDiskFailure::Hold,
            max_exchanges: None,
            max_age: None,
            sync: SyncPolicy::Normal,
            index: IndexPolicy::WhenIdle,
            faults: DiskFaults::default(),
        }
    }
}

/// The session to record into.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SessionSpec {
    /// A new unnamed session, evicted oldest first beyond `max_bytes`. No body is kept beyond half of it.
    Scratch {
        /// Its limit; `None` for the default of 1 GiB.
        max_bytes: Option<u64>,
    },
    /// A new named session, which stops recording at `max_bytes`.
    Named {
        /// Its name.
        name: String,
        /// Its limit; `None` for no limit.
        max_bytes: Option<u64>,
    },
}
