//! How fast a store answers.

use std::{error::Error, hint::black_box, path::Path, time::Instant};

use capture_store::{BodySide, Order, Query, Search, Seq, Store, StoreConfig, parse};

use crate::{
    Outcomes,
    ingest::stored_bytes,
    table::{Table, Took, Wanted, processor_time},
    traffic::{BODY_BYTES, NEEDLE},
};

/// How often each question is asked; the median is told.
const ROUNDS: usize = 9;
/// What indexes of columns answer.
const FILTERS: [&str; 15] = [
    "",
    "host:api7.example.com",
    "host:*7.example.com",
    "status:503",
    "status:5xx",
    "status:200",
    "method:DELETE",
    "type:html",
    "failure:dns",
    "is:error",
    "is:failed",
    "is:websocket",
    "since:1h",
    "before:2020-01-01",
    "status:503 method:POST",
];

/// Asks everything.
pub(crate) fn run(table: &mut Table, directory: &Path, exchanges: u64) -> Outcomes {
    // Migrates a store that an older version made.
    drop(Store::open(directory, StoreConfig::default())?);
    let opening = median(|| {
        let store = Store::open(directory, StoreConfig::read_only())?;
        black_box(store.sessions()?);
        Ok(())
    })?;
    table.tell_answer("opening", opening, Wanted::AtMost(200.0));
    let store = Store::open(directory, StoreConfig::default())?;
    pages(table, &store)?;
    single(table, &store, exchanges)?;
    if store.index_status()?.segments == 0 {
        texts(table, &store, exchanges, "without an index")?;
        scan(table, &store, exchanges)?;
        table.tell_memory("asking without an index");
        build(table, &store, directory)?;
    }
    texts(table, &store, exchanges, "indexed")?;
    bodies(table, &store)?;
    table.tell_memory("asking");
    Ok(())
}

/// The median of some rounds, and the mean of their processor time.
fn median(mut ask: impl FnMut() -> Outcomes) -> Result<Took, Box<dyn Error>> {
    let mut rounds = Vec::with_capacity(ROUNDS);
    let worked = processor_time();
    for _ in 0..ROUNDS {
        let began = Instant::now();
        ask()?;
        rounds.push(began.elapsed());
    }
    rounds.sort();
    let worked = (processor_time() - worked) / u32::try_from(ROUNDS)?;
    Ok(Took { elapsed: rounds[ROUNDS / 2], worked })
}

fn query(filter: &str, order: Order) -> Result<Query, Box<dyn Error>> {
    let mut query = Query::default();
    (query.condition, query.order) = (Some(parse(filter)?), order);
    Ok(query)
}

fn pages(table: &mut Table, store: &Store) -> Outcomes {
    for filter in FILTERS {
        for order in [Order::Ascending, Order::Descending] {
            let query = query(filter, order)?;
            let took = median(|| {
                black_box(store.query(&query)?);
                Ok(())
            })?;
            let first = if order == Order::Ascending { "oldest" } else { "newest" };
            table.tell_answer(&format!("first page, {first}: {filter}"), took, Wanted::AtMost(5.0));
        }
    }
    Ok(())
}

fn single(table: &mut Table, store: &Store, exchanges: u64) -> Outcomes {
    let middle = Seq(exchanges / 2);
    let took = median(|| {
        black_box(store.tail(middle, &Query::default())?.next);
        Ok(())
    })?;
    table.tell_answer("tail from a cursor in the middle", took, Wanted::AtMost(5.0));
    let took = median(|| {
        black_box(store.exchange(middle)?);
        black_box(store.body(middle, BodySide::Response)?.map(|body| body.decode(10_000)));
        Ok(())
    })?;
    table.tell_answer("one exchange by id, with its body", took, Wanted::AtMost(5.0));
    Ok(())
}

/// URLs, of which one or none is found.
fn texts(table: &mut Table, store: &Store, exchanges: u64, how: &str) -> Outcomes {
    let wanted = if how == "indexed" { Wanted::AtMost(100.0) } else { Wanted::Nothing };
    for (what, filter) in [
        ("one match at the end", format!("url:\"orders/{}?\"", exchanges - 1)),
        ("no match", "url:\"orders/none\"".to_owned()),
        ("of a path, one match", format!("path:\"/orders/{}\"", exchanges / 2)),
    ] {
        let query = query(&filter, Order::Ascending)?;
        let took = median(|| {
            black_box(store.query(&query)?);
            Ok(())
        })?;
        table.tell_answer(&format!("URL substring, {what}, {how}"), took, wanted);
    }
    Ok(())
}

/// Bodies, one after the other: the index is not there yet.
fn scan(table: &mut Table, store: &Store, exchanges: u64) -> Outcomes {
    let mut search = Search::new(NEEDLE, None);
    search.limit = 1_000;
    for _ in 0..2 {
        let (began, worked) = (Instant::now(), processor_time());
        let page = store.search(&search)?;
        let megabytes = (exchanges as f64) * (BODY_BYTES as f64) / 1e6;
        let rate = megabytes / began.elapsed().as_secs_f64();
        table.tell("body search, read one by one", rate, "MB/s", Wanted::AtLeast(500.0));
        let rate = megabytes / (processor_time() - worked).as_secs_f64();
        table.tell("  for each second of a processor", rate, "MB", Wanted::Nothing);
        table.tell("  hits", page.hits.len() as f64, "", Wanted::Nothing);
    }
    Ok(())
}

fn build(table: &mut Table, store: &Store, directory: &Path) -> Outcomes {
    let (before, began, worked) = (stored_bytes(directory)?, Instant::now(), processor_time());
    let status = store.build_index()?;
    table.tell("building the index", began.elapsed().as_secs_f64(), "s", Wanted::Nothing);
    let worked = (processor_time() - worked).as_secs_f64();
    table.tell("  processor time", worked, "s", Wanted::Nothing);
    table.tell("  exchanges in it", status.exchanges as f64, "", Wanted::Nothing);
    let grown = (stored_bytes(directory)? - before) / before * 100.0;
    table.tell("  the database grew by", grown, "%", Wanted::Nothing);
    table.tell_memory("building the index");
    Ok(())
}

fn bodies(table: &mut Table, store: &Store) -> Outcomes {
    for (what, text) in [
        ("few hits", NEEDLE.to_uppercase()),
        ("no hit", "nothing of the kind".to_owned()),
        ("eight digits, one hit", "order-00123456".to_owned()),
    ] {
        let mut search = Search::new(text, None);
        search.limit = 1_000;
        let took = median(|| {
            black_box(store.search(&search)?);
            Ok(())
        })?;
        let page = store.search(&search)?;
        table.tell_answer(&format!("body search, indexed, {what}"), took, Wanted::AtMost(200.0));
        let read = page.scanned - page.indexed;
        table.tell(
            &format!("  hits; of {} exchanges read: {read}", page.scanned),
            page.hits.len() as f64,
            "",
            Wanted::Nothing,
        );
    }
    let query = query(&format!("body:{NEEDLE}"), Order::Ascending)?;
    let took = median(|| {
        black_box(store.query(&query)?);
        Ok(())
    })?;
    table.tell_answer("body:... as a filter, indexed", took, Wanted::AtMost(200.0));
    Ok(())
}
