//! How TLS is done on both sides, as the command line describes it.

use std::{fmt, num::NonZeroU32, path::PathBuf};

use clap::Args;
use proxy_core::{
    AutoPassthrough, ClientCertificateFiles, HostPattern, KeyLog, TlsOptions, TlsVersion, TlsVersions,
};

use crate::error::FlagError;

/// The variable that programs with TLS take the name of their key log from.
const KEY_LOG_VARIABLE: &str = "SSLKEYLOGFILE";

/// How TLS is done on both sides.
#[derive(Args, Clone, Default)]
#[command(next_help_heading = "TLS")]
#[non_exhaustive]
pub struct TlsFlags {
    /// Decrypt TLS to this host only, and relay all other TLS as --passthrough does; may be repeated.
    #[arg(long, value_name = "HOST")]
    pub only: Vec<HostPattern>,
    /// Relay a host's TLS undecrypted once its client has refused the proxy's certificate this often in a row within
    /// ten minutes, as apps do that pin the host's own [default without a number: 3].
    #[arg(long, value_name = "REFUSALS", num_args = 0..=1, require_equals = true, default_missing_value = "3")]
    pub auto_passthrough: Option<NonZeroU32>,
    /// Show a client certificate to these upstream hosts: HOST=FILE with a PEM file of certificate, chain and key,
    /// HOST=CERTIFICATE,KEY with two, or HOST=FILE.p12; may be repeated, the first that matches counts.
    #[arg(long, value_name = "HOST=FILE")]
    pub client_certificate: Vec<ClientCertificateFiles>,
    /// The password of PKCS#12 files; better given by the variable, which other users of the machine cannot see.
    #[arg(
        long,
        value_name = "PASSWORD",
        env = "WIRESCOPE_CLIENT_CERTIFICATE_PASSWORD",
        hide_env_values = true
    )]
    pub client_certificate_password: Option<String>,
    /// The least version of TLS to speak with upstream: 1.2 or 1.3.
    #[arg(long, value_name = "VERSION")]
    pub upstream_tls_min: Option<TlsVersion>,
    /// The latest version of TLS to speak with upstream: 1.2 or 1.3.
    #[arg(long, value_name = "VERSION")]
    pub upstream_tls_max: Option<TlsVersion>,
    /// Fetch intermediate certificates that upstream leaves out, over plain HTTP from where its certificate says.
    #[arg(long)]
    pub fetch_intermediates: bool,
    /// Append the secrets of all TLS sessions, on both sides, to this file, for Wireshark: whoever reads it can decrypt
    /// what was captured [default: what SSLKEYLOGFILE names].
    #[arg(long, value_name = "FILE")]
    pub key_log: Option<PathBuf>,
}

/// There is a password in it.
impl fmt::Debug for TlsFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsFlags").field("only", &self.only).finish_non_exhaustive()
    }
}

impl TlsFlags {
    /// What the proxy is told. Reads every file that is named.
    ///
    /// # Errors
    ///
    /// When the versions cannot be, or a file cannot be used.
    pub fn options(&self) -> Result<TlsOptions, FlagError> {
        let mut options = TlsOptions::new();
        for hosts in &self.only {
            options = options.with_only(hosts.clone());
        }
        if let Some(refusals) = self.auto_passthrough {
            let mut when = AutoPassthrough::default();
            when.refusals = refusals;
            options = options.with_auto_passthrough(when);
        }
        for files in &self.client_certificate {
            let password = self.client_certificate_password.as_deref().unwrap_or_default();
            let certificate =
                files.read(password).map_err(|error| FlagError::failed("use --client-certificate", error))?;
            options = options.with_client_certificate(files.hosts().clone(), certificate);
        }
        let versions = TlsVersions::new(self.upstream_tls_min, self.upstream_tls_max);
        options = options.with_upstream_versions(
            versions.map_err(|error| FlagError::usage_of("use --upstream-tls-min", error))?,
        );
        if self.fetch_intermediates {
            options = options.with_fetched_intermediates();
        }
        let variable =
            || std::env::var_os(KEY_LOG_VARIABLE).filter(|name| !name.is_empty()).map(PathBuf::from);
        let key_log = match &self.key_log {
            Some(path) => Some((path.clone(), "use --key-log")),
            None => variable().map(|path| (path, "use SSLKEYLOGFILE")),
        };
        if let Some((path, from)) = key_log {
            options =
                options.with_key_log(KeyLog::to_file(path).map_err(|error| FlagError::failed(from, error))?);
        }
        Ok(options)
    }
}
