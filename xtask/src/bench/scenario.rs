//! What is measured: loads, and the ways to the origin.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{
    Binaries, address,
    gauge::{cpu_seconds, resident_kib, settled_cpu},
};
use crate::{process, service::Service};

/// A load.
pub(super) struct Scenario {
    pub(super) letter: char,
    pub(super) title: &'static str,
    /// What the load generator is told.
    load: &'static [&'static str],
    ends: Ends,
    pub(super) ways: &'static [Way],
}

/// How a load ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// By itself.
    Itself,
    /// When the memory of what rests was looked at.
    Told,
    /// By itself, and what was captured is counted.
    Counted,
}

/// A way to the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Direct,
    /// Through the proxy, recording nothing.
    Relayed,
    /// The same, with upstream connections that clients share.
    Shared,
    /// Through the proxy, recording everything.
    Captured,
}

impl Way {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Relayed => "proxy, no capture",
            Self::Shared => "proxy, no capture, shared upstream",
            Self::Captured => "proxy, capture",
        }
    }
}

const USUAL: &[Way] = &[Way::Direct, Way::Relayed, Way::Captured];
const WITH_SHARED: &[Way] = &[Way::Direct, Way::Relayed, Way::Shared, Way::Captured];

/// Small versions of what `bench/` measures beside other proxies, under the same letters.
pub(super) const SCENARIOS: [Scenario; 8] = [
    scenario('A', "HTTPS keep-alive, 1 KiB, 64 connections", &["--connections", "64"], USUAL),
    scenario(
        'B',
        "HTTPS, a new CONNECT and handshake for each request, 16 connections",
        &["--pace", "handshake", "--connections", "16"],
        WITH_SHARED,
    ),
    scenario(
        'C',
        "download of 256 MiB, 1 connection",
        &["--pace", "download", "--path", "/bytes/268435456"],
        USUAL,
    ),
    scenario('D', "cleartext keep-alive, 1 KiB, 64 connections", &["--connections", "64"], USUAL),
    scenario(
        'E',
        "HTTP/2, 1 KiB, 4 connections x 25 streams",
        &["--connections", "4", "--streams", "25"],
        USUAL,
    ),
    scenario('F', "latency, 1 connection, 200 requests a second", &["--pace", "rate"], USUAL),
    Scenario {
        ends: Ends::Told,
        ..scenario(
            'G',
            "200 tunnels that rest after one request",
            &["--pace", "idle", "--connections", "200"],
            &[Way::Relayed, Way::Captured],
        )
    },
    Scenario {
        ends: Ends::Counted,
        ..scenario(
            'H',
            "30,000 captured exchanges",
            &["--requests", "30000", "--seconds", "600"],
            &[Way::Captured],
        )
    },
];

const fn scenario(
    letter: char,
    title: &'static str,
    load: &'static [&'static str],
    ways: &'static [Way],
) -> Scenario {
    Scenario { letter, title, load, ends: Ends::Itself, ways }
}

/// One measurement.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    pub(super) requests: u64,
    pub(super) seconds: f64,
    pub(super) bytes: u64,
    pub(super) p50_us: u64,
    pub(super) p99_us: u64,
    /// CPU time of the proxy, in seconds; none when there is no proxy.
    pub(super) proxy_cpu: Option<f64>,
    /// The most memory it held.
    pub(super) peak_kib: Option<u64>,
    /// What else there is to say.
    pub(super) note: Option<String>,
}

impl Sample {
    /// Reads what the load generator told.
    pub(super) fn read(told: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(told)?;
        let count = |key: &str| value[key].as_u64().with_context(|| format!("no {key}"));
        let sample = Self {
            requests: count("requests")?,
            seconds: value["seconds"].as_f64().context("no seconds")?,
            bytes: count("bytes")?,
            p50_us: count("p50_us")?,
            p99_us: count("p99_us")?,
            ..Self::default()
        };
        if sample.requests == 0 {
            bail!("not one request was answered");
        }
        Ok(sample)
    }

    pub(super) fn rate(&self) -> f64 {
        self.requests as f64 / self.seconds
    }

    pub(super) fn cpu_per_thousand(&self) -> Option<f64> {
        self.proxy_cpu.map(|cpu| cpu * 1_000.0 / self.requests as f64)
    }
}

