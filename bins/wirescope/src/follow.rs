//! What passes, as it passes: a live table on a terminal, a line for each exchange otherwise.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::Result;
use capture_store::{ExchangeState, Order, Query, Seq, SessionId, Store};
use console::Term;

use crate::{
    output::{Out, note},
    recording::Recording,
    row,
    row::Row,
    text,
};

/// The least time between two drawings.
const REDRAW: Duration = Duration::from_millis(200);

/// How often what is still open is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Exchanges read at a time.
const PAGE: usize = 1_000;

/// Open exchanges remembered until their end; beyond it they are told while open.
const MAX_OPEN: usize = 1_000;

/// How long the rest may take to be shown at the end: whoever holds the pipe may have stopped reading it.
const FINISH: Duration = Duration::from_secs(2);

/// Someone who shows what is recorded, on a thread of its own. When it cannot keep up it falls behind, reading the
/// store at its own pace; the recording does not wait for it. Dropping it leaves the thread to end by itself.
pub(crate) struct Follower {
    bell: Bell,
    done: Receiver<()>,
    thread: JoinHandle<()>,
}

/// What the thread is woken by and told. Ringing never waits: a bell that rings already need not ring again.
#[derive(Clone)]
struct Bell {
    rope: SyncSender<()>,
    wishes: Arc<Wishes>,
}

#[derive(Default)]
struct Wishes {
    /// A further line of the header.
    line: OnceLock<&'static str>,
    /// Whether all is committed, so that the thread can show the rest and end.
    end: AtomicBool,
}

impl Bell {
    fn ring(&self) {
        // Full: it rings already. Disconnected: the thread has ended and has said why.
        let (Ok(()) | Err(_)) = self.rope.try_send(());
    }
}

impl Follower {
    /// Follows a recording; `header` stands above the table.
    pub(crate) fn start(recording: &Recording, header: Vec<String>) -> Result<Self> {
        let (rope, rung) = sync_channel(1);
        let (ended, done) = sync_channel(1);
        let bell = Bell { rope, wishes: Arc::default() };
        let wishes = bell.wishes.clone();
        let (store, session, cursor) = (recording.store().clone(), recording.session(), recording.before());
        let on_commit = bell.clone();
        recording.on_commit(move || on_commit.ring());
        let out = Out::new();
        let thread = thread::Builder::new().name("follow".to_owned()).spawn(move || {
            let shown = if out.is_terminal() {
                Screen { store, session, header, drawn: 0, term: Term::stdout() }.follow(&rung, &wishes)
            } else {
                Lines { store, session, out, cursor, open: BTreeSet::new() }.follow(&rung, &wishes)
            };
            if let Err(error) = shown
                && !error.is::<crate::output::ReaderLeft>()
            {
                tracing::error!(%error, "showing what is recorded failed; recording goes on");
            }
            // Nobody waits for it when this is dropped.
            let _ = ended.send(());
        })?;
        Ok(Self { bell, done, thread })
    }

    /// Shows a line in the table's header, once; nothing where there is no table.
    pub(crate) fn say(&self, line: &'static str) {
        // Said already.
        let _ = self.bell.wishes.line.set(line);
        self.bell.ring();
    }

    /// Shows what is left; call it once the recording is closed. Where stdout takes nothing any more, gives up in two
    /// seconds and says so.
    pub(crate) fn finish(self) {
        self.bell.wishes.end.store(true, Ordering::Relaxed);
        self.bell.ring();
        if self.done.recv_timeout(FINISH).is_err() {
            note("wirescope: nobody reads stdout; the last exchanges were not listed there");
            return;
        }
        // A panic was told when it happened.
        let _ = self.thread.join();
    }
}

/// One line for each exchange, when it has ended.
struct Lines {
    store: Store,
    session: SessionId,
    out: Out,
    cursor: Seq,
    open: BTreeSet<Seq>,
}

impl Lines {
    fn follow(mut self, rung: &Receiver<()>, wishes: &Wishes) -> Result<()> {
        let mut looked = Instant::now();
        loop {
            let silent = rung.recv_timeout(LOOK_AGAIN) == Err(RecvTimeoutError::Timeout);
            let end = wishes.end.load(Ordering::Relaxed);
            if silent && !end && self.open.is_empty() {
                continue;
            }
            self.catch_up()?;
            if end || looked.elapsed() >= LOOK_AGAIN {
                self.look_again(end)?;
                looked = Instant::now();
            }
            self.out.flush()?;
            if end {
                return Ok(());
            }
        }
    }

