//! Clients set up to go through the proxy. So far: commands, run with the proxy and the CA in their environment.

use std::collections::BTreeMap;

use client_setup::ClientSetup;
use rmcp::{
    handler::server::{
        router::tool::ToolRouter,
        wrapper::{Json, Parameters},
    },
    tool, tool_router,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    catalogue::{Family, Reference},
    error::{ToolError, chain},
    processes::{GRACE, Process, Spawn},
    toolbox::{Toolbox, blocking},
    toolsets::Toolset,
    view::{Success, millis},
};

/// The one interceptor there is.
const TERMINAL: &str = "terminal";
/// Bytes of output that a status shows of all commands together.
const OUTPUT_ROOM: usize = 64 * 1024;
/// Bytes of output a kill shows.
const KILL_TAIL: usize = 2048;

/// The family.
pub(crate) const FAMILY: Family = Family {
    name: "interceptors",
    toolset: Toolset::Clients,
    summary: "Clients set up to go through the proxy: so far, commands.",
    router,
    references: &[
        Reference::new("interceptor_list", "proxy-mcp", "lists what there is: `terminal`"),
        Reference::new("interceptor_status", "proxy-mcp", "`tail_bytes` chooses how much output to show"),
        Reference::new(
            "interceptor_spawn",
            "proxy-mcp",
            "a command that cannot be started is an error at once; certificates keep being verified, against the system's roots \
             and the CA; the command runs in a process group of its own, ends with the proxy or the server, and its directory is \
             confined to the allowed ones",
        ),
        Reference::new(
            "interceptor_deactivate_all",
            "proxy-mcp",
            "ends every command, its process group included",
        ),
        Reference::new("interceptor_kill", "proxy-mcp", "ends the command's whole process group"),
    ],
};

fn router() -> ToolRouter<Toolbox> {
    Toolbox::interceptors_router() + Toolbox::deactivate_router()
}

fn status_tail() -> u32 {
    1024
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Interceptors {
    status: Success,
    interceptors: Vec<Interceptor>,
    /// Running commands.
    total_active: usize,
}

/// A way to set clients up.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Interceptor {
    id: &'static str,
    name: &'static str,
    description: &'static str,
    /// Whether it can be used now: the proxy must run.
    is_activable: bool,
    active_targets: Vec<Target>,
}

/// A command.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Target {
    /// Its id, for interceptor_kill.
    id: String,
    description: String,
    activated_at: u64,
    details: TargetDetails,
}

/// How a command stands.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TargetDetails {
    pid: u32,
    command: String,
    args: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cwd: Option<String>,
    proxy_url: String,
    /// The CA's PEM file.
    cert_path: String,
    exited: bool,
    /// Null while it runs, and when a signal ended it.
    exit_code: Option<i32>,
    /// The end of its output; with interceptor_status only.
    #[serde(skip_serializing_if = "Option::is_none")]
    stdout_tail: Option<String>,
    /// The end of its error output; with interceptor_status only.
    #[serde(skip_serializing_if = "Option::is_none")]
    stderr_tail: Option<String>,
}

