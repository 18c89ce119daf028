//! Where a request goes, what is spoken there, and which way a connection takes.

use http::Method;

use crate::{
    engine::Engine,
    head::RequestHead,
    parent::{Carried, ParentProxy},
};

/// Where a request goes and how.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Destination {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) security: Security,
}

/// What is spoken on the way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Security {
    /// Cleartext; HTTP/2 with prior knowledge where the client uses it.
    Plain { http2: bool },
    /// TLS, asking for this name and these protocols.
    Tls { server_name: String, alpn: Vec<Vec<u8>> },
}

impl Destination {
    /// Whether many exchanges may come to share a connection there.
    pub(crate) fn may_be_http2(&self) -> bool {
        match &self.security {
            Security::Plain { http2 } => *http2,
            Security::Tls { alpn, .. } => alpn.iter().any(|name| name == b"h2"),
        }
    }

    /// The parent proxy on the way there, as the routes are now.
    pub(super) fn parent(&self, engine: &Engine) -> Option<ParentProxy> {
        let carried = match self.security {
            Security::Plain { .. } => Carried::Request,
            Security::Tls { .. } => Carried::Tunnel,
        };
        engine.roads.routes.parent(&self.host, self.port, carried)
    }
}

/// What a connection is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// A request and its response.
    Message,
    /// A request that may turn the connection into a stream of bytes, or that a parent would take elsewhere.
    Stream,
}

impl Need {
    pub(super) fn of(head: &RequestHead, to: &Destination) -> Self {
        let may_switch = head.method == Method::CONNECT || head.is_upgrade();
        // In absolute form a request says where it goes; in a tunnel it may name another host than the tunnel's.
        let names_it = head.port() == to.port && head.host().eq_ignore_ascii_case(&to.host);
        if may_switch || !names_it { Self::Stream } else { Self::Message }
    }
}

/// Which way a connection goes to its destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Straight.
    Direct,
    /// Through a tunnel that a parent opened.
    Tunnel(ParentProxy),
    /// To a parent that takes cleartext requests in absolute form.
    Absolute(ParentProxy),
}

impl Way {
    pub(crate) fn parent(&self) -> Option<&ParentProxy> {
        match self {
            Self::Direct => None,
            Self::Tunnel(parent) | Self::Absolute(parent) => Some(parent),
        }
    }
}

/// What is looked for among the connections there are.
pub(super) struct Wanted<'w> {
    pub(super) to: &'w Destination,
    pub(super) parent: Option<&'w ParentProxy>,
    pub(super) need: Need,
}

#[cfg(test)]
mod tests {
    use http::Version;

    use super::*;
    use crate::head::{Headers, Scheme};

    #[test]
    fn only_a_request_that_names_where_it_goes_is_put_in_absolute_form() {
        let to = Destination {
            host: "example.com".to_owned(),
            port: 80,
            security: Security::Plain { http2: false },
        };
        for (method, authority, fields, need) in [
            ("GET", "EXAMPLE.com", &[][..], Need::Message),
            ("GET", "example.com:80", &[], Need::Message),
            ("GET", "example.com:81", &[], Need::Stream),
            ("GET", "elsewhere.test", &[], Need::Stream),
            ("CONNECT", "example.com:80", &[], Need::Stream),
            ("GET", "example.com", &[("Connection", "upgrade"), ("Upgrade", "websocket")], Need::Stream),
        ] {
            let mut headers = Headers::new();
            for (name, value) in fields {
                headers.push(*name, *value);
            }
            let head = RequestHead {
                method: method.parse().unwrap(),
                scheme: Scheme::Http,
                authority: authority.to_owned(),
                target: "/".to_owned(),
                version: Version::HTTP_11,
                headers,
            };
            assert_eq!(Need::of(&head, &to), need, "{method} {authority} {fields:?}");
        }
    }
}
