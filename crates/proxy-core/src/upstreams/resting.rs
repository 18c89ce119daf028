//! Asking the pool that clients share before dialling.
//!
//! A tunnel is dialled before it is known what will be spoken in it, and the client is told what upstream chose. Where
//! connections to the same place rest in the pool, neither is needed: that upstream answers is known, and what it chooses
//! is remembered.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    Opened, Reach,
    destination::{Destination, Security, Way},
    dial_tcp,
};
use crate::{
    engine::Engine,
    event::UpstreamFacts,
    parent::{Carried, ParentProxy},
};

/// How long it counts what an upstream chose: after that it is asked again, should it have changed its mind.
const REMEMBERED: Duration = Duration::from_secs(60);

/// How many answers are remembered; beyond it the oldest is forgotten.
const MAX_REMEMBERED: usize = 1_024;

/// What upstreams chose of what they were offered.
#[derive(Debug, Default)]
pub(crate) struct Spoken(Mutex<HashMap<Destination, Answer>>);

#[derive(Debug)]
struct Answer {
    parent: Option<ParentProxy>,
    facts: Arc<UpstreamFacts>,
    at: Instant,
}

impl Spoken {
    /// Notes what upstream said when it was offered what the destination says.
    pub(crate) fn note(&self, to: Destination, opened: &Opened) {
        let answer =
            Answer { parent: opened.way.parent().cloned(), facts: opened.facts.clone(), at: Instant::now() };
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= MAX_REMEMBERED && !answers.contains_key(&to) {
            answers.retain(|_, answer| answer.at.elapsed() < REMEMBERED);
            let oldest = answers.iter().min_by_key(|(_, answer)| answer.at).map(|(to, _)| to.clone());
            if let Some(oldest) = oldest.filter(|_| answers.len() >= MAX_REMEMBERED) {
                answers.remove(&oldest);
            }
        }
        answers.insert(to, answer);
    }

    /// What upstream said when it was last offered the same by the same way, unless that is too long ago.
    fn recall(&self, to: &Destination, parent: Option<&ParentProxy>) -> Option<Arc<UpstreamFacts>> {
        let answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = answers.get(to)?;
        let counts = answer.at.elapsed() < REMEMBERED && answer.parent.as_ref() == parent;
        counts.then(|| answer.facts.clone())
    }
}

/// Tells whether a tunnel need not be dialled, because connections to its host that every client may have are at rest.
pub(crate) fn rests(engine: &Engine, host: &str, port: u16) -> bool {
    let Some(pool) = &engine.roads.shared else { return false };
    let parent = engine.roads.routes.parent(host, port, Carried::Tunnel);
    pool.has(|to, way| {
        to.port == port
            && to.host == host
            && !matches!(way, Way::Absolute(_))
            && way.parent() == parent.as_ref()
    })
}

/// What upstream said of itself, where that is remembered for just what is offered to it now, and a connection that
/// speaks what it chose is at rest.
pub(crate) fn spoken(engine: &Engine, to: &Destination) -> Option<Arc<UpstreamFacts>> {
    let pool = engine.roads.shared.as_ref()?;
    let parent = to.parent(engine);
    let facts = engine.roads.spoken.recall(to, parent.as_ref())?;
    let Security::Tls { server_name, .. } = &to.security else { return None };
    let chosen = facts.tls.as_ref().and_then(|tls| tls.alpn.clone()).map(String::into_bytes);
    let security = Security::Tls { server_name: server_name.clone(), alpn: chosen.into_iter().collect() };
    let agreed = Destination { security, ..to.clone() };
    pool.has(|to, way| *to == agreed && way.parent() == parent.as_ref()).then_some(facts)
}

/// Dials what was not, for somebody who has no use for a connection at rest.
pub(crate) async fn wake(engine: &Engine, reach: Reach, host: &str, port: u16) -> Reach {
    match reach {
        Reach::Resting(_) => match Box::pin(dial_tcp(engine, host, port)).await {
            Ok(line) => Reach::Dialled(line),
            Err(failure) => Reach::Failed(failure),
        },
        reach => reach,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{event::ConnectionId, exchange::ledger::Dialled};

    fn to(host: &str, alpn: &[&str]) -> Destination {
        let alpn = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let security = Security::Tls { server_name: host.to_owned(), alpn };
        Destination { host: host.to_owned(), port: 443, security }
    }

    fn opened(way: Way) -> Opened {
        let address = ([127, 0, 0, 1], 443).into();
        Opened {
            io: Box::new(tokio::io::duplex(1).0),
            facts: Arc::new(UpstreamFacts::new(ConnectionId(1), address, address)),
            http2: false,
            dialled: Dialled::default(),
            way,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_counts_for_the_same_offer_the_same_way_and_a_while() {
        let spoken = Spoken::default();
        let parent: ParentProxy = "http://parent.test:3128".parse().unwrap();
        spoken.note(to("a.test", &["h2", "http/1.1"]), &opened(Way::Direct));
        spoken.note(to("b.test", &[]), &opened(Way::Tunnel(parent.clone())));
        assert!(spoken.recall(&to("a.test", &["h2", "http/1.1"]), None).is_some());
        assert!(spoken.recall(&to("a.test", &["http/1.1"]), None).is_none());
        assert!(spoken.recall(&to("a.test", &["h2", "http/1.1"]), Some(&parent)).is_none());
        assert!(spoken.recall(&to("b.test", &[]), Some(&parent)).is_some());
        assert!(spoken.recall(&to("b.test", &[]), None).is_none());
        tokio::time::advance(REMEMBERED).await;
        assert!(spoken.recall(&to("a.test", &["h2", "http/1.1"]), None).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_are_remembered_than_there_is_room_for() {
        let spoken = Spoken::default();
        for number in 0..=MAX_REMEMBERED {
            spoken.note(to(&format!("h{number}.test"), &[]), &opened(Way::Direct));
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert!(spoken.recall(&to("h0.test", &[]), None).is_none());
        assert!(spoken.recall(&to("h1.test", &[]), None).is_some());
        assert_eq!(spoken.0.lock().unwrap().len(), MAX_REMEMBERED);
    }
}
