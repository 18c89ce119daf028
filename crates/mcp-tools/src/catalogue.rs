//! Every tool there is: families added together, in one place from which clients and documents are served.
//!
//! # To add a tool
//!
//! Add a function to a family under `tools/`, or a family of its own file with a `FAMILY` that names its [`Toolset`],
//! and one line in [`FAMILIES`] below. Its name, parameters and types are what a reference server's contract says if it
//! stands in for one (then it has a [`Reference`]).
//!
//! A tool's entry in the list of tools costs every client tokens, used or not. So it may weigh [`ALLOWANCE`] bytes,
//! and a few that are named in [`HEAVY`] more; a test here tells. What costs least:
//! - a description of one sentence that says when to use it; arguments described in a few words, without what the type,
//!   the bounds and the default say anyway. Longer explanations go into the error's hint, or into the fields of the result
//!   (those are for docs/tools.md only: of results, clients are sent names and types of the first level);
//! - the same words for the same argument: a list says them once, at the first tool that has it;
//! - strings with enumerations rather than booleans that exclude each other; no nested argument objects.
//!
//! Every number argument has bounds, every text one a `length(max = ...)`, every list a bound.
//!
//! Only what nearly every question needs belongs in [`CORE`], which has [`CORE_BYTES`] together; all there is has
//! [`ALL_BYTES`]. Results go through `budget.rs`. Secrets in results are replaced by the server itself, and put back in
//! arguments: tools need not know.

use rmcp::{handler::server::router::tool::ToolRouter, model::Tool};
use serde_json::{Map, Value};

use crate::{
    budget::json_bytes,
    schema::{self, Told},
    toolbox::Toolbox,
    tools::{
        analysis_charles, bodies, capture, diff, exchange_wait, explain, figures, fingerprints, handshakes,
        har, history, infer, interceptors, pauses, proxy, query, recordings, replay, rules, run, send,
        server, session_bodies, session_care, sessions, toolsets, traffic, transparent, upstream, values,
        window,
    },
    toolsets::{Toolset, Toolsets},
};

/// The families, in the order documents show them.
const FAMILIES: &[Family] = &[
    proxy::FAMILY,
    transparent::FAMILY,
    traffic::FAMILY,
    window::FAMILY,
    capture::FAMILY,
    analysis_charles::FAMILY,
    recordings::FAMILY,
    exchange_wait::FAMILY,
    explain::FAMILY,
    infer::FAMILY,
    sessions::FAMILY,
    session_bodies::FAMILY,
    session_care::FAMILY,
    history::FAMILY,
    handshakes::FAMILY,
    fingerprints::FAMILY,
    figures::FAMILY,
    query::FAMILY,
    values::FAMILY,
    bodies::FAMILY,
    har::FAMILY,
    replay::FAMILY,
    diff::FAMILY,
    rules::FAMILY,
    pauses::FAMILY,
    interceptors::FAMILY,
    run::FAMILY,
    send::FAMILY,
    upstream::FAMILY,
    toolsets::FAMILY,
    server::FAMILY,
];

/// Tools in the default toolset beside those of families that are in it as a whole.
const CORE: &[&str] = &[
    "aggregate",
    "explain_failure",
    "find_value",
    "get_body",
    "interceptor_kill",
    "interceptor_spawn",
    "interceptor_status",
    "proxy_get_ca_cert",
    "proxy_list_sessions",
    "proxy_query_session",
    "proxy_start",
    "proxy_status",
    "proxy_stop",
    "query_sql",
    "summarize",
];

/// Tools that are listed whatever toolsets are open: the way to the others.
const ALWAYS: &[&str] = &["list_toolsets", "enable_toolset"];

