//! Leaf certificates: one per host, minted when first asked for and kept.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    SanType,
};
use ring::digest::{SHA256, digest};
use rustls::{
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    sign::{CertifiedKey, SigningKey},
};

use super::{
    authority::{BACKDATED, CertificateAuthority, serial, set_validity},
    mirror::{Mirrored, mirror},
};
use crate::error::{Error, ErrorKind};

/// How long a leaf is valid, backdating included.
///
/// Clients refuse long-lived certificates: beyond 200 days since 2026-03-15, beyond 100 days from 2027-03-15
/// (CA/Browser Forum ballot SC-081v3). Leafs live no longer than their process, so a shorter life costs nothing.
const LEAF_VALIDITY: Duration = Duration::from_secs(97 * 24 * 60 * 60);

/// How long before its end a leaf is minted anew.
const RENEWED_BEFORE_END: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How long a leaf is kept at least, even when the CA itself is about to end.
const SHORTEST_KEPT: Duration = Duration::from_secs(60 * 60);

/// The longest common name (RFC 5280 appendix A.1, `ub-common-name`).
const MAX_COMMON_NAME: usize = 64;

/// The longest DNS name in text (RFC 1035 section 2.3.4).
const MAX_DNS_NAME: usize = 253;

/// Mints and keeps the leafs of one process. They share one key, which is not the CA's: minting is then one
/// signature, and a leaf's key is of no use for signing others.
pub(crate) struct Leafs {
    ca: CertificateAuthority,
    public_key: KeyPair,
    signing_key: Arc<dyn SigningKey>,
    capacity: usize,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    leafs: HashMap<Key, Leaf>,
    /// Counts the uses, so that the least recently used leaf is known.
    uses: u64,
}

/// What a leaf is kept under: its host, and the hash of the certificate its other names are from.
type Key = (Subject, Option<[u8; 32]>);

struct Leaf {
    key: Arc<CertifiedKey>,
    renew_at: SystemTime,
    last_use: u64,
}

/// Why there is no leaf for a host.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LeafError {
    #[error("{0:?} is no host a certificate can name")]
    Host(String),
    #[error("the CA certificate has expired")]
    CaExpired,
    #[error("failed to make a certificate: {0}")]
    Mint(#[from] rcgen::Error),
    #[error("failed to {0}")]
    Serial(#[from] Error),
}

impl Leafs {
    /// Starts with no leaf and a fresh key; at most `capacity` leafs are kept, beyond it the least recently
    /// used ones are forgotten.
    pub(crate) fn new(ca: CertificateAuthority, capacity: usize) -> Result<Self, Error> {
        let public_key = KeyPair::generate().map_err(|error| Error::new(ErrorKind::Mint).because(error))?;
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(public_key.serialize_der()));
        let signing_key = rustls::crypto::ring::sign::any_ecdsa_type(&der)
            .map_err(|error| Error::new(ErrorKind::Mint).because(error))?;
        Ok(Self { ca, public_key, signing_key, capacity: capacity.max(1), kept: Mutex::default() })
    }

    #[cfg(test)]
    pub(super) fn authority(&self) -> &CertificateAuthority {
        &self.ca
    }

    /// The leaf for a host, a DNS name or an IP address, with the CA's certificate behind it.
    #[cfg(test)]
    pub(crate) fn for_host(&self, host: &str, now: SystemTime) -> Result<Arc<CertifiedKey>, LeafError> {
        self.mirroring(host, None, now)
    }

    /// The leaf for a host, a DNS name or an IP address, with the CA's certificate behind it. It has the names of
    /// `upstream`'s certificate too, where that is for the host; its validity and its key are our own.
    ///
    /// Two connections that ask for a new host at once get the same leaf: minting takes well under a
    /// millisecond and happens under the lock.
    pub(crate) fn mirroring(
        &self,
        host: &str,
        upstream: Option<&[u8]>,
        now: SystemTime,
    ) -> Result<Arc<CertifiedKey>, LeafError> {
        let subject = Subject::parse(host)?;
        let kept_under = (subject, upstream.map(sha256));
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.uses += 1;
        let uses = kept.uses;
        if let Some(leaf) = kept.leafs.get_mut(&kept_under)
            && now < leaf.renew_at
        {
            leaf.last_use = uses;
            return Ok(Arc::clone(&leaf.key));
        }
        let mirrored = upstream.and_then(|der| mirror(der, &kept_under.0)).unwrap_or_default();
        let (key, renew_at) = self.mint(&kept_under.0, mirrored, now)?;
        kept.make_room(self.capacity);
        kept.leafs.insert(kept_under, Leaf { key: Arc::clone(&key), renew_at, last_use: uses });
        Ok(key)
    }

    /// How many leafs are kept now.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.kept.lock().unwrap().leafs.len()
    }

    fn mint(
        &self,
        subject: &Subject,
        mirrored: Mirrored,
        now: SystemTime,
    ) -> Result<(Arc<CertifiedKey>, SystemTime), LeafError> {
        let not_before = (now - BACKDATED).max(self.ca.not_before());
        let not_after = (now - BACKDATED + LEAF_VALIDITY).min(self.ca.not_after());
        if not_after <= now {
            return Err(LeafError::CaExpired);
        }
        let mut params = CertificateParams::default();
        set_validity(&mut params, not_before, not_after);
        params.serial_number = Some(serial()?);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.distinguished_name = DistinguishedName::new();
        if let Some(name) = mirrored.common_name.or_else(|| subject.common_name()) {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        params.subject_alt_names = vec![subject.alternative_name()?];
        params.subject_alt_names.extend(mirrored.names);
        let leaf = params.signed_by(&self.public_key, self.ca.issuer())?;
        let chain = vec![leaf.der().clone(), self.ca.certificate().clone()];
        let renew_at = (not_after - RENEWED_BEFORE_END).max(now + SHORTEST_KEPT);
        Ok((Arc::new(CertifiedKey::new(chain, Arc::clone(&self.signing_key))), renew_at))
    }
}

