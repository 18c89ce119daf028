//! What leads a client connection to one upstream: a CONNECT, a SOCKS request, or its listener.

use std::sync::Arc;

use http::{Method, Version};

use crate::{
    detect::Detection,
    engine::Engine,
    head::{Headers, RequestHead, Scheme},
    listener::Reverse,
    upstreams::{Destination, Reach, Security},
};

/// What a CONNECT or SOCKS opened, or where a listener leads everything.
pub(crate) struct Tunnel {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// What opened it, for the record when the tunnel is not decrypted.
    pub(crate) opening: Opening,
    pub(crate) upstream: Reach,
    /// How upstream is spoken to; known once the client's first bytes were seen.
    pub(crate) security: Security,
    /// Whether it is the client's TLS that is decrypted in it.
    pub(crate) secured: bool,
    /// What a reverse listener does with it: the origin says how upstream is spoken to, not the client.
    pub(crate) reverse: Option<Arc<Reverse>>,
}

impl Tunnel {
    /// A tunnel of which no byte was seen yet. In a box: it is handed on from layer to layer.
    pub(crate) fn new(opening: Opening, host: &str, port: u16, upstream: Reach) -> Box<Self> {
        Box::new(Self {
            host: host.to_owned(),
            port,
            opening,
            upstream,
            security: Security::Plain { http2: false },
            secured: false,
            reverse: None,
        })
    }

    /// Learns what the client speaks in it. Where TLS is spoken to upstream whatever the client does, that decides
    /// what is offered there.
    pub(crate) fn hear(&mut self, detection: &Detection) {
        let is_https = self.reverse.as_ref().is_some_and(|reverse| reverse.origin.scheme() == Scheme::Https);
        if !is_https || self.secured {
            return;
        }
        let alpn: &[&[u8]] = match detection {
            Detection::Http1 => &[b"http/1.1"],
            Detection::Http2 => &[b"h2", b"http/1.1"],
            Detection::Unknown | Detection::Silent => &[],
            Detection::Tls(_) => return,
        };
        let alpn = alpn.iter().map(|name| name.to_vec()).collect();
        self.security = Security::Tls { server_name: self.host.clone(), alpn };
    }

    /// Notes that HTTP/2 is spoken; in cleartext that is by prior knowledge.
    pub(crate) fn speak_http2(&mut self) {
        if self.secured {
            return;
        }
        if let Security::Plain { http2 } = &mut self.security {
            *http2 = true;
        }
        if let Reach::Ready(opened) = &mut self.upstream
            && opened.facts.tls.is_none()
        {
            opened.http2 = true;
        }
    }

    /// Where it leads, and how upstream is spoken to.
    pub(crate) fn destination(&self) -> Destination {
        Destination { host: self.host.clone(), port: self.port, security: self.security.clone() }
    }

    /// Upstream's own certificate, where it showed one and that was verified.
    pub(crate) fn verified_certificate(&self, engine: &Engine) -> Option<&[u8]> {
        let facts = match &self.upstream {
            Reach::Ready(opened) => &opened.facts,
            Reach::Resting(Some(facts)) => facts,
            _ => return None,
        };
        let Security::Tls { server_name, .. } = &self.security else { return None };
        let shown = facts.tls.as_ref()?.certificates.first()?;
        engine.connector.verifies(server_name).then_some(&**shown)
    }

    /// The scheme of what is in it.
    pub(crate) fn scheme(&self) -> Scheme {
        if self.secured { Scheme::Https } else { Scheme::Http }
    }
}

/// The request that opened a tunnel: a CONNECT as it came, or what stands for one in the record.
#[derive(Clone)]
pub(crate) struct Opening {
    pub(crate) head: Arc<RequestHead>,
    pub(crate) head_bytes: u64,
}

impl Opening {
    /// A CONNECT that nobody sent: a SOCKS request, or what a listener knows by itself.
    pub(crate) fn made_up(authority: String, head_bytes: u64) -> Self {
        let head = RequestHead {
            method: Method::CONNECT,
            scheme: Scheme::Http,
            target: authority.clone(),
            authority,
            version: Version::HTTP_11,
            headers: Headers::new(),
        };
        Self { head: Arc::new(head), head_bytes }
    }
}
