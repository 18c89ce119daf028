//! The result: a line for each figure, with what is wanted of it.

use std::{fs, time::Duration};

/// What is wanted of a figure.
#[derive(Clone, Copy)]
pub(crate) enum Wanted {
    AtMost(f64),
    AtLeast(f64),
    /// It is told and not judged.
    Nothing,
}

/// Counts what was met.
#[derive(Default)]
pub(crate) struct Table {
    met: u32,
    missed: Vec<String>,
}

impl Table {
    /// A line of the result.
    pub(crate) fn tell(&mut self, what: &str, figure: f64, unit: &str, wanted: Wanted) {
        let (sign, bound, met) = match wanted {
            Wanted::AtMost(bound) => ("<=", bound, figure <= bound),
            Wanted::AtLeast(bound) => (">=", bound, figure >= bound),
            Wanted::Nothing => {
                println!("{what:<52} {} {unit}", digits(figure));
                return;
            }
        };
        let verdict = if met { "met" } else { "MISSED" };
        println!("{what:<52} {} {unit:<10} {sign} {:<8} {verdict}", digits(figure), bound);
        if met {
            self.met += 1;
        } else {
            self.missed.push(what.to_owned());
        }
    }

    /// A duration in milliseconds.
    pub(crate) fn tell_millis(&mut self, what: &str, took: Duration, wanted: Wanted) {
        self.tell(what, took.as_secs_f64() * 1_000.0, "ms", wanted);
    }

    /// The most memory the process had since this was last told.
    pub(crate) fn tell_memory(&mut self, when: &str) {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib: u32 = peak.and_then(|text| text.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0);
        self.tell(
            &format!("memory at its peak, {when}"),
            f64::from(kib) / 1024.0,
            "MiB",
            Wanted::AtMost(200.0),
        );
        // Begins to measure the peak anew (proc(5)); where that cannot be, it is told since the start.
        let _ = fs::write("/proc/self/clear_refs", "5");
    }

    /// The last lines.
    pub(crate) fn close(&self) {
        println!("{} of {} met", self.met, self.met as usize + self.missed.len());
        for missed in &self.missed {
            println!("missed: {missed}");
        }
    }
}

fn digits(figure: f64) -> String {
    if figure >= 1_000.0 { format!("{figure:>12.0}") } else { format!("{figure:>12.2}") }
}

/// Processor time of this process so far, all threads.
pub(crate) fn processor_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Fields 14 and 15 of proc(5), in hundredths of a second, counted after the command's name.
    let fields: Vec<&str> =
        stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}
