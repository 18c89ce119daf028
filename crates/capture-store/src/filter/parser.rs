//! Tokens put together to a condition: `or` binds least, then `and` or nothing at all, then `-`.

use std::{ops::Range, time::SystemTime};

use super::{
    FilterError,
    fields::{self, CLASSES, Field, FieldKind, HAS, IS, KINDS},
    lexer::{self, Operator, Piece, Term, Token, TokenKind},
    value,
};
use crate::{
    condition::{Condition, NumberField, Pattern, StateFilter, TextField},
    id::{Seq, SessionId},
    record::{BodySide, ExchangeKind},
};

/// The longest filter that is read.
const MAX_BYTES: usize = 64 * 1024;
/// The deepest nesting of parentheses and negations.
const MAX_DEPTH: usize = 64;
/// How exactly a time span without comparison is meant: `ms:5` is from 5 to less than 6.
const MILLISECOND: u64 = 1_000_000;

/// Reads a filter; ages like `since:10m` count from now.
///
/// # Errors
/// When it cannot be read; the error says where and why.
pub fn parse(filter: &str) -> Result<Condition, FilterError> {
    parse_at(filter, SystemTime::now())
}

/// Reads a filter; ages like `since:10m` count from `now`.
///
/// # Errors
/// When it cannot be read; the error says where and why.
pub fn parse_at(filter: &str, now: SystemTime) -> Result<Condition, FilterError> {
    if filter.len() > MAX_BYTES {
        let message = format!("it has {} bytes; {MAX_BYTES} are the limit", filter.len());
        return Err(FilterError::new(filter, MAX_BYTES..filter.len(), message));
    }
    let tokens = lexer::tokens(filter)?;
    let mut parser = Parser { filter, tokens: tokens.into_iter().peekable(), now, depth: 0 };
    if parser.tokens.peek().is_none() {
        return Ok(Condition::All(Vec::new()));
    }
    let condition = parser.any()?;
    match parser.tokens.next() {
        None => Ok(condition.simplified()),
        Some(token) => Err(FilterError::new(
            filter,
            token.span,
            "this parenthesis closes nothing; remove it, or quote it",
        )),
    }
}

struct Parser<'f> {
    filter: &'f str,
    tokens: std::iter::Peekable<std::vec::IntoIter<Token>>,
    now: SystemTime,
    depth: usize,
}