/// Bytes that a tool's entry in the list of tools may have.
#[cfg(test)]
const ALLOWANCE: usize = 1_000;
/// Tools that need more, and how much each may have.
#[cfg(test)]
const HEAVY: &[(&str, usize)] = &[
    ("analyze_recorded_traffic", 3_300),
    ("group_capture_analysis", 3_400),
    ("query_live_capture_entries", 3_500),
    ("get_capture_analysis_stats", 1_150),
    ("get_traffic_entry_detail", 1_200),
    ("query_recorded_traffic", 1_250),
    ("expect", 1_500),
    ("wait_for_exchange", 1_200),
    ("explain_failure", 1_100),
    ("check_api_drift", 1_250),
    ("infer_api", 1_350),
    ("run_with_proxy", 1_600),
    ("send_http_request", 1_900),
    ("aggregate", 1_650),
    ("capture_traffic", 1_600),
    ("find_retries", 1_050),
    ("find_value", 1_250),
    ("get_body", 1_500),
    ("query_sql", 1_100),
    ("search_bodies", 1_400),
    ("trace_value", 1_050),
    ("proxy_add_breakpoint", 1_800),
    ("proxy_add_rule", 2_800),
    ("proxy_export_har", 2_100),
    ("proxy_get_exchange", 1_300),
    ("proxy_get_session_exchange", 1_200),
    ("proxy_get_session_handshakes", 1_400),
    ("proxy_import_har", 1_200),
    ("proxy_list_traffic", 1_750),
    ("proxy_mock_response", 1_300),
    ("proxy_query_session", 2_000),
    ("proxy_replay_session", 2_900),
    ("proxy_resume", 1_500),
    ("proxy_start", 1_500),
    ("proxy_test_rule_match", 1_300),
    ("proxy_update_rule", 2_600),
    ("interceptor_spawn", 1_200),
    ("proxy_inject_headers", 1_200),
    ("proxy_rewrite_url", 1_200),
    ("proxy_search_session_bodies", 2_100),
    ("proxy_search_traffic", 1_250),
    ("proxy_set_upstream", 1_200),
    ("read_live_capture", 1_100),
    ("start_live_capture", 1_200),
];
/// Bytes of the default list of tools.
#[cfg(test)]
const CORE_BYTES: usize = 24_000;
/// Bytes of the list of all tools.
#[cfg(test)]
const ALL_BYTES: usize = 80_000;

/// A family of tools: one router.
#[derive(Clone, Copy)]
pub(crate) struct Family {
    pub(crate) name: &'static str,
    /// Where its tools are found when they are not in the default set.
    pub(crate) toolset: Toolset,
    /// What it is for, in one sentence.
    pub(crate) summary: &'static str,
    pub(crate) router: fn() -> ToolRouter<Toolbox>,
    /// Which tool of which reference server each stands in for.
    pub(crate) references: &'static [Reference],
}

/// The tool of a reference server that one of ours stands in for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reference {
    pub(crate) tool: &'static str,
    pub(crate) server: &'static str,
    /// What differs.
    pub(crate) differs: &'static str,
}

impl Reference {
    pub(crate) const fn new(tool: &'static str, server: &'static str, differs: &'static str) -> Self {
        Self { tool, server, differs }
    }
}

/// A tool with everything known about it.
pub(crate) struct Entry {
    /// As clients see it, in a list of its own.
    pub(crate) tool: Tool,
    /// Its arguments, described, with all bounds.
    pub(crate) input: Map<String, Value>,
    /// Its result, described.
    pub(crate) output: Map<String, Value>,
    pub(crate) family: Family,
    pub(crate) reference: Option<Reference>,
    /// Of its entry in the list of all tools, where what others before it say is left out.
    pub(crate) bytes: usize,
}

/// Every tool there is.
pub(crate) struct Catalogue {
    pub(crate) router: ToolRouter<Toolbox>,
    /// By family, then by name.
    pub(crate) entries: Vec<Entry>,
}

impl Catalogue {
    pub(crate) fn new() -> Self {
        let mut catalogue = Self { router: ToolRouter::new(), entries: Vec::new() };
        for family in FAMILIES {
            let router = (family.router)();
            for tool in router.list_all() {
                let reference = family.references.iter().find(|reference| reference.tool == tool.name);
                catalogue.entries.push(Entry::new(tool, *family, reference.copied()));
            }
            catalogue.router += router;
        }
        let listed = catalogue.tools(&Toolsets::all());
        for (entry, tool) in catalogue.entries.iter_mut().zip(listed) {
            entry.bytes = json_bytes(&tool) + 1;
        }
        catalogue
    }

    pub(crate) fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.tool.name == name)
    }

    /// What a client is shown to which `open` is open.
    pub(crate) fn tools(&self, open: &Toolsets) -> Vec<Tool> {
        let mut told = Told::new();
        let listed = |entry: &Entry| {
            let mut tool = entry.tool.clone();
            tool.input_schema = std::sync::Arc::new(schema::said_once(&tool.input_schema, &mut told));
            tool
        };
        self.entries.iter().filter(|entry| entry.is_shown(open)).map(listed).collect()
    }
}

impl Entry {
    fn new(mut tool: Tool, family: Family, reference: Option<Reference>) -> Self {
        let input = schema::input(&tool.input_schema);
        tool.input_schema = std::sync::Arc::new(schema::input_on_the_wire(&input));
        let output = tool.output_schema.as_deref().map(schema::output).unwrap_or_default();
        tool.output_schema = Some(std::sync::Arc::new(schema::output_on_the_wire(&output)));
        tool.description = tool.description.map(|text| unwrapped(&text).into());
        Self { tool, input, output, family, reference, bytes: 0 }
    }

