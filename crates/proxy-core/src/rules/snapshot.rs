//! All rules at one moment, ready to be matched.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use super::{index::Index, rule::Rule};

/// A rule that is in force, with its count.
pub struct ActiveRule {
    pub(super) id: String,
    pub(super) rule: Rule,
    pub(super) created_at: SystemTime,
    pub(super) tally: Arc<Tally>,
}

impl ActiveRule {
    /// Its public id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What it is.
    #[must_use]
    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    /// When it was made.
    #[must_use]
    pub fn created_at(&self) -> SystemTime {
        self.created_at
    }

    /// How many exchanges it applied to since it was made; edits keep the count.
    #[must_use]
    pub fn hit_count(&self) -> u64 {
        self.tally.hits.load(Ordering::Relaxed)
    }

    /// When it last applied.
    #[must_use]
    pub fn last_hit(&self) -> Option<SystemTime> {
        let ms = self.tally.last_hit_ms.load(Ordering::Relaxed);
        (ms > 0).then(|| SystemTime::UNIX_EPOCH + Duration::from_millis(ms))
    }
}

impl fmt::Debug for ActiveRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActiveRule").field("id", &self.id).field("rule", &self.rule).finish_non_exhaustive()
    }
}

/// What a rule counts.
#[derive(Debug, Default)]
pub(super) struct Tally {
    hits: AtomicU64,
    /// Since 1970; 0 for never.
    last_hit_ms: AtomicU64,
    /// Exchanges for which everything but `nth` and `probability` held.
    met: AtomicU64,
}

impl Tally {
    pub(super) fn hit(&self, now: SystemTime) {
        self.hits.fetch_add(1, Ordering::Relaxed);
        let ms = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        self.last_hit_ms.fetch_max(u64::try_from(ms).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Counts one more exchange that met the matcher, and says which one it is, from 1.
    pub(super) fn meet(&self) -> u64 {
        self.met.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Which one the next would be.
    pub(super) fn next_meeting(&self) -> u64 {
        self.met.load(Ordering::Relaxed) + 1
    }

    pub(super) fn forget_meetings(&self) {
        self.met.store(0, Ordering::Relaxed);
    }
}

/// All rules at one moment. An exchange keeps the one it began with.
pub(super) struct Snapshot {
    /// Every rule, by age.
    pub(super) all: Vec<Arc<ActiveRule>>,
    /// The enabled ones, in the order they run.
    pub(super) order: Vec<Arc<ActiveRule>>,
    pub(super) index: Index,
}

impl Snapshot {
    pub(super) fn new(all: Vec<Arc<ActiveRule>>) -> Self {
        let mut order: Vec<_> = all.iter().filter(|rule| rule.rule.enabled).cloned().collect();
        order.sort_by_key(|rule| rule.rule.priority);
        let index = Index::new(order.iter().map(|rule| &rule.rule.when));
        Self { all, order, index }
    }

    pub(super) fn find(&self, id: &str) -> Option<usize> {
        self.all.iter().position(|rule| rule.id == id)
    }
}
