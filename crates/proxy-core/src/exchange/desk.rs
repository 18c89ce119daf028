//! Where a message lies while it is looked at: its body can be had whole here, replaced, or sent through stages, before
//! anything of it passes.

use bytes::Bytes;
use http::{StatusCode, Version};
use tokio::{task::spawn_blocking, time::timeout_at};

use super::{
    flow::{Flow, Stage},
    forward::Shape,
    ledger::Ledger,
    patience::client_gone,
};
use crate::{
    alarm::from_now,
    body::{BodyTransformer, Unread, WholeBody},
    client::Client,
    coding::{self, Coding, Decoder, Undecodable},
    event::{ClientFacts, Direction},
    failure::{Failure, FailureKind, Side},
    head::{Headers, ResponseHead},
    leg::{BodyReader, Responder},
    wire::{Piece, WireError},
};

/// Bodies up to this size are coded where they are; larger ones where they hold up nobody.
const MAX_CODED_IN_PLACE_BYTES: usize = 32 * 1024;

/// The types of bodies that have no end worth waiting for.
const ENDLESS: [&str; 3] = ["text/event-stream", "application/grpc", "multipart/x-mixed-replace"];

/// A message that is looked at.
pub(super) struct Desk<'x, 'u, 'c> {
    pub(super) cx: &'x Client,
    pub(super) ledger: &'x Ledger,
    /// The client's connection, and who it is.
    pub(super) facts: &'x ClientFacts,
    pub(super) way: Direction,
    pub(super) leaves: Leaves,
    pub(super) body: &'x mut BodyReader<'u>,
    pub(super) client: &'x mut Option<Responder<'c>>,
    /// As received.
    pub(super) shape: Shape,
    /// Whether the message could have a body.
    pub(super) has_content: bool,
    pub(super) version: Version,
    /// The fields as received.
    pub(super) fields: &'x Headers,
    pub(super) flow: Option<Box<Flow>>,
    /// Transformers that want pieces decoded, and those that do not, in their order.
    pub(super) transformers: Vec<(Pieces, Box<dyn BodyTransformer>)>,
    /// What goes wrong on purpose with the bytes as they are on the wire.
    pub(super) faults: Vec<Stage>,
}

/// Where a client is seen to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaves {
    /// Where its request's body is read, which is this message's.
    SeenByBody,
    /// Where it is answered; another half of the exchange reads its body.
    SeenByResponder,
}

/// In what form a transformer wants pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pieces {
    AsReceived,
    Decoded,
}

/// What became of a message that was looked at.
pub(super) struct Cleared {
    /// What its body goes through, if anything.
    pub(super) flow: Option<Box<Flow>>,
    /// How long its body is that was received.
    pub(super) received: Shape,
    /// How long its body is that passes.
    pub(super) shape: Shape,
}

impl Cleared {
    /// A message nobody touched.
    pub(super) fn untouched(received: Shape) -> Self {
        Self { flow: None, received, shape: received }
    }
}

