//! A client that asks a SOCKS proxy for a tunnel.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{deadline::within, proxy_client::host_of};

/// A client of the SOCKS proxy at one address.
#[derive(Clone, Debug)]
pub struct SocksClient {
    proxy: SocketAddr,
    login: Option<(String, String)>,
}

impl SocksClient {
    /// A client without a user name.
    pub fn new(proxy: SocketAddr) -> Self {
        Self { proxy, login: None }
    }

    /// The same client with a user name and password.
    #[must_use]
    pub fn with_login(self, user: &str, password: &str) -> Self {
        Self { login: Some((user.to_owned(), password.to_owned())), ..self }
    }

    /// Asks for `authority` by version 5: an address as an address, a name as a name.
    pub async fn tunnel(&self, authority: &str) -> io::Result<TcpStream> {
        self.command(1, authority).await
    }

    /// As [`tunnel`](Self::tunnel), with another command than CONNECT.
    pub async fn command(&self, command: u8, authority: &str) -> io::Result<TcpStream> {
        within("the SOCKS tunnel", async {
            let mut stream = TcpStream::connect(self.proxy).await?;
            self.log_in(&mut stream).await?;
            let mut request = vec![5, command, 0];
            let (host, port) = (host_of(authority), port_of(authority)?);
            match host.parse() {
                Ok(IpAddr::V4(ip)) => {
                    request.push(1);
                    request.extend(ip.octets());
                }
                Ok(IpAddr::V6(ip)) => {
                    request.push(4);
                    request.extend(ip.octets());
                }
                Err(_) => {
                    request.extend([3, u8::try_from(host.len()).map_err(io::Error::other)?]);
                    request.extend(host.as_bytes());
                }
            }
            request.extend(port.to_be_bytes());
            stream.write_all(&request).await?;
            let mut reply = [0; 4];
            stream.read_exact(&mut reply).await?;
            let bound = match reply[3] {
                1 => 4 + 2,
                4 => 16 + 2,
                other => return Err(io::Error::other(format!("address type {other} in a reply"))),
            };
            stream.read_exact(&mut vec![0; bound]).await?;
            if reply[..2] == [5, 0] { Ok(stream) } else { Err(refused("reply", reply[1])) }
        })
        .await
    }

    async fn log_in(&self, stream: &mut TcpStream) -> io::Result<()> {
        let offered: &[u8] = if self.login.is_some() { &[5, 2, 0, 2] } else { &[5, 1, 0] };
        stream.write_all(offered).await?;
        let mut chosen = [0; 2];
        stream.read_exact(&mut chosen).await?;
        match (chosen, &self.login) {
            ([5, 0], _) => Ok(()),
            ([5, 2], Some((user, password))) => {
                let length = |text: &str| u8::try_from(text.len()).map_err(io::Error::other);
                let mut login = vec![1, length(user)?];
                login.extend(user.as_bytes());
                login.push(length(password)?);
                login.extend(password.as_bytes());
                stream.write_all(&login).await?;
                let mut answer = [0; 2];
                stream.read_exact(&mut answer).await?;
                if answer == [1, 0] { Ok(()) } else { Err(refused("login", answer[1])) }
            }
            ([_, method], _) => Err(refused("method", method)),
        }
    }

    /// Asks for `authority` by version 4, or 4a where it is a name.
    pub async fn tunnel4(&self, authority: &str) -> io::Result<TcpStream> {
        within("the SOCKS 4 tunnel", async {
            let mut stream = TcpStream::connect(self.proxy).await?;
            let (host, port) = (host_of(authority), port_of(authority)?);
            let mut request = vec![4, 1];
            request.extend(port.to_be_bytes());
            match host.parse() {
                Ok(IpAddr::V4(ip)) => request.extend([&ip.octets()[..], b"user\0"].concat()),
                _ => request.extend([&[0, 0, 0, 1][..], b"user\0", host.as_bytes(), b"\0"].concat()),
            }
            stream.write_all(&request).await?;
            let mut reply = [0; 8];
            stream.read_exact(&mut reply).await?;
            if reply[..2] == [0, 90] { Ok(stream) } else { Err(refused("reply", reply[1])) }
        })
        .await
    }
}

fn refused(what: &str, code: u8) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionRefused, format!("{what} {code}"))
}

fn port_of(authority: &str) -> io::Result<u16> {
    let port = authority.rsplit_once(':').map_or("", |(_, port)| port);
    port.parse().map_err(io::Error::other)
}
