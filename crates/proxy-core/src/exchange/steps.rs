//! What the actions of rules do, one by one.

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::time::sleep;

use super::{
    desk::{Desk, off_thread},
    flow::Stage,
    intercept::{Ended, Ruling, broken},
    local::Answer,
    ruled::Ruled,
    run::Afterwards,
};
use crate::{
    body::Unread,
    event::{Direction, ResponseSource},
    failure::{Failure, FailureKind},
    head::{RequestHead, ResponseHead},
    rules::{Action, BodyEdit, Filling, Plan, RuleAnswer, Side, Step, edit_body, edits_read_files},
};

/// Bodies up to this size are edited where they are; larger ones where they hold up nobody.
const MAX_EDITED_IN_PLACE_BYTES: usize = 32 * 1024;

/// What runs the steps of a request.
pub(super) struct RequestSteps<'s, 'h, 'x, 'u, 'c> {
    pub(super) ruled: &'s mut Ruled,
    /// The request as the client sent it.
    pub(super) asked: &'s RequestHead,
    /// The request as it is now.
    pub(super) head: &'s mut Cow<'h, RequestHead>,
    pub(super) desk: &'s mut Desk<'x, 'u, 'c>,
}

impl RequestSteps<'_, '_, '_, '_, '_> {
    /// Does one thing to a request.
    pub(super) async fn run(&mut self, step: &Step) -> Ended<()> {
        if let Some(changes) = self.edit_head(step.action()) {
            self.ruled.notes.extend(step, changes);
            return Ok(());
        }
        match step.action() {
            Action::RequestBody(edits) => {
                let changes = edit(step, edits, "request body", self.desk).await?;
                self.ruled.notes.extend(step, changes);
                Ok(())
            }
            Action::EditMessages(_) | Action::InjectMessage(_) => {
                self.ruled.messages.push(step.clone());
                Ok(())
            }
            Action::Throttle(throttle) => {
                self.desk.flow().pace.slow(throttle.up_bytes_per_second);
                self.ruled.down.extend(throttle.down_bytes_per_second);
                self.ruled.notes.add(step, format!("throttled to {throttle}"));
                wait(self.desk, Duration::from_millis(throttle.latency_ms)).await
            }
            Action::Breakpoint(breakpoint) => self.pause(step, breakpoint).await,
            Action::Mock(_) | Action::MapLocal(_) | Action::Redirect(_) => {
                answer(self.ruled, step, self.asked, self.head, self.desk).await
            }
            _ => either(self.ruled, step, self.desk).await,
        }
    }

    /// Edits the head, if that is what the action does.
    fn edit_head(&mut self, action: &Action) -> Option<Vec<String>> {
        let head = &mut *self.head;
        Some(match action {
            Action::MapRemote(remote) => {
                self.ruled.keeps_host |= remote.keep_host;
                remote.apply(head.to_mut())
            }
            Action::RewriteUrl(replace) => replace.rewrite_url(head.to_mut()),
            Action::Query(edits) => edits.apply(head.to_mut()),
            Action::SetMethod(method) => {
                let change = format!("set the method to {}", method.method());
                head.to_mut().method = method.method().clone();
                vec![change]
            }
            Action::RequestHeaders(edits) => edits.apply(Side::Request, &mut head.to_mut().headers),
            _ => return None,
        })
    }
}

/// What runs the steps of a response.
pub(super) struct ResponseSteps<'s, 'x, 'u, 'c> {
    pub(super) ruled: &'s mut Ruled,
    /// The request as upstream got it.
    pub(super) request: &'s RequestHead,
    pub(super) head: &'s mut Arc<ResponseHead>,
    pub(super) desk: &'s mut Desk<'x, 'u, 'c>,
}

impl ResponseSteps<'_, '_, '_, '_> {
    /// Does everything that is planned for a response.
    pub(super) async fn run_all(&mut self, plan: &Plan) -> Ended<()> {
        for step in &plan.steps {
            self.run(step).await?;
        }
        Ok(())
    }