impl Parser<'_> {
    fn fail<T>(&self, span: Range<usize>, message: impl Into<String>) -> Result<T, FilterError> {
        Err(FilterError::new(self.filter, span, message))
    }

    fn any(&mut self) -> Result<Condition, FilterError> {
        let mut parts = vec![self.all()?];
        while self.tokens.next_if(|token| token.kind == TokenKind::Or).is_some() {
            parts.push(self.all()?);
        }
        Ok(Condition::Any(parts))
    }

    fn all(&mut self) -> Result<Condition, FilterError> {
        let mut parts = vec![self.one()?];
        loop {
            let and = self.tokens.next_if(|token| token.kind == TokenKind::And).is_some();
            let more = self
                .tokens
                .peek()
                .is_some_and(|token| !matches!(token.kind, TokenKind::Or | TokenKind::Close));
            if !and && !more {
                return Ok(Condition::All(parts));
            }
            parts.push(self.one()?);
        }
    }

    fn one(&mut self) -> Result<Condition, FilterError> {
        let end = self.filter.len();
        let Some(token) = self.tokens.next() else {
            return self.fail(end..end, "something is missing here; write what is to hold, like status:404");
        };
        if self.depth == MAX_DEPTH {
            return self
                .fail(token.span, format!("this is nested deeper than {MAX_DEPTH}; write it flatter"));
        }
        match token.kind {
            TokenKind::Term(term) => self.term(&term),
            TokenKind::Not => {
                self.depth += 1;
                let inner = self.one()?;
                self.depth -= 1;
                Ok(Condition::Not(Box::new(inner)))
            }
            TokenKind::Open => {
                self.depth += 1;
                let inner = self.any()?;
                self.depth -= 1;
                match self.tokens.next() {
                    Some(Token { kind: TokenKind::Close, .. }) => Ok(inner),
                    _ => self.fail(token.span, "this parenthesis is not closed; close it, or quote it"),
                }
            }
            TokenKind::Close => {
                self.fail(token.span, "this parenthesis closes nothing; remove it, or quote it")
            }
            TokenKind::And | TokenKind::Or => {
                let word = self.filter.get(token.span.clone()).unwrap_or_default().to_owned();
                self.fail(
                    token.span,
                    format!("`{word}` has nothing before it; to look for the word, quote it"),
                )
            }
        }
    }

    fn term(&self, term: &Term) -> Result<Condition, FilterError> {
        let Some(name) = &term.name else {
            let word = &term.pieces[0];
            return Ok(Condition::Text(TextField::Url, Pattern::contains(&word.text)));
        };
        let Some((field, suffix)) = fields::find(&name.text) else { return self.unknown(name, term) };
        let suffix = suffix.map(str::to_owned);
        if term.operator == Operator::Unequal {
            let equal = Term { operator: Operator::Equal, ..term.clone() };
            return Ok(Condition::Not(Box::new(self.field(field, suffix, &equal)?)));
        }
        self.field(field, suffix, term)
    }

    /// What looks like a field and is none. A host with its port is a word.
    fn unknown(&self, name: &Piece, term: &Term) -> Result<Condition, FilterError> {
        let value = &term.pieces[0];
        let port = value.text.split('/').next().unwrap_or_default();
        let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        if term.operator == Operator::Natural
            && digits
            && (name.text.contains('.') || name.text == "localhost")
        {
            let whole = self.filter.get(name.span.start..value.span.end).unwrap_or_default();
            return Ok(Condition::Text(TextField::Url, Pattern::contains(whole)));
        }
        let hint = match fields::nearest(&name.text) {
            Some(near) => format!("did you mean `{near}`? "),
            None => String::new(),
        };
        let message =
            format!("there is no field `{}`; {hint}To look for the text itself, quote it", name.text);
        self.fail(name.span.clone(), message)
    }

    /// A field with its values: lists are alternatives, texts keep their commas.
    fn field(&self, field: &Field, suffix: Option<String>, term: &Term) -> Result<Condition, FilterError> {
        let list = !matches!(
            field.kind,
            FieldKind::Text(_)
                | FieldKind::Url
                | FieldKind::Body(_)
                | FieldKind::Message(_)
                | FieldKind::Anywhere
        ) && suffix.is_none()
            && term.operator != Operator::Regex;
        let whole = self.joined(term);
        let pieces = if list { term.pieces.as_slice() } else { std::slice::from_ref(&whole) };
        let mut parts = Vec::with_capacity(pieces.len());
        for piece in pieces {
            if piece.text.is_empty() && !piece.quoted {
                let example = field.values.first().map_or(String::new(), |value| format!(", like {value}"));
                let message = format!("`{}` needs a value{example}", field.name);
                return self.fail(piece.span.clone(), message);
            }
            parts.push(self.compared(field, suffix.as_deref(), term.operator, piece)?);
        }
        Ok(Condition::Any(parts))
    }

    /// The values of a term as the one text they were written as.
    fn joined(&self, term: &Term) -> Piece {
        let span = term.pieces[0].span.start..term.pieces.last().map_or(0, |last| last.span.end);
        match &term.pieces[..] {
            [only] => only.clone(),
            pieces => {
                let texts: Vec<_> = pieces.iter().map(|piece| piece.text.as_str()).collect();
                Piece { text: texts.join(","), span, quoted: true }
            }
        }
    }

    fn compared(
        &self,
        field: &Field,
        suffix: Option<&str>,
        operator: Operator,
        piece: &Piece,
    ) -> Result<Condition, FilterError> {
        let text = piece.text.as_str();
        let number = |field, unit, step| {
            value::span(operator, text, unit, step).map(|(from, to)| Condition::Number(field, from, to))
        };
        let condition = match field.kind {
            FieldKind::Status => value::status(operator, text)
                .map(|(from, to)| Condition::Number(NumberField::Status, from, to)),
            FieldKind::Count(field) => number(field, value::count, 1),
            FieldKind::Bytes(field) => number(field, value::bytes, 1),
            FieldKind::Span(field) => number(field, value::nanos, MILLISECOND),
            FieldKind::Seq => number(NumberField::Seq, |text| text.parse().ok().map(|Seq(seq)| seq), 1),
            FieldKind::Since => self.since(text),
            FieldKind::Until => self.until(text),
            FieldKind::Session => text.parse::<SessionId>().ok().map(Condition::Session),
            FieldKind::Kind => kind(text),
            FieldKind::Is => is(text),
            FieldKind::Has => has(text),
            FieldKind::Version => version(text),
            FieldKind::Peer(side) => match text.parse() {
                Ok(network) if operator != Operator::Regex => Some(Condition::Peer(side, network)),
                _ => Some(Condition::Text(TextField::Address(side), self.pattern(field, operator, piece)?)),
            },
            _ => return self.text(field, suffix, operator, piece),
        };
        let unordered = matches!(
            field.kind,
            FieldKind::Since
                | FieldKind::Until
                | FieldKind::Session
                | FieldKind::Kind
                | FieldKind::Is
                | FieldKind::Has
                | FieldKind::Version
        ) && !matches!(operator, Operator::Natural | Operator::Equal);
        match condition.filter(|_| !unordered) {
            Some(condition) => Ok(condition),
            None => self.fail(piece.span.clone(), refused(field, text)),
        }
    }

    fn since(&self, text: &str) -> Option<Condition> {
        if let Some(seq) = id(text) {
            return Some(Condition::Number(NumberField::Seq, seq.saturating_add(1), u64::MAX));
        }
        Some(Condition::Began(Some(value::time(text, self.now)?), None))
    }

    fn until(&self, text: &str) -> Option<Condition> {
        if let Some(seq) = id(text) {
            return Some(Condition::Number(NumberField::Seq, 0, seq.saturating_sub(1)));
        }
        Some(Condition::Began(None, Some(value::time(text, self.now)?)))
    }

    fn text(
        &self,
        field: &Field,
        suffix: Option<&str>,
        operator: Operator,
        piece: &Piece,
    ) -> Result<Condition, FilterError> {
        if let FieldKind::Header(_) | FieldKind::Cookie | FieldKind::Parameter = field.kind {
            let (name, value) = match suffix {
                Some(name) => (name.to_owned(), Some(self.pattern(field, operator, piece)?)),
                None if matches!(operator, Operator::Natural | Operator::Equal) => (piece.text.clone(), None),
                None => return self.fail(piece.span.clone(), refused(field, &piece.text)),
            };
            return Ok(match field.kind {
                FieldKind::Header(side) => Condition::Header { side, name, value },
                FieldKind::Cookie => Condition::Cookie { name, value },
                _ => Condition::Parameter { name, value },
            });
        }
        if let (FieldKind::Type(text), Operator::Natural | Operator::Equal) = (field.kind, operator) {
            return self.content_type(text, operator, piece);
        }
        let pattern = self.pattern(field, operator, piece)?;
        Ok(match field.kind {
            FieldKind::Word(text) | FieldKind::Text(text) | FieldKind::Type(text) => {
                Condition::Text(text, pattern)
            }
            FieldKind::Body(side) => Condition::Body { side, pattern },
            FieldKind::Message(from_client) => Condition::Message { from_client, pattern },
            FieldKind::Anywhere => Condition::Anywhere(pattern),
            _ => Condition::Text(TextField::Url, pattern),
        })
    }

    /// What a text is compared with, as is natural for its field unless the operator says otherwise.
    fn pattern(&self, field: &Field, operator: Operator, piece: &Piece) -> Result<Pattern, FilterError> {
        let text = piece.text.as_str();
        let glob = !piece.quoted && text.contains('*');
        let pattern = match (operator, field.kind) {
            (Operator::Regex, _) => Pattern::regex(text),
            (Operator::Equal, _) => Ok(Pattern::equals(text)),
            (Operator::Natural, FieldKind::Word(_)) if glob => Pattern::glob(text),
            (Operator::Natural, FieldKind::Word(_)) => Ok(Pattern::equals(text)),
            (Operator::Natural, FieldKind::Text(_)) if glob => Pattern::glob(text),
            (Operator::Natural, FieldKind::Url) if glob => Pattern::glob(&format!("*{text}*")),
            (Operator::Natural, _) => Ok(Pattern::contains(text)),
            _ => return self.fail(piece.span.clone(), refused(field, text)),
        };
        pattern.or_else(|error| self.fail(piece.span.clone(), error.to_string()))
    }

    fn content_type(
        &self,
        field: TextField,
        operator: Operator,
        piece: &Piece,
    ) -> Result<Condition, FilterError> {
        let text = piece.text.as_str();
        let is = |pattern| Condition::Text(field, pattern);
        if operator == Operator::Equal {
            // The type alone, or with parameters behind it.
            let forms = [
                Pattern::equals(text),
                Pattern::starts_with(&format!("{text};")),
                Pattern::starts_with(&format!("{text} ")),
            ];
            return Ok(Condition::Any(forms.into_iter().map(is).collect()));
        }
        let class = CLASSES.iter().find(|(name, _)| !piece.quoted && name.eq_ignore_ascii_case(text));
        if let Some((_, signs)) = class {
            return Ok(Condition::Any(signs.iter().map(|sign| is(Pattern::contains(sign))).collect()));
        }
        if text.contains('*') && !piece.quoted {
            let glob =
                Pattern::glob(text).or_else(|error| self.fail(piece.span.clone(), error.to_string()))?;
            return Ok(is(glob));
        }
        Ok(is(Pattern::contains(text)))
    }
}

