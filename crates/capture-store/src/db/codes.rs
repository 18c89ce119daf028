//! The numbers that stand for enums in the database. They are part of the schema: never renumber.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proxy_core::{Direction, MessageKind, Scheme};

use crate::{
    record::ExchangeKind,
    session::{SessionKind, SessionState},
};

/// `exchanges.state`.
pub(super) mod state {
    pub(in crate::db) const OPEN: i64 = 0;
    pub(in crate::db) const RESPONSE: i64 = 1;
    pub(in crate::db) const MOCK: i64 = 2;
    pub(in crate::db) const UPGRADE: i64 = 3;
    pub(in crate::db) const TUNNEL: i64 = 4;
    pub(in crate::db) const FAILED: i64 = 5;
}

pub(super) fn exchange_kind(kind: ExchangeKind) -> i64 {
    match kind {
        ExchangeKind::Http => 0,
        ExchangeKind::WebSocket => 1,
        ExchangeKind::Upgrade => 2,
        ExchangeKind::Tunnel => 3,
    }
}

pub(super) fn to_exchange_kind(code: i64) -> ExchangeKind {
    match code {
        1 => ExchangeKind::WebSocket,
        2 => ExchangeKind::Upgrade,
        3 => ExchangeKind::Tunnel,
        _ => ExchangeKind::Http,
    }
}

pub(super) fn session_kind(kind: SessionKind) -> i64 {
    match kind {
        SessionKind::Scratch => 0,
        SessionKind::Named => 1,
        SessionKind::Imported => 2,
    }
}

pub(super) fn to_session_kind(code: i64) -> SessionKind {
    match code {
        1 => SessionKind::Named,
        2 => SessionKind::Imported,
        _ => SessionKind::Scratch,
    }
}

pub(super) fn session_state(state: SessionState) -> i64 {
    match state {
        SessionState::Active => 0,
        SessionState::Full => 1,
        SessionState::Stopped => 2,
        SessionState::Recovered => 3,
    }
}

pub(super) fn to_session_state(code: i64) -> SessionState {
    match code {
        0 => SessionState::Active,
        1 => SessionState::Full,
        3 => SessionState::Recovered,
        _ => SessionState::Stopped,
    }
}

pub(super) fn scheme(text: &str) -> i64 {
    i64::from(text == Scheme::Https.as_str())
}

pub(super) fn to_scheme(code: i64) -> Scheme {
    if code == 0 { Scheme::Http } else { Scheme::Https }
}

pub(super) fn direction(from_client: bool) -> i64 {
    match if from_client { Direction::ToUpstream } else { Direction::ToClient } {
        Direction::ToUpstream => 0,
        Direction::ToClient => 1,
    }
}

/// The opcodes of RFC 6455 section 11.8.
pub(super) fn message_kind(kind: MessageKind) -> i64 {
    match kind {
        MessageKind::Text => 1,
        MessageKind::Close => 8,
        MessageKind::Ping => 9,
        MessageKind::Pong => 10,
        // The enum can grow; what is not known here is bytes.
        _ => 2,
    }
}

pub(super) fn to_message_kind(code: i64) -> MessageKind {
    match code {
        1 => MessageKind::Text,
        8 => MessageKind::Close,
        9 => MessageKind::Ping,
        10 => MessageKind::Pong,
        _ => MessageKind::Binary,
    }
}

/// Nanoseconds since the Unix epoch, which reach to the year 2262.
pub(super) fn nanos(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |nanos| -nanos),
    }
}

pub(super) fn to_time(nanos: i64) -> SystemTime {
    let distance = Duration::from_nanos(nanos.unsigned_abs());
    if nanos < 0 { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance }
}

pub(super) fn duration(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// A count as SQLite stores it. Counts beyond 2^63 do not occur.
pub(super) fn int(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A stored count. Negative ones are not written.
pub(super) fn uint(stored: i64) -> u64 {
    u64::try_from(stored).unwrap_or(0)
}
