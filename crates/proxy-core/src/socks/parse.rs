//! What a SOCKS client sends: pure functions over the bytes that came so far.
//!
//! Each gives the same answer however the bytes are split, and says how many of them it is of.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::http1::check_authority;

/// Version 5 (RFC 1928 section 3).
pub(super) const V5: u8 = 5;
/// Version 4.
pub(super) const V4: u8 = 4;
/// The version of the user name and password sub-negotiation (RFC 1929 section 2).
const LOGIN_VERSION: u8 = 1;

/// The longest user id or name of version 4, which has no length of its own: as long as those of version 5.
const MAX_TEXT_BYTES: usize = 255;

/// What the bytes so far say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Parsed<T> {
    /// This, in so many bytes.
    Yes(T, usize),
    /// More bytes have to come.
    NeedMore,
    /// No SOCKS, or one that cannot be served.
    No(Flaw),
}

/// What is wrong with what a client sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// The version is another than what came before.
    Version,
    /// The type of the address is none that is known.
    AddressType,
    /// The name cannot be one of a host, or the port is 0.
    Address,
    /// A text does not end.
    TooLong,
}

impl Flaw {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Version => "the SOCKS version is not the one it began with",
            Self::AddressType => "the SOCKS request has an unknown address type",
            Self::Address => "the SOCKS request names no host and port that can be dialled",
            Self::TooLong => "the SOCKS request has a text of more than 255 bytes",
        }
    }
}

/// The first a client says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Greeting {
    /// Version 5, with the authentication methods offered.
    V5(Vec<u8>),
    /// Version 4 or 4a, which begins with the request.
    V4(Request),
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) command: Command,
    /// A name or an address without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Request {
    /// `host:port`, IPv6 addresses in brackets.
    pub(crate) fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

/// The command of a request (RFC 1928 section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Connect,
    Bind,
    UdpAssociate,
    Other(u8),
}

impl From<u8> for Command {
    fn from(command: u8) -> Self {
        match command {
            1 => Self::Connect,
            2 => Self::Bind,
            3 => Self::UdpAssociate,
            other => Self::Other(other),
        }
    }
}

/// A user name and password as sent.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) user: Vec<u8>,
    pub(crate) password: Vec<u8>,
}

/// Tells nothing of the two.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").finish_non_exhaustive()
    }
}

/// Reads the first message of a client of either version.
pub(crate) fn greeting(bytes: &[u8]) -> Parsed<Greeting> {
    match bytes {
        [] | [V5] => Parsed::NeedMore,
        [V5, count, methods @ ..] => match methods.get(..usize::from(*count)) {
            Some(methods) => Parsed::Yes(Greeting::V5(methods.to_vec()), 2 + methods.len()),
            None => Parsed::NeedMore,
        },
        [V4, ..] => match version4(bytes) {
            Parsed::Yes(request, length) => Parsed::Yes(Greeting::V4(request), length),
            Parsed::NeedMore => Parsed::NeedMore,
            Parsed::No(flaw) => Parsed::No(flaw),
        },
        _ => Parsed::No(Flaw::Version),
    }
}

/// Reads a request of version 4 or 4a: version, command, port, address, user id, and a name where the address says so
/// (<https://www.openssh.com/txt/socks4.protocol>, <https://www.openssh.com/txt/socks4a.protocol>).
fn version4(bytes: &[u8]) -> Parsed<Request> {
    let [_, command, p0, p1, a, b, c, d, rest @ ..] = bytes else { return Parsed::NeedMore };
    let port = u16::from_be_bytes([*p0, *p1]);
    let user = match terminated(rest) {
        Parsed::Yes((), length) => length,
        Parsed::NeedMore => return Parsed::NeedMore,
        Parsed::No(flaw) => return Parsed::No(flaw),
    };
    let is_named = [*a, *b, *c] == [0; 3] && *d != 0;
    if !is_named {
        let host = IpAddr::from([*a, *b, *c, *d]);
        return finish(*command, host.to_string(), port, 8 + user);
    }
    let rest = &rest[user..];
    match terminated(rest) {
        Parsed::Yes((), length) => match host(&rest[..length - 1]) {
            Some(host) => finish(*command, host, port, 8 + user + length),
            None => Parsed::No(Flaw::Address),
        },
        Parsed::NeedMore => Parsed::NeedMore,
        Parsed::No(flaw) => Parsed::No(flaw),
    }
}

