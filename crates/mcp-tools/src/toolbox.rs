//! What the tools share: the store, the running proxy, captures and child processes. Built by [`Server`], never global.
//!
//! [`Server`]: crate::Server

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use capture_store::{Recorder, RecorderConfig, SessionInfo, SessionKind, SessionSpec, Store, StoreConfig};
use proxy_core::CertificateAuthority;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    captures::Captures,
    config::Config,
    confine::{Confinement, same_place},
    engine::Engine,
    error::{ToolError, chain},
    live::LiveSession,
    processes::{self, Processes},
};

/// How long exchanges may go on when the proxy is stopped.
const DRAIN: Duration = Duration::from_secs(5);
/// The same when the whole server ends: clients kill a server that lingers.
const LAST_DRAIN: Duration = Duration::from_millis(500);

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
    processes: Processes,
    /// Counts commits of whatever recorder runs.
    commits: watch::Sender<u64>,
    /// The client is gone: nobody waits for answers any more.
    closing: CancellationToken,
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
}

/// The running proxy as tools see it.
#[derive(Clone)]
pub(crate) struct RunningView {
    pub(crate) address: SocketAddr,
    pub(crate) recorder: Recorder,
    pub(crate) started_at: SystemTime,
}

/// What became of the wish for a named session.
pub(crate) enum Named {
    /// It is new.
    Begun(SessionInfo),
    /// There was one.
    Already(SessionInfo),
}

/// How to start the proxy.
pub(crate) struct Start {
    pub(crate) port: Option<u16>,
    pub(crate) session: SessionSpec,
    pub(crate) storage_dir: Option<PathBuf>,
}