/// An id with its letter; a number alone could be a time.
fn id(text: &str) -> Option<u64> {
    text.strip_prefix('e')?;
    text.parse().ok().map(|Seq(seq)| seq)
}

fn kind(text: &str) -> Option<Condition> {
    let kind = match text.to_ascii_lowercase().as_str() {
        "http" => ExchangeKind::Http,
        "websocket" | "ws" => ExchangeKind::WebSocket,
        "upgrade" => ExchangeKind::Upgrade,
        "tunnel" => ExchangeKind::Tunnel,
        _ => return None,
    };
    Some(Condition::Kind(kind))
}

fn is(text: &str) -> Option<Condition> {
    let status = |from, to| Condition::Number(NumberField::Status, from, to);
    let scheme = |name| Condition::Text(TextField::Scheme, Pattern::equals(name));
    let failed = Condition::State(StateFilter::Failed);
    Some(match text.to_ascii_lowercase().as_str() {
        "failed" => failed,
        "error" => Condition::Any(vec![failed, status(400, u64::MAX)]),
        "ok" => status(200, 299),
        "redirect" => status(300, 399),
        "open" => Condition::State(StateFilter::Open),
        "ended" => Condition::Not(Box::new(Condition::State(StateFilter::Open))),
        "mock" => Condition::State(StateFilter::Mock),
        "http" => scheme("http"),
        "https" => scheme("https"),
        "upgrade" => Condition::Kind(ExchangeKind::Upgrade),
        "tunnel" => Condition::Kind(ExchangeKind::Tunnel),
        "websocket" | "ws" => Condition::Kind(ExchangeKind::WebSocket),
        _ => return None,
    })
}