/// A text that ends in NUL; gives its length with that.
fn terminated(bytes: &[u8]) -> Parsed<()> {
    match bytes.iter().take(MAX_TEXT_BYTES + 1).position(|byte| *byte == 0) {
        Some(at) => Parsed::Yes((), at + 1),
        None if bytes.len() > MAX_TEXT_BYTES => Parsed::No(Flaw::TooLong),
        None => Parsed::NeedMore,
    }
}

/// Reads a user name and password (RFC 1929 section 2).
pub(crate) fn login(bytes: &[u8]) -> Parsed<Login> {
    let [version, rest @ ..] = bytes else { return Parsed::NeedMore };
    if *version != LOGIN_VERSION {
        return Parsed::No(Flaw::Version);
    }
    let Some((user, rest)) = counted(rest) else { return Parsed::NeedMore };
    let Some((password, _)) = counted(rest) else { return Parsed::NeedMore };
    let length = 3 + user.len() + password.len();
    Parsed::Yes(Login { user: user.to_vec(), password: password.to_vec() }, length)
}

/// A text after its length, and what follows.
fn counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

/// Reads a request of version 5 (RFC 1928 section 4).
pub(crate) fn request(bytes: &[u8]) -> Parsed<Request> {
    if bytes.first().is_some_and(|version| *version != V5) {
        return Parsed::No(Flaw::Version);
    }
    let [_, command, _reserved, kind, rest @ ..] = bytes else { return Parsed::NeedMore };
    let (host, length) = match kind {
        1 => match rest.first_chunk::<4>() {
            Some(octets) => (Some(Ipv4Addr::from(*octets).to_string()), 4),
            None => return Parsed::NeedMore,
        },
        3 => match counted(rest) {
            Some((name, _)) => (host(name), 1 + name.len()),
            None => return Parsed::NeedMore,
        },
        4 => match rest.first_chunk::<16>() {
            Some(octets) => (Some(Ipv6Addr::from(*octets).to_string()), 16),
            None => return Parsed::NeedMore,
        },
        _ => return Parsed::No(Flaw::AddressType),
    };
    let Some(port) = rest[length..].first_chunk() else { return Parsed::NeedMore };
    match host {
        Some(host) => finish(*command, host, u16::from_be_bytes(*port), 4 + length + 2),
        None => Parsed::No(Flaw::Address),
    }
}

/// Port 0 is for the commands that do not dial.
fn finish(command: u8, host: String, port: u16, length: usize) -> Parsed<Request> {
    let command = Command::from(command);
    if port == 0 && command == Command::Connect {
        return Parsed::No(Flaw::Address);
    }
    Parsed::Yes(Request { command, host, port }, length)
}

