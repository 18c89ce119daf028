//! What the tools share: the store, the running proxy, captures and child processes. Built by [`Server`], never global.
//!
//! [`Server`]: crate::Server

mod apart;
mod lifecycle;
mod redirected;

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use capture_store::{Recorder, Store, StoreConfig, secrets::Secrets};
use proxy_core::{Breakpoints, CertificateAuthority, FurtherListener, Sender, rules::Rules};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    captures::Captures,
    config::Config,
    confine::{Confinement, same_place},
    engine::Engine,
    error::{ToolError, chain},
    live::LiveSession,
    processes::Processes,
    secrets::Vault,
};

pub(crate) use apart::Apart;
pub(crate) use lifecycle::{Named, Start};

/// Sessions that are read as live traffic; beyond it the oldest is read as a session only.
const MAX_LIVE: usize = 200;

/// The tools' state. Clones share it.
#[derive(Clone)]
pub(crate) struct Toolbox {
    shared: Arc<Shared>,
}

struct Shared {
    config: Config,
    files: Confinement,
    /// Starting, stopping and switching sessions wait for each other here.
    lifecycle: tokio::sync::Mutex<()>,
    /// Never held across an await.
    state: Mutex<State>,
    captures: Mutex<Captures>,
    /// Reads that move a cursor wait for each other here, so that two at once do not deliver the same.
    reads: tokio::sync::Mutex<()>,
    processes: Processes,
    /// They outlive the proxy that runs them.
    changes: Changes,
    /// Where redaction is on.
    vault: Option<Vault>,
    /// Numbers the engines beside the running one.
    apart: apart::Numbers,
    /// Exchanges that came by the transparent listener.
    redirected: Arc<AtomicU64>,
    /// Counts commits of whatever recorder runs.
    commits: watch::Sender<u64>,
    /// The client is gone: nobody waits for answers any more.
    closing: CancellationToken,
    /// A client asked for the server's end.
    ending: CancellationToken,
}

/// What changes traffic.
#[derive(Clone)]
pub(crate) struct Changes {
    pub(crate) rules: Rules,
    pub(crate) breakpoints: Breakpoints,
}

#[derive(Default)]
struct State {
    store: Option<Store>,
    running: Option<Running>,
    live: Vec<LiveSession>,
    /// How often the traffic was cleared.
    resets: u64,
    ca: Option<CertificateAuthority>,
}

impl State {
    fn goes_on_in(&mut self, session: LiveSession) {
        if self.live.len() >= MAX_LIVE {
            self.live.remove(0);
        }
        self.live.push(session);
    }
}

struct Running {
    engine: Engine,
    recorder: Recorder,
    started_at: SystemTime,
    /// The transparent listener, while it is open.
    redirected: Option<FurtherListener>,
}

/// The running proxy as tools see it.
#[derive(Clone)]
pub(crate) struct RunningView {
    pub(crate) address: SocketAddr,
    pub(crate) recorder: Recorder,
    pub(crate) started_at: SystemTime,
    /// Sends requests through its engine.
    pub(crate) sender: Sender,
}

