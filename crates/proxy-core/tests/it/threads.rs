//! A proxy that carries connections on threads of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroUsize,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use http::Method;
use proxy_core::{
    ConnectionId, Event, EventKind, ExchangeId, FailureKind, Interceptor, Observer, Outcome, ProxyBuilder,
    RequestHead, UpstreamSharing, Verdict,
};
use testkit::{Origin, ProxyClient, full};

use crate::lab::Lab;

const TWO: NonZeroUsize = NonZeroUsize::new(2).unwrap();

/// The threads on which events were told, by client connection.
#[derive(Clone, Default)]
struct Places(Arc<Mutex<BTreeMap<ConnectionId, BTreeSet<String>>>>);

impl Places {
    /// The names of the threads of each connection.
    fn names(&self) -> Vec<BTreeSet<String>> {
        self.0.lock().unwrap().values().cloned().collect()
    }
}

impl Observer for Places {
    fn observe(&self, event: &Event) {
        // The test's clients have one exchange at a time each, and are told apart by its beginning.
        if let EventKind::Request { client, .. } = &event.kind {
            let name = thread::current().name().unwrap_or_default().to_owned();
            self.0.lock().unwrap().entry(client.connection).or_default().insert(name);
        }
    }
}

/// A proxy with two threads of its own, further set up by `set_up`.
async fn lab(set_up: impl FnOnce(ProxyBuilder) -> ProxyBuilder) -> Lab {
    Lab::with(|builder| set_up(builder.threads(TWO))).await
}

#[tokio::test]
async fn each_connection_stays_on_one_thread_and_all_threads_have_some() {
    let places = Places::default();
    let lab = lab(|builder| builder.observer(places.clone())).await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    let mut clients = Vec::new();
    for alpn in ["http/1.1", "h2", "http/1.1", "h2"] {
        clients.push(lab.client(&[alpn]).https(&origin.authority()).await.unwrap());
    }
    for _ in 0..3 {
        for client in &mut clients {
            assert_eq!(client.get("/bytes/3000").await.unwrap().body.len(), 3_000);
        }
    }
    let told = lab.log.ended(12).await;
    assert!(told.iter().all(|told| told.outcome() == &Outcome::Response));
    let names = places.names();
    assert!(names.iter().all(|names| names.len() == 1), "{names:?}");
    let used: BTreeMap<&String, usize> = names.iter().flatten().fold(BTreeMap::new(), |mut used, name| {
        *used.entry(name).or_default() += 1;
        used
    });
    assert_eq!(
        used.into_iter().collect::<Vec<_>>(),
        [(&"proxy-1".to_owned(), 2), (&"proxy-2".to_owned(), 2)]
    );
}

#[tokio::test]
async fn a_listener_that_is_opened_later_has_the_same_threads_and_keeps_them() {
    let places = Places::default();
    let mut lab = lab(|builder| builder.observer(places.clone())).await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    let proxy = lab.proxy.take().unwrap();
    let further = proxy.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let client = ProxyClient::new(further.local_addr(), &lab.ca_pem, &["h2"]).unwrap();
    let mut stays = client.https(&origin.authority()).await.unwrap();
    stays.get("/").await.unwrap();
    proxy.shutdown(Duration::ZERO).await;
    stays.get("/").await.unwrap();
    client.https(&origin.authority()).await.unwrap().get("/").await.unwrap();
    let names = places.names();
    assert!(names.iter().flatten().all(|name| name.starts_with("proxy-")), "{names:?}");
    assert_eq!(further.shutdown(Duration::from_secs(20)).await.cut_connections, 0);
    assert_eq!(lab.log.all().iter().map(|told| told.endings.len()).collect::<Vec<_>>(), [1, 1, 1]);
}

#[tokio::test]
async fn a_connection_that_ended_makes_room_on_its_thread() {
    let places = Places::default();
    let lab = lab(|builder| builder.observer(places.clone())).await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    let mut stays = lab.client(&["http/1.1"]).https(&origin.authority()).await.unwrap();
    stays.get("/").await.unwrap();
    for number in 2..5 {
        // The head asks for the end of the connection, so that the proxy's part in it is over with the answer.
        let mut client = lab.client(&["http/1.1"]).raw_tls(&origin.authority()).await.unwrap();
        client.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        client.read_to_end().await.unwrap();
        lab.log.ended(number).await;
    }
    // The second came while the first was there, and went where nothing was.
    assert_ne!(places.names()[0], places.names()[1]);
}

