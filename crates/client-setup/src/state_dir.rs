//! Where a user's wirescope keeps what outlives a run.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use crate::error::{Error, ErrorKind};

/// The directory of one user's state: the CA, the recordings, and the files clients read. Nothing is created here;
/// those who use a part of it make it, private.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateDir(PathBuf);

impl StateDir {
    /// Takes this directory.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self(directory.into())
    }

    /// The platform's place for a user's state, as the variables that `env` answers for have it:
    /// `$XDG_STATE_HOME/wirescope` or `~/.local/state/wirescope`, on macOS
    /// `~/Library/Application Support/wirescope`, on Windows `%LOCALAPPDATA%\wirescope`.
    ///
    /// # Errors
    /// When the variables name no home.
    pub fn of_user(env: impl Fn(&str) -> Option<OsString>) -> Result<Self, Error> {
        let path = |name: &str| env(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let base = if cfg!(windows) {
            path("LOCALAPPDATA")
                .or_else(|| path("USERPROFILE").map(|home| home.join("AppData").join("Local")))
        } else if cfg!(target_os = "macos") {
            path("HOME").map(|home| home.join("Library").join("Application Support"))
        } else {
            // Relative paths in XDG variables are to be ignored (XDG Base Directory Specification, "Environment variables").
            path("XDG_STATE_HOME").or_else(|| path("HOME").map(|home| home.join(".local").join("state")))
        };
        base.map(|base| Self(base.join("wirescope"))).ok_or_else(|| Error::new(ErrorKind::NoHome))
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where the CA is kept.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.0.join("ca")
    }

    /// Where recordings are kept when nothing else is asked for.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.0.join("store")
    }

    /// Where [`ClientSetup`](crate::ClientSetup) keeps the files clients read.
    #[must_use]
    pub fn clients(&self) -> PathBuf {
        self.0.join("clients")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(all(unix, not(target_os = "macos")))]
    #[test]
    fn state_is_where_the_platform_keeps_it() {
        for (variables, expected) in [
            (vec![("HOME", "/h")], Some("/h/.local/state/wirescope")),
            (vec![("HOME", "/h"), ("XDG_STATE_HOME", "/x")], Some("/x/wirescope")),
            (vec![("HOME", "/h"), ("XDG_STATE_HOME", "relative")], Some("/h/.local/state/wirescope")),
            (vec![("HOME", "")], None),
            (vec![], None),
        ] {
            let env = |name: &str| {
                variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
            };
            let found = StateDir::of_user(env).ok();
            assert_eq!(found.as_ref().map(StateDir::path), expected.map(Path::new), "{variables:?}");
        }
    }
}