/// The name as that of a host. Clients send addresses as names as well, with and without brackets.
fn host(name: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(name).ok()?;
    let bare = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Some(address.to_string());
    }
    (!name.contains([':', '[']) && check_authority(name).is_ok()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn asked(command: Command, host: &str, port: u16) -> Request {
        Request { command, host: host.to_owned(), port }
    }

    #[track_caller]
    fn check<T: PartialEq + Debug>(parse: fn(&[u8]) -> Parsed<T>, bytes: &[u8], expected: T) {
        for cut in 0..bytes.len() {
            assert_eq!(parse(&bytes[..cut]), Parsed::NeedMore, "{cut} of {bytes:?}");
        }
        assert_eq!(parse(bytes), Parsed::Yes(expected, bytes.len()));
    }

    #[test]
    fn requests_of_version_5_are_read() {
        check(
            request,
            b"\x05\x01\x00\x01\x7f\x00\x00\x01\x01\xbb",
            asked(Command::Connect, "127.0.0.1", 443),
        );
        check(request, b"\x05\x01\x00\x03\x09a.example\x00\x50", asked(Command::Connect, "a.example", 80));
        let v6 = b"\x05\x01\x00\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x00\x50";
        check(request, v6, asked(Command::Connect, "2001:db8::1", 80));
        check(request, b"\x05\x01\x00\x03\x03::1\x00\x50", asked(Command::Connect, "::1", 80));
        check(request, b"\x05\x01\x00\x03\x05[::1]\x00\x50", asked(Command::Connect, "::1", 80));
        check(request, b"\x05\x03\x00\x01\0\0\0\0\0\0", asked(Command::UdpAssociate, "0.0.0.0", 0));
        check(request, b"\x05\x02\x00\x01\0\0\0\0\0\0", asked(Command::Bind, "0.0.0.0", 0));
        check(request, b"\x05\x09\x00\x01\0\0\0\0\0\x01", asked(Command::Other(9), "0.0.0.0", 1));
        assert_eq!(asked(Command::Connect, "::1", 80).authority(), "[::1]:80");
    }

    #[test]
    fn requests_of_versions_4_and_4a_are_read() {
        let v4 = b"\x04\x01\x01\xbb\x7f\x00\x00\x01ann\x00";
        check(greeting, v4, Greeting::V4(asked(Command::Connect, "127.0.0.1", 443)));
        let v4a = b"\x04\x01\x00\x50\x00\x00\x00\x01\x00a.example\x00";
        check(greeting, v4a, Greeting::V4(asked(Command::Connect, "a.example", 80)));
        check(greeting, b"\x05\x02\x00\x02", Greeting::V5(vec![0, 2]));
        check(greeting, b"\x05\x00", Greeting::V5(vec![]));
    }

    #[test]
    fn logins_are_read() {
        for (bytes, user, password) in
            [(&b"\x01\x03ann\x02pw"[..], &b"ann"[..], &b"pw"[..]), (b"\x01\x00\x00", b"", b"")]
        {
            let Parsed::Yes(login, length) = login(bytes) else { unreachable!("{bytes:?}") };
            assert_eq!((&login.user[..], &login.password[..], length), (user, password, bytes.len()));
        }
        assert!(matches!(login(b"\x01\x03ann\x02p"), Parsed::NeedMore));
        assert!(matches!(login(b"\x05"), Parsed::No(Flaw::Version)));
    }

    #[test]
    fn what_cannot_be_served_is_told_as_soon_as_it_is_seen() {
        for (bytes, flaw) in [
            (&b"\x04"[..], Flaw::Version),
            (b"\x05\x01\x00\x02", Flaw::AddressType),
            (b"\x05\x01\x00\x03\x03a b\x00\x50", Flaw::Address),
            (b"\x05\x01\x00\x03\x06a:8080\x00\x50", Flaw::Address),
            (b"\x05\x01\x00\x03\x05a\r\nb:\x00\x50", Flaw::Address),
            (b"\x05\x01\x00\x03\x00\x00\x50", Flaw::Address),
            (b"\x05\x01\x00\x03\x01\xff\x00\x50", Flaw::Address),
            (b"\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x00", Flaw::Address),
        ] {
            assert_eq!(request(bytes), Parsed::No(flaw), "{bytes:?}");
        }
        let endless = [&b"\x04\x01\x00\x50\x7f\x00\x00\x01"[..], &[b'a'; 256]].concat();
        assert_eq!(greeting(&endless), Parsed::No(Flaw::TooLong));
        assert_eq!(greeting(b"GET"), Parsed::No(Flaw::Version));
    }

    /// Once there is an answer, no further byte changes it.
    fn is_stable<T: PartialEq + Debug>(
        parse: fn(&[u8]) -> Parsed<T>,
        bytes: &[u8],
    ) -> Result<(), TestCaseError> {
        let mut answer = Parsed::NeedMore;
        for end in 0..=bytes.len() {
            let found = parse(&bytes[..end]);
            if let Parsed::Yes(_, length) = found {
                prop_assert!(length <= end);
            }
            if answer != Parsed::NeedMore {
                prop_assert_eq!(&found, &answer);
            }
            answer = found;
        }
        Ok(())
    }

    fn messages() -> impl Strategy<Value = Vec<u8>> {
        let tail = || vec(any::<u8>(), 0..300);
        prop_oneof![
            tail(),
            tail().prop_map(|tail| [&[4, 1, 0, 80, 0, 0, 0, 1][..], &tail].concat()),
            (1..6u8, tail()).prop_map(|(kind, tail)| [&[5, 1, 0, kind][..], &tail].concat()),
            ("[a-z.:\\[\\]]{0,20}", tail()).prop_map(|(name, tail)| {
                let length = u8::try_from(name.len()).unwrap();
                [&[5, 1, 0, 3, length], name.as_bytes(), &tail[..]].concat()
            }),
            tail().prop_map(|tail| [&[1][..], &tail].concat()),
        ]
    }

    proptest! {
        #[test]
        fn every_split_of_a_message_reads_the_same(bytes in messages()) {
            is_stable(greeting, &bytes)?;
            is_stable(login, &bytes)?;
            is_stable(request, &bytes)?;
        }

        #[test]
        fn what_is_read_can_be_dialled_and_named(bytes in messages()) {
            if let Parsed::Yes(request, _) = request(&bytes) {
                prop_assert!(check_authority(&request.authority()).is_ok());
            }
        }
    }
}
