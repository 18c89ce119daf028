//! `explain`: why an exchange failed.

use anyhow::Result;
use capture_store::Seq;
use clap::Args;
use traffic_analysis::explain;

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
    let at: Vec<&str> = [told.side, told.phase].into_iter().flatten().collect();
    let at = if at.is_empty() { String::new() } else { format!(", {}", at.join(", ")) };
    out.line(text::harmless(&told.summary))?;
    out.line(format_args!("  cause:    {} ({}{at})", told.cause.code(), told.certainty.as_str()))?;
    for line in &told.evidence {
        out.line(format_args!("  evidence: {}", text::harmless(line)))?;
    }
    if let Some(body) = &told.body {
        for (pointer, value) in &body.fields {
            out.line(format_args!("  body:     {}: {}", text::harmless(pointer), text::harmless(value)))?;
        }
        if let Some(said) = &body.text {
            out.line(format_args!("  body:     {}", text::harmless(said)))?;
        }
    }
    for line in &told.fixes {
        out.line(format_args!("  helps:    {}", text::harmless(line)))?;
    }
    out.flush()
}
