//! What a HAR file is to hold, and how it is written.

use std::{path::Path, str::FromStr};

use capture_store::secrets::Secrets;
use clap::Args;
use har_export::{BodyLevel, ExportOptions, ExportSummary};

use crate::{failure::Usage, output::note, text};

/// Names of hidden credentials told one by one.
const MAX_TOLD: usize = 20;

/// Flags of HAR files.
#[derive(Args)]
pub(crate) struct HarArguments {
    /// Which bodies to write: all, text, none, or those up to a size like 64kB; what is left out keeps its size.
    #[arg(long, value_name = "WHICH", default_value = "all")]
    bodies: Bodies,
    /// Leave bodies out, as --bodies none.
    #[arg(long, conflicts_with = "bodies")]
    no_bodies: bool,
    /// Pack the file with gzip; goes without saying where its name ends in .gz.
    #[arg(long)]
    gzip: bool,
    /// Begin a new file before one gets longer than this, like 100MB; their names get a number.
    #[arg(long, value_name = "SIZE")]
    split: Option<Size>,
    /// Hide credentials: authorization, cookies, tokens in URLs, forms and JSON by name and by shape; says what was hidden.
    #[arg(long)]
    redact: bool,
    /// Hide what has this name, too (header, cookie, parameter, JSON member); repeatable.
    #[arg(long, value_name = "NAME")]
    redact_name: Vec<String>,
}

impl HarArguments {
    /// The options for a file, or for stdout.
    pub(crate) fn options(&self, out: &Path) -> anyhow::Result<ExportOptions> {
        let is_stdout = out == Path::new("-");
        let mut options = ExportOptions::default();
        options.bodies = if self.no_bodies { BodyLevel::None } else { self.bodies.0 };
        let named_gz = out.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gz"));
        options.gzip = self.gzip || (named_gz && !is_stdout);
        if self.split.is_some() && is_stdout {
            return Err(Usage::error("write --split: stdout is one file; name a file with --out"));
        }
        options.split_bytes = self.split.map(|size| size.0);
        if self.redact || !self.redact_name.is_empty() {
            let secrets = self.redact_name.iter().fold(Secrets::default(), |list, name| list.with_name(name));
            options.redact = Some(secrets);
        }
        Ok(options)
    }

    /// Whether bodies are written in a format that knows nothing else of this.
    pub(crate) fn plain(&self) -> anyhow::Result<bool> {
        let refused = [
            (self.redact || !self.redact_name.is_empty(), "--redact"),
            (self.gzip, "--gzip"),
            (self.split.is_some(), "--split"),
            (!matches!(self.bodies.0, BodyLevel::All | BodyLevel::None), "--bodies with a size or text"),
        ];
        match refused.into_iter().find(|(given, _)| *given) {
            Some((_, flag)) => Err(Usage::error(format!("export with {flag}: only --format har knows it"))),
            None => Ok(!self.no_bodies && self.bodies.0 == BodyLevel::All),
        }
    }

    /// Tells what was left out and hidden.
    pub(crate) fn tell(&self, summary: &ExportSummary) {
        for (count, what) in [
            (summary.open, "still open, written as they stood"),
            (summary.tunnels_left_out, "tunnels left out"),
            (summary.bodies_left_out, "bodies left out"),
            (summary.vanished, "evicted or deleted meanwhile"),
            (summary.undecodable, "bodies written undecoded: their content coding could not be taken off"),
            (summary.not_redacted, "bodies that are no text, not looked through for credentials"),
            (summary.too_long_to_redact, "bodies left out, too long to be looked through for credentials"),
        ] {
            if count > 0 {
                note(format_args!("  {count} {what}"));
            }
        }
        if !self.redact && self.redact_name.is_empty() {
            return;
        }
        let total: u64 = summary.redacted.iter().map(|hidden| hidden.count).sum();
        note(format_args!("  {total} credentials hidden"));
        for hidden in summary.redacted.iter().take(MAX_TOLD) {
            let name = text::one_line(&hidden.name);
            note(format_args!("    {} {} {name}", hidden.count, hidden.kind.as_str()));
        }
        let untold = summary.redacted.len().saturating_sub(MAX_TOLD);
        if untold > 0 {
            note(format_args!("    and {untold} more names"));
        }
    }
}

/// `all`, `text`, `none`, or a size.
#[derive(Clone, Copy)]
struct Bodies(BodyLevel);

impl FromStr for Bodies {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(Self(match text {
            "all" => BodyLevel::All,
            "text" => BodyLevel::Text,
            "none" => BodyLevel::None,
            size => match Size::from_str(size) {
                Ok(Size(bytes)) => BodyLevel::UpTo(bytes),
                Err(_) => return Err("all, text, none, or a size like 64kB".to_owned()),
            },
        }))
    }
}

/// A size in bytes: `500000`, `64kB`, `100MB`, `2GB`, `16MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Size(u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const UNITS: [(&str, u64); 10] = [
            ("kib", 1 << 10),
            ("mib", 1 << 20),
            ("gib", 1 << 30),
            ("kb", 1_000),
            ("mb", 1_000_000),
            ("gb", 1_000_000_000),
            ("k", 1_000),
            ("m", 1_000_000),
            ("g", 1_000_000_000),
            ("b", 1),
        ];
        let lower = text.trim().to_ascii_lowercase();
        let (number, unit) = UNITS
            .iter()
            .find_map(|(name, unit)| Some((lower.strip_suffix(name)?, *unit)))
            .unwrap_or((&lower, 1));
        let bytes = number.trim_end().parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
        bytes.filter(|bytes| *bytes > 0).map(Self).ok_or_else(|| "a size like 64kB, 100MB or 2GB".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("1", 1),
            ("64kB", 64_000),
            ("100MB", 100_000_000),
            ("2 GiB", 1 << 31),
            ("5m", 5_000_000),
            ("7b", 7),
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for text in ["", "0", "MB", "-1", "1.5MB", "1TB", "99999999999GB"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }
}
