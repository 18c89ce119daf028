//! What exchanges of the same connections share stands in the store once, and is read with each of them.

use std::sync::Arc;

use bytes::Bytes;
use capture_store::{Recorder, RecorderConfig, Seq, SessionSpec, Sql, SqlValue, Store};
use proxy_core::{ClientFacts, ConnectionId, EventKind, Outcome, TlsFacts, TlsFingerprint, UpstreamFacts};

use crate::support::{Teller, TestStore, get, noise, query, response};

/// A browser's hello, which is long.
const JA3: &str = "771,4865-4866-4867-49195-49199-49196-49200,0-23-65281-10-11-35-16-5-13,29-23-24,0";

fn tls(ja3: &str) -> TlsFacts {
    let mut tls = TlsFacts::default();
    (tls.version, tls.cipher) = ("TLSv1.3".to_owned(), "TLS_AES_128_GCM_SHA256".to_owned());
    (tls.alpn, tls.sni) = (Some("h2".to_owned()), Some("example.test".to_owned()));
    tls.offered_alpn = vec!["h2".to_owned(), "http/1.1".to_owned()];
    tls.fingerprint = Some(TlsFingerprint::new(ja3.to_owned(), "abc".to_owned(), "t13d".to_owned()));
    tls
}

/// One connection on each side; what makes it this one is its number.
fn connection(number: u16, ja3: &str) -> (ClientFacts, Arc<UpstreamFacts>) {
    let own = "127.0.0.1:8080".parse().unwrap();
    let mut client =
        ClientFacts::new(ConnectionId(number.into()), ([127, 0, 0, 1], 40_000 + number).into(), own);
    (client.tunnel, client.user) = (Some("example.test:443".to_owned()), Some("ann".to_owned()));
    client.http2_fingerprint = Some("1:65536|15663105|0|m,a,s,p".to_owned());
    client.tls = Some(tls(ja3));
    let address = (if number.is_multiple_of(2) { [192, 0, 2, 1] } else { [192, 0, 2, 2] }, 443).into();
    let mut upstream = UpstreamFacts::new(ConnectionId(1_000 + u64::from(number)), address, own);
    let mut tls = tls("771,4866,43-51");
    tls.certificates = vec![Bytes::from(noise(700, 1)), Bytes::from(noise(600, 2))];
    (upstream.tls, upstream.parent) = (Some(tls), Some("http://parent.test:3128".to_owned()));
    (client, Arc::new(upstream))
}

fn record(recorder: &Recorder, id: u64, (client, upstream): &(ClientFacts, Arc<UpstreamFacts>)) {
    Teller::begin_by(client.clone(), recorder, id, get(&format!("/{id}")))
        .request_end()
        .tell(EventKind::Upstream { upstream: upstream.clone(), reused: true })
        .response(response(200, "text/plain"))
        .response_body(format!("body of {id}"))
        .end(Outcome::Response);
}

/// Checks that an exchange has all that was told of its connections.
fn check(store: &Store, seq: Seq, (client, upstream): &(ClientFacts, Arc<UpstreamFacts>)) {
    let read = store.exchange(seq).unwrap();
    let (own, other) = (read.client.unwrap(), read.upstream.unwrap());
    assert_eq!((own.connection, own.address), (client.connection.0, Some(client.peer)));
    assert_eq!((&own.tls, &own.user), (&client.tls, &client.user));
    assert_eq!((&own.http2_fingerprint, own.listener), (&client.http2_fingerprint, Some(client.listener)));
    assert_eq!(read.tunnel, client.tunnel);
    assert_eq!((other.connection, other.address), (upstream.connection.0, Some(upstream.peer)));
    assert_eq!((&other.tls, &other.parent), (&upstream.tls, &upstream.parent));
}

fn count(test: &TestStore, sql: &str) -> i64 {
    let database = rusqlite::Connection::open(test.directory.path().join("store.db")).unwrap();
    database.query_row(sql, [], |row| row.get(0)).unwrap()
}

const FACTS: &str = "SELECT count(*) FROM facts";

