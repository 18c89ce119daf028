//! Every tool there is: families added together, in one place from which clients and documents are served.

use rmcp::{handler::server::router::tool::ToolRouter, model::Tool};
use serde_json::{Map, Value};

use crate::{
    schema,
    toolbox::Toolbox,
    tools::{
        capture, handshakes, har, history, interceptors, pauses, proxy, rules, sessions, traffic, upstream,
        window,
    },
};

/// The families, in the order documents show them.
const FAMILIES: &[Family] = &[
    proxy::FAMILY,
    traffic::FAMILY,
    window::FAMILY,
    capture::FAMILY,
    sessions::FAMILY,
    history::FAMILY,
    handshakes::FAMILY,
    har::FAMILY,
    rules::FAMILY,
    pauses::FAMILY,
    interceptors::FAMILY,
    upstream::FAMILY,
];

/// A family of tools: one router.
#[derive(Clone, Copy)]
pub(crate) struct Family {
    pub(crate) name: &'static str,
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
    /// As clients see it.
    pub(crate) tool: Tool,
    /// Its result, described.
    pub(crate) output: Map<String, Value>,
    pub(crate) family: Family,
    pub(crate) reference: Option<Reference>,
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
        catalogue
    }

    pub(crate) fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.tool.name == name)
    }

    pub(crate) fn tools(&self) -> Vec<Tool> {
        self.entries.iter().map(|entry| entry.tool.clone()).collect()
    }
}

impl Entry {
    fn new(mut tool: Tool, family: Family, reference: Option<Reference>) -> Self {
        tool.input_schema = std::sync::Arc::new(schema::input(&tool.input_schema));
        let output = tool.output_schema.as_deref().map(schema::output).unwrap_or_default();
        tool.output_schema = Some(std::sync::Arc::new(schema::output_on_the_wire(&output)));
        tool.description = tool.description.map(|text| unwrapped(&text).into());
        Self { tool, output, family, reference }
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
            let ours = ["proxy_add_breakpoint", "proxy_list_paused", "proxy_resume"].contains(&name.as_ref());
            assert!(entry.reference.is_some() || ours, "{name} stands in for nothing");
            assert_eq!(tool.input_schema["additionalProperties"], json!(false), "{name}");
            assert!(entry.output["properties"]["status"].is_object(), "{name}");
        }
    }

    #[test]
    fn every_number_and_text_argument_is_bounded() {
        for entry in Catalogue::new().entries {
            for (name, schema) in entry.tool.input_schema["properties"].as_object().unwrap() {
                let tool = &entry.tool.name;
                assert!(schema["description"].is_string(), "{tool}.{name} is not described");
                if matches!(schema["type"].as_str(), Some("integer" | "number")) {
                    assert!(schema["minimum"].is_number(), "{tool}.{name} has no minimum");
                }
                assert!(schema["type"].is_string(), "{tool}.{name}: {schema}");
            }
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