    /// Whether `toolset` holds it.
    pub(crate) fn is_in(&self, toolset: Toolset) -> bool {
        let name = &*self.tool.name;
        toolset == self.family.toolset
            || toolset == Toolset::Core && CORE.contains(&name)
            || self.reference.is_some_and(|reference| reference.server == toolset.name())
    }

    /// Whether a client sees it to which `open` is open.
    pub(crate) fn is_shown(&self, open: &Toolsets) -> bool {
        ALWAYS.contains(&&*self.tool.name)
            || Toolset::ALL.into_iter().any(|toolset| open.contains(toolset) && self.is_in(toolset))
    }
}

/// A doc comment's lines as one.
fn unwrapped(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_tool_says_what_it_is_and_what_it_does_to_the_world() {
        for entry in Catalogue::new().entries {
            let (tool, name) = (&entry.tool, &entry.tool.name);
            assert!(tool.title.is_some(), "{name} has no title");
            assert!(
                tool.description.as_ref().is_some_and(|text| text.len() > 20),
                "{name} has no description"
            );
            let hints = tool.annotations.as_ref().unwrap();
            let read_only = hints.read_only_hint.unwrap();
            assert!(hints.open_world_hint.is_some(), "{name}");
            assert!(read_only || hints.destructive_hint.is_some(), "{name}");
            assert!(read_only || hints.idempotent_hint.is_some(), "{name}");
            assert_eq!(entry.input["additionalProperties"], json!(false), "{name}");
            assert!(entry.output["properties"]["status"].is_object(), "{name}");
        }
    }

    #[test]
    fn every_number_and_text_argument_is_bounded() {
        for entry in Catalogue::new().entries {
            for (name, schema) in entry.input["properties"].as_object().unwrap() {
                let tool = &entry.tool.name;
                assert!(schema["description"].is_string(), "{tool}.{name} is not described");
                if matches!(schema["type"].as_str(), Some("integer" | "number")) {
                    assert!(schema["minimum"].is_number(), "{tool}.{name} has no minimum");
                }
                assert!(schema["type"].is_string() || schema["type"].is_array(), "{tool}.{name}: {schema}");
                if schema["type"] == "string" && !schema["enum"].is_array() {
                    assert!(schema["maxLength"].is_number(), "{tool}.{name} has no maxLength");
                }
                if schema["type"] == "array" {
                    assert!(schema["maxItems"].is_number(), "{tool}.{name} has no maxItems");
                }
            }
        }
    }

    #[test]
    fn no_tool_weighs_more_than_it_may() {
        let heavier = |entry: &Entry| {
            let heavy = HEAVY.iter().find(|(name, _)| *name == entry.tool.name);
            let allowed = heavy.map_or(ALLOWANCE, |(_, bytes)| *bytes);
            let over = entry.bytes > allowed;
            over.then(|| format!("{} has {} bytes of {allowed}", entry.tool.name, entry.bytes))
        };
        let over: Vec<_> = Catalogue::new().entries.iter().filter_map(heavier).collect();
        assert!(over.is_empty(), "see above how to save:\n{}", over.join("\n"));
    }

    #[test]
    fn the_list_of_tools_is_small() {
        let catalogue = Catalogue::new();
        for (open, allowed) in [(Toolsets::default(), CORE_BYTES), (Toolsets::all(), ALL_BYTES)] {
            let tools = catalogue.tools(&open);
            let bytes = json_bytes(&tools);
            println!("{open:?}: {} tools, {bytes} bytes of {allowed}", tools.len());
            assert!(bytes <= allowed, "{open:?} has {bytes} bytes of {allowed}");
        }
    }

    #[test]
    fn every_tool_is_in_a_toolset_and_every_name_is_of_a_tool() {
        let catalogue = Catalogue::new();
        for name in CORE.iter().chain(ALWAYS).chain(HEAVY.iter().map(|(name, _)| name)) {
            assert!(catalogue.entry(name).is_some(), "{name}");
        }
        let mut names: Vec<_> = catalogue.entries.iter().map(|entry| &*entry.tool.name).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count, "two tools have one name");
        let servers = FAMILIES.iter().flat_map(|family| family.references).map(|reference| reference.server);
        for server in servers {
            assert!(server.parse::<Toolsets>().is_ok(), "{server} is no reference server");
        }
    }

    #[test]
    fn references_name_tools_that_exist() {
        let catalogue = Catalogue::new();
        for reference in FAMILIES.iter().flat_map(|family| family.references) {
            assert!(catalogue.entry(reference.tool).is_some(), "{}", reference.tool);
        }
    }
}
