//! Real exchanges replayed to real origins.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use capture_store::{BodySide, Query, Recorder, RecorderConfig, SessionSpec, parse};
use proxy_core::{CertificateAuthority, Proxy, ProxyHandle, UpstreamTrust};
use testkit::{Origin, ProxyClient, RawOrigin, Step, TestCa};
use tokio::sync::Notify;

use super::*;

/// A proxy that records, and what it recorded.
struct Lab {
    proxy: ProxyHandle,
    ca_pem: String,
    origin_ca: TestCa,
    store: capture_store::Store,
    recorder: Recorder,
    _directory: tempfile::TempDir,
}

impl Lab {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store =
            capture_store::Store::open(directory.path(), capture_store::StoreConfig::default()).unwrap();
        let recorder =
            Recorder::start(&store, SessionSpec::Scratch { max_bytes: None }, RecorderConfig::default())
                .unwrap();
        let origin_ca = TestCa::new().unwrap();
        let ca = CertificateAuthority::in_memory().unwrap();
        let ca_pem = ca.certificate_pem().to_owned();
        let trust = UpstreamTrust::nobody().with_ca(origin_ca.pem().as_bytes()).unwrap();
        let builder = Proxy::builder(ca).observer(recorder.clone()).upstream_trust(trust);
        let proxy = builder.bind("127.0.0.1:0").await.unwrap().spawn();
        Self { proxy, ca_pem, origin_ca, store, recorder, _directory: directory }
    }

    fn client(&self, alpn: &[&str]) -> ProxyClient {
        ProxyClient::new(self.proxy.local_addr(), &self.ca_pem, alpn).unwrap()
    }

    async fn seqs(&self, filter: &str) -> Vec<capture_store::Seq> {
        let (recorder, store) = (self.recorder.clone(), self.store.clone());
        let condition = parse(filter).unwrap();
        tokio::task::spawn_blocking(move || {
            recorder.flush().unwrap();
            let mut query = Query::default();
            query.condition = Some(condition);
            query.limit = 100_000;
            store.query(&query).unwrap().items.into_iter().map(|item| item.seq).collect()
        })
        .await
        .unwrap()
    }

    /// Waits until this many exchanges are over.
    async fn ended(&self, count: usize) {
        let ended = async {
            while self.seqs("is:ended").await.len() < count {}
            Ok(())
        };
        testkit::within("the recording", ended).await.unwrap();
    }

    fn replay(&self, changes: Changes, settings: Settings) -> Replay {
        Replay {
            sender: self.proxy.sender(),
            origins: self.store.clone(),
            recorder: self.recorder.clone(),
            recorded: self.store.clone(),
            changes,
            settings,
        }
    }

    async fn replayed(&self, filter: &str, changes: Changes) -> (Vec<Outcome>, Summary) {
        let mut outcomes = Vec::new();
        let replay = self.replay(changes, Settings::default());
        let seqs = self.seqs(filter).await;
        let summary =
            replay.run(seqs, std::future::pending(), |outcome| outcomes.push(outcome)).await.unwrap();
        outcomes.sort_by_key(|outcome| outcome.origin);
        (outcomes, summary)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exchanges_are_sent_again_byte_for_byte_linked_and_compared() {
    let lab = Lab::new().await;
    let answer = "HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 2\r\n\r\nok";
    let script = vec![Step::read_until("\u{0}end"), Step::send(answer), Step::ReadToEnd];
    let origin = RawOrigin::plain(vec![script]).await.unwrap();
    let mut client = lab.client(&[]).raw().await.unwrap();
    let authority = origin.authority();
    let body = [&[0x1f, 0x8b, 0xff][..], b"\0end"].concat();
    let head = format!(
        "POST http://{authority}/a?q=%41 HTTP/1.1\r\nHOST: {authority}\r\nX-B: 1\r\nx-a: 2\r\nContent-Encoding: gzip\r\nContent-Length: 7\r\n\r\n"
    );
    client.send([head.as_bytes(), &body].concat()).await.unwrap();
    client.read_until(b"ok").await.unwrap();
    lab.ended(1).await;
    let (outcomes, summary) = lab.replayed("method:POST", Changes::default()).await;
    assert_eq!((summary.answered, summary.same, summary.failed), (1, 1, 0), "{outcomes:?}");
    assert_eq!(origin.received(0), origin.received(1));
    let outcome = &outcomes[0];
    assert_eq!((outcome.was, outcome.status(), outcome.attempts), (Some(200), Some(200), 1));
    assert_eq!(lab.seqs(&format!("replay-of:{} listener:own", outcome.origin)).await, [outcome.seq.unwrap()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_and_large_bodies_are_replayed() {
    let lab = Lab::new().await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    for alpn in ["http/1.1", "h2"] {
        let mut client = lab.client(&[alpn]).https(&origin.authority()).await.unwrap();
        let body = testkit::pattern_bytes(3_000_000);
        let request = client.request(http::Method::POST, "/upload", testkit::full(body)).unwrap();
        let response = client.send(request).await.unwrap();
        http_body_util::BodyExt::collect(response.into_body()).await.unwrap();
        client.get("/gzip").await.unwrap();
    }
    lab.ended(4).await;
    let (outcomes, summary) = lab.replayed("", Changes::default()).await;
    assert_eq!((summary.selected, summary.same), (4, 4), "{outcomes:?}");
    let seen: Vec<_> =
        origin.seen().into_iter().map(|seen| (seen.version, seen.uri.path().to_owned())).collect();
    for request in &seen {
        assert_eq!(seen.iter().filter(|other| *other == request).count(), 2, "{seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_sent_again_is_skipped_with_the_reason() {
    let lab = Lab::new().await;
    let origin = Origin::plain().await.unwrap();
    let mut client = lab.client(&[]).raw().await.unwrap();
    let authority = origin.authority();
    let key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    client
        .send(format!(
            "GET http://{authority}/ws HTTP/1.1\r\nHost: {authority}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{key}\r\n"
        ))
        .await
        .unwrap();
    client.read_head().await.unwrap();
    drop(client);
    let mut client = lab.client(&[]).raw().await.unwrap();
    client.send("GET http://gone.invalid/ HTTP/1.1\r\nHost: gone.invalid\r\n\r\n").await.unwrap();
    client.read_head().await.unwrap();
    lab.ended(2).await;
    let (outcomes, summary) = lab.replayed("", Changes::default()).await;
    assert_eq!((summary.skipped, summary.failed), (1, 1), "{outcomes:?}");
    assert!(matches!(outcomes[0].became, Became::Skipped(Skip::Upgrade)), "{outcomes:?}");
    // A request that failed at upstream is a request all the same.
    assert!(matches!(&outcomes[1].became, Became::Failed(failure) if failure.kind.code() == "dns"));
    let gone = prepare(&lab.store, capture_store::Seq(999), &Changes::default()).unwrap();
    assert_eq!(gone.err(), Some(Skip::Gone));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_changed_as_asked() {
    let lab = Lab::new().await;
    let (origin, other) = (Origin::plain().await.unwrap(), Origin::https(&lab.origin_ca).await.unwrap());
    let mut client = lab.client(&[]).raw().await.unwrap();
    let authority = origin.authority();
    client
        .send(format!(
            "POST http://{authority}/echo?page=1&keep=%20x HTTP/1.1\r\nHost: {authority}\r\nX-Old: 1\r\nAuthorization: Bearer {{{{token}}}}\r\nContent-Length: 25\r\n\r\nold {{{{ name }}}} {{{{other}}}}."
        ))
        .await
        .unwrap();
    client.read_head().await.unwrap();
    lab.ended(1).await;
    let changes = Changes {
        target: Some(other.url("/").parse().unwrap()),
        headers: vec![("X-New".to_owned(), Some("{{token}}".to_owned())), ("x-old".to_owned(), None)],
        parameters: vec![
            ("page".to_owned(), Some("2 3".to_owned())),
            ("new".to_owned(), Some("n".to_owned())),
        ],
        replacements: vec![("old ".to_owned(), "new ".to_owned())],
        variables: [("token", "s3cret"), ("name", "ann")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
    };
    let (outcomes, summary) = lab.replayed("method:POST", changes).await;
    assert_eq!((summary.answered, summary.different), (1, 1), "{outcomes:?}");
    let seen = &other.seen()[0];
    assert_eq!(seen.uri.to_string(), "/echo?page=2%203&keep=%20x&new=n");
    assert_eq!(
        (&seen.headers["x-new"], &seen.headers["authorization"]),
        (&"s3cret".parse().unwrap(), &"Bearer s3cret".parse().unwrap())
    );
    assert!(!seen.headers.contains_key("x-old"));
    assert_eq!(seen.headers["host"], other.authority());
    let again = outcomes[0].seq.unwrap();
    let body = lab.store.body(again, BodySide::Request).unwrap().unwrap().decode(100);
    assert_eq!(body.bytes, "new ann {{other}}.");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_are_replayed_over_a_bounded_number_of_connections() {
    let lab = Lab::new().await;
    let origin = Origin::plain().await.unwrap();
    let mut client = lab.client(&[]).raw().await.unwrap();
    let authority = origin.authority();
    for n in 0..10 {
        client
            .send(format!("GET http://{authority}/json?n={n} HTTP/1.1\r\nHost: {authority}\r\n\r\n"))
            .await
            .unwrap();
        client.read_until(b"origin\"}").await.unwrap();
    }
    lab.ended(10).await;
    let before = origin.counts().connections;
    let some = lab.seqs("").await;
    let seqs: Vec<_> = some.iter().copied().cycle().take(1_000).collect();
    let mut told = 0;
    let settings = Settings { concurrency: 5, ..Settings::default() };
    let summary = lab
        .replay(Changes::default(), settings)
        .run(seqs, std::future::pending(), |outcome| {
            told += 1;
            assert_eq!(outcome.is_same(), Some(true), "{outcome:?}");
        })
        .await
        .unwrap();
    assert_eq!((summary.same, told, summary.not_recorded), (1_000, 1_000, 0));
    assert!(origin.counts().connections - before <= 5, "{:?}", origin.counts());
    assert_eq!(lab.seqs(&format!("replay-of:{}", some[3])).await.len(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_is_stopped_keeps_what_is_done_and_says_what_is_not() {
    let lab = Lab::new().await;
    let origin = Origin::plain().await.unwrap();
    let mut client = lab.client(&[]).raw().await.unwrap();
    let authority = origin.authority();
    for path in ["/json", "/slow-headers"] {
        client
            .send(format!("GET http://{authority}{path} HTTP/1.1\r\nHost: {authority}\r\n\r\n"))
            .await
            .unwrap();
        if path == "/slow-headers" {
            origin.until(|counts| counts.requests == 2).await.unwrap();
            origin.release();
        }
        client.read_head().await.unwrap();
    }
    lab.ended(2).await;
    let (fast, slow) = (lab.seqs("path:/json").await[0], lab.seqs("path:/slow-headers is:ended").await[0]);
    let seqs = [vec![fast; 3], vec![slow; 7]].concat();
    let stop = Arc::new(Notify::new());
    let settings = Settings { concurrency: 2, ..Settings::default() };
    let told = Arc::new(Mutex::new(0));
    let run = lab.replay(Changes::default(), settings).run(seqs, stop.notified(), {
        let told = told.clone();
        move |outcome| {
            assert_eq!(outcome.origin, fast);
            *told.lock().unwrap() += 1;
        }
    });
    let stopping = async {
        // Two are held up when three are done.
        origin.until(|counts| counts.requests == 7).await.unwrap();
        stop.notify_one();
    };
    let (summary, ()) = tokio::join!(run, stopping);
    let summary = summary.unwrap();
    assert_eq!((summary.same, summary.broken_off, summary.not_sent), (3, 2, 5), "{summary:?}");
    assert_eq!(*told.lock().unwrap(), 3);
    assert_eq!(lab.seqs(&format!("replay-of:{fast} is:ended")).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_tried_again_each_attempt_an_exchange_of_its_own() {
    let lab = Lab::new().await;
    let answer = Step::send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let well = vec![Step::ReadHead, answer, Step::HalfClose];
    let origin = RawOrigin::plain(vec![well.clone(), vec![Step::ReadHead, Step::Reset], well]).await.unwrap();
    let mut client = lab.client(&[]).raw().await.unwrap();
    let authority = origin.authority();
    client.send(format!("GET http://{authority}/ HTTP/1.1\r\nHost: {authority}\r\n\r\n")).await.unwrap();
    client.read_until(b"ok").await.unwrap();
    lab.ended(1).await;
    let seqs = lab.seqs("").await;
    let settings = Settings { retries: 2, patience: Duration::from_secs(60), ..Settings::default() };
    let mut outcomes = Vec::new();
    lab.replay(Changes::default(), settings)
        .run(seqs.clone(), std::future::pending(), |outcome| outcomes.push(outcome))
        .await
        .unwrap();
    assert_eq!((outcomes[0].attempts, outcomes[0].status()), (2, Some(200)), "{outcomes:?}");
    assert_eq!(lab.seqs(&format!("replay-of:{}", seqs[0])).await.len(), 2);
}

#[test]
fn targets_are_urls_without_a_query() {
    for (text, told) in [
        ("https://a.test", Some("https://a.test")),
        ("http://a.test:81/x/", Some("http://a.test:81/x")),
        ("a.test", None),
        ("https://a.test/?q", None),
        ("https://u@a.test", None),
    ] {
        let read = text.parse::<Target>().ok().map(|target| target.to_string());
        assert_eq!(read.as_deref(), told, "{text}");
    }
}