    async fn run(&mut self, step: &Step) -> Ended<()> {
        match step.action() {
            Action::SetStatus(status) => {
                let head = Arc::make_mut(self.head);
                let status = status.code();
                head.reason = head.reason.as_ref().map(|_| reason(status));
                head.status = status;
                self.ruled.notes.add(step, format!("set the status to {}", status.as_u16()));
                Ok(())
            }
            Action::ResponseHeaders(edits) => {
                let changes = edits.apply(Side::Response, &mut Arc::make_mut(self.head).headers);
                self.ruled.notes.extend(step, changes);
                Ok(())
            }
            Action::ResponseBody(edits) if self.desk.has_content => {
                let changes = edit(step, edits, "response body", self.desk).await?;
                self.ruled.notes.extend(step, changes);
                Ok(())
            }
            Action::ResponseBody(_) => {
                self.ruled.notes.add(step, "left the response body: there is none");
                Ok(())
            }
            Action::Throttle(throttle) => {
                self.desk.flow().pace.slow(throttle.down_bytes_per_second);
                self.ruled.notes.add(step, format!("throttled to {throttle}"));
                wait(self.desk, Duration::from_millis(throttle.latency_ms)).await
            }
            Action::Breakpoint(breakpoint) => self.pause(step, breakpoint).await,
            Action::Mock(_) | Action::MapLocal(_) | Action::Redirect(_) => {
                answer(self.ruled, step, self.request, self.request, self.desk).await
            }
            _ => either(self.ruled, step, self.desk).await,
        }
    }
}

fn reason(status: http::StatusCode) -> Bytes {
    Bytes::from_static(status.canonical_reason().unwrap_or("").as_bytes())
}

/// Does what is the same for requests and responses.
async fn either(ruled: &mut Ruled, step: &Step, desk: &mut Desk<'_, '_, '_>) -> Ended<()> {
    let (what, side) = match desk.way {
        Direction::ToUpstream => ("request", Side::Request),
        Direction::ToClient => ("response", Side::Response),
    };
    let end = |did: &str| Failure::new(FailureKind::Rule, format!("rule {} {did}", step.rule_id()));
    let (did, afterwards) = match step.action() {
        Action::Delay(delay) => {
            let time = delay.duration(ruled.course.luck());
            ruled.notes.add(step, format!("delayed the {what} by {} ms", time.as_millis()));
            return wait(desk, time).await;
        }
        Action::Truncate(truncate) if truncate.side == side => {
            let left = truncate.after_bytes;
            let did = format!("cut the {what} body off after {left} bytes");
            desk.faults.push(Stage::Truncate { left, why: end(&did) });
            ruled.notes.add(step, did);
            return Ok(());
        }
        Action::Corrupt(corrupt) if corrupt.side == side => {
            desk.faults.push(Stage::Corrupt { corrupt: *corrupt, offset: 0 });
            let every = corrupt.every_bytes;
            ruled.notes.add(step, format!("flipped a bit in every {every} bytes of the {what} body"));
            return Ok(());
        }
        Action::TimeOut(time_out) => {
            let time = Duration::from_millis(time_out.ms);
            ruled.notes.add(step, format!("let the client wait without an answer for up to {time:?}"));
            wait(desk, time).await?;
            ("let the client wait in vain", Afterwards::Close)
        }
        Action::Drop => ("dropped the exchange", Afterwards::Close),
        Action::Close => ("closed the connection", Afterwards::CloseConnection),
        Action::Reset => ("reset the connection", Afterwards::ResetConnection),
        // Nothing else comes to this side.
        _ => return Ok(()),
    };
    if !matches!(step.action(), Action::TimeOut(_)) {
        ruled.notes.add(step, did);
    }
    Err(Ruling::Abort(end(did), afterwards))
}

