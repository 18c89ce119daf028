//! Intermediate certificates that upstream servers leave out: found by the address in their certificates, and kept.
//!
//! Here is what needs no network. Fetching is [`aia`](super::aia).

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use tokio::time::Instant;
use x509_parser::{
    extensions::{GeneralName, ParsedExtension},
    oid_registry::asn1_rs::{Oid, oid},
    parse_x509_certificate,
};

/// Certificates kept; beyond it the oldest is forgotten.
const MAX_KEPT: usize = 256;

/// Certificates missing in one chain; chains have one or two intermediates, rarely three.
pub(super) const MAX_DEPTH: usize = 4;

/// Addresses tried for one certificate.
const MAX_ADDRESSES: usize = 2;

/// Certificates taken from one answer.
const MAX_ANSWERED: usize = 16;

/// How long an address that gave nothing is left alone.
const NOT_AGAIN_FOR: Duration = Duration::from_secs(60);

/// The access method of an authority's certificate (RFC 5280 section 4.2.2.1).
const CA_ISSUERS: Oid<'static> = oid!(1.3.6.1.5.5.7.48.2);

/// The content type of a PKCS#7 message with certificates (RFC 2315 section 14): 1.2.840.113549.1.7.2.
const SIGNED_DATA: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02";

/// Intermediates that were fetched. One for the whole proxy.
#[derive(Debug, Default)]
pub(crate) struct Intermediates {
    kept: Mutex<VecDeque<CertificateDer<'static>>>,
    failed: Mutex<HashMap<String, Instant>>,
    /// Held while one is fetched, so that a burst of connections fetches it once.
    pub(super) fetching: tokio::sync::Mutex<()>,
}

impl Intermediates {
    /// What is kept of the issuers this chain lacks, the nearest first.
    pub(super) fn missing_in(&self, chain: &[CertificateDer<'_>]) -> Vec<CertificateDer<'static>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found: Vec<CertificateDer<'static>> = Vec::new();
        for _ in 0..MAX_DEPTH {
            let all = chain.iter().map(AsRef::as_ref).chain(found.iter().map(AsRef::as_ref));
            let Some(last) = unissued(all.collect()) else { break };
            let Some(issuer) = kept.iter().find(|der| issued(der, last)) else { break };
            found.push(issuer.clone());
        }
        found
    }

    pub(super) fn keep(&self, der: CertificateDer<'static>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if !kept.contains(&der) {
            if kept.len() == MAX_KEPT {
                kept.pop_front();
            }
            kept.push_back(der);
        }
    }

    /// Whether an address may be asked now.
    pub(super) fn may_ask(&self, url: &str) -> bool {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.get(url).is_none_or(|at| at.elapsed() >= NOT_AGAIN_FOR)
    }

    pub(super) fn note_failed(&self, url: &str) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if failed.len() >= MAX_KEPT {
            failed.clear();
        }
        failed.insert(url.to_owned(), Instant::now());
    }
}

/// The certificate at a chain's end whose issuer is not in it; `None` when the chain ends in itself.
fn unissued(chain: Vec<&[u8]>) -> Option<&[u8]> {
    let mut last = *chain.first()?;
    for _ in 0..chain.len() {
        match chain.iter().find(|der| **der != last && issued(der, last)) {
            Some(issuer) => last = issuer,
            None => return (!issued(last, last)).then_some(last),
        }
    }
    None
}

/// Whether a certificate's subject is the other's issuer. Who signed it is for the verifier to say.
pub(super) fn issued(issuer: &[u8], subject: &[u8]) -> bool {
    let (Ok((_, issuer)), Ok((_, subject))) =
        (parse_x509_certificate(issuer), parse_x509_certificate(subject))
    else {
        return false;
    };
    issuer.subject().as_raw() == subject.issuer().as_raw()
}

/// The certificate of a chain whose issuer is to be fetched, and from where: `http` addresses only, because what is
/// fetched proves itself (RFC 5280 section 8).
pub(super) fn wanted(chain: &[CertificateDer<'_>]) -> Option<(Vec<u8>, Vec<String>)> {
    let last = unissued(chain.iter().map(AsRef::as_ref).collect())?;
    let (_, parsed) = parse_x509_certificate(last).ok()?;
    let addresses: Vec<String> = parsed
        .extensions()
        .iter()
        .filter_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityInfoAccess(access) => Some(&access.accessdescs),
            _ => None,
        })
        .flatten()
        .filter(|description| description.access_method == CA_ISSUERS)
        .filter_map(|description| match &description.access_location {
            GeneralName::URI(uri) if uri.starts_with("http://") => Some((*uri).to_owned()),
            _ => None,
        })
        .take(MAX_ADDRESSES)
        .collect();
    (!addresses.is_empty()).then(|| (last.to_vec(), addresses))
}

