//! One deadline for everything a test waits for.

use std::{future::Future, io, time::Duration};

/// How long any wait of this crate lasts before it fails with [`io::ErrorKind::TimedOut`].
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Awaits `wait` for at most [`DEADLINE`]; `what` names it in the error.
pub async fn within<T>(what: &str, wait: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match tokio::time::timeout(DEADLINE, wait).await {
        Ok(result) => result,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, format!("{what} took over {DEADLINE:?}"))),
    }
}
