//! An exchange's way through the rules: what they decide is asked of [`rules`](crate::rules), and done here.

use std::{borrow::Cow, sync::Arc, time::SystemTime};

use bytes::Bytes;
use http::StatusCode;

use super::{
    desk::{Cleared, Desk, Leaves},
    flow::Flow,
    forward::Shape,
    intercept::{Ended, Ruling, broken},
    ledger::Ledger,
    local::Answer,
    messages::Lane,
    relay::{Followed, Tap},
    steps::{RequestSteps, ResponseSteps},
};
use crate::{
    body::{Unread, WholeBody},
    event::{Direction, EventKind, RuleHit},
    head::{RequestHead, ResponseHead},
    rules::{Answered, Asked, Course, Plan, Seen, Step},
};

/// One exchange under the rules: one snapshot of them from its head to its end.
pub(super) struct Ruled {
    pub(super) course: Course,
    /// What is done to the messages of a WebSocket, in order.
    pub(super) messages: Vec<Step>,
    /// Lines the response's body has to take, in bytes a second.
    pub(super) down: Vec<u64>,
    /// Whether upstream is told the host that the client named, wherever the request goes.
    pub(super) keeps_host: bool,
    pub(super) notes: Notes,
}

/// What rules did, to be told.
#[derive(Default)]
pub(super) struct Notes(Vec<(String, Vec<String>)>);

impl Notes {
    /// Notes that rules apply, each with nothing done yet.
    fn hits(&mut self, plan: &Plan) {
        self.0.extend(plan.hits.iter().map(|rule| (rule.id().to_owned(), Vec::new())));
    }

    /// Notes what a rule did.
    pub(super) fn add(&mut self, step: &Step, change: impl Into<String>) {
        self.extend(step, [change.into()]);
    }

    /// Notes several things a rule did.
    pub(super) fn extend(&mut self, step: &Step, changes: impl IntoIterator<Item = String>) {
        let mut changes = changes.into_iter().peekable();
        if changes.peek().is_none() {
            return;
        }
        match self.0.iter_mut().find(|(rule, _)| rule == step.rule_id()) {
            Some((_, noted)) => noted.extend(changes),
            None => self.0.push((step.rule_id().to_owned(), changes.collect())),
        }
    }

    /// Tells what was done since it was told last. Rules that did nothing yet may do so later.
    fn tell_done(&mut self, ledger: &Ledger) {
        for (rule, changes) in self.0.extract_if(.., |(_, changes)| !changes.is_empty()) {
            ledger.note(EventKind::Rule(RuleHit::new(rule, changes)));
        }
    }

    /// Tells all that was not told yet.
    pub(super) fn tell(&mut self, ledger: &Ledger) {
        for (rule, changes) in self.0.drain(..) {
            ledger.note(EventKind::Rule(RuleHit::new(rule, changes)));
        }
    }
}

/// Takes a request through the rules. `None` when none can match it.
pub(super) async fn request(
    asked: &RequestHead,
    head: &mut Cow<'_, RequestHead>,
    desk: &mut Desk<'_, '_, '_>,
) -> Ended<Option<Box<Ruled>>> {
    let engine = &desk.cx.engine;
    let asking = Asked { head: asked, client: desk.facts, body: Seen::NotRead };
    let Some(course) = Course::begin(&engine.changes.rules, &asking) else { return Ok(None) };
    let mut ruled = Box::new(Ruled {
        course,
        messages: Vec::new(),
        down: Vec::new(),
        keeps_host: false,
        notes: Notes::default(),
    });
    let body = if ruled.course.needs_request_body(&asking) {
        Some(desk.whole(engine.limits.max_held_body_bytes).await.map_err(broken)?)
    } else {
        None
    };
    let plan = ruled.course.request(&Asked { body: seen(body.as_ref()), ..asking }, SystemTime::now());
    ruled.notes.hits(&plan);
    let mut steps = RequestSteps { ruled: &mut ruled, asked, head, desk };
    let mut done = Ok(());
    for step in &plan.steps {
        done = steps.run(step).await;
        if done.is_err() {
            break;
        }
    }
    if !ruled.messages.is_empty() && head.is_websocket() {
        // No extension is agreed on for messages that are edited: what is made anew is not compressed.
        head.to_mut().headers.remove("sec-websocket-extensions");
        for (at, step) in ruled.messages.iter().enumerate() {
            if ruled.messages[..at].iter().all(|other| other.rule_id() != step.rule_id()) {
                ruled.notes.add(step, "follows the messages of the WebSocket, which go uncompressed");
            }
        }
    }
    if let Err(Ruling::Answer(answer)) = done {
        done = Err(ruled.own_answer(head, answer, desk).await.map_or_else(|ended| ended, Ruling::Answer));
    }
    if done.is_ok() {
        ruled.notes.tell_done(desk.ledger);
    } else {
        ruled.notes.tell(desk.ledger);
    }
    done.map(|()| Some(ruled))
}

