//! Addresses as they are compared, and the address policy: which of them the proxy dials when it is to keep out of private
//! networks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::targets::{TargetPattern, is_localhost};

/// An address as it is compared: IPv4 mapped into IPv6 is IPv4, and scopes do not count.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Which upstream addresses may be dialled.
///
/// Without one every address may. With [`block_private`](Self::block_private) those that are not of the public internet
/// may not: loopback, RFC 1918, link-local with the metadata services of clouds, carrier-grade NAT, unique local,
/// unspecified, multicast, documentation and reserved ranges, and IPv6 addresses that carry such an IPv4 address in them
/// (mapped, compatible, 6to4, NAT64, ISATAP). What is judged is the address that is about to be dialled, after names are
/// resolved, so a name that resolves to something else the next time gains nothing.
///
/// Names that a parent proxy resolves are the parent's to judge; addresses in whatever spelling, and `localhost`, are
/// judged here all the same.
#[derive(Clone, Debug, Default)]
pub struct AddressPolicy {
    blocks: bool,
    allowed: Vec<TargetPattern>,
}

impl AddressPolicy {
    /// Every address may be dialled.
    #[must_use]
    pub fn open() -> Self {
        Self::default()
    }

    /// Only addresses of the public internet may be dialled.
    #[must_use]
    pub fn block_private() -> Self {
        Self { blocks: true, allowed: Vec::new() }
    }

    /// Makes an exception: for a name, wherever it leads; for an address or range, whatever name leads there.
    #[must_use]
    pub fn allow(mut self, target: TargetPattern) -> Self {
        self.allowed.push(target);
        self
    }

    /// Says what keeps an address from being dialled for `host`.
    pub(crate) fn refusal(&self, host: &str, port: u16, address: IpAddr) -> Option<&'static str> {
        let kind = self.blocks.then(|| private_kind(address)).flatten()?;
        let is_allowed = self.allowed.iter().any(|target| target.matches_at(host, port, address));
        (!is_allowed).then_some(kind)
    }

    /// Says what keeps a host from being asked for at a parent proxy that resolves it.
    pub(crate) fn refusal_unresolved(&self, host: &str, port: u16) -> Option<&'static str> {
        let spelt = spelt_address(host);
        match spelt {
            Some(address) => self.refusal(host, port, address),
            None if is_localhost(host) => self.refusal(host, port, Ipv4Addr::LOCALHOST.into()),
            None => None,
        }
    }
}

/// An address however it is spelt: as usual, or in the forms `inet_aton` takes (`127.1`, `0x7f000001`, `017700000001`).
fn spelt_address(host: &str) -> Option<IpAddr> {
    let bare = host.split_once('%').map_or(host, |(address, _zone)| address);
    bare.parse().ok().or_else(|| inet_aton(host.strip_suffix('.').unwrap_or(host)).map(IpAddr::V4))
}

/// Reads up to four numbers in decimal, octal or hexadecimal, the last of which fills what is left.
fn inet_aton(text: &str) -> Option<Ipv4Addr> {
    let number = |text: &str| match text.as_bytes() {
        [b'0', b'x' | b'X', digits @ ..] => radix(digits, 16),
        [b'0', digits @ ..] if !digits.is_empty() => radix(digits, 8),
        digits => radix(digits, 10),
    };
    let parts: Vec<u32> = text.split('.').take(5).map(number).collect::<Option<_>>()?;
    let (last, leading) = parts.split_last()?;
    if leading.len() > 3 || leading.iter().any(|part| *part > 255) {
        return None;
    }
    let filled = 8 * u32::try_from(4 - leading.len()).ok()?;
    if u64::from(*last) >= 1_u64 << filled {
        return None;
    }
    let high = leading.iter().enumerate().fold(0, |bits, (at, part)| bits | part << (24 - 8 * at));
    Some(Ipv4Addr::from(high | last))
}

fn radix(digits: &[u8], radix: u32) -> Option<u32> {
    let text = std::str::from_utf8(digits).ok()?;
    let is_plain = !text.is_empty() && text.chars().all(|digit| digit.is_digit(radix));
    is_plain.then(|| u32::from_str_radix(text, radix).ok()).flatten()
}

/// What an address is that is not of the public internet; `None` for one that is.
fn private_kind(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => private_v4(address),
        IpAddr::V6(address) => private_v6(address),
    }
}

/// By IANA's registry of special-purpose addresses (RFC 6890).
fn private_v4(address: Ipv4Addr) -> Option<&'static str> {
    Some(match address.octets() {
        [0, ..] => "an unspecified address",
        [127, ..] => "a loopback address",
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => "a private address (RFC 1918)",
        [100, 64..=127, ..] => "an address of carrier-grade NAT (RFC 6598)",
        [169, 254, 169, 254] | [168, 63, 129, 16] => "a cloud's metadata service",
        [169, 254, ..] => "a link-local address",
        [192, 0, 0, _] | [192, 88, 99, _] => "an address of a protocol's own (RFC 6890)",
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => "an address for documentation (RFC 5737)",
        [198, 18..=19, ..] => "an address for benchmarks (RFC 2544)",
        [224..=239, ..] => "a multicast address",
        [240..=255, ..] => "a reserved address",
        _ => return None,
    })
}

