//! Frames (RFC 9113 sections 4 and 6): their nine octets of head, and the numbers in them.

use bytes::{BufMut, Bytes, BytesMut};

/// The octets of a frame's head.
pub(super) const HEAD_BYTES: usize = 9;
/// The largest payload a peer takes unless it says otherwise (RFC 9113 section 6.5.2).
pub(super) const DEFAULT_PAYLOAD_BYTES: usize = 16_384;
/// The window of a connection, and of a stream unless settings say otherwise (RFC 9113 section 6.9.2).
pub(super) const DEFAULT_WINDOW_BYTES: u32 = 65_535;
/// The most a window can be (RFC 9113 section 6.9.1).
pub(super) const MAX_WINDOW_BYTES: i64 = (1 << 31) - 1;

/// What a client's side of a connection begins with (RFC 9113 section 3.4).
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frame types (RFC 9113 section 6).
pub(super) mod kind {
    pub(in crate::http2) const DATA: u8 = 0x0;
    pub(in crate::http2) const HEADERS: u8 = 0x1;
    pub(in crate::http2) const PRIORITY: u8 = 0x2;
    pub(in crate::http2) const RST_STREAM: u8 = 0x3;
    pub(in crate::http2) const SETTINGS: u8 = 0x4;
    pub(in crate::http2) const PUSH_PROMISE: u8 = 0x5;
    pub(in crate::http2) const PING: u8 = 0x6;
    pub(in crate::http2) const GOAWAY: u8 = 0x7;
    pub(in crate::http2) const WINDOW_UPDATE: u8 = 0x8;
    pub(in crate::http2) const CONTINUATION: u8 = 0x9;
}

/// Flags (RFC 9113 section 6).
pub(super) mod flag {
    pub(in crate::http2) const END_STREAM: u8 = 0x1;
    pub(in crate::http2) const ACK: u8 = 0x1;
    pub(in crate::http2) const END_HEADERS: u8 = 0x4;
    pub(in crate::http2) const PADDED: u8 = 0x8;
    pub(in crate::http2) const PRIORITY: u8 = 0x20;
}

/// Error codes (RFC 9113 section 7).
pub(super) mod code {
    pub(in crate::http2) const NO_ERROR: u32 = 0x0;
    pub(in crate::http2) const PROTOCOL_ERROR: u32 = 0x1;
    pub(in crate::http2) const FLOW_CONTROL_ERROR: u32 = 0x3;
    pub(in crate::http2) const STREAM_CLOSED: u32 = 0x5;
    pub(in crate::http2) const FRAME_SIZE_ERROR: u32 = 0x6;
    pub(in crate::http2) const REFUSED_STREAM: u32 = 0x7;
    pub(in crate::http2) const CANCEL: u32 = 0x8;
    pub(in crate::http2) const COMPRESSION_ERROR: u32 = 0x9;
    pub(in crate::http2) const ENHANCE_YOUR_CALM: u32 = 0xb;

    /// The name of a code, for people.
    pub(in crate::http2) fn name(code: u32) -> &'static str {
        const NAMES: [&str; 14] = [
            "NO_ERROR",
            "PROTOCOL_ERROR",
            "INTERNAL_ERROR",
            "FLOW_CONTROL_ERROR",
            "SETTINGS_TIMEOUT",
            "STREAM_CLOSED",
            "FRAME_SIZE_ERROR",
            "REFUSED_STREAM",
            "CANCEL",
            "COMPRESSION_ERROR",
            "CONNECT_ERROR",
            "ENHANCE_YOUR_CALM",
            "INADEQUATE_SECURITY",
            "HTTP_1_1_REQUIRED",
        ];
        usize::try_from(code).ok().and_then(|at| NAMES.get(at)).copied().unwrap_or("unknown code")
    }
}

/// Settings (RFC 9113 section 6.5.2, RFC 8441 section 3).
pub(super) mod setting {
    pub(in crate::http2) const HEADER_TABLE_SIZE: u16 = 0x1;
    pub(in crate::http2) const ENABLE_PUSH: u16 = 0x2;
    pub(in crate::http2) const MAX_CONCURRENT_STREAMS: u16 = 0x3;
    pub(in crate::http2) const INITIAL_WINDOW_SIZE: u16 = 0x4;
    pub(in crate::http2) const MAX_FRAME_SIZE: u16 = 0x5;
    pub(in crate::http2) const MAX_HEADER_LIST_SIZE: u16 = 0x6;
    pub(in crate::http2) const ENABLE_CONNECT_PROTOCOL: u16 = 0x8;
}

/// A frame's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHead {
    pub(super) length: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

impl FrameHead {
    /// Reads the head at the beginning of `bytes`; `None` when it is not whole yet.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = *bytes.first_chunk::<HEAD_BYTES>()?;
        Some(Self {
            length: u32::from_be_bytes([0, l0, l1, l2]) as usize,
            kind,
            flags,
            stream: u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]),
        })
    }

    /// As it is on the wire.
    pub(super) fn to_bytes(self) -> [u8; HEAD_BYTES] {
        let [_, l0, l1, l2] = (self.length as u32).to_be_bytes();
        let [s0, s1, s2, s3] = self.stream.to_be_bytes();
        [l0, l1, l2, self.kind, self.flags, s0, s1, s2, s3]
    }

    pub(super) fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// A frame as it was read.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) head: FrameHead,
    pub(super) payload: Bytes,
}

impl Frame {
    /// The payload without padding (RFC 9113 section 6.1); `None` when there is more padding than payload.
    pub(super) fn unpadded(&self) -> Option<Bytes> {
        if !self.head.has(flag::PADDED) {
            return Some(self.payload.clone());
        }
        let (padding, rest) = self.payload.split_first()?;
        let end = rest.len().checked_sub(usize::from(*padding))?;
        Some(self.payload.slice(1..1 + end))
    }
}

/// Writes a whole small frame.
pub(super) fn put(kind: u8, flags: u8, stream: u32, payload: &[u8], out: &mut BytesMut) {
    out.put_slice(&FrameHead { length: payload.len(), kind, flags, stream }.to_bytes());
    out.put_slice(payload);
}

/// The number in four octets, without its reserved first bit.
pub(super) fn number(payload: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(*payload.first_chunk::<4>()?) & 0x7fff_ffff)
}

/// Why a connection cannot go on: its code, and one line of detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fatal {
    pub(super) code: u32,
    pub(super) detail: &'static str,
}

impl Fatal {
    pub(super) const fn new(code: u32, detail: &'static str) -> Self {
        Self { code, detail }
    }

    pub(super) const fn protocol(detail: &'static str) -> Self {
        Self::new(code::PROTOCOL_ERROR, detail)
    }

    pub(super) const fn size(detail: &'static str) -> Self {
        Self::new(code::FRAME_SIZE_ERROR, detail)
    }

    pub(super) const fn calm(detail: &'static str) -> Self {
        Self::new(code::ENHANCE_YOUR_CALM, detail)
    }
}