impl Desk<'_, '_, '_> {
    /// Waits for a decision for as long as there is a client to wait for it.
    pub(super) async fn watched<T>(&mut self, deciding: impl Future<Output = T>) -> Result<T, Failure> {
        let gone = async {
            match (self.leaves, &mut *self.client) {
                (Leaves::SeenByBody, _) => {
                    client_gone(&self.cx.engine.timeouts, self.body, self.client).await.failure
                }
                (Leaves::SeenByResponder, Some(client)) => client.gone().await.into_failure(Side::Client),
                (Leaves::SeenByResponder, None) => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            decided = deciding => Ok(decided),
            failure = gone => Err(failure),
        }
    }

    /// The flow, made when it is first needed.
    pub(super) fn flow(&mut self) -> &mut Flow {
        self.flow.get_or_insert_default()
    }

    /// Holds the body until it is whole. The inner error says why it is not; it can still pass.
    ///
    /// # Errors
    /// When whoever sends it fails.
    pub(super) async fn hold(&mut self, max_bytes: usize) -> Result<Result<(), Unread>, Failure> {
        let too_large = Unread::TooLarge { max_bytes };
        match self.shape {
            Shape::Empty => return Ok(Ok(())),
            Shape::Length(length) if length > max_bytes as u64 => return Ok(Err(too_large)),
            _ if self.is_endless() => return Ok(Err(Unread::Endless)),
            _ => {}
        }
        let patience = self.cx.engine.timeouts.hold_body;
        let deadline = *self.flow().held.deadline.get_or_insert_with(|| from_now(patience));
        self.invite().await?;
        loop {
            let held = &self.flow().held;
            if held.bytes > max_bytes {
                return Ok(Err(too_large));
            }
            if held.whole {
                return Ok(Ok(()));
            }
            match timeout_at(deadline, self.piece()).await {
                Ok(piece) => {
                    let piece = piece?;
                    self.keep(piece);
                }
                Err(_elapsed) => return Ok(Err(Unread::TooSlow)),
            }
        }
    }

    fn is_endless(&self) -> bool {
        let kind = self.fields.get_str("content-type").unwrap_or_default().to_ascii_lowercase();
        ENDLESS.iter().any(|endless| kind.starts_with(endless))
    }

    /// Tells a client that asked before sending to go on (RFC 9110 section 10.1.1): upstream is not asked yet.
    async fn invite(&mut self) -> Result<(), Failure> {
        let asks = self.way == Direction::ToUpstream
            && self.version != Version::HTTP_10
            && self.fields.has_token("expect", "100-continue");
        if !asks || self.flow().invited {
            return Ok(());
        }
        self.flow().invited = true;
        match self.client {
            Some(client) => client
                .informational(&ResponseHead::new(StatusCode::CONTINUE))
                .await
                .map_err(|error| error.into_failure(Side::Client)),
            None => Ok(()),
        }
    }

    /// The next piece as received. Cancel safe.
    async fn piece(&mut self) -> Result<Option<Piece>, Failure> {
        self.ledger.ready().await;
        let gone = async {
            match self.client {
                Some(client) => client.gone().await,
                None => std::future::pending::<WireError>().await,
            }
        };
        let side = match self.way {
            Direction::ToUpstream => Side::Client,
            Direction::ToClient => Side::Upstream,
        };
        tokio::select! {
            biased;
            piece = self.body.piece() => piece.map_err(|error| error.into_failure(side)),
            error = gone => Err(error.into_failure(Side::Client)),
        }
    }

    /// Takes note of a piece, and keeps it.
    fn keep(&mut self, piece: Option<Piece>) {
        let (ledger, way) = (self.ledger, self.way);
        let held = &mut self.flow().held;
        match (piece, way) {
            (Some(Piece::Data(data)), way) => {
                match way {
                    Direction::ToUpstream => ledger.request_piece(&data),
                    Direction::ToClient => ledger.response_piece(&data),
                }
                held.push(data);
            }
            (Some(Piece::Trailers(fields)), way) => {
                match way {
                    Direction::ToUpstream => ledger.request_trailers(&fields),
                    Direction::ToClient => ledger.response_trailers(&fields),
                }
                held.trailers = Some(fields);
            }
            (None, way) => {
                held.whole = true;
                if way == Direction::ToUpstream {
                    ledger.request_done();
                }
            }
        }
    }

    /// The body as it is now, decoded.
    ///
    /// # Errors
    /// When whoever sends it fails.
    pub(super) async fn whole(&mut self, max_bytes: usize) -> Result<WholeBody, Failure> {
        if let Err(unread) = self.hold(max_bytes).await? {
            return Ok(WholeBody::new(Err(unread)));
        }
        let content = match &self.flow {
            None => Ok(Bytes::new()),
            Some(flow) => match &flow.instead {
                Some(body) if body.len() > max_bytes => Err(Unread::TooLarge { max_bytes }),
                Some(body) => Ok(body.clone()),
                None => decoded(self.fields, &flow.held.pieces, max_bytes).await,
            },
        };
        Ok(WholeBody::new(content))
    }

    /// Puts another body in the place of the one that is held.
    pub(super) fn replace(&mut self, body: Option<Bytes>) {
        if body.is_some() {
            self.flow().instead = body;
        }
    }

    /// Puts the fields of the head that is sent right for the body that passes, and gives what that goes through.
    pub(super) async fn clear<'f>(
        mut self,
        fields: impl FnOnce() -> &'f mut Headers,
    ) -> Result<Cleared, Failure> {
        self.set_transformers();
        let faults = std::mem::take(&mut self.faults);
        if !faults.is_empty() {
            self.flow().stages.extend(faults);
        }
        let received = self.shape;
        let Some(mut flow) = self.flow else { return Ok(Cleared::untouched(received)) };
        let decodes = flow.stages.iter().any(|stage| matches!(stage, Stage::Decode(_)));
        if flow.invited || flow.instead.is_some() || decodes {
            let fields = fields();
            if flow.invited {
                fields.retain(|field| !field.is("expect"));
            }
            if decodes {
                fields.remove("content-encoding");
            }
            if let Some(body) = flow.instead.take() {
                flow.instead = Some(encoded(fields, body).await?);
            }
        }
        let shape = flow.shape(received);
        Ok(Cleared { flow: Some(flow), received, shape })
    }

    /// Puts the transformers in the flow, with a decoder before the first that needs one.
    fn set_transformers(&mut self) {
        if self.transformers.is_empty() || self.shape == Shape::Empty && self.flow.is_none() {
            return;
        }
        let is_decoded = self.flow.as_ref().is_some_and(|flow| flow.instead.is_some());
        let mut decoder = match coding::codings(self.fields) {
            Ok(codings) if !codings.is_empty() && !is_decoded => Decoder::new(&codings).map(Some),
            Ok(_) => Ok(None),
            Err(problem) => Err(std::io::Error::other(problem)),
        };
        let transformers = std::mem::take(&mut self.transformers);
        for (pieces, transformer) in transformers {
            if pieces == Pieces::Decoded {
                match &mut decoder {
                    Ok(decoder) => {
                        let decode = decoder.take().map(Stage::Decode);
                        self.flow().stages.extend(decode);
                    }
                    Err(problem) => {
                        tracing::debug!(%problem, "a body passes untouched that was to be changed decoded");
                        continue;
                    }
                }
            }
            self.flow().stages.push(Stage::Transform(transformer));
        }
    }
}

