//! Outcomes, as they come.

use anyhow::Result;
use capture_store::{Seq, SessionId};
use serde_json::{Value, json};
use traffic_analysis::{
    diff::Difference,
    replay::{Became, Outcome, Prepared, Skip, Summary},
};

use crate::{
    json,
    output::{Out, note},
    progress::Bar,
    text,
};

/// Differences of one response that are printed; the rest is counted.
const SHOWN: usize = 5;

/// Prints outcomes, and how far it came.
pub(crate) struct Printer {
    out: Out,
    bar: Option<Bar>,
    is_json: bool,
    /// Whether what was recorded stays.
    is_kept: bool,
    selected: u64,
    done: u64,
}

impl Printer {
    pub(crate) fn new(is_json: bool, selected: usize, is_kept: bool) -> Self {
        let out = Out::new();
        // Lines on a terminal are progress enough.
        let bar = (!out.is_terminal()).then(|| Bar::counting("replaying"));
        Self { out, bar, is_json, is_kept, selected: selected as u64, done: 0 }
    }

    /// Prints one, at once.
    pub(crate) fn outcome(&mut self, outcome: &Outcome) -> Result<()> {
        self.done += 1;
        if let Some(bar) = &self.bar {
            bar.at(self.done, Some(self.selected));
        }
        if self.is_json {
            return self.out.line_now(json::line(&object(outcome, self.is_kept)));
        }
        self.out.line(line(outcome, self.is_kept))?;
        let differences = outcome.diff.iter().flat_map(|diff| &diff.differences);
        for difference in differences.take(SHOWN) {
            self.out.line(format_args!("    {}", difference_line(difference)))?;
        }
        let total = outcome.diff.as_ref().map_or(0, |diff| diff.total);
        if total > SHOWN as u64 {
            let told = match outcome.seq.filter(|_| self.is_kept) {
                Some(seq) => format!("wirescope diff {} {seq}", outcome.origin),
                None => "--json has them".to_owned(),
            };
            self.out.line(format_args!("    and {} more: {told}", total - SHOWN as u64))?;
        }
        self.out.flush()
    }

    /// Says what became of all.
    pub(crate) fn end(&mut self, summary: &Summary, session: Option<SessionId>) -> Result<()> {
        self.bar = None;
        self.out.flush()?;
        let mut parts = vec![
            format!("{} answered", summary.answered),
            format!("{} as recorded", summary.same),
            format!("{} differ", summary.different),
        ];
        for (count, what) in [
            (summary.other_status, "with another status"),
            (summary.failed, "failed"),
            (summary.skipped, "skipped"),
            (summary.broken_off, "broken off"),
            (summary.not_sent, "not sent any more"),
            (summary.not_recorded, "not recorded"),
        ] {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        let place = session.map(|session| format!("; recorded in {session}")).unwrap_or_default();
        note(format_args!("{} of {}: {}{place}", summary.done(), summary.selected, parts.join(", ")));
        Ok(())
    }
}

fn line(outcome: &Outcome, is_kept: bool) -> String {
    let status = |status: Option<u16>| status.map_or_else(|| "-".to_owned(), |status| status.to_string());
    let seq = outcome.seq.filter(|_| is_kept).map_or_else(|| "-".to_owned(), |seq| seq.to_string());
    let (told, took) = match &outcome.became {
        Became::Skipped(skip) => (format!("skipped: {skip}"), None),
        Became::Failed(failure) => (format!("failed: {failure}"), None),
        Became::Answered(answer) => {
            let told = match outcome.is_same() {
                Some(true) => "same",
                Some(false) => "differs",
                None => "nothing to compare",
            };
            (told.to_owned(), Some(text::duration(answer.took)))
        }
        _ => (String::new(), None),
    };
    let attempts = match outcome.attempts {
        0 | 1 => String::new(),
        attempts => format!(" (attempt {attempts})"),
    };
    let note = outcome.note.as_deref().map(|note| format!(" ({note})")).unwrap_or_default();
    let line = format!(
        "{} {seq}  {}  {} {}  {}{}{attempts}{note}  {}",
        outcome.origin,
        outcome.method,
        status(outcome.was),
        status(outcome.status()),
        told,
        took.map(|took| format!("  {took}")).unwrap_or_default(),
        outcome.url,
    );
    text::harmless(&line).into_owned()
}

/// A difference as a line: `resp.json./name: "ann" | "bob"`.
pub(crate) fn difference_line(difference: &Difference) -> String {
    let side = |value: &Option<String>| value.clone().unwrap_or_else(|| "(none)".to_owned());
    let why = difference.volatile.map(|why| format!("  ({})", why.as_str())).unwrap_or_default();
    let line = format!("{}: {} | {}{why}", difference.place, side(&difference.left), side(&difference.right));
    text::harmless(&line).into_owned()
}

/// A difference as an object.
pub(crate) fn difference_object(difference: &Difference) -> Value {
    let mut object = json!({
        "place": difference.place,
        "left": difference.left,
        "right": difference.right,
    });
    if let Some(why) = difference.volatile {
        object["volatile"] = why.as_str().into();
    }
    object
}

fn object(outcome: &Outcome, is_kept: bool) -> Value {
    let mut object = json!({
        "origin": outcome.origin.to_string(),
        "id": outcome.seq.filter(|_| is_kept).map(|seq| seq.to_string()),
        "method": outcome.method,
        "url": outcome.url,
        "attempts": outcome.attempts,
        "wasStatus": outcome.was,
        "status": outcome.status(),
    });
    match &outcome.became {
        Became::Answered(answer) => {
            object["bodyBytes"] = answer.body_bytes.into();
            object["ms"] = u64::try_from(answer.took.as_millis()).unwrap_or(u64::MAX).into();
        }
        Became::Failed(failure) => {
            object["failure"] = json!({ "code": failure.kind.code(), "detail": failure.detail });
        }
        Became::Skipped(skip) => object["skipped"] = skip.as_str().into(),
        _ => {}
    }
    if let Some(diff) = &outcome.diff {
        object["same"] = diff.is_same().into();
        object["differences"] = diff.differences.iter().map(difference_object).collect();
        object["differencesTotal"] = diff.total.into();
        object["volatile"] = diff.volatile.into();
    }
    if let Some(note) = &outcome.note {
        object["note"] = note.as_str().into();
    }
    object
}

/// What would be sent of an exchange, as a line.
pub(crate) fn planned(seq: Seq, prepared: &Result<Prepared, Skip>, is_json: bool) -> String {
    match (prepared, is_json) {
        (Ok(prepared), true) => json::line(&json!({
            "origin": seq.to_string(),
            "method": prepared.head.method.as_str(),
            "recordedUrl": prepared.recorded_url,
            "url": prepared.head.url(),
            "bodyBytes": prepared.body_bytes,
            "note": prepared.note,
        })),
        (Err(skip), true) => json::line(&json!({ "origin": seq.to_string(), "skipped": skip.as_str() })),
        (Ok(prepared), false) => {
            let body = match prepared.body_bytes {
                0 => String::new(),
                bytes => format!("  with {}", text::size(bytes)),
            };
            let note = prepared.note.as_deref().map(|note| format!(" ({note})")).unwrap_or_default();
            let line = format!("{seq}  {}  {}{body}{note}", prepared.head.method, prepared.head.url());
            text::harmless(&line).into_owned()
        }
        (Err(skip), false) => format!("{seq}  skipped: {skip}"),
    }
}
