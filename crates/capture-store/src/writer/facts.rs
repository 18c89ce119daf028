//! The numbers that facts of connections have in the store, where they stand once for many exchanges.

use std::{collections::HashMap, sync::Arc};

use proxy_core::{ClientFacts, UpstreamFacts};

use super::certificates::Certificates;
use crate::{
    db::{DbError, FactsPlace, Tx},
    detail::{PeerRef, encode_facts},
    packing::OfHashes,
};

/// Pairs of connections whose numbers are remembered; beyond it all are forgotten, and encoded anew.
const REMEMBERED: usize = 1024;
/// Bytes of facts that are remembered; beyond it all are forgotten, and put down once more.
const REMEMBERED_BYTES: usize = 2 * 1024 * 1024;

/// What was put down for one place; see the module.
#[derive(Default)]
pub(super) struct Facts {
    place: Option<FactsPlace>,
    /// Whether the transaction at hand looked if they are there still.
    is_checked: bool,
    /// The number of the last that were put down.
    newest: Option<u64>,
    /// By the addresses of both sides' facts, which stay where they are as long as they are remembered.
    connections: HashMap<u64, Pair, OfHashes>,
    contents: HashMap<Vec<u8>, u64>,
    content_bytes: usize,
    memory: Vec<u8>,
}

/// Two connections, and the number of their facts.
struct Pair {
    client: Arc<ClientFacts>,
    upstream: Option<Arc<UpstreamFacts>>,
    number: u64,
}

impl Pair {
    fn is(&self, client: &Arc<ClientFacts>, upstream: Option<&Arc<UpstreamFacts>>) -> bool {
        Arc::ptr_eq(&self.client, client)
            && self.upstream.as_ref().map(Arc::as_ptr) == upstream.map(Arc::as_ptr)
    }
}

impl Facts {
    /// Begins with a transaction. Another process may have removed everything since the last.
    pub(super) fn begin(&mut self) {
        self.is_checked = false;
    }

    /// Lets go of the connections; their facts stay known by content.
    pub(super) fn rest(&mut self) {
        self.connections.clear();
        self.connections.shrink_to_fit();
        self.memory = Vec::new();
    }

    /// Forgets all numbers: those given in a transaction that was rolled back are none.
    pub(super) fn forget(&mut self) {
        self.connections.clear();
        self.contents.clear();
        (self.place, self.newest, self.content_bytes) = (None, None, 0);
    }

    /// The number of what two connections' exchanges share, which is put down where it is not yet; and how many bytes that
    /// took.
    pub(super) fn number(
        &mut self,
        tx: &Tx<'_>,
        place: FactsPlace,
        (client, upstream): (&Arc<ClientFacts>, Option<&Arc<UpstreamFacts>>),
        certificates: &mut Certificates,
    ) -> Result<(u64, usize), DbError> {
        self.come_to(tx, place)?;
        let key = key(client, upstream);
        if let Some(pair) = self.connections.get(&key).filter(|pair| pair.is(client, upstream)) {
            return Ok((pair.number, 0));
        }
        let numbers = certificates.numbers(tx, upstream)?;
        self.memory.clear();
        let legs = (PeerRef::of_client(client), upstream.map(|facts| PeerRef::of_upstream(facts, numbers)));
        encode_facts(Some(&legs.0), legs.1.as_ref(), client.tunnel.as_deref(), &mut self.memory);
        let (number, added) = match self.contents.get(&self.memory[..]) {
            Some(number) => (*number, 0),
            None => (self.put(tx, place)?, self.memory.len()),
        };
        if self.connections.len() >= REMEMBERED {
            self.connections.clear();
        }
        let pair = Pair { client: client.clone(), upstream: upstream.cloned(), number };
        self.connections.insert(key, pair);
        Ok((number, added))
    }

    /// Forgets what belongs to another place, or was removed.
    fn come_to(&mut self, tx: &Tx<'_>, place: FactsPlace) -> Result<(), DbError> {
        if self.place != Some(place) {
            self.forget();
            self.place = Some(place);
        } else if !self.is_checked
            && let Some(newest) = self.newest
            && !tx.has_facts(place, newest)?
        {
            self.forget();
            self.place = Some(place);
        }
        self.is_checked = true;
        Ok(())
    }

