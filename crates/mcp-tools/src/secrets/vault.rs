//! The credentials that were hidden, by number.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use aho_corasick::{AhoCorasick, MatchKind};
use capture_store::secrets::{SecretSpan, Secrets};
use serde_json::{Map, Value};

use super::{hide::Hider, learn::Learnt};
use crate::error::ToolError;

/// Credentials that are remembered. Beyond it they are hidden without a number, and cannot be put back.
const MAX_SECRETS: usize = 20_000;
/// Bytes of a credential that is remembered; a longer one is hidden without a number.
const MAX_SECRET_BYTES: usize = 32 * 1024;
/// Bytes from which on a credential is hidden wherever it stands, not only where its name gives it away: shorter ones are
/// parts of too much else.
const MIN_TELLING_BYTES: usize = 8;

const BEGIN: &str = "<secret:";
const END: char = '>';
/// What stands for a credential that is not remembered.
const NAMELESS: &str = "<secret:?>";

/// The credentials hidden so far. Clones share them. They live as long as the server, in memory only.
#[derive(Clone)]
pub(crate) struct Vault {
    pub(super) secrets: Arc<Secrets>,
    state: Arc<Mutex<State>>,
    pub(super) learnt: Arc<tokio::sync::Mutex<Learnt>>,
}

#[derive(Default)]
struct State {
    numbers: HashMap<Box<str>, usize>,
    values: Vec<Box<str>>,
    /// Finds those that are long enough; made when asked for, dropped when there is a new one.
    finder: Option<Arc<Finder>>,
}

/// Known credentials in any text, as they are and percent-encoded.
struct Finder {
    patterns: AhoCorasick,
    /// The number of each pattern's credential.
    numbers: Vec<usize>,
}

impl Vault {
    pub(crate) fn new(secrets: Secrets) -> Self {
        Self { secrets: Arc::new(secrets), state: Arc::default(), learnt: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hides the credentials of a result. What `schema` declares are names of ours; all others were captured, and may
    /// give a credential away.
    pub(crate) fn hide(&self, value: &mut Value, schema: Option<&Map<String, Value>>) {
        Hider::new(self).result(value, schema);
        // What was found under its name here is hidden in other places, too.
        if let Some(finder) = self.finder() {
            replace_all(value, &finder);
        }
    }

    /// Hides the credentials of a text.
    pub(crate) fn hide_text(&self, text: &str) -> String {
        let text = Hider::new(self).text(text);
        match self.finder() {
            Some(finder) => finder.replaced(&text).unwrap_or(text),
            None => text,
        }
    }

    /// Puts credentials back in arguments.
    pub(crate) fn restore(&self, arguments: &mut Map<String, Value>) -> Result<(), ToolError> {
        arguments.values_mut().try_for_each(|value| self.restore_value(value))
    }

    fn restore_value(&self, value: &mut Value) -> Result<(), ToolError> {
        match value {
            Value::String(text) if text.contains(BEGIN) => {
                *text = self.restored(text)?;
                Ok(())
            }
            Value::Array(items) => items.iter_mut().try_for_each(|item| self.restore_value(item)),
            Value::Object(map) => {
                for (key, mut value) in std::mem::take(map) {
                    self.restore_value(&mut value)?;
                    let key = if key.contains(BEGIN) { self.restored(&key)? } else { key };
                    map.insert(key, value);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn restored(&self, text: &str) -> Result<String, ToolError> {
        let state = self.state();
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find(BEGIN) {
            out.push_str(&rest[..at]);
            let after = &rest[at + BEGIN.len()..];
            let Some((number, tail)) = after.split_once(END) else {
                out.push_str(&rest[at..]);
                return Ok(out);
            };
            let known = number.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
            let Some(secret) = known.and_then(|at| state.values.get(at)) else {
                let number: String = number.chars().take(20).collect();
                return Err(ToolError::invalid(format!("there is no {BEGIN}{number}{END}"))
                    .hint("placeholders come from results of this server, and hold until it ends"));
            };
            out.push_str(secret);
            rest = tail;
        }
        out.push_str(rest);
        Ok(out)
    }

    /// The placeholder of a credential.
    pub(super) fn placeholder(&self, secret: &str) -> String {
        let mut state = self.state();
        let number = match state.numbers.get(secret) {
            Some(number) => *number,
            None if state.values.len() >= MAX_SECRETS || secret.len() > MAX_SECRET_BYTES => {
                return NAMELESS.to_owned();
            }
            None => {
                state.values.push(secret.into());
                let number = state.values.len();
                state.numbers.insert(secret.into(), number);
                state.finder = None;
                number
            }
        };
        format!("{BEGIN}{number}{END}")
    }

    /// Remembers credentials that are telling enough to be hidden wherever they stand.
    pub(super) fn note(&self, text: &str, spans: &[SecretSpan]) {
        let found = spans.iter().filter_map(|span| text.get(span.range.clone()));
        for secret in found.filter(|secret| secret.len() >= MIN_TELLING_BYTES && !is_placeholder(secret)) {
            self.placeholder(secret);
        }
    }

    fn finder(&self) -> Option<Arc<Finder>> {
        let mut state = self.state();
        if state.finder.is_none() {
            state.finder = Finder::new(&state.values).map(Arc::new);
        }
        state.finder.clone()
    }
}

/// Whether a text is nothing but a placeholder.
pub(super) fn is_placeholder(text: &str) -> bool {
    text.strip_prefix(BEGIN)
        .is_some_and(|rest| rest.strip_suffix(END).is_some_and(|number| !number.contains(END)))
}

impl Finder {
    fn new(values: &[Box<str>]) -> Option<Self> {
        let (mut texts, mut numbers) = (Vec::new(), Vec::new());
        for (at, value) in values.iter().enumerate().filter(|(_, value)| value.len() >= MIN_TELLING_BYTES) {
            texts.push(value.to_string());
            numbers.push(at + 1);
            let encoded = percent_encoded(value);
            if encoded != **value {
                texts.push(encoded);
                numbers.push(at + 1);
            }
        }
        if texts.is_empty() {
            return None;
        }
        let patterns = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(texts).ok()?;
        Some(Self { patterns, numbers })
    }

    /// The text with placeholders, if it holds any credential.
    fn replaced(&self, text: &str) -> Option<String> {
        if !self.patterns.is_match(text) {
            return None;
        }
        let mut out = String::with_capacity(text.len());
        self.patterns.replace_all_with(text, &mut out, |found, _, out| {
            let number = self.numbers[found.pattern().as_usize()];
            out.push_str(&format!("{BEGIN}{number}{END}"));
            true
        });
        Some(out)
    }
}

fn replace_all(value: &mut Value, finder: &Finder) {
    match value {
        Value::String(text) => {
            if let Some(replaced) = finder.replaced(text) {
                *text = replaced;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| replace_all(item, finder)),
        Value::Object(map) => {
            map.values_mut().for_each(|value| replace_all(value, finder));
            let told: Vec<(String, String)> =
                map.keys().filter_map(|key| Some((key.clone(), finder.replaced(key)?))).collect();
            for (key, replaced) in told {
                if let Some(value) = map.remove(&key) {
                    map.insert(replaced, value);
                }
            }
        }
        _ => {}
    }
}

/// As a component of a URL.
fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
