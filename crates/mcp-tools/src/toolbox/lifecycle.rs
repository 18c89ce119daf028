//! Starting, stopping and switching: one at a time, and nothing half done.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use capture_store::{Recorder, SessionInfo, SessionKind, SessionSpec, Store};

use super::{Running, RunningView, Toolbox, blocking};
use crate::{confine::same_place, engine::Engine, error::ToolError, live::LiveSession, processes};

/// How long exchanges may go on when the proxy is stopped.
pub(super) const DRAIN: Duration = Duration::from_secs(5);
/// The same when the whole server ends: clients kill a server that lingers.
const LAST_DRAIN: Duration = Duration::from_millis(500);

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
        let (into, spec, recording) = (store.clone(), start.session, self.shared.config.recorder.clone());
        let scratch = matches!(spec, SessionSpec::Scratch { .. });
        let (recorder, newest) = blocking(move || {
            let newest = into.newest()?;
            Ok((Recorder::start(&into, spec, recording)?, newest))
        })
        .await
        .map_err(|error| self.with_another_store(error))?;
        let session = recorder.session();
        let port = start.port.unwrap_or(self.shared.config.port);
        let observer = self.counting(recorder.clone());
        let engine = match Engine::start(&self.shared.config, port, ca, observer, self.changes()).await {
            Ok(engine) => engine,
            Err(error) => {
                undo(recorder, store).await;
                return Err(error);
            }
        };
        let commits = self.shared.commits.clone();
        recorder.on_commit(move |_| commits.send_modify(|count| *count += 1));
        let view = RunningView {
            sender: engine.sender(),
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
        state.running = Some(Running { engine, recorder, started_at: view.started_at, redirected: None });
        tracing::info!(address = %view.address, %session, "the proxy runs");
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
        let redirected = async {
            if let Some(listener) = running.redirected {
                listener.shutdown(drain).await;
            }
        };
        tokio::join!(running.engine.stop(drain), redirected);
        let recorder = running.recorder;
        let closed = blocking(move || Ok(recorder.close()?)).await;
        self.shared.commits.send_modify(|count| *count += 1);
        tracing::info!("the proxy stopped");
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
