//! Where state lives when nobody says.

use std::path::PathBuf;

/// The platform's place for a program's state: `$XDG_STATE_HOME/wirescope` or `~/.local/state/wirescope`,
/// `~/Library/Application Support/wirescope` on macOS, `%LOCALAPPDATA%\wirescope` on Windows.
pub(crate) fn default_directory() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = if cfg!(windows) {
        variable("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        variable("HOME").map(|home| home.join("Library").join("Application Support"))
    } else {
        // The specification has relative paths ignored.
        variable("XDG_STATE_HOME")
            .filter(|path| path.is_absolute())
            .or_else(|| variable("HOME").map(|home| home.join(".local").join("state")))
    };
    base.map(|base| base.join("wirescope"))
}
