//! What clients are served, as the command line describes it.

use clap::Args;
use mcp_tools::{Config, Toolsets};

/// What clients are served.
#[derive(Debug, Args)]
#[command(next_help_heading = "Serving")]
pub(crate) struct ServingArguments {
    /// Toolsets open to clients at first, with commas between, or `all`: core, capture, sessions, analysis, replay, rules,
    /// clients, har, proxy, server; or all that stands in for another server: proxy-mcp, charles-mcp, httptoolkit-mcp.
    /// Clients open others with the tool enable_toolset.
    #[arg(long, value_name = "NAMES", default_value = "core", env = "WIRESCOPE_TOOLSETS")]
    toolsets: Toolsets,
}

impl ServingArguments {
    /// Puts it into the server's configuration.
    pub(crate) fn apply(self, config: &mut Config) {
        config.toolsets = self.toolsets;
    }
}
