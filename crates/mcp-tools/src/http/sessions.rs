//! The sessions of clients, of which there are only so many.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rmcp::transport::streamable_http_server::session::{
    SessionManager as _,
    local::{LocalSessionManager, SessionConfig},
};
use tokio::time::Instant;

/// Sessions at once. Beyond it the one that was quiet longest ends: its client is answered 404 and begins another.
const MAX_SESSIONS: usize = 100;
/// How long a session lives without a message: agents think, and their users go to lunch.
const QUIET: Duration = Duration::from_secs(8 * 60 * 60);

/// The sessions, and when each was last heard of.
pub(super) struct Sessions {
    manager: Arc<LocalSessionManager>,
    heard: Mutex<HashMap<String, Instant>>,
}

impl Sessions {
    pub(super) fn new() -> Self {
        let mut manager = LocalSessionManager::default();
        let mut config = SessionConfig::default();
        config.keep_alive = Some(QUIET);
        manager.session_config = config;
        Self { manager: Arc::new(manager), heard: Mutex::default() }
    }

    pub(super) fn manager(&self) -> Arc<LocalSessionManager> {
        Arc::clone(&self.manager)
    }

    /// Takes note of a message of a session.
    pub(super) fn hear(&self, id: &str) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        // Ids that are none come from anybody: only those answered for are counted on below.
        if heard.len() < 4 * MAX_SESSIONS || heard.contains_key(id) {
            heard.insert(id.to_owned(), Instant::now());
        }
    }

    /// Makes room for another session.
    pub(super) async fn make_room(&self) {
        loop {
            let ids: Vec<_> = self.manager.sessions.read().await.keys().cloned().collect();
            let quietest = {
                let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
                heard.retain(|id, _| ids.iter().any(|known| **known == **id));
                if ids.len() < MAX_SESSIONS {
                    return;
                }
                ids.into_iter().min_by_key(|id| heard.get(&**id).copied())
            };
            let Some(id) = quietest else { return };
            tracing::info!("the session that was quiet longest ends, to make room for another");
            if let Err(error) = self.manager.close_session(&id).await {
                tracing::debug!(%error, "a session did not close properly");
                self.manager.sessions.write().await.remove(&id);
            }
        }
    }
}
