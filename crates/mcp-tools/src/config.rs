//! What the server is built with. `main` reads flags and the environment; nothing here does.

use std::{net::IpAddr, num::NonZeroUsize, path::PathBuf};

use capture_store::{RecorderConfig, secrets::Secrets};
use client_setup::StateDir;
use proxy_core::{
    AddressPolicy, AddressRange, HostPattern, ResolveOverride, Timeouts, TlsOptions, UpstreamRoutes,
    UpstreamSharing, rules::Rules,
};

use crate::{feed::LogFeed, toolsets::Toolsets};

/// How the server runs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Where the CA, the files for clients and exported HAR files live.
    pub state: StateDir,
    /// The store recorded into when a tool names no other.
    pub store_dir: PathBuf,
    /// Directories (and what is below them) that file arguments may name; the state and store directories are
    /// always among them.
    pub allowed_dirs: Vec<PathBuf>,
    /// The address the proxy listens on.
    pub listen: IpAddr,
    /// Ranges of client addresses that are let in, and no others. Empty on loopback only: to listen elsewhere needs it.
    pub allow_clients: Vec<AddressRange>,
    /// The port when `proxy_start` names none; 0 lets the system choose.
    pub port: u16,
    /// PEM files of further roots to verify upstream with.
    pub upstream_ca: Vec<PathBuf>,
    /// Hosts whose certificates are not verified.
    pub insecure_upstream: Vec<HostPattern>,
    /// Hosts relayed undecrypted.
    pub passthrough: Vec<HostPattern>,
    /// How TLS is done on both sides.
    pub tls: TlsOptions,
    /// The parent proxies requests go through; tools edit them while the proxy runs.
    pub upstream_routes: UpstreamRoutes,
    /// Which upstream addresses may be dialled.
    pub address_policy: AddressPolicy,
    /// Where hosts are, whatever the system's resolver says.
    pub resolve: Vec<ResolveOverride>,
    /// How long upstream is waited for.
    pub timeouts: Timeouts,
    /// Whether clients share upstream connections.
    pub upstream_sharing: UpstreamSharing,
    /// Threads of its own that the proxy carries connections on; none where the caller's runtime carries them.
    pub threads: Option<NonZeroUsize>,
    /// Whether to find out which process each client is.
    pub client_processes: bool,
    /// How what passes is recorded.
    pub recorder: RecorderConfig,
    /// The rules that traffic meets; tools edit them.
    pub rules: Rules,
    /// Bytes of JSON in one answer; lists drop whole items beyond it.
    pub answer_bytes: usize,
    /// The toolsets that are open to a client at first.
    pub toolsets: Toolsets,
    /// Whether credentials in results are hidden behind placeholders.
    pub redact: bool,
    /// What counts as a credential.
    pub secrets: Secrets,
    /// Where the server's log is read from by clients.
    pub log: LogFeed,
}

impl Config {
    /// Everything in `state`, loopback, a port of the system's choice, answers of 16 KiB.
    #[must_use]
    pub fn new(state: StateDir) -> Self {
        Self {
            store_dir: state.store(),
            state,
            allowed_dirs: Vec::new(),
            listen: IpAddr::from([127, 0, 0, 1]),
            allow_clients: Vec::new(),
            port: 0,
            upstream_ca: Vec::new(),
            insecure_upstream: Vec::new(),
            passthrough: Vec::new(),
            tls: TlsOptions::new(),
            upstream_routes: UpstreamRoutes::new(),
            address_policy: AddressPolicy::open(),
            resolve: Vec::new(),
            timeouts: Timeouts::default(),
            upstream_sharing: UpstreamSharing::default(),
            threads: None,
            client_processes: false,
            recorder: RecorderConfig::default(),
            rules: Rules::new(),
            answer_bytes: 16 * 1024,
            toolsets: Toolsets::default(),
            redact: false,
            secrets: Secrets::default(),
            log: LogFeed::default(),
        }
    }
}
