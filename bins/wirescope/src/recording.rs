//! Recording into a session, from its beginning to its end.

use std::path::Path;

use anyhow::Result;
use capture_store::{ErrorKind, Recorder, RecorderConfig, Seq, SessionId, SessionInfo, SessionSpec, Store};
use proxy_flags::KeepingFlags;

use crate::place::Place;

/// What to record into.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// The session's name; one without a name is evicted oldest first.
    pub(crate) name: Option<String>,
    /// The session's limit on disk.
    pub(crate) max_bytes: Option<u64>,
    /// Bytes of each body that are kept.
    pub(crate) max_body_bytes: Option<u64>,
    /// How long it is kept and how safely.
    pub(crate) keeping: KeepingFlags,
}

/// A session being recorded. Dropping it closes the session.
pub(crate) struct Recording {
    store: Store,
    recorder: Recorder,
    before: Seq,
}

impl Recording {
    /// Opens the store and begins a session in it.
    pub(crate) fn start(place: &Place, wanted: Wanted) -> Result<Self> {
        let store = place.store()?;
        let session = match wanted.name {
            Some(name) => SessionSpec::Named { name, max_bytes: wanted.max_bytes },
            None => SessionSpec::Scratch { max_bytes: wanted.max_bytes },
        };
        let mut config = RecorderConfig::default();
        config.max_body_bytes = wanted.max_body_bytes;
        wanted.keeping.apply(&mut config);
        let before = store.newest()?;
        let recorder = Recorder::start(&store, session, config)?;
        Ok(Self { store, recorder, before })
    }

    /// Whether `error` says that another process records into this store.
    pub(crate) fn is_taken(error: &anyhow::Error) -> bool {
        error
            .downcast_ref::<capture_store::Error>()
            .is_some_and(|error| matches!(error.kind(), ErrorKind::Locked(_)))
    }

    /// The observer to give to the proxy.
    pub(crate) fn observer(&self) -> Recorder {
        self.recorder.clone()
    }

    /// The store recorded into.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// The store's directory.
    pub(crate) fn directory(&self) -> &Path {
        self.store.directory()
    }

    /// The session recorded into.
    pub(crate) fn session(&self) -> SessionId {
        self.recorder.session()
    }

    /// The newest exchange that was there before.
    pub(crate) fn before(&self) -> Seq {
        self.before
    }

    /// How many exchanges passed unrecorded: the session is full, or the disk fails.
    pub(crate) fn dropped(&self) -> u64 {
        self.recorder.status().map_or(0, |status| status.dropped)
    }

    /// Calls `listener` after each commit, on the writer's thread.
    pub(crate) fn on_commit(&self, listener: impl Fn() + Send + Sync + 'static) {
        self.recorder.on_commit(move |_| listener());
    }

    /// Writes what is left and ends the session.
    pub(crate) fn close(&self) -> Result<SessionInfo> {
        Ok(self.recorder.close()?)
    }

    /// Ends the session and takes it away again, when nothing came of it.
    pub(crate) fn discard(self) {
        let Self { store, recorder, .. } = self;
        let closed = recorder.close();
        // Gone before its session is: the last of its clones would close that again.
        drop(recorder);
        let removed = closed.and_then(|session| store.delete_session(session.id));
        if let Err(error) = removed {
            tracing::warn!(%error, "removing an empty session failed");
        }
    }
}
