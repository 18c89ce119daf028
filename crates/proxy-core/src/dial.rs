//! Reaching upstream: resolving its name and connecting to the first address that answers.

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use crate::{
    address::AddressPolicy,
    failure::{Failure, FailureKind},
    limits::Timeouts,
    resolve::Resolver,
};

/// How long one address has before the next is tried beside it (RFC 8305 section 5, "Connection Attempt
/// Delay").
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Addresses of one host that are tried.
const MAX_TRIED: usize = 16;

/// A connection to whatever was dialled, in cleartext yet.
#[derive(Debug)]
pub(crate) struct Dialled {
    pub(crate) stream: TcpStream,
    /// The address that answered.
    pub(crate) peer: SocketAddr,
    /// Our address towards it.
    pub(crate) local: SocketAddr,
    /// How long the name took to resolve; next to nothing for an address.
    pub(crate) dns: Duration,
    /// How long connecting took, all addresses tried included.
    pub(crate) connect: Duration,
}

/// Finds and connects to hosts.
#[derive(Clone, Copy)]
pub(crate) struct Dialler<'e> {
    pub(crate) timeouts: &'e Timeouts,
    pub(crate) guard: &'e LoopGuard,
    pub(crate) resolver: &'e Resolver,
    /// Which addresses may be dialled; `None` for what the user named, as parent proxies.
    pub(crate) policy: Option<&'e AddressPolicy>,
}

impl Dialler<'_> {
    /// Connects to a host, a name or an address without brackets.
    ///
    /// The addresses of a name are tried in the resolver's order with the families taking turns, the next one
    /// starting when the one before fails or is silent for 250 ms (RFC 8305), 16 at most. Resolving has
    /// [`Timeouts::dns`], all of connecting [`Timeouts::connect`]. Dropping the future closes what was under way.
    ///
    /// # Errors
    ///
    /// [`FailureKind::Dns`], [`FailureKind::ConnectionRefused`], [`FailureKind::Unreachable`],
    /// [`FailureKind::ConnectTimeout`], [`FailureKind::Loop`] when the address is the proxy's own, or
    /// [`FailureKind::BlockedAddress`] when the policy forbids it.
    pub(crate) async fn dial(&self, host: &str, port: u16) -> Result<Dialled, Failure> {
        let start = Instant::now();
        let Candidates { addresses, looping } = self.candidates(host, port).await?;
        let dns = start.elapsed();
        let patience = self.timeouts.connect;
        let connected = match timeout(patience, first_to_connect(&addresses)).await {
            Ok(result) => result,
            Err(_elapsed) => Err(timed_out(&addresses, patience)),
        };
        // Where one of the addresses was our own, that it leads back is the story, not that the others failed.
        let stream = connected.map_err(|failure| {
            self.resolver.forget(host);
            looping.unwrap_or(failure)
        })?;
        let connect = start.elapsed().saturating_sub(dns);
        let ends = stream.set_nodelay(true).and_then(|()| Ok((stream.peer_addr()?, stream.local_addr()?)));
        let (peer, local) = ends.map_err(|error| connect_failure(addresses[0], &error))?;
        if peer.ip() != addresses[0].ip() {
            self.resolver.answered(host, peer.ip());
        }
        Ok(Dialled { stream, peer, local, dns, connect })
    }

    /// The addresses of a host that may be dialled, in the order to try them; never none.
    pub(crate) async fn candidates(&self, host: &str, port: u16) -> Result<Candidates, Failure> {
        let found = self.resolver.addresses(host, port, self.timeouts.dns).await?;
        let (own, found): (Vec<_>, Vec<_>) = found.into_iter().partition(|addr| self.guard.is_own(*addr));
        let looping = own.first().map(|addr| {
            Failure::new(FailureKind::Loop, format!("{host} port {port} is this proxy ({addr})"))
        });
        let mut blocked = None;
        let mut addresses = Vec::with_capacity(found.len());
        for addr in found {
            match self.policy.and_then(|policy| policy.refusal(host, port, addr.ip())) {
                None => addresses.push(addr),
                Some(kind) => {
                    let detail = format!("{host} port {port} is {kind} ({})", addr.ip());
                    blocked.get_or_insert(Failure::new(FailureKind::BlockedAddress, detail));
                }
            }
        }
        if addresses.is_empty() {
            let nothing = || Failure::new(FailureKind::Dns, format!("{host}: it has no address"));
            return Err(looping.or(blocked).unwrap_or_else(nothing));
        }
        let mut addresses = interleave(addresses);
        addresses.truncate(MAX_TRIED);
        Ok(Candidates { addresses, looping })
    }

    /// Refuses what a parent proxy is not to be asked for: to connect to this proxy, or to an address the policy
    /// forbids. Names that the parent resolves are looked up here only where they might be our own.
    pub(crate) async fn check_unresolved(&self, host: &str, port: u16) -> Result<(), Failure> {
        if let Some(kind) = self.policy.and_then(|policy| policy.refusal_unresolved(host, port)) {
            return Err(Failure::new(FailureKind::BlockedAddress, format!("{host} port {port} is {kind}")));
        }
        if !self.guard.has_port(port) {
            return Ok(());
        }
        // A name this machine does not know cannot be known to be its own.
        let found = self.resolver.addresses(host, port, self.timeouts.dns).await.unwrap_or_default();
        match found.into_iter().find(|addr| self.guard.is_own(*addr)) {
            None => Ok(()),
            Some(addr) => {
                let detail = format!("{host} port {port} is this proxy ({addr})");
                Err(Failure::new(FailureKind::Loop, detail))
            }
        }
    }
}

