//! What clients are served and how, as the command line describes it.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use mcp_tools::{
    Config, Toolsets,
    http::{BearerToken, HttpListener, HttpOptions},
};

/// What carries the protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Transport {
    /// Standard input and output: one client, with which the server ends.
    #[default]
    Stdio,
    /// Streamable HTTP: many clients at once, until a signal comes.
    Http,
}

/// What clients are served.
#[derive(Args, Default)]
#[command(next_help_heading = "Serving")]
pub(crate) struct ServingArguments {
    /// What carries the protocol.
    #[arg(long, value_enum, default_value_t, env = "WIRESCOPE_MCP_TRANSPORT")]
    pub(crate) transport: Transport,
    /// Port of --transport http, whose endpoint is /mcp; 0 for any free one. (That of the proxy is --proxy-port.)
    #[arg(long, value_name = "PORT", env = "WIRESCOPE_MCP_PORT")]
    port: Option<u16>,
    /// Address of --transport http. Any other than a loopback address needs a token.
    #[arg(long, value_name = "IP", env = "WIRESCOPE_MCP_HOST")]
    host: Option<IpAddr>,
    /// File with a token that every HTTP request has to show: "Authorization: Bearer ...". WIRESCOPE_MCP_TOKEN may hold the
    /// token itself.
    #[arg(long, value_name = "FILE", env = "WIRESCOPE_MCP_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// The token itself; from the environment only, because others see command lines.
    #[arg(skip = std::env::var("WIRESCOPE_MCP_TOKEN").ok())]
    token: Option<String>,
    /// Name under which HTTP clients reach the server, in their Host header; repeatable. Loopback names always count.
    #[arg(long, value_name = "HOST[:PORT]")]
    allow_host: Vec<String>,
    /// Origin of a page that may call the server, like `https://app.example.com:443`; repeatable. Those of loopback always count.
    #[arg(long, value_name = "ORIGIN")]
    allow_origin: Vec<String>,
    /// Toolsets open to clients at first, with commas between, or `all`: core, capture, sessions, analysis, replay, rules,
    /// clients, har, proxy, server; or all that stands in for another server: proxy-mcp, charles-mcp, httptoolkit-mcp.
    /// Clients open others with the tool enable_toolset.
    #[arg(long, value_name = "NAMES", default_value = "core", env = "WIRESCOPE_TOOLSETS")]
    toolsets: Toolsets,
    /// Hide credentials in results behind placeholders like <secret:3>, which the server puts back in arguments
    /// [default: true with --transport http, else false].
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        env = "WIRESCOPE_REDACT")]
    redact: Option<bool>,
}

/// There is a token in it.
impl std::fmt::Debug for ServingArguments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServingArguments").field("transport", &self.transport).finish_non_exhaustive()
    }
}

impl ServingArguments {
    /// Puts it into the server's configuration.
    pub(crate) fn apply(&self, config: &mut Config) {
        config.toolsets = self.toolsets.clone();
        config.redact = self.redact.unwrap_or(self.transport == Transport::Http);
    }

    /// Says which flags are no use with the transport.
    pub(crate) fn check(&self) -> Result<()> {
        let needs_http = self.port.is_some() || self.host.is_some() || self.token_file.is_some();
        if self.transport == Transport::Stdio && needs_http {
            bail!(
                "failed to use --port, --host or --token-file with --transport stdio; add --transport http, or \
                 give the proxy's port as --proxy-port"
            );
        }
        Ok(())
    }

    /// Listens as these flags say.
    pub(crate) async fn listen(self) -> Result<HttpListener> {
        let mut options = HttpOptions::default();
        options.token = match (&self.token_file, self.token) {
            (Some(file), _) => {
                let token = BearerToken::from_file(file).map_err(anyhow::Error::new);
                Some(token.context("failed to use --token-file")?)
            }
            (None, Some(token)) => {
                let token = BearerToken::new(token).map_err(anyhow::Error::new);
                Some(token.context("failed to use WIRESCOPE_MCP_TOKEN")?)
            }
            (None, None) => None,
        };
        options.hosts = self.allow_host;
        options.origins = self.allow_origin;
        let host = self.host.unwrap_or(IpAddr::from([127, 0, 0, 1]));
        let address = SocketAddr::new(host, self.port.unwrap_or(0));
        HttpListener::bind(address, options).await.context(
            "failed to serve HTTP; --host and --port say where, --token-file names a file with a token",
        )
    }
}
