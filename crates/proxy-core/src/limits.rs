//! Bounds on everything a peer controls.

use std::time::Duration;

/// Sizes and counts a peer cannot exceed. What happens at each bound stands with it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of a message head, or of a trailer section, in either direction. Beyond it a request gets 431 and a
    /// response becomes a 502. Default 256 KiB (browsers send up to 64 KiB of cookies; origins differ).
    pub max_head_bytes: usize,
    /// Fields in a head. Beyond it as above. Default 1,000.
    pub max_header_count: usize,
    /// Client connections at once. Beyond it the listener stops accepting until one closes. Default 10,000.
    pub max_connections: usize,
    /// Concurrent HTTP/2 streams a client may open on one connection; beyond it they are refused
    /// (REFUSED_STREAM, RFC 9113 section 5.1.2). Default 256.
    ///
    /// Floods on one HTTP/2 connection end it with ENHANCE_YOUR_CALM, whatever the limits say: more than 1,000 streams
    /// reset before their answer or refused, and then 33 a second; more than 1,000 frames that move nothing, and then 100
    /// a second; more than 1,000 answers that nobody reads.
    pub max_concurrent_streams: u32,
    /// What HTTP/2 bodies are held in: a stream's first window is 4 of these, as is its send buffer, in each direction; a
    /// fast reader's window grows to 16 towards clients and 64 towards upstream, and a connection holds at most 64 and 128.
    /// Beyond them the sender waits. HTTP/1 holds two pieces of at most 64 KiB, whatever this says. Default 64 KiB.
    pub body_buffer_bytes: usize,
    /// Bytes of one WebSocket message kept for the record; the rest passes and is counted. Default 4 MiB.
    pub max_recorded_message_bytes: usize,
    /// Bytes of a body that rules may hold to look at it or to change it, as received and decoded; a larger one passes
    /// untouched, and the record says so. Default 8 MiB.
    pub max_held_body_bytes: usize,
    /// Leaf certificates kept in memory; beyond it the least used is forgotten and minted again. Default 1,000.
    pub max_cached_leafs: usize,
    /// Interim (1xx) responses to one request; beyond it the exchange fails with 502. Default 100.
    pub max_informational: usize,
    /// CONNECTs inside CONNECTs on one client connection; beyond it 508. Default 4.
    pub max_tunnel_depth: usize,
    /// Unused upstream connections kept for one client connection, of each HTTP version; beyond it the one unused for
    /// longest is closed. In use there are at most as many as requests under way. Default 8 (browsers open six to a host,
    /// but each of theirs has its own here).
    pub max_idle_upstreams: usize,
    /// The same for connections that clients share, where that was asked for. Default 1,024.
    pub max_idle_shared_upstreams: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_head_bytes: 256 * 1024,
            max_header_count: 1_000,
            max_connections: 10_000,
            max_concurrent_streams: 256,
            body_buffer_bytes: 64 * 1024,
            max_recorded_message_bytes: 4 * 1024 * 1024,
            max_held_body_bytes: 8 * 1024 * 1024,
            max_cached_leafs: 1_000,
            max_informational: 100,
            max_tunnel_depth: 4,
            max_idle_upstreams: 8,
            max_idle_shared_upstreams: 1_024,
        }
    }
}

/// Waits a peer cannot stretch. Each says what it bounds.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Timeouts {
    /// Resolving a name. Default 20 s (the system's resolver takes 5 s for each server that is silent).
    pub dns: Duration,
    /// Connecting, each address tried within it. Default 30 s.
    pub connect: Duration,
    /// From the connection to a parent proxy until the tunnel asked for is open: the parent dials meanwhile. Default
    /// 60 s.
    pub parent: Duration,
    /// A TLS handshake on either side. Default 30 s.
    pub handshake: Duration,
    /// From a request head's first byte to its end; answered with 408. Default 60 s.
    pub request_head: Duration,
    /// From the request's end to the response's head; answered with 504. Default 10 min (long polls).
    pub response_head: Duration,
    /// Without any byte in either direction while a message or a tunnel is under way; and how long a peer may take
    /// nothing of what is written to it. Default 1 h.
    pub idle_body: Duration,
    /// Between exchanges on a client connection. Default 5 min.
    pub keep_alive: Duration,
    /// An unused upstream connection kept for the client connection that caused it; then it is closed. Default 60 s.
    pub upstream_idle: Duration,
    /// How long a fresh tunnel may be silent before it counts as server-speaks-first. Default 2 s.
    pub peek: Duration,
    /// How long an exchange goes on for a client that closed its sending half, and how long one side of a tunnel or an
    /// upgraded stream may be silent once the other has ended. Default 60 s.
    pub half_closed: Duration,
    /// How long a body that is asked for whole may take until it is; then it passes as it comes. Default 30 s.
    pub hold_body: Duration,
    /// How long exchanges under way may go on after a shutdown began. Default 5 s.
    pub drain: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            dns: Duration::from_secs(20),
            connect: Duration::from_secs(30),
            parent: Duration::from_secs(60),
            handshake: Duration::from_secs(30),
            request_head: Duration::from_secs(60),
            response_head: Duration::from_secs(600),
            idle_body: Duration::from_secs(3_600),
            keep_alive: Duration::from_secs(300),
            upstream_idle: Duration::from_secs(60),
            peek: Duration::from_secs(2),
            half_closed: Duration::from_secs(60),
            hold_body: Duration::from_secs(30),
            drain: Duration::from_secs(5),
        }
    }
}
