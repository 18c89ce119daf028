//! What the exchanges of a client connection share, and where they go.

use std::sync::Arc;

use tokio::sync::watch;

use crate::{
    connection::Tunnel,
    engine::Engine,
    event::ClientFacts,
    head::{RequestHead, Scheme},
    upstreams::{Destination, Reach, Security, Upstreams},
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
            None => (Route::ByAuthority, Reach::Open),
            Some(Tunnel { host, port, upstream, security, .. }) => {
                (Route::Fixed(Destination { host, port, security }), upstream)
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

    /// Where a request goes.
    pub(crate) fn destination(&self, head: &RequestHead) -> Destination {
        match &self.route {
            Route::ByAuthority => by_authority(head),
            Route::Fixed(to) => to.clone(),
        }
    }
}

/// Where a request outside any tunnel goes: to its own authority.
fn by_authority(head: &RequestHead) -> Destination {
    let host = head.host().to_owned();
    let security = match head.scheme {
        Scheme::Http => Security::Plain { http2: false },
        Scheme::Https => Security::Tls { server_name: host.clone(), alpn: vec![b"http/1.1".to_vec()] },
    };
    Destination { host, port: head.port(), security }
}
