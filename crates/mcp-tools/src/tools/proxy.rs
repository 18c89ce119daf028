//! The proxy itself: start, stop, status, certificate.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use capture_store::SessionSpec;
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
    live,
    persistence::Persistence,
    processes::GRACE,
    toolbox::{RunningView, Start, Toolbox, blocking},
    tools::transparent::Transparent,
    toolsets::Toolset,
    view::{Success, millis},
};

/// The family.
pub(crate) const FAMILY: Family = Family {
    name: "proxy",
    toolset: Toolset::Proxy,
    summary: "The proxy itself: start, stop, status, certificate.",
    router,
    references: &[
        Reference::new(
            "proxy_start",
            "proxy-mcp",
            "listens on loopback unless the server was started otherwise; keeps its CA between runs; `url` is the `http://` URL clients need; bodies are always \
             recorded whole (`capture_profile` is accepted, the result says `full`); traffic is always recorded to disk, \
             without `persistence_enabled` into an unnamed session that evicts its oldest exchanges at `max_disk_mb`; a failed \
             start leaves nothing behind",
        ),
        Reference::new(
            "proxy_stop",
            "proxy-mcp",
            "lets exchanges under way end first, for at most 5 seconds",
        ),
        Reference::new("proxy_status", "proxy-mcp", "`running` is true only while the listener is there"),
        Reference::new(
            "proxy_get_ca_cert",
            "proxy-mcp",
            "works before the first start; names the PEM file's path, too",
        ),
    ],
};

fn router() -> ToolRouter<Toolbox> {
    Toolbox::proxy_router()
}

/// How much of each body is kept.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CaptureProfile {
    /// The first kilobytes.
    #[default]
    Preview,
    /// All of it.
    Full,
}

pub(crate) fn default_disk_mb() -> f64 {
    1024.0
}

