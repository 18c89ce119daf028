//! The files a client reads and the variables that lead it there.

use std::{
    fs, io,
    io::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

use crate::{
    error::{Error, ErrorKind},
    pem, truststore,
};

/// Variables that name the proxy, as clients spell them: most in upper case, curl and others in lower case only.
const PROXY_VARIABLES: &[&str] = &[
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "ALL_PROXY",
    "all_proxy",
    "WS_PROXY",
    "ws_proxy",
    "WSS_PROXY",
    "wss_proxy",
    // CGI programs, where HTTP_PROXY could be a request's `Proxy` header.
    "CGI_HTTP_PROXY",
    "npm_config_proxy",
    "npm_config_https_proxy",
    // The global-agent package of Node.
    "GLOBAL_AGENT_HTTP_PROXY",
    "GLOBAL_AGENT_HTTPS_PROXY",
];

/// Variables that exempt hosts; emptied, so that loopback is captured like everything else.
const EXEMPTION_VARIABLES: &[&str] = &["NO_PROXY", "no_proxy", "npm_config_noproxy", "GLOBAL_AGENT_NO_PROXY"];

/// Variables that replace a client's roots by a file.
const BUNDLE_VARIABLES: &[&str] = &[
    // OpenSSL and what is built on it (Ruby, Python's ssl, PHP), Go on Linux, rustls-native-certs.
    "SSL_CERT_FILE",
    "CURL_CA_BUNDLE",
    // Python's requests, and pip.
    "REQUESTS_CA_BUNDLE",
    "PIP_CERT",
    "GIT_SSL_CAINFO",
    "CARGO_HTTP_CAINFO",
    "AWS_CA_BUNDLE",
    // Perl's LWP and Crypt::SSLeay.
    "PERL_LWP_SSL_CA_FILE",
    "HTTPS_CA_FILE",
    // Ruby's Bundler.
    "BUNDLE_SSL_CA_CERT",
    "npm_config_cafile",
    "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "NIX_SSL_CERT_FILE",
    "HEX_CACERTS_PATH",
];

/// Variables that add a file to a client's own roots.
const EXTRA_VARIABLES: &[&str] = &["NODE_EXTRA_CA_CERTS", "DENO_CERT"];

/// What a client needs to go through the proxy and to trust its CA: three files and a set of variables.
///
/// The files stay until someone deletes the directory; they hold no secret.
#[derive(Clone, Debug)]
pub struct ClientSetup {
    proxy: SocketAddr,
    ca: PathBuf,
    bundle: PathBuf,
    truststore: PathBuf,
    system_roots: usize,
}

impl ClientSetup {
    /// Writes `ca.pem`, `ca-bundle.pem` and `truststore.jks` into `directory` (made 0700), each whole or not at all.
    ///
    /// The system's roots are those of the platform's verifier, `SSL_CERT_FILE` and `SSL_CERT_DIR` honoured. When
    /// there are none the bundle holds the CA alone, and [`system_roots`](Self::system_roots) says 0.
    ///
    /// # Errors
    /// When `ca_pem` holds no certificate, or a file or the directory cannot be written.
    pub fn new(ca_pem: &str, proxy: SocketAddr, directory: impl AsRef<Path>) -> Result<Self, Error> {
        let ours = pem::decode(ca_pem);
        if ours.is_empty() {
            return Err(Error::new(ErrorKind::NoCertificate));
        }
        let roots = rustls_native_certs::load_native_certs().certs;
        let system_roots = roots.len();
        let mut certificates = ours.clone();
        certificates.extend(roots.into_iter().map(|der| der.to_vec()).filter(|der| !ours.contains(der)));

        let directory = prepare(directory.as_ref())?;
        let setup = Self {
            proxy: SocketAddr::new(reachable(proxy.ip()), proxy.port()),
            ca: directory.join("ca.pem"),
            bundle: directory.join("ca-bundle.pem"),
            truststore: directory.join("truststore.jks"),
            system_roots,
        };
        let all: String = certificates.iter().map(|der| pem::encode(der)).collect();
        let alone: String = ours.iter().map(|der| pem::encode(der)).collect();
        write(&directory, &setup.ca, alone.as_bytes())?;
        write(&directory, &setup.bundle, all.as_bytes())?;
        write(&directory, &setup.truststore, &truststore::jks(&certificates))?;
        Ok(setup)
    }

    /// The proxy as a URL, with a loopback address where it listens on all.
    #[must_use]
    pub fn proxy_url(&self) -> String {
        format!("http://{}", self.proxy)
    }

    /// The CA alone, PEM.
    #[must_use]
    pub fn ca_path(&self) -> &Path {
        &self.ca
    }

    /// The system's roots and the CA, PEM.
    #[must_use]
    pub fn bundle_path(&self) -> &Path {
        &self.bundle
    }

    /// The bundle as Java's trust store (JKS).
    #[must_use]
    pub fn truststore_path(&self) -> &Path {
        &self.truststore
    }

    /// How many system roots were found.
    #[must_use]
    pub fn system_roots(&self) -> usize {
        self.system_roots
    }

    /// The variables to set for a client, to be laid over the environment it inherits.
    ///
    /// They point it at the proxy and at the bundle; none tells it not to verify. `NO_PROXY` is emptied.
    #[must_use]
    pub fn env(&self) -> Vec<(String, String)> {
        self.env_over(|_| None)
    }

    /// As [`env`](Self::env), for a client that inherits the variables `inherited` answers for: options that are
    /// lists (`JAVA_TOOL_OPTIONS`) keep what they hold and get ours at their end, which wins.
    #[must_use]
    pub fn env_over(&self, inherited: impl Fn(&str) -> Option<String>) -> Vec<(String, String)> {
        let proxy = self.proxy_url();
        let bundle = self.bundle.display().to_string();
        let ca = self.ca.display().to_string();
        let java = match inherited("JAVA_TOOL_OPTIONS") {
            Some(theirs) if !theirs.trim().is_empty() => format!("{theirs} {}", self.java_options()),
            _ => self.java_options(),
        };
        let all = |names: &[&str], value: &str| -> Vec<(String, String)> {
            names.iter().map(|name| ((*name).to_owned(), value.to_owned())).collect()
        };
        let mut env = all(PROXY_VARIABLES, &proxy);
        env.extend(all(EXEMPTION_VARIABLES, ""));
        env.extend(all(BUNDLE_VARIABLES, &bundle));
        env.extend(all(EXTRA_VARIABLES, &ca));
        // Node 22.21 and 24.5 on: fetch and http take the proxy from the environment only when told so.
        env.push(("NODE_USE_ENV_PROXY".to_owned(), "1".to_owned()));
        env.push(("JAVA_TOOL_OPTIONS".to_owned(), java));
        env
    }

    /// The system properties a JVM reads: the proxy, no exempted host, the trust store.
    fn java_options(&self) -> String {
        let (host, port) = (self.proxy.ip(), self.proxy.port());
        let options = [
            format!("-Dhttp.proxyHost={host}"),
            format!("-Dhttp.proxyPort={port}"),
            format!("-Dhttps.proxyHost={host}"),
            format!("-Dhttps.proxyPort={port}"),
            "-Dhttp.nonProxyHosts=".to_owned(),
            format!("-Djavax.net.ssl.trustStore={}", self.truststore.display()),
            "-Djavax.net.ssl.trustStoreType=JKS".to_owned(),
            format!("-Djavax.net.ssl.trustStorePassword={}", truststore::PASSWORD),
        ];
        options.map(|option| quoted(&option)).join(" ")
    }
}

/// The JVM splits its options at spaces outside quotes, of either kind, and knows no escape.
fn quoted(option: &str) -> String {
    match (option.contains(char::is_whitespace), option.contains('"')) {
        (false, _) => option.to_owned(),
        (true, false) => format!("\"{option}\""),
        (true, true) => format!("'{option}'"),
    }
}

/// Nobody can connect to the unspecified address everywhere; loopback reaches the same listener.
fn reachable(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(v4) if v4.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(v6) if v6.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        other => other,
    }
}

