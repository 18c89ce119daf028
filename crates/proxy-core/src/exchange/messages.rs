//! What rules do to an upgraded stream: its messages edited and answered, messages of ours put in, its bytes slowed.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{desk::off_thread, ledger::Ledger, pace::Pace};
use crate::{
    event::{Direction, EventKind, MessageKind, RuleHit},
    rules::{Action, Content, DataKind, InjectMessage, MessageEdit, Peer, Step, edit_body, edits_read_files},
    websocket::{MessageSplitter, Passing, frame},
};

/// Answers that wait for their turn in one direction; beyond it they are dropped, and the record says so.
const MAX_WAITING_ANSWERS: usize = 64;
/// What is told of one direction edit by edit; beyond it edits are counted.
const MAX_TOLD: usize = 100;

/// One direction of an upgraded stream, with what is done to it.
#[derive(Default)]
pub(super) struct Lane {
    pub(super) pace: Pace,
    pub(super) messages: Option<Box<Messages>>,
}

/// The messages of one direction.
pub(super) struct Messages {
    direction: Direction,
    steps: Arc<[Step]>,
    max_message_bytes: usize,
    splitter: MessageSplitter,
    /// What is sent at a time of its own, the last first.
    due: Vec<(Instant, Step)>,
    answers: mpsc::Receiver<Bytes>,
    to_other: mpsc::Sender<Bytes>,
    told: usize,
}

impl Lane {
    /// Makes both directions of a WebSocket, to upstream and to the client.
    pub(super) fn both(steps: Vec<Step>, max_message_bytes: usize) -> [Option<Box<Messages>>; 2] {
        let steps: Arc<[Step]> = steps.into();
        let (up, to_upstream) = mpsc::channel(MAX_WAITING_ANSWERS);
        let (down, to_client) = mpsc::channel(MAX_WAITING_ANSWERS);
        let lane = |direction, answers, to_other| {
            let mut due = due(&steps, direction);
            due.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
            Some(Box::new(Messages {
                direction,
                steps: steps.clone(),
                max_message_bytes,
                splitter: MessageSplitter::new(max_message_bytes),
                due,
                answers,
                to_other,
                told: 0,
            }))
        };
        [lane(Direction::ToUpstream, to_upstream, down), lane(Direction::ToClient, to_client, up)]
    }

    /// What passes for the next bytes of the stream.
    pub(super) async fn pass(&mut self, ledger: &Ledger, data: &Bytes) -> Vec<Bytes> {
        match &mut self.messages {
            None => vec![data.clone()],
            Some(messages) => messages.pass(ledger, data).await,
        }
    }

    /// What passes at the stream's end.
    pub(super) fn finish(&mut self, ledger: &Ledger) -> Vec<Bytes> {
        let Some(messages) = &mut self.messages else { return Vec::new() };
        messages.tell_count(ledger);
        messages.splitter.finish().into_iter().map(as_is).collect()
    }

    /// Waits for something of ours that is to be sent now. Cancel safe.
    pub(super) async fn own(&mut self, ledger: &Ledger) -> Bytes {
        match &mut self.messages {
            Some(messages) if messages.splitter.may_insert() => messages.own(ledger).await,
            _ => std::future::pending().await,
        }
    }
}

/// What is put into one direction, and when.
fn due(steps: &[Step], direction: Direction) -> Vec<(Instant, Step)> {
    let now = Instant::now();
    steps
        .iter()
        .filter_map(|step| match step.action() {
            Action::InjectMessage(inject) if goes(inject) == direction => {
                Some((now + Duration::from_millis(inject.after_ms), step.clone()))
            }
            _ => None,
        })
        .collect()
}

fn goes(inject: &InjectMessage) -> Direction {
    match inject.to {
        Peer::Upstream => Direction::ToUpstream,
        Peer::Client => Direction::ToClient,
    }
}

fn as_is(passing: Passing) -> Bytes {
    match passing {
        Passing::AsIs(bytes) | Passing::Message { frames: bytes, .. } => bytes,
    }
}

impl Messages {
    async fn pass(&mut self, ledger: &Ledger, data: &[u8]) -> Vec<Bytes> {
        let mut out = Vec::new();
        for passing in self.splitter.feed(data) {
            match passing {
                Passing::AsIs(bytes) => out.push(bytes),
                Passing::Message { kind, data, frames } => {
                    out.extend(self.edit(ledger, kind, data, frames).await);
                }
            }
        }
        out
    }

    /// Takes a message through the rules, in their order. `None` when it does not arrive.
    async fn edit(
        &mut self,
        ledger: &Ledger,
        kind: MessageKind,
        data: Bytes,
        frames: Bytes,
    ) -> Option<Bytes> {
        let mut now = data;
        let mut is_edited = false;
        for step in self.steps.clone().iter() {
            let Action::EditMessages(edit) = step.action() else { continue };
            if !edit.is_for(self.direction, kind, &now) {
                continue;
            }
            match self.one(step, &edit.then, kind, &now).await {
                Edited::Not(why) => self.tell(ledger, step, &format!("left {}: {why}", self.whose())),
                Edited::Into(new, how) => {
                    now = new;
                    is_edited = true;
                    self.tell(ledger, step, &format!("{how} {}", self.whose()));
                }
                Edited::Gone(how) => {
                    self.tell(ledger, step, &format!("{how} {}", self.whose()));
                    return None;
                }
            }
        }
        Some(if is_edited { frame(kind, &now, mask(self.direction)) } else { frames })
    }