impl Target {
    fn new(process: &Process, tail_bytes: Option<usize>) -> Self {
        let spawn = &process.spawn;
        let exit = process.exit();
        Self {
            id: process.id.clone(),
            description: format!("{} (pid {})", spawn.command, process.pid),
            activated_at: millis(process.started_at),
            details: TargetDetails {
                pid: process.pid,
                command: spawn.command.clone(),
                args: spawn.args.clone(),
                cwd: spawn.cwd.as_ref().map(|cwd| cwd.display().to_string()),
                proxy_url: spawn.proxy_url.clone(),
                cert_path: spawn.ca_path.clone(),
                exited: exit.is_some(),
                exit_code: exit.and_then(|exit| exit.code),
                stdout_tail: tail_bytes.map(|bytes| process.stdout_tail(bytes)),
                stderr_tail: tail_bytes.map(|bytes| process.stderr_tail(bytes)),
            },
        }
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct StatusParams {
    /// The interceptor: terminal.
    #[schemars(length(min = 1, max = 80))]
    interceptor_id: String,
    /// Bytes of each stream to show, from its end; less where commands are many (64 KiB in all).
    #[serde(default = "status_tail")]
    #[schemars(range(max = 65_536))]
    tail_bytes: u32,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct InterceptorStatus {
    status: Success,
    #[serde(flatten)]
    interceptor: Interceptor,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct SpawnParams {
    /// Program to run: a name on PATH, or a path. No shell: give arguments in args.
    #[schemars(length(min = 1, max = 4096))]
    command: String,
    /// Its arguments.
    #[serde(default)]
    #[schemars(length(max = 1000))]
    args: Vec<String>,
    /// Directory to run it in, within the allowed directories. Default: the server's own.
    #[schemars(length(max = 4096))]
    cwd: Option<String>,
    /// Variables to set; they win over those that lead to the proxy.
    env: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Spawned {
    status: Success,
    /// Its id, for interceptor_kill.
    target_id: String,
    details: SpawnedDetails,
}

/// What was started.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SpawnedDetails {
    pid: u32,
    command: String,
    args: Vec<String>,
    proxy_url: String,
    /// The CA's PEM file.
    cert_path: String,
    /// The system's roots and the CA, which the command verifies against.
    bundle_path: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct KillParams {
    /// The command, like proc_1234.
    #[schemars(length(min = 1, max = 80))]
    target_id: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Killed {
    status: Success,
    message: String,
    output: Output,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Deactivated {
    status: Success,
    message: String,
}

/// What a command wrote last.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Output {
    stdout: String,
    stderr: String,
    /// Null when a signal ended it.
    exit_code: Option<i32>,
}

#[tool_router(router = interceptors_router, vis = "pub(crate)")]
impl Toolbox {
    /// List the ways to set clients up for the proxy, and what runs.
    #[tool(
        name = "interceptor_list",
        title = "List interceptors",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    pub(crate) async fn interceptor_list(&self) -> Result<Json<Interceptors>, ToolError> {
        let terminal = self.terminal(None);
        let running = terminal.active_targets.iter().filter(|target| !target.details.exited).count();
        Ok(Json(Interceptors {
            status: Success::Success,
            interceptors: vec![terminal],
            total_active: running,
        }))
    }

    /// Show one interceptor with its commands and the end of their output.
    #[tool(
        name = "interceptor_status",
        title = "Interceptor status",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    pub(crate) async fn interceptor_status(
        &self,
        Parameters(params): Parameters<StatusParams>,
    ) -> Result<Json<InterceptorStatus>, ToolError> {
        if params.interceptor_id != TERMINAL {
            let error = format!("there is no interceptor {:?}", params.interceptor_id);
            return Err(ToolError::new("unknown_interceptor", error).hint("there is terminal"));
        }
        let interceptor = self.terminal(Some(params.tail_bytes as usize));
        Ok(Json(InterceptorStatus { status: Success::Success, interceptor }))
    }

    /// Run a command with its HTTP(S) traffic going through the proxy and its CA trusted. Returns at once;
    /// interceptor_status shows output and exit code.
    #[tool(
        name = "interceptor_spawn",
        title = "Run a command through the proxy",
        annotations(
            read_only_hint = false,
            destructive_hint = true,
            idempotent_hint = false,
            open_world_hint = true
        )
    )]
    pub(crate) async fn interceptor_spawn(
        &self,
        Parameters(params): Parameters<SpawnParams>,
    ) -> Result<Json<Spawned>, ToolError> {
        let running = self.must_run()?;
        let cwd = params.cwd.map(|text| self.files().path("cwd", &text)).transpose()?;
        let ca = self.ca().await?;
        let directory = self.config().state.clients();
        let setup = blocking(move || {
            ClientSetup::new(ca.certificate_pem(), running.address, directory).map_err(|error| {
                ToolError::new("client_setup_failed", format!("failed to {}", chain(&error)))
                    .hint("check the state directory")
            })
        })
        .await?;
        let mut env = setup.env_over(|name| std::env::var(name).ok());
        env.extend(params.env.into_iter().flatten());
        let process = self.processes().spawn(Spawn {
            command: params.command,
            args: params.args,
            cwd,
            env,
            proxy_url: setup.proxy_url(),
            ca_path: setup.ca_path().display().to_string(),
        })?;
        Ok(Json(Spawned {
            status: Success::Success,
            target_id: process.id.clone(),
            details: SpawnedDetails {
                pid: process.pid,
                command: process.spawn.command.clone(),
                args: process.spawn.args.clone(),
                proxy_url: process.spawn.proxy_url.clone(),
                cert_path: process.spawn.ca_path.clone(),
                bundle_path: setup.bundle_path().display().to_string(),
            },
        }))
    }

    /// End a command and its children, and show the end of its output.
    #[tool(
        name = "interceptor_kill",
        title = "End a command",
        annotations(
            read_only_hint = false,
            destructive_hint = true,
            idempotent_hint = false,
            open_world_hint = false
        )
    )]
    pub(crate) async fn interceptor_kill(
        &self,
        Parameters(params): Parameters<KillParams>,
    ) -> Result<Json<Killed>, ToolError> {
        let Some(process) = self.processes().remove(&params.target_id) else {
            let error = format!("there is no target {:?}", params.target_id);
            return Err(ToolError::new("unknown_target", error).hint("interceptor_list names the targets"));
        };
        let before = process.exit();
        let exit = process.end(GRACE).await;
        let message = match (before, exit) {
            (Some(_), _) => format!("{} had ended", process.id),
            (None, Some(_)) => format!("{} was ended", process.id),
            (None, None) => format!("{} was told to end, but its end was not seen", process.id),
        };
        Ok(Json(Killed {
            status: Success::Success,
            message,
            output: Output {
                stdout: process.stdout_tail(KILL_TAIL),
                stderr: process.stderr_tail(KILL_TAIL),
                exit_code: exit.and_then(|exit| exit.code),
            },
        }))
    }
}

#[tool_router(router = deactivate_router, vis = "pub(crate)")]
impl Toolbox {
    /// End every command that was started, with its children.
    #[tool(
        name = "interceptor_deactivate_all",
        title = "End all commands",
        annotations(
            read_only_hint = false,
            destructive_hint = true,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    pub(crate) async fn interceptor_deactivate_all(&self) -> Result<Json<Deactivated>, ToolError> {
        let running = self.processes().list().iter().filter(|process| process.exit().is_none()).count();
        self.processes().kill_all(GRACE).await;
        Ok(Json(Deactivated {
            status: Success::Success,
            message: format!("{running} running commands were ended"),
        }))
    }
}

impl Toolbox {
    fn terminal(&self, tail_bytes: Option<usize>) -> Interceptor {
        let processes = self.processes().list();
        // Commands share the room for output, each with two streams.
        let share = OUTPUT_ROOM / (2 * processes.len().max(1));
        let share = tail_bytes.map(|bytes| bytes.min(share));
        Interceptor {
            id: TERMINAL,
            name: "Terminal",
            description: "Runs commands with the proxy and its CA in their environment.",
            is_activable: self.running().is_some(),
            active_targets: processes.iter().map(|process| Target::new(process, share)).collect(),
        }
    }
}
