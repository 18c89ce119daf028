//! The command line and the environment, read into the server's configuration.

use std::{net::IpAddr, path::PathBuf};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use mcp_tools::{AddressRange, Config, StateDir};
use proxy_flags::{FlagError, KeepingFlags, ProcessFlags, RulesFlags, ThreadFlags, UpstreamFlags};

use crate::serving::ServingArguments;

/// The MCP server of wirescope: an intercepting HTTP(S) proxy for agents, over standard input and output, or over HTTP for
/// many clients at once.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Cli {
    /// File of flags by name (TOML), for those that neither the command line nor the environment gives: store = "captures".
    #[arg(long, value_name = "FILE", env = "WIRESCOPE_MCP_CONFIG")]
    config: Option<PathBuf>,
    /// Directory of the CA, the files for clients, exports and the default store.
    #[arg(long, value_name = "DIR", env = "WIRESCOPE_STATE_DIR")]
    state_dir: Option<PathBuf>,
    /// Store to record into. Default: "store" in the state directory.
    #[arg(long, value_name = "DIR", env = "WIRESCOPE_STORE")]
    store: Option<PathBuf>,
    /// Directory that file arguments may name; repeatable. Default: the current directory, unless it is
    /// the root. The state directory and the store always count.
    #[arg(long = "allow-dir", value_name = "DIR")]
    allow_dirs: Vec<PathBuf>,
    /// Address the proxy listens on. Anyone who reaches it could use it and would be recorded, so that any other than a
    /// loopback address needs --allow-client.
    #[arg(long, value_name = "IP", default_value = "127.0.0.1", env = "WIRESCOPE_LISTEN")]
    listen: IpAddr,
    /// Clients the proxy lets in, and no others: 192.168.1.0/24, one address, or 0.0.0.0/0 for all of IPv4; repeatable.
    #[arg(long = "allow-client", value_name = "CIDR")]
    allow_clients: Vec<AddressRange>,
    /// Port the proxy listens on when proxy_start names none; 0 for any free one.
    #[arg(long, value_name = "PORT", default_value_t = 0, env = "WIRESCOPE_PORT")]
    proxy_port: u16,
    #[command(flatten)]
    threads: ThreadFlags,
    #[command(flatten)]
    processes: ProcessFlags,
    #[command(flatten)]
    upstream: UpstreamFlags,
    #[command(flatten)]
    keeping: KeepingFlags,
    #[command(flatten)]
    pub(crate) serving: ServingArguments,
    #[command(flatten)]
    pub(crate) rules: RulesFlags,
    /// Log more to standard error; twice for everything.
    #[arg(long, short, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What else it does.
#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum Command {
    /// Print docs/tools.md.
    #[command(hide = true)]
    ToolsMarkdown,
}

impl Cli {
    /// The configuration these flags describe.
    pub(crate) fn into_config(self) -> anyhow::Result<Config> {
        let state = match self.state_dir {
            Some(directory) => {
                StateDir::new(std::path::absolute(directory).context("failed to use --state-dir")?)
            }
            None => StateDir::of_user(|name| std::env::var_os(name))
                .context("failed to find a state directory; give --state-dir")?,
        };
        let mut config = Config::new(state);
        if let Some(store) = self.store {
            config.store_dir = std::path::absolute(store).context("failed to use --store")?;
        }
        config.allowed_dirs = self.allow_dirs;
        if config.allowed_dirs.is_empty() {
            // Desktop clients start servers in the root of the file system: that would allow all of it.
            config.allowed_dirs.extend(std::env::current_dir().ok().filter(|dir| dir.parent().is_some()));
        }
        config.listen = self.listen;
        config.allow_clients = self.allow_clients;
        config.port = self.proxy_port;
        let upstream = self.upstream;
        config.tls = upstream.tls.options().map_err(refused)?;
        config.upstream_routes = upstream.roads.routes().map_err(refused)?;
        config.address_policy = upstream.roads.address_policy();
        config.timeouts = upstream.roads.timeouts();
        config.upstream_sharing = upstream.roads.upstream_sharing();
        config.resolve = upstream.roads.resolve;
        config.upstream_ca = upstream.upstream_ca;
        config.insecure_upstream = upstream.insecure_upstream;
        config.passthrough = upstream.passthrough;
        config.threads = self.threads.count();
        config.client_processes = self.processes.is_wanted();
        self.keeping.apply(&mut config.recorder);
        Ok(config)
    }
}

/// What flags cannot be followed for, as a sentence of its own.
pub(crate) fn refused(error: FlagError) -> anyhow::Error {
    let text = format!("failed to {error}");
    match std::error::Error::source(&error) {
        Some(cause) => anyhow::anyhow!("{cause}").context(text),
        None => anyhow::anyhow!(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_are_sound() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }
}
