//! The ciphers of both sides, in the order they are preferred.

use rustls::{
    CipherSuite,
    crypto::{
        CryptoProvider,
        ring::{self, cipher_suite as suite},
    },
};

/// AES-128 goes before AES-256, as in browsers: the hash that comes with it is the one processors have instructions for.
/// With SHA-384 a handshake of TLS 1.3 takes some 4 % more, and each byte after it 14 rounds of AES instead of 10.
pub(super) fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![
            suite::TLS13_AES_128_GCM_SHA256,
            suite::TLS13_AES_256_GCM_SHA384,
            suite::TLS13_CHACHA20_POLY1305_SHA256,
            suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
            suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
            suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        ],
        ..ring::default_provider()
    }
}

/// Whether a client that offers these suites, in its order, prefers AES: then which AES is ours to say. One that prefers
/// ChaCha20 has no instructions for AES, and its order counts.
pub(super) fn prefers_aes(offered: &[CipherSuite], ours: &CryptoProvider) -> bool {
    use CipherSuite as C;
    let known = offered.iter().find(|suite| ours.cipher_suites.iter().any(|ours| ours.suite() == **suite));
    matches!(
        known,
        Some(
            C::TLS13_AES_128_GCM_SHA256
                | C::TLS13_AES_256_GCM_SHA384
                | C::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
                | C::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
                | C::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
                | C::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_suite_is_lost_and_chacha_stays_the_choice_of_who_prefers_it() {
        let ours = provider().cipher_suites;
        let theirs = ring::default_provider().cipher_suites;
        assert_eq!(ours.len(), theirs.len());
        assert!(theirs.iter().all(|suite| ours.contains(suite)));
        use CipherSuite as C;
        for (offered, expected) in [
            (&[C::TLS13_AES_256_GCM_SHA384, C::TLS13_CHACHA20_POLY1305_SHA256][..], true),
            (&[C::TLS13_CHACHA20_POLY1305_SHA256, C::TLS13_AES_128_GCM_SHA256], false),
            // What nobody here speaks does not tell: GREASE (RFC 8701), and a suite of old.
            (&[C::Unknown(0x1a1a), C::TLS_RSA_WITH_AES_128_CBC_SHA, C::TLS13_AES_128_GCM_SHA256], true),
            (&[], false),
        ] {
            assert_eq!(prefers_aes(offered, &provider()), expected, "{offered:?}");
        }
    }
}
