//! Making segments of what was recorded.

use crate::{
    charset,
    db::{BodyRow, BodySource, Connection, Content, DbError, Tx},
    detail::Detail,
    error::Error,
    id::Seq,
    packing::Unpacker,
    record::{BodySide, ExchangeState, ExchangeSummary},
    retrieve::open_body,
    scan::Next,
    store::Store,
};

use super::{grams::Grams, segment::Draft};

/// Exchanges read at once: 4 MiB, where all bodies are as large as bodies in the database are.
const CHUNK: usize = 16;
/// Messages read at once; each may have some MiB.
const MESSAGES_AT_ONCE: usize = 8;
/// Text of one exchange that is looked at; what has more is always looked at by a search.
const MAX_TEXT_BYTES: u64 = 64 * 1024 * 1024;
/// A gap between segments with fewer exchanges is not worth one.
const WORTH_A_SEGMENT: usize = 256;

/// When a segment is whole. Whichever comes first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Exchanges: at most 65,536 of them have a number.
    pub(crate) exchanges: usize,
    /// Bytes of sets of bits.
    pub(crate) set_bytes: usize,
    /// Bytes of text.
    pub(crate) text_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { exchanges: 4_000, set_bytes: 4 * 1024 * 1024, text_bytes: 32 * 1024 * 1024 }
    }
}

/// How the index of texts stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IndexStatus {
    /// The segments it is made of.
    pub segments: u64,
    /// Exchanges it was made of, also those that were deleted since.
    pub exchanges: u64,
}

/// What an attempt at a segment came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// One more is there, or an attempt was overtaken and is to be made again.
    More,
    /// What is left is too little for one.
    Done,
    /// What is left looked like enough, and was not.
    TooLittle,
    /// It was told to stop.
    Stopped,
}

impl Store {
    /// Builds what is missing of the index of texts, and says how it stands. A recorder does that by itself while little
    /// is recorded; this does it at once, and returns when what is left is too little for the index.
    ///
    /// # Errors
    /// When the store is read-only or cannot be written. What was built before stays.
    pub fn build_index(&self) -> Result<IndexStatus, Error> {
        self.check_writable()?;
        self.write(|db| Ok(tidy(db)?))?;
        while step(self, Limits::default(), &mut || Next::GoOn)? == Progress::More {}
        self.index_status()
    }

    /// How the index of texts stands.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn index_status(&self) -> Result<IndexStatus, Error> {
        self.read(|tx| {
            let (segments, indexed) = tx.indexed()?;
            Ok(IndexStatus { segments, exchanges: indexed })
        })
    }
}

/// Makes the next segment that can be made. `pause` is called between some exchanges and the next, and says whether to
/// go on.
pub(crate) fn step(
    store: &Store,
    limits: Limits,
    pause: &mut dyn FnMut() -> Next,
) -> Result<Progress, Error> {
    let Some(gap) = store.read(|tx| tx.index_gap(gap_floor(limits), &limits))? else {
        return Ok(Progress::Done);
    };
    let mut draft = Draft::default();
    let mut reading = Reading { grams: Grams::new(), unpacker: Unpacker::new() };
    let mut next = gap.first;
    let mut whole = false;
    while !whole && next <= gap.last {
        if pause() == Next::Stop {
            return Ok(Progress::Stopped);
        }
        let chunk = store.read(|tx| tx.index_chunk(Seq(next), Seq(gap.last), CHUNK))?;
        let ended = chunk.len() < CHUNK;
        for (summary, content) in chunk {
            // Two bytes say how far an exchange is from the first.
            if draft.distance(summary.seq) > u64::from(u16::MAX) {
                whole = true;
                break;
            }
            next = summary.seq.0 + 1;
            add(store, &summary, content, (&mut draft, &mut reading))?;
            whole = is_whole(&draft, limits);
            if whole {
                break;
            }
        }
        if ended {
            break;
        }
    }
    // What lies before another segment gets no more; what lies behind all of them is still to come.
    if !whole && gap.is_open {
        return Ok(Progress::TooLittle);
    }
    write(store, draft)
}

/// Exchanges that a gap between two segments has at least, to be filled.
fn gap_floor(limits: Limits) -> usize {
    WORTH_A_SEGMENT.min(limits.exchanges)
}

fn is_whole(draft: &Draft, limits: Limits) -> bool {
    draft.exchanges() >= limits.exchanges.min(usize::from(u16::MAX))
        || draft.set_bytes() >= limits.set_bytes
        || draft.text_bytes() >= limits.text_bytes
}

fn write(store: &Store, draft: Draft) -> Result<Progress, Error> {
    let docs = draft.docs().clone();
    let Some(written) = draft.finish() else { return Ok(Progress::Done) };
    store.write(|db| {
        let tx = db.begin()?;
        // Something came into it, or another process made one of its own: what was made is not of now.
        if tx.is_index_gap(&written, &docs)? {
            tx.insert_segment(&written)?;
            tx.commit()?;
        }
        Ok(Progress::More)
    })
}

/// What texts are read with, one after the other.
struct Reading {
    grams: Grams,
    unpacker: Unpacker,
}

