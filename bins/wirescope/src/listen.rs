//! Where to listen and for whom, as the command line says it.

use std::{
    fmt, fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use proxy_core::{
    AddressRange, HostField, Listener, ListenerKind, OriginUrl, ProxyBuilder, ProxyCredentials,
};

use crate::failure::Usage;

/// The largest file of credentials that is read.
const MAX_CREDENTIALS_BYTES: u64 = 64 * 1024;

/// Where to listen, and for whom.
#[derive(Args, Clone)]
#[command(next_help_heading = "Listeners")]
pub(crate) struct ListenArguments {
    /// The port to listen on; 0 takes any that is free.
    #[arg(long, value_name = "PORT", default_value_t = 8080, env = "WIRESCOPE_PORT", hide_env_values = true)]
    port: u16,
    /// Where to listen; may be repeated. An address with or without a port (which wins over --port) is for clients set
    /// up to use an HTTP proxy, and for SOCKS clients as well; `socks5://127.0.0.1:1080` is for SOCKS clients alone
    /// (versions 5, 4a and 4), `transparent://127.0.0.1:8443` for connections the system redirects there, and
    /// `reverse://127.0.0.1:9000=https://example.com` stands for that origin [default: 127.0.0.1].
    #[arg(
        long,
        value_name = "LISTENER",
        env = "WIRESCOPE_LISTEN",
        hide_env_values = true,
        value_delimiter = ',',
        verbatim_doc_comment
    )]
    listen: Vec<Listen>,
    /// Stand for this origin (`https://example.com`, `http://127.0.0.1:3000`) on --port of 127.0.0.1; to do so elsewhere,
    /// or for several, use --listen.
    #[arg(long, value_name = "ORIGIN", conflicts_with = "listen")]
    reverse: Option<OriginUrl>,
    /// What Host the origins of reverse listeners are asked for: the client's own, or that of the origin.
    #[arg(long, value_name = "WHOSE", default_value = "client")]
    reverse_host: ReverseHost,
    /// Ask HTTP proxy and SOCKS clients for this user name and password. What stands here other users of this machine
    /// can read: the environment variable and --proxy-auth-file are safer.
    #[arg(long, value_name = "USER:PASSWORD", env = "WIRESCOPE_PROXY_AUTH", hide_env_values = true)]
    proxy_auth: Option<String>,
    /// As --proxy-auth, from a file with one USER:PASSWORD to the line; any of them will do.
    #[arg(long, value_name = "FILE")]
    proxy_auth_file: Option<PathBuf>,
    /// Let clients of these addresses in (192.168.1.0/24, one address, or 0.0.0.0/0 for all of IPv4) and no others;
    /// may be repeated. This or --proxy-auth is needed to listen where other machines reach it: what they send is
    /// recorded here.
    #[arg(long, value_name = "CIDR")]
    allow_client: Vec<AddressRange>,
}

/// There is a password in it.
impl fmt::Debug for ListenArguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListenArguments").field("listen", &self.listen).finish_non_exhaustive()
    }
}

/// Whose `Host` a reverse listener's origin gets.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum ReverseHost {
    Client,
    Origin,
}

/// An address with or without a port, or any kind of listener.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Listen {
    Address { ip: IpAddr, port: Option<u16> },
    Other(Listener),
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains("://") {
            return text.parse().map(Self::Other).map_err(|error| format!("{error}"));
        }
        let text = if text == "localhost" { "127.0.0.1" } else { text };
        if let Ok(ip) = text.trim_start_matches('[').trim_end_matches(']').parse() {
            return Ok(Self::Address { ip, port: None });
        }
        let text = text
            .strip_prefix("localhost:")
            .map_or_else(|| text.to_owned(), |port| format!("127.0.0.1:{port}"));
        let address: SocketAddr = text.parse().map_err(|_| {
            "not an address; write one like 127.0.0.1, 127.0.0.1:8080 or [::1]:8080, or socks5://127.0.0.1:1080"
        })?;
        Ok(Self::Address { ip: address.ip(), port: Some(address.port()) })
    }
}

impl ListenArguments {
    /// Has the proxy listen so.
    pub(crate) fn apply(&self, mut builder: ProxyBuilder) -> Result<ProxyBuilder> {
        let credentials = self.credentials()?;
        for listener in self.listeners() {
            self.check(&listener, !credentials.is_empty())?;
            builder = builder.listen(listener);
        }
        for credentials in credentials {
            builder = builder.proxy_credentials(credentials);
        }
        Ok(self.allow_client.iter().fold(builder, |builder, range| builder.allow_clients(*range)))
    }

