//! Addresses and networks of them (RFC 4632).

use std::{fmt, net::IpAddr, str::FromStr};

/// A network of addresses, `10.0.0.0/8`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// The text is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("read the network; write one like 10.0.0.0/8, ::1 or 192.168.1.7")]
pub struct ParseNetworkError;

impl Network {
    /// Whether an address is in it. An IPv4 address in IPv6's form is the IPv4 address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address.to_canonical(), address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let host_bits = 32 - u32::from(self.bits.min(32));
                (network.to_bits() ^ address.to_bits()).checked_shr(host_bits).unwrap_or(0) == 0
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let host_bits = 128 - u32::from(self.bits.min(128));
                (network.to_bits() ^ address.to_bits()).checked_shr(host_bits).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = ParseNetworkError;

    fn from_str(text: &str) -> Result<Self, ParseNetworkError> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr =
            address.trim_start_matches('[').trim_end_matches(']').parse().map_err(|_| ParseNetworkError)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) => bits.parse().ok().filter(|bits| *bits <= most).ok_or(ParseNetworkError)?,
            None => most,
        };
        Ok(Self { address, bits })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_in_their_networks() {
        for (network, address, holds) in [
            ("10.0.0.0/8", "10.200.3.4", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("0.0.0.0/0", "11.0.0.1", true),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "::ffff:127.0.0.1", true),
            ("127.0.0.1", "::1", false),
            ("fe80::/10", "fe80::1", true),
            ("::/0", "fe80::1", true),
            ("[::1]", "::1", true),
        ] {
            let parsed: Network = network.parse().unwrap();
            assert_eq!(parsed.contains(address.parse().unwrap()), holds, "{network} {address}");
        }
        for bad in ["", "10", "10.0.0.0/33", "::/129", "10.0.0.0/", "a.test"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }
}