impl Kept {
    /// Forgets the least recently used eighth when there is no room for one more; an eighth at a time keeps
    /// the search for them cheap.
    fn make_room(&mut self, capacity: usize) {
        if self.leafs.len() < capacity {
            return;
        }
        let mut uses: Vec<u64> = self.leafs.values().map(|leaf| leaf.last_use).collect();
        let (_, &mut newest_forgotten, _) = uses.select_nth_unstable(capacity / 8);
        self.leafs.retain(|_, leaf| leaf.last_use > newest_forgotten);
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

/// What a leaf is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    /// A DNS name in ASCII (international names as A-labels), lower case, without the final dot.
    Dns(String),
    Ip(IpAddr),
}

impl Subject {
    pub(super) fn parse(host: &str) -> Result<Self, LeafError> {
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        // A zone (RFC 6874) is the client's own matter; certificates know none.
        let address = bare.split_once('%').map_or(bare, |(address, _zone)| address);
        if let Ok(ip) = address.parse() {
            return Ok(Self::Ip(ip));
        }
        let name = host.strip_suffix('.').unwrap_or(host);
        // Underscores are no letters of host names (RFC 952), but services and intranets use them.
        let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if name.is_empty() || name.len() > MAX_DNS_NAME || !name.bytes().all(is_name_byte) {
            return Err(LeafError::Host(host.chars().take(MAX_DNS_NAME).collect()));
        }
        Ok(Self::Dns(name.to_ascii_lowercase()))
    }

    fn common_name(&self) -> Option<String> {
        let name = match self {
            Self::Dns(name) => name.clone(),
            Self::Ip(ip) => ip.to_string(),
        };
        (name.len() <= MAX_COMMON_NAME).then_some(name)
    }

    fn alternative_name(&self) -> Result<SanType, rcgen::Error> {
        Ok(match self {
            Self::Dns(name) => SanType::DnsName(name.as_str().try_into()?),
            Self::Ip(ip) => SanType::IpAddress(*ip),
        })
    }
}
