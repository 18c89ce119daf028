//! What a query names, read ahead of whoever writes it: one thread reads from the store while another writes.

use std::{
    sync::mpsc::{self, Receiver, SyncSender},
    thread,
};

use capture_store::{Batch, Order, Query, Seq, Store};

use crate::error::Error;

/// Exchanges asked of the store at a time; it gives fewer where they are large.
const PAGE: usize = 200;

/// Pages that wait to be written.
const AHEAD: usize = 1;

/// Reads all the pages, and hands each to `take`, on this thread and in order. An error of either side ends both.
pub(crate) fn run(
    mut pages: Pages<'_>,
    mut take: impl FnMut(Batch) -> Result<(), Error>,
) -> Result<(), Error> {
    thread::scope(|scope| {
        let (to, from): (_, Receiver<Result<Batch, Error>>) = mpsc::sync_channel(AHEAD);
        scope.spawn(move || read(&mut pages, &to));
        for batch in from {
            take(batch?)?;
        }
        Ok(())
    })
}

fn read(pages: &mut Pages<'_>, to: &SyncSender<Result<Batch, Error>>) {
    while let Some(page) = pages.next().transpose() {
        let failed = page.is_err();
        // Nobody takes it any more once writing failed.
        if to.send(page).is_err() || failed {
            return;
        }
    }
}

/// Walks all the pages of a query by its cursor.
pub(crate) struct Pages<'a> {
    store: &'a Store,
    query: Query,
    /// How many more may come; `None` for all.
    left: Option<usize>,
    done: bool,
}

impl<'a> Pages<'a> {
    /// Begins with what is there now: what is recorded meanwhile is left to the next export, else one of a busy session
    /// would not end.
    pub(crate) fn new(store: &'a Store, query: &Query) -> Result<Self, Error> {
        let end = Seq(store.newest()?.0.saturating_add(1));
        let mut query = query.clone();
        query.before = Some(query.before.map_or(end, |before| before.min(end)));
        let left = (query.limit > 0).then_some(query.limit);
        Ok(Self { store, query, left, done: false })
    }

    fn next(&mut self) -> Result<Option<Batch>, Error> {
        if self.done || self.left == Some(0) {
            return Ok(None);
        }
        self.query.limit = self.left.map_or(PAGE, |left| left.min(PAGE));
        let batch = self.store.batch(&self.query)?;
        self.done = !batch.more;
        let Some(last) = batch.last else { return Ok(None) };
        self.query.offset = 0;
        match self.query.order {
            Order::Ascending => self.query.after = Some(last),
            Order::Descending => self.query.before = Some(last),
        }
        let given = batch.exchanges.len() + usize::try_from(batch.vanished).unwrap_or(0);
        self.left = self.left.map(|left| left.saturating_sub(given));
        Ok(Some(batch))
    }
}
