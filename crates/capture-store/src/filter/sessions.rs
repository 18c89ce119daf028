//! One-line filters of sessions: `tag:login kind:named since:2d -state:stopped`.

use std::{ops::Range, time::SystemTime};

use super::{
    FilterError,
    lexer::Operator,
    value::{self, bytes, count},
};
use crate::{
    id::SessionId,
    session::{SessionInfo, SessionKind, SessionState},
};

/// Terms of one filter at most.
const MAX_TERMS: usize = 64;

/// Which sessions; all terms must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionFilter {
    terms: Vec<Term>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    negated: bool,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    /// In the name or the comment.
    Text(String),
    Name(String),
    Comment(String),
    Tag(String),
    Id(SessionId),
    Kind(SessionKind),
    State(SessionState),
    Since(SystemTime),
    Before(SystemTime),
    Exchanges(u64, u64),
    Bytes(u64, u64),
}

/// A field, what it is for, and how its value is read.
struct Field {
    name: &'static str,
    read: fn(&str, SystemTime) -> Option<Test>,
    /// What is to be written.
    form: &'static str,
}

const FIELDS: [Field; 10] = [
    Field {
        name: "name",
        read: |text, _| Some(Test::Name(text.to_lowercase())),
        form: "text the name contains",
    },
    Field {
        name: "comment",
        read: |text, _| Some(Test::Comment(text.to_lowercase())),
        form: "text the comment contains",
    },
    Field { name: "tag", read: |text, _| Some(Test::Tag(text.to_lowercase())), form: "a tag" },
    Field { name: "id", read: |text, _| text.parse().ok().map(Test::Id), form: "an id like s3" },
    Field { name: "kind", read: |text, _| kind(text).map(Test::Kind), form: "scratch, named or imported" },
    Field {
        name: "state",
        read: |text, _| state(text).map(Test::State),
        form: "active, full, stopped or recovered",
    },
    Field {
        name: "since",
        read: |text, now| value::time(text, now).map(Test::Since),
        form: "an age like 2d, or a date",
    },
    Field {
        name: "before",
        read: |text, now| value::time(text, now).map(Test::Before),
        form: "an age like 2d, or a date",
    },
    Field {
        name: "exchanges",
        read: |text, _| number(text, count).map(|(least, most)| Test::Exchanges(least, most)),
        form: "a number, a comparison like >=100, or a span",
    },
    Field {
        name: "size",
        read: |text, _| number(text, bytes).map(|(least, most)| Test::Bytes(least, most)),
        form: "a size like >10mb",
    },
];

fn number(text: &str, unit: value::Unit) -> Option<(u64, u64)> {
    value::span(Operator::Natural, text, unit, 1)
}

fn kind(text: &str) -> Option<SessionKind> {
    Some(match text.to_ascii_lowercase().as_str() {
        "scratch" | "unnamed" => SessionKind::Scratch,
        "named" => SessionKind::Named,
        "imported" => SessionKind::Imported,
        _ => return None,
    })
}

fn state(text: &str) -> Option<SessionState> {
    Some(match text.to_ascii_lowercase().as_str() {
        "active" => SessionState::Active,
        "full" => SessionState::Full,
        "stopped" => SessionState::Stopped,
        "recovered" => SessionState::Recovered,
        _ => return None,
    })
}

impl SessionFilter {
    /// Reads a filter: terms side by side, each `field:value` or a text that the name or the comment contains; `-` before
    /// one negates it, quotes keep spaces. The fields are `name`, `comment`, `tag`, `id`, `kind`, `state`, `since`, `before`,
    /// `exchanges` and `size`.
    ///
    /// # Errors
    /// When it cannot be read; the error says where.
    pub fn parse(filter: &str) -> Result<Self, FilterError> {
        Self::parse_at(filter, SystemTime::now())
    }

    /// The same, with ages counted from `now`.
    ///
    /// # Errors
    /// As for [`parse`](Self::parse).
    pub fn parse_at(filter: &str, now: SystemTime) -> Result<Self, FilterError> {
        let mut terms = Vec::new();
        for word in words(filter)? {
            if terms.len() >= MAX_TERMS {
                let message = format!("there are more than {MAX_TERMS} terms");
                return Err(FilterError::new(filter, word.span, message));
            }
            terms.push(term(filter, &word, now)?);
        }
        Ok(Self { terms })
    }

    /// Whether a session is what is asked for.
    #[must_use]
    pub fn admits(&self, session: &SessionInfo) -> bool {
        self.terms.iter().all(|term| term.test.holds(session) != term.negated)
    }
}

impl Test {
    fn holds(&self, session: &SessionInfo) -> bool {
        let contains = |text: &Option<String>, part: &str| {
            text.as_ref().is_some_and(|text| text.to_lowercase().contains(part))
        };
        match self {
            Self::Text(part) => contains(&session.name, part) || contains(&session.comment, part),
            Self::Name(part) => contains(&session.name, part),
            Self::Comment(part) => contains(&session.comment, part),
            Self::Tag(tag) => session.tags.iter().any(|own| own.to_lowercase() == *tag),
            Self::Id(id) => session.id == *id,
            Self::Kind(kind) => session.kind == *kind,
            Self::State(state) => session.state == *state,
            Self::Since(time) => session.started_at >= *time,
            Self::Before(time) => session.started_at < *time,
            Self::Exchanges(least, most) => (*least..=*most).contains(&session.exchanges),
            Self::Bytes(least, most) => (*least..=*most).contains(&session.bytes),
        }
    }
}

