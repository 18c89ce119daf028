//! Toolsets: the tools a client is shown, in named groups of which most are closed at first.
//!
//! A list of tools costs tokens before anything is asked. So a client sees `core` and opens what else it needs with
//! `enable_toolset`, or the user opens it with `--toolsets`.

use std::{collections::BTreeSet, fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// A named group of tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Toolset {
    /// What nearly every question needs; open unless others are named.
    Core,
    /// Live captures and windows of time.
    Capture,
    /// Recorded sessions: list, query, keep, delete.
    Sessions,
    /// Search, aggregate, trace and explain.
    Analysis,
    /// Send requests, replay and compare exchanges.
    Replay,
    /// Change, mock, delay and pause traffic while it passes.
    Rules,
    /// Programs led through the proxy.
    Clients,
    /// HAR files in and out.
    Har,
    /// The proxy, its certificate, parent proxies.
    Proxy,
    /// This server: version, configuration, end.
    Server,
    /// Every tool that stands in for one of proxy-mcp.
    ProxyMcp,
    /// Every tool that stands in for one of Charles MCP.
    CharlesMcp,
    /// Every tool that stands in for one of httptoolkit-mcp.
    HttptoolkitMcp,
}

impl Toolset {
    /// Every toolset, in the order they are listed.
    pub const ALL: [Self; 13] = [
        Self::Core,
        Self::Capture,
        Self::Sessions,
        Self::Analysis,
        Self::Replay,
        Self::Rules,
        Self::Clients,
        Self::Har,
        Self::Proxy,
        Self::Server,
        Self::ProxyMcp,
        Self::CharlesMcp,
        Self::HttptoolkitMcp,
    ];

    /// Its name, as flags and tools take it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Capture => "capture",
            Self::Sessions => "sessions",
            Self::Analysis => "analysis",
            Self::Replay => "replay",
            Self::Rules => "rules",
            Self::Clients => "clients",
            Self::Har => "har",
            Self::Proxy => "proxy",
            Self::Server => "server",
            Self::ProxyMcp => "proxy-mcp",
            Self::CharlesMcp => "charles-mcp",
            Self::HttptoolkitMcp => "httptoolkit-mcp",
        }
    }

    /// What it is for.
    #[must_use]
    pub fn summary(self) -> &'static str {
        match self {
            Self::Core => "what nearly every question needs",
            Self::Capture => "live captures and windows of time",
            Self::Sessions => "recorded sessions: list, query, keep, delete",
            Self::Analysis => "search, aggregate, trace and explain",
            Self::Replay => "send requests, replay and compare exchanges",
            Self::Rules => "change, mock, delay and pause traffic while it passes",
            Self::Clients => "programs led through the proxy",
            Self::Har => "HAR files in and out",
            Self::Proxy => "the proxy, its certificate, parent proxies",
            Self::Server => "this server: version, configuration, end",
            Self::ProxyMcp => "what stands in for proxy-mcp's tools",
            Self::CharlesMcp => "what stands in for Charles MCP's tools",
            Self::HttptoolkitMcp => "what stands in for httptoolkit-mcp's tools",
        }
    }
}

impl fmt::Display for Toolset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Toolsets that are open: names with commas between them, or `all`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolsets(BTreeSet<Toolset>);

impl Toolsets {
    /// All there are.
    #[must_use]
    pub fn all() -> Self {
        Self(Toolset::ALL.into_iter().collect())
    }

    /// Whether `toolset` is among them.
    #[must_use]
    pub fn contains(&self, toolset: Toolset) -> bool {
        self.0.contains(&toolset)
    }
}

/// `core`.
impl Default for Toolsets {
    fn default() -> Self {
        Self(BTreeSet::from([Toolset::Core]))
    }
}

impl FromStr for Toolsets {
    type Err = UnknownToolset;

    fn from_str(text: &str) -> Result<Self, UnknownToolset> {
        let mut open = BTreeSet::new();
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            if name == "all" {
                return Ok(Self::all());
            }
            let known = Toolset::ALL.into_iter().find(|toolset| toolset.name() == name);
            open.insert(known.ok_or_else(|| UnknownToolset(name.to_owned()))?);
        }
        if open.is_empty() { Ok(Self::default()) } else { Ok(Self(open)) }
    }
}

/// There is no toolset of this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("find a toolset {0:?}; there is {names}, or all of them: `all`", names = names())]
pub struct UnknownToolset(String);

fn names() -> String {
    Toolset::ALL.map(Toolset::name).join(", ")
}

/// The toolsets open to one client, which it may widen. Clones share them.
#[derive(Clone)]
pub(crate) struct Open(watch::Sender<Toolsets>);

impl Open {
    pub(crate) fn new(toolsets: Toolsets) -> Self {
        Self(watch::Sender::new(toolsets))
    }

    pub(crate) fn toolsets(&self) -> Toolsets {
        self.0.borrow().clone()
    }

    /// Opens one; false if it was open.
    pub(crate) fn add(&self, toolset: Toolset) -> bool {
        self.0.send_if_modified(|open| open.0.insert(toolset))
    }

    /// Changes when one was opened.
    pub(crate) fn changes(&self) -> watch::Receiver<Toolsets> {
        self.0.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn toolsets_are_named_one_by_one_or_all_together() {
        assert_eq!("".parse(), Ok(Toolsets::default()));
        assert_eq!("all".parse(), Ok(Toolsets::all()));
        let two: Toolsets = "rules, proxy-mcp".parse().unwrap();
        assert!(two.contains(Toolset::Rules) && two.contains(Toolset::ProxyMcp));
        assert!(!two.contains(Toolset::Core));
        let error = "rulez".parse::<Toolsets>().unwrap_err().to_string();
        assert!(error.contains("rulez") && error.contains("rules"), "{error}");
    }

    #[test]
    fn names_are_what_serde_says() {
        for toolset in Toolset::ALL {
            assert_eq!(serde_json::to_value(toolset).unwrap(), toolset.name());
        }
    }
}
