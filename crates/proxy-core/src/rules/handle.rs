//! The handle that rules are edited through.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    hash::{BuildHasher, RandomState},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::SystemTime,
};

use super::{
    error::{RuleError, RuleErrorKind},
    file::{self, FileFormat, MAX_RULES},
    rule::Rule,
    snapshot::{ActiveRule, Snapshot},
};

/// The rules of a proxy: a handle to be cloned and edited while exchanges run.
///
/// An edit makes a new snapshot and swaps it in. Exchanges under way keep theirs, connections and listeners do not
/// notice. An edit that is refused changes nothing. With no rule enabled an exchange pays one atomic load.
#[derive(Clone)]
pub struct Rules(Arc<Inner>);

struct Inner {
    current: RwLock<Arc<Snapshot>>,
    /// How many are enabled.
    enabled: AtomicUsize,
    /// Held over an edit; what number the next id gets.
    editing: Mutex<u64>,
    luck: AtomicU64,
}

impl Default for Rules {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules").field("rules", &self.list().len()).finish_non_exhaustive()
    }
}

impl Rules {
    /// No rules yet.
    #[must_use]
    pub fn new() -> Self {
        Self::with_seed(RandomState::new().hash_one(SystemTime::now()))
    }

    /// No rules yet, and chance that comes out the same each time.
    #[must_use]
    pub fn with_seed(seed: u64) -> Self {
        Self(Arc::new(Inner {
            current: RwLock::new(Arc::new(Snapshot::new(Vec::new()))),
            enabled: AtomicUsize::new(0),
            editing: Mutex::new(1),
            luck: AtomicU64::new(seed),
        }))
    }