/// Where a host may be reached.
#[derive(Debug)]
pub(crate) struct Candidates {
    /// In the order to try them.
    pub(crate) addresses: Vec<SocketAddr>,
    /// Said when all of them fail: that another one is the proxy's own.
    looping: Option<Failure>,
}

/// Lets the families take turns, beginning with the resolver's first (RFC 8305 section 4).
fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let total = addresses.len();
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (mut first, mut second): (VecDeque<_>, VecDeque<_>) =
        addresses.into_iter().partition(|addr| addr.is_ipv6() == first_is_v6);
    let mut order = Vec::with_capacity(total);
    while order.len() < total {
        order.extend(first.pop_front());
        order.extend(second.pop_front());
    }
    order
}

/// Races the addresses with a staggered start. When all fail, the first address's failure is told: it is the
/// one the resolver prefers.
async fn first_to_connect(addresses: &[SocketAddr]) -> Result<TcpStream, Failure> {
    if let [only] = addresses {
        return TcpStream::connect(only).await.map_err(|error| connect_failure(*only, &error));
    }
    let mut waiting = addresses.iter().copied().enumerate();
    let mut attempts = FuturesUnordered::new();
    let mut failures: Vec<(usize, SocketAddr, io::Error)> = Vec::new();
    loop {
        let mut exhausted = true;
        if let Some((index, addr)) = waiting.next() {
            exhausted = false;
            attempts.push(async move { (index, addr, TcpStream::connect(addr).await) });
        }
        let next_start = async {
            if exhausted {
                std::future::pending::<()>().await;
            }
            sleep(ATTEMPT_DELAY).await;
        };
        tokio::select! {
            finished = attempts.next() => match finished {
                Some((_, _, Ok(stream))) => return Ok(stream),
                Some((index, addr, Err(error))) => failures.push((index, addr, error)),
                None => break,
            },
            () = next_start => {}
        }
    }
    failures.sort_by_key(|(index, ..)| *index);
    match failures.first() {
        Some((_, addr, error)) => Err(connect_failure(*addr, error)),
        None => Err(Failure::new(FailureKind::Unreachable, "no address to try")),
    }
}

