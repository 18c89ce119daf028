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

/// How long something took.
#[derive(Clone, Copy)]
pub(crate) struct Took {
    pub(crate) elapsed: Duration,
    /// Processor time, of all threads: told in hundredths of a second, so for several rounds together.
    pub(crate) worked: Duration,
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
                println!("{what:<78} {} {unit}", digits(figure));
                return;
            }
        };
        let verdict = if met { "met" } else { "MISSED" };
        println!("{what:<78} {} {unit:<10} {sign} {:<8} {verdict}", digits(figure), bound);
        if met {
            self.met += 1;
        } else {
            self.missed.push(what.to_owned());
        }
    }

    /// How long an answer took, and what of that on processors.
    pub(crate) fn tell_answer(&mut self, what: &str, took: Took, wanted: Wanted) {
        let what = format!("{what} [{:.1} ms of processors]", took.worked.as_secs_f64() * 1_000.0);
        self.tell(&what, took.elapsed.as_secs_f64() * 1_000.0, "ms", wanted);
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

/// Processor time so far of the threads of this process that are called so.
pub(crate) fn thread_time(name: &str) -> Duration {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let ours = tasks
        .filter(|task| fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim() == name));
    // The first number is nanoseconds on a processor (proc(5), /proc/pid/schedstat).
    let nanos = ours.filter_map(|task| {
        let told = fs::read_to_string(task.path().join("schedstat")).ok()?;
        told.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
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
