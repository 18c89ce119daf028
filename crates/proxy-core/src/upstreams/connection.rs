//! An HTTP/1 connection to upstream, and whose it is.

use std::{borrow::Cow, sync::Arc};

use http::Method;
use tokio::time::Instant;

use super::destination::{Destination, Security, Way};
use crate::{
    alarm::Alarm,
    engine::Engine,
    event::UpstreamFacts,
    head::RequestHead,
    http1::TargetForm,
    leg::{Http1Reader, Http1Writer},
    parent::ParentProxy,
    wire::WireError,
};

/// An HTTP/1 connection to upstream.
pub(crate) struct Http1Connection {
    pub(crate) reader: Http1Reader,
    /// For waits on what it reads.
    pub(crate) alarm: Alarm,
    pub(crate) writer: Http1Writer,
    pub(crate) facts: Arc<UpstreamFacts>,
    pub(super) to: Destination,
    pub(super) way: Way,
    pub(super) idle_since: Instant,
    /// Whether a user was proved on it for as long as it lasts.
    pub(super) is_personal: bool,
}

impl Http1Connection {
    /// Puts a request's head: in absolute form and with the parent's credentials where it goes to a parent proxy.
    ///
    /// # Errors
    /// The head cannot be expressed.
    pub(crate) fn put_request(&mut self, mut head: Cow<'_, RequestHead>) -> Result<(), WireError> {
        self.is_personal |= proves_user_for_connection(&head);
        let form = match &self.way {
            _ if head.method == Method::CONNECT => TargetForm::Authority,
            Way::Direct | Way::Tunnel(_) => TargetForm::Origin,
            Way::Absolute(parent) => {
                if let Some(authorization) = parent.authorization() {
                    head.to_mut().headers.push("Proxy-Authorization", authorization);
                }
                TargetForm::Absolute
            }
        };
        self.writer.put_request(&head, form).map(drop)
    }

    /// The parent proxy that reads the requests on it, and may answer them itself.
    pub(crate) fn answering_parent(&self) -> Option<ParentProxy> {
        match &self.way {
            Way::Absolute(parent) => Some(parent.clone()),
            Way::Direct | Way::Tunnel(_) => None,
        }
    }
}

/// Whether a connection for a request is tied to who makes it, so that nobody else may have it: by what the request
/// says, or by the client certificate that is shown there.
pub(super) fn is_personal(engine: &Engine, to: &Destination, head: &RequestHead) -> bool {
    is_certified(engine, to) || proves_user_for_connection(head)
}

/// Whether a client certificate is shown there.
pub(super) fn is_certified(engine: &Engine, to: &Destination) -> bool {
    match &to.security {
        Security::Plain { .. } => false,
        Security::Tls { server_name, .. } => engine.connector.certifies(server_name),
    }
}

/// Whether a request authenticates the connection it goes on, and not just itself (RFC 4559; NTLM over HTTP).
fn proves_user_for_connection(head: &RequestHead) -> bool {
    head.headers.get_all("authorization").any(|value| {
        let scheme = value.split(|byte| *byte == b' ').next().unwrap_or_default();
        scheme.eq_ignore_ascii_case(b"ntlm") || scheme.eq_ignore_ascii_case(b"negotiate")
    })
}
