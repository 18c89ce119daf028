//! Whether to find out which process each client is.

use clap::Args;
use proxy_core::ProxyBuilder;

/// The flag that has clients' processes found.
#[derive(Args, Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ProcessFlags {
    /// Find out which process of this machine each client is, by name and number: on Linux, for processes of the same
    /// user, or as root for all. A search takes some milliseconds for each new connection, and holds up no exchange.
    #[arg(long, env = "WIRESCOPE_CLIENT_PROCESS", hide_env_values = true)]
    client_process: bool,
}

impl ProcessFlags {
    /// Whether it is wanted.
    #[must_use]
    pub fn is_wanted(self) -> bool {
        self.client_process
    }

    /// Tells a proxy.
    pub fn apply(self, builder: ProxyBuilder) -> ProxyBuilder {
        builder.client_processes(self.client_process)
    }
}
