//! What is expected, and whether it came.

use capture_store::{Condition, Seq};

use super::{ExpectParams, filter, watching::Watching};
use crate::error::ToolError;

/// Exchanges that show a count.
const MAX_EVIDENCE: usize = 10;

/// What is expected.
pub(super) struct Wanted {
    filter: Option<String>,
    min: usize,
    max: Option<usize>,
    order: Vec<String>,
}

/// Whether it came.
pub(super) struct Judged {
    pub(super) passed: bool,
    pub(super) verdict: String,
    pub(super) evidence: Vec<Seq>,
    pub(super) missing: Vec<String>,
    /// Whether more of it can only be too much.
    exceeded: bool,
}

impl Wanted {
    pub(super) fn new(params: &ExpectParams) -> Result<Self, ToolError> {
        if params.count.is_some() && (params.min.is_some() || params.max.is_some()) {
            return Err(ToolError::invalid("count cannot be given with min or max")
                .hint("count is exact; give min, max or both for a span"));
        }
        let min = params.count.or(params.min);
        let max = params.count.or(params.max);
        let counted = params.filter.is_some() || min.is_some() || max.is_some();
        if !counted && params.order.is_empty() {
            return Err(ToolError::invalid("nothing is expected").hint("give filter, count, max or order"));
        }
        // What is not said is that there is one; next to an order, or under a maximum, nothing is.
        let least = u32::from(params.order.is_empty() && max.is_none());
        let (min, max) = (min.unwrap_or(least) as usize, max.map(|max| max as usize));
        if max.is_some_and(|max| max < min) {
            return Err(ToolError::invalid("max is below min").hint("give max at least as large as min"));
        }
        Ok(Self { filter: params.filter.clone(), min, max, order: params.order.clone() })
    }

    /// The filters: what is counted first, then the steps of the order.
    pub(super) fn conditions(&self) -> Result<Vec<Option<Condition>>, ToolError> {
        let mut all = vec![filter("filter", self.filter.as_deref())?];
        for (at, step) in self.order.iter().enumerate() {
            let condition = filter(&format!("order[{at}]"), Some(step))?;
            all.push(Some(condition.ok_or_else(|| {
                ToolError::invalid(format!("order[{at}] is empty")).hint("write a filter such as path:/login")
            })?));
        }
        Ok(all)
    }

    /// Judges what came so far.
    pub(super) fn judge(&self, watching: &Watching) -> Result<Judged, ToolError> {
        let found = watching.matched(0);
        let exceeded = self.max.is_some_and(|max| found > max);
        let counted = found >= self.min && !exceeded;
        let (steps, missing) = self.follow(watching)?;
        let passed = counted && missing.is_empty();
        let mut verdict = format!("{found} of {} expected", self.span());
        if !self.order.is_empty() {
            let done = self.order.len() - missing.len();
            verdict.push_str(&format!("; {done} of {} steps in order", self.order.len()));
        }
        let evidence = match self.order.is_empty() {
            false => steps,
            true => {
                let kept = watching.kept(0);
                let from = if exceeded { kept.len().saturating_sub(MAX_EVIDENCE) } else { 0 };
                kept.iter().skip(from).take(MAX_EVIDENCE).copied().collect()
            }
        };
        Ok(Judged { passed, verdict, evidence, missing, exceeded })
    }

    fn span(&self) -> String {
        match (self.min, self.max) {
            (min, Some(max)) if min == max => format!("exactly {min}"),
            (0, Some(max)) => format!("at most {max}"),
            (min, Some(max)) => format!("{min} to {max}"),
            (min, None) => format!("at least {min}"),
        }
    }

    /// Goes through the order: of each step the first exchange that began after the one before.
    fn follow(&self, watching: &Watching) -> Result<(Vec<Seq>, Vec<String>), ToolError> {
        let (mut steps, mut last) = (Vec::new(), None);
        for at in 0..self.order.len() {
            let mut all = watching.summaries(watching.kept(at + 1).iter().copied())?;
            all.sort_by_key(|summary| (summary.started_at, summary.seq));
            let next =
                all.iter().find(|summary| last.is_none_or(|last| (summary.started_at, summary.seq) > last));
            match next {
                Some(next) => {
                    last = Some((next.started_at, next.seq));
                    steps.push(next.seq);
                }
                None => {
                    let rest = self.order[at..].iter().cloned();
                    return Ok((steps, rest.collect()));
                }
            }
        }
        Ok((steps, Vec::new()))
    }
}

impl Judged {
    /// Whether waiting longer changes nothing: it passed and has no maximum, or the maximum is exceeded.
    pub(super) fn is_settled(&self, wanted: &Wanted) -> bool {
        self.exceeded || (self.passed && wanted.max.is_none())
    }
}
