//! What a SOCKS client is answered.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::failure::{Failure, FailureKind};

/// How a request went, of either version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Succeeded,
    GeneralFailure,
    NotAllowed,
    HostUnreachable,
    Refused,
    /// Nobody answered in time: "TTL expired".
    TimedOut,
    CommandNotSupported,
    AddressNotSupported,
}

impl Reply {
    /// What tells of a tunnel that cannot be opened.
    pub(super) fn of(failure: &Failure) -> Self {
        match failure.kind {
            FailureKind::ConnectionRefused => Self::Refused,
            FailureKind::Dns | FailureKind::Unreachable => Self::HostUnreachable,
            FailureKind::ConnectTimeout => Self::TimedOut,
            FailureKind::Loop
            | FailureKind::BlockedAddress
            | FailureKind::ClientNotAllowed
            | FailureKind::ClientUnauthenticated => Self::NotAllowed,
            _ => Self::GeneralFailure,
        }
    }

    /// Its code in version 5 (RFC 1928 section 6).
    fn code(self) -> u8 {
        match self {
            Self::Succeeded => 0,
            Self::GeneralFailure => 1,
            Self::NotAllowed => 2,
            Self::HostUnreachable => 4,
            Self::Refused => 5,
            Self::TimedOut => 6,
            Self::CommandNotSupported => 7,
            Self::AddressNotSupported => 8,
        }
    }

    /// The reply of version 5, with the address we dialled from.
    pub(super) fn version5(self, bound: Option<SocketAddr>) -> Vec<u8> {
        let bound = bound.unwrap_or(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
        let mut reply = vec![5, self.code(), 0];
        match bound.ip().to_canonical() {
            IpAddr::V4(ip) => {
                reply.push(1);
                reply.extend_from_slice(&ip.octets());
            }
            IpAddr::V6(ip) => {
                reply.push(4);
                reply.extend_from_slice(&ip.octets());
            }
        }
        reply.extend_from_slice(&bound.port().to_be_bytes());
        reply
    }

    /// The reply of version 4, which knows yes and no, and has an address that CONNECT's clients are to ignore.
    pub(super) fn version4(self) -> Vec<u8> {
        vec![0, if self == Self::Succeeded { 90 } else { 91 }, 0, 0, 0, 0, 0, 0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_those_of_the_rfc() {
        let bound = Some("127.0.0.1:258".parse().unwrap());
        assert_eq!(Reply::Succeeded.version5(bound), [5, 0, 0, 1, 127, 0, 0, 1, 1, 2]);
        assert_eq!(Reply::Refused.version5(None), [5, 5, 0, 1, 0, 0, 0, 0, 0, 0]);
        let v6 = Reply::Succeeded.version5(Some("[::1]:258".parse().unwrap()));
        assert_eq!((v6.len(), &v6[..4], &v6[19..]), (22, &[5, 0, 0, 4][..], &[1, 1, 2][..]));
        assert_eq!(Reply::Succeeded.version4()[..2], [0, 90]);
        assert_eq!(Reply::NotAllowed.version4()[..2], [0, 91]);
    }

    #[test]
    fn failures_have_the_code_nearest_to_them() {
        for (kind, code) in [
            (FailureKind::ConnectionRefused, 5),
            (FailureKind::Dns, 4),
            (FailureKind::Unreachable, 4),
            (FailureKind::ConnectTimeout, 6),
            (FailureKind::Loop, 2),
            (FailureKind::BlockedAddress, 2),
            (FailureKind::Limit, 1),
        ] {
            assert_eq!(Reply::of(&Failure::new(kind, "")).code(), code, "{kind}");
        }
    }
}
