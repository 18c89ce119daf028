//! Certificates that upstreams show, each kept once however many connections it was shown on.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;

/// Certificates known at most. Beyond it those are forgotten that nobody holds, or else all: who holds one keeps it.
const MAX_KNOWN: usize = 512;

/// Larger certificates are each a copy: a known one takes memory for as long as it is known. Those of the web have up to 3 KiB.
const MAX_KNOWN_BYTES: usize = 8 * 1024;

/// The certificates that were shown last. One for the whole proxy.
#[derive(Debug, Default)]
pub(super) struct Certificates(Mutex<HashSet<Bytes>>);

impl Certificates {
    /// The certificate, as a copy that is shared by all who ask for the same.
    pub(super) fn share(&self, der: &[u8]) -> Bytes {
        if der.len() > MAX_KNOWN_BYTES {
            return Bytes::copy_from_slice(der);
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(certificate) = known.get(der) {
            return certificate.clone();
        }
        if known.len() >= MAX_KNOWN {
            known.retain(|certificate| !certificate.is_unique());
        }
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        let certificate = Bytes::copy_from_slice(der);
        known.insert(certificate.clone());
        certificate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn der(number: usize) -> Vec<u8> {
        number.to_be_bytes().repeat(40)
    }

    #[test]
    fn a_certificate_that_is_shown_again_is_kept_once() {
        let certificates = Certificates::default();
        let (one, other) = (certificates.share(&der(1)), certificates.share(&der(2)));
        assert_eq!((&one[..], &other[..]), (&der(1)[..], &der(2)[..]));
        assert_eq!(certificates.share(&der(1)).as_ptr(), one.as_ptr());
        let large = vec![7; MAX_KNOWN_BYTES + 1];
        let copy = certificates.share(&large);
        assert_eq!(copy, large);
        assert_ne!(certificates.share(&large).as_ptr(), copy.as_ptr());
    }

    #[test]
    fn beyond_the_bound_those_are_forgotten_that_nobody_holds() {
        let certificates = Certificates::default();
        let known = |certificates: &Certificates| certificates.0.lock().unwrap().len();
        let held: Vec<_> = (0..10).map(|number| certificates.share(&der(number))).collect();
        for number in 0..MAX_KNOWN {
            certificates.share(&der(number));
        }
        assert_eq!(known(&certificates), MAX_KNOWN);
        let last = certificates.share(&der(MAX_KNOWN));
        assert_eq!(known(&certificates), held.len() + 1);
        assert_eq!(certificates.share(&der(3)).as_ptr(), held[3].as_ptr());
        // All of them are held: they go on as copies of their own.
        let crowd: Vec<_> = (0..2 * MAX_KNOWN).map(|number| certificates.share(&der(number))).collect();
        assert!(known(&certificates) <= MAX_KNOWN);
        assert_eq!((last, crowd[5].clone()), (der(MAX_KNOWN).into(), der(5).into()));
    }
}