async fn decoded(fields: &Headers, pieces: &[Bytes], max_bytes: usize) -> Result<Bytes, Unread> {
    let undecodable = |problem: String| Unread::Undecodable { problem };
    let codings = coding::codings(fields).map_err(undecodable)?;
    if codings.is_empty() {
        return Ok(match pieces {
            [piece] => piece.clone(),
            pieces => pieces.concat().into(),
        });
    }
    let pieces = pieces.to_vec();
    let bytes: usize = pieces.iter().map(Bytes::len).sum();
    let decode = move || coding::decode(&codings, &pieces, max_bytes);
    match off_thread(bytes > MAX_CODED_IN_PLACE_BYTES, decode).await {
        Some(Ok(body)) => Ok(body),
        Some(Err(Undecodable::TooLarge)) => Err(Unread::TooLarge { max_bytes }),
        Some(Err(Undecodable::Broken(problem))) => Err(undecodable(problem)),
        None => Err(undecodable("the decoder panicked".into())),
    }
}

/// Puts on the codings that the fields name; where they are not known, the fields name none any more.
pub(super) async fn encoded(fields: &mut Headers, body: Bytes) -> Result<Bytes, Failure> {
    let codings: Vec<Coding> = match coding::codings(fields) {
        Ok(codings) if codings.is_empty() || body.is_empty() => return Ok(body),
        Ok(codings) => codings,
        Err(_unknown) => {
            fields.remove("content-encoding");
            return Ok(body);
        }
    };
    let encode = {
        let body = body.clone();
        move || coding::encode(&codings, body)
    };
    match off_thread(body.len() > MAX_CODED_IN_PLACE_BYTES, encode).await {
        Some(Ok(coded)) => Ok(coded),
        // Writing to memory does not fail; should it, the body is as good without its coding.
        Some(Err(_)) | None => {
            fields.remove("content-encoding");
            Ok(body)
        }
    }
}

/// Does what takes long, or blocks, where it holds up nobody. `None` when it panicked.
pub(super) async fn off_thread<T: Send + 'static>(
    blocks: bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    if blocks { spawn_blocking(work).await.ok() } else { Some(work()) }
}

/// A failure of what only passes through here.
pub(super) fn aborted(detail: &str) -> Failure {
    Failure::new(FailureKind::Aborted, detail)
}
