//! Java's trust store in the JKS format, which every Java since 1.2 reads and which holds certificates in the clear.
//!
//! There is no standard; the layout is that of OpenJDK's `sun.security.provider.JavaKeyStore`: a magic number, a
//! version, the entries, and a SHA-1 digest keyed by the password. The digest guards against accidents, not
//! against attackers; the certificates are public.

use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};

const MAGIC: u32 = 0xFEED_FEED;
const VERSION: u32 = 2;
const TRUSTED_CERTIFICATE: u32 = 2;
/// What OpenJDK mixes into the digest after the password.
const WHITENER: &[u8] = b"Mighty Aphrodite";

/// The password of the stores written here: Java's own default.
pub(crate) const PASSWORD: &str = "changeit";

/// Lays out a store of trusted certificates (DER).
pub(crate) fn jks(certificates: &[Vec<u8>]) -> Vec<u8> {
    let mut store = Vec::with_capacity(certificates.iter().map(|der| der.len() + 48).sum::<usize>() + 32);
    store.extend_from_slice(&MAGIC.to_be_bytes());
    store.extend_from_slice(&VERSION.to_be_bytes());
    store.extend_from_slice(&length(certificates.len()));
    for (at, der) in certificates.iter().enumerate() {
        store.extend_from_slice(&TRUSTED_CERTIFICATE.to_be_bytes());
        text(&mut store, &format!("wirescope-{at}"));
        // The entry's date, which nothing reads: the epoch, so that the same roots give the same file.
        store.extend_from_slice(&0_u64.to_be_bytes());
        text(&mut store, "X.509");
        store.extend_from_slice(&length(der.len()));
        store.extend_from_slice(der);
    }
    let mut digest = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    for unit in PASSWORD.encode_utf16() {
        digest.update(&unit.to_be_bytes());
    }
    digest.update(WHITENER);
    digest.update(&store);
    store.extend_from_slice(digest.finish().as_ref());
    store
}

/// Writes short ASCII as `DataOutput.writeUTF` does.
fn text(store: &mut Vec<u8>, ascii: &str) {
    store.extend_from_slice(&u16::try_from(ascii.len()).unwrap_or(u16::MAX).to_be_bytes());
    store.extend_from_slice(ascii.as_bytes());
}

fn length(count: usize) -> [u8; 4] {
    u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_store_is_what_keytool_would_write() {
        // `keytool` leaves this after its last entry is deleted: magic, version, no entries, the keyed digest.
        let store = jks(&[]);
        assert_eq!(store[..12], [0xFE, 0xED, 0xFE, 0xED, 0, 0, 0, 2, 0, 0, 0, 0]);
        let hex: String = store[12..].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "e2686e45fb43dfa4d992dd41ceb6b21c6330d792");
    }

    #[test]
    fn entries_follow_each_other_with_their_lengths() {
        let store = jks(&[vec![7; 3]]);
        let entry =
            [&[0, 0, 0, 2, 0, 11][..], b"wirescope-0", &[0; 8], &[0, 5], b"X.509", &[0, 0, 0, 3, 7, 7, 7]]
                .concat();
        assert_eq!(store[12..12 + entry.len()], entry);
        assert_eq!(store.len(), 12 + entry.len() + 20);
    }
}
