//! The transparent listener: opened and closed while the proxy runs, and what came by it counted.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use capture_store::Recorder;
use proxy_core::{BoxFuture, Event, EventKind, ListenerKind, Observer};

use super::{Toolbox, lifecycle::DRAIN};
use crate::error::ToolError;

/// Tells a recorder, and counts what came by a transparent listener.
pub(super) struct Counting {
    recorder: Recorder,
    count: Arc<AtomicU64>,
}

impl Observer for Counting {
    fn observe(&self, event: &Event) {
        if let EventKind::Request { client, .. } = &event.kind
            && client.listener == ListenerKind::Transparent
        {
            self.count.fetch_add(1, Ordering::Relaxed);
        }
        self.recorder.observe(event);
    }

    fn ready(&self) -> Option<BoxFuture<'static, ()>> {
        self.recorder.ready()
    }
}

impl Toolbox {
    /// An observer that counts beside recording; counts from 0.
    pub(super) fn counting(&self, recorder: Recorder) -> Counting {
        self.shared.redirected.store(0, Ordering::Relaxed);
        Counting { recorder, count: self.shared.redirected.clone() }
    }

    /// Where the transparent listener is, if it is open.
    pub(crate) fn redirected(&self) -> Option<SocketAddr> {
        self.state().running.as_ref()?.redirected.as_ref().map(proxy_core::FurtherListener::local_addr)
    }

    /// Exchanges that came by it since the proxy was started or the traffic cleared.
    pub(crate) fn redirected_count(&self) -> u64 {
        self.shared.redirected.load(Ordering::Relaxed)
    }

    /// Opens it, at the address the proxy listens at.
    pub(crate) async fn listen_transparent(&self, port: u16) -> Result<SocketAddr, ToolError> {
        let _turn = self.shared.lifecycle.lock().await;
        if let Some(address) = self.redirected() {
            return Err(ToolError::new(
                "already_running",
                format!("the transparent listener is open already, on port {}", address.port()),
            )
            .hint("use it as it is, or proxy_stop_transparent first"));
        }
        self.must_run()?;
        let address = SocketAddr::new(self.config().listen, port);
        // Nothing stops the proxy meanwhile: that takes its turn, too.
        let opening = self.state().running.as_ref().map(|running| running.engine.listen_transparent(address));
        let Some(opening) = opening else {
            return Err(ToolError::new("not_running", "the proxy is not running"));
        };
        let listener = opening.await?;
        let address = listener.local_addr();
        if let Some(running) = &mut self.state().running {
            running.redirected = Some(listener);
        }
        tracing::info!(%address, "the transparent listener is open");
        Ok(address)
    }

    /// Closes it; exchanges under way may end first. The proxy goes on.
    pub(crate) async fn stop_transparent(&self) -> Result<usize, ToolError> {
        let _turn = self.shared.lifecycle.lock().await;
        let listener = self.state().running.as_mut().and_then(|running| running.redirected.take());
        let Some(listener) = listener else {
            return Err(ToolError::new("not_running", "the transparent listener is not open")
                .hint("proxy_start_transparent opens it"));
        };
        Ok(listener.shutdown(DRAIN).await.cut_connections)
    }
}
