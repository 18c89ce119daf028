//! The credentials that were hidden, by number.

use std::{
    collections::HashMap,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use capture_store::secrets::{KnownSecrets, MIN_KNOWN_BYTES, SecretSpan, Secrets};
use serde_json::{Map, Value};

use super::{
    hide::{Hider, declared},
    learn::Learnt,
};
use crate::error::ToolError;

/// Credentials that are remembered. Beyond it they are hidden without a number, and cannot be put back.
const MAX_SECRETS: usize = 20_000;
/// Bytes of a credential that is remembered; a longer one is hidden without a number.
const MAX_SECRET_BYTES: usize = 32 * 1024;
/// Bytes below which a credential from a body is no credential elsewhere if it is a plain word: what stands under
/// `password` may well be `required`.
const MAX_WORD_BYTES: usize = 12;

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
    /// Finds those that are long enough, however they are written.
    known: Arc<KnownSecrets>,
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
        let schema = schema.map(|schema| Value::Object(schema.clone()));
        replace_all(value, &self.known(), schema.as_ref());
    }

    /// Hides the credentials of a text.
    pub(crate) fn hide_text(&self, text: &str) -> String {
        let text = Hider::new(self).text(text);
        replaced(&text, &self.known()).unwrap_or(text)
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
                Arc::make_mut(&mut state.known).add(number, secret);
                number
            }
        };
        format!("{BEGIN}{number}{END}")
    }

    /// Remembers credentials that are long enough to be hidden wherever they stand.
    pub(super) fn note(&self, text: &str, spans: &[SecretSpan]) {
        for secret in spans.iter().filter_map(|span| text.get(span.range.clone())) {
            if let Some(password) = password(secret) {
                self.remember(&password);
            }
            self.remember(secret);
        }
    }

    /// Remembers those of a body, but for plain words.
    pub(super) fn note_body(&self, text: &str, spans: &[SecretSpan]) {
        for secret in spans.iter().filter_map(|span| text.get(span.range.clone())) {
            // As a reader of the JSON has it.
            let unescaped =
                secret.contains('\\').then(|| serde_json::from_str(&format!("\"{secret}\"")).ok());
            let secret = unescaped.flatten().unwrap_or_else(|| secret.to_owned());
            let is_word = |byte: u8| byte.is_ascii_lowercase() || matches!(byte, b'-' | b'_' | b' ');
            if secret.len() >= MAX_WORD_BYTES || !secret.bytes().all(is_word) {
                self.remember(&secret);
            }
        }
    }

    fn remember(&self, secret: &str) {
        if secret.len() >= MIN_KNOWN_BYTES && !is_placeholder(secret) {
            self.placeholder(secret);
        }
    }

    fn known(&self) -> Arc<KnownSecrets> {
        Arc::clone(&self.state().known)
    }

    /// What counts as a credential, and all that are known to be one: for files.
    pub(crate) fn all(&self) -> Secrets {
        Secrets::clone(&self.secrets).with_known(self.known())
    }
}

/// The password in the credentials of the Basic scheme (RFC 7617 section 2).
fn password(credentials: &str) -> Option<String> {
    let decoded = STANDARD.decode(credentials.trim()).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (_, password) = text.split_once(':')?;
    (!text.chars().any(char::is_control)).then(|| password.to_owned())
}

/// Whether a text is nothing but a placeholder.
pub(super) fn is_placeholder(text: &str) -> bool {
    text.strip_prefix(BEGIN)
        .is_some_and(|rest| rest.strip_suffix(END).is_some_and(|number| !number.contains(END)))
}

/// The text with placeholders, if it holds any credential. Where it was cut (`…`), a part of one may begin or end.
fn replaced(text: &str, known: &KnownSecrets) -> Option<String> {
    let mut any = false;
    let pieces: Vec<String> = text
        .split('…')
        .map(|piece| {
            let hidden = replaced_in(piece, known);
            any |= hidden.is_some();
            hidden.unwrap_or_else(|| piece.to_owned())
        })
        .collect();
    any.then(|| pieces.join("…"))
}

fn replaced_in(text: &str, known: &KnownSecrets) -> Option<String> {
    let mut found: Vec<_> =
        known.find(text.as_bytes()).into_iter().map(|found| (found.range, found.number)).collect();
    found.extend(marked(text, known));
    if found.is_empty() {
        return None;
    }
    found.sort_by_key(|(range, _)| (range.start, std::cmp::Reverse(range.end)));
    let (mut out, mut at) = (String::with_capacity(text.len()), 0);
    for (range, number) in found {
        if range.start >= at {
            out.push_str(text.get(at..range.start).unwrap_or_default());
            match number {
                Some(number) => out.push_str(&format!("{BEGIN}{number}{END}")),
                None => out.push_str(NAMELESS),
            }
        }
        at = at.max(range.end);
    }
    out.push_str(text.get(at..).unwrap_or_default());
    Some(out)
}

/// Credentials of which a hit is a part: the brackets around it stand in their midst.
fn marked(text: &str, known: &KnownSecrets) -> Vec<(Range<usize>, Option<usize>)> {
    if !text.contains('[') {
        return Vec::new();
    }
    let is_mark = |byte: u8| matches!(byte, b'[' | b']');
    let (places, plain): (Vec<usize>, Vec<u8>) =
        text.bytes().enumerate().filter(|(_, byte)| !is_mark(*byte)).unzip();
    let bytes = text.as_bytes();
    let spans = known.find(&plain).into_iter().filter_map(|found| {
        let (mut start, mut end) = (places[found.range.start], places[found.range.end - 1] + 1);
        if !bytes[start..end].iter().any(|byte| is_mark(*byte)) {
            return None;
        }
        // The other bracket goes with the one within.
        start -= usize::from(bytes[..start].ends_with(b"["));
        end += usize::from(bytes[end..].starts_with(b"]"));
        Some((start..end, found.number))
    });
    spans.collect()
}

/// Hides what is known. Names and words of ours stay, whatever was captured elsewhere.
fn replace_all(value: &mut Value, known: &KnownSecrets, schema: Option<&Value>) {
    match value {
        Value::String(text) => {
            if let Some(replaced) = replaced(text, known).filter(|_| !is_word_of_ours(schema)) {
                *text = replaced;
            }
        }
        Value::Array(items) => {
            let below = schema.and_then(|schema| schema.get("items"));
            items.iter_mut().for_each(|item| replace_all(item, known, below));
        }
        Value::Object(map) => {
            let mut told = Vec::new();
            for (key, value) in map.iter_mut() {
                let below = schema.and_then(|schema| declared(schema, key));
                if below.is_none()
                    && let Some(replaced) = replaced(key, known)
                {
                    told.push((key.clone(), replaced));
                }
                replace_all(value, known, below.as_ref());
            }
            for (key, replaced) in told {
                if let Some(value) = map.remove(&key) {
                    map.insert(replaced, value);
                }
            }
        }
        _ => {}
    }
}

/// Whether a schema leaves no other texts than ours.
fn is_word_of_ours(schema: Option<&Value>) -> bool {
    schema.is_some_and(|schema| schema.get("enum").is_some() || schema.get("const").is_some())
}