/// The certificates of an answer: one in DER, a certs-only PKCS#7 message in DER (RFC 5280 section 4.2.2.1 asks for
/// either), or PEM, which some send.
pub(super) fn certificates(content: &[u8]) -> Vec<CertificateDer<'static>> {
    if parse_x509_certificate(content).is_ok() {
        return vec![CertificateDer::from(content.to_vec())];
    }
    let found: Vec<_> = match of_pkcs7(content) {
        Some(found) => found.into_iter().map(|der| CertificateDer::from(der.to_vec())).collect(),
        None => CertificateDer::pem_slice_iter(content).map_while(Result::ok).take(MAX_ANSWERED).collect(),
    };
    found.into_iter().filter(|der| parse_x509_certificate(der).is_ok()).collect()
}

/// The certificates of a PKCS#7 message (RFC 2315 section 9.1): `SEQUENCE { OID, [0] { SEQUENCE { version,
/// digestAlgorithms, contentInfo, [0] certificates, .. } } }`.
fn of_pkcs7(content: &[u8]) -> Option<Vec<&[u8]>> {
    const SEQUENCE: u8 = 0x30;
    const CONTEXT_0: u8 = 0xa0;
    let (info, _) = element(content, SEQUENCE)?;
    let (kind, rest) = element(info, 0x06)?;
    if kind != SIGNED_DATA {
        return None;
    }
    let (signed, _) = element(element(rest, CONTEXT_0)?.0, SEQUENCE)?;
    let (_version, rest) = element(signed, 0x02)?;
    let (_digests, rest) = element(rest, 0x31)?;
    let (_content, rest) = element(rest, SEQUENCE)?;
    let (mut certificates, _) = element(rest, CONTEXT_0)?;
    let mut found = Vec::new();
    while found.len() < MAX_ANSWERED && !certificates.is_empty() {
        let (_, rest) = element(certificates, SEQUENCE)?;
        found.push(&certificates[..certificates.len() - rest.len()]);
        certificates = rest;
    }
    Some(found)
}

/// Takes one element of DER (X.690 section 8.1) with this tag: its content, and what follows.
fn element(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let [first, length, rest @ ..] = input else { return None };
    if *first != tag {
        return None;
    }
    let (length, rest) = match *length {
        short @ ..=0x7f => (usize::from(short), rest),
        long @ 0x81..=0x83 => {
            let (digits, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            (digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn wrap(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = (content.len() as u32).to_be_bytes();
        [&[tag, 0x83], &length[1..], content].concat()
    }

    #[test]
    fn certificates_are_read_from_every_form() {
        let key = rcgen::KeyPair::generate().unwrap();
        let one = rcgen::CertificateParams::default().self_signed(&key).unwrap();
        let der = one.der().clone();
        let both = [der.as_ref(), der.as_ref()].concat();
        let signed = [
            wrap(0x02, &[1]),
            wrap(0x31, &[]),
            wrap(0x30, b"\x06\x01\x2a"),
            wrap(0xa0, &both),
            wrap(0x31, &[]),
        ]
        .concat();
        let message = wrap(0x30, &[wrap(0x06, SIGNED_DATA), wrap(0xa0, &wrap(0x30, &signed))].concat());
        assert_eq!(certificates(&der), std::slice::from_ref(&der));
        assert_eq!(certificates(one.pem().as_bytes()), std::slice::from_ref(&der));
        assert_eq!(certificates(&message), [der.clone(), der]);
        assert!(certificates(b"<html>").is_empty() && certificates(b"").is_empty());
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_without_harm(content in vec(any::<u8>(), 0..200)) {
            let _ = certificates(&content);
            let _ = of_pkcs7(&wrap(0x30, &[wrap(0x06, SIGNED_DATA), wrap(0xa0, &wrap(0x30, &content))].concat()));
        }
    }
}
