//! A rule: a matcher and what to do.

use serde::{Deserialize, Serialize};

use super::{
    action::{Action, Phase},
    error::RuleError,
    matcher::Matcher,
    pattern::ParsePatternError,
};

/// The priority of a rule that names none. Lower ones run first.
pub const DEFAULT_PRIORITY: i32 = 100;
/// The most actions a rule can have.
const MAX_ACTIONS: usize = 64;
/// The longest id, in bytes.
const MAX_ID_BYTES: usize = 64;

/// A matcher and the actions for what it matches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Rule {
    /// Its public id: letters, digits, `-`, `_` and `.`, at most 64. One is given where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "id")]
    pub id: Option<String>,
    /// What people call it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Whether it is looked at at all.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub enabled: bool,
    /// Lower ones run first, and among equals the older one.
    #[serde(default = "default_priority", skip_serializing_if = "is_default_priority")]
    pub priority: i32,
    /// Whether the rules after it are left out when it applies.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stop: bool,
    /// What an exchange must be like; every exchange without this.
    #[serde(default)]
    pub when: Matcher,
    /// What is done, in this order.
    #[serde(default)]
    pub then: Vec<Action>,
}

impl Rule {
    /// A rule for what a matcher matches, without actions: it only counts.
    #[must_use]
    pub fn when(when: Matcher) -> Self {
        Self {
            id: None,
            name: String::new(),
            enabled: true,
            priority: DEFAULT_PRIORITY,
            stop: false,
            when,
            then: Vec::new(),
        }
    }

    /// Adds an action.
    #[must_use]
    pub fn then(mut self, action: Action) -> Self {
        self.then.push(action);
        self
    }

    /// Gives it an id.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Names it.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Places it among the others; lower ones run first.
    #[must_use]
    pub fn with_priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }

    /// Leaves out the rules after it when it applies.
    #[must_use]
    pub fn and_stop(mut self) -> Self {
        self.stop = true;
        self
    }

    /// Has it wait to be enabled.
    #[must_use]
    pub fn disabled(mut self) -> Self {
        self.enabled = false;
        self
    }

    /// Reads one from JSON.
    ///
    /// # Errors
    /// When it is no rule; the error says where.
    pub fn from_json(text: &str) -> Result<Self, RuleError> {
        super::file::rule_from_json(text)
    }

    /// Writes it as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Everything in a rule has a form in JSON, and the keys of its maps are texts.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// When it decides: with the request, or with the response where its matcher looks at that.
    #[must_use]
    pub fn decides_in(&self) -> Phase {
        if self.when.looks_at_response() { Phase::Response } else { Phase::Request }
    }

    /// Whether something in it ends the round when it applies.
    #[must_use]
    pub fn ends_the_round(&self) -> bool {
        self.stop || self.then.iter().any(Action::ends_the_round)
    }

    /// Checks what its parts cannot check for themselves.
    ///
    /// # Errors
    /// When an action cannot run where it is, or the id is none.
    pub(super) fn check(&self) -> Result<(), RuleError> {
        let refuse = |path: String, problem: &str| Err(RuleError::parse("a rule", problem).within(&path));
        if let Some(id) = &self.id {
            check_id(id).map_err(|error| RuleError::parse("a rule", error.0).within("id"))?;
        }
        if self.then.len() > MAX_ACTIONS {
            return refuse("then".to_owned(), "a rule has at most 64 actions");
        }
        let decided = self.decides_in();
        let mut ended = false;
        for (at, action) in self.then.iter().enumerate() {
            if ended {
                return refuse(
                    format!("then[{at}]"),
                    "nothing runs after an action that answers or ends the exchange",
                );
            }
            ended = action.ends_the_round();
            if decided == Phase::Response && action.is_for_requests_only() {
                let problem = format!(
                    "`{}` changes the request, but the rule decides when the response is there; match the request only",
                    action.name()
                );
                return refuse(format!("then[{at}]"), &problem);
            }
        }
        Ok(())
    }
}

fn check_id(id: &str) -> Result<(), ParsePatternError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if id.is_empty() || id.len() > MAX_ID_BYTES || !id.bytes().all(plain) {
        return Err(ParsePatternError(
            "a rule's id is 1 to 64 letters, digits, dots, hyphens and underscores".to_owned(),
        ));
    }
    Ok(())
}

fn id<'de, D: serde::Deserializer<'de>>(source: D) -> Result<Option<String>, D::Error> {
    let id = Option::<String>::deserialize(source)?;
    id.as_deref().map_or(Ok(()), check_id).map_err(serde::de::Error::custom)?;
    Ok(id)
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_yes(flag: &bool) -> bool {
    *flag
}

fn default_priority() -> i32 {
    DEFAULT_PRIORITY
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_default_priority(priority: &i32) -> bool {
    *priority == DEFAULT_PRIORITY
}