impl Ruled {
    /// Takes what upstream answered through the rules.
    pub(super) async fn response(
        &mut self,
        request: &RequestHead,
        received: &ResponseHead,
        head: &mut Arc<ResponseHead>,
        desk: &mut Desk<'_, '_, '_>,
    ) -> Ended<()> {
        if desk.has_content || received.status == StatusCode::SWITCHING_PROTOCOLS {
            self.slow(desk);
        }
        if self.course.is_done_with_response() {
            return Ok(());
        }
        let answered = Answered { head: received, body: Seen::NotRead };
        let body = match self.course.needs_response_body(&answered) {
            true if desk.has_content => {
                let max_bytes = desk.cx.engine.limits.max_held_body_bytes;
                Some(desk.whole(max_bytes).await.map_err(broken)?)
            }
            true => Some(WholeBody::new(Ok(Bytes::new()))),
            false => None,
        };
        let answered = Answered { body: seen(body.as_ref()), ..answered };
        let plan = self.course.response(&answered, SystemTime::now());
        self.notes.hits(&plan);
        let done = ResponseSteps { ruled: self, request, head, desk }.run_all(&plan).await;
        self.notes.tell(desk.ledger);
        done
    }

    /// Has the messages of a WebSocket edited, where rules do that.
    pub(super) fn follow(&mut self, followed: &mut Followed, max_message_bytes: usize) {
        if !self.messages.is_empty() && matches!(followed.tap, Tap::Messages(_)) {
            let steps = std::mem::take(&mut self.messages);
            [followed.up.messages, followed.down.messages] = Lane::both(steps, max_message_bytes);
        }
    }

    /// Has the response's body take the lines that rules put in its way.
    fn slow(&mut self, desk: &mut Desk<'_, '_, '_>) {
        for rate in self.down.drain(..) {
            desk.flow().pace.slow(Some(rate));
        }
    }

    /// Takes a rule's own answer through what the rules that apply do to responses.
    async fn own_answer(
        &mut self,
        request: &RequestHead,
        answer: Answer,
        desk: &mut Desk<'_, '_, '_>,
    ) -> Ended<Answer> {
        let plan = self.course.own_answer();
        if plan.is_empty() && self.down.is_empty() {
            return Ok(answer);
        }
        let Answer { head, body, source, .. } = answer;
        let fields = head.headers.clone();
        let mut flow = Flow::default();
        flow.held.push(body.clone());
        flow.held.whole = true;
        let mut inner = Desk {
            cx: desk.cx,
            ledger: desk.ledger,
            facts: desk.facts,
            way: Direction::ToClient,
            leaves: Leaves::SeenByBody,
            body: desk.body,
            client: desk.client,
            shape: Shape::Length(body.len() as u64),
            has_content: request.method != http::Method::HEAD,
            version: desk.version,
            fields: &fields,
            flow: Some(Box::new(flow)),
            transformers: Vec::new(),
            faults: Vec::new(),
        };
        self.slow(&mut inner);
        let mut head = Arc::new(head);
        ResponseSteps { ruled: self, request, head: &mut head, desk: &mut inner }.run_all(&plan).await?;
        let cleared = inner.clear(|| &mut Arc::make_mut(&mut head).headers).await;
        let Cleared { mut flow, .. } = cleared.map_err(broken)?;
        let instead = flow.as_deref_mut().and_then(|flow| flow.instead.take());
        let body = instead.unwrap_or(body);
        Ok(Answer { head: Arc::unwrap_or_clone(head), body, source, flow })
    }
}

/// What rules are shown of a body.
fn seen(body: Option<&WholeBody>) -> Seen<'_> {
    let Some(body) = body else { return Seen::NotRead };
    match (body.bytes(), body.unread()) {
        (Some(bytes), _) => Seen::Whole(bytes),
        (None, Some(Unread::Undecodable { .. })) => Seen::Undecodable,
        (None, _) => Seen::OverLimit,
    }
}
