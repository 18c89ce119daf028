//! The server itself: version, configuration, network interfaces, end.

use std::{collections::BTreeMap, net::IpAddr};

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
    toolbox::{Toolbox, blocking},
    toolsets::Toolset,
    view::Success,
};

/// The family.
pub(crate) const FAMILY: Family = Family {
    name: "server",
    toolset: Toolset::Server,
    summary: "This server: version, configuration, network interfaces, end.",
    router,
    references: &[
        Reference::new("get_version", "httptoolkit-mcp", "names the server, too"),
        Reference::new(
            "get_config",
            "httptoolkit-mcp",
            "`proxyPort` is accepted and changes nothing; rule parameters and tool paths are empty; says where files may be",
        ),
        Reference::new("get_network_interfaces", "httptoolkit-mcp", "none"),
        Reference::new(
            "shutdown_server",
            "httptoolkit-mcp",
            "needs `confirm`; ends the proxy and commands run through it, too",
        ),
    ],
};

fn router() -> ToolRouter<Toolbox> {
    Toolbox::server_router()
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Version {
    status: Success,
    name: &'static str,
    version: &'static str,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ConfigParams {
    /// Accepted for compatibility.
    #[schemars(range(min = 0, max = 65_535))]
    #[expect(dead_code, reason = "there is one proxy")]
    proxy_port: Option<u32>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Configured {
    status: Success,
    config: ConfigView,
}

/// How the server is configured.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ConfigView {
    /// The CA's PEM file.
    certificate_path: String,
    /// The CA's certificate, PEM.
    certificate_content: String,
    /// SHA-256 of the CA's public key, base64.
    certificate_fingerprint: String,
    network_interfaces: Interfaces,
    /// The parent proxy of everything, without credentials; null where there is none.
    system_proxy: Option<String>,
    /// The system's name servers, as far as they can be told.
    dns_servers: Vec<String>,
    /// Always empty.
    rule_parameter_keys: Vec<String>,
    /// Always empty.
    tool_paths: BTreeMap<String, String>,
    state_dir: String,
    /// The store recorded into.
    store_dir: String,
    /// Directories that file arguments may name.
    allowed_dirs: Vec<String>,
    /// Whether credentials in results are hidden.
    redact: bool,
}

/// Addresses by interface.
type Interfaces = BTreeMap<String, Vec<Address>>;

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NetworkInterfaces {
    status: Success,
    network_interfaces: Interfaces,
}

/// An address of an interface.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Address {
    address: String,
    netmask: String,
    /// `IPv4` or `IPv6`.
    family: &'static str,
    /// Whether it is a loopback address.
    internal: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct ShutdownParams {
    /// Must be true.
    #[serde(default)]
    confirm: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Ending {
    status: Success,
    message: &'static str,
}

#[tool_router(router = server_router, vis = "pub(crate)")]
impl Toolbox {
    /// Tell the version of this server.
    #[tool(
        name = "get_version",
        title = "Version",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    pub(crate) async fn get_version(&self) -> Result<Json<Version>, ToolError> {
        Ok(Json(Version { status: Success::Success, name: "wirescope", version: env!("CARGO_PKG_VERSION") }))
    }

    /// Tell how the server is configured: CA, network, directories.
    #[tool(
        name = "get_config",
        title = "Configuration",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    pub(crate) async fn get_config(
        &self,
        Parameters(_): Parameters<ConfigParams>,
    ) -> Result<Json<Configured>, ToolError> {
        let ca = self.ca().await?;
        let (network_interfaces, dns_servers) = blocking(|| Ok((interfaces()?, name_servers()))).await?;
        let routes = self.config().upstream_routes.table();
        let shown = |path: &std::path::Path| path.display().to_string();
        let config = ConfigView {
            certificate_path: shown(&self.ca_path()),
            certificate_content: ca.certificate_pem().to_owned(),
            certificate_fingerprint: ca.spki_sha256_base64(),
            network_interfaces,
            system_proxy: routes.all.as_ref().map(|route| route.target.to_string()),
            dns_servers,
            rule_parameter_keys: Vec::new(),
            tool_paths: BTreeMap::new(),
            state_dir: shown(self.config().state.path()),
            store_dir: shown(&self.config().store_dir),
            allowed_dirs: self.config().allowed_dirs.iter().map(|path| shown(path)).collect(),
            redact: self.config().redact,
        };
        Ok(Json(Configured { status: Success::Success, config }))
    }

    /// List the network interfaces of this machine, with their addresses: where other devices reach the proxy.
    #[tool(
        name = "get_network_interfaces",
        title = "Network interfaces",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    pub(crate) async fn get_network_interfaces(&self) -> Result<Json<NetworkInterfaces>, ToolError> {
        let network_interfaces = blocking(interfaces).await?;
        Ok(Json(NetworkInterfaces { status: Success::Success, network_interfaces }))
    }

    /// End this server for all its clients, with the proxy and the commands run through it. What was recorded stays.
    #[tool(
        name = "shutdown_server",
        title = "End the server",
        annotations(
            read_only_hint = false,
            destructive_hint = true,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    pub(crate) async fn shutdown_server(
        &self,
        Parameters(params): Parameters<ShutdownParams>,
    ) -> Result<Json<Ending>, ToolError> {
        if !params.confirm {
            return Err(ToolError::new("not_confirmed", "the server ends only when confirm is true")
                .hint("call shutdown_server with confirm true; proxy_stop ends the proxy alone"));
        }
        self.end();
        Ok(Json(Ending { status: Success::Success, message: "the server ends now" }))
    }
}

fn interfaces() -> Result<Interfaces, ToolError> {
    let found = if_addrs::get_if_addrs().map_err(|error| {
        ToolError::new("interfaces_unreadable", format!("failed to list the network interfaces: {error}"))
    })?;
    let mut interfaces = Interfaces::new();
    for interface in found {
        let address = Address {
            address: interface.ip().to_string(),
            netmask: match &interface.addr {
                if_addrs::IfAddr::V4(v4) => v4.netmask.to_string(),
                if_addrs::IfAddr::V6(v6) => v6.netmask.to_string(),
            },
            family: if matches!(interface.ip(), IpAddr::V4(_)) { "IPv4" } else { "IPv6" },
            internal: interface.is_loopback(),
        };
        interfaces.entry(interface.name).or_default().push(address);
    }
    Ok(interfaces)
}

/// What /etc/resolv.conf names, where there is one.
fn name_servers() -> Vec<String> {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        words.next().filter(|word| *word == "nameserver")?;
        words.next().map(str::to_owned)
    };
    text.lines().filter_map(server).collect()
}