fn private_v6(address: Ipv6Addr) -> Option<&'static str> {
    if address.is_unspecified() {
        return Some("an unspecified address");
    }
    if address.is_loopback() {
        return Some("a loopback address");
    }
    Some(match address.segments() {
        [0xfc00..=0xfdff, ..] => "a unique local address (RFC 4193)",
        [0xfe80..=0xfebf, ..] => "a link-local address",
        [0xfec0..=0xfeff, ..] => "a site-local address (RFC 3879)",
        [0xff00..=0xffff, ..] => "a multicast address",
        [0x2001, 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => "an address for documentation (RFC 3849)",
        [0x0064, 0xff9b, 1, ..] => "an address of local NAT64 (RFC 8215)",
        [0x0100, 0, 0, 0..=1, ..] => "a discard-only address (RFC 6666)",
        [0x5f00, ..] => "an address of segment routing (RFC 9602)",
        // Teredo hides both ends' IPv4 addresses; nothing public is served there any more.
        [0x2001, 0, ..] => "a Teredo address (RFC 4380)",
        segments => return embedded_v4(segments).and_then(private_v4),
    })
}

/// The IPv4 address that an IPv6 address leads to.
fn embedded_v4(segments: [u16; 8]) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    match segments {
        // Compatible and mapped (RFC 4291 section 2.5.5), translated (RFC 2765 section 2.1), NAT64 (RFC 6052).
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x0064, 0xff9b, 0, 0, 0, 0, high, low] => v4(high, low),
        // 6to4 (RFC 3056).
        [0x2002, high, low, ..] => v4(high, low),
        // ISATAP (RFC 5214 section 6.1).
        [_, _, _, _, 0 | 0x0200, 0x5efe, high, low] => v4(high, low),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Addresses that are not of the public internet, plain and in IPv6 clothes.
    const BLOCKED: &str = "\
        0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 100.100.100.200 100.127.255.255 127.0.0.1 127.255.0.1 \
        168.63.129.16 169.254.169.254 169.254.0.1 172.16.0.1 172.31.255.255 192.0.0.192 192.0.2.1 \
        192.168.1.1 198.18.0.1 224.0.0.1 239.1.1.1 240.0.0.1 255.255.255.255 :: ::1 fc00::1 fd00:ec2::254 \
        fe80::1 febf::1 fec0::1 ff02::1 2001:db8::1 2001::1 100::1 64:ff9b:1::1 ::ffff:127.0.0.1 \
        ::ffff:10.0.0.1 ::127.0.0.1 ::ffff:0:10.0.0.1 64:ff9b::169.254.169.254 64:ff9b::7f00:1 \
        2002:7f00:1:: 2002:a00:1::1 2002:c0a8:101::1 2600::5efe:10.0.0.1 2600::200:5efe:127.0.0.1";

    /// The nearest that are.
    const PUBLIC: &str = "\
        1.1.1.1 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.1 169.253.0.1 \
        172.15.0.1 172.32.0.1 192.0.1.1 192.167.0.1 223.255.255.255 2600::1 2606:4700::1111 ::ffff:8.8.8.8 \
        64:ff9b::8.8.8.8 2002:808:808::1 2001:4860::8888";

    #[test]
    fn addresses_outside_the_public_internet_are_blocked_in_whatever_clothes() {
        let policy = AddressPolicy::block_private();
        for blocked in BLOCKED.split_whitespace() {
            let address = blocked.parse().unwrap();
            assert!(policy.refusal("x.test", 80, address).is_some(), "{blocked}");
            assert!(AddressPolicy::open().refusal("x.test", 80, address).is_none(), "{blocked}");
        }
        for public in PUBLIC.split_whitespace() {
            assert_eq!(policy.refusal("x.test", 80, public.parse().unwrap()), None, "{public}");
        }
    }

    #[test]
    fn exceptions_are_by_name_or_by_address() {
        let policy = AddressPolicy::block_private()
            .allow("*.corp.test".parse().unwrap())
            .allow("10.1.0.0/16:8080".parse().unwrap());
        for (host, port, address, refused) in [
            ("a.corp.test", 443, "10.9.9.9", false),
            ("corp.test", 443, "10.9.9.9", true),
            ("evil.test", 8080, "10.1.2.3", false),
            ("10.1.2.3", 8080, "10.1.2.3", false),
            ("10.1.2.3", 80, "10.1.2.3", true),
            ("evil.test", 8080, "10.2.2.3", true),
        ] {
            let refusal = policy.refusal(host, port, address.parse().unwrap());
            assert_eq!(refusal.is_some(), refused, "{host}:{port} {address}");
        }
    }

    #[test]
    fn what_a_parent_resolves_is_judged_by_its_spelling() {
        let policy = AddressPolicy::block_private();
        for (host, refused) in [
            ("127.0.0.1", true),
            ("127.1", true),
            ("2130706433", true),
            ("0x7f000001", true),
            ("0x7f.1", true),
            ("017700000001", true),
            ("0177.0.0.1", true),
            ("::1", true),
            ("fe80::1%eth0", true),
            ("LOCALHOST.", true),
            ("a.localhost", true),
            ("127.0.0.1.", true),
            ("8.8.8.8", false),
            ("134744072", false),
            ("example.com", false),
            ("1.2.3.4.5", false),
            ("256.1.1.1", false),
            ("4294967296", false),
            ("08", false),
            ("", false),
            ("0x", false),
            ("1..2", false),
        ] {
            assert_eq!(policy.refusal_unresolved(host, 80).is_some(), refused, "{host}");
        }
        assert_eq!(inet_aton("1.2.772"), Some(Ipv4Addr::new(1, 2, 3, 4)));
    }
}