impl Toolbox {
    pub(crate) fn new(config: Config) -> Self {
        let mut allowed = config.allowed_dirs.clone();
        allowed.extend([config.state.path().to_owned(), config.store_dir.clone()]);
        let shared = Shared {
            files: Confinement::new(&allowed, &[config.state.ca(), config.state.clients()]),
            vault: config.redact.then(|| Vault::new(config.secrets.clone())),
            changes: Changes { rules: config.rules.clone(), breakpoints: Breakpoints::default() },
            config,
            lifecycle: tokio::sync::Mutex::default(),
            state: Mutex::default(),
            captures: Mutex::default(),
            reads: tokio::sync::Mutex::default(),
            processes: Processes::default(),
            apart: apart::Numbers::default(),
            redirected: Arc::default(),
            commits: watch::Sender::new(0),
            closing: CancellationToken::new(),
            ending: CancellationToken::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.shared.config
    }

    pub(crate) fn files(&self) -> &Confinement {
        &self.shared.files
    }

    pub(crate) fn processes(&self) -> &Processes {
        &self.shared.processes
    }

    /// The credentials hidden so far, where redaction is on.
    pub(crate) fn vault(&self) -> Option<&Vault> {
        self.shared.vault.as_ref()
    }

    /// What to hide in files, where redaction is on: all that is known to be a credential by now.
    pub(crate) async fn secrets_of_files(&self) -> Option<Secrets> {
        let vault = self.vault()?;
        vault.learn(self).await;
        Some(vault.all())
    }

    /// What changes traffic, whether the proxy runs or not.
    pub(crate) fn changes(&self) -> &Changes {
        &self.shared.changes
    }

    pub(crate) fn captures(&self) -> MutexGuard<'_, Captures> {
        self.shared.captures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until no other read moves a cursor.
    pub(crate) async fn turn_to_read(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.shared.reads.lock().await
    }

    /// Changes whenever something was committed, or may have changed otherwise.
    pub(crate) fn commits(&self) -> watch::Receiver<u64> {
        self.shared.commits.subscribe()
    }

    /// Says that something may have changed that resources tell of.
    pub(crate) fn touch(&self) {
        self.shared.commits.send_modify(|count| *count += 1);
    }

    /// Asks for the server's end.
    pub(crate) fn end(&self) {
        self.shared.ending.cancel();
    }

    /// Resolves when the server's end was asked for.
    pub(crate) async fn asked_to_end(&self) {
        self.shared.ending.cancelled().await;
    }

    /// Ends waits early from now on.
    pub(crate) fn close(&self) {
        self.shared.closing.cancel();
    }

    /// Resolves when waits are to end.
    pub(crate) async fn closing(&self) {
        self.shared.closing.cancelled().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where `proxy_export_har` writes by default.
    pub(crate) fn exports_dir(&self) -> PathBuf {
        self.shared.config.state.path().join("exports")
    }

    /// The running proxy, if it runs.
    pub(crate) fn running(&self) -> Option<RunningView> {
        self.state().running.as_ref().map(|running| RunningView {
            address: running.engine.address(),
            recorder: running.recorder.clone(),
            started_at: running.started_at,
            sender: running.engine.sender(),
        })
    }

    /// The running proxy, or the error that says how to start it.
    pub(crate) fn must_run(&self) -> Result<RunningView, ToolError> {
        self.running().ok_or_else(|| {
            ToolError::new("not_running", "the proxy is not running").hint("proxy_start starts it")
        })
    }

    /// The sessions this server records or recorded into the current store, in order.
    pub(crate) fn live(&self) -> Vec<LiveSession> {
        self.state().live.clone()
    }

    /// How often the traffic was cleared.
    pub(crate) fn resets(&self) -> u64 {
        self.state().resets
    }

    pub(crate) fn count_reset(&self) {
        self.shared.redirected.store(0, Ordering::Relaxed);
        self.state().resets += 1;
    }

    pub(crate) fn edit_live(&self, edit: impl FnOnce(&mut Vec<LiveSession>)) {
        edit(&mut self.state().live);
    }

    /// The current store: the one the proxy was last started with, or the configured one.
    pub(crate) async fn store(&self) -> Result<Store, ToolError> {
        if let Some(store) = self.state().store.clone() {
            return Ok(store);
        }
        let opened = self.open(self.shared.config.store_dir.clone()).await?;
        Ok(self.state().store.get_or_insert(opened).clone())
    }

    /// The current store, if it was needed before.
    pub(crate) fn opened_store(&self) -> Option<Store> {
        self.state().store.clone()
    }

    /// The store in `directory`, or the current one.
    pub(crate) async fn store_in(&self, directory: Option<PathBuf>) -> Result<Store, ToolError> {
        match directory {
            Some(directory) => self.open(directory).await,
            None => self.store().await,
        }
    }

    /// Everything observed so far, readable: waits until the recorder has written it.
    pub(crate) async fn fresh_store(&self) -> Result<Store, ToolError> {
        let store = self.store().await?;
        if let Some(running) = self.running() {
            // A recorder that fails is told of by the status; what it wrote can still be read.
            let flushed = blocking(move || Ok(running.recorder.flush()?)).await;
            if let Err(error) = flushed {
                tracing::warn!(%error, "reading without the newest exchanges");
            }
        }
        Ok(store)
    }

    async fn open(&self, directory: PathBuf) -> Result<Store, ToolError> {
        let current = self.state().store.clone().filter(|store| same_place(store.directory(), &directory));
        match current {
            Some(store) => Ok(store),
            None => blocking(move || Ok(Store::open(&directory, StoreConfig::default())?)).await,
        }
    }

    /// The CA, loaded or made once.
    pub(crate) async fn ca(&self) -> Result<CertificateAuthority, ToolError> {
        if let Some(ca) = self.state().ca.clone() {
            return Ok(ca);
        }
        let directory = self.shared.config.state.ca();
        let ca = blocking(move || {
            CertificateAuthority::load_or_create(directory)
                .map_err(|error| ToolError::new("ca_unusable", format!("failed to {}", chain(&error))))
        })
        .await?;
        Ok(self.state().ca.get_or_insert(ca).clone())
    }

    /// The CA if it was needed before.
    pub(crate) fn known_ca(&self) -> Option<CertificateAuthority> {
        self.state().ca.clone()
    }

    /// The CA's PEM file.
    pub(crate) fn ca_path(&self) -> PathBuf {
        self.shared.config.state.ca().join("ca.pem")
    }
}

/// Runs what blocks on the disk where it may block. When the caller is dropped, it still runs to its end.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ToolError> + Send + 'static,
) -> Result<T, ToolError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        Err(ToolError::new("internal", format!("a task of the server failed: {error}")))
    })
}
