//! Rules: add, change, list and explain them.

mod checks;
pub(super) mod convert;
mod explain;
mod quick;
mod view;

use proxy_core::rules::{ActiveRule, Rule, RuleError, RuleErrorKind};
use rmcp::{
    handler::server::{
        router::tool::ToolRouter,
        wrapper::{Json, Parameters},
    },
    tool, tool_router,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    budget::fit,
    catalogue::{Family, Reference},
    error::ToolError,
    toolbox::Toolbox,
    toolsets::Toolset,
    view::Success,
};
use view::RuleView;

/// The family.
pub(crate) const FAMILY: Family = Family {
    name: "rules",
    toolset: Toolset::Rules,
    summary: "Change, mock and break traffic while it passes. Rules apply to the next exchange on; nothing restarts, no \
              connection is cut, and they outlive proxy_stop.",
    router,
    references: &[
        Reference::new(
            "proxy_add_rule",
            "proxy-mcp",
            "every matching rule applies, not the first only; URLs are matched with their query, hosts in whatever case, any \
             method; `matcher` and `actions` take everything docs/rules.md has; a rule that does not parse is refused and \
             changes nothing",
        ),
        Reference::new(
            "proxy_update_rule",
            "proxy-mcp",
            "merges into matcher and handler; null takes a part out",
        ),
        Reference::new("proxy_remove_rule", "proxy-mcp", "cuts no connection"),
        Reference::new(
            "proxy_list_rules",
            "proxy-mcp",
            "`hitCount` and `lastHit` are true; whole rules within a byte budget",
        ),
        Reference::new(
            "proxy_test_rule_match",
            "proxy-mcp",
            "runs the function that live traffic runs; recorded bodies whole; says which actions would run",
        ),
        Reference::new("proxy_enable_rule", "proxy-mcp", "cuts no connection"),
        Reference::new("proxy_disable_rule", "proxy-mcp", "cuts no connection"),
        Reference::new("proxy_inject_headers", "proxy-mcp", "adds up with other rules"),
        Reference::new("proxy_rewrite_url", "proxy-mcp", "really rewrites the URL, also to another origin"),
        Reference::new("proxy_mock_response", "proxy-mcp", "any method and URL, query included"),
        Reference::new(
            "throttling",
            "charles-mcp",
            "a rule named `throttling`: bandwidth and latency by preset; an object instead of a sentence",
        ),
    ],
};

fn router() -> ToolRouter<Toolbox> {
    Toolbox::rules_router() + Toolbox::quick_rules_router() + Toolbox::explain_router()
}

