//! What a leg tells its peer, and what it holds in memory.

use std::time::Duration;

use super::fields::SectionLimits;
use crate::limits::{Limits, Timeouts};

/// The least an HTTP/2 window is worth announcing: the protocol's default (RFC 9113 section 6.9.2).
const MIN_WINDOW_BYTES: usize = 65_535;
/// The most a window can be (RFC 9113 section 6.9.1).
const MAX_WINDOW_BYTES: usize = (1 << 31) - 1;

/// A client is near, but on a busy machine every window update waits for its turn several times over: 1 MiB by
/// default, with which an upload takes half as long as with 256 KiB.
const CLIENT_STREAM_WINDOW_IN_BUFFERS: usize = 16;
/// Upstream is far: 1 MiB by default, 10 MiB/s at a round trip of 100 ms.
const UPSTREAM_STREAM_WINDOW_IN_BUFFERS: usize = 16;
/// Handed over and not yet written, so that whoever writes the connection has more than a few frames at a time.
const SEND_BUFFERS: usize = 4;
/// Uploads that may stall before one stalls its siblings.
const CLIENT_STREAMS_IN_CONNECTION_WINDOW: usize = 4;
/// Downloads that may stall before one stalls its siblings; a page with paused videos has a few.
const UPSTREAM_STREAMS_IN_CONNECTION_WINDOW: usize = 16;

/// Streams a client may open and reset before they were looked at. Beyond it the connection ends with
/// ENHANCE_YOUR_CALM: that is the rapid reset attack (CVE-2023-44487). A browser leaving a page resets dozens.
const MAX_PENDING_RESETS: usize = 100;

/// One leg's settings, made from the proxy's limits.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Bytes of a head or a trailer section, counted as RFC 9113 section 6.5.2 has it. Beyond it a request is
    /// answered with 431 and a response is an error.
    pub(crate) max_head_bytes: usize,
    /// Fields in a head or a trailer section; beyond it as above.
    pub(crate) max_header_count: usize,
    /// Streams the peer may have open at once; more are refused with REFUSED_STREAM.
    pub(crate) max_concurrent_streams: u32,
    /// Body bytes received on one stream and not yet taken.
    pub(crate) stream_window_bytes: u32,
    /// The same over all streams of the connection: the most it holds in memory.
    pub(crate) connection_window_bytes: u32,
    /// Body bytes of one stream handed over and not yet written; beyond it [`Writer::data`](super::Writer::data)
    /// waits.
    pub(crate) send_buffer_bytes: usize,
    /// Streams opened and reset before they were looked at; beyond it the connection ends.
    pub(crate) max_pending_resets: usize,
    /// Whether clients may ask for extended CONNECT (RFC 8441). A client that sees it opens WebSockets on this
    /// connection and does not fall back, so it must be true only when upstream has it too.
    pub(crate) extended_connect: bool,
    /// How long a peer may leave its window shut on bytes to be written to it.
    pub(crate) patience: Duration,
}

impl Settings {
    /// The settings towards clients.
    pub(crate) fn client_facing(limits: &Limits, timeouts: &Timeouts) -> Self {
        let stream = window(limits.body_buffer_bytes, CLIENT_STREAM_WINDOW_IN_BUFFERS);
        Self::new(limits, timeouts, stream, CLIENT_STREAMS_IN_CONNECTION_WINDOW)
    }

    /// The settings towards upstream.
    pub(crate) fn upstream_facing(limits: &Limits, timeouts: &Timeouts) -> Self {
        let stream = window(limits.body_buffer_bytes, UPSTREAM_STREAM_WINDOW_IN_BUFFERS);
        Self::new(limits, timeouts, stream, UPSTREAM_STREAMS_IN_CONNECTION_WINDOW)
    }

    fn new(
        limits: &Limits,
        timeouts: &Timeouts,
        stream_window_bytes: u32,
        streams_in_connection: usize,
    ) -> Self {
        Self {
            max_head_bytes: limits.max_head_bytes,
            max_header_count: limits.max_header_count,
            max_concurrent_streams: limits.max_concurrent_streams,
            stream_window_bytes,
            connection_window_bytes: window(stream_window_bytes as usize, streams_in_connection),
            send_buffer_bytes: limits.body_buffer_bytes.saturating_mul(SEND_BUFFERS).max(1),
            max_pending_resets: MAX_PENDING_RESETS,
            extended_connect: false,
            patience: timeouts.idle_body,
        }
    }

    pub(super) fn section_limits(&self) -> SectionLimits {
        SectionLimits { max_bytes: self.max_head_bytes, max_count: self.max_header_count }
    }

    /// What `h2` is told to accept: twice our own limit, so that what is a little over it reaches us whole and is
    /// refused with a reason and on the record. Beyond twice `h2` refuses by itself, beyond eight times it ends
    /// the connection.
    pub(super) fn announced_head_bytes(&self) -> u32 {
        u32::try_from(self.max_head_bytes.saturating_mul(2)).unwrap_or(u32::MAX)
    }
}

fn window(bytes: usize, times: usize) -> u32 {
    let bytes = bytes.saturating_mul(times).clamp(MIN_WINDOW_BYTES, MAX_WINDOW_BYTES);
    u32::try_from(bytes).unwrap_or(i32::MAX as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_follow_the_body_buffer_within_what_the_protocol_allows() {
        for (buffer, client, upstream) in [
            (64 * 1024, (1 << 20, 4 << 20), (1 << 20, 16 << 20)),
            (0, (65_535, 4 * 65_535), (65_535, 16 * 65_535)),
            (usize::MAX, (i32::MAX as u32, i32::MAX as u32), (i32::MAX as u32, i32::MAX as u32)),
        ] {
            let limits = Limits { body_buffer_bytes: buffer, ..Limits::default() };
            let settings = Settings::client_facing(&limits, &Timeouts::default());
            assert_eq!((settings.stream_window_bytes, settings.connection_window_bytes), client);
            let settings = Settings::upstream_facing(&limits, &Timeouts::default());
            assert_eq!((settings.stream_window_bytes, settings.connection_window_bytes), upstream);
        }
    }
}
