//! What the exchanges of a client connection share, and where they go.

use std::{
    borrow::Cow,
    sync::{Arc, OnceLock},
};

use http::Method;
use tokio::sync::watch;

use crate::{
    connection,
    engine::Engine,
    event::{ClientFacts, ListenerKind},
    exchange::ledger::Ledger,
    failure::{Failure, FailureKind},
    head::{RequestHead, Scheme},
    listener::{HostField, Reverse, take_credentials},
    opening::Tunnel,
    sender::Course,
    upstreams::{Destination, Security, Upstreams},
};

/// What the exchanges of a client connection share.
pub(crate) struct Client {
    pub(crate) engine: Arc<Engine>,
    pub(crate) facts: Arc<ClientFacts>,
    pub(crate) upstreams: Upstreams,
    /// The facts with the user who proved to be this client, once one did.
    admitted: OnceLock<Arc<ClientFacts>>,
    route: Route,
    draining: watch::Receiver<bool>,
}

/// Where a client connection's requests go.
enum Route {
    /// Each to its own authority.
    ByAuthority,
    /// As their sender said: these are requests of our own.
    Own(Course),
    /// All to where the tunnel leads.
    Fixed(Destination, Option<Arc<Reverse>>),
}

impl Client {
    pub(crate) fn new(
        engine: &Arc<Engine>,
        facts: &Arc<ClientFacts>,
        tunnel: Option<Box<Tunnel>>,
        draining: &watch::Receiver<bool>,
    ) -> Self {
        let (route, first) = match tunnel.map(|tunnel| *tunnel) {
            None => (Route::ByAuthority, None),
            Some(Tunnel { host, port, upstream, security, reverse, .. }) => {
                let to = Destination { host, port, security };
                (Route::Fixed(to.clone(), reverse), Some((to, upstream)))
            }
        };
        Self {
            engine: engine.clone(),
            facts: facts.clone(),
            upstreams: Upstreams::new(engine, first),
            admitted: OnceLock::new(),
            route,
            draining: draining.clone(),
        }
    }

    /// What requests of our own share that go the same way.
    pub(crate) fn own(
        engine: &Arc<Engine>,
        facts: ClientFacts,
        course: Course,
        draining: watch::Receiver<bool>,
    ) -> Self {
        Self {
            engine: engine.clone(),
            facts: Arc::new(facts),
            upstreams: Upstreams::own(engine),
            admitted: OnceLock::new(),
            route: Route::Own(course),
            draining,
        }
    }

    /// Whether the proxy is shutting down, so that connections close after the exchange they carry.
    pub(crate) fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Waits until the proxy shuts down.
    pub(crate) async fn drained(&self) {
        connection::drained(&mut self.draining.clone()).await;
    }

    /// Whether all requests go to where one tunnel leads.
    pub(crate) fn is_tunnelled(&self) -> bool {
        matches!(self.route, Route::Fixed(..))
    }

    /// Where a request goes: where its tunnel leads, unless an interceptor made another request of what was asked.
    pub(crate) fn destination(&self, asked: &RequestHead, sent: &RequestHead) -> Cow<'_, Destination> {
        match &self.route {
            Route::Fixed(to, _) if !is_rerouted(asked, sent) => Cow::Borrowed(to),
            Route::Fixed(to, _) => Cow::Owned(by_authority(sent, to.may_be_http2())),
            Route::ByAuthority => Cow::Owned(by_authority(sent, false)),
            Route::Own(course) if !is_rerouted(asked, sent) => Cow::Owned(course.destination(sent)),
            Route::Own(course) => {
                Cow::Owned(Destination { security: course.security(sent), ..by_authority(sent, false) })
            }
        }
    }

    /// The head as upstream is to see it. Behind a reverse listener it names the scheme that is spoken there, and the
    /// origin's own authority where that was asked for.
    pub(crate) fn outward<'h>(&self, asked: &RequestHead, sent: &'h RequestHead) -> Cow<'h, RequestHead> {
        let Route::Fixed(_, Some(reverse)) = &self.route else { return Cow::Borrowed(sent) };
        if is_rerouted(asked, sent) {
            return Cow::Borrowed(sent);
        }
        let mut out = sent.clone();
        out.scheme = reverse.origin.scheme();
        if reverse.host == HostField::Origin {
            out.authority = reverse.origin.authority();
        }
        Cow::Owned(out)
    }

    /// Asks a request outside any tunnel for credentials, where clients have to have some, and refuses what the
    /// listener is not for. Credentials are taken out of the head in any case. Gives the connection with the user's
    /// name.
    pub(crate) fn admit(&self, head: &mut RequestHead) -> Result<Arc<ClientFacts>, Failure> {
        let credentials = take_credentials(head);
        self.check_listener(head)?;
        if !self.is_asked() {
            return Ok(self.facts.clone());
        }
        let user = self.engine.clients.authenticate(credentials.as_deref())?;
        let first = self.admitted.get_or_init(|| with_user(&self.facts, user));
        // Another user may have been the first on this connection.
        if first.user.as_deref() == Some(user) { Ok(first.clone()) } else { Ok(with_user(&self.facts, user)) }
    }
}

impl Client {
    /// Whether each request has to prove who makes it.
    fn is_asked(&self) -> bool {
        let may_be = !self.is_tunnelled() && self.facts.listener == ListenerKind::Explicit;
        may_be && self.engine.clients.asks_credentials()
    }

    /// The account of a request that is refused for what it is. Where nobody proved to be the client yet it is one of
    /// those that are bounded: strangers must not fill the record by sending what cannot be read.
    pub(crate) fn refusal_ledger(
        &self,
        head: &Arc<RequestHead>,
        head_bytes: u64,
        failure: &mut Failure,
    ) -> Ledger {
        match self.admitted.get() {
            None if self.is_asked() => self.engine.refusal_ledger(&self.facts, head, head_bytes, failure),
            _ => self.engine.ledger(&self.facts, head, head_bytes),
        }
    }

    /// Refuses requests that a listener's clients do not make: any HTTP before a SOCKS request, and a CONNECT where
    /// nobody is set up to use a proxy.
    fn check_listener(&self, head: &RequestHead) -> Result<(), Failure> {
        let refuse = |detail| Err(Failure::new(FailureKind::ClientMalformed, detail));
        match self.facts.listener {
            _ if self.is_tunnelled() => Ok(()),
            ListenerKind::Socks => {
                refuse("HTTP came where SOCKS is listened for; set the proxy as socks5://")
            }
            ListenerKind::Transparent if head.method == Method::CONNECT => {
                refuse("CONNECT came where redirected connections are listened for")
            }
            _ => Ok(()),
        }
    }
}

fn with_user(facts: &ClientFacts, user: &str) -> Arc<ClientFacts> {
    let mut facts = facts.clone();
    facts.user = Some(user.to_owned());
    Arc::new(facts)
}

/// Whether an interceptor sent a request elsewhere.
fn is_rerouted(asked: &RequestHead, sent: &RequestHead) -> bool {
    (&asked.authority, asked.scheme) != (&sent.authority, sent.scheme)
}

/// Where a request goes that goes to its own authority.
fn by_authority(head: &RequestHead, http2: bool) -> Destination {
    let host = head.host().to_owned();
    let security = match head.scheme {
        Scheme::Http => Security::Plain { http2: false },
        Scheme::Https => {
            let alpn: &[&[u8]] = if http2 { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] };
            Security::Tls { server_name: host.clone(), alpn: alpn.iter().map(|name| name.to_vec()).collect() }
        }
    };
    Destination { host, port: head.port(), security }
}
