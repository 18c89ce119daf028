//! The names of upstream's certificate, for a leaf that has the same.

use std::net::IpAddr;

use rcgen::SanType;
use x509_parser::{extensions::GeneralName, parse_x509_certificate};

use super::leaf::Subject;

/// Names taken over at most. Public authorities allow 100; a leaf goes out with every handshake.
const MAX_NAMES: usize = 100;

/// Bytes of names taken over at most.
const MAX_NAME_BYTES: usize = 4 * 1024;

/// The longest common name (RFC 5280 appendix A.1, `ub-common-name`).
const MAX_COMMON_NAME: usize = 64;

/// What a leaf takes over from upstream's certificate.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Mirrored {
    pub(super) common_name: Option<String>,
    /// Beside the host the leaf is for.
    pub(super) names: Vec<SanType>,
}

/// What there is to take over from a certificate for the leaf of this host; `None` when the certificate is not for the
/// host: its other names are then none of the host's either.
///
/// Names beyond the bounds are left out; those that are no host names, and wildcards over all of a top-level domain,
/// which no client accepts, as well.
pub(super) fn mirror(certificate: &[u8], host: &Subject) -> Option<Mirrored> {
    let (_, parsed) = parse_x509_certificate(certificate).ok()?;
    let alternative = parsed.subject_alternative_name().ok().flatten()?;
    let all: Vec<Name> = alternative.value.general_names.iter().filter_map(Name::read).collect();
    if !all.iter().any(|name| name.covers(host)) {
        return None;
    }
    let mut mirrored = Mirrored::default();
    let common_name = parsed.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
    mirrored.common_name = common_name
        .filter(|name| !name.is_empty() && name.len() <= MAX_COMMON_NAME && !name.contains(char::is_control))
        .map(str::to_owned);
    let mut room = MAX_NAME_BYTES;
    for name in all.into_iter().filter(|name| !name.is(host)).take(MAX_NAMES) {
        let Some(left) = room.checked_sub(name.len()) else { break };
        if let Some(alternative) = name.into_alternative() {
            room = left;
            mirrored.names.push(alternative);
        }
    }
    Some(mirrored)
}

/// A name of a certificate that can be a host's.
enum Name {
    /// In lower case.
    Dns(String),
    /// `*.` and this, in lower case.
    Below(String),
    Ip(IpAddr),
}

impl Name {
    fn read(general: &GeneralName<'_>) -> Option<Self> {
        match general {
            GeneralName::DNSName(name) => {
                let (below, name) = match name.strip_prefix("*.") {
                    Some(rest) if rest.contains('.') => (true, rest),
                    Some(_) => return None,
                    None => (false, *name),
                };
                let Ok(Subject::Dns(name)) = Subject::parse(name) else { return None };
                Some(if below { Self::Below(name) } else { Self::Dns(name) })
            }
            GeneralName::IPAddress(bytes) => {
                let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
                v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from)).ok().map(Self::Ip)
            }
            _ => None,
        }
    }

    fn is(&self, host: &Subject) -> bool {
        match (self, host) {
            (Self::Dns(name), Subject::Dns(host)) => name == host,
            (Self::Ip(ip), Subject::Ip(host)) => ip == host,
            _ => false,
        }
    }

    /// Whether the name is that host, or a wildcard over it: one label, the leftmost (RFC 9525 section 6.3).
    fn covers(&self, host: &Subject) -> bool {
        match (self, host) {
            (Self::Below(suffix), Subject::Dns(host)) => {
                host.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == suffix)
            }
            _ => self.is(host),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Dns(name) => name.len(),
            Self::Below(name) => name.len() + 2,
            Self::Ip(_) => 16,
        }
    }

    fn into_alternative(self) -> Option<SanType> {
        match self {
            Self::Dns(name) => name.try_into().ok().map(SanType::DnsName),
            Self::Below(name) => format!("*.{name}").try_into().ok().map(SanType::DnsName),
            Self::Ip(ip) => Some(SanType::IpAddress(ip)),
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    fn certificate(common_name: &str, names: Vec<SanType>) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.subject_alt_names = names;
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    fn dns(name: &str) -> SanType {
        SanType::DnsName(name.try_into().unwrap())
    }

    fn mirrored(names: &[&str], host: &str) -> Option<Vec<SanType>> {
        let names = names.iter().map(|name| dns(name)).collect();
        mirror(&certificate("x", names), &Subject::parse(host).unwrap()).map(|mirrored| mirrored.names)
    }

    #[test]
    fn names_are_taken_over_where_the_certificate_is_for_the_host() {
        for (names, host, expected) in [
            (&["example.com", "www.example.com"][..], "example.com", Some(&["www.example.com"][..])),
            (&["example.com", "*.example.com"], "a.example.com", Some(&["example.com", "*.example.com"])),
            (&["EXAMPLE.com"], "example.com", Some(&[])),
            (&["*.example.com"], "example.com", None),
            (&["*.example.com"], "a.b.example.com", None),
            (&["example.com", "*.com", "*", "a b", "x.test"], "example.com", Some(&["x.test"])),
            (&["other.example"], "example.com", None),
            (&["*.com"], "example.com", None),
        ] {
            let expected = expected.map(|names| names.iter().map(|name| dns(name)).collect::<Vec<_>>());
            assert_eq!(mirrored(names, host), expected, "{names:?} {host}");
        }
    }

    #[test]
    fn addresses_are_taken_over() {
        let ip: IpAddr = "192.0.2.1".parse().unwrap();
        let der = certificate("x", vec![SanType::IpAddress(ip), dns("a.example")]);
        assert_eq!(mirror(&der, &Subject::Ip(ip)).unwrap().names, [dns("a.example")]);
        assert_eq!(
            mirror(&der, &Subject::parse("a.example").unwrap()).unwrap().names,
            [SanType::IpAddress(ip)]
        );
    }

    #[test]
    fn names_without_end_are_cut() {
        let many: Vec<String> = (0..500).map(|index| format!("{index}.example")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(mirrored(&many, "0.example").unwrap().len(), MAX_NAMES);
        let long = format!("{}.{}.example", "a".repeat(60), "b".repeat(60));
        let long: Vec<String> = (0..80).map(|index| format!("{index}.{long}")).collect();
        let long: Vec<&str> = long.iter().map(String::as_str).collect();
        let bytes = |names: Vec<SanType>| names.len() * long[10].len();
        assert!(bytes(mirrored(&long, long[0]).unwrap()) <= MAX_NAME_BYTES + MAX_COMMON_NAME);
    }

    #[test]
    fn common_names_are_taken_over_where_they_fit() {
        let host = Subject::parse("a.example").unwrap();
        let of = |name: &str| mirror(&certificate(name, vec![dns("a.example")]), &host).unwrap().common_name;
        assert_eq!(of("Example Ltd"), Some("Example Ltd".to_owned()));
        assert_eq!(of(&"x".repeat(65)), None);
        assert_eq!(of("a\nb"), None);
        assert_eq!(mirror(b"no certificate", &host), None);
    }
}
