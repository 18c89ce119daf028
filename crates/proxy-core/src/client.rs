//! What the exchanges of a client connection share, and where they go.

use std::sync::Arc;

use tokio::sync::watch;

use crate::{
    connection::Tunnel,
    engine::Engine,
    event::ClientFacts,
    head::{RequestHead, Scheme},
    upstreams::{Destination, Security, Upstreams},
};

/// What the exchanges of a client connection share.
pub(crate) struct Client {
    pub(crate) engine: Arc<Engine>,
    pub(crate) facts: Arc<ClientFacts>,
    pub(crate) upstreams: Upstreams,
    route: Route,
    draining: watch::Receiver<bool>,
}

/// Where a client connection's requests go.
enum Route {
    /// Each to its own authority.
    ByAuthority,
    /// All to where the tunnel leads.
    Fixed(Destination),
}

impl Client {
    pub(crate) fn new(
        engine: &Arc<Engine>,
        facts: &Arc<ClientFacts>,
        tunnel: Option<Tunnel>,
        draining: &watch::Receiver<bool>,
    ) -> Self {
        let (route, first) = match tunnel {
            None => (Route::ByAuthority, None),
            Some(Tunnel { host, port, upstream, security, .. }) => {
                let to = Destination { host, port, security };
                (Route::Fixed(to.clone()), Some((to, upstream)))
            }
        };
        Self {
            engine: engine.clone(),
            facts: facts.clone(),
            upstreams: Upstreams::new(first),
            route,
            draining: draining.clone(),
        }
    }

    /// Whether the proxy is shutting down, so that connections close after the exchange they carry.
    pub(crate) fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Whether all requests go to where one tunnel leads.
    pub(crate) fn is_tunnelled(&self) -> bool {
        matches!(self.route, Route::Fixed(_))
    }

    /// Where a request goes: where its tunnel leads, unless an interceptor made another request of what was asked.
    pub(crate) fn destination(&self, asked: &RequestHead, sent: &RequestHead) -> Destination {
        let is_rerouted = (&asked.authority, asked.scheme) != (&sent.authority, sent.scheme);
        match &self.route {
            Route::Fixed(to) if !is_rerouted => to.clone(),
            Route::Fixed(to) => by_authority(sent, to.may_be_http2()),
            Route::ByAuthority => by_authority(sent, false),
        }
    }
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