impl Scenario {
    /// Starts an origin, a proxy with an empty store, and the load; ends them all.
    pub(super) fn measure(&self, binaries: &Binaries, way: Way, seconds: u64) -> Result<Sample> {
        let scratch = tempfile::tempdir()?;
        let origin_ca = scratch.path().join("origin.pem");
        let is_secure = self.letter != 'D';
        let mut origin = binaries.command("testkit-peer");
        origin.arg("serve");
        if is_secure {
            origin.arg("--ca-out").arg(&origin_ca);
        }
        let origin = Service::start(&mut origin)?;
        let authority =
            origin.first_line().rsplit_once("//").map_or("", |(_, authority)| authority).to_owned();
        let mut load = binaries.command("testkit-peer");
        load.args(["load", "--authority", &authority]);
        if !self.load.contains(&"--seconds") {
            load.args(["--seconds", &seconds.to_string()]);
        }
        load.args(self.load);
        if way == Way::Direct {
            if is_secure {
                load.arg("--ca").arg(&origin_ca);
            }
            return Sample::read(&process::output(&mut load)?);
        }
        let proxy = start_proxy(binaries, scratch.path(), is_secure.then_some(&origin_ca), way)?;
        if is_secure {
            load.arg("--ca").arg(proxy_ca(binaries, scratch.path())?);
        }
        load.args(["--proxy", address(proxy.first_line())?]);
        let mut sample = self.run(&mut load, &proxy)?;
        sample.peak_kib = Some(resident_kib(proxy.id(), "VmHWM")?);
        proxy.stop()?;
        if self.ends == Ends::Counted {
            sample.note =
                Some(format!("{} of {} found afterwards", found(binaries, scratch.path())?, sample.requests));
        }
        Ok(sample)
    }

    fn run(&self, load: &mut Command, proxy: &Service) -> Result<Sample> {
        let (resident, before) = (resident_kib(proxy.id(), "VmRSS")?, cpu_seconds(proxy.id())?);
        let mut sample = match self.ends {
            Ends::Itself | Ends::Counted => Sample::read(&process::output(load)?)?,
            Ends::Told => {
                let resting = Resting::start(load)?;
                let cpu = settled_cpu(proxy.id())?;
                let grown = resident_kib(proxy.id(), "VmRSS")?.saturating_sub(resident);
                let mut sample = Sample::read(&resting.end()?)?;
                sample.proxy_cpu = Some(cpu - before);
                sample.note =
                    Some(format!("{:.1} KiB for each tunnel", grown as f64 / sample.requests as f64));
                return Ok(sample);
            }
        };
        sample.proxy_cpu = Some(settled_cpu(proxy.id())? - before);
        Ok(sample)
    }
}

/// A load whose connections rest until it is told to end.
struct Resting {
    child: Child,
    said: BufReader<std::process::ChildStdout>,
}

impl Resting {
    fn start(load: &mut Command) -> Result<Self> {
        let mut child = load.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut said = BufReader::new(child.stdout.take().context("no stdout")?);
        let mut line = String::new();
        said.read_line(&mut line)?;
        if line.trim() != "idle" {
            bail!("the load ended before its connections rested");
        }
        Ok(Self { child, said })
    }

    fn end(mut self) -> Result<String> {
        drop(self.child.stdin.take());
        let mut line = String::new();
        self.said.read_line(&mut line)?;
        self.child.wait()?;
        Ok(line)
    }
}

fn start_proxy(
    binaries: &Binaries,
    scratch: &Path,
    origin_ca: Option<&std::path::PathBuf>,
    way: Way,
) -> Result<Service> {
    let mut command = binaries.command("wirescope");
    command.args(["run", "--port", "0", "--store"]).arg(scratch.join("store"));
    command.arg("--state-dir").arg(scratch.join("state"));
    if let Some(ca) = origin_ca {
        command.arg("--upstream-ca").arg(ca);
    }
    match way {
        Way::Direct => {}
        Way::Captured => {
            command.arg("--quiet");
        }
        Way::Relayed => {
            command.arg("--no-capture");
        }
        Way::Shared => {
            command.args(["--no-capture", "--share-upstream-connections"]);
        }
    }
    // Its closing words would stand in the table.
    Service::start(command.stderr(Stdio::null()))
}

/// Where the proxy of `scratch` keeps its CA's certificate.
fn proxy_ca(binaries: &Binaries, scratch: &Path) -> Result<String> {
    let mut command = binaries.command("wirescope");
    command.args(["ca", "path", "--state-dir"]).arg(scratch.join("state"));
    Ok(process::output(&mut command)?.trim().to_owned())
}

/// How many exchanges the store of `scratch` has.
fn found(binaries: &Binaries, scratch: &Path) -> Result<u64> {
    let mut command = binaries.command("wirescope");
    command.args(["sql", "--csv", "SELECT count(*) FROM exchanges WHERE status = 200", "--store"]);
    command.arg(scratch.join("store")).arg("--state-dir").arg(scratch.join("state"));
    let told = process::output(&mut command)?;
    Ok(told.lines().last().context("no count")?.trim().parse()?)
}
