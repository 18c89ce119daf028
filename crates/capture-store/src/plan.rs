//! What of a question the database answers, and what is left to look at.

use crate::{
    condition::{Condition, Cost, Pattern},
    db::Filter,
    index::Narrow,
    needle::Needle,
    query::Query,
};

/// A question taken apart.
pub(crate) struct Plan {
    /// What the database tells: no fewer exchanges than match.
    pub(crate) filter: Filter,
    /// What is to be asked of each exchange that passes; `None` where the database tells all.
    pub(crate) rest: Option<Condition>,
    /// A text that every match holds.
    pub(crate) probe: Option<Probe>,
    /// What the index of texts is asked, where it can answer a part.
    pub(crate) narrow: Option<Narrow>,
}

/// A text that every match holds, looked for in stored bytes before anything is decoded.
#[derive(Clone, Debug)]
pub(crate) struct Probe {
    pub(crate) needle: Needle,
    pub(crate) heads: Heads,
    pub(crate) bodies: Bodies,
}

/// Whether the text may be in the URL and the fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heads {
    Possible,
    Impossible,
}

/// Whether the text may be in bodies and messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bodies {
    Possible,
    Impossible,
}

impl Plan {
    pub(crate) fn new(query: &Query) -> Self {
        let mut filter = Filter::new(query.session);
        let mut rest = Vec::new();
        let conditions = query.conditions();
        let narrow = Narrow::all(conditions.iter().filter_map(Narrow::of));
        for condition in conditions {
            if !filter.add(&condition) {
                rest.push(condition);
            }
        }
        let probe = rest.iter().find_map(Probe::of);
        let rest = (!rest.is_empty()).then(|| Condition::All(rest).simplified());
        Self { filter, rest, probe, narrow }
    }

    /// Whether bodies or messages have to be read.
    pub(crate) fn reads_content(&self) -> bool {
        self.rest.as_ref().is_some_and(|rest| rest.cost() == Cost::Content)
    }
}

impl Probe {
    /// What a search looks for.
    pub(crate) fn search(text: &str, case_sensitive: bool, bodies: Bodies) -> Option<Self> {
        let needle = Needle::new(text, case_sensitive);
        (!needle.is_empty()).then_some(Self { needle, heads: Heads::Possible, bodies })
    }

    /// The text that a condition cannot hold without.
    fn of(condition: &Condition) -> Option<Self> {
        let (pattern, heads): (&Pattern, _) = match condition {
            Condition::Body { pattern, .. } => (pattern, Heads::Impossible),
            Condition::Anywhere(pattern) => (pattern, Heads::Possible),
            _ => return None,
        };
        let needle = Needle::new(pattern.needle()?, false);
        (!needle.is_empty()).then_some(Self { needle, heads, bodies: Bodies::Possible })
    }
}
