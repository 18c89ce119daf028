//! How a recorder stands.

use std::time::SystemTime;

use crate::session::SessionInfo;

/// What a recorder does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecorderState {
    /// It writes.
    Recording,
    /// It writes, and the wire waits because more came than the disk took so far.
    Behind,
    /// The disk refuses; it is tried again, and the wire waits.
    Retrying,
    /// The disk has refused for longer than patience lasts; it is tried again, and the wire waits.
    Holding,
    /// It has, and what it does not take is dropped and counted.
    Dropping,
    /// The session is full: what begins now is not recorded, and counted.
    Full,
    /// It was closed.
    Stopped,
}

impl RecorderState {
    /// A stable code: `recording`, `behind`, `retrying`, `holding`, `dropping`, `full`, `stopped`.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Recording => "recording",
            Self::Behind => "behind",
            Self::Retrying => "retrying",
            Self::Holding => "holding",
            Self::Dropping => "dropping",
            Self::Full => "full",
            Self::Stopped => "stopped",
        }
    }
}

/// How the recorder stands.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RecorderStatus {
    /// The session being recorded.
    pub session: SessionInfo,
    /// What the recorder does.
    pub state: RecorderState,
    /// Since when the disk refuses, where it does.
    pub failing_since: Option<SystemTime>,
    /// Body bytes waiting to be written, as `max_queued_bytes` counts them.
    pub queued_bytes: usize,
    /// Bytes written since the start.
    pub bytes_written: u64,
    /// Exchanges not recorded, because the session is full or the disk failed.
    pub dropped: u64,
    /// The last commit.
    pub last_commit: Option<SystemTime>,
    /// The last failure to write, if the recorder is failing.
    pub last_error: Option<String>,
}
