//! Which exchanges a tool looks at: a session, and of it what a filter passes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use capture_store::{Condition, SessionId, Store, parse};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use traffic_analysis::{Bounds, Scope};

use crate::{
    error::ToolError,
    toolbox::{Toolbox, blocking},
};

/// How long a tool looks through exchanges before it says how far it came.
const PATIENCE: Duration = Duration::from_secs(20);

/// Which exchanges.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
pub(crate) struct ScopeParams {
    /// s3, or all; default: this server's traffic, else the newest session.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 40))]
    pub(crate) session: Option<String>,
    /// Filter: host:a.test status:>=500 since:10m.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4000))]
    pub(crate) filter: Option<String>,
}

/// Exchanges to look at, and where.
pub(crate) struct Scoped {
    pub(crate) store: Store,
    pub(crate) scope: Scope,
    /// What was looked at, for the answer: `s3`, several, `all` or `none`.
    pub(crate) session: String,
    /// To be held by the call as long as it is waited for.
    pub(crate) leash: Leash,
}

/// Stops the walks of a scope when it is dropped: the call was cancelled, and what blocks cannot be dropped with it.
#[derive(Default)]
pub(crate) struct Leash(Arc<AtomicBool>);

impl Drop for Leash {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Reads a filter given as `argument`.
pub(crate) fn filter(argument: &str, text: &str) -> Result<Condition, ToolError> {
    parse(text).map_err(|error| {
        ToolError::invalid(format!("{argument}: failed to {error}")).hint(
            "terms side by side must all hold: host:*.a.test method:POST status:>=400 -path:/health header.accept:json \
             body:text ms:>200 since:10m, with or, ( ) and -",
        )
    })
}

/// How far one call looks.
pub(crate) fn bounds() -> Bounds {
    Bounds::default().until(Instant::now() + PATIENCE)
}

impl Toolbox {
    /// The exchanges that `params` names, with all that was observed so far.
    pub(crate) async fn scoped(&self, params: &ScopeParams) -> Result<Scoped, ToolError> {
        let condition = params.filter.as_deref().map(|text| filter("filter", text)).transpose()?;
        let store = self.fresh_store().await?;
        let (scope, session) = self.sessions_in(&store, params.session.as_deref()).await?;
        let scope = match condition {
            Some(condition) => scope.filtered(condition),
            None => scope,
        };
        let leash = Leash::default();
        Ok(Scoped { store, scope: scope.stopped_by(leash.0.clone()), session, leash })
    }

    /// The scope of a session by its id, of `all`, or of what is meant where none is named.
    pub(crate) async fn sessions_in(
        &self,
        store: &Store,
        session: Option<&str>,
    ) -> Result<(Scope, String), ToolError> {
        match session {
            Some("all") => return Ok((Scope::all(), "all".to_owned())),
            Some(text) => {
                let id: SessionId = text.parse()?;
                let store = store.clone();
                let known = blocking(move || Ok(store.session(id)?)).await?;
                return Ok((Scope::of_session(known.id), known.id.to_string()));
            }
            None => {}
        }
        let live = self.live();
        let store = store.clone();
        blocking(move || {
            let mut sessions = Vec::new();
            for session in live {
                // What was deleted since is no part of the traffic any more.
                if store.session(session.id).is_ok_and(|info| info.exchanges > 0) {
                    sessions.push((session.id, session.floor));
                }
            }
            if sessions.is_empty() {
                let newest = store.sessions()?.into_iter().find(|info| info.exchanges > 0);
                sessions.extend(newest.map(|info| (info.id, capture_store::Seq(0))));
            }
            let names: Vec<String> = sessions.iter().map(|(id, _)| id.to_string()).collect();
            let label = if names.is_empty() { "none".to_owned() } else { names.join(",") };
            Ok((Scope::of_sessions(&sessions), label))
        })
        .await
    }
}
