//! WebSocket frames and the inflater behind them.

use super::cuts::{self, pieces};
use crate::{
    event::{Direction, WebSocketMessage},
    head::Headers,
    websocket::{MessageTap, negotiated},
};

/// What is kept of one message.
const MAX_MESSAGE_BYTES: usize = 4 * 1024;

/// The same messages whatever the cut, and never more of one than the bound.
pub(super) fn messages(data: &[u8]) {
    let Some((mode, data)) = data.split_first() else { return };
    let (at, stream) = cuts::split(data);
    let whole = follow(*mode, &[stream]);
    assert_eq!(
        format!("{whole:?}"),
        format!("{:?}", follow(*mode, &pieces(stream, &at))),
        "the cut of the stream makes a difference"
    );
}

fn follow(mode: u8, pieces: &[&[u8]]) -> Vec<WebSocketMessage> {
    let mut accepted = Headers::new();
    match mode % 4 {
        0 => {}
        1 => accepted.push("Sec-WebSocket-Extensions", "permessage-deflate"),
        2 => accepted.push("Sec-WebSocket-Extensions", "permessage-deflate; client_no_context_takeover"),
        _ => accepted.push("Sec-WebSocket-Extensions", "x-unknown"),
    }
    let mut tap = MessageTap::new(Direction::ToUpstream, negotiated(&accepted), MAX_MESSAGE_BYTES);
    let mut messages = Vec::new();
    for piece in pieces {
        tap.feed(piece, &mut |message| messages.push(message));
    }
    tap.finish(&mut |message| messages.push(message));
    for message in &messages {
        assert!(message.data.len() <= MAX_MESSAGE_BYTES);
        assert!(message.truncated || message.data.len() as u64 == message.length);
    }
    messages
}
