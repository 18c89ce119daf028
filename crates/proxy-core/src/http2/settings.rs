//! What a leg tells its peer, and what it holds in memory.

use std::time::Duration;

use super::{fields::SectionLimits, frame::DEFAULT_PAYLOAD_BYTES};
use crate::limits::{Limits, Timeouts};

/// The least an HTTP/2 window is worth announcing: the protocol's default (RFC 9113 section 6.9.2).
const MIN_WINDOW_BYTES: usize = 65_535;
/// The most a window can be (RFC 9113 section 6.9.1).
const MAX_WINDOW_BYTES: usize = (1 << 31) - 1;

/// A stream begins with 256 KiB by default, and gets more while its reader is faster than its sender.
const STREAM_WINDOW_IN_BUFFERS: usize = 4;
/// Clients are near: 1 MiB is enough for any speed.
const MAX_CLIENT_WINDOW_IN_BUFFERS: usize = 16;
/// Upstream is far: 4 MiB is 40 MiB/s at a round trip of 100 ms.
const MAX_UPSTREAM_WINDOW_IN_BUFFERS: usize = 64;
/// What a client's connection holds at most, in streams' first windows: 4 MiB.
const CLIENT_STREAMS_IN_CONNECTION_WINDOW: usize = 16;
/// The same towards upstream, where a page with paused videos has a few streams that stall: 8 MiB.
const UPSTREAM_STREAMS_IN_CONNECTION_WINDOW: usize = 32;
/// Handed over and not yet written, so that whoever writes the connection has more than a few frames at a time.
const SEND_BUFFERS: usize = 4;

/// The largest payload of a frame: fewer and larger pieces for peers that make use of it.
const MAX_PAYLOAD_BYTES: u32 = 65_536;

/// Streams a client may open and reset before they were answered, and how many more with each second: as in Node's
/// `streamResetBurst` and `streamResetRate`. A browser leaving a page resets dozens; the rapid reset attack
/// (CVE-2023-44487) thousands a second.
const RESETS: (u32, u32) = (1_000, 33);

/// Frames that move nothing (PING, SETTINGS, PRIORITY, empty DATA, WINDOW_UPDATE and the like), beyond those that go
/// with DATA, at once and with each second. Clients that measure the round trip send a few a second.
const IDLE_FRAMES: (u32, u32) = (1_000, 100);

/// One leg's settings, made from the proxy's limits.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Bytes of a head or a trailer section, counted as RFC 9113 section 6.5.2 has it. Beyond it a request is
    /// answered with 431 and a response is an error; beyond [`max_block_bytes`](Self::max_block_bytes) on the wire
    /// the connection ends.
    pub(crate) max_head_bytes: usize,
    /// Fields in a head or a trailer section; beyond it as above.
    pub(crate) max_header_count: usize,
    /// Streams the peer may have open at once; more are refused with REFUSED_STREAM.
    pub(crate) max_concurrent_streams: u32,
    /// Body bytes received on one stream and not yet taken, at first.
    pub(crate) stream_window_bytes: u32,
    /// The same for a stream whose reader was faster than its sender.
    pub(crate) max_stream_window_bytes: u32,
    /// The same over all streams of the connection: the most it holds in memory.
    pub(crate) connection_window_bytes: u32,
    /// Body bytes of one stream handed over and not yet written; beyond it [`Writer::data`](super::Writer::data)
    /// waits. Once a connection holds sixteen times as much, a stream gets 16 KiB.
    pub(crate) send_buffer_bytes: usize,
    /// Streams opened and reset before they were answered, at once and with each second; beyond it the connection
    /// ends with ENHANCE_YOUR_CALM.
    pub(crate) resets: (u32, u32),
    /// Frames that move nothing, at once and with each second; beyond it as above.
    pub(crate) idle_frames: (u32, u32),
    /// The largest payload of a frame that is taken; beyond it the connection ends with FRAME_SIZE_ERROR.
    pub(crate) max_payload_bytes: u32,
    /// Whether clients may ask for extended CONNECT (RFC 8441). A client that sees it opens WebSockets on this
    /// connection and does not fall back, so it must be true only when upstream has it too.
    pub(crate) extended_connect: bool,
    /// How long a peer may leave its window shut on bytes to be written to it.
    pub(crate) patience: Duration,
}

impl Settings {
    /// The settings towards clients.
    pub(crate) fn client_facing(limits: &Limits, timeouts: &Timeouts) -> Self {
        let connection = CLIENT_STREAMS_IN_CONNECTION_WINDOW;
        Self::new(limits, timeouts, MAX_CLIENT_WINDOW_IN_BUFFERS, connection)
    }

    /// The settings towards upstream.
    pub(crate) fn upstream_facing(limits: &Limits, timeouts: &Timeouts) -> Self {
        let connection = UPSTREAM_STREAMS_IN_CONNECTION_WINDOW;
        Self::new(limits, timeouts, MAX_UPSTREAM_WINDOW_IN_BUFFERS, connection)
    }

    fn new(limits: &Limits, timeouts: &Timeouts, max_buffers: usize, streams_in_connection: usize) -> Self {
        let stream_window_bytes = window(limits.body_buffer_bytes, STREAM_WINDOW_IN_BUFFERS);
        let connection_window_bytes = window(stream_window_bytes as usize, streams_in_connection);
        let max_stream = window(limits.body_buffer_bytes, max_buffers).min(connection_window_bytes / 2);
        Self {
            max_head_bytes: limits.max_head_bytes,
            max_header_count: limits.max_header_count,
            max_concurrent_streams: limits.max_concurrent_streams,
            stream_window_bytes,
            max_stream_window_bytes: max_stream.max(stream_window_bytes),
            connection_window_bytes,
            send_buffer_bytes: limits.body_buffer_bytes.saturating_mul(SEND_BUFFERS).max(1),
            resets: RESETS,
            idle_frames: IDLE_FRAMES,
            max_payload_bytes: MAX_PAYLOAD_BYTES,
            extended_connect: false,
            patience: timeouts.idle_body,
        }
    }

    pub(super) fn section_limits(&self) -> SectionLimits {
        SectionLimits { max_bytes: self.max_head_bytes, max_count: self.max_header_count }
    }

    /// The most a header block may take on the wire, with its CONTINUATION frames. What is over our limit and not
    /// over this is read to its end and refused on the record.
    pub(super) fn max_block_bytes(&self) -> usize {
        self.max_head_bytes.saturating_mul(2).saturating_add(DEFAULT_PAYLOAD_BYTES)
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
            (64 * 1024, (256 << 10, 1 << 20, 4 << 20), (256 << 10, 4 << 20, 8 << 20)),
            (0, (65_535, 65_535, 16 * 65_535), (65_535, 65_535, 32 * 65_535)),
        ] {
            let limits = Limits { body_buffer_bytes: buffer, ..Limits::default() };
            let timeouts = Timeouts::default();
            for (settings, expected) in [
                (Settings::client_facing(&limits, &timeouts), client),
                (Settings::upstream_facing(&limits, &timeouts), upstream),
            ] {
                let Settings { stream_window_bytes, max_stream_window_bytes, .. } = settings;
                let seen = (stream_window_bytes, max_stream_window_bytes, settings.connection_window_bytes);
                assert_eq!(seen, expected);
            }
        }
        let limits = Limits { body_buffer_bytes: usize::MAX, ..Limits::default() };
        let settings = Settings::upstream_facing(&limits, &Timeouts::default());
        assert_eq!(settings.connection_window_bytes, i32::MAX as u32);
    }
}
