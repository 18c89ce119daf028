//! Live captures: readers' views over the traffic, each with its own cursor.

use std::collections::{BTreeMap, BTreeSet};

use capture_store::{Seq, Store};

use crate::{error::ToolError, live::LiveSession};

/// Captures at once.
const MAX_CAPTURES: usize = 64;
/// Exchanges delivered in progress whose end a capture still waits for; beyond it the oldest are forgotten.
const MAX_OPEN: usize = 1000;

/// The captures of one server.
#[derive(Default)]
pub(crate) struct Captures {
    map: BTreeMap<String, Capture>,
    count: u64,
}

/// One capture.
#[derive(Clone)]
pub(crate) struct Capture {
    pub(crate) id: String,
    pub(crate) store: Store,
    /// What is at or before it was there already.
    pub(crate) start: Seq,
    /// What is at or before it was read.
    pub(crate) cursor: Seq,
    pub(crate) include_existing: bool,
    pub(crate) managed: bool,
    /// Whether starting the capture started the proxy.
    pub(crate) started_proxy: bool,
    /// The server's clearings seen so far.
    pub(crate) resets: u64,
    /// Delivered while in progress.
    pub(crate) open: BTreeSet<Seq>,
    /// The sessions it views, once the server records elsewhere.
    pub(crate) pinned: Option<Vec<LiveSession>>,
}

/// What a read commits.
pub(crate) struct Progress {
    pub(crate) cursor: Seq,
    pub(crate) opened: Vec<Seq>,
    pub(crate) ended: Vec<Seq>,
    pub(crate) resets: u64,
}

impl Captures {
    /// Adds a capture, whose id is given here.
    pub(crate) fn add(&mut self, mut capture: Capture) -> Result<Capture, ToolError> {
        if self.map.len() >= MAX_CAPTURES {
            return Err(ToolError::new("too_many_captures", format!("{MAX_CAPTURES} captures are active"))
                .hint("stop_live_capture ends one"));
        }
        self.count += 1;
        capture.id = format!("c{}", self.count);
        self.map.insert(capture.id.clone(), capture.clone());
        Ok(capture)
    }

    pub(crate) fn get(&self, id: &str) -> Result<Capture, ToolError> {
        self.map.get(id).cloned().ok_or_else(|| {
            let names: Vec<&str> = self.map.keys().map(String::as_str).collect();
            let error = format!("live capture {:?} was not found", crate::budget::cut(id, 80));
            ToolError::new("unknown_capture", error).hint(if names.is_empty() {
                "start_live_capture starts one".to_owned()
            } else {
                format!("active captures: {}", names.join(", "))
            })
        })
    }

    pub(crate) fn remove(&mut self, id: &str) {
        self.map.remove(id);
    }

    /// Notes what a read delivered. A capture stopped meanwhile takes no notes.
    pub(crate) fn commit(&mut self, id: &str, progress: Progress) {
        let Some(capture) = self.map.get_mut(id) else { return };
        capture.cursor = progress.cursor;
        capture.resets = progress.resets;
        for seq in progress.ended {
            capture.open.remove(&seq);
        }
        capture.open.extend(progress.opened);
        while capture.open.len() > MAX_OPEN {
            capture.open.pop_first();
        }
    }

    /// Keeps the views of captures as they are, because the server goes on in another store.
    pub(crate) fn pin(&mut self, live: &[LiveSession]) {
        for capture in self.map.values_mut().filter(|capture| capture.pinned.is_none()) {
            capture.pinned = Some(live.to_vec());
        }
    }
}
