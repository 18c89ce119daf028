//! What the process holds: tasks, descriptors, memory.

use std::{
    fmt, fs,
    time::{Duration, Instant},
};

use tokio::{runtime::Handle, time::sleep};

/// How long to wait for what is on its way out.
const PATIENCE: Duration = Duration::from_secs(40);

/// One look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gauge {
    pub(crate) tasks: usize,
    pub(crate) descriptors: usize,
    pub(crate) resident_mib: u64,
}

impl Gauge {
    pub(crate) fn read() -> Self {
        Self {
            tasks: Handle::current().metrics().num_alive_tasks(),
            // The directory that is read is one of them, each time.
            descriptors: fs::read_dir("/proc/self/fd").map_or(0, Iterator::count),
            resident_mib: resident_kib().unwrap_or(0) / 1024,
        }
    }

    /// Waits until no more tasks and descriptors are held than `before`, or until patience ends.
    pub(crate) async fn settled(before: Self) -> Self {
        let began = Instant::now();
        loop {
            let now = Self::read();
            let is_back = now.tasks <= before.tasks && now.descriptors <= before.descriptors;
            if is_back || began.elapsed() > PATIENCE {
                return now;
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
}

impl fmt::Display for Gauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tasks, {} descriptors, {} MiB", self.tasks, self.descriptors, self.resident_mib)
    }
}

fn resident_kib() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}
