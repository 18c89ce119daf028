//! Serving what comes through open doors, until it is to end.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
    time::timeout,
};

use crate::{
    crew::Crew,
    engine::Engine,
    listener::{Doors, Intake},
};

/// How long what was cut is waited for. It ends at its next wait: only what computes all the time is not through by then.
const CUTTING: Duration = Duration::from_secs(5);

/// How a shutdown went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drained {
    /// Connections that were still busy at the deadline, and were cut.
    pub cut_connections: usize,
}

/// Serves what comes through the doors until `shutdown` resolves to how long exchanges under way may go on then. When it
/// returns, every exchange that came by these doors has ended.
///
/// Dropping the future cuts everything at once.
pub(crate) async fn serve(
    engine: Arc<Engine>,
    doors: Doors,
    crew: Arc<Crew>,
    shutdown: impl Future<Output = Duration>,
) -> Drained {
    let (drain, draining) = watch::channel(false);
    let intake = Intake::new(engine, crew.hands(), draining);
    let deadline = intake.until(doors, shutdown).await;
    drain.send_replace(true);
    let mut connections = intake.close();
    let rest = async { while connections.join_next().await.is_some() {} };
    let cut = if timeout(deadline, rest).await.is_ok() { 0 } else { connections.len() };
    connections.shutdown().await;
    Crew::leave(crew).await;
    // Tunnels inside HTTP/2 are tasks of their own, which nobody waits for once their connection was cut. All that belongs to a
    // connection listens to this channel for as long as it is there.
    if timeout(CUTTING, drain.closed()).await.is_err() {
        tracing::warn!("what was cut has not ended within {CUTTING:?}");
    }
    Drained { cut_connections: cut }
}

/// Something that is served on a task of its own. Dropping it cuts every connection at once.
pub(crate) struct Serving {
    stop: Option<oneshot::Sender<Duration>>,
    task: JoinHandle<Drained>,
}

/// Resolves to how long exchanges under way may go on, once they are to end.
pub(crate) struct Stopped(oneshot::Receiver<Duration>);

impl Stopped {
    pub(crate) async fn deadline(self) -> Duration {
        // Where nobody can say so any more, the task is aborted as well.
        self.0.await.unwrap_or(Duration::ZERO)
    }
}

impl Serving {
    /// Serves on a task of its own.
    pub(crate) fn begin<S>(serve: impl FnOnce(Stopped) -> S) -> Self
    where
        S: Future<Output = Drained> + Send + 'static,
    {
        let (stop, stopped) = oneshot::channel();
        Self { stop: Some(stop), task: tokio::spawn(serve(Stopped(stopped))) }
    }

    /// Stops accepting, lets the exchanges under way go on for `drain`, and cuts what is left then. When the future is
    /// dropped it goes on, until this is.
    pub(crate) async fn shutdown(&mut self, drain: Duration) -> Drained {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(drain);
        }
        (&mut self.task).await.unwrap_or(Drained { cut_connections: 0 })
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
    }
}
