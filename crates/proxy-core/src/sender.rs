//! Requests that the proxy sends of its own accord: replays, and requests that a user composes.

mod leg;
mod request;
mod response;

use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{Method, Version};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch},
    time::sleep,
};

pub(crate) use self::{
    leg::{OwnBody, OwnResponder, OwnWriter},
    request::Course,
};
use self::{
    leg::{PARTS, Waiting},
    response::Task,
};
pub use self::{
    request::{BodySource, SendBody, SendRequest, SendVersion},
    response::{Sending, SentBody, SentResponse},
};
use crate::{
    alarm::from_now,
    client::Client,
    engine::Engine,
    error::Error,
    event::{ClientFacts, ListenerKind, Outcome},
    exchange::{
        forward::Shape,
        run::{Arrived, conduct},
    },
    failure::{Failure, FailureKind},
    head::{RequestHead, Scheme},
    leg::{BodyReader, Responder},
    proxy::{Proxy, ProxyBuilder, ProxyHandle},
    upstreams::{Destination, Security},
};

/// Courses whose connections are kept; beyond it those of the one used longest ago are closed, once idle.
const MAX_COURSES: usize = 16;

/// How long an exchange that nobody waits for any more may take to end by itself.
const GRACE: Duration = Duration::from_secs(5);

/// Sends requests through the engine as if a client had: past its rules and interceptors, by its routes and parents, with
/// its TLS options, told to its observers. Such exchanges come from a listener of the kind [`ListenerKind::Own`].
///
/// Clones share their upstream connections, which no client of the proxy gets. At most
/// [`Limits::max_concurrent_streams`](crate::Limits::max_concurrent_streams) requests are under way at once; further ones
/// wait. A sender goes on after its proxy was shut down; its own end is that of its last clone and of what was sent.
///
/// ```no_run
/// # async fn send() -> Result<(), Box<dyn std::error::Error>> {
/// use proxy_core::{CertificateAuthority, Proxy, RequestHead, SendRequest};
///
/// let sender = Proxy::builder(CertificateAuthority::in_memory()?).sender()?;
/// let head = RequestHead::get("https://example.com/")?;
/// let mut response = sender.send(SendRequest::new(head)).await?.response().await?;
/// while let Some(piece) = response.body.next().await? {
///     println!("{} bytes", piece.len());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Sender {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Arc<Engine>,
    room: Arc<Semaphore>,
    /// What requests of one course share, the one used last at the end.
    courses: Mutex<VecDeque<(Course, Arc<Client>)>>,
    /// Never told anything: what was sent goes on to its end.
    draining: watch::Sender<bool>,
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

impl Sender {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        let room = usize::try_from(engine.limits.max_concurrent_streams).unwrap_or(usize::MAX);
        let room = Arc::new(Semaphore::new(room.clamp(1, Semaphore::MAX_PERMITS)));
        let inner = Inner { engine, room, courses: Mutex::default(), draining: watch::Sender::new(false) };
        Self { inner: Arc::new(inner) }
    }

    /// Sends a request, once there is room for it. Its exchange has begun when this returns.
    ///
    /// Dropping the future before that sends nothing. Dropping what it gives ends the exchange, as a client's that left.
    ///
    /// # Errors
    /// When it cannot be sent so: a CONNECT, a request to switch protocols, one without a host. No exchange begins then.
    pub async fn send(&self, request: SendRequest) -> Result<Sending, Failure> {
        check(&request.head)?;
        // It is never closed.
        let permit = self.inner.room.clone().acquire_owned().await.ok();
        Ok(self.begin(request, permit))
    }

    fn begin(&self, request: SendRequest, permit: Option<OwnedSemaphorePermit>) -> Sending {
        let SendRequest { mut head, body, version, connect_to, origin, patience } = request;
        let engine = &self.inner.engine;
        let cx = self.inner.client(Course { version, connect_to });
        if head.version != Version::HTTP_2 && head.version != Version::HTTP_10 {
            head.version = Version::HTTP_11;
        }
        let mut facts = ClientFacts::clone(&cx.facts);
        facts.connection = engine.next_connection();
        facts.origin = origin;
        let connection = facts.connection;
        let head_bytes = size(&head);
        let head = Arc::new(head);
        let facts = Arc::new(facts);
        let ledger = engine.ledger(&facts, &head, head_bytes);
        let exchange = ledger.exchange();

        let (waits, waiting) = watch::channel(());
        let waiting = Waiting::new(waiting, patience.map(|patience| (from_now(patience), patience)));
        let (to_head, from_head) = oneshot::channel();
        let (to_parts, parts) = mpsc::channel(PARTS);
        let shape = body.shape();
        let given_up = waiting.clone();
        let task = tokio::spawn(async move {
            let arrived = Arrived {
                facts,
                head,
                head_bytes,
                body: BodyReader::Own(OwnBody::new(body, waiting.clone())),
                shape,
                client: Responder::Own(OwnResponder::new(to_head, to_parts, waiting)),
            };
            let outcome = tokio::select! {
                ended = Box::pin(conduct(&cx, &ledger, arrived)) => ended.outcome,
                () = abandoned(given_up) => {
                    Outcome::Failed(Failure::new(FailureKind::ClientLeft, "nobody waits for the response any more"))
                }
            };
            ledger.end(outcome.clone());
            drop(permit);
            outcome
        });
        let task = Task::new(task, waits, patience);
        Sending::new(exchange, connection, from_head, SentBody::new(parts, task))
    }
}