    fn listeners(&self) -> Vec<Listener> {
        let host = match self.reverse_host {
            ReverseHost::Client => HostField::Keep,
            ReverseHost::Origin => HostField::Origin,
        };
        let usual = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), self.port);
        if let Some(origin) = &self.reverse {
            return vec![Listener::reverse(usual, origin.clone()).with_host(host)];
        }
        if self.listen.is_empty() {
            return vec![Listener::explicit(usual)];
        }
        let listener = |listen: &Listen| match listen {
            Listen::Address { ip, port } => {
                Listener::explicit(SocketAddr::new(*ip, port.unwrap_or(self.port)))
            }
            Listen::Other(listener) => listener.clone().with_host(host),
        };
        self.listen.iter().map(listener).collect()
    }

    /// Refuses to let everybody in by mistake, in the words of the command line.
    fn check(&self, listener: &Listener, asks: bool) -> Result<()> {
        let may_ask = matches!(listener.kind(), ListenerKind::Explicit | ListenerKind::Socks);
        let ip = listener.address().ip().to_canonical();
        if ip.is_loopback() || !self.allow_client.is_empty() || (asks && may_ask) {
            return Ok(());
        }
        let or = if may_ask { "--proxy-auth, or " } else { "" };
        Err(Usage::error(format!(
            "listen on {ip}: other machines reach that address, could use the proxy and would be recorded; leave out \
             --listen, or say who may with {or}--allow-client CIDR (0.0.0.0/0 for everybody)"
        )))
    }

    fn credentials(&self) -> Result<Vec<ProxyCredentials>> {
        let mut credentials = Vec::new();
        if let Some(text) = &self.proxy_auth {
            let parsed = text.parse().map_err(|error| Usage::error(format!("use --proxy-auth: {error}")))?;
            credentials.push(parsed);
        }
        if let Some(file) = &self.proxy_auth_file {
            let named = || format!("use --proxy-auth-file {}", file.display());
            let text = read_bounded(file).with_context(named)?;
            for line in text.lines().filter(|line| !line.is_empty()) {
                let parsed = line.parse().map_err(|error| Usage::error(format!("{}: {error}", named())))?;
                credentials.push(parsed);
            }
            if credentials.is_empty() {
                return Err(Usage::error(format!("{}: it has no USER:PASSWORD in it", named())));
            }
        }
        Ok(credentials)
    }
}

fn read_bounded(file: &Path) -> io::Result<String> {
    use io::Read as _;
    let mut text = String::new();
    let read = fs::File::open(file)?.take(MAX_CREDENTIALS_BYTES + 1).read_to_string(&mut text)?;
    if read as u64 > MAX_CREDENTIALS_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it has more than 64 KiB"));
    }
    Ok(text)
}

/// What a person needs to know to use these listeners.
pub(crate) fn usage(listeners: &[Listener]) -> Vec<String> {
    let mut lines = Vec::new();
    for listener in listeners {
        let address = reached(listener.address());
        lines.push(match (listener.kind(), listener.origin()) {
            (ListenerKind::Explicit, _) => format!(
                "  use it      set the proxy {address} for HTTP and HTTPS, as: export https_proxy=http://{address}"
            ),
            (ListenerKind::Socks, _) => {
                format!("  use it      set the proxy socks5h://{address}, as: export all_proxy=socks5h://{address}")
            }
            (_, Some(origin)) => {
                format!("  use it      http://{address}/ and https://{address}/ stand for {origin}")
            }
            _ => format!("  use it      redirect connections to port {}", address.port()),
        });
    }
    lines
}

/// Where a listener is reached from this machine.
fn reached(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        ip if ip.is_unspecified() && ip.is_ipv4() => {
            SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port())
        }
        _ => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_with_or_without_port() {
        for (text, ip, port) in [
            ("127.0.0.1", "127.0.0.1", None),
            ("127.0.0.1:0", "127.0.0.1", Some(0)),
            ("localhost", "127.0.0.1", None),
            ("localhost:81", "127.0.0.1", Some(81)),
            ("::1", "::1", None),
            ("[::1]", "::1", None),
            ("[::1]:8080", "::1", Some(8080)),
            ("0.0.0.0:1", "0.0.0.0", Some(1)),
        ] {
            assert_eq!(text.parse(), Ok(Listen::Address { ip: ip.parse().unwrap(), port }), "{text}");
        }
        for bad in ["", "8080", "example.com", "127.0.0.1:99999", "::1:", "ftp://127.0.0.1:1"] {
            assert!(bad.parse::<Listen>().is_err(), "{bad}");
        }
    }
}
