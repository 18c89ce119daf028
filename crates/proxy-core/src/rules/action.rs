//! Actions: what a rule does to an exchange.

use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};

use super::{
    answer::{MapLocal, Mock, Redirect},
    edit::{BodyEdits, FieldEdits, QueryEdits},
    fault::{Corrupt, Side, TimeOut, Truncate},
    messages::{EditMessages, InjectMessage},
    pace::{Delay, Throttle},
    pause::Breakpoint,
    replace::Replace,
    reroute::MapRemote,
    token::{MethodToken, Status},
};

/// What a rule does. In files a map with the action's name as its only key, `{ mock = { status = 503 } }`, or the name
/// alone for those without settings, `"drop"`.
///
/// A rule whose matcher looks at the response runs its actions when the response is there; those that are marked
/// "request" below cannot be in such a rule. Every other rule runs its request actions before upstream is asked, and its
/// response actions on the response, also on the answer of a rule that came after it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Action {
    /// Answers with a response written in the rule. Ends the round.
    Mock(Mock),
    /// Answers with files of a directory. Ends the round.
    MapLocal(MapLocal),
    /// Answers with a redirection. Ends the round.
    Redirect(Redirect),
    /// Request: sends the request to another origin, with `Host` put right.
    MapRemote(MapRemote),
    /// Request: changes the URL by a search over all of it; another origin in it is where the request goes.
    RewriteUrl(Replace),
    /// Request: edits parameters of the query.
    Query(QueryEdits),
    /// Request: changes the method.
    SetMethod(MethodToken),
    /// Request: edits fields of the request's head.
    RequestHeaders(FieldEdits),
    /// Request: edits the request's body, decoded from its content coding; needs it whole.
    RequestBody(BodyEdits),
    /// Response: changes the status.
    SetStatus(Status),
    /// Response: edits fields of the response's head.
    ResponseHeaders(FieldEdits),
    /// Response: edits the response's body, decoded from its content coding; needs it whole.
    ResponseBody(BodyEdits),
    /// Waits before the exchange goes on.
    Delay(Delay),
    /// Slows both bodies down (in a rule that looks at the response: the response's), and adds latency.
    Throttle(Throttle),
    /// Gives no answer: the request's stream is reset (HTTP/2), or its connection closed (HTTP/1). Ends the round.
    Drop,
    /// Closes the client's whole connection in good order, without an answer. Ends the round.
    Close,
    /// Resets the client's whole TCP connection, without an answer. Ends the round.
    Reset,
    /// Gives no answer, and leaves the client waiting. Ends the round.
    TimeOut(TimeOut),
    /// Cuts a body off: the message ends as if its sender had broken off there.
    Truncate(Truncate),
    /// Flips bits in a body.
    Corrupt(Corrupt),
    /// Request: drops, replaces or answers WebSocket messages of the exchange.
    EditMessages(EditMessages),
    /// Request: sends a WebSocket message of its own.
    InjectMessage(InjectMessage),
    /// Pauses the exchange until somebody lets it go on.
    Breakpoint(Breakpoint),
}

/// When an action runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Before upstream is asked.
    Request,
    /// When the response's head is there, before the client gets any of it.
    Response,
}

impl Action {
    /// Answers with a status and nothing else.
    #[must_use]
    pub fn mock(status: StatusCode) -> Self {
        Self::Mock(Mock::new(status))
    }

    /// Puts a request field in the place of all fields of this name.
    #[must_use]
    pub fn set_request_header(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self::RequestHeaders(FieldEdits::set(name, value))
    }

    /// Puts a response field in the place of all fields of this name.
    #[must_use]
    pub fn set_response_header(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self::ResponseHeaders(FieldEdits::set(name, value))
    }

    /// Changes the method.
    #[must_use]
    pub fn set_method(method: Method) -> Self {
        Self::SetMethod(MethodToken(method))
    }

    /// Changes the response's status.
    #[must_use]
    pub fn set_status(status: StatusCode) -> Self {
        Self::SetStatus(Status(status))
    }

    /// Waits.
    #[must_use]
    pub fn delay(ms: u64) -> Self {
        Self::Delay(Delay { ms, jitter_ms: 0 })
    }

    /// The action's name in files.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Mock(_) => "mock",
            Self::MapLocal(_) => "map_local",
            Self::Redirect(_) => "redirect",
            Self::MapRemote(_) => "map_remote",
            Self::RewriteUrl(_) => "rewrite_url",
            Self::Query(_) => "query",
            Self::SetMethod(_) => "set_method",
            Self::RequestHeaders(_) => "request_headers",
            Self::RequestBody(_) => "request_body",
            Self::SetStatus(_) => "set_status",
            Self::ResponseHeaders(_) => "response_headers",
            Self::ResponseBody(_) => "response_body",
            Self::Delay(_) => "delay",
            Self::Throttle(_) => "throttle",
            Self::Drop => "drop",
            Self::Close => "close",
            Self::Reset => "reset",
            Self::TimeOut(_) => "time_out",
            Self::Truncate(_) => "truncate",
            Self::Corrupt(_) => "corrupt",
            Self::EditMessages(_) => "edit_messages",
            Self::InjectMessage(_) => "inject_message",
            Self::Breakpoint(_) => "breakpoint",
        }
    }

    /// Whether it decides what the client gets, so that nothing after it runs.
    #[must_use]
    pub fn ends_the_round(&self) -> bool {
        matches!(
            self,
            Self::Mock(_)
                | Self::MapLocal(_)
                | Self::Redirect(_)
                | Self::Drop
                | Self::Close
                | Self::Reset
                | Self::TimeOut(_)
        )
    }

    /// The phases an action runs in, in a rule that decides in `decided`. Only a breakpoint can have two.
    #[must_use]
    pub fn runs_in(&self, phase: Phase, decided: Phase) -> bool {
        match self {
            Self::SetStatus(_) | Self::ResponseHeaders(_) | Self::ResponseBody(_) => phase == Phase::Response,
            Self::Truncate(Truncate { side, .. }) | Self::Corrupt(Corrupt { side, .. }) => match side {
                Side::Request => phase == Phase::Request,
                Side::Response => phase == Phase::Response,
            },
            Self::Breakpoint(breakpoint) => {
                if decided == Phase::Response {
                    return phase == Phase::Response;
                }
                breakpoint.at.covers(phase)
            }
            _ => phase == decided,
        }
    }

    /// Whether it makes no sense once the request is on its way.
    #[must_use]
    pub fn is_for_requests_only(&self) -> bool {
        match self {
            Self::Truncate(Truncate { side, .. }) | Self::Corrupt(Corrupt { side, .. }) => {
                *side == Side::Request
            }
            _ => matches!(
                self,
                Self::MapRemote(_)
                    | Self::RewriteUrl(_)
                    | Self::Query(_)
                    | Self::SetMethod(_)
                    | Self::RequestHeaders(_)
                    | Self::RequestBody(_)
                    | Self::EditMessages(_)
                    | Self::InjectMessage(_)
            ),
        }
    }
}
