//! SOCKS on the client's side: what is said to the parent, and what its answers mean.
//!
//! Pure messages here; [`reach`](super::reach) sends them. RFC 1928, RFC 1929, and the SOCKS 4 and 4a protocols.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::url::Credentials;

const VERSION_5: u8 = 5;
const VERSION_4: u8 = 4;
const CONNECT: u8 = 1;
/// RFC 1929 section 2.
const AUTHENTICATION_VERSION: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// Octets of a SOCKS 5 reply before its address: version, reply, reserved, address type, and one octet more, which is
/// the length where the address is a name (RFC 1928 section 6).
pub(super) const REPLY_5_START: usize = 5;

/// Octets of a SOCKS 4 reply.
pub(super) const REPLY_4: usize = 8;

/// What a parent is asked to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target<'h> {
    Address(SocketAddr),
    Name(&'h str, u16),
}

/// How the parent wants us to prove who we are (RFC 1928 section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    None,
    Password,
}

/// The first words of SOCKS 5: without authentication, or with a password where we have one.
pub(super) fn greeting(has_credentials: bool) -> &'static [u8] {
    if has_credentials { &[VERSION_5, 2, 0, 2] } else { &[VERSION_5, 1, 0] }
}

/// What the parent chose of what was offered.
pub(super) fn chosen(answer: [u8; 2], has_credentials: bool) -> Result<Method, String> {
    match answer {
        [VERSION_5, 0] => Ok(Method::None),
        [VERSION_5, 2] if has_credentials => Ok(Method::Password),
        [VERSION_5, 0xff] if has_credentials => {
            Err("it takes neither a password nor a connection without one".to_owned())
        }
        [VERSION_5, 0xff | 2] => {
            Err("it wants authentication (put the user and password in its URL)".to_owned())
        }
        [VERSION_5, method] => Err(format!("it chose authentication method {method}, which was not offered")),
        _ => Err("it does not speak SOCKS 5".to_owned()),
    }
}

/// User and password (RFC 1929 section 2). Their lengths were checked when the URL was read.
pub(super) fn password(Credentials { user, password }: &Credentials) -> Vec<u8> {
    let mut message = vec![AUTHENTICATION_VERSION];
    for part in [user, password] {
        message.push(u8::try_from(part.len()).unwrap_or(u8::MAX));
        message.extend(part.iter().take(usize::from(u8::MAX)));
    }
    message
}

/// What the parent says to the password; any status but 0 is a refusal.
pub(super) fn accepted(answer: [u8; 2]) -> Result<(), String> {
    match answer[1] {
        0 => Ok(()),
        _ => Err("it refused the user or password".to_owned()),
    }
}

/// The request to connect in SOCKS 5 (RFC 1928 section 4).
pub(super) fn connect_5(target: &Target<'_>) -> Result<Vec<u8>, String> {
    let mut message = vec![VERSION_5, CONNECT, 0];
    let port = match target {
        Target::Address(addr) => {
            match addr.ip() {
                IpAddr::V4(ip) => {
                    message.push(IPV4);
                    message.extend(ip.octets());
                }
                IpAddr::V6(ip) => {
                    message.push(IPV6);
                    message.extend(ip.octets());
                }
            }
            addr.port()
        }
        Target::Name(name, port) => {
            let length =
                u8::try_from(name.len()).map_err(|_| "the name is longer than 255 octets".to_owned())?;
            message.extend([NAME, length]);
            message.extend(name.as_bytes());
            *port
        }
    };
    message.extend(port.to_be_bytes());
    Ok(message)
}

/// What a SOCKS 5 reply says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply5 {
    /// The tunnel is there, after this many more octets of address and port.
    Open { rest: usize },
    /// It is not; `elsewhere` says that another address of the same name may do.
    Refused { why: String, elsewhere: bool },
}

/// Reads the beginning of a SOCKS 5 reply.
pub(super) fn reply_5(start: [u8; REPLY_5_START]) -> Result<Reply5, String> {
    let [version, code, _reserved, kind, first] = start;
    if version != VERSION_5 {
        return Err("it does not speak SOCKS 5".to_owned());
    }
    if code != 0 {
        return Ok(Reply5::Refused { why: refusal_5(code), elsewhere: matches!(code, 3..=6 | 8) });
    }
    // One octet of the address was read already, or its length where it is a name; two more are the port.
    let address = match kind {
        IPV4 => 3,
        IPV6 => 15,
        NAME => usize::from(first),
        _ => return Err(format!("its reply has address type {kind}, which does not exist")),
    };
    Ok(Reply5::Open { rest: address + 2 })
}

/// RFC 1928 section 6.
fn refusal_5(code: u8) -> String {
    let text = match code {
        1 => "general failure",
        2 => "its rules do not allow it",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "TTL expired",
        7 => "it knows no CONNECT",
        8 => "it does not support this type of address",
        _ => "unknown reply",
    };
    format!("{text} (SOCKS reply {code})")
}