fn connect_failure(addr: SocketAddr, error: &io::Error) -> Failure {
    let kind = match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => FailureKind::ConnectionRefused,
        io::ErrorKind::TimedOut => FailureKind::ConnectTimeout,
        _ => FailureKind::Unreachable,
    };
    Failure::new(kind, format!("{addr}: {error}"))
}

fn timed_out(addresses: &[SocketAddr], limit: Duration) -> Failure {
    let first = addresses.first().map(SocketAddr::to_string).unwrap_or_default();
    let others = match addresses.len() {
        0 | 1 => String::new(),
        count => format!(" and {} more", count - 1),
    };
    Failure::new(FailureKind::ConnectTimeout, format!("{first}{others}: no answer within {limit:?}"))
}

/// Knows the proxy's own listening addresses, so that it does not dial itself for ever.
///
/// It sees loops of one step only; a loop through another proxy ends at that one's limits.
#[derive(Clone, Debug, Default)]
pub(crate) struct LoopGuard {
    listening: Arc<[SocketAddr]>,
    /// Of listeners opened later; few at a time.
    further: Arc<RwLock<Vec<SocketAddr>>>,
}

impl LoopGuard {
    /// Makes a guard for a proxy that listens at these addresses.
    pub(crate) fn new(listening: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self { listening: listening.into_iter().collect(), further: Arc::default() }
    }

    /// Knows one more, for a listener opened while the proxy runs.
    pub(crate) fn add(&self, address: SocketAddr) {
        self.further.write().unwrap_or_else(PoisonError::into_inner).push(address);
    }

    /// Forgets it, when the listener closes.
    pub(crate) fn remove(&self, address: SocketAddr) {
        let mut further = self.further.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = further.iter().position(|known| *known == address) {
            further.swap_remove(at);
        }
    }

    /// Whether a listener passes the test.
    fn any(&self, is_it: impl Fn(&SocketAddr) -> bool) -> bool {
        self.listening.iter().any(&is_it)
            || self.further.read().unwrap_or_else(PoisonError::into_inner).iter().any(is_it)
    }

    /// Tells whether the proxy listens at this port, at whatever address.
    pub(crate) fn has_port(&self, port: u16) -> bool {
        self.any(|own| own.port() == port)
    }

    /// Tells whether to dial the address is to dial the proxy.
    pub(crate) fn is_own(&self, addr: SocketAddr) -> bool {
        let target = addr.ip().to_canonical();
        self.any(|own| {
            if own.port() != addr.port() {
                return false;
            }
            let own = own.ip().to_canonical();
            if target.is_unspecified() {
                // Connecting to the unspecified address reaches the loopback one.
                return own.is_unspecified() || own.is_loopback();
            }
            target == own || (covers(own, target) && is_of_this_machine(target))
        })
    }
}

/// Tells whether a listener at `own` takes connections to every address of `target`'s family.
fn covers(own: IpAddr, target: IpAddr) -> bool {
    match own {
        IpAddr::V4(own) => own == Ipv4Addr::UNSPECIFIED && target.is_ipv4(),
        // A listener at `::` takes IPv4 as well, unless the system was told otherwise.
        IpAddr::V6(own) => own == Ipv6Addr::UNSPECIFIED,
    }
}

