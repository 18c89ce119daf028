//! Names to addresses: by the user's overrides, else by the system.

use std::{
    collections::HashMap,
    fmt, io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    str::FromStr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    sync::Semaphore,
    task::spawn_blocking,
    time::{Duration, Instant, timeout},
};

use crate::{
    crew::MAX_BLOCKING_THREADS,
    failure::{Failure, FailureKind},
    hosts::is_host_name,
};

/// Addresses of one name that are looked at; a name server could give thousands.
const MAX_ADDRESSES: usize = 64;

/// The longest name in text, with the dot that may end it (RFC 1035 section 2.3.4).
const MAX_NAME_BYTES: usize = 254;

/// How long the system's answer counts for the next connection. The system's resolver does not say how long it would;
/// this is short enough for whoever edits a hosts file, and long enough for the burst of connections that a page is.
const ANSWER_COUNTS: Duration = Duration::from_secs(5);

/// Names whose answer is kept; beyond it they are all asked for again.
const MAX_ANSWERS: usize = 1_024;

/// Names the system is asked for at once; further ones wait. A call of the system's resolver cannot be called off, and blocks
/// its thread for as long as name servers are silent: somebody who asks for many names and leaves must not have all the
/// threads that others wait for.
const MAX_LOOK_UPS: usize = 64;

const _: () = assert!(2 * MAX_LOOK_UPS <= MAX_BLOCKING_THREADS, "look-ups leave threads to others");

/// Where a host is, whatever the system's resolver says: curl's `HOST:PORT:ADDRESS[,ADDRESS]`, where the host may be `*`
/// and IPv6 addresses are with or without brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolveOverride {
    /// In lower case; `None` for every host.
    host: Option<String>,
    port: u16,
    addresses: Vec<IpAddr>,
}

/// The text is no override.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("read {0:?} as a resolve override; write HOST:PORT:ADDRESS[,ADDRESS], as example.com:443:127.0.0.1")]
pub struct ParseResolveOverrideError(String);

impl FromStr for ResolveOverride {
    type Err = ParseResolveOverrideError;

    fn from_str(text: &str) -> Result<Self, ParseResolveOverrideError> {
        parse(text.trim()).ok_or_else(|| ParseResolveOverrideError(text.chars().take(100).collect()))
    }
}

fn parse(text: &str) -> Option<ResolveOverride> {
    let (host, rest) = match text.strip_prefix('[') {
        Some(rest) => rest.split_once("]:")?,
        None => text.split_once(':')?,
    };
    let (port, addresses) = rest.split_once(':')?;
    let host = host.strip_suffix('.').unwrap_or(host);
    if host != "*" && !is_host_name(host) && host.parse::<IpAddr>().is_err() {
        return None;
    }
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|port| is_number && *port != 0)?;
    let address = |text: &str| {
        let text = text.trim();
        text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text).parse().ok()
    };
    let addresses: Vec<IpAddr> = addresses.split(',').map(address).collect::<Option<_>>()?;
    let host = (host != "*").then(|| host.to_ascii_lowercase());
    (addresses.len() <= MAX_ADDRESSES).then_some(ResolveOverride { host, port, addresses })
}

