//! What the matcher of one rule says of an exchange, check by check.

use std::collections::{BTreeMap, BTreeSet};

use proxy_core::rules::{Check, Holds, Matched, RuleExplanation};
use schemars::JsonSchema;
use serde::Serialize;

use crate::budget::cut;

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RuleResult {
    rule_id: String,
    enabled: bool,
    priority: i32,
    description: String,
    /// Its matcher holds.
    matched: bool,
    /// It would apply: it is enabled, it matches, and no rule before it ended the round.
    eligible: bool,
    /// `no`, `yes`, `perhaps` (left to chance) or `unknown` (something cannot be seen; then it does not apply).
    verdict: &'static str,
    checks: Checks,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Checks {
    method: CheckView,
    url_pattern: CheckView,
    hostname: CheckView,
    path_pattern: CheckView,
    headers: CheckView,
    body_includes: CheckView,
    /// The other parts of the matcher, as docs/rules.md names them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    others: BTreeMap<&'static str, CheckView>,
}

#[derive(Debug, Default, Serialize, JsonSchema)]
struct CheckView {
    /// The matcher has this part.
    applies: bool,
    passed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actual: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// Whether the matcher holds, as far as that can be told.
pub(super) fn is_matched(rule: &RuleExplanation) -> bool {
    matches!(rule.matched, Matched::Yes | Matched::Perhaps)
}

impl RuleResult {
    pub(super) fn of(rule: &RuleExplanation) -> Self {
        let verdict = match rule.matched {
            Matched::Yes => "yes",
            Matched::No => "no",
            Matched::Perhaps => "perhaps",
            _ => "unknown",
        };
        Self {
            rule_id: rule.id.clone(),
            enabled: rule.enabled,
            priority: rule.priority,
            description: rule.name.clone(),
            matched: is_matched(rule),
            eligible: rule.applies,
            verdict,
            checks: Checks::of(&rule.checks),
        }
    }
}

impl Checks {
    fn of(checks: &[Check]) -> Self {
        const NAMED: [&str; 6] = ["method", "url", "host", "path", "headers", "body"];
        let part = |name: &str| CheckView::of(checks.iter().filter(|check| check.part == name));
        let others: BTreeSet<_> =
            checks.iter().map(|check| check.part).filter(|part| !NAMED.contains(part)).collect();
        Self {
            method: part("method"),
            url_pattern: part("url"),
            hostname: part("host"),
            path_pattern: part("path"),
            headers: part("headers"),
            body_includes: part("body"),
            others: others.into_iter().map(|name| (name, part(name))).collect(),
        }
    }
}

impl CheckView {
    /// Several checks of one part as one: the first that does not hold, else the first.
    fn of<'c>(checks: impl Iterator<Item = &'c Check> + Clone) -> Self {
        let failed = checks.clone().find(|check| check.holds != Holds::Yes);
        let Some(check) = failed.or_else(|| checks.clone().next()) else {
            return Self { passed: true, ..Self::default() };
        };
        let reason = match check.holds {
            Holds::Yes => None,
            Holds::Unknown(why) => Some(why.to_owned()),
            _ => Some("it is something else".to_owned()),
        };
        Self {
            applies: true,
            passed: check.holds == Holds::Yes,
            expected: Some(cut(&check.expected, 300)),
            actual: Some(cut(&check.actual, 300)),
            reason,
        }
    }
}
