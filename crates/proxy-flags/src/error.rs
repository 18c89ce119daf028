//! Why flags cannot be followed.

use std::{error::Error, fmt};

/// Why flags cannot be followed: what was asked for is no use, or a file it names is not.
///
/// Its text is a fragment that fits after "failed to", and names the flag.
#[derive(Debug)]
pub struct FlagError {
    text: String,
    usage: bool,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl FlagError {
    /// What is asked for cannot be, whatever the machine looks like.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self { text: text.into(), usage: true, source: None }
    }

    /// As [`usage`](Self::usage), with what was found wrong.
    pub(crate) fn usage_of(text: &str, error: impl Error + Send + Sync + 'static) -> Self {
        Self { text: text.to_owned(), usage: true, source: Some(Box::new(error)) }
    }

    /// Something did not work that might another time.
    pub(crate) fn failed(text: impl Into<String>, error: impl Error + Send + Sync + 'static) -> Self {
        Self { text: text.into(), usage: false, source: Some(Box::new(error)) }
    }

    /// Whether another command line is the way out, rather than another state of the machine.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        self.usage
    }

    /// The same, in the course of something larger.
    pub(crate) fn within(mut self, text: &str) -> Self {
        self.text = format!("{text}: {}", self.text);
        self
    }
}

impl fmt::Display for FlagError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for FlagError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|error| error as &(dyn Error + 'static))
    }
}
