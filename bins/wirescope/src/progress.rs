//! Progress of long work, on stderr where a person looks at it.

use std::{borrow::Cow, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};

/// How often a spinner moves.
const TICK: Duration = Duration::from_millis(120);

/// A bar over bytes or entries; nothing where stderr is no terminal. Dropping it removes it.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    /// Counts up to a total that may become known later.
    pub(crate) fn counting(what: &'static str) -> Self {
        Self::styled("{msg} {wide_bar} {human_pos}/{human_len}", what)
    }

    /// Counts bytes.
    pub(crate) fn bytes(what: &'static str) -> Self {
        Self::styled("{msg} {wide_bar} {bytes}/{total_bytes}", what)
    }

    /// Turns while something goes on.
    pub(crate) fn spinner(what: impl Into<Cow<'static, str>>) -> Self {
        let bar = ProgressBar::new_spinner();
        bar.set_message(what);
        bar.enable_steady_tick(TICK);
        Self(bar)
    }

    fn styled(template: &str, what: &'static str) -> Self {
        let bar = ProgressBar::new(0);
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what);
        Self(bar)
    }

    /// Says how far it is.
    pub(crate) fn at(&self, position: u64, total: Option<u64>) {
        if let Some(total) = total {
            self.0.set_length(total);
        }
        self.0.set_position(position);
    }

    /// Says what goes on now.
    pub(crate) fn says(&self, what: impl Into<Cow<'static, str>>) {
        self.0.set_message(what);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
