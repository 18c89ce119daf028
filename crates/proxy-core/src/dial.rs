//! Reaching upstream: resolving its name and connecting to the first address that answers.

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::{
    net::{TcpStream, lookup_host},
    time::{Instant, sleep, timeout_at},
};

use crate::{
    failure::{Failure, FailureKind},
    limits::Timeouts,
};

/// How long one address has before the next is tried beside it (RFC 8305 section 5, "Connection Attempt
/// Delay").
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// A connection to upstream, in cleartext yet.
#[derive(Debug)]
pub(crate) struct Dialled {
    pub(crate) stream: TcpStream,
    /// Upstream's address.
    pub(crate) peer: SocketAddr,
    /// Our address towards it.
    pub(crate) local: SocketAddr,
    /// How long the name took to resolve; next to nothing for an address.
    pub(crate) dns: Duration,
    /// How long connecting took, all addresses tried included.
    pub(crate) connect: Duration,
}

/// Connects to a host, a name or an address without brackets.
///
/// The addresses of a name are tried in the resolver's order with the families taking turns, the next one
/// starting when the one before fails or is silent for 250 ms (RFC 8305). All of it, resolving included, has
/// [`Timeouts::connect`]. Dropping the future closes what was under way.
///
/// # Errors
///
/// [`FailureKind::Dns`], [`FailureKind::ConnectionRefused`], [`FailureKind::Unreachable`],
/// [`FailureKind::ConnectTimeout`], or [`FailureKind::Loop`] when the address is the proxy's own.
pub(crate) async fn dial(
    host: &str,
    port: u16,
    timeouts: &Timeouts,
    guard: &LoopGuard,
) -> Result<Dialled, Failure> {
    let start = Instant::now();
    let deadline = start + timeouts.connect;
    let found = resolve(host, port, deadline).await?;
    let dns = start.elapsed();
    let (own, addresses): (Vec<_>, Vec<_>) = found.into_iter().partition(|addr| guard.is_own(*addr));
    let looping = own
        .first()
        .map(|addr| Failure::new(FailureKind::Loop, format!("{host} port {port} is this proxy ({addr})")));
    if addresses.is_empty() {
        return Err(looping.unwrap_or_else(|| no_address(host)));
    }
    let tried = interleave(addresses);
    let connected = match timeout_at(deadline, first_to_connect(&tried)).await {
        Ok(result) => result,
        Err(_elapsed) => Err(timed_out(&tried, timeouts.connect)),
    };
    // Where one of the addresses was our own, that it leads back is the story, not that the others failed.
    let stream = connected.map_err(|failure| looping.unwrap_or(failure))?;
    let connect = start.elapsed().saturating_sub(dns);
    let addresses = stream.set_nodelay(true).and_then(|()| Ok((stream.peer_addr()?, stream.local_addr()?)));
    let (peer, local) = addresses.map_err(|error| connect_failure(tried[0], &error))?;
    Ok(Dialled { stream, peer, local, dns, connect })
}

async fn resolve(host: &str, port: u16, deadline: Instant) -> Result<Vec<SocketAddr>, Failure> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    match timeout_at(deadline, lookup_host((host, port))).await {
        Ok(Ok(found)) => {
            let addresses: Vec<_> = found.collect();
            if addresses.is_empty() { Err(no_address(host)) } else { Ok(addresses) }
        }
        Ok(Err(error)) => Err(Failure::new(FailureKind::Dns, format!("{host}: {error}"))),
        Err(_elapsed) => {
            Err(Failure::new(FailureKind::Dns, format!("{host}: the resolver did not answer in time")))
        }
    }
}

fn no_address(host: &str) -> Failure {
    Failure::new(FailureKind::Dns, format!("{host} has no address"))
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
}

impl LoopGuard {
    /// Makes a guard for a proxy that listens at these addresses.
    pub(crate) fn new(listening: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self { listening: listening.into_iter().collect() }
    }

    /// Tells whether to dial the address is to dial the proxy.
    pub(crate) fn is_own(&self, addr: SocketAddr) -> bool {
        let target = addr.ip().to_canonical();
        self.listening.iter().filter(|own| own.port() == addr.port()).any(|own| {
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
