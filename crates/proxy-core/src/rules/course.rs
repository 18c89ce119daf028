//! Rules on a live exchange: which of them apply, in two steps.

use std::{ops::ControlFlow, sync::Arc, time::SystemTime};

use super::{
    action::{Action, Phase},
    evaluate::{self, Quick},
    handle::Rules,
    rule::Rule,
    snapshot::{ActiveRule, Snapshot},
    subject::{Answered, Asked, Subject},
};

/// The way of one exchange through the rules: one snapshot from its head to its end.
///
/// Rules see the request as the client sent it and the response as upstream sent it, whatever rules before them changed.
pub struct Course {
    rules: Rules,
    snapshot: Arc<Snapshot>,
    tense: Tense,
    /// Places in the order of rules that may match.
    candidates: Vec<u32>,
    /// Rules whose request checks hold, and that decide when the response is there.
    pending: Vec<u32>,
    /// Rules that apply since the request.
    applied: Vec<u32>,
}

/// Whether it happens, or is only foreseen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tense {
    /// Hits are counted, and chance is drawn.
    Present,
    /// Nothing is counted; what has a chance is taken to happen.
    Future,
}

/// What is to be done now: actions in the order they run.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Rules that have come to apply in this phase, in order. Each is one hit, also without a step.
    pub hits: Vec<Arc<ActiveRule>>,
    /// The actions to run now, in order. Nothing follows one that [ends the round](Action::ends_the_round).
    pub steps: Vec<Step>,
}

/// One action of one rule.
#[derive(Clone, Debug)]
pub struct Step {
    rule: Arc<ActiveRule>,
    action: usize,
}

impl Step {
    /// The rule's public id.
    #[must_use]
    pub fn rule_id(&self) -> &str {
        &self.rule.id
    }

    /// The rule.
    #[must_use]
    pub fn rule(&self) -> &Rule {
        &self.rule.rule
    }

    /// What to do.
    #[must_use]
    pub fn action(&self) -> &Action {
        &self.rule.rule.then[self.action]
    }
}

impl Course {
    /// Begins an exchange. `None` when no rule can match it: nothing of what follows is needed then.
    #[must_use]
    pub fn begin(rules: &Rules, asked: &Asked<'_>) -> Option<Self> {
        let snapshot = rules.enabled()?;
        let on = Subject::new(*asked);
        let candidates = snapshot.index.candidates(&on);
        if candidates.is_empty() {
            return None;
        }
        Some(Self::over(rules.clone(), snapshot, candidates, Tense::Present))
    }

    /// Foresees an exchange over every enabled rule of a snapshot, without counting anything.
    pub(super) fn foresee(rules: &Rules, snapshot: Arc<Snapshot>) -> Self {
        let candidates = (0..).take(snapshot.order.len()).collect();
        Self::over(rules.clone(), snapshot, candidates, Tense::Future)
    }

    fn over(rules: Rules, snapshot: Arc<Snapshot>, candidates: Vec<u32>, tense: Tense) -> Self {
        Self { rules, snapshot, tense, candidates, pending: Vec::new(), applied: Vec::new() }
    }

    /// Whether a rule needs the request's body before it can decide. Asked before [`request`](Self::request), with the
    /// head alone.
    #[must_use]
    pub fn needs_request_body(&self, asked: &Asked<'_>) -> bool {
        let on = Subject::new(*asked);
        for rule in self.candidates.iter().map(|at| &self.snapshot.order[*at as usize].rule) {
            if evaluate::request_head(&rule.when, &on, &mut Quick).is_break() {
                continue;
            }
            if rule.when.looks_at_request_body() {
                return true;
            }
            if rule.ends_the_round() && !rule.when.looks_at_response() && !rule.when.is_occasional() {
                return false;
            }
        }
        false
    }

