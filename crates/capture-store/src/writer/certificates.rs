//! The numbers that certificates have in the store, where each stands once.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use proxy_core::UpstreamFacts;

use crate::{
    assemble::content_hash,
    db::{DbError, Tx},
};

/// Upstream connections whose certificates' numbers are remembered; beyond it all are forgotten and looked up anew.
const REMEMBERED_CONNECTIONS: usize = 1024;

/// The numbers of upstream connections' certificates in the store. Each entry keeps its connection's facts alive, so
/// that an address stands for one connection.
#[derive(Default)]
pub(super) struct Certificates(HashMap<usize, (Arc<UpstreamFacts>, Vec<u64>)>);

impl Certificates {
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
        if self.0.len() >= REMEMBERED_CONNECTIONS {
            self.0.clear();
        }
        let key = Arc::as_ptr(upstream).addr();
        let known = match self.0.entry(key) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                let numbers = tls.certificates.iter().map(|der| tx.certificate(&content_hash(der), der));
                let numbers = numbers.collect::<Result<_, _>>()?;
                unknown.insert((upstream.clone(), numbers))
            }
        };
        Ok(&known.1)
    }

    /// Forgets all numbers: those given in a transaction that was rolled back are none.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}