    async fn one(&self, step: &Step, then: &MessageEdit, kind: MessageKind, data: &Bytes) -> Edited {
        let limit = self.max_message_bytes;
        let fits = |new: Bytes, how| match kind {
            MessageKind::Text if std::str::from_utf8(&new).is_err() => {
                Edited::Not("the edited text would not be UTF-8".into())
            }
            _ => Edited::Into(new, how),
        };
        match then {
            MessageEdit::Drop => Edited::Gone("dropped"),
            MessageEdit::Replace(content) => match self.read(step, content).await {
                Ok(new) => fits(new, "replaced"),
                Err(problem) => Edited::Not(problem),
            },
            MessageEdit::Edit(edits) => {
                let blocks = edits_read_files(edits);
                let (step, data) = (step.clone(), data.clone());
                let edited = off_thread(blocks, move || match step.action() {
                    Action::EditMessages(edit) => match &edit.then {
                        MessageEdit::Edit(edits) => Some(edit_body(edits, "message", &data, limit)),
                        _ => None,
                    },
                    _ => None,
                });
                match edited.await.flatten() {
                    Some(edited) => match edited.body {
                        Some(new) => fits(new, "edited"),
                        None => Edited::Not(edited.changes.join("; ")),
                    },
                    None => Edited::Not("the edit panicked".into()),
                }
            }
            MessageEdit::Answer(content) => match self.read(step, content).await {
                Ok(answer) => {
                    let answer = frame(kind, &answer, mask(opposite(self.direction)));
                    match self.to_other.try_send(answer) {
                        Ok(()) => Edited::Gone("answered"),
                        Err(_full_or_over) => Edited::Gone("dropped, without room for the answer,"),
                    }
                }
                Err(problem) => Edited::Not(problem),
            },
        }
    }

    async fn read(&self, step: &Step, content: &Content) -> Result<Bytes, String> {
        if let Some(bytes) = content.inline() {
            return Ok(bytes);
        }
        let step = step.clone();
        let read = off_thread(true, move || content_of(&step).map(Content::read));
        match read.await.flatten() {
            Some(Ok(bytes)) => Ok(bytes),
            Some(Err(error)) => Err(error.to_string()),
            None => Err("reading the file panicked".into()),
        }
    }

    /// Waits for what is due, or for an answer to the other side.
    async fn own(&mut self, ledger: &Ledger) -> Bytes {
        loop {
            let at = self.due.last().map(|(at, _)| *at);
            let wait = async {
                match at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(answer) = self.answers.recv() => return answer,
                () = wait => {}
            }
            let Some((_, step)) = self.due.pop() else { continue };
            if let Some(frame) = self.inject(ledger, &step) {
                return frame;
            }
        }
    }

    fn inject(&mut self, ledger: &Ledger, step: &Step) -> Option<Bytes> {
        let Action::InjectMessage(inject) = step.action() else { return None };
        let kind = match inject.kind {
            DataKind::Text => MessageKind::Text,
            DataKind::Binary => MessageKind::Binary,
        };
        // A file is read here, where it is due: it is small, and this happens once for each WebSocket.
        match inject.content.read() {
            Ok(data) if kind == MessageKind::Text && std::str::from_utf8(&data).is_err() => {
                self.tell(ledger, step, "sent no message of its own: the text is not UTF-8");
                None
            }
            Ok(data) => {
                let whom = match inject.to {
                    Peer::Client => "the client",
                    Peer::Upstream => "upstream",
                };
                self.tell(ledger, step, &format!("sent {whom} a message of its own"));
                Some(frame(kind, &data, mask(self.direction)))
            }
            Err(error) => {
                self.tell(ledger, step, &format!("sent no message of its own: {error}"));
                None
            }
        }
    }

    fn whose(&self) -> &'static str {
        match self.direction {
            Direction::ToUpstream => "a message of the client",
            Direction::ToClient => "a message of upstream",
        }
    }

    fn tell(&mut self, ledger: &Ledger, step: &Step, change: &str) {
        self.told += 1;
        if self.told <= MAX_TOLD {
            ledger.note(EventKind::Rule(RuleHit::new(step.rule_id(), vec![change.to_owned()])));
        }
    }

    fn tell_count(&mut self, ledger: &Ledger) {
        if let Some(more) = self.told.checked_sub(MAX_TOLD).filter(|more| *more > 0)
            && let Some(step) = self.steps.first()
        {
            let change = format!("{} more changes to messages, not told one by one", more);
            ledger.note(EventKind::Rule(RuleHit::new(step.rule_id(), vec![change])));
        }
        self.told = 0;
    }
}

/// What became of a message.
enum Edited {
    Not(String),
    Into(Bytes, &'static str),
    Gone(&'static str),
}

fn content_of(step: &Step) -> Option<&Content> {
    match step.action() {
        Action::EditMessages(edit) => match &edit.then {
            MessageEdit::Replace(content) | MessageEdit::Answer(content) => Some(content),
            _ => None,
        },
        _ => None,
    }
}

fn opposite(direction: Direction) -> Direction {
    match direction {
        Direction::ToUpstream => Direction::ToClient,
        Direction::ToClient => Direction::ToUpstream,
    }
}

/// A fresh key where we stand for the client, which has to mask (RFC 6455 section 5.3).
fn mask(direction: Direction) -> Option<[u8; 4]> {
    let mut key = [0; 4];
    // A key of zeros is valid, if it comes to that.
    let _ = SystemRandom::new().fill(&mut key);
    (direction == Direction::ToUpstream).then_some(key)
}