/// A word of a filter without its quotes.
struct Word {
    text: String,
    span: Range<usize>,
    /// Where its value begins, in `text`; none where it has no field.
    value: Option<usize>,
}

fn words(filter: &str) -> Result<Vec<Word>, FilterError> {
    let mut words: Vec<Word> = Vec::new();
    let mut word: Option<Word> = None;
    let mut quote: Option<(char, usize)> = None;
    for (at, letter) in filter.char_indices() {
        if quote.is_none() && letter.is_whitespace() {
            words.extend(word.take());
            continue;
        }
        let current = word.get_or_insert_with(|| Word { text: String::new(), span: at..at, value: None });
        current.span.end = at + letter.len_utf8();
        match (quote, letter) {
            (Some((open, _)), letter) if letter == open => quote = None,
            (None, '"' | '\'') => {
                // What is quoted from its beginning has no field.
                current.value.get_or_insert(current.text.len());
                quote = Some((letter, at));
            }
            (None, ':') if current.value.is_none() => {
                current.text.push(letter);
                current.value = Some(current.text.len());
            }
            (_, letter) => current.text.push(letter),
        }
    }
    if let Some((_, at)) = quote {
        return Err(FilterError::new(filter, at..at + 1, "this quote is never closed"));
    }
    words.extend(word);
    Ok(words)
}

fn term(filter: &str, word: &Word, now: SystemTime) -> Result<Term, FilterError> {
    let fail = |message: String| Err(FilterError::new(filter, word.span.clone(), message));
    let (name, value) = word.text.split_at(word.value.unwrap_or(0));
    let (negated, name) = match name.strip_prefix(['-', '!']) {
        Some(name) => (true, name),
        None => (false, name),
    };
    let Some(name) = name.strip_suffix(':') else {
        let text = format!("{name}{value}");
        let (negated, text) = match text.strip_prefix('-').filter(|_| name.is_empty() && word.value.is_none())
        {
            Some(rest) => (true, rest.to_owned()),
            None => (negated, text),
        };
        if text.is_empty() {
            return fail("a text or a field is wanted here".to_owned());
        }
        return Ok(Term { negated, test: Test::Text(text.to_lowercase()) });
    };
    let known = FIELDS.iter().find(|field| field.name.eq_ignore_ascii_case(name));
    let Some(field) = known else {
        let names: Vec<&str> = FIELDS.iter().map(|field| field.name).collect();
        return fail(format!("sessions have no field {name:?}; there are {}", names.join(", ")));
    };
    match (field.read)(value, now).filter(|_| !value.is_empty()) {
        Some(test) => Ok(Term { negated, test }),
        None => fail(format!("{} wants {}", field.name, field.form)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn session() -> SessionInfo {
        SessionInfo {
            id: SessionId(3),
            name: Some("Login flow".to_owned()),
            kind: SessionKind::Named,
            state: SessionState::Stopped,
            started_at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000),
            ended_at: None,
            exchanges: 120,
            bytes: 5_000_000,
            max_bytes: None,
            max_exchanges: None,
            max_age: None,
            comment: Some("before the fix".to_owned()),
            tags: vec!["Auth".to_owned(), "slow one".to_owned()],
            evicted: 0,
            not_recorded: 0,
            recovery: None,
            last_error: None,
        }
    }

    #[test]
    fn terms_say_which_sessions() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + 3_600);
        for (filter, admits) in [
            ("", true),
            ("login", true),
            ("\"in flow\"", true),
            ("before", true),
            ("logout", false),
            ("-logout", true),
            ("-login", false),
            ("name:LOGIN", true),
            ("name:\"login flow\" tag:auth", true),
            ("comment:fix", true),
            ("comment:flow", false),
            ("tag:auth", true),
            ("tag:aut", false),
            ("tag:\"slow one\"", true),
            ("-tag:auth", false),
            ("!tag:other", true),
            ("id:s3", true),
            ("id:s4", false),
            ("kind:named state:stopped", true),
            ("kind:scratch", false),
            ("-state:active", true),
            ("since:2h", true),
            ("since:30m", false),
            ("before:30m", true),
            ("exchanges:>=100", true),
            ("exchanges:1-100", false),
            ("size:>10mb", false),
            ("size:<10mb", true),
        ] {
            let parsed = SessionFilter::parse_at(filter, now).unwrap();
            assert_eq!(parsed.admits(&session()), admits, "{filter}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_column() {
        for (filter, column, said) in [
            ("login color:red", 7, "sessions have no field \"color\"; there are name, comment"),
            ("kind:big", 1, "kind wants scratch, named or imported"),
            ("a state:", 3, "state wants active"),
            ("since:whenever", 1, "since wants an age like 2d"),
            ("name:\"x", 6, "this quote is never closed"),
            ("a -", 3, "a text or a field is wanted here"),
        ] {
            let error = SessionFilter::parse(filter).unwrap_err();
            assert_eq!(error.column, column, "{filter}: {error}");
            assert!(error.message.starts_with(said), "{filter}: {error}");
        }
    }
}