fn hundred() -> i32 {
    100
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct AddParams {
    /// What people call the rule.
    #[serde(default)]
    #[schemars(length(max = 500))]
    description: String,
    /// Lower ones run first, and among equals the older one.
    #[serde(default = "hundred")]
    #[schemars(range(min = -1_000_000, max = 1_000_000))]
    priority: i32,
    /// What an exchange must be like; every part given has to hold.
    #[schemars(schema_with = "convert::matcher_schema")]
    matcher: Map<String, Value>,
    /// What is done, in the reference server's words; or give `actions`.
    #[serde(default)]
    #[schemars(schema_with = "convert::handler_schema")]
    handler: Option<Map<String, Value>>,
    /// What is done, as docs/rules.md has it, after what `handler` does: `[{"delay": {"ms": 500}}, {"mock": {"status":
    /// 503}}]`. Actions: mock, map_local, redirect, map_remote, rewrite_url, query, set_method, request_headers,
    /// request_body, set_status, response_headers, response_body, delay, throttle, drop, close, reset, time_out,
    /// truncate, corrupt, edit_messages, inject_message, breakpoint.
    #[serde(default)]
    #[schemars(schema_with = "convert::actions_schema")]
    actions: Vec<Value>,
    /// Leave out the rules after it when it applies.
    #[serde(default)]
    stop: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct UpdateParams {
    /// The rule, like r1.
    #[schemars(length(min = 1, max = 64))]
    rule_id: String,
    /// What people call the rule.
    #[schemars(length(max = 500))]
    description: Option<String>,
    /// Lower ones run first.
    #[schemars(range(min = -1_000_000, max = 1_000_000))]
    priority: Option<i32>,
    /// Parts to replace; null takes one out. What is not named stays.
    #[serde(default)]
    #[schemars(schema_with = "convert::matcher_schema")]
    matcher: Option<Map<String, Value>>,
    /// Merged into what the rule does, if that is of the same type; else it takes its place.
    #[serde(default)]
    #[schemars(schema_with = "convert::handler_schema")]
    handler: Option<Map<String, Value>>,
    /// Takes the place of all that the rule does.
    #[serde(default)]
    #[schemars(schema_with = "convert::actions_schema")]
    actions: Option<Vec<Value>>,
    /// Leave out the rules after it when it applies.
    stop: Option<bool>,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct IdParams {
    /// The rule, like r1.
    #[schemars(length(min = 1, max = 64))]
    rule_id: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct RuleAnswer {
    status: Success,
    rule: RuleView,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Done {
    status: Success,
    message: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct RuleList {
    status: Success,
    /// Rules there are.
    count: u64,
    /// In the order they run.
    rules: Vec<RuleView>,
    /// Rules are left out because the answer would be too long.
    truncated: bool,
}

#[tool_router(router = rules_router, vis = "pub(crate)")]
impl Toolbox {
    /// Add a rule. It applies from the next exchange on.
    #[tool(
        name = "proxy_add_rule",
        title = "Add a rule",
        annotations(
            read_only_hint = false,
            destructive_hint = false,
            idempotent_hint = false,
            open_world_hint = false
        )
    )]
    pub(crate) async fn proxy_add_rule(
        &self,
        Parameters(params): Parameters<AddParams>,
    ) -> Result<Json<RuleAnswer>, ToolError> {
        let mut then = params.handler.as_ref().map(convert::actions).transpose()?.unwrap_or_default();
        then.extend(params.actions);
        let rule = convert::rule(&Value::Object(convert::matcher(&params.matcher)?), then)?;
        let mut rule = rule.named(params.description).with_priority(params.priority);
        rule.stop = params.stop;
        let added = self.add_rule(rule)?;
        Ok(Json(RuleAnswer { status: Success::Success, rule: RuleView::of(&added) }))
    }

    /// Change a rule in its place: what is given is merged in, its id and its counts stay.
    #[tool(
        name = "proxy_update_rule",
        title = "Change a rule",
        annotations(
            read_only_hint = false,
            destructive_hint = true,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    pub(crate) async fn proxy_update_rule(
        &self,
        Parameters(params): Parameters<UpdateParams>,
    ) -> Result<Json<RuleAnswer>, ToolError> {
        let UpdateParams { rule_id, description, priority, matcher, handler, actions, stop } = params;
        let old = self.changes().rules.get(&rule_id).ok_or_else(|| unknown(&rule_id))?;
        let mut when = convert::written(old.rule())["when"].clone();
        if let Some(matcher) = matcher {
            convert::merge_matcher(&mut when, &matcher)?;
        }
        let then = match (handler, actions) {
            (Some(_), Some(_)) => {
                return Err(ToolError::invalid("handler and actions are two ways to say the same")
                    .hint("give one of them"));
            }
            (Some(handler), None) => convert::merge_handler(old.rule(), &handler)?,
            (None, Some(actions)) => actions,
            (None, None) => convert::written(old.rule())["then"].as_array().cloned().unwrap_or_default(),
        };
        let mut new = convert::rule(&when, then)?;
        self.confine_rule(&mut new)?;
        let updated = self.changes().rules.update(&rule_id, |rule| {
            rule.name = description.unwrap_or_else(|| rule.name.clone());
            rule.priority = priority.unwrap_or(rule.priority);
            rule.stop = stop.unwrap_or(rule.stop);
            rule.when = new.when;
            rule.then = new.then;
            Ok(())
        });
        let rule = RuleView::of(&*updated.map_err(refused)?);
        Ok(Json(RuleAnswer { status: Success::Success, rule }))
    }

    /// Remove a rule. Exchanges under way go on as they began.
    #[tool(
        name = "proxy_remove_rule",
        title = "Remove a rule",
        annotations(
            read_only_hint = false,
            destructive_hint = true,
            idempotent_hint = false,
            open_world_hint = false
        )
    )]
    pub(crate) async fn proxy_remove_rule(
        &self,
        Parameters(params): Parameters<IdParams>,
    ) -> Result<Json<Done>, ToolError> {
        self.changes().rules.remove(&params.rule_id).map_err(refused)?;
        Ok(done(format!("Rule {} is removed", params.rule_id)))
    }

    /// List the rules in the order they run, with how often each applied.
    #[tool(
        name = "proxy_list_rules",
        title = "List the rules",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    pub(crate) async fn proxy_list_rules(&self) -> Result<Json<RuleList>, ToolError> {
        let rules: Vec<_> = self.changes().rules.list().iter().map(|rule| RuleView::of(rule)).collect();
        let count = rules.len() as u64;
        let (rules, truncated) = fit(rules, self.config().answer_bytes);
        Ok(Json(RuleList { status: Success::Success, count, rules, truncated }))
    }

    /// Have a rule looked at again.
    #[tool(
        name = "proxy_enable_rule",
        title = "Enable a rule",
        annotations(
            read_only_hint = false,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    pub(crate) async fn proxy_enable_rule(
        &self,
        Parameters(params): Parameters<IdParams>,
    ) -> Result<Json<Done>, ToolError> {
        self.changes().rules.enable(&params.rule_id).map_err(refused)?;
        Ok(done(format!("Rule {} is enabled", params.rule_id)))
    }

    /// Have a rule not looked at any more, and keep it.
    #[tool(
        name = "proxy_disable_rule",
        title = "Disable a rule",
        annotations(
            read_only_hint = false,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    pub(crate) async fn proxy_disable_rule(
        &self,
        Parameters(params): Parameters<IdParams>,
    ) -> Result<Json<Done>, ToolError> {
        self.changes().rules.disable(&params.rule_id).map_err(refused)?;
        Ok(done(format!("Rule {} is disabled", params.rule_id)))
    }
}

impl Toolbox {
    /// Adds a rule whose files lie in allowed directories.
    pub(super) fn add_rule(&self, mut rule: Rule) -> Result<std::sync::Arc<ActiveRule>, ToolError> {
        self.confine_rule(&mut rule)?;
        self.changes().rules.add(rule).map_err(refused)
    }

    /// Confines the files and directories of a rule.
    fn confine_rule(&self, rule: &mut Rule) -> Result<(), ToolError> {
        for path in rule.paths_mut() {
            *path = self.files().path("actions", &path.to_string_lossy())?;
        }
        Ok(())
    }
}

fn done(message: String) -> Json<Done> {
    Json(Done { status: Success::Success, message })
}

fn unknown(id: &str) -> ToolError {
    refused(RuleErrorKind::UnknownId(id.to_owned()).into())
}

/// A rule that was not taken; the rules there were stay.
pub(super) fn refused(error: RuleError) -> ToolError {
    let text = format!("failed to {error}");
    match error.kind() {
        RuleErrorKind::UnknownId(_) => {
            ToolError::new("unknown_rule", text).hint("proxy_list_rules lists the rules there are")
        }
        RuleErrorKind::TooMany(_) => {
            ToolError::new("too_many_rules", text).hint("proxy_remove_rule removes one")
        }
        _ => ToolError::invalid(text).hint(
            "nothing was changed; in matcher, urlPattern and pathPattern are regexes, and docs/rules.md has every part \
             and action",
        ),
    }
}