#[tokio::test]
async fn upstream_connections_are_shared_between_threads_where_that_is_asked_for() {
    let lab = lab(|builder| builder.upstream_sharing(UpstreamSharing::Shared)).await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(lab.client(&["h2"]).https(&origin.authority()).await.unwrap());
    }
    for client in &mut clients {
        assert_eq!(client.get("/bytes/100000").await.unwrap().body.len(), 100_000);
    }
    let told = lab.log.ended(4).await;
    assert!(told.iter().all(|told| told.outcome() == &Outcome::Response));
}

#[tokio::test]
async fn a_shutdown_drains_the_threads_and_ends_them() {
    let mut lab = lab(|builder| builder).await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    let mut answers = Vec::new();
    for alpn in ["http/1.1", "h2"] {
        let mut busy = lab.client(&[alpn]).https(&origin.authority()).await.unwrap();
        let request = busy.request(Method::GET, "/slow-headers", full("")).unwrap();
        answers.push(tokio::spawn(async move { busy.fetch(request).await }));
    }
    origin.until(|counts| counts.requests == 2).await.unwrap();
    let stopping = tokio::spawn(lab.proxy.take().unwrap().shutdown(Duration::from_secs(20)));
    // From here on the proxy knows that it is to stop.
    while tokio::net::TcpStream::connect(lab.addr).await.is_ok() {
        tokio::task::yield_now().await;
    }
    for answer in answers {
        origin.release();
        assert_eq!(answer.await.unwrap().unwrap().status, 200);
    }
    assert_eq!(stopping.await.unwrap().cut_connections, 0);
}

#[tokio::test]
async fn what_is_left_at_the_deadline_is_cut_on_every_thread() {
    let mut lab = lab(|builder| builder).await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    let mut answers = Vec::new();
    for alpn in ["http/1.1", "h2"] {
        let mut busy = lab.client(&[alpn]).https(&origin.authority()).await.unwrap();
        let request = busy.request(Method::GET, "/slow-headers", full("")).unwrap();
        answers.push(tokio::spawn(async move { busy.fetch(request).await }));
    }
    origin.until(|counts| counts.requests == 2).await.unwrap();
    let drained = lab.proxy.take().unwrap().shutdown(Duration::from_millis(20)).await;
    assert_eq!(drained.cut_connections, 2);
    for answer in answers {
        assert!(answer.await.unwrap().is_err());
    }
    let told = lab.log.ended(2).await;
    assert!(told.iter().all(|told| told.failure() == FailureKind::Shutdown));
}

#[tokio::test]
async fn a_handle_that_is_dropped_cuts_what_the_threads_carry() {
    let mut lab = lab(|builder| builder).await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    let mut busy = lab.client(&["http/1.1"]).https(&origin.authority()).await.unwrap();
    let request = busy.request(Method::GET, "/slow-headers", full("")).unwrap();
    let answer = tokio::spawn(async move { busy.fetch(request).await });
    origin.until(|counts| counts.requests == 1).await.unwrap();
    drop(lab.proxy.take());
    assert!(answer.await.unwrap().is_err());
    assert_eq!(lab.log.one().await.failure(), FailureKind::Shutdown);
}

/// Panics over `/panic`.
struct Panics;

impl Interceptor for Panics {
    fn request<'a>(
        &'a self,
        _: ExchangeId,
        head: &'a mut RequestHead,
    ) -> std::pin::Pin<Box<dyn Future<Output = Verdict> + Send + 'a>> {
        assert!(head.target != "/panic", "as the test has it");
        Box::pin(async { Verdict::Continue })
    }
}

#[tokio::test]
async fn a_panic_ends_one_exchange_and_no_thread() {
    let lab = lab(|builder| builder.interceptor(Panics)).await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    for _ in 0..4 {
        let mut client = lab.client(&["http/1.1"]).https(&origin.authority()).await.unwrap();
        // Whether there is an answer is not the question here.
        let _ = client.get("/panic").await;
    }
    assert!(lab.log.ended(4).await.iter().all(|told| matches!(told.outcome(), Outcome::Failed(_))));
    for _ in 0..2 {
        let mut client = lab.client(&["h2"]).https(&origin.authority()).await.unwrap();
        assert_eq!(client.get("/").await.unwrap().status, 200);
    }
}
