//! A command run to its end, with its traffic attributed to it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use capture_store::{ExchangeState, ExchangeSummary, Seq, SessionSpec, Store};
use client_setup::ClientSetup;
use rmcp::{
    RoleServer,
    handler::server::{
        router::tool::ToolRouter,
        wrapper::{Json, Parameters},
    },
    service::RequestContext,
    tool, tool_router,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, sleep_until};
use traffic_analysis::explain;

use crate::{
    brief::Brief,
    budget::{cut, fit},
    catalogue::Family,
    error::{ToolError, chain},
    processes::{Exit, GRACE, Process, Spawn},
    progress::Progress,
    toolbox::{Apart, Start, Toolbox, blocking},
    toolsets::Toolset,
    view::{Success, duration_millis, is_false},
};

/// How long exchanges of the command may go on once it has ended.
const DRAIN: Duration = Duration::from_secs(1);
/// Exchanges of one command that are read.
const MAX_READ: usize = 5_000;
/// Hosts, and kinds of failure, that an answer tells.
const MAX_TOLD: usize = 10;

/// The family.
pub(crate) const FAMILY: Family = Family {
    name: "run",
    toolset: Toolset::Clients,
    summary: "A command run to its end, with its traffic attributed to it.",
    router,
    references: &[],
};

fn router() -> ToolRouter<Toolbox> {
    Toolbox::run_router()
}

fn two_minutes() -> u64 {
    120_000
}

fn two_thousand() -> u32 {
    2048
}

fn twenty() -> u32 {
    20
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct RunParams {
    /// Program; no shell.
    #[schemars(length(min = 1, max = 4096))]
    command: String,
    /// Its arguments.
    #[serde(default)]
    #[schemars(length(max = 1000))]
    args: Vec<String>,
    /// Directory, an allowed one.
    #[schemars(length(min = 1, max = 4096))]
    cwd: Option<String>,
    /// Variables to set.
    env: Option<BTreeMap<String, String>>,
    /// Milliseconds until it is ended.
    #[serde(default = "two_minutes")]
    #[schemars(range(min = 1, max = 3_600_000))]
    timeout_ms: u64,
    /// Bytes of each output.
    #[serde(default = "two_thousand")]
    #[schemars(range(min = 0, max = 32_768))]
    tail_bytes: u32,
    /// Exchanges to show.
    #[serde(default = "twenty")]
    #[schemars(range(min = 0, max = 500))]
    limit: u32,
}

/// What a command did.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Ran {
    status: Success,
    /// Null when a signal ended it.
    exit_code: Option<i32>,
    /// Whether the time-out ended it.
    timed_out: bool,
    duration_ms: u64,
    /// The end of its output.
    stdout: String,
    /// The end of its error output.
    stderr: String,
    /// Exchanges it caused.
    exchange_count: u64,
    /// The first of them.
    exchanges: Vec<Brief>,
    /// Those by host, the busiest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hosts: Vec<(String, u64)>,
    /// What failed, by cause.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failures: Vec<FailureView>,
    /// What may be the matter, where it caused none.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
    /// Whether the proxy was started for it; it runs on.
    #[serde(skip_serializing_if = "is_false")]
    proxy_started: bool,
    /// The newest exchange before it ran: filter since:<this> finds its exchanges.
    since: String,
}

/// Exchanges that failed alike.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct FailureView {
    cause: &'static str,
    count: u64,
    summary: String,
    /// One of them.
    example: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

#[tool_router(router = run_router, vis = "pub(crate)")]
impl Toolbox {
    /// Run a command to its end: exit code, end of output, and the exchanges it alone caused. Starts the proxy if needed.
    #[tool(
        name = "run_with_proxy",
        title = "Run a command to its end",
        annotations(
            read_only_hint = false,
            destructive_hint = true,
            idempotent_hint = false,
            open_world_hint = true
        )
    )]
    pub(crate) async fn run_with_proxy(
        &self,
        Parameters(params): Parameters<RunParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<Json<Ran>, ToolError> {
        let cwd = params.cwd.as_deref().map(|text| self.files().path("cwd", text)).transpose()?;
        let proxy_started = self.running().is_none();
        if proxy_started {
            let session = SessionSpec::Scratch { max_bytes: None };
            self.start(Start { port: None, session, storage_dir: None }).await?;
        }
        let store = self.fresh_store().await?;
        let newest = store.clone();
        let since = blocking(move || Ok(newest.newest()?)).await?;
        let apart = self.start_apart().await?;
        let begun = Instant::now();
        let spawn = self.spawn_for(&params, cwd, &apart).await?;
        let running = Kept { process: self.processes().spawn(spawn)?, toolbox: self.clone() };
        let until = begun + Duration::from_millis(params.timeout_ms);
        let (exit, timed_out) = self.run_out(&running.process, &apart, until, &context).await;
        let duration_ms = duration_millis(begun.elapsed());
        let mark = apart.mark().clone();
        apart.engine.stop(DRAIN).await;
        self.fresh_store().await?;
        let (live, budget) = (self.live(), self.config().answer_bytes);
        let tail = (params.tail_bytes as usize).min(budget / 4);
        let (stdout, stderr) = (running.process.stdout_tail(tail), running.process.stderr_tail(tail));
        blocking(move || {
            let all = mark.exchanges(&store, &live, since, MAX_READ)?;
            let shown = all.iter().take(params.limit as usize).map(Brief::new).collect();
            let (exchanges, _) = fit(shown, budget / 3);
            Ok(Json(Ran {
                status: Success::Success,
                exit_code: exit.and_then(|exit| exit.code),
                timed_out,
                duration_ms,
                stdout,
                stderr,
                exchange_count: mark.begun().max(all.len() as u64),
                exchanges,
                hosts: hosts(&all),
                failures: failures(&store, &all)?,
                note: all.is_empty().then_some(
                    "it caused no exchange: it made no HTTP request, or does not honour the proxy variables",
                ),
                proxy_started,
                since: since.to_string(),
            }))
        })
        .await
    }
}

