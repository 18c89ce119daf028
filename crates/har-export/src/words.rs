//! The words that the `_wirescope` object has for kinds, states, sources and listeners.

use capture_store::{ExchangeKind, ExchangeState};
use proxy_core::{Failure, FailureKind, ListenerKind, ResponseSource};

use crate::extra::FailureExtra;

/// The word for a kind.
pub(crate) fn kind_word(kind: ExchangeKind) -> &'static str {
    match kind {
        ExchangeKind::WebSocket => "websocket",
        ExchangeKind::Upgrade => "upgrade",
        ExchangeKind::Tunnel => "tunnel",
        _ => "http",
    }
}

/// The kind a word stands for.
pub(crate) fn kind_of(word: &str) -> Option<ExchangeKind> {
    Some(match word {
        "http" => ExchangeKind::Http,
        "websocket" => ExchangeKind::WebSocket,
        "upgrade" => ExchangeKind::Upgrade,
        "tunnel" => ExchangeKind::Tunnel,
        _ => return None,
    })
}

/// The word for a state, and the failure where it is one.
pub(crate) fn state_words(state: &ExchangeState) -> (&'static str, Option<FailureExtra>) {
    match state {
        ExchangeState::Open => ("open", None),
        ExchangeState::Mock => ("mock", None),
        ExchangeState::Upgrade => ("upgrade", None),
        ExchangeState::Tunnel => ("tunnel", None),
        ExchangeState::Failed(failure) => {
            let code = failure.kind.code().to_owned();
            let side = failure.side().as_str().to_owned();
            ("failed", Some(FailureExtra { code, side, detail: failure.detail.clone() }))
        }
        _ => ("response", None),
    }
}

/// The state the words stand for.
pub(crate) fn state_of(word: &str, failure: Option<FailureExtra>) -> Option<ExchangeState> {
    Some(match word {
        "open" => ExchangeState::Open,
        "response" => ExchangeState::Response,
        "mock" => ExchangeState::Mock,
        "upgrade" => ExchangeState::Upgrade,
        "tunnel" => ExchangeState::Tunnel,
        "failed" => {
            let failure = failure.unwrap_or_default();
            let kind = FailureKind::from_code(&failure.code).unwrap_or(FailureKind::Unstated);
            ExchangeState::Failed(Failure::new(kind, failure.detail))
        }
        _ => return None,
    })
}

/// The word for who made a response.
pub(crate) fn source_word(source: ResponseSource) -> &'static str {
    match source {
        ResponseSource::Mock => "mock",
        ResponseSource::Proxy => "proxy",
        _ => "upstream",
    }
}

/// Who a word stands for.
pub(crate) fn source_of(word: &str) -> Option<ResponseSource> {
    Some(match word {
        "upstream" => ResponseSource::Upstream,
        "mock" => ResponseSource::Mock,
        "proxy" => ResponseSource::Proxy,
        _ => return None,
    })
}

/// The word for a kind of listener.
pub(crate) fn listener_word(listener: ListenerKind) -> &'static str {
    match listener {
        ListenerKind::Socks => "socks",
        ListenerKind::Transparent => "transparent",
        ListenerKind::Reverse => "reverse",
        ListenerKind::Own => "own",
        _ => "explicit",
    }
}

/// The kind of listener a word stands for.
pub(crate) fn listener_of(word: &str) -> Option<ListenerKind> {
    Some(match word {
        "explicit" => ListenerKind::Explicit,
        "socks" => ListenerKind::Socks,
        "transparent" => ListenerKind::Transparent,
        "reverse" => ListenerKind::Reverse,
        "own" => ListenerKind::Own,
        _ => return None,
    })
}