    fn put(&mut self, tx: &Tx<'_>, place: FactsPlace) -> Result<u64, DbError> {
        let number = tx.put_facts(place, &self.memory)?;
        self.newest = Some(number);
        if self.content_bytes + self.memory.len() > REMEMBERED_BYTES {
            self.contents.clear();
            self.content_bytes = 0;
        }
        self.content_bytes += self.memory.len();
        self.contents.insert(self.memory.clone(), number);
        Ok(number)
    }
}

fn key(client: &Arc<ClientFacts>, upstream: Option<&Arc<UpstreamFacts>>) -> u64 {
    let upstream = upstream.map_or(0, |facts| Arc::as_ptr(facts).addr());
    Arc::as_ptr(client).addr() as u64 ^ (upstream as u64).rotate_left(32)
}

#[cfg(test)]
mod tests {
    use proxy_core::ConnectionId;

    use super::*;
    use crate::{
        db::{Connection, Mode},
        id::{Seq, SessionId},
    };

    /// A client by the name it proved; its connection is another each time.
    fn client(user: &str) -> Arc<ClientFacts> {
        let address = "127.0.0.1:1".parse().unwrap();
        let mut client = ClientFacts::new(ConnectionId(1), address, address);
        client.user = Some(user.to_owned());
        Arc::new(client)
    }

    fn place(seq: u64) -> FactsPlace {
        FactsPlace::of(SessionId(1), Seq(seq))
    }

    #[test]
    fn equal_facts_of_one_block_have_one_number() {
        let directory = tempfile::tempdir().unwrap();
        let mut db = Connection::open(&directory.path().join("store.db"), Mode::Write).unwrap();
        db.migrate().unwrap();
        let (mut facts, mut certificates) = (Facts::default(), Certificates::default());
        let tx = db.begin().unwrap();
        let mut number = |seq, client: &Arc<ClientFacts>| {
            facts.number(&tx, place(seq), (client, None), &mut certificates).unwrap()
        };
        let ann = client("ann");
        let (first, bytes) = number(1, &ann);
        assert!(bytes > 0);
        assert_eq!(number(2, &ann), (first, 0));
        assert_eq!(number(3, &client("ann")), (first, 0));
        let (bob, bytes) = number(4, &client("bob"));
        assert!(bytes > 0 && bob != first);
        let (next, bytes) = number(5_000, &ann);
        assert!(bytes > 0 && next != first);
    }

    #[test]
    fn more_connections_than_are_remembered_are_numbered_all_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let mut db = Connection::open(&directory.path().join("store.db"), Mode::Write).unwrap();
        db.migrate().unwrap();
        let (mut facts, mut certificates) = (Facts::default(), Certificates::default());
        let tx = db.begin().unwrap();
        let long = "x".repeat(REMEMBERED_BYTES / 2);
        for round in 0..2 {
            for name in 0..REMEMBERED + 10 {
                let client = client(&format!("client {name}"));
                facts.number(&tx, place(1), (&client, None), &mut certificates).unwrap();
                assert!(facts.connections.len() <= REMEMBERED);
            }
            for name in 0..3 {
                let client = client(&format!("{name} of {round}: {long}"));
                facts.number(&tx, place(1), (&client, None), &mut certificates).unwrap();
                assert!(facts.content_bytes <= REMEMBERED_BYTES);
            }
        }
    }

    #[test]
    fn what_was_removed_meanwhile_or_rolled_back_is_put_down_again() {
        let directory = tempfile::tempdir().unwrap();
        let mut db = Connection::open(&directory.path().join("store.db"), Mode::Write).unwrap();
        db.migrate().unwrap();
        let (mut facts, mut certificates) = (Facts::default(), Certificates::default());
        let ann = client("ann");
        for remove in [true, false, true] {
            let tx = db.begin().unwrap();
            facts.begin();
            let (number, _) = facts.number(&tx, place(1), (&ann, None), &mut certificates).unwrap();
            assert!(tx.has_facts(place(1), number).unwrap());
            if remove {
                // As another process would, between two transactions.
                tx.remove_facts(place(1)).unwrap();
                tx.commit().unwrap();
            } else {
                drop(tx);
                facts.forget();
            }
        }
    }
}