impl Toolbox {
    /// The command, led to the engine beside the running one.
    async fn spawn_for(
        &self,
        params: &RunParams,
        cwd: Option<std::path::PathBuf>,
        apart: &Apart,
    ) -> Result<Spawn, ToolError> {
        let (ca, directory) = (self.ca().await?, self.config().state.clients());
        let address = apart.engine.address();
        let setup = blocking(move || {
            ClientSetup::new(ca.certificate_pem(), address, directory).map_err(|error| {
                ToolError::new("client_setup_failed", format!("failed to {}", chain(&error)))
                    .hint("check the state directory")
            })
        })
        .await?;
        let mut env = setup.env_over(|name| std::env::var(name).ok());
        env.extend(params.env.clone().into_iter().flatten());
        Ok(Spawn {
            command: params.command.clone(),
            args: params.args.clone(),
            cwd,
            env,
            proxy_url: setup.proxy_url(),
            ca_path: setup.ca_path().display().to_string(),
        })
    }

    /// Waits for the end of a command, or makes it end: at the time-out, when the call is cancelled, when the server
    /// ends. Tells whether the time-out did.
    async fn run_out(
        &self,
        process: &Process,
        apart: &Apart,
        until: Instant,
        context: &RequestContext<RoleServer>,
    ) -> (Option<Exit>, bool) {
        /// Between two tellings.
        const EVERY: Duration = Duration::from_secs(1);
        let progress = context.extensions.get::<Progress>();
        loop {
            tokio::select! {
                exit = process.ended() => return (exit, false),
                () = sleep_until(until) => return (process.end(GRACE).await, true),
                () = context.ct.cancelled() => return (process.end(GRACE).await, false),
                () = self.closing() => return (process.end(GRACE).await, false),
                () = sleep(EVERY) => {
                    if let Some(progress) = progress {
                        progress.say(format!("{} exchanges so far", apart.mark().begun()));
                    }
                }
            }
        }
    }
}

/// A running command; dropping it ends its whole group.
struct Kept {
    process: Arc<Process>,
    toolbox: Toolbox,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.process.kill();
        self.toolbox.processes().remove(&self.process.id);
    }
}

fn hosts(all: &[ExchangeSummary]) -> Vec<(String, u64)> {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for summary in all {
        *counts.entry(&summary.host).or_default() += 1;
    }
    let mut hosts: Vec<_> = counts.into_iter().map(|(host, count)| (cut(host, 100), count)).collect();
    hosts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    hosts.truncate(MAX_TOLD);
    hosts
}

/// The failures, each kind explained by its first exchange. Blocks.
fn failures(store: &Store, all: &[ExchangeSummary]) -> Result<Vec<FailureView>, ToolError> {
    let mut kinds: BTreeMap<(String, Option<u16>), (Seq, u64)> = BTreeMap::new();
    for summary in all.iter().filter(|summary| traffic_analysis::priority::is_error(summary)) {
        let kind = match &summary.state {
            ExchangeState::Failed(failure) => failure.kind.code().to_owned(),
            _ => "http".to_owned(),
        };
        kinds.entry((kind, summary.status)).or_insert((summary.seq, 0)).1 += 1;
    }
    let mut views = Vec::new();
    for (seq, count) in kinds.into_values().take(MAX_TOLD) {
        let told = match explain::exchange(store, seq) {
            Ok(told) => told,
            Err(error) if matches!(error.kind(), capture_store::ErrorKind::UnknownExchange(_)) => continue,
            Err(error) => return Err(error.into()),
        };
        views.push(FailureView {
            cause: told.cause.code(),
            count,
            summary: cut(&told.summary, 300),
            example: seq.to_string(),
            fix: told.fixes.first().map(|fix| cut(fix, 300)),
        });
    }
    Ok(views)
}