/// Resolves when an exchange that nobody waits for has not ended by itself.
async fn abandoned(mut waiting: Waiting) {
    waiting.over().await;
    sleep(GRACE).await;
}

impl Inner {
    /// What requests of this course share.
    fn client(&self, course: Course) -> Arc<Client> {
        let mut courses = self.courses.lock().unwrap_or_else(PoisonError::into_inner);
        let known = courses.iter().position(|(other, _)| *other == course);
        let entry = match known.and_then(|at| courses.remove(at)) {
            Some(entry) => entry,
            None => {
                let engine = &self.engine;
                let nowhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
                let mut facts = ClientFacts::new(engine.next_connection(), nowhere, engine.local);
                facts.listener = ListenerKind::Own;
                let client = Client::own(engine, facts, course.clone(), self.draining.subscribe());
                (course, Arc::new(client))
            }
        };
        let client = entry.1.clone();
        if courses.len() >= MAX_COURSES {
            courses.pop_front();
        }
        courses.push_back(entry);
        client
    }
}

/// Refuses what is no request with a response.
fn check(head: &RequestHead) -> Result<(), Failure> {
    let refuse = |detail: &str| Err(Failure::new(FailureKind::ClientMalformed, detail));
    if head.method == Method::CONNECT {
        return refuse("a CONNECT opens a tunnel, and cannot be sent as a request");
    }
    if head.is_upgrade() {
        return refuse("a request to switch protocols (Upgrade) cannot be sent as a request with a response");
    }
    if head.host().is_empty() {
        return refuse("the request names no host");
    }
    Ok(())
}

/// The size of a request's head as HTTP/1 writes it.
fn size(head: &RequestHead) -> u64 {
    let line = head.method.as_str().len() + head.target.len() + " HTTP/1.1\r\n".len() + 1;
    let fields: usize = head.headers.iter().map(|field| field.name.len() + field.value.len() + 4).sum();
    (line + fields + 2) as u64
}

impl Course {
    /// Where a request of this course goes that nobody rerouted.
    pub(crate) fn destination(&self, head: &RequestHead) -> Destination {
        let (host, port) = match &self.connect_to {
            Some((host, port)) => (host.clone(), *port),
            None => (head.host().to_owned(), head.port()),
        };
        Destination { host, port, security: self.security(head) }
    }

    /// What is spoken on the way to a request's own host.
    pub(crate) fn security(&self, head: &RequestHead) -> Security {
        let alpn: &[&[u8]] = match self.version {
            SendVersion::Auto => &[b"h2", b"http/1.1"],
            SendVersion::Http1 => &[b"http/1.1"],
            SendVersion::Http2 => &[b"h2"],
        };
        match head.scheme {
            Scheme::Http => Security::Plain { http2: self.version == SendVersion::Http2 },
            Scheme::Https => Security::Tls {
                server_name: head.host().to_owned(),
                alpn: alpn.iter().map(|name| name.to_vec()).collect(),
            },
        }
    }
}

impl Proxy {
    /// A sender whose requests go through this proxy's engine.
    #[must_use]
    pub fn sender(&self) -> Sender {
        Sender::new(self.engine().clone())
    }
}

impl ProxyHandle {
    /// A sender whose requests go through this proxy's engine.
    #[must_use]
    pub fn sender(&self) -> Sender {
        Sender::new(self.engine().clone())
    }
}

impl ProxyBuilder {
    /// Makes a sender of what was said, without a proxy that listens.
    ///
    /// # Errors
    /// When the trust or the TLS options cannot be set up.
    pub fn sender(self) -> Result<Sender, Error> {
        let nowhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        Ok(Sender::new(Arc::new(self.engine(&[], nowhere)?)))
    }
}

impl SendBody {
    fn shape(&self) -> Shape {
        match self.length() {
            Some(0) if self.trailers().is_none() => Shape::Empty,
            Some(length) if self.trailers().is_none() => Shape::Length(length),
            _ => Shape::Unknown,
        }
    }
}
