//! Connections of the proxy's own that the system redirects back to it.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::address::canonical;

/// How long a connection is remembered: one that is redirected is accepted at once, and its port is used by nobody
/// else so soon.
const REMEMBERED: Duration = Duration::from_secs(10);
/// How many are remembered; beyond it the oldest is forgotten, and a loop goes one round further.
const MAX_REMEMBERED: usize = 4096;

/// Remembers from where the connections of transparent listeners were dialled, to know one of them again that comes
/// back: a rule of the system that redirects what the proxy dials as well would otherwise have it dial itself for ever.
#[derive(Debug, Default)]
pub(crate) struct Loops(Mutex<VecDeque<(SocketAddr, Instant)>>);

impl Loops {
    /// Remembers a connection by our address on it.
    pub(crate) fn dialled(&self, local: SocketAddr, now: Instant) {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_old = |(_, at): &(SocketAddr, Instant)| now.saturating_duration_since(*at) > REMEMBERED;
        while recent.front().is_some_and(is_old) || recent.len() >= MAX_REMEMBERED {
            recent.pop_front();
        }
        recent.push_back((canonical(local), now));
    }

    /// Whether a client's address is that of a connection of ours.
    pub(crate) fn is_own(&self, peer: SocketAddr, now: Instant) -> bool {
        let recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let peer = canonical(peer);
        recent.iter().any(|(local, at)| *local == peer && now.saturating_duration_since(*at) <= REMEMBERED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_known_again_for_a_while() {
        let (loops, start) = (Loops::default(), Instant::now());
        let own: SocketAddr = "10.0.0.1:4000".parse().unwrap();
        loops.dialled(own, start);
        assert!(loops.is_own(own, start));
        assert!(loops.is_own("[::ffff:10.0.0.1]:4000".parse().unwrap(), start + REMEMBERED));
        assert!(!loops.is_own("10.0.0.1:4001".parse().unwrap(), start));
        assert!(!loops.is_own(own, start + 2 * REMEMBERED));
    }

    #[test]
    fn no_more_are_remembered_than_there_is_room_for() {
        let (loops, now) = (Loops::default(), Instant::now());
        let at = |number: u16| SocketAddr::from(([10, 0, 0, 1], number));
        (0..=u16::try_from(MAX_REMEMBERED).unwrap()).for_each(|number| loops.dialled(at(number), now));
        assert!(!loops.is_own(at(0), now) && loops.is_own(at(1), now));
        assert_eq!(loops.0.lock().unwrap().len(), MAX_REMEMBERED);
    }
}
