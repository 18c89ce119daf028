//! What an argument names: an exchange, a session, or the newest session.

use std::str::FromStr;

use anyhow::{Context as _, Result};
use capture_store::{Seq, SessionId, Store};

/// A session as people name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionName {
    /// By its id.
    Id(SessionId),
    /// The one that began last.
    Last,
}

/// A session or an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Exchange(Seq),
    Session(SessionName),
}

impl FromStr for SessionName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "last" | "latest" => Ok(Self::Last),
            text => text.parse().map(Self::Id).map_err(|_| {
                "not a session id; write one like s3, or `last` (`wirescope sessions` lists them)".to_owned()
            }),
        }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with(['s', 'l'])
            && let Ok(session) = text.parse()
        {
            return Ok(Self::Session(session));
        }
        text.parse().map(Self::Exchange).map_err(|_| {
            "not an id; write an exchange's like e412, a session's like s3, or `last` for the newest session".to_owned()
        })
    }
}

impl SessionName {
    /// The session's id; the newest is asked of the store.
    pub(crate) fn resolve(self, store: &Store) -> Result<SessionId> {
        match self {
            Self::Id(id) => Ok(id),
            Self::Last => {
                let sessions = store.sessions()?;
                let newest = sessions.first().context(
                    "find the last session: the store has none yet; `wirescope run` and `wirescope exec` record one",
                )?;
                Ok(newest.id)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_name_what_they_say_and_nothing_else_is_one() {
        assert_eq!("e412".parse(), Ok(Target::Exchange(Seq(412))));
        assert_eq!("412".parse(), Ok(Target::Exchange(Seq(412))));
        assert_eq!("s3".parse(), Ok(Target::Session(SessionName::Id(SessionId(3)))));
        assert_eq!("last".parse(), Ok(Target::Session(SessionName::Last)));
        assert_eq!("latest".parse(), Ok(SessionName::Last));
        for bad in ["", "../s1", "e1/../..", "session", "s", "e-1", "lasts"] {
            assert!(bad.parse::<Target>().is_err(), "{bad}");
        }
        assert!("e3".parse::<SessionName>().is_err());
    }
}