/// Only an address of this machine can be bound to.
fn is_of_this_machine(ip: IpAddr) -> bool {
    ip.is_loopback() || UdpSocket::bind(SocketAddr::new(ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn addresses(list: &[&str]) -> Vec<SocketAddr> {
        list.iter().map(|addr| addr.parse().unwrap()).collect()
    }

    async fn dial(host: &str, port: u16, timeouts: &Timeouts, guard: &LoopGuard) -> Result<Dialled, Failure> {
        Dialler { timeouts, guard, resolver: &Resolver::default(), policy: None }.dial(host, port).await
    }

    fn unguarded() -> LoopGuard {
        LoopGuard::default()
    }

    /// An address nobody listens at: the port is held by a socket that does not listen.
    fn closed_port() -> (socket2::Socket, SocketAddr) {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let addr = socket.local_addr().unwrap().as_socket().unwrap();
        (socket, addr)
    }

    #[tokio::test]
    async fn listening_upstream_is_reached_without_delayed_segments() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        for host in ["127.0.0.1", "localhost"] {
            let dialled = dial(host, port, &Timeouts::default(), &unguarded()).await.unwrap();
            let (_, from) = listener.accept().await.unwrap();
            assert_eq!(dialled.peer, listener.local_addr().unwrap());
            assert_eq!(dialled.local, from);
            assert!(dialled.stream.nodelay().unwrap());
        }
    }

    #[tokio::test]
    async fn closed_port_is_a_refusal() {
        let (_socket, addr) = closed_port();
        let failure = dial("127.0.0.1", addr.port(), &Timeouts::default(), &unguarded()).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::ConnectionRefused);
        assert!(failure.detail.contains(&addr.to_string()), "{failure}");
    }

    #[tokio::test]
    async fn name_that_cannot_resolve_is_a_dns_failure() {
        // A label of more than 63 octets (RFC 1035 section 2.3.4) never leaves the machine.
        let name = format!("{}.example", "a".repeat(64));
        let failure = dial(&name, 80, &Timeouts::default(), &unguarded()).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Dns);
        assert!(failure.detail.starts_with(&name), "{failure}");
    }

    #[tokio::test]
    async fn next_address_is_tried_when_one_fails() {
        let (_socket, closed) = closed_port();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = listener.local_addr().unwrap();
        let stream = first_to_connect(&[closed, open]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), open);
    }

    #[tokio::test]
    async fn failure_of_the_first_address_is_told_when_all_fail() {
        let ((_a, first), (_b, second)) = (closed_port(), closed_port());
        let failure = first_to_connect(&[first, second]).await.unwrap_err();
        assert!(failure.detail.contains(&first.to_string()), "{failure}");
    }

    #[test]
    fn families_take_turns() {
        for (found, order) in [
            (
                &["[::1]:1", "[::2]:1", "1.1.1.1:1", "1.1.1.2:1"][..],
                &["[::1]:1", "1.1.1.1:1", "[::2]:1", "1.1.1.2:1"][..],
            ),
            (
                &["1.1.1.1:1", "1.1.1.2:1", "1.1.1.3:1", "[::1]:1"],
                &["1.1.1.1:1", "[::1]:1", "1.1.1.2:1", "1.1.1.3:1"],
            ),
            (&["1.1.1.1:1"], &["1.1.1.1:1"]),
            (&[], &[]),
        ] {
            assert_eq!(interleave(addresses(found)), addresses(order));
        }
    }

    #[test]
    fn own_addresses_are_known() {
        for (listening, target, own) in [
            ("127.0.0.1:8080", "127.0.0.1:8080", true),
            ("127.0.0.1:8080", "127.0.0.1:8081", false),
            ("127.0.0.1:8080", "127.0.0.2:8080", false),
            ("127.0.0.1:8080", "[::1]:8080", false),
            ("127.0.0.1:8080", "[::ffff:127.0.0.1]:8080", true),
            ("127.0.0.1:8080", "0.0.0.0:8080", true),
            ("192.0.2.1:8080", "0.0.0.0:8080", false),
            ("0.0.0.0:8080", "127.0.0.1:8080", true),
            ("0.0.0.0:8080", "127.9.9.9:8080", true),
            ("0.0.0.0:8080", "192.0.2.1:8080", false),
            ("0.0.0.0:8080", "[::1]:8080", false),
            ("[::]:8080", "127.0.0.1:8080", true),
            ("[::]:8080", "[::1]:8080", true),
            ("[::]:8080", "192.0.2.1:8080", false),
        ] {
            let guard = LoopGuard::new(addresses(&[listening]));
            assert_eq!(guard.is_own(target.parse().unwrap()), own, "{listening} {target}");
        }
    }

    #[tokio::test]
    async fn the_proxys_own_address_is_not_dialled() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let guard = LoopGuard::new([addr]);
        for host in ["127.0.0.1", "localhost", "0.0.0.0"] {
            let failure = dial(host, addr.port(), &Timeouts::default(), &guard).await.unwrap_err();
            assert_eq!(failure.kind, FailureKind::Loop, "{host}: {failure}");
        }
    }

    #[tokio::test]
    async fn blocked_addresses_are_not_dialled_whatever_name_leads_there() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut resolver = Resolver::default();
        resolver.push(format!("rebound.test:{port}:127.0.0.1").parse().unwrap());
        resolver.push(format!("mixed.test:{port}:10.0.0.1,::ffff:127.0.0.1").parse().unwrap());
        let (timeouts, guard) = (Timeouts::default(), unguarded());
        let policy = AddressPolicy::block_private();
        let dialler =
            Dialler { timeouts: &timeouts, guard: &guard, resolver: &resolver, policy: Some(&policy) };
        for host in ["127.0.0.1", "localhost", "127.1", "rebound.test", "mixed.test", "::ffff:127.0.0.1"] {
            let failure = dialler.dial(host, port).await.unwrap_err();
            assert_eq!(failure.kind, FailureKind::BlockedAddress, "{host}: {failure}");
        }
        let policy = AddressPolicy::block_private().allow("rebound.test".parse().unwrap());
        let dialler = Dialler { policy: Some(&policy), ..dialler };
        assert!(dialler.dial("rebound.test", port).await.is_ok());
        assert!(dialler.dial("localhost", port).await.is_err());
    }

    #[tokio::test]
    async fn a_parent_is_not_asked_for_this_proxy_or_for_what_is_blocked() {
        let guard = LoopGuard::new(addresses(&["127.0.0.1:8080"]));
        let (timeouts, resolver) = (Timeouts::default(), Resolver::default());
        let policy = AddressPolicy::block_private();
        let dialler = Dialler { timeouts: &timeouts, guard: &guard, resolver: &resolver, policy: None };
        for host in ["127.0.0.1", "localhost"] {
            assert_eq!(dialler.check_unresolved(host, 8080).await.unwrap_err().kind, FailureKind::Loop);
            assert!(dialler.check_unresolved(host, 8081).await.is_ok());
            let strict = Dialler { policy: Some(&policy), ..dialler };
            let failure = strict.check_unresolved(host, 8081).await.unwrap_err();
            assert_eq!(failure.kind, FailureKind::BlockedAddress);
        }
    }

    /// An address that neither accepts nor refuses: its queue of one is full, and Linux drops what comes then.
    #[cfg(target_os = "linux")]
    fn silent_port() -> ((socket2::Socket, std::net::TcpStream), SocketAddr) {
        let (socket, addr) = closed_port();
        socket.listen(0).unwrap();
        let filler = std::net::TcpStream::connect(addr).unwrap();
        ((socket, filler), addr)
    }

    #[cfg(target_os = "linux")]
    #[tokio::test(start_paused = true)]
    async fn silent_address_holds_the_next_up_for_the_attempt_delay_only() {
        let (_silent, silent) = silent_port();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = listener.local_addr().unwrap();
        let start = Instant::now();
        let stream = first_to_connect(&[silent, open]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), open);
        assert!(start.elapsed() < 2 * ATTEMPT_DELAY, "{:?}", start.elapsed());
    }

    #[cfg(target_os = "linux")]
    #[tokio::test(start_paused = true)]
    async fn silent_upstream_is_given_up_in_time() {
        let (_silent, silent) = silent_port();
        let timeouts = Timeouts { connect: Duration::from_secs(3), ..Timeouts::default() };
        let failure = dial("127.0.0.1", silent.port(), &timeouts, &unguarded()).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::ConnectTimeout);
        assert_eq!(failure.detail, format!("{silent}: no answer within 3s"));
    }
}
