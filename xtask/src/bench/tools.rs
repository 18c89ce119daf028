//! How fast an MCP server's tools answer about much recorded traffic, while its proxy is under load.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::{client::Client, process, repo::Repo, service::Service};

/// What half of the calls are to be answered within.
const TARGET: Duration = Duration::from_millis(5);

/// What to measure.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// How many exchanges are recorded first.
    #[arg(long, default_value_t = 100_000)]
    exchanges: u64,
    /// Requests a second through the proxy meanwhile.
    #[arg(long, default_value_t = 1_000)]
    rate: u32,
    /// Calls of each tool.
    #[arg(long, default_value_t = 300)]
    calls: usize,
    /// The profile to build: `dev` to try it, `release`, or `dist`.
    #[arg(long, default_value = "release")]
    profile: String,
}

/// A call that is measured.
struct Measured {
    /// How the table names it.
    name: &'static str,
    tool: &'static str,
    /// The arguments of the call of this number.
    arguments: Box<dyn Fn(usize) -> Value>,
    times: Vec<Duration>,
    bytes: usize,
}

/// Records exchanges, calls tools while more come, and tells how long they took.
pub(super) fn run(repo: &Repo, arguments: &Arguments) -> Result<()> {
    let profile = arguments.profile.as_str();
    let build = ["build", "--profile", profile, "--locked", "-p", "wirescope-mcp", "-p", "testkit"];
    process::run(repo.cargo().args(build))?;
    let binaries = repo.target()?.join(if profile == "dev" { "debug" } else { profile });
    let origin = Service::start(Command::new(binaries.join("testkit-peer")).arg("serve"))?;
    let authority = origin.first_line().rsplit_once("//").map_or("", |(_, authority)| authority).to_owned();
    let mut client = Client::start(&binaries.join("wirescope-mcp"), &["--toolsets", "all"])?;
    let port = client.call("proxy_start", json!({}))?["port"].as_u64().context("the proxy has no port")?;
    let load = || {
        let mut load = Command::new(binaries.join("testkit-peer"));
        load.args(["load", "--seconds", "3600", "--authority", &authority]);
        load.args(["--proxy", &format!("127.0.0.1:{port}")]);
        load.args(["--path", "/bytes/64?customer=28412&orders=open&page=3"]);
        load
    };
    process::output(load().args(["--requests", &arguments.exchanges.to_string()]))?;
    let capture = client.call("start_live_capture", json!({"include_existing": true}))?["capture_id"].clone();
    let (rate, mut steady) = (arguments.rate.to_string(), load());
    let steady = Running(steady.args(["--pace", "rate", "--rate", &rate]).stdout(Stdio::null()).spawn()?);
    let mut all = measured(&capture, arguments.exchanges);
    // Round by round, so that each meets the same load; the first call of each warms caches.
    for number in 0..=arguments.calls {
        for each in &mut all {
            let (call, begun) = ((each.arguments)(number), Instant::now());
            let answer = client.call(each.tool, call)?;
            if number > 0 {
                each.times.push(begun.elapsed());
                each.bytes += answer.to_string().len();
            }
        }
    }
    drop(steady);
    let held = client.call("proxy_list_traffic", json!({"limit": 1}))?["total"].clone();
    println!(
        "{held} exchanges, {rate} requests a second meanwhile, {profile} build, {} calls each\n",
        arguments.calls
    );
    println!("| tool | p50 | p99 | bytes | p50 of {} ms |\n|---|---:|---:|---:|---|", TARGET.as_millis());
    all.iter_mut().for_each(|each| println!("{}", each.row()));
    Ok(())
}

fn measured(capture: &Value, exchanges: u64) -> Vec<Measured> {
    let call = |name, tool, arguments: Box<dyn Fn(usize) -> Value>| Measured {
        name,
        tool,
        arguments,
        times: Vec::new(),
        bytes: 0,
    };
    let (read, detail) = (capture.clone(), capture.clone());
    // Far from each other, so that none is in a cache because of the one before.
    let entry = move |number: usize| number as u64 * 7_919 % exchanges.max(1) + 1;
    vec![
        call("`proxy_list_traffic`", "proxy_list_traffic", Box::new(|_| json!({}))),
        call("`proxy_list_traffic`, the newest", "proxy_list_traffic", Box::new(|_| json!({"sort": "desc"}))),
        call(
            "`proxy_list_traffic`, one status",
            "proxy_list_traffic",
            Box::new(|_| json!({"status_filter": 200, "limit": 20})),
        ),
        call("`read_live_capture`", "read_live_capture", Box::new(move |_| json!({"capture_id": read}))),
        call(
            "`get_traffic_entry_detail`",
            "get_traffic_entry_detail",
            Box::new(
                move |number| json!({"source": "live", "capture_id": detail, "entry_id": format!("e{}", entry(number))}),
            ),
        ),
    ]
}

impl Measured {
    fn row(&mut self) -> String {
        self.times.sort();
        let at = |share: usize| {
            let index = (self.times.len() * share / 100).min(self.times.len().saturating_sub(1));
            self.times.get(index).copied().unwrap_or_default()
        };
        let (p50, p99) = (at(50), at(99));
        let met = if p50 < TARGET { "met" } else { "missed" };
        let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
        let bytes = self.bytes / self.times.len().max(1);
        format!("| {} | {:.1} ms | {:.1} ms | {bytes} | {met} |", self.name, ms(p50), ms(p99))
    }
}

/// A child that is killed when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_tells_the_median_and_whether_it_is_short_enough() {
        let times = (1..=100).rev().map(Duration::from_millis).collect();
        let arguments: Box<dyn Fn(usize) -> Value> = Box::new(|_| json!({}));
        let mut slow = Measured { name: "slow", tool: "slow", arguments, times, bytes: 1_000 };
        assert_eq!(slow.row(), "| slow | 51.0 ms | 100.0 ms | 10 | missed |");
        slow.times = vec![Duration::from_micros(4_940); 3];
        slow.bytes = 9;
        assert_eq!(slow.row(), "| slow | 4.9 ms | 4.9 ms | 3 | met |");
    }
}
