//! Where a connection went before the system redirected it here.

use std::net::SocketAddr;

use tokio::net::TcpStream;

use crate::address::canonical;

/// The original destination of a connection: what netfilter's REDIRECT or DNAT changed, or, where the connection was
/// taken as it is (TPROXY), its own. `None` when it was made to the listener itself, or the system does not say.
pub(crate) fn original_destination(tcp: &TcpStream, listener: SocketAddr) -> Option<SocketAddr> {
    let local = tcp.local_addr().ok()?;
    let translated = translated(tcp).filter(|original| *original != canonical(local));
    let own = (local.port() != listener.port()).then_some(canonical(local));
    translated.or(own)
}

/// `SO_ORIGINAL_DST` of the family the connection is of on the wire (linux/netfilter_ipv4.h, linux/netfilter_ipv6).
#[cfg(target_os = "linux")]
fn translated(tcp: &TcpStream) -> Option<SocketAddr> {
    let socket = socket2::SockRef::from(tcp);
    let is_v4 = tcp.local_addr().ok()?.ip().to_canonical().is_ipv4();
    let found = if is_v4 { socket.original_dst_v4() } else { socket.original_dst_v6() };
    found.ok()?.as_socket().map(canonical)
}

#[cfg(not(target_os = "linux"))]
fn translated(_: &TcpStream) -> Option<SocketAddr> {
    None
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_connection_made_to_the_listener_has_no_other_destination() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address).await else { continue };
            let local = listener.local_addr().unwrap();
            let (_client, accepted) = tokio::join!(TcpStream::connect(local), listener.accept());
            assert_eq!(original_destination(&accepted.unwrap().0, local), None, "{address}");
        }
    }
}