impl Reading {
    /// A body with what is here of it taken out of its frame; one that is damaged is told of by who opens it.
    fn unpacked(&mut self, row: BodyRow) -> BodyRow {
        let BodyRow { length, source } = row;
        let source = match source {
            BodySource::Frame(frame) => match self.unpacker.unpack_stored(&frame, length) {
                Some(content) => BodySource::Inline(content.to_vec()),
                None => BodySource::Frame(frame),
            },
            source => source,
        };
        BodyRow { length, source }
    }
}

/// Adds an exchange to a segment.
fn add(
    store: &Store,
    summary: &ExchangeSummary,
    content: Content,
    (draft, reading): (&mut Draft, &mut Reading),
) -> Result<(), Error> {
    reading.grams.clear();
    let read =
        if summary.state == ExchangeState::Open { None } else { gather(store, summary, content, reading)? };
    let grams = &reading.grams;
    let line = line(summary);
    match read.filter(|_| !grams.is_full()) {
        Some(bytes) => draft.add(summary.seq, &line, Some(grams.bits()), bytes),
        // What is not looked through is not looked through again and again either.
        None => {
            let bytes = summary.request_body_bytes + summary.response_body_bytes;
            draft.add(summary.seq, &line, None, bytes);
        }
    }
    Ok(())
}

/// The line of an exchange's URL, in lower case; with its target, where the URL does not end with it.
fn line(summary: &ExchangeSummary) -> Vec<u8> {
    let mut line = summary.url.to_ascii_lowercase().into_bytes();
    if !summary.url.ends_with(&summary.target) {
        line.push(1);
        line.extend_from_slice(summary.target.to_ascii_lowercase().as_bytes());
    }
    line.iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = 1);
    line
}

/// Gathers an exchange's text, and says how long it is; `None` where it could not be looked through whole.
fn gather(
    store: &Store,
    summary: &ExchangeSummary,
    content: Content,
    reading: &mut Reading,
) -> Result<Option<u64>, Error> {
    let grams = &mut reading.grams;
    grams.add(summary.url.as_bytes());
    let Ok(detail) = Detail::decode(content.detail) else { return Ok(None) };
    let response = detail.response.as_ref().map(|head| &head.headers);
    let fields = [
        Some(&detail.request.headers),
        Some(&detail.request_trailers),
        response,
        Some(&detail.response_trailers),
    ];
    let mut line = Vec::new();
    for header in fields.into_iter().flatten().flatten() {
        line.clear();
        for part in [&header.name[..], b": ", &header.value[..]] {
            line.extend_from_slice(part);
        }
        grams.add(&line);
    }
    let mut bytes = 0;
    for (side, row) in
        [(BodySide::Request, content.request_body), (BodySide::Response, content.response_body)]
    {
        let row = row.map(|row| reading.unpacked(row));
        let Ok(body) = open_body(store.files(), summary, &detail, side, row) else { return Ok(None) };
        let Some(body) = body else { continue };
        let recorded = body.recorded();
        if !recorded.identity && recorded.stored_bytes < recorded.wire_bytes {
            return Ok(None);
        }
        let content_type = body.content_type().map(str::to_owned);
        let mut reader = charset::to_utf8(body.into_decoded_reader(), content_type.as_deref());
        match reading.grams.add_reader(&mut *reader, MAX_TEXT_BYTES) {
            Ok((read, true)) => bytes += read,
            _ => return Ok(None),
        }
    }
    match gather_messages(store, summary, &mut reading.grams)? {
        Some(read) if bytes + read <= MAX_TEXT_BYTES => Ok(Some(bytes + read)),
        _ => Ok(None),
    }
}

fn gather_messages(
    store: &Store,
    summary: &ExchangeSummary,
    grams: &mut Grams,
) -> Result<Option<u64>, Error> {
    let (mut from, mut bytes) = (0, 0);
    while from < summary.messages {
        let messages = store.read(|tx| tx.messages(summary.seq, from, MESSAGES_AT_ONCE))?;
        let Some(last) = messages.last() else { break };
        from = last.index + 1;
        for message in messages {
            if message.truncated || bytes > MAX_TEXT_BYTES || grams.is_full() {
                return Ok(None);
            }
            grams.add(&message.data);
            bytes += message.data.len() as u64;
        }
    }
    Ok(Some(bytes))
}

/// Whether something is left of segments that are none any more.
pub(crate) fn is_untidy(tx: &Tx<'_>) -> Result<bool, DbError> {
    Ok(tx.has_empty_segments()? || tx.orphaned_segment()?.is_some())
}

/// Removes what is left of segments that are none any more, in small transactions.
pub(crate) fn tidy(db: &Connection) -> Result<(), DbError> {
    loop {
        let tx = db.snapshot()?;
        let stale = is_untidy(&tx)?;
        tx.commit()?;
        if !stale {
            return Ok(());
        }
        let tx = db.begin()?;
        tx.drop_empty_segments()?;
        if let Some(segment) = tx.orphaned_segment()? {
            tx.remove_segment_rows(segment)?;
        }
        tx.commit()?;
    }
}
