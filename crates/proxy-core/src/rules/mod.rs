//! Rules: change, mock, break and explain traffic.
//!
//! What enters: [`Rule`]s (written in code, or read from TOML and JSON), and descriptions of exchanges. What leaves: a
//! [`Plan`], which says as data what is to be done to an exchange. Nothing here acts: `exchange` runs the plans.
//!
//! # How an exchange goes through the rules
//!
//! 1. [`Course::begin`] with the request's head; `None` means that no rule can match it, and costs one atomic load while
//!    no rule is enabled.
//! 2. [`Course::needs_request_body`]: only then is the body read whole, under the limit, and shown decoded as
//!    [`Seen::Whole`], else as [`Seen::OverLimit`] or [`Seen::Undecodable`].
//! 3. [`Course::request`] gives the plan for the request. Its steps run in their order; one that
//!    [ends the round](Action::ends_the_round) is always the last. Request actions change what goes to upstream.
//!    A `delay`, a `throttle` and a `breakpoint` take effect where they stand.
//! 4. If a rule answered: [`Course::own_answer`] gives what is done to that answer. Else upstream is asked, and
//!    [`Course::needs_response_body`] and [`Course::response`] go as 2 and 3 for what it answered.
//!
//! [`Plan::hits`] are the rules that came to apply; each step knows its rule. Actions that need a body whole
//! (`request_body`, `response_body`) say so by being there: a body over the limit passes untouched, and the record says
//! so.
//!
//! Rules run in the order of their priority, lower first, then by age. Every rule that matches applies, and what they
//! change adds up. The first that answers or ends the exchange is the last, and so is one with `stop`.

mod action;
mod answer;
mod apply_body;
mod apply_head;
mod chance;
mod content;
mod course;
mod described;
mod edit;
mod error;
mod evaluate;
mod explain;
mod fault;
mod file;
mod handle;
mod host;
mod index;
mod json;
mod literal;
mod local_files;
mod matcher;
mod media_type;
mod messages;
mod moment;
mod network;
mod pace;
mod pattern;
mod pause;
mod presence;
mod query;
mod replace;
mod reroute;
mod respond;
mod rule;
mod snapshot;
mod status;
mod subject;
mod template;
mod token;
mod wording;

#[cfg(test)]
mod tests;

pub use action::{Action, Phase};
pub use answer::{MapLocal, Mock, Redirect};
pub use apply_body::{EditedBody, edit_body, edits_read_files};
pub use chance::{Occurrence, Probability, Window};
pub use content::{Content, MAX_CONTENT_BYTES};
pub use course::{Course, Plan, Step};
pub use described::{Described, DescribedBody};
pub use edit::{BodyEdit, BodyEdits, Edits, FieldEdits, FieldName, FieldValue, Pairs, QueryEdits};
pub use error::{Place, RuleError, RuleErrorKind};
pub use evaluate::Holds;
pub use explain::{Check, Explanation, Foreseen, Matched, RuleExplanation};
pub use fault::{Corrupt, Side, TimeOut, Truncate};
pub use file::{FILE_VERSION, FileFormat, MAX_RULES};
pub use handle::Rules;
pub use host::HostMatch;
pub use json::{Json, JsonCheck, OneOrMany, Pointer};
pub use matcher::{ListenerMatch, Matcher, Presence, Protocol, SchemeMatch, UrlMatch};
pub use messages::{DataKind, EditMessages, InjectMessage, MessageEdit, Peer};
pub use moment::Moment;
pub use network::Network;
pub use pace::{Delay, MAX_DELAY_MS, Preset, Throttle};
pub use pattern::{MAX_PATTERN_BYTES, ParsePatternError, Pattern};
pub use pause::{Breakpoint, Otherwise, PauseAt};
pub use replace::{Replace, TooLarge};
pub use reroute::MapRemote;
pub use respond::RuleAnswer;
pub use rule::{DEFAULT_PRIORITY, Rule};
pub use snapshot::ActiveRule;
pub use status::StatusMatch;
pub use subject::{Answered, Asked, Seen};
pub use template::{Filling, Template, random_bytes};
pub use token::{MethodToken, Status};
