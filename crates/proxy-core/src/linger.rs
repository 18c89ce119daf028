//! Closing under a peer that may still be sending, so that it gets to read what it was told last: where bytes come that nobody
//! reads any more, the system resets the connection and forgets what was not read yet (RFC 9112 section 9.6).

use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use crate::wire::Io;

/// How long a peer that was told to leave may go on sending.
pub(crate) const LINGER: Duration = Duration::from_secs(1);

/// And how much.
const MAX_LINGER_BYTES: usize = 256 * 1024;

/// Room made for each read.
const READ_BYTES: usize = 4 * 1024;

/// Closes the writing half, and reads on as [`forget`] does.
pub(crate) async fn linger(io: &mut impl Io) {
    if io.shutdown().await.is_ok() {
        forget(io).await;
    }
}

/// Reads and forgets what still comes, for as long as the caller waits, and 256 KiB at most.
pub(crate) async fn forget(io: &mut (impl AsyncRead + Unpin)) {
    let mut left = MAX_LINGER_BYTES;
    let mut scratch = BytesMut::with_capacity(READ_BYTES);
    while let Ok(read @ 1..) = io.read_buf(&mut scratch).await {
        match left.checked_sub(read) {
            Some(rest) => left = rest,
            None => return,
        }
        scratch.clear();
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    #[tokio::test]
    async fn what_still_comes_is_read_to_its_end_or_to_the_bound() {
        for (sent, taken) in [(0, 0), (10_000, 10_000), (1024 * 1024, MAX_LINGER_BYTES)] {
            let (mut peer, mut io) = duplex(512);
            let sending = tokio::spawn(async move {
                let mut count = 0;
                while count < sent && peer.write_all(&[0; 100]).await.is_ok() {
                    count += 100;
                }
                count
            });
            linger(&mut io).await;
            drop(io);
            let count = sending.await.unwrap();
            assert!(count >= taken && count <= taken + READ_BYTES, "{count} of {sent} bytes");
        }
    }
}
