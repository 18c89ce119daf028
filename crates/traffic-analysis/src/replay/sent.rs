//! Exchanges that the proxy sent itself, found in the store.

use std::{collections::HashMap, ops::ControlFlow};

use capture_store::{Condition, Error, Order, Pattern, Seq, Store, TextField};

use crate::scope::{Bounds, Scope};

/// Finds what a [`Sender`](proxy_core::Sender) sent in the store it was recorded into, by
/// [`Sending::connection`](proxy_core::Sending::connection). Reads each exchange once, however often it is asked.
#[derive(Debug)]
pub struct SentIndex {
    after: Seq,
    known: HashMap<u64, Seq>,
}

impl SentIndex {
    /// Knows what is recorded from now on.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn new(store: &Store) -> Result<Self, Error> {
        Ok(Self { after: store.newest()?, known: HashMap::new() })
    }

    /// The exchange that came on this connection, once it is recorded; flush the recorder before. Blocks on the disk.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn find(&mut self, store: &Store, connection: u64) -> Result<Option<Seq>, Error> {
        if !self.known.contains_key(&connection) {
            self.catch_up(store)?;
        }
        Ok(self.known.get(&connection).copied())
    }

    fn catch_up(&mut self, store: &Store) -> Result<(), Error> {
        let own = Condition::Text(TextField::Listener, Pattern::equals("own"));
        let scope = Scope::all().filtered(own);
        let newest = store.newest()?;
        let (known, after) = (&mut self.known, self.after);
        scope.walk::<Error>(store, (Order::Ascending, Some(after)), Bounds::default(), |summary| {
            let exchange = store.exchange(summary.seq);
            if let Some(client) = exchange.ok().and_then(|exchange| exchange.client) {
                known.insert(client.connection, summary.seq);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        self.after = self.after.max(newest);
        Ok(())
    }
}
