//! What a builder knows of listeners, and their opening.

use std::net::SocketAddr;

use tokio::net::ToSocketAddrs;

use super::{
    address::Listener,
    clients::{Clients, ProxyCredentials},
    doors::{Doors, addresses},
    range::AddressRange,
};
use crate::{
    error::{Error, ErrorKind},
    event::ListenerKind,
    proxy::{Proxy, ProxyBuilder},
};

/// Where to listen, and whom to let in.
#[derive(Default)]
pub(crate) struct Plan {
    listeners: Vec<Listener>,
    credentials: Vec<ProxyCredentials>,
    ranges: Vec<AddressRange>,
}

impl ProxyBuilder {
    /// Listens here as well; may be called several times. [`bind_all`](Self::bind_all) opens what was named so,
    /// [`bind`](Self::bind) that and one more.
    pub fn listen(mut self, listener: Listener) -> Self {
        self.plan.listeners.push(listener);
        self
    }

    /// Asks clients of explicit and SOCKS listeners for credentials: by 407 and Basic (RFC 7617), or RFC 1929. Called
    /// several times, any of them will do. Clients of the other kinds of listener cannot be asked.
    pub fn proxy_credentials(mut self, credentials: ProxyCredentials) -> Self {
        self.plan.credentials.push(credentials);
        self
    }

    /// Lets in clients of these addresses, and from then on no others, at every listener.
    pub fn allow_clients(mut self, range: AddressRange) -> Self {
        self.plan.ranges.push(range);
        self
    }

    /// Listens for clients that are set up to use an HTTP proxy, beside the listeners named before. Nothing is
    /// accepted before the proxy is served.
    ///
    /// # Errors
    /// When an address cannot be listened on, when it is no loopback address and neither
    /// [`proxy_credentials`](Self::proxy_credentials) nor [`allow_clients`](Self::allow_clients) says who may use
    /// the proxy, or when the trust cannot be set up. Nothing listens then.
    pub async fn bind(self, address: impl ToSocketAddrs) -> Result<Proxy, Error> {
        let mut doors = Doors::default();
        let mut opened = Ok(());
        for address in addresses(address).await? {
            opened = self.plan.open(&mut doors, Listener::explicit(address)).await;
            if opened.is_ok() {
                break;
            }
        }
        opened?;
        self.bind_others(doors).await
    }

    /// Listens where [`listen`](Self::listen) said, in that order. Nothing is accepted before the proxy is served.
    ///
    /// # Errors
    /// As for [`bind`](Self::bind), and when no listener was named.
    pub async fn bind_all(self) -> Result<Proxy, Error> {
        if self.plan.listeners.is_empty() {
            return Err(ErrorKind::NoListener.into());
        }
        self.bind_others(Doors::default()).await
    }

    async fn bind_others(self, mut doors: Doors) -> Result<Proxy, Error> {
        for listener in self.plan.listeners.clone() {
            self.plan.open(&mut doors, listener).await?;
        }
        self.build(doors)
    }
}

impl Plan {
    async fn open(&self, doors: &mut Doors, listener: Listener) -> Result<(), Error> {
        self.check(listener.address(), listener.kind())?;
        doors.open(listener).await.map(|_| ())
    }

    /// Refuses to let everybody in where nobody said so.
    fn check(&self, addr: SocketAddr, listener: ListenerKind) -> Result<(), Error> {
        let (asks, admits) = (!self.credentials.is_empty(), !self.ranges.is_empty());
        guarded(addr, listener, asks, admits)
    }

    pub(crate) fn clients(&self) -> Result<Clients, Error> {
        Clients::new(&self.credentials, self.ranges.clone())
    }
}

/// Refuses to let everybody in: `asks` says whether clients that can are asked for credentials, `admits` whether only
/// those of certain addresses are let in.
pub(super) fn guarded(
    addr: SocketAddr,
    listener: ListenerKind,
    asks: bool,
    admits: bool,
) -> Result<(), Error> {
    let can_be_asked = matches!(listener, ListenerKind::Explicit | ListenerKind::Socks);
    if admits || (can_be_asked && asks) || addr.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    Err(ErrorKind::OpenToAll { addr, listener }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_machines_are_let_in_only_where_somebody_said_whom() {
        let guarded = |credentials: &[&str], ranges: &[&str]| Plan {
            listeners: Vec::new(),
            credentials: credentials.iter().map(|text| text.parse().unwrap()).collect(),
            ranges: ranges.iter().map(|text| text.parse().unwrap()).collect(),
        };
        let plans = [guarded(&[], &[]), guarded(&["a:b"], &[]), guarded(&[], &["0.0.0.0/0"])];
        for (listener, expected) in [
            ("127.0.0.1:0", [true, true, true]),
            ("[::1]:0", [true, true, true]),
            ("[::ffff:127.0.0.1]:0", [true, true, true]),
            ("0.0.0.0:0", [false, true, true]),
            ("192.0.2.1:0", [false, true, true]),
            ("[::]:0", [false, true, true]),
            ("socks5://0.0.0.0:0", [false, true, true]),
            ("transparent://0.0.0.0:0", [false, false, true]),
            ("reverse://0.0.0.0:0=http://127.0.0.1", [false, false, true]),
            ("reverse://127.0.0.1:0=http://127.0.0.1", [true, true, true]),
        ] {
            let listener: Listener = listener.parse().unwrap();
            let found = plans.each_ref().map(|plan| plan.check(listener.address(), listener.kind()).is_ok());
            assert_eq!(found, expected, "{listener}");
        }
    }
}
