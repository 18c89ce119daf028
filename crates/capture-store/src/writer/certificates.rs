//! The numbers that certificates have in the store, where each stands once.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use proxy_core::UpstreamFacts;

use crate::{
    assemble::content_hash,
    db::{DbError, Tx},
    packing::ByHash,
};

/// Upstream connections whose certificates' numbers are remembered; beyond it all are forgotten and looked up anew.
const REMEMBERED_CONNECTIONS: usize = 1024;

/// Certificates whose numbers are remembered by their hash; beyond it all are forgotten and looked up anew.
const REMEMBERED_HASHES: usize = 8192;

/// The numbers of certificates in the store.
#[derive(Default)]
pub(super) struct Certificates {
    /// Those of upstream connections. Each entry keeps its connection's facts alive, so that an address stands for one
    /// connection.
    connections: HashMap<usize, (Arc<UpstreamFacts>, Vec<u64>)>,
    hashes: ByHash<u64>,
}

impl Certificates {
    /// Lets go of the connections; their certificates stay known by hash.
    pub(super) fn rest(&mut self) {
        self.connections = HashMap::new();
    }

    /// The numbers of a connection's certificates, which are stored where they are not yet.
    pub(super) fn numbers(
        &mut self,
        tx: &Tx<'_>,
        upstream: Option<&Arc<UpstreamFacts>>,
    ) -> Result<&[u64], DbError> {
        let Some((upstream, tls)) = upstream.and_then(|facts| facts.tls.as_ref().map(|tls| (facts, tls)))
        else {
            return Ok(&[]);
        };
        let Self { connections, hashes } = self;
        if connections.len() >= REMEMBERED_CONNECTIONS {
            connections.clear();
        }
        let key = Arc::as_ptr(upstream).addr();
        let known = match connections.entry(key) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                let numbers = tls.certificates.iter().map(|der| number(hashes, tx, der));
                let numbers = numbers.collect::<Result<_, _>>()?;
                unknown.insert((upstream.clone(), numbers))
            }
        };
        Ok(&known.1)
    }

    /// Forgets all numbers: those given in a transaction that was rolled back are none.
    pub(super) fn forget(&mut self) {
        self.connections.clear();
        self.hashes.clear();
    }
}

/// The number of one certificate, which other connections may have shown as well.
fn number(known: &mut ByHash<u64>, tx: &Tx<'_>, der: &[u8]) -> Result<u64, DbError> {
    let hash = content_hash(der);
    if let Some(number) = known.get(&hash) {
        return Ok(*number);
    }
    let number = tx.certificate(&hash, der)?;
    if known.len() >= REMEMBERED_HASHES {
        known.clear();
    }
    known.insert(hash, number);
    Ok(number)
}