impl Toolbox {
    pub(crate) fn new(config: Config) -> Self {
        let mut allowed = config.allowed_dirs.clone();
        allowed.extend([config.state.path().to_owned(), config.store_dir.clone()]);
        let shared = Shared {
            files: Confinement::new(&allowed, &[config.state.ca(), config.state.clients()]),
            config,
            lifecycle: tokio::sync::Mutex::default(),
            state: Mutex::default(),
            captures: Mutex::default(),
            processes: Processes::default(),
            commits: watch::Sender::new(0),
            closing: CancellationToken::new(),
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

    pub(crate) fn captures(&self) -> MutexGuard<'_, Captures> {
        self.shared.captures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes whenever something was committed.
    pub(crate) fn commits(&self) -> watch::Receiver<u64> {
        self.shared.commits.subscribe()
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

    /// Starts the proxy and records into a new session. When it fails nothing is left: no listener, no session.
    pub(crate) async fn start(&self, start: Start) -> Result<RunningView, ToolError> {
        let _turn = self.shared.lifecycle.lock().await;
        if let Some(running) = self.running() {
            return Err(ToolError::new(
                "already_running",
                format!("the proxy is already running on port {}", running.address.port()),
            )
            .hint("use it as it is (proxy_status tells more), or proxy_stop first"));
        }
        let directory = start.storage_dir.unwrap_or_else(|| self.shared.config.store_dir.clone());
        let store = self.open(directory).await?;
        let ca = self.ca().await?;
        let (into, spec) = (store.clone(), start.session);
        let scratch = matches!(spec, SessionSpec::Scratch { .. });
        let (recorder, newest) = blocking(move || {
            let newest = into.newest()?;
            Ok((Recorder::start(&into, spec, RecorderConfig::default())?, newest))
        })
        .await
        .map_err(|error| self.with_another_store(error))?;
        let session = recorder.session();
        let port = start.port.unwrap_or(self.shared.config.port);
        let engine = match Engine::start(&self.shared.config, port, ca, recorder.clone()).await {
            Ok(engine) => engine,
            Err(error) => {
                undo(recorder, store).await;
                return Err(error);
            }
        };
        let commits = self.shared.commits.clone();
        recorder.on_commit(move |_| commits.send_modify(|count| *count += 1));
        let view = RunningView {
            address: engine.address(),
            recorder: recorder.clone(),
            started_at: SystemTime::now(),
        };
        let mut captures = self.captures();
        let mut state = self.state();
        if !state.store.as_ref().is_some_and(|current| same_place(current.directory(), store.directory())) {
            captures.pin(&state.live);
            state.live.clear();
        }
        state.store = Some(store);
        state.goes_on_in(LiveSession::new(session, newest, scratch));
        state.running = Some(Running { engine, recorder, started_at: view.started_at });
        Ok(view)
    }

    /// Names a store that is free, where the one asked for is not.
    fn with_another_store(&self, error: ToolError) -> ToolError {
        if error.code() != "store_locked" {
            return error;
        }
        let state = self.shared.config.state.path();
        let free = (2..).map(|n: u32| state.join(format!("store-{n}"))).find(|path| !path.exists());
        let free = free.unwrap_or_default();
        error.hint(format!(
            "give proxy_start another storage_dir, such as {}, or stop the other wirescope",
            free.display()
        ))
    }

    /// Stops the proxy, lets exchanges end within the drain time, ends the session.
    pub(crate) async fn stop(&self) -> Result<SessionInfo, ToolError> {
        self.stop_within(DRAIN).await
    }

    async fn stop_within(&self, drain: Duration) -> Result<SessionInfo, ToolError> {
        let _turn = self.shared.lifecycle.lock().await;
        let running = self.state().running.take();
        let Some(running) = running else {
            return Err(
                ToolError::new("not_running", "the proxy is not running").hint("proxy_start starts it")
            );
        };
        running.engine.stop(drain).await;
        let recorder = running.recorder;
        let closed = blocking(move || Ok(recorder.close()?)).await;
        self.shared.commits.send_modify(|count| *count += 1);
        closed
    }

    /// Goes on recording into a new named session, or says which is being recorded already.
    pub(crate) async fn begin_named(&self, spec: SessionSpec) -> Result<Named, ToolError> {
        let _turn = self.shared.lifecycle.lock().await;
        let running = self.must_run()?;
        match named(&running).await? {
            Some(session) => Ok(Named::Already(session)),
            None => self.switch(running, spec).await.map(Named::Begun),
        }
    }

    /// Ends the named session being recorded, if there is one, and goes on recording into an unnamed one.
    pub(crate) async fn end_named(&self) -> Result<Option<SessionInfo>, ToolError> {
        let _turn = self.shared.lifecycle.lock().await;
        let Some(running) = self.running() else { return Ok(None) };
        let Some(session) = named(&running).await? else { return Ok(None) };
        self.switch(running, SessionSpec::Scratch { max_bytes: None }).await?;
        let store = self.store().await?;
        blocking(move || Ok(Some(store.session(session.id)?))).await
    }

    async fn switch(&self, running: RunningView, spec: SessionSpec) -> Result<SessionInfo, ToolError> {
        let scratch = matches!(spec, SessionSpec::Scratch { .. });
        let store = self.store().await?;
        let (session, newest) = blocking(move || {
            let newest = store.newest()?;
            Ok((running.recorder.switch(spec)?, newest))
        })
        .await?;
        self.state().goes_on_in(LiveSession::new(session.id, newest, scratch));
        Ok(session)
    }

    /// Ends everything: waits, child processes, the proxy, the session. Takes some two seconds at most.
    pub(crate) async fn shutdown(&self) {
        self.close();
        let ending = self.shared.processes.kill_all(processes::LAST_GRACE);
        let ((), stopped) = tokio::join!(ending, self.stop_within(LAST_DRAIN));
        match stopped {
            Ok(_) => {}
            Err(error) if error.code() == "not_running" => {}
            Err(error) => tracing::warn!(%error, "the session did not close properly"),
        }
    }
}

/// The named session being recorded, if there is one.
async fn named(running: &RunningView) -> Result<Option<SessionInfo>, ToolError> {
    let recorder = running.recorder.clone();
    let status = blocking(move || Ok(recorder.status()?)).await?;
    Ok(Some(status.session).filter(|session| session.kind == SessionKind::Named))
}

/// Takes back a session in which nothing was recorded.
async fn undo(recorder: Recorder, store: Store) {
    let session = recorder.session();
    let undone = blocking(move || {
        recorder.close()?;
        Ok(store.delete_session(session)?)
    })
    .await;
    if let Err(error) = undone {
        tracing::warn!(%error, "an empty session is left behind");
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