async fn wait(desk: &mut Desk<'_, '_, '_>, time: Duration) -> Ended<()> {
    if time.is_zero() {
        return Ok(());
    }
    desk.watched(sleep(time)).await.map_err(broken)
}

/// Edits the body that waits; says what was done, or why nothing was.
async fn edit(
    step: &Step,
    edits: &[BodyEdit],
    what: &'static str,
    desk: &mut Desk<'_, '_, '_>,
) -> Ended<Vec<String>> {
    let limit = desk.cx.engine.limits.max_held_body_bytes;
    let whole = desk.whole(limit).await.map_err(broken)?;
    let body = match (whole.bytes(), whole.unread()) {
        (Some(body), _) => body.clone(),
        (None, Some(Unread::Undecodable { problem })) => {
            return Ok(vec![format!("left the {what}: it cannot be decoded ({problem})")]);
        }
        (None, unread) => {
            let why = unread.map(ToString::to_string).unwrap_or_default();
            return Ok(vec![format!("left the {what}: {why}")]);
        }
    };
    let blocks = body.len() > MAX_EDITED_IN_PLACE_BYTES || edits_read_files(edits);
    let edited = if blocks {
        let step = step.clone();
        off_thread(blocks, move || match step.action() {
            Action::RequestBody(edits) | Action::ResponseBody(edits) => {
                Some(edit_body(edits, what, &body, limit))
            }
            _ => None,
        })
        .await
        .flatten()
    } else {
        Some(edit_body(edits, what, &body, limit))
    };
    let Some(edited) = edited else { return Ok(vec![format!("left the {what}: the edit panicked")]) };
    desk.replace(edited.body);
    Ok(edited.changes)
}

/// Answers as a rule says.
async fn answer(
    ruled: &mut Ruled,
    step: &Step,
    asked: &RequestHead,
    head: &RequestHead,
    desk: &mut Desk<'_, '_, '_>,
) -> Ended<()> {
    let needs_body = desk.way == Direction::ToUpstream
        && match step.action() {
            Action::Mock(mock) => mock.needs_request_body(),
            Action::Redirect(redirect) => redirect.needs_request_body(),
            _ => false,
        };
    let body = if needs_body {
        let max_bytes = desk.cx.engine.limits.max_held_body_bytes;
        desk.whole(max_bytes).await.map_err(broken)?.bytes().cloned()
    } else {
        None
    };
    let blocks = match step.action() {
        Action::Mock(mock) => mock.reads_file(),
        Action::MapLocal(_) => true,
        _ => false,
    };
    let made = if blocks {
        let (step, asked, head) = (step.clone(), asked.clone(), head.clone());
        off_thread(blocks, move || compose(step.action(), &asked, &head, body.as_deref())).await.flatten()
    } else {
        compose(step.action(), asked, head, body.as_deref())
    };
    let Some(RuleAnswer { head, body, change, .. }) = made else {
        let detail = format!("rule {} panicked over its answer", step.rule_id());
        return Err(Ruling::Refuse(Failure::new(FailureKind::Rule, detail)));
    };
    ruled.notes.add(step, change);
    Err(Ruling::Answer(Answer { head, body, source: ResponseSource::Mock, flow: None }))
}

fn compose(
    action: &Action,
    asked: &RequestHead,
    head: &RequestHead,
    body: Option<&[u8]>,
) -> Option<RuleAnswer> {
    let filling = Filling { request: asked, body, now: SystemTime::now(), random: &random };
    match action {
        Action::Mock(mock) => Some(mock.answer(&filling)),
        Action::Redirect(redirect) => Some(redirect.answer(&filling)),
        Action::MapLocal(local) => Some(local.answer(head)),
        _ => None,
    }
}

fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    // Where the system has no randomness TLS does not work either; a UUID of zeros is then the lesser trouble.
    let _ = SystemRandom::new().fill(&mut bytes);
    bytes
}
