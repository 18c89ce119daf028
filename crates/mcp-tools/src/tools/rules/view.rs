//! Rules as tools show them.

use proxy_core::rules::ActiveRule;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::convert;
use crate::view::{is_false, millis};

/// A rule.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RuleView {
    id: String,
    priority: i32,
    enabled: bool,
    description: String,
    /// What an exchange must be like.
    matcher: MatcherView,
    /// What is done, in the reference server's words as far as they go.
    handler: HandlerView,
    /// What is done, all of it, as docs/rules.md has it.
    actions: Vec<Value>,
    /// It leaves out the rules after it when it applies.
    #[serde(skip_serializing_if = "is_false")]
    stop: bool,
    /// Exchanges it applied to.
    hit_count: u64,
    /// When it last applied.
    last_hit: Option<u64>,
    created_at: u64,
}

#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct MatcherView {
    #[serde(skip_serializing_if = "Option::is_none")]
    url_pattern: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hostname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_pattern: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_includes: Option<String>,
    /// The other parts, as docs/rules.md has them.
    #[serde(flatten)]
    more: Map<String, Value>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct HandlerView {
    /// passthrough, mock, forward or drop: the nearest.
    r#type: String,
    /// What else the reference server would say of it.
    #[serde(flatten)]
    more: Map<String, Value>,
}

impl RuleView {
    pub(super) fn of(active: &ActiveRule) -> Self {
        let rule = active.rule();
        let written = convert::written(rule);
        let mut more = convert::handler(rule);
        let r#type =
            more.remove("type").and_then(|kind| kind.as_str().map(str::to_owned)).unwrap_or_default();
        Self {
            id: active.id().to_owned(),
            priority: rule.priority,
            enabled: rule.enabled,
            description: rule.name.clone(),
            matcher: MatcherView::of(&written["when"]),
            handler: HandlerView { r#type, more },
            actions: written["then"].as_array().cloned().unwrap_or_default(),
            stop: rule.stop,
            hit_count: active.hit_count(),
            last_hit: active.last_hit().map(millis),
            created_at: millis(active.created_at()),
        }
    }
}

impl MatcherView {
    fn of(when: &Value) -> Self {
        let mut more = when.as_object().cloned().unwrap_or_default();
        // A pattern of one key, and no other, has a name of its own.
        let mut named = |part: &str, kind: &str| {
            let value = more.get(part)?;
            let text = match value.as_object() {
                Some(map) if map.len() == 1 => map.get(kind)?.as_str()?,
                Some(_) => return None,
                None if kind.is_empty() => value.as_str()?,
                None => return None,
            };
            let text = text.to_owned();
            more.remove(part);
            Some(text)
        };
        let mut view = Self {
            url_pattern: named("url", "regex"),
            hostname: named("host", ""),
            path_pattern: named("path", "regex"),
            body_includes: named("body", "contains"),
            more: Map::new(),
        };
        if let Some(fields) = more.get_mut("headers").and_then(Value::as_object_mut) {
            for value in fields.values_mut() {
                if let Some(exact) =
                    value.get("exact").filter(|_| value.as_object().is_some_and(|map| map.len() == 1))
                {
                    *value = exact.clone();
                }
            }
        }
        view.more = more;
        view
    }
}
