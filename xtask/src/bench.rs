//! What the proxy costs: requests per second and CPU time, through it and directly.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{process, repo::Repo, service::Service};

/// How long and how often to measure.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: Option<What>,
    /// Seconds each measurement lasts.
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    /// Measurements of each kind; the median by requests per second is told.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

/// What else is measured.
#[derive(clap::Subcommand)]
enum What {
    /// Measures a store: ingest, questions and search at size, against what is wanted of each.
    Store {
        /// How many exchanges it is filled with.
        #[arg(long, default_value_t = 1_000_000)]
        exchanges: u64,
    },
}

/// Measures a store in a process of its own, whose memory is told too.
fn store(repo: &Repo, exchanges: u64) -> Result<()> {
    let measure = ["run", "--release", "--locked", "-p", "capture-store", "--example", "bench", "--"];
    process::run(repo.cargo().args(measure).arg(exchanges.to_string()))
}

/// A crowd of clients.
struct Crowd {
    name: &'static str,
    connections: u32,
    /// Per connection; 0 means HTTP/1.1.
    streams: u32,
}

const CROWDS: [Crowd; 2] = [
    Crowd { name: "HTTP/1.1, 64 connections", connections: 64, streams: 0 },
    Crowd { name: "HTTP/2, 4 connections x 25 streams", connections: 4, streams: 25 },
];

/// A way to the origin.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Direct,
    /// Through the proxy, recording nothing.
    Relayed,
    /// Through the proxy, recording everything.
    Captured,
}

const WAYS: [(Way, &str); 3] =
    [(Way::Direct, "direct"), (Way::Relayed, "proxy, no capture"), (Way::Captured, "proxy, capture")];

/// How long the proxy must use no CPU to count as having finished its work.
const SETTLED: Duration = Duration::from_millis(300);

/// How often to look before giving up on that.
const MAX_LOOKS: usize = 100;

/// One measurement.
#[derive(Clone, Debug, Default)]
struct Sample {
    requests: u64,
    seconds: f64,
    p50_us: u64,
    p99_us: u64,
    /// CPU time of the proxy, in seconds; none when there is no proxy.
    proxy_cpu: Option<f64>,
}

impl Sample {
    fn rate(&self) -> f64 {
        f64::from(u32::try_from(self.requests).unwrap_or(u32::MAX)) / self.seconds
    }

    fn cpu_per_thousand(&self) -> Option<f64> {
        self.proxy_cpu.map(|cpu| cpu * 1_000.0 / (self.rate() * self.seconds))
    }
}

/// Measures every crowd over every way, with release binaries, each process on its own.
pub(crate) fn run(repo: &Repo, arguments: &Arguments) -> Result<()> {
    if let Some(What::Store { exchanges }) = arguments.what {
        return store(repo, exchanges);
    }
    if !Path::new("/proc/self/stat").exists() {
        return Err(process::Missing(vec!["Linux, whose /proc tells a process's CPU time".to_owned()]).into());
    }
    process::run(repo.cargo().args(["build", "--release", "--locked", "-p", "wirescope", "-p", "testkit"]))?;
    let binaries = repo.target()?.join("release");
    println!(
        "1 KiB answers over HTTPS keep-alive on loopback; {} s, median of {}",
        arguments.seconds, arguments.rounds
    );
    for crowd in &CROWDS {
        println!("\n{}", crowd.name);
        println!("| way | requests/s | of direct | p50 | p99 | proxy CPU s per 1,000 |");
        println!("|---|---:|---:|---:|---:|---:|");
        let mut direct = None;
        for (way, name) in WAYS {
            let sample = median(&binaries, crowd, way, arguments)
                .with_context(|| format!("{}, {name}", crowd.name))?;
            let direct = *direct.get_or_insert(sample.rate());
            println!("{}", row(name, &sample, direct));
        }
    }
    Ok(())
}

fn row(name: &str, sample: &Sample, direct: f64) -> String {
    let cpu = sample.cpu_per_thousand().map_or("-".to_owned(), |cpu| format!("{cpu:.4}"));
    let share = sample.rate() / direct * 100.0;
    let (p50, p99) = (sample.p50_us, sample.p99_us);
    format!("| {name} | {:.0} | {share:.0} % | {p50} us | {p99} us | {cpu} |", sample.rate())
}

fn median(binaries: &Path, crowd: &Crowd, way: Way, arguments: &Arguments) -> Result<Sample> {
    let mut samples = Vec::new();
    for _ in 0..arguments.rounds.max(1) {
        samples.push(measure(binaries, crowd, way, arguments.seconds)?);
    }
    samples.sort_by(|a, b| a.rate().total_cmp(&b.rate()));
    samples.get(samples.len() / 2).cloned().context("no sample")
}