/// The request to connect in SOCKS 4, or 4a where the target is a name.
pub(super) fn connect_4(target: &Target<'_>, credentials: Option<&Credentials>) -> Result<Vec<u8>, String> {
    let (ip, port, name) = match target {
        Target::Address(SocketAddr::V4(addr)) => (*addr.ip(), addr.port(), None),
        Target::Address(SocketAddr::V6(_)) => {
            return Err("SOCKS 4 reaches IPv4 addresses only (use socks5)".to_owned());
        }
        // 4a: an address that cannot be one says that a name follows.
        Target::Name(name, port) => (Ipv4Addr::new(0, 0, 0, 1), *port, Some(*name)),
    };
    let mut message = vec![VERSION_4, CONNECT];
    message.extend(port.to_be_bytes());
    message.extend(ip.octets());
    message.extend(credentials.map(|credentials| &credentials.user[..]).unwrap_or_default());
    message.push(0);
    if let Some(name) = name {
        if name.len() > 255 || name.as_bytes().contains(&0) {
            return Err("the name cannot be sent in SOCKS 4a".to_owned());
        }
        message.extend(name.as_bytes());
        message.push(0);
    }
    Ok(message)
}

/// What a SOCKS 4 reply says: open, or why not.
pub(super) fn reply_4(reply: [u8; REPLY_4]) -> Result<(), String> {
    match reply {
        [0, 90, ..] => Ok(()),
        [0, 91, ..] => Err("request rejected or failed (SOCKS 4 reply 91)".to_owned()),
        [0, 92, ..] => Err("it found no identd here (SOCKS 4 reply 92)".to_owned()),
        [0, 93, ..] => Err("identd here named another user (SOCKS 4 reply 93)".to_owned()),
        _ => Err("it does not speak SOCKS 4".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_what_the_protocols_say() {
        let v4 = Target::Address("192.0.2.1:258".parse().unwrap());
        let v6 = Target::Address("[2001:db8::1]:80".parse().unwrap());
        let name = Target::Name("a.b", 443);
        assert_eq!(connect_5(&v4).unwrap(), [5, 1, 0, 1, 192, 0, 2, 1, 1, 2]);
        assert_eq!(connect_5(&v6).unwrap()[..6], [5, 1, 0, 4, 0x20, 1]);
        assert_eq!(connect_5(&name).unwrap(), b"\x05\x01\x00\x03\x03a.b\x01\xbb");
        assert_eq!(connect_4(&v4, None).unwrap(), [4, 1, 1, 2, 192, 0, 2, 1, 0]);
        let user = Credentials { user: b"me".to_vec(), password: Vec::new() };
        assert_eq!(connect_4(&name, Some(&user)).unwrap(), b"\x04\x01\x01\xbb\x00\x00\x00\x01me\x00a.b\x00");
        assert!(connect_4(&v6, None).is_err());
        assert!(connect_5(&Target::Name(&"x".repeat(256), 1)).is_err());
        let user = Credentials { user: b"u".to_vec(), password: b"pw".to_vec() };
        assert_eq!(password(&user), b"\x01\x01u\x02pw");
    }

    #[test]
    fn answers_mean_what_the_protocols_say() {
        assert_eq!(chosen([5, 0], false), Ok(Method::None));
        assert_eq!(chosen([5, 2], true), Ok(Method::Password));
        for (answer, has_credentials) in [
            ([5, 2], false),
            ([5, 255], true),
            ([5, 255], false),
            ([5, 1], true),
            ([4, 0], true),
            ([72, 84], true),
        ] {
            assert!(chosen(answer, has_credentials).is_err(), "{answer:?}");
        }
        assert_eq!(reply_5([5, 0, 0, 1, 9]), Ok(Reply5::Open { rest: 5 }));
        assert_eq!(reply_5([5, 0, 0, 4, 9]), Ok(Reply5::Open { rest: 17 }));
        assert_eq!(reply_5([5, 0, 0, 3, 9]), Ok(Reply5::Open { rest: 11 }));
        assert!(matches!(reply_5([5, 5, 0, 1, 0]), Ok(Reply5::Refused { elsewhere: true, .. })));
        assert!(matches!(reply_5([5, 2, 0, 1, 0]), Ok(Reply5::Refused { elsewhere: false, .. })));
        assert!(reply_5([5, 0, 0, 9, 0]).is_err() && reply_5([4, 0, 0, 1, 0]).is_err());
        assert!(reply_4([0, 90, 0, 0, 0, 0, 0, 0]).is_ok());
        assert!(reply_4([0, 91, 0, 0, 0, 0, 0, 0]).is_err() && reply_4([5; 8]).is_err());
    }
}
