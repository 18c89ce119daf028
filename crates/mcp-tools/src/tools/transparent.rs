//! The transparent listener: for clients that know of no proxy, whose connections the system redirects.

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
    error::ToolError,
    toolbox::Toolbox,
    toolsets::Toolset,
    view::Success,
};

/// The family.
pub(crate) const FAMILY: Family = Family {
    name: "transparent",
    toolset: Toolset::Proxy,
    summary: "The transparent listener: for clients that know of no proxy, whose connections the system redirects.",
    router,
    references: &[
        Reference::new(
            "proxy_start_transparent",
            "proxy-mcp",
            "goes by the original destination of redirected connections where the system tells it (Linux), else by the \
             server name of TLS or the Host; decrypts, records and changes as everywhere; listens on loopback unless the \
             server was started with --listen; port 0 takes any free one",
        ),
        Reference::new(
            "proxy_stop_transparent",
            "proxy-mcp",
            "lets exchanges under way end first, for at most 5 seconds; the proxy goes on",
        ),
        Reference::new(
            "proxy_transparent_status",
            "proxy-mcp",
            "`trafficCount` counts from the proxy's start or the last proxy_clear_traffic on",
        ),
    ],
};

fn router() -> ToolRouter<Toolbox> {
    Toolbox::transparent_router()
}

fn default_port() -> u16 {
    8443
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct StartTransparentParams {
    /// Port to listen on; 0 for any free one.
    #[serde(default = "default_port")]
    port: u16,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct TransparentStarted {
    status: Success,
    port: u16,
    /// How to lead clients to it.
    instructions: Vec<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct TransparentStopped {
    status: Success,
    message: String,
}

/// How the transparent listener stands.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Transparent {
    running: bool,
    port: Option<u16>,
    /// Exchanges that came by it since the proxy was started or the traffic cleared.
    traffic_count: u64,
}

impl Transparent {
    pub(crate) fn of(toolbox: &Toolbox) -> Self {
        let address = toolbox.redirected();
        Self {
            running: address.is_some(),
            port: address.map(|address| address.port()),
            traffic_count: toolbox.redirected_count(),
        }
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct TransparentStatus {
    status: Success,
    #[serde(flatten)]
    transparent: Transparent,
}

#[tool_router(router = transparent_router, vis = "pub(crate)")]
impl Toolbox {
    /// Open a listener for clients that cannot be told of a proxy: connections redirected to it by the firewall are
    /// decrypted and recorded like all others. proxy_start first.
    #[tool(
        name = "proxy_start_transparent",
        title = "Open the transparent listener",
        annotations(
            read_only_hint = false,
            destructive_hint = false,
            idempotent_hint = false,
            open_world_hint = true
        )
    )]
    pub(crate) async fn proxy_start_transparent(
        &self,
        Parameters(params): Parameters<StartTransparentParams>,
    ) -> Result<Json<TransparentStarted>, ToolError> {
        let address = self.listen_transparent(params.port).await?;
        let port = address.port();
        let ca = self.ca_path().display().to_string();
        let mut instructions = redirections(port);
        if address.ip().is_loopback() {
            instructions.push(
                "it is open on loopback only, so it takes redirected connections of this machine; for other machines \
                 start the server with --listen and --allow-client"
                    .to_owned(),
            );
        }
        instructions.push(format!("clients must trust the CA: {ca}"));
        Ok(Json(TransparentStarted { status: Success::Success, port, instructions }))
    }

    /// Close the transparent listener; the proxy goes on.
    #[tool(
        name = "proxy_stop_transparent",
        title = "Close the transparent listener",
        annotations(
            read_only_hint = false,
            destructive_hint = false,
            idempotent_hint = false,
            open_world_hint = false
        )
    )]
    pub(crate) async fn proxy_stop_transparent(&self) -> Result<Json<TransparentStopped>, ToolError> {
        let cut = self.stop_transparent().await?;
        let message = match cut {
            0 => "the transparent listener is closed; the proxy goes on".to_owned(),
            cut => format!(
                "the transparent listener is closed, {cut} busy connections were cut; the proxy goes on"
            ),
        };
        Ok(Json(TransparentStopped { status: Success::Success, message }))
    }

    /// Tell whether the transparent listener is open, where, and how much came by it.
    #[tool(
        name = "proxy_transparent_status",
        title = "Transparent listener status",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    pub(crate) async fn proxy_transparent_status(&self) -> Result<Json<TransparentStatus>, ToolError> {
        Ok(Json(TransparentStatus { status: Success::Success, transparent: Transparent::of(self) }))
    }
}

/// How the system is told to redirect.
fn redirections(port: u16) -> Vec<String> {
    if !cfg!(target_os = "linux") {
        return vec![format!(
            "redirect TCP ports 80 and 443 to port {port} (pf's rdr); this system does not tell the proxy where a \
             connection was to go, so it goes by the server name of TLS and the Host"
        )];
    }
    let redirect = format!("-j REDIRECT --to-ports {port}");
    vec![
        format!(
            "of one user of this machine, as root: iptables -t nat -A OUTPUT -p tcp -m multiport --dports 80,443 -m \
             owner --uid-owner USER {redirect} (another user than this server's, whose own connections must not come \
             back)"
        ),
        format!(
            "of other machines routed through this one, as root: iptables -t nat -A PREROUTING -i INTERFACE -p tcp -m \
             multiport --dports 80,443 {redirect}"
        ),
        "HTTP/3 goes past it: reject UDP port 443, and clients fall back to TCP".to_owned(),
    ]
}