/// A limit in MiB as bytes.
pub(crate) fn bytes_of(max_disk_mb: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded by the schema")]
    let bytes = (max_disk_mb * 1024.0 * 1024.0) as u64;
    bytes
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct StartParams {
    /// Port to listen on; 0 for any free one. Default: the server's --port, else any free one.
    port: Option<u16>,
    /// Record into a named session, kept until deleted.
    #[serde(default)]
    persistence_enabled: bool,
    /// Name of that session.
    #[schemars(length(min = 1, max = 200))]
    session_name: Option<String>,
    /// Accepted for compatibility: bodies are always recorded whole.
    #[serde(default)]
    #[expect(dead_code, reason = "there is one profile")]
    capture_profile: CaptureProfile,
    /// Directory of the store to record into, within the allowed directories. Default: the server's --store.
    #[schemars(length(max = 4096))]
    storage_dir: Option<String>,
    /// Limit of the session on disk, MiB.
    #[serde(default = "default_disk_mb")]
    #[schemars(range(min = 1, max = 16_777_216))]
    max_disk_mb: f64,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Started {
    status: Success,
    port: u16,
    /// The proxy's URL, for clients.
    url: String,
    /// SHA-256 of the CA's public key, base64.
    cert_fingerprint: String,
    persistence: Persistence,
    setup: Setup,
}

/// How to send a client's traffic through the proxy.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Setup {
    proxy_host: String,
    proxy_port: u16,
    instructions: Vec<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Stopped {
    status: Success,
    message: String,
    /// The session that ended.
    session_id: String,
}

/// How the proxy stands.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StatusView {
    status: Success,
    running: bool,
    port: Option<u16>,
    url: Option<String>,
    /// SHA-256 of the CA's public key, base64; null before the CA was first needed.
    cert_fingerprint: Option<String>,
    /// The parent proxy of everything that no host upstream is for, without credentials; null where there is none.
    global_upstream: Option<String>,
    /// What goes there straight all the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    no_proxy: Vec<String>,
    /// The parent proxies of hosts, without credentials, by their pattern; `direct` where there is none.
    host_upstreams: BTreeMap<String, String>,
    /// Rules there are, enabled or not.
    rule_count: u64,
    /// Exchanges that `proxy_list_traffic` lists.
    traffic_count: u64,
    transparent_proxy: Transparent,
    persistence: Persistence,
    /// When the proxy was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<u64>,
}

/// What to give of the certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CertFormat {
    /// The PEM text.
    Pem,
    /// The fingerprint.
    Fingerprint,
    /// Both.
    #[default]
    Both,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct CertParams {
    /// What to give.
    #[serde(default)]
    format: CertFormat,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Certificate {
    status: Success,
    /// The certificate, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    cert_pem: Option<String>,
    /// SHA-256 of the CA's public key, base64 (as Chromium's --ignore-certificate-errors-spki-list takes it).
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
    /// SHA-256 of the certificate, hexadecimal.
    sha256: String,
    /// The PEM file.
    path: String,
    instructions: String,
}

#[tool_router(router = proxy_router, vis = "pub(crate)")]
impl Toolbox {
    /// Start the intercepting proxy and record its traffic. Clients use the returned url as HTTP and HTTPS proxy
    /// and must trust the CA (interceptor_spawn does both for a command).
    #[tool(
        name = "proxy_start",
        title = "Start the proxy",
        annotations(
            read_only_hint = false,
            destructive_hint = false,
            idempotent_hint = false,
            open_world_hint = true
        )
    )]
    pub(crate) async fn proxy_start(
        &self,
        Parameters(params): Parameters<StartParams>,
    ) -> Result<Json<Started>, ToolError> {
        let storage_dir =
            params.storage_dir.map(|text| self.files().path("storage_dir", &text)).transpose()?;
        let max_bytes = Some(bytes_of(params.max_disk_mb));
        let session = if params.persistence_enabled {
            SessionSpec::Named {
                name: params.session_name.unwrap_or_else(|| "session".to_owned()),
                max_bytes,
            }
        } else {
            SessionSpec::Scratch { max_bytes }
        };
        let running = self.start(Start { port: params.port, session, storage_dir }).await?;
        let (ca, store) = (self.ca().await?, self.store().await?);
        let recorder = running.recorder.clone();
        let persistence = blocking(move || Persistence::of(&recorder, &store)).await?;
        let url = proxy_url(&running);
        Ok(Json(Started {
            status: Success::Success,
            port: running.address.port(),
            cert_fingerprint: ca.spki_sha256_base64(),
            persistence,
            setup: Setup {
                proxy_host: running.address.ip().to_string(),
                proxy_port: running.address.port(),
                instructions: vec![
                    format!("set {url} as HTTP and HTTPS proxy (HTTP_PROXY, HTTPS_PROXY)"),
                    format!("trust the CA: {}", self.ca_path().display()),
                    format!("or: curl -x {url} --cacert {} https://example.com/", self.ca_path().display()),
                    "interceptor_spawn runs a command with all of this set".to_owned(),
                ],
            },
            url,
        }))
    }

    /// Stop the proxy. Commands of interceptor_spawn are ended, exchanges under way may end first; what was recorded
    /// stays readable.
    #[tool(
        name = "proxy_stop",
        title = "Stop the proxy",
        annotations(
            read_only_hint = false,
            destructive_hint = false,
            idempotent_hint = false,
            open_world_hint = false
        )
    )]
    pub(crate) async fn proxy_stop(&self) -> Result<Json<Stopped>, ToolError> {
        self.must_run()?;
        self.processes().kill_all(GRACE).await;
        let session = self.stop().await?;
        let message = format!(
            "the proxy stopped; {} exchanges are kept in session {} (proxy_query_session reads them)",
            session.exchanges, session.id
        );
        Ok(Json(Stopped { status: Success::Success, message, session_id: session.id.to_string() }))
    }

    /// Tell whether the proxy runs, where, and how the recording stands.
    #[tool(
        name = "proxy_status",
        title = "Proxy status",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    pub(crate) async fn proxy_status(&self) -> Result<Json<StatusView>, ToolError> {
        let running = self.running();
        let fingerprint = match &running {
            Some(_) => Some(self.ca().await?.spki_sha256_base64()),
            None => self.known_ca().map(|ca| ca.spki_sha256_base64()),
        };
        let store = self.store().await?;
        let (live, recorder) = (self.live(), running.as_ref().map(|running| running.recorder.clone()));
        let (traffic_count, persistence) = blocking(move || {
            let persistence = match recorder {
                Some(recorder) => Persistence::of(&recorder, &store)?,
                None => Persistence::idle(store.directory()),
            };
            Ok((live::total(&store, &live)?, persistence))
        })
        .await?;
        let routes = self.config().upstream_routes.table();
        Ok(Json(StatusView {
            status: Success::Success,
            running: running.is_some(),
            port: running.as_ref().map(|running| running.address.port()),
            url: running.as_ref().map(proxy_url),
            cert_fingerprint: fingerprint,
            global_upstream: routes.all.as_ref().map(|route| route.target.to_string()),
            no_proxy: routes.all.iter().flat_map(|route| route.no_proxy.entries()).collect(),
            host_upstreams: routes
                .hosts
                .iter()
                .map(|(hosts, route)| (hosts.to_string(), route.target.to_string()))
                .collect(),
            rule_count: self.changes().rules.list().len() as u64,
            traffic_count,
            transparent_proxy: Transparent::of(self),
            persistence,
            started_at: running.map(|running| millis(running.started_at)),
        }))
    }

    /// Give the CA certificate that clients must trust, its fingerprint and its file.
    #[tool(
        name = "proxy_get_ca_cert",
        title = "CA certificate",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    pub(crate) async fn proxy_get_ca_cert(
        &self,
        Parameters(params): Parameters<CertParams>,
    ) -> Result<Json<Certificate>, ToolError> {
        let ca = self.ca().await?;
        let pem = (params.format != CertFormat::Fingerprint).then(|| ca.certificate_pem().to_owned());
        let fingerprint = (params.format != CertFormat::Pem).then(|| ca.spki_sha256_base64());
        let path = self.ca_path().display().to_string();
        let instructions = format!(
            "give {path} to the client as a trusted CA (curl --cacert, NODE_EXTRA_CA_CERTS, SSL_CERT_FILE); through \
             the proxy, http://wirescope.test/ serves it with set-up help; interceptor_spawn needs none of this"
        );
        Ok(Json(Certificate {
            status: Success::Success,
            cert_pem: pem,
            fingerprint,
            sha256: ca.fingerprint_sha256(),
            path,
            instructions,
        }))
    }
}

/// What a client is given as its proxy.
///
/// Nobody can connect to the unspecified address everywhere; loopback reaches the same listener.
pub(crate) fn proxy_url(running: &RunningView) -> String {
    let host = match running.address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    format!("http://{}", SocketAddr::new(host, running.address.port()))
}