impl fmt::Display for ResolveOverride {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.host.as_deref().unwrap_or("*");
        match host.contains(':') {
            true => write!(f, "[{host}]:{}:", self.port)?,
            false => write!(f, "{host}:{}:", self.port)?,
        }
        for (index, address) in self.addresses.iter().enumerate() {
            write!(f, "{}{address}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

/// Finds the addresses of hosts.
#[derive(Clone, Debug)]
pub(crate) struct Resolver {
    overrides: Vec<ResolveOverride>,
    answers: Arc<Mutex<HashMap<String, Answer>>>,
    /// Places for look-ups that go on at once.
    room: Arc<Semaphore>,
}

impl Default for Resolver {
    fn default() -> Self {
        let room = Arc::new(Semaphore::new(MAX_LOOK_UPS));
        Self { overrides: Vec::new(), answers: Arc::default(), room }
    }
}

/// What the system said of a name.
#[derive(Clone, Debug)]
struct Answer {
    addresses: Vec<SocketAddr>,
    at: Instant,
}

impl Resolver {
    pub(crate) fn push(&mut self, found: ResolveOverride) {
        self.overrides.push(found);
    }

    /// The addresses of a host, a name or an address without brackets; never none, and at most 64.
    ///
    /// The system is asked for both families at once, and gives them in its order of preference (RFC 6724). A resolver
    /// that does not answer is given up after `patience`; the system's own call goes on by itself until it ends. While 64 of
    /// those do, further ones wait, within their patience. An answer counts for a few seconds, in the order that
    /// [`answered`](Self::answered) made of it.
    ///
    /// Dropping the future while it waits asks for nothing.
    pub(crate) async fn addresses(
        &self,
        host: &str,
        port: u16,
        patience: Duration,
    ) -> Result<Vec<SocketAddr>, Failure> {
        if let Some(addresses) = self.overridden(host, port) {
            return Ok(addresses.iter().map(|ip| SocketAddr::new(*ip, port)).collect());
        }
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        if let Some(addresses) = self.kept(host, port) {
            return Ok(addresses);
        }
        let failed = |detail: String| Failure::new(FailureKind::Dns, format!("{host}: {detail}"));
        let name = host.to_owned();
        let ask = move || Ok((name.as_str(), port).to_socket_addrs()?.take(MAX_ADDRESSES).collect());
        if host.len() > MAX_NAME_BYTES {
            return Err(failed("it is longer than a name can be".to_owned()));
        }
        match timeout(patience, self.in_its_turn(ask)).await {
            Ok(Ok(addresses)) => {
                if addresses.is_empty() {
                    return Err(failed("it has no address".to_owned()));
                }
                self.keep(host, &addresses);
                Ok(addresses)
            }
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_elapsed) => Err(failed(format!("the resolver did not answer within {patience:?}"))),
        }
    }

    /// Asks the system where that holds up nobody, once there is room for it.
    async fn in_its_turn(
        &self,
        ask: impl FnOnce() -> io::Result<Vec<SocketAddr>> + Send + 'static,
    ) -> io::Result<Vec<SocketAddr>> {
        // It is never closed.
        let place = self.room.clone().acquire_owned().await.ok();
        let asking = move || {
            let found = ask();
            drop(place);
            found
        };
        spawn_blocking(asking).await.map_err(io::Error::other)?
    }

    /// Notes that this address of a host answered, where others had been tried before: it is tried first as long as the
    /// answer counts.
    pub(crate) fn answered(&self, host: &str, ip: IpAddr) {
        if let Some(answer) = self.answers().get_mut(host)
            && let Some(at) = answer.addresses.iter().position(|addr| addr.ip() == ip)
        {
            answer.addresses[..=at].rotate_right(1);
        }
    }

    /// Notes that no address of a host answered: the system is asked again.
    pub(crate) fn forget(&self, host: &str) {
        self.answers().remove(host);
    }

    fn answers(&self) -> MutexGuard<'_, HashMap<String, Answer>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kept(&self, host: &str, port: u16) -> Option<Vec<SocketAddr>> {
        let answers = self.answers();
        let Answer { addresses, at } = answers.get(host)?;
        let at_port = |addr: &SocketAddr| {
            let mut addr = *addr;
            addr.set_port(port);
            addr
        };
        (at.elapsed() < ANSWER_COUNTS).then(|| addresses.iter().map(at_port).collect())
    }

    fn keep(&self, host: &str, addresses: &[SocketAddr]) {
        let mut answers = self.answers();
        if answers.len() >= MAX_ANSWERS && !answers.contains_key(host) {
            answers.clear();
        }
        answers.insert(host.to_owned(), Answer { addresses: addresses.to_vec(), at: Instant::now() });
    }

    /// What the user said of a host: the last that names it, else the last for every host.
    fn overridden(&self, host: &str, port: u16) -> Option<&[IpAddr]> {
        let host = host.strip_suffix('.').unwrap_or(host);
        let find = |is_meant: &dyn Fn(&ResolveOverride) -> bool| {
            self.overrides.iter().rev().find(|found| found.port == port && is_meant(found))
        };
        let is_named = |found: &ResolveOverride| {
            found.host.as_deref().is_some_and(|name| host.eq_ignore_ascii_case(name))
        };
        find(&is_named).or_else(|| find(&|found| found.host.is_none())).map(|found| &found.addresses[..])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn overrides_are_read_as_curl_writes_them() {
        for (text, host, port, expected) in [
            ("example.com:443:127.0.0.1", "EXAMPLE.com.", 443, &["127.0.0.1"][..]),
            ("example.com:443:127.0.0.1", "example.com", 80, &[]),
            ("example.com:443:127.0.0.1,[::1]", "example.com", 443, &["127.0.0.1", "::1"]),
            ("example.com:443:::1,10.0.0.1", "example.com", 443, &["::1", "10.0.0.1"]),
            ("*:80:10.0.0.1", "anything", 80, &["10.0.0.1"]),
            ("[::1]:80:10.0.0.1", "::1", 80, &["10.0.0.1"]),
        ] {
            let mut resolver = Resolver::default();
            resolver.push(text.parse().unwrap());
            let found = resolver.overridden(host, port).unwrap_or_default();
            let expected: Vec<IpAddr> = expected.iter().map(|ip| ip.parse().unwrap()).collect();
            assert_eq!(found, expected, "{text} {host}:{port}");
        }
        for bad in [
            "",
            "a",
            "a:1",
            "a:1:",
            "a:0:1.1.1.1",
            "a:x:1.1.1.1",
            "a:1:b",
            "a:1:1.1.1.1,",
            ":1:1.1.1.1",
            "+a:1:1.1.1.1",
        ] {
            assert!(bad.parse::<ResolveOverride>().is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_named_host_goes_before_the_star_and_the_last_before_the_first() {
        let mut resolver = Resolver::default();
        for text in ["a.test:1:10.0.0.1", "a.test:1:10.0.0.2", "*:1:10.0.0.3"] {
            resolver.push(text.parse().unwrap());
        }
        for (host, expected) in [("a.test", "10.0.0.2:1"), ("b.test", "10.0.0.3:1")] {
            let found = resolver.addresses(host, 1, Duration::from_secs(1)).await.unwrap();
            assert_eq!(found, [expected.parse().unwrap()]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_counts_for_a_while_with_what_answered_first() {
        let resolver = Resolver::default();
        let [one, two]: [SocketAddr; 2] = ["[::1]:80", "10.0.0.2:80"].map(|text| text.parse().unwrap());
        resolver.keep("a.test", &[one, two]);
        assert_eq!(resolver.kept("a.test", 80), Some(vec![one, two]));
        resolver.answered("a.test", two.ip());
        let at_443 = ["10.0.0.2:443", "[::1]:443"].map(|text| text.parse().unwrap());
        assert_eq!(resolver.kept("a.test", 443), Some(at_443.to_vec()));
        tokio::time::advance(ANSWER_COUNTS).await;
        assert_eq!(resolver.kept("a.test", 80), None);
        resolver.keep("a.test", &[one]);
        resolver.forget("a.test");
        assert_eq!(resolver.kept("a.test", 80), None);
        for number in 0..=MAX_ANSWERS {
            resolver.keep(&format!("h{number}.test"), &[one]);
        }
        assert!(resolver.answers().len() <= MAX_ANSWERS);
    }

    #[tokio::test]
    async fn nobody_is_asked_for_what_is_too_long_for_a_name() {
        let resolver = Resolver::default();
        let found = resolver.addresses(&"a.".repeat(128), 80, Duration::from_secs(1)).await;
        let failure = found.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Dns);
        assert!(failure.detail.ends_with("longer than a name can be"), "{}", failure.detail);
    }

    #[tokio::test]
    async fn look_ups_without_an_answer_leave_threads_to_others_and_those_that_wait_can_leave() {
        let resolver = Resolver::default();
        let mut gates = Vec::new();
        for _ in 0..MAX_LOOK_UPS {
            let (open, gate) = std::sync::mpsc::channel::<()>();
            gates.push(open);
            let silent = move || {
                let _ = gate.recv();
                Ok(Vec::new())
            };
            // Whoever asked is gone; the system's call goes on.
            assert!(timeout(Duration::from_millis(1), resolver.in_its_turn(silent)).await.is_err());
        }
        for _ in 0..1_000 {
            let asking = resolver.in_its_turn(|| panic!("asked for somebody who has left"));
            assert!(futures_util::FutureExt::now_or_never(asking).is_none());
        }
        assert_eq!(spawn_blocking(|| "others").await.unwrap(), "others");
        drop(gates);
        let answer: Vec<SocketAddr> = vec!["10.0.0.1:80".parse().unwrap()];
        let expected = answer.clone();
        assert_eq!(resolver.in_its_turn(move || Ok(answer)).await.unwrap(), expected);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,30}|[a*]:[0-9]{1,2}:([0-9.:,]|\\[|\\]){0,12}") {
            if let Ok(found) = text.parse::<ResolveOverride>() {
                prop_assert_eq!(found.to_string().parse::<ResolveOverride>(), Ok(found));
            }
        }
    }
}
