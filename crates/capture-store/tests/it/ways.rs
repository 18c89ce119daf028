//! Exchanges come to the store whole or event by event; what is recorded of them is the same.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use capture_store::{Recorder, RecorderConfig, SessionSpec, Store, StoreConfig};
use proptest::{collection::vec, option, prelude::*};
use proxy_core::{
    Ending, Event, EventKind, ExchangeId, Failure, FailureKind, Headers, Observer, Outcome, ResponseSource,
    Sizes, Timings,
};
use rusqlite::{Connection, types::Value};

use crate::support::{client, request, response};

/// One exchange as it is told.
#[derive(Clone, Debug)]
struct Told {
    request: Vec<usize>,
    response: Vec<usize>,
    content_type: &'static str,
    coding: Option<&'static str>,
    trailers: bool,
    fails: bool,
}

fn told() -> impl Strategy<Value = Told> {
    let types = prop::sample::select(vec![
        "text/plain",
        "text/html; charset=iso-8859-1",
        "application/json; charset=utf-8",
        "application/octet-stream",
    ]);
    let pieces = || vec(0..6_000_usize, 0..4);
    let coding = option::weighted(0.2, Just("gzip"));
    (pieces(), pieces(), types, coding, any::<bool>(), prop::bool::weighted(0.2)).prop_map(
        |(request, response, content_type, coding, trailers, fails)| Told {
            request,
            response,
            content_type,
            coding,
            trailers,
            fails,
        },
    )
}

/// Text of so many bytes, of characters of two, cut wherever that is.
fn text(bytes: usize) -> Bytes {
    "\u{e9}\u{df}".bytes().cycle().take(bytes).collect::<Vec<_>>().into()
}

fn events(exchange: u64, told: &Told, started_at: SystemTime) -> Vec<Event> {
    let mut head = request("POST", "https", "example.test", &format!("/{exchange}"));
    head.headers.push("Content-Type", told.content_type);
    let mut answer = response(200, told.content_type);
    if let Some(coding) = told.coding {
        answer.headers.push("Content-Encoding", coding);
    }
    let mut kinds = vec![EventKind::Request { client: Arc::new(client()), head: Arc::new(head), started_at }];
    kinds.extend(told.request.iter().map(|bytes| EventKind::RequestBody(text(*bytes))));
    kinds.push(EventKind::RequestEnd);
    kinds.push(EventKind::Response { head: Arc::new(answer), source: ResponseSource::Upstream });
    kinds.extend(told.response.iter().map(|bytes| EventKind::ResponseBody(text(*bytes))));
    if told.trailers {
        let mut trailers = Headers::new();
        trailers.push("Checksum", "abc");
        kinds.push(EventKind::ResponseTrailers(trailers));
    }
    let outcome = match told.fails {
        true => Outcome::Failed(Failure::new(FailureKind::Aborted, "gone")),
        false => Outcome::Response,
    };
    kinds.push(EventKind::Ended(Box::new(Ending::new(outcome, Timings::default(), Sizes::default()))));
    let at =
        |(number, kind)| Event { exchange: ExchangeId(exchange), at: Duration::from_millis(number), kind };
    (0..).zip(kinds).map(at).collect()
}

/// What is read back of an exchange, and what its bodies are stored as.
fn recorded(events: &[Event], spec: &SessionSpec, config: &RecorderConfig) -> (String, Vec<Vec<Value>>) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), StoreConfig::default()).unwrap();
    let recorder = Recorder::start(&store, spec.clone(), config.clone()).unwrap();
    events.iter().for_each(|event| recorder.observe(event));
    let seq = recorder.flush().unwrap();
    let session = recorder.close().unwrap();
    // A full session records nothing.
    let exchange = (session.exchanges > 0).then(|| store.exchange(seq).unwrap());
    let read = format!("{:?} {} {exchange:?}", session.state, session.not_recorded);
    let database = Connection::open(directory.path().join("store.db")).unwrap();
    let mut statement = database.prepare("SELECT * FROM bodies ORDER BY id").unwrap();
    let columns = statement.column_count();
    let row = |row: &rusqlite::Row<'_>| (0..columns).map(|column| row.get(column)).collect();
    let bodies = statement.query_map([], row).unwrap().collect::<Result<_, _>>().unwrap();
    (read, bodies)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn an_exchange_that_comes_whole_is_recorded_as_one_that_comes_event_by_event(
        told in told(),
        max_body_bytes in option::weighted(0.3, 0..10_000_u64),
        room in option::weighted(0.6, 0..20_000_u64),
    ) {
        let mut config = RecorderConfig::default();
        let hour = Duration::from_secs(3_600);
        (config.commit_interval, config.open_after, config.max_body_bytes) = (hour, hour, max_body_bytes);
        let spec = match room {
            Some(_) => SessionSpec::Named { name: "small".to_owned(), max_bytes: room },
            None => SessionSpec::Scratch { max_bytes: None },
        };
        let events = events(1, &told, SystemTime::now());
        let whole = recorded(&events, &spec, &config);
        // A queue without room gathers no bodies.
        config.max_queued_bytes = 0;
        prop_assert_eq!(whole, recorded(&events, &spec, &config));
    }
}
