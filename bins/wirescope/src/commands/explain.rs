//! `explain`: why an exchange failed.

use anyhow::Result;
use capture_store::Seq;
use clap::Args;
use traffic_analysis::explain::{self, Explanation};

use crate::{output::Out, place::Place, text};

/// Explains why an exchange failed: the cause, what tells it, and what helps.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The exchange, like e412.
    #[arg(value_name = "ID")]
    exchange: Seq,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments, place: &Place) -> Result<()> {
    let store = place.store_to_read()?;
    let told = explain::exchange(&store, arguments.exchange)?;
    let mut out = Out::new();
    out.line(text::harmless(&told.summary))?;
    for line in details(&told) {
        out.line(line)?;
    }
    out.flush()
}

/// What is told of a cause beside its summary: a line each, aligned.
pub(super) fn details(told: &Explanation) -> Vec<String> {
    let at: Vec<&str> = [told.side, told.phase].into_iter().flatten().collect();
    let at = if at.is_empty() { String::new() } else { format!(", {}", at.join(", ")) };
    let mut lines = vec![format!("  cause:    {} ({}{at})", told.cause.code(), told.certainty.as_str())];
    lines.extend(told.evidence.iter().map(|line| format!("  evidence: {}", text::harmless(line))));
    if let Some(body) = &told.body {
        let field = |(pointer, value): &(String, String)| {
            format!("  body:     {}: {}", text::harmless(pointer), text::harmless(value))
        };
        lines.extend(body.fields.iter().map(field));
        lines.extend(body.text.iter().map(|said| format!("  body:     {}", text::harmless(said))));
    }
    lines.extend(told.fixes.iter().map(|line| format!("  helps:    {}", text::harmless(line))));
    lines
}
