//! What a proxy's owner changes while it runs: rules, and exchanges paused at them.

use crate::{breakpoints::Breakpoints, proxy::ProxyBuilder, rules::Rules};

/// The handles by which a running proxy is changed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Changes {
    pub(crate) rules: Rules,
    pub(crate) breakpoints: Breakpoints,
}

impl ProxyBuilder {
    /// Runs these rules on every exchange, before the interceptors. The handle is kept: edits through its clones apply
    /// to the exchanges that begin after them, and touch no connection.
    pub fn rules(mut self, rules: Rules) -> Self {
        self.changes.rules = rules;
        self
    }

    /// Lists the exchanges that rules pause in this handle, from which they are resumed.
    pub fn breakpoints(mut self, breakpoints: Breakpoints) -> Self {
        self.changes.breakpoints = breakpoints;
        self
    }
}