#[test]
fn what_connections_have_in_common_is_stored_once_and_read_with_each_exchange() {
    let test = TestStore::new();
    let recorder = test.scratch();
    let connections = [connection(0, JA3), connection(1, JA3), connection(2, "771,1,2,3,4")];
    for round in 0..3 {
        for id in 0..10 {
            record(&recorder, round * 10 + id, &connections[id as usize % 3]);
        }
        recorder.flush().unwrap();
    }
    recorder.close().unwrap();
    let page = test.store.query(&query(|query| query.limit = 100)).unwrap();
    assert_eq!(page.items.len(), 30);
    for item in &page.items {
        let id: usize = item.target[1..].parse().unwrap();
        check(&test.store, item.seq, &connections[id % 10 % 3]);
    }
    // The first two differ in addresses alone, which are each exchange's own.
    assert_eq!(count(&test, FACTS), 2);
    assert_eq!(count(&test, &format!("SELECT count(*) FROM details WHERE instr(detail, '{JA3}')")), 0);
    assert_eq!(count(&test, "SELECT count(*) FROM certificates"), 2);
    let sql = "SELECT count(*), tls_version, ja4, user, parent, tunnel FROM exchanges GROUP BY 2, 3, 4, 5, 6";
    let answer = test.store.sql(&Sql::new(sql)).unwrap();
    let text = |text: &str| SqlValue::Text(text.to_owned());
    let expected = ["TLSv1.3", "t13d", "ann", "http://parent.test:3128", "example.test:443"];
    assert_eq!(answer.rows.len(), 1);
    assert_eq!(answer.rows[0][0], SqlValue::Integer(30));
    assert_eq!(answer.rows[0][1..], expected.map(text));
    let sql = "SELECT count(*) FROM headers WHERE name = 'User-Agent' AND value = 'Test/1.0'";
    assert_eq!(test.store.sql(&Sql::new(sql)).unwrap().rows[0][0], SqlValue::Integer(30));
    assert!(test.store.verify(None).unwrap().is_whole());
}

#[test]
fn recording_goes_on_where_everything_was_cleared_meanwhile() {
    let test = TestStore::new();
    let recorder = test.scratch();
    let pair = connection(7, JA3);
    for id in 0..5 {
        record(&recorder, id, &pair);
    }
    recorder.flush().unwrap();
    assert_eq!(test.store.clear_session(recorder.session()).unwrap(), 5);
    assert_eq!(count(&test, FACTS), 0);
    record(&recorder, 6, &pair);
    let seq = recorder.flush().unwrap();
    check(&test.store, seq, &pair);
    assert!(test.store.verify(None).unwrap().is_whole());
}

#[test]
fn a_copy_outlives_the_connections_of_what_it_was_copied_from() {
    let test = TestStore::new();
    let recorder = test.scratch();
    let pair = connection(3, JA3);
    for id in 0..5 {
        record(&recorder, id, &pair);
    }
    let first = recorder.close().unwrap();
    let copied = test.store.copy(&query(|query| query.session = Some(first.id)), "copy").unwrap();
    test.store.delete_session(first.id).unwrap();
    assert_eq!(count(&test, FACTS), 0);
    let page = test.store.query(&query(|query| query.session = Some(copied.id))).unwrap();
    assert_eq!(page.items.len(), 5);
    page.items.iter().for_each(|item| check(&test.store, item.seq, &pair));
    assert!(test.store.verify(None).unwrap().is_whole());
}

#[test]
fn what_evicted_exchanges_shared_goes_with_the_last_of_their_block() {
    let test = TestStore::new();
    let mut config = RecorderConfig::default();
    config.max_exchanges = Some(100);
    let recorder = Recorder::start(&test.store, SessionSpec::Scratch { max_bytes: None }, config).unwrap();
    let pairs = [connection(1, JA3), connection(2, JA3)];
    // Beyond the end of the first block, and the 100 that stay with it.
    for id in 1..4_300 {
        record(&recorder, id, &pairs[id as usize % 2]);
        if id % 1_000 == 0 {
            recorder.flush().unwrap();
        }
    }
    let seq = recorder.flush().unwrap();
    assert_eq!(count(&test, FACTS), 1);
    let read = test.store.exchange(seq).unwrap();
    let id: usize = read.summary.target[1..].parse().unwrap();
    check(&test.store, seq, &pairs[id % 2]);
    assert!(test.store.verify(None).unwrap().is_whole());
}

#[test]
fn missing_facts_are_told_and_are_no_empty_answer() {
    let test = TestStore::new();
    let recorder = test.scratch();
    record(&recorder, 1, &connection(1, JA3));
    let seq = recorder.flush().unwrap();
    recorder.close().unwrap();
    let database = rusqlite::Connection::open(test.directory.path().join("store.db")).unwrap();
    database.execute("DELETE FROM facts", []).unwrap();
    assert!(test.store.exchange(seq).is_err());
    assert!(!test.store.verify(None).unwrap().is_whole());
}
