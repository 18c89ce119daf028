//! Every exchange from its beginning to its one ending.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use proxy_core::{Event, EventKind, ExchangeId, Observer, Outcome};

/// Who keeps the account. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Account(Arc<Mutex<Books>>);

#[derive(Default)]
struct Books {
    open: HashMap<ExchangeId, String>,
    begun: u64,
    ended: u64,
    outcomes: BTreeMap<&'static str, u64>,
    wrong: Vec<String>,
}

/// How the books stand.
pub(crate) struct Balance {
    pub(crate) begun: u64,
    pub(crate) ended: u64,
    pub(crate) open: Vec<String>,
    pub(crate) outcomes: BTreeMap<&'static str, u64>,
    pub(crate) wrong: Vec<String>,
}

impl Account {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn balance(&self) -> Balance {
        let books = self.books();
        Balance {
            begun: books.begun,
            ended: books.ended,
            open: books.open.values().cloned().collect(),
            outcomes: books.outcomes.clone(),
            wrong: books.wrong.clone(),
        }
    }
}

impl Observer for Account {
    fn observe(&self, event: &Event) {
        let mut books = self.books();
        match &event.kind {
            EventKind::Request { head, .. } => {
                books.begun += 1;
                let request = format!("{} {}", head.method, head.url());
                if let Some(other) = books.open.insert(event.exchange, request) {
                    books.wrong.push(format!("exchange {} began twice: {other}", event.exchange.0));
                }
            }
            EventKind::Ended(ending) => {
                books.ended += 1;
                let outcome = match &ending.outcome {
                    Outcome::Failed(failure) => failure.kind.code(),
                    Outcome::Response => "response",
                    Outcome::Mock => "answered by the proxy",
                    Outcome::Upgrade => "upgrade",
                    _ => "other",
                };
                *books.outcomes.entry(outcome).or_default() += 1;
                if books.open.remove(&event.exchange).is_none() {
                    books
                        .wrong
                        .push(format!("exchange {} ended without having begun, or twice", event.exchange.0));
                }
            }
            kind if !books.open.contains_key(&event.exchange) => {
                let what = format!("exchange {} was told of after its ending: {kind:?}", event.exchange.0);
                books.wrong.push(what);
            }
            _ => {}
        }
    }
}
