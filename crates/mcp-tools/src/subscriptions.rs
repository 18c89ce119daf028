//! Clients told when a resource changes.
//!
//! Two forms of one thing: `resources/subscribe` of the versions of the protocol with a session, and
//! `subscriptions/listen` of 2026-07-28, which also tells of new tools. Both look at the resources again when
//! something may have changed, at most once a second, and tell of those that read differently.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rmcp::{
    ErrorData, Peer, RoleServer,
    model::{ResourceUpdatedNotificationParam, SubscriptionFilter},
    service::SubscriptionContext,
};

use crate::{client::Task, resources, toolbox::Toolbox, toolsets::Open};

/// The least time between two looks.
const EVERY: Duration = Duration::from_secs(1);
/// Resources one client may subscribe to.
const MAX_URIS: usize = 100;

/// Resources by URI, with what they read like when they were last looked at.
type Seen = BTreeMap<String, Option<u64>>;

/// The subscriptions of one client with a session.
#[derive(Default)]
pub(crate) struct Subscriptions {
    seen: Arc<Mutex<Seen>>,
    task: Task,
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Subscriptions {
    /// Tells `peer` of changes of a resource from now on.
    pub(crate) async fn add(
        &self,
        toolbox: &Toolbox,
        uri: String,
        peer: Peer<RoleServer>,
    ) -> Result<(), ErrorData> {
        let now = digest(toolbox, &uri).await?;
        let first = {
            let mut seen = lock(&self.seen);
            if seen.len() >= MAX_URIS && !seen.contains_key(&uri) {
                let error =
                    format!("there are {MAX_URIS} subscriptions already; resources/unsubscribe ends one");
                return Err(ErrorData::invalid_request(error, None));
            }
            seen.insert(uri, Some(now));
            seen.len() == 1
        };
        if first {
            let (toolbox, seen) = (toolbox.clone(), Arc::clone(&self.seen));
            self.task.set(tokio::spawn(tell(toolbox, seen, peer)).abort_handle());
        }
        Ok(())
    }

    pub(crate) fn remove(&self, uri: &str) {
        lock(&self.seen).remove(uri);
    }
}

/// Tells until it is aborted, or the client is gone.
async fn tell(toolbox: Toolbox, seen: Arc<Mutex<Seen>>, peer: Peer<RoleServer>) {
    let mut changes = toolbox.commits();
    loop {
        if changes.changed().await.is_err() {
            return;
        }
        let uris: Vec<String> = lock(&seen).keys().cloned().collect();
        for uri in uris {
            let now = digest(&toolbox, &uri).await.ok();
            let changed =
                lock(&seen).get_mut(&uri).is_some_and(|before| std::mem::replace(before, now) != now);
            if changed
                && peer.notify_resource_updated(ResourceUpdatedNotificationParam::new(uri)).await.is_err()
            {
                return;
            }
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// What of a wish can be granted: the resources there are.
pub(crate) fn accepted(requested: &SubscriptionFilter) -> SubscriptionFilter {
    let mut accepted = requested.clone();
    accepted.prompts_list_changed = None;
    accepted.resources_list_changed = None;
    if let Some(uris) = &mut accepted.resource_subscriptions {
        uris.retain(|uri| resources::is_one(uri));
        uris.truncate(MAX_URIS);
    }
    accepted
}

/// Serves one `subscriptions/listen`, until the client cancels it or the server ends.
pub(crate) async fn listen(toolbox: &Toolbox, open: &Open, context: &SubscriptionContext) {
    // The client was told already that it listens: from here on nothing is missed.
    let (mut changes, mut tools) = (toolbox.commits(), open.changes());
    let uris = context.accepted().resource_subscriptions.clone().unwrap_or_default();
    let mut seen = Seen::new();
    for uri in uris {
        let now = digest(toolbox, &uri).await.ok();
        seen.insert(uri, now);
    }
    let wants_tools = context.accepted().tools_list_changed == Some(true);
    loop {
        let told = tokio::select! {
            () = context.cancelled() => return,
            () = toolbox.closing() => return,
            more = tools.changed(), if wants_tools => match more {
                Ok(()) => context.sink().notify_tool_list_changed().await.is_ok(),
                Err(_) => return,
            },
            more = changes.changed(), if !seen.is_empty() => match more {
                Ok(()) => look(toolbox, &mut seen, context).await,
                Err(_) => return,
            },
        };
        if !told {
            return;
        }
    }
}

/// Tells of what changed; false when the client is gone.
async fn look(toolbox: &Toolbox, seen: &mut Seen, context: &SubscriptionContext) -> bool {
    for (uri, before) in seen.iter_mut() {
        let now = digest(toolbox, uri).await.ok();
        if std::mem::replace(before, now) != now && context.sink().notify_resource_updated(uri).await.is_err()
        {
            return false;
        }
    }
    tokio::time::sleep(EVERY).await;
    true
}

/// What a resource reads like now.
async fn digest(toolbox: &Toolbox, uri: &str) -> Result<u64, ErrorData> {
    let text = resources::text(toolbox, uri).await?;
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    Ok(hasher.finish())
}