fn has(text: &str) -> Option<Condition> {
    let some = |field| Condition::Number(field, 1, u64::MAX);
    Some(match text.to_ascii_lowercase().as_str() {
        "response" => some(NumberField::Status),
        "body" => Condition::Any(vec![some(NumberField::RequestBytes), some(NumberField::ResponseBytes)]),
        "request-body" | "req.body" => some(NumberField::RequestBytes),
        "response-body" | "resp.body" => some(NumberField::ResponseBytes),
        "messages" => some(NumberField::Messages),
        "failure" => Condition::State(StateFilter::Failed),
        "cookie" => {
            let header =
                |side, name: &str| Condition::Header { side: Some(side), name: name.to_owned(), value: None };
            Condition::Any(vec![
                header(BodySide::Request, "cookie"),
                header(BodySide::Response, "set-cookie"),
            ])
        }
        _ => return None,
    })
}

fn version(text: &str) -> Option<Condition> {
    let number = text.to_ascii_lowercase();
    let number = number.trim_start_matches("http/").trim_start_matches('h');
    let version = match number {
        "0.9" => "HTTP/0.9",
        "1.0" => "HTTP/1.0",
        "1" | "1.1" => "HTTP/1.1",
        "2" | "2.0" => "HTTP/2",
        "3" | "3.0" => "HTTP/3",
        _ => return None,
    };
    Some(Condition::Text(TextField::HttpVersion, Pattern::equals(version)))
}

/// Why a value is none for its field, and what would be one.
fn refused(field: &Field, text: &str) -> String {
    let text: String = text.chars().take(40).collect();
    let listed = match field.kind {
        FieldKind::Is => Some(IS),
        FieldKind::Has => Some(HAS),
        FieldKind::Kind => Some(KINDS),
        _ => None,
    };
    match listed {
        Some(values) => format!("`{}` is one of {}; {text:?} is not", field.name, values.join(", ")),
        None => format!("`{}` cannot be {text:?}; write {}", field.name, example(field)),
    }
}

fn example(field: &Field) -> &'static str {
    match field.kind {
        FieldKind::Status => "one like 404, a class like 5xx, a comparison like >=400 or a span like 200-299",
        FieldKind::Count(_) => "a number, a comparison like >=10 or a span like 10-20",
        FieldKind::Bytes(_) => "a size like 100kb or 2MiB, a comparison like >1mb or a span like 1kb-2kb",
        FieldKind::Span(_) => "milliseconds, a time like 1.5s, a comparison like >200 or a span like 100-200",
        FieldKind::Since | FieldKind::Until => {
            "an age like 10m, a time like 09:30, a date like 2026-01-31, 2026-01-31T09:30Z or an id like e412"
        }
        FieldKind::Seq => "an id like e412, a comparison like >e400 or a span like e400-e500",
        FieldKind::Session => "a session's id like s3",
        FieldKind::Version => "1.0, 1.1, 2 or 3",
        FieldKind::Header(_) | FieldKind::Cookie | FieldKind::Parameter => {
            "its name behind the colon, or behind a dot with a value, like header.accept:json"
        }
        _ => "a text behind `:`, `=` or `~`",
    }
}