    fn catch_up(&mut self) -> Result<()> {
        let mut query = Query::default();
        query.session = Some(self.session);
        query.limit = PAGE;
        loop {
            let tail = self.store.tail(self.cursor, &query)?;
            self.cursor = tail.next;
            if tail.evicted > 0 {
                let lost = text::count(tail.evicted, "exchange");
                tracing::warn!("{lost} evicted from the session before they could be shown");
            }
            for summary in &tail.items {
                if summary.state == ExchangeState::Open && self.open.len() < MAX_OPEN {
                    self.open.insert(summary.seq);
                } else {
                    self.out.line(Row::line(summary))?;
                }
            }
            if tail.remaining == 0 {
                return Ok(());
            }
        }
    }

    /// Tells of those that have ended since; with `all` of every one.
    fn look_again(&mut self, all: bool) -> Result<()> {
        for seq in std::mem::take(&mut self.open) {
            let mut query = Query::default();
            query.session = Some(self.session);
            query.after = Some(Seq(seq.0.saturating_sub(1)));
            query.limit = 1;
            let page = self.store.query(&query)?;
            // Evicted meanwhile: there is nothing left to tell.
            let Some(summary) = page.items.first().filter(|summary| summary.seq == seq) else { continue };
            if summary.state == ExchangeState::Open && !all {
                self.open.insert(seq);
            } else {
                self.out.line(Row::line(summary))?;
            }
        }
        Ok(())
    }
}

/// The newest exchanges in a table that is drawn over itself.
struct Screen {
    store: Store,
    session: SessionId,
    header: Vec<String>,
    /// Lines drawn last time.
    drawn: usize,
    term: Term,
}

impl Screen {
    fn follow(mut self, rung: &Receiver<()>, wishes: &Wishes) -> Result<()> {
        self.draw()?;
        let mut line = None;
        loop {
            // Drawn again even when nothing rang: the terminal may have another size by now.
            let (Ok(()) | Err(_)) = rung.recv_timeout(LOOK_AGAIN);
            let end = wishes.end.load(Ordering::Relaxed);
            if line.is_none() {
                line = wishes.line.get();
                self.header.extend(line.map(|line| (*line).to_owned()));
            }
            self.draw()?;
            if end {
                return Ok(());
            }
            thread::sleep(REDRAW);
        }
    }

    fn draw(&mut self) -> Result<()> {
        let (height, width) = self.term.size();
        let (height, width) = (usize::from(height), usize::from(width));
        let info = self.store.session(self.session)?;
        let mut lines = self.header.clone();
        lines.push(format!(
            "{} recorded, {} on disk",
            text::count(info.exchanges, "exchange"),
            text::size(info.bytes)
        ));
        if let Some(error) = &info.last_error {
            lines.push(format!("recording fails: {}", text::one_line(error)));
        }
        lines.push(String::new());
        let mut query = Query::default();
        query.session = Some(self.session);
        query.order = Order::Descending;
        query.limit = height.saturating_sub(lines.len() + 3).max(1);
        let page = self.store.query(&query)?;
        lines.extend(row::table(page.items.iter().rev()).lines(Some(width.saturating_sub(1))));
        self.paint(&lines, width)
    }

    /// Writes over the last drawing in one go, so that it does not flicker.
    fn paint(&mut self, lines: &[String], width: usize) -> Result<()> {
        let frame = frame(lines, self.drawn, width);
        self.drawn = lines.len();
        self.term.write_str(&frame).map_err(crate::output::lost)
    }
}

/// What goes back to where `drawn` lines began, writes these in their place, and clears what is left below (ECMA-48: CUU,
/// EL, ED). No line is as wide as the terminal, so that each takes one.
fn frame(lines: &[String], drawn: usize, width: usize) -> String {
    let mut frame = String::new();
    if drawn > 0 {
        // Writing to a String does not fail.
        let _ = write!(frame, "\x1b[{drawn}A");
    }
    for line in lines {
        let line = console::truncate_str(line, width.saturating_sub(1), "…");
        let _ = writeln!(frame, "\r\x1b[2K{line}");
    }
    frame.push_str("\x1b[0J");
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_takes_the_place_of_the_one_before() {
        let lines = ["one".to_owned(), "a line that is too wide".to_owned()];
        assert_eq!(frame(&lines, 0, 10), "\r\x1b[2Kone\n\r\x1b[2Ka line t…\n\x1b[0J");
        assert!(frame(&lines, 2, 10).starts_with("\x1b[2A\r"));
    }
}