/// Starts an origin, a proxy with an empty store, and a crowd; ends them all.
fn measure(binaries: &Path, crowd: &Crowd, way: Way, seconds: u64) -> Result<Sample> {
    let scratch = tempfile::tempdir()?;
    let origin_ca = scratch.path().join("origin.pem");
    let origin = Service::start(
        Command::new(binaries.join("testkit-peer")).arg("serve").arg("--ca-out").arg(&origin_ca),
    )?;
    let authority = origin.first_line().trim_start_matches("https://").to_owned();
    let mut load = Command::new(binaries.join("testkit-peer"));
    load.args(["load", "--authority", &authority, "--seconds", &seconds.to_string()]);
    load.args(["--connections", &crowd.connections.to_string(), "--streams", &crowd.streams.to_string()]);
    if way == Way::Direct {
        return sample(&process::output(load.arg("--ca").arg(&origin_ca))?, None);
    }
    let proxy = start_proxy(binaries, scratch.path(), &origin_ca, way)?;
    load.arg("--ca").arg(proxy_ca(binaries, scratch.path())?);
    load.args(["--proxy", address(proxy.first_line())?]);
    let before = cpu_seconds(proxy.id())?;
    let told = process::output(&mut load)?;
    let cpu = settled_cpu(proxy.id())? - before;
    proxy.stop()?;
    sample(&told, Some(cpu))
}

fn start_proxy(binaries: &Path, scratch: &Path, origin_ca: &Path, way: Way) -> Result<Service> {
    let mut command = Command::new(binaries.join("wirescope"));
    command.args(["run", "--port", "0", "--upstream-ca"]).arg(origin_ca);
    command.arg("--store").arg(scratch.join("store")).arg("--state-dir").arg(scratch.join("state"));
    if way == Way::Relayed {
        command.arg("--no-capture");
    }
    // Its closing words would stand in the table.
    Service::start(command.stderr(Stdio::null()))
}

/// Where the proxy of `scratch` keeps its CA's certificate.
fn proxy_ca(binaries: &Path, scratch: &Path) -> Result<String> {
    let mut command = Command::new(binaries.join("wirescope"));
    command.args(["ca", "path", "--state-dir"]).arg(scratch.join("state"));
    Ok(process::output(&mut command)?.trim().to_owned())
}

/// The address in `listening on http://127.0.0.1:PORT`.
pub(crate) fn address(ready: &str) -> Result<&str> {
    ready
        .rsplit_once("http://")
        .map(|(_, address)| address.trim())
        .context("the proxy did not say where it listens")
}

fn sample(told: &str, proxy_cpu: Option<f64>) -> Result<Sample> {
    let value: Value = serde_json::from_str(told)?;
    let count = |key: &str| value[key].as_u64().with_context(|| format!("no {key}"));
    let seconds = value["seconds"].as_f64().context("no seconds")?;
    let sample = Sample {
        requests: count("requests")?,
        seconds,
        p50_us: count("p50_us")?,
        p99_us: count("p99_us")?,
        proxy_cpu,
    };
    if sample.requests == 0 {
        bail!("not one request was answered");
    }
    Ok(sample)
}

/// CPU time once the process has been still for a while: what it recorded is then on disk.
fn settled_cpu(process: u32) -> Result<f64> {
    let mut last = cpu_seconds(process)?;
    for _ in 0..MAX_LOOKS {
        thread::sleep(SETTLED);
        let now = cpu_seconds(process)?;
        if now - last < 0.005 {
            return Ok(now);
        }
        last = now;
    }
    bail!("the proxy is still working long after the last request")
}

/// User and system time, all threads, since the process began.
fn cpu_seconds(process: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let ticks = cpu_ticks(&stat).context("/proc/PID/stat is not as proc(5) has it")?;
    let per_second: f64 = process::output(Command::new("getconf").arg("CLK_TCK"))?.trim().parse()?;
    Ok(f64::from(ticks) / per_second)
}

/// Fields 14 (utime) and 15 (stime) of proc(5), counted after the command's name, which may hold anything.
fn cpu_ticks(stat: &str) -> Option<u32> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, system) = (fields.next()?.parse::<u32>().ok()?, fields.next()?.parse::<u32>().ok()?);
    user.checked_add(system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_ticks_are_found_behind_any_name() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 4 0 100 1 1";
        assert_eq!(cpu_ticks(stat), Some(300));
    }

    #[test]
    fn row_tells_rate_share_and_cost() {
        let told = r#"{"requests":10000,"seconds":2.0,"p50_us":300,"p99_us":900}"#;
        let sample = sample(told, Some(1.5)).unwrap();
        assert_eq!(row("proxy", &sample, 10_000.0), "| proxy | 5000 | 50 % | 300 us | 900 us | 0.1500 |");
    }

    #[test]
    fn address_is_read_from_the_ready_line() {
        assert_eq!(address("listening on http://127.0.0.1:8080").unwrap(), "127.0.0.1:8080");
        assert!(address("something else").is_err());
    }
}
