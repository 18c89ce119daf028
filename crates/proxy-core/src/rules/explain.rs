//! Why a rule would apply to an exchange, or would not.

use std::{fmt::Display, ops::ControlFlow, time::SystemTime};

use super::{
    action::Phase,
    course::{Course, Plan},
    evaluate::{self, Holds, Sink},
    handle::Rules,
    snapshot::ActiveRule,
    subject::{Answered, Asked, Subject},
};

/// What the rules would do to an exchange, and why. Made by [`Rules::explain`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Explanation {
    /// Every rule, in the order they run, those that are not enabled among them.
    pub rules: Vec<RuleExplanation>,
    /// What would be done, in order.
    pub actions: Vec<Foreseen>,
}

/// One rule's part in an explanation.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RuleExplanation {
    /// Its public id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its priority.
    pub priority: i32,
    /// Whether it is enabled.
    pub enabled: bool,
    /// Whether its matcher holds, whatever other rules do.
    pub matched: Matched,
    /// Whether it would apply: it is enabled, it matches, and no rule before it ended the round.
    pub applies: bool,
    /// Each check of its matcher, all of them.
    pub checks: Vec<Check>,
}

/// Whether a matcher holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Matched {
    /// Every check holds.
    Yes,
    /// A check fails.
    No,
    /// Every check holds but for chance, which has a say.
    Perhaps,
    /// No check fails, but one cannot be decided: a body that is not there, a response that was not described. A live
    /// exchange with the same gap does not match.
    Unknown,
}

/// One check of a matcher.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Check {
    /// The part of the matcher: `method`, `url`, `headers`.
    pub part: &'static str,
    /// How it came out.
    pub holds: Holds,
    /// What it asks for, in words.
    pub expected: String,
    /// What there is, in words.
    pub actual: String,
}

/// An action that would run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Foreseen {
    /// The rule's public id.
    pub rule: String,
    /// The action's name in files.
    pub action: &'static str,
    /// When.
    pub phase: Phase,
}

/// Takes every check down.
#[derive(Default)]
struct Notes(Vec<Check>);

impl Sink for Notes {
    fn check(
        &mut self,
        part: &'static str,
        holds: Holds,
        expected: &dyn Display,
        actual: &dyn Fn() -> String,
    ) -> ControlFlow<()> {
        self.0.push(Check { part, holds, expected: expected.to_string(), actual: actual() });
        ControlFlow::Continue(())
    }
}

impl Rules {
    /// Says what the rules would do to an exchange, and why, with the functions that live exchanges go through. Nothing is
    /// counted and nothing drawn. Without a response, rules that look at it cannot be decided.
    #[must_use]
    pub fn explain(
        &self,
        asked: &Asked<'_>,
        answered: Option<&Answered<'_>>,
        now: SystemTime,
    ) -> Explanation {
        let snapshot = self.current();
        let mut course = Course::foresee(self, snapshot.clone());
        let mut actions = Vec::new();
        let mut applying = Vec::new();
        let mut take = |plan: Plan, phase| {
            applying.extend(plan.hits.iter().map(|rule| rule.id.clone()));
            let ended = plan.steps.last().is_some_and(|step| step.action().ends_the_round());
            actions.extend(plan.steps.iter().map(|step| Foreseen {
                rule: step.rule_id().to_owned(),
                action: step.action().name(),
                phase,
            }));
            ended
        };
        if take(course.request(asked, now), Phase::Request) {
            take(course.own_answer(), Phase::Response);
        } else if let Some(answered) = answered {
            take(course.response(answered, now), Phase::Response);
        } else {
            take(course.own_answer(), Phase::Response);
        }
        let mut all = snapshot.all.clone();
        all.sort_by_key(|rule| rule.rule.priority);
        let on = Subject::new(*asked);
        let rules = all.iter().map(|active| {
            let checks = checks(active, &on, answered, now);
            RuleExplanation {
                id: active.id.clone(),
                name: active.rule.name.clone(),
                priority: active.rule.priority,
                enabled: active.rule.enabled,
                matched: matched(&checks),
                applies: applying.contains(&active.id),
                checks,
            }
        });
        Explanation { rules: rules.collect(), actions }
    }
}

/// Runs every check of a rule. The sink never stops it.
fn checks(
    active: &ActiveRule,
    on: &Subject<'_>,
    answered: Option<&Answered<'_>>,
    now: SystemTime,
) -> Vec<Check> {
    let when = &active.rule.when;
    let mut notes = Notes::default();
    let _ = evaluate::request_head(when, on, &mut notes);
    let _ = evaluate::request_body(when, on, &mut notes);
    match answered {
        Some(answered) => {
            let _ = evaluate::response_head(when, answered, &mut notes);
            let _ = evaluate::response_body(when, answered, &mut notes);
        }
        None if when.looks_at_response() => notes.0.push(Check {
            part: "response",
            holds: Holds::Unknown("no response was described"),
            expected: "a response to look at".to_owned(),
            actual: "none".to_owned(),
        }),
        None => {}
    }
    let _ = evaluate::occasion(when, now, active.tally.next_meeting(), &mut notes);
    notes.0
}

fn matched(checks: &[Check]) -> Matched {
    let unknown = |check: &&Check| matches!(check.holds, Holds::Unknown(_));
    if checks.iter().any(|check| check.holds == Holds::No) {
        Matched::No
    } else if checks.iter().filter(unknown).any(|check| check.part != "probability") {
        Matched::Unknown
    } else if checks.iter().any(|check| unknown(&check)) {
        Matched::Perhaps
    } else {
        Matched::Yes
    }
}