/// Makes the directory private and gives its absolute path: clients run elsewhere.
fn prepare(directory: &Path) -> Result<PathBuf, Error> {
    let failed = |source: io::Error| Error::io(ErrorKind::Directory(directory.to_owned()), source);
    let absolute = std::path::absolute(directory).map_err(failed)?;
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
        builder.mode(0o700).create(&absolute).map_err(failed)?;
        fs::set_permissions(&absolute, fs::Permissions::from_mode(0o700)).map_err(failed)?;
    }
    #[cfg(not(unix))]
    builder.create(&absolute).map_err(failed)?;
    Ok(absolute)
}

/// Writes beside the target and renames, so that no reader sees half a file; 0600 as `tempfile` makes them.
fn write(directory: &Path, path: &Path, content: &[u8]) -> Result<(), Error> {
    let failed = |source: io::Error| Error::io(ErrorKind::File(path.to_owned()), source);
    let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(directory).map_err(failed)?;
    file.write_all(content).map_err(failed)?;
    file.persist(path).map(drop).map_err(|error| failed(error.error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup(directory: &Path, address: &str) -> ClientSetup {
        ClientSetup::new(&pem::encode(b"a certificate"), address.parse().unwrap(), directory).unwrap()
    }

    fn value(env: &[(String, String)], name: &str) -> String {
        env.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone()).unwrap()
    }

    #[test]
    fn the_proxy_is_named_in_both_cases_and_nobody_is_exempted() {
        let directory = tempfile::tempdir().unwrap();
        let env = setup(directory.path(), "127.0.0.1:8080").env();
        for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
            assert_eq!(value(&env, name), "http://127.0.0.1:8080", "{name}");
        }
        assert_eq!(value(&env, "NO_PROXY"), "");
        assert_eq!(value(&env, "no_proxy"), "");
    }

    #[test]
    fn every_client_is_led_to_a_file_that_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let setup = setup(directory.path(), "127.0.0.1:8080");
        let env = setup.env();
        for name in BUNDLE_VARIABLES {
            assert_eq!(Path::new(&value(&env, name)), setup.bundle_path(), "{name}");
        }
        for name in EXTRA_VARIABLES {
            assert_eq!(Path::new(&value(&env, name)), setup.ca_path(), "{name}");
        }
        assert!(setup.bundle_path().is_absolute());
        let bundle = pem::decode(&fs::read_to_string(setup.bundle_path()).unwrap());
        assert_eq!(bundle[0], b"a certificate");
        assert_eq!(bundle.len(), setup.system_roots() + 1);
        assert_eq!(pem::decode(&fs::read_to_string(setup.ca_path()).unwrap()), [b"a certificate"]);
    }

    #[test]
    fn no_variable_switches_verification_off() {
        let directory = tempfile::tempdir().unwrap();
        for (name, value) in setup(directory.path(), "127.0.0.1:8080").env() {
            for word in ["REJECT_UNAUTHORIZED", "NO_VERIFY", "INSECURE", "strict_ssl", "VERIFY_NONE"] {
                assert!(!name.contains(word) && !value.contains(word), "{name}={value}");
            }
        }
    }

    #[test]
    fn java_keeps_the_options_it_had_and_paths_with_spaces_hold_together() {
        let directory = tempfile::tempdir().unwrap();
        let setup = setup(&directory.path().join("with space"), "[::1]:9");
        let env = setup.env_over(|name| (name == "JAVA_TOOL_OPTIONS").then(|| "-Xmx1g".to_owned()));
        let java = value(&env, "JAVA_TOOL_OPTIONS");
        assert!(java.starts_with("-Xmx1g -Dhttp.proxyHost=::1 -Dhttp.proxyPort=9 "), "{java}");
        let store = format!("\"-Djavax.net.ssl.trustStore={}\"", setup.truststore_path().display());
        assert!(java.contains(&store), "{java}");
        assert_eq!(value(&env, "https_proxy"), "http://[::1]:9");
    }

    #[test]
    fn a_listener_on_all_addresses_is_reached_over_loopback() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(setup(directory.path(), "0.0.0.0:1").proxy_url(), "http://127.0.0.1:1");
        assert_eq!(setup(directory.path(), "[::]:1").proxy_url(), "http://[::1]:1");
    }

    #[test]
    fn a_text_without_certificate_is_refused_and_writes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("client");
        let error = ClientSetup::new("no pem", "127.0.0.1:1".parse().unwrap(), &target).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::NoCertificate);
        assert!(!target.exists());
    }

    #[cfg(unix)]
    #[test]
    fn the_directory_and_the_files_are_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let setup = setup(&directory.path().join("client"), "127.0.0.1:1");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(setup.ca_path().parent().unwrap()), 0o700);
        for path in [setup.ca_path(), setup.bundle_path(), setup.truststore_path()] {
            assert_eq!(mode(path), 0o600, "{}", path.display());
        }
    }
}
