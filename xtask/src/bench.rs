//! What the proxy costs: requests, CPU time and memory, through it and directly.

mod gauge;
mod scenario;
mod tools;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use self::scenario::{SCENARIOS, Sample, Scenario, Way};
use crate::{process, repo::Repo};

/// How long and how often to measure.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: Option<What>,
    /// Letters of the scenarios: A keep-alive, B handshakes, C download, D cleartext, E HTTP/2, F latency, G idle tunnels,
    /// H much captured [default: all].
    #[arg(long, value_name = "LETTERS", default_value = "ABCDEFGH")]
    scenario: String,
    /// Seconds each measurement lasts.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Measurements of each kind; the median by requests per second is told.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Measure what is shipped: a build that takes several times as long.
    #[arg(long)]
    dist: bool,
}

/// What else is measured.
#[derive(clap::Subcommand)]
enum What {
    /// Measures a store: ingest, questions and search at size, against what is wanted of each.
    Store {
        /// How many exchanges it is filled with.
        #[arg(long, default_value_t = 1_000_000)]
        exchanges: u64,
        /// Make the store there and leave it; where there is one of as many exchanges, ask that. A million take 4 GB.
        #[arg(long, value_name = "DIR")]
        keep: Option<PathBuf>,
        /// Leave large bodies aside, which write 2 GiB.
        #[arg(long)]
        no_large: bool,
    },
    /// Measures how fast tools of wirescope-mcp answer about much traffic while more comes, against what is wanted.
    Tools(tools::Arguments),
    /// Measures HAR out of and into a store, against what is wanted of each.
    Har {
        /// How many exchanges it is filled with.
        #[arg(long, default_value_t = 1_000_000)]
        exchanges: u64,
    },
}

/// Measures a store in a process of its own, whose memory is told too.
fn store(repo: &Repo, exchanges: u64, keep: Option<&Path>, no_large: bool) -> Result<()> {
    let measure = ["run", "--release", "--locked", "-p", "capture-store", "--example", "bench", "--"];
    let mut command = repo.cargo();
    command.args(measure).args(["--exchanges", &exchanges.to_string()]);
    if let Some(directory) = keep {
        command.arg("--keep").arg(directory);
    }
    if no_large {
        command.arg("--no-large");
    }
    process::run(&mut command)
}

/// Measures HAR in processes of its own, whose memory is told too.
fn har(repo: &Repo, exchanges: u64) -> Result<()> {
    let measure = ["run", "--release", "--locked", "-p", "har-export", "--example", "bench", "--"];
    process::run(repo.cargo().args(measure).arg(exchanges.to_string()))
}

/// Measures every scenario over every way, each process on its own.
pub(crate) fn run(repo: &Repo, arguments: &Arguments) -> Result<()> {
    match &arguments.what {
        Some(What::Store { exchanges, keep, no_large }) => {
            return store(repo, *exchanges, keep.as_deref(), *no_large);
        }
        Some(What::Har { exchanges }) => return har(repo, *exchanges),
        Some(What::Tools(arguments)) => return tools::run(repo, arguments),
        None => {}
    }
    if !Path::new("/proc/self/stat").exists() {
        return Err(process::Missing(vec!["Linux, whose /proc tells a process's CPU time".to_owned()]).into());
    }
    let profile = if arguments.dist { "dist" } else { "release" };
    let build = ["build", "--profile", profile, "--locked", "-p", "wirescope", "-p", "testkit"];
    process::run(repo.cargo().args(build))?;
    let binaries = repo.target()?.join(profile);
    println!("On loopback, {profile} build; {} s, median of {}", arguments.seconds, arguments.rounds);
    for scenario in SCENARIOS.iter().filter(|scenario| arguments.wants(scenario)) {
        println!("\n{}: {}\n", scenario.letter, scenario.title);
        println!(
            "| way | requests/s | of direct | MB/s | p50 | p99 | proxy CPU s per 1,000 | proxy peak MB |"
        );
        println!("|---|---:|---:|---:|---:|---:|---:|---:|");
        let mut direct = None;
        for way in scenario.ways {
            let sample = median(&binaries, scenario, *way, arguments)
                .with_context(|| format!("{}, {}", scenario.letter, way.name()))?;
            if *way == Way::Direct {
                direct = Some(sample.rate());
            }
            println!("{}", row(way.name(), &sample, direct));
            sample.note.iter().for_each(|note| println!("\n{note}\n"));
        }
    }
    Ok(())
}

impl Arguments {
    fn wants(&self, scenario: &Scenario) -> bool {
        self.scenario.to_ascii_uppercase().contains(scenario.letter)
    }
}

fn row(name: &str, sample: &Sample, direct: Option<f64>) -> String {
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let share = or_none(direct.map(|direct| format!("{:.0} %", sample.rate() / direct * 100.0)));
    let cpu = or_none(sample.cpu_per_thousand().map(|cpu| format!("{cpu:.4}")));
    let peak = or_none(sample.peak_kib.map(|kib| format!("{:.1}", kib as f64 / 1024.0)));
    let (rate, speed) = (sample.rate(), sample.bytes as f64 / sample.seconds / 1e6);
    let (p50, p99) = (sample.p50_us, sample.p99_us);
    format!("| {name} | {rate:.0} | {share} | {speed:.0} | {p50} us | {p99} us | {cpu} | {peak} |")
}

fn median(binaries: &Path, scenario: &Scenario, way: Way, arguments: &Arguments) -> Result<Sample> {
    let binaries = Binaries(binaries.to_owned());
    let mut samples = Vec::new();
    for _ in 0..arguments.rounds.max(1) {
        samples.push(scenario.measure(&binaries, way, arguments.seconds)?);
    }
    samples.sort_by(|a, b| a.rate().total_cmp(&b.rate()));
    samples.get(samples.len() / 2).cloned().context("no sample")
}

/// The directory of what was built.
struct Binaries(PathBuf);

impl Binaries {
    fn command(&self, name: &str) -> std::process::Command {
        std::process::Command::new(self.0.join(name))
    }
}

/// The address in `listening on http://127.0.0.1:PORT`.
pub(crate) fn address(ready: &str) -> Result<&str> {
    ready
        .rsplit_once("http://")
        .map(|(_, address)| address.trim())
        .context("the proxy did not say where it listens")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_tells_rate_share_and_cost() {
        let told = r#"{"requests":10000,"seconds":2.0,"bytes":10240000,"p50_us":300,"p99_us":900}"#;
        let sample = Sample { proxy_cpu: Some(1.5), peak_kib: Some(2048), ..Sample::read(told).unwrap() };
        assert_eq!(
            row("proxy", &sample, Some(10_000.0)),
            "| proxy | 5000 | 50 % | 5 | 300 us | 900 us | 0.1500 | 2.0 |"
        );
        let direct = Sample::read(told).unwrap();
        assert_eq!(row("direct", &direct, None), "| direct | 5000 | - | 5 | 300 us | 900 us | - | - |");
    }

    #[test]
    fn address_is_read_from_the_ready_line() {
        assert_eq!(address("listening on http://127.0.0.1:8080").unwrap(), "127.0.0.1:8080");
        assert!(address("something else").is_err());
    }
}