    /// Every rule, in the order they run, those that are not enabled among them.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<ActiveRule>> {
        let mut all = self.current().all.clone();
        all.sort_by_key(|rule| rule.rule.priority);
        all
    }

    /// One rule.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<Arc<ActiveRule>> {
        let current = self.current();
        current.find(id).map(|at| current.all[at].clone())
    }

    /// Adds a rule, which gets an id if it has none.
    ///
    /// # Errors
    /// When its parts do not go together, its id is taken, or there are [`MAX_RULES`] already.
    pub fn add(&self, rule: Rule) -> Result<Arc<ActiveRule>, RuleError> {
        rule.check()?;
        self.edit(|all, ids| {
            if all.len() >= MAX_RULES {
                return Err(RuleErrorKind::TooMany(MAX_RULES).into());
            }
            let added = Arc::new(ids.activate(rule, all)?);
            all.push(added.clone());
            Ok(added)
        })
    }

    /// Changes a rule in its place. Its id, its age and its counts stay; `nth` counts anew when the matcher changes.
    ///
    /// # Errors
    /// When there is no such rule, or `change` or the check of its result fails.
    pub fn update(
        &self,
        id: &str,
        change: impl FnOnce(&mut Rule) -> Result<(), RuleError>,
    ) -> Result<Arc<ActiveRule>, RuleError> {
        self.edit(|all, _| {
            let at = position(all, id)?;
            let old = &all[at];
            let mut rule = old.rule.clone();
            change(&mut rule)?;
            rule.id = Some(old.id.clone());
            rule.check()?;
            all[at] = Arc::new(successor(old, rule));
            Ok(all[at].clone())
        })
    }

    /// Merges a JSON object into a rule (RFC 7396): what is given replaces what was there, null takes it out.
    ///
    /// # Errors
    /// When there is no such rule, or the result is none; the error says where.
    pub fn merge(&self, id: &str, patch: &str) -> Result<Arc<ActiveRule>, RuleError> {
        let patch: serde_json::Value =
            serde_json::from_str(patch).map_err(|error| RuleError::parse("a rule", error.to_string()))?;
        self.update(id, |rule| {
            let mut whole = serde_json::to_value(&*rule)
                .map_err(|error| RuleError::parse("a rule", error.to_string()))?;
            json_patch::merge(&mut whole, &patch);
            *rule = Rule::from_json(&whole.to_string())?;
            Ok(())
        })
    }

    /// Takes a rule out.
    ///
    /// # Errors
    /// When there is no such rule.
    pub fn remove(&self, id: &str) -> Result<Arc<ActiveRule>, RuleError> {
        self.edit(|all, _| Ok(all.remove(position(all, id)?)))
    }

    /// Has a rule looked at again.
    ///
    /// # Errors
    /// When there is no such rule.
    pub fn enable(&self, id: &str) -> Result<Arc<ActiveRule>, RuleError> {
        self.update(id, |rule| {
            rule.enabled = true;
            Ok(())
        })
    }

    /// Has a rule not looked at any more.
    ///
    /// # Errors
    /// When there is no such rule.
    pub fn disable(&self, id: &str) -> Result<Arc<ActiveRule>, RuleError> {
        self.update(id, |rule| {
            rule.enabled = false;
            Ok(())
        })
    }

    /// Puts these rules in the place of all there are, in one step. One with the id of an old rule keeps its counts and
    /// its age.
    ///
    /// # Errors
    /// When one of them is not right, or two have one id; then the old ones stay, all of them.
    pub fn replace_all(&self, rules: Vec<Rule>) -> Result<(), RuleError> {
        for (at, rule) in rules.iter().enumerate() {
            rule.check().map_err(|error| error.within(&format!("rules[{at}]")))?;
        }
        if rules.len() > MAX_RULES {
            return Err(RuleErrorKind::TooMany(MAX_RULES).into());
        }
        self.edit(|all, ids| {
            let old: HashMap<_, _> = all.drain(..).map(|rule| (rule.id.clone(), rule)).collect();
            // Ids that are given are taken before new ones are made.
            let mut given = HashSet::new();
            for rule in &rules {
                if let Some(id) = &rule.id
                    && !given.insert(id.clone())
                {
                    return Err(RuleErrorKind::DuplicateId(id.clone()).into());
                }
            }
            for mut rule in rules {
                let id = rule
                    .id
                    .clone()
                    .unwrap_or_else(|| ids.fresh(|id| given.contains(id) || old.contains_key(id)));
                rule.id = Some(id.clone());
                let next = match old.get(&id) {
                    Some(old) => successor(old, rule),
                    None => active(id, rule),
                };
                all.push(Arc::new(next));
            }
            Ok(())
        })
    }

    /// Puts the rules of a text in the place of all there are, as [`replace_all`](Self::replace_all).
    ///
    /// # Errors
    /// When the text has something wrong in it; the error says where, and the old rules stay.
    pub fn replace_with_text(&self, text: &str, format: FileFormat) -> Result<(), RuleError> {
        self.replace_all(file::parse(text, format)?)
    }

    /// Puts the rules of a file (`.toml` or `.json`) in the place of all there are.
    ///
    /// # Errors
    /// When it cannot be read or has something wrong in it; the error says where, and the old rules stay.
    pub fn load(&self, path: impl AsRef<Path>) -> Result<(), RuleError> {
        let path = path.as_ref();
        self.replace_all(file::load(path)?).map_err(|mut error| {
            error.place.file = Some(path.to_owned());
            error
        })
    }

    /// Writes the rules down, by age.
    ///
    /// # Errors
    /// When one has a JSON null in it, which TOML cannot say.
    pub fn to_text(&self, format: FileFormat) -> Result<String, RuleError> {
        let current = self.current();
        let rules: Vec<_> = current.all.iter().map(|rule| &rule.rule).collect();
        file::print(&rules, format)
    }

    /// Whether no rule is enabled.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.0.enabled.load(Ordering::Acquire) == 0
    }

    /// The snapshot to match against; `None` while no rule is enabled.
    pub(super) fn enabled(&self) -> Option<Arc<Snapshot>> {
        if self.0.enabled.load(Ordering::Acquire) == 0 { None } else { Some(self.current()) }
    }

    pub(super) fn current(&self) -> Arc<Snapshot> {
        self.0.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A number from 0 up to 1, by chance (SplitMix64: Steele, Lea, Flood 2014).
    pub(crate) fn luck(&self) -> f64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut word = self.0.luck.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^= word >> 31;
        // The upper 53 bits, which a float holds exactly.
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
        let share = (word >> 11) as f64 / (1_u64 << 53) as f64;
        share
    }

    /// Runs one edit on a copy, and swaps it in when it went well.
    fn edit<T>(
        &self,
        change: impl FnOnce(&mut Vec<Arc<ActiveRule>>, &mut Ids<'_>) -> Result<T, RuleError>,
    ) -> Result<T, RuleError> {
        let mut next_id = self.0.editing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = self.current().all.clone();
        let done = change(&mut all, &mut Ids { next: &mut next_id })?;
        let next = Snapshot::new(all);
        let enabled = next.order.len();
        let before = {
            let mut current = self.0.current.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *current, Arc::new(next))
        };
        self.0.enabled.store(enabled, Ordering::Release);
        // The old one may be the last of its kind; readers do not wait while it is taken apart.
        drop(before);
        Ok(done)
    }
}

/// Gives out ids, none of them twice.
struct Ids<'n> {
    next: &'n mut u64,
}

impl Ids<'_> {
    fn fresh(&mut self, taken: impl Fn(&str) -> bool) -> String {
        loop {
            let id = format!("r{}", self.next);
            *self.next += 1;
            if !taken(&id) {
                return id;
            }
        }
    }

    fn activate(&mut self, mut rule: Rule, all: &[Arc<ActiveRule>]) -> Result<ActiveRule, RuleError> {
        let taken = |id: &str| all.iter().any(|rule| rule.id == id);
        let id = match rule.id.take() {
            Some(id) if taken(&id) => return Err(RuleErrorKind::DuplicateId(id).into()),
            Some(id) => id,
            None => self.fresh(taken),
        };
        rule.id = Some(id.clone());
        Ok(active(id, rule))
    }
}

fn active(id: String, rule: Rule) -> ActiveRule {
    ActiveRule { id, rule, created_at: SystemTime::now(), tally: Arc::default() }
}

/// The same rule in a new form.
fn successor(old: &ActiveRule, rule: Rule) -> ActiveRule {
    if old.rule.when != rule.when {
        old.tally.forget_meetings();
    }
    ActiveRule { id: old.id.clone(), rule, created_at: old.created_at, tally: old.tally.clone() }
}

fn position(all: &[Arc<ActiveRule>], id: &str) -> Result<usize, RuleError> {
    all.iter().position(|rule| rule.id == id).ok_or_else(|| RuleErrorKind::UnknownId(id.to_owned()).into())
}