    /// Decides the rules that look at the request only, and says what they do before upstream is asked. Called once.
    pub fn request(&mut self, asked: &Asked<'_>, now: SystemTime) -> Plan {
        let on = Subject::new(*asked);
        let mut plan = Plan::default();
        for at in std::mem::take(&mut self.candidates) {
            let active = &self.snapshot.order[at as usize];
            let when = &active.rule.when;
            let held = evaluate::request_head(when, &on, &mut Quick).is_continue()
                && evaluate::request_body(when, &on, &mut Quick).is_continue();
            if !held {
                continue;
            }
            if when.looks_at_response() {
                self.pending.push(at);
                continue;
            }
            if !self.happens(active, now) {
                continue;
            }
            self.applied.push(at);
            plan.hits.push(active.clone());
            let ended = plan.add(active, Phase::Request);
            if ended.is_break() || active.rule.stop {
                break;
            }
        }
        plan
    }

    /// Whether a rule needs the response's body before it can decide. Asked before [`response`](Self::response), with
    /// the head alone.
    #[must_use]
    pub fn needs_response_body(&self, answered: &Answered<'_>) -> bool {
        self.pending.iter().map(|at| &self.snapshot.order[*at as usize].rule).any(|rule| {
            rule.when.looks_at_response_body()
                && evaluate::response_head(&rule.when, answered, &mut Quick).is_continue()
        })
    }

    /// Decides the rules that look at the response, and says what they and those that apply since the request do before
    /// the client gets it. Called once.
    pub fn response(&mut self, answered: &Answered<'_>, now: SystemTime) -> Plan {
        let mut plan = Plan::default();
        let mut waiting: Vec<_> =
            std::mem::take(&mut self.pending).into_iter().map(|at| (at, true)).collect();
        waiting.extend(self.applied.iter().map(|at| (*at, false)));
        waiting.sort_unstable();
        for (at, undecided) in waiting {
            let active = &self.snapshot.order[at as usize];
            if undecided {
                let when = &active.rule.when;
                let holds = evaluate::response_head(when, answered, &mut Quick).is_continue()
                    && evaluate::response_body(when, answered, &mut Quick).is_continue()
                    && self.happens(active, now);
                if !holds {
                    continue;
                }
                plan.hits.push(active.clone());
            }
            let ended = plan.add(active, Phase::Response);
            if ended.is_break() || (undecided && active.rule.stop) {
                break;
            }
        }
        plan
    }

    /// What the rules that apply since the request do to an answer that is not upstream's: a rule's, or the proxy's own.
    #[must_use]
    pub fn own_answer(&self) -> Plan {
        let mut plan = Plan::default();
        for at in &self.applied {
            if plan.add(&self.snapshot.order[*at as usize], Phase::Response).is_break() {
                break;
            }
        }
        plan
    }

    /// Whether nothing can happen to the response any more.
    #[must_use]
    pub fn is_done_with_response(&self) -> bool {
        let quiet = |at: &u32| {
            let rule = &self.snapshot.order[*at as usize].rule;
            !rule.then.iter().any(|action| action.runs_in(Phase::Response, rule.decides_in()))
        };
        self.pending.is_empty() && self.applied.iter().all(quiet)
    }

    /// A number from 0 up to 1, by chance, for jitter.
    #[must_use]
    pub fn luck(&self) -> f64 {
        self.rules.luck()
    }

    /// Decides what counts, chance and the clock have a say in; counts the hit.
    fn happens(&self, active: &ActiveRule, now: SystemTime) -> bool {
        let when = &active.rule.when;
        let present = self.tense == Tense::Present;
        if when.window.is_some_and(|window| !window.contains(now)) {
            return false;
        }
        let meeting = || if present { active.tally.meet() } else { active.tally.next_meeting() };
        if when.nth.is_some_and(|nth| !nth.holds(meeting())) {
            return false;
        }
        let drawn = || if present { self.rules.luck() } else { 0.0 };
        if when.probability.is_some_and(|probability| drawn() >= probability.share()) {
            return false;
        }
        if present {
            active.tally.hit(now);
        }
        true
    }
}

impl Plan {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Adds the actions of a rule that run in this phase; breaks when one ends the round.
    fn add(&mut self, active: &Arc<ActiveRule>, phase: Phase) -> ControlFlow<()> {
        let rule = &active.rule;
        let decided = rule.decides_in();
        for (at, action) in rule.then.iter().enumerate() {
            if action.runs_in(phase, decided) {
                self.steps.push(Step { rule: active.clone(), action: at });
                if action.ends_the_round() {
                    return ControlFlow::Break(());
                }
            }
        }
        ControlFlow::Continue(())
    }
}
