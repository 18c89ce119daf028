//! JA3 and JA4 of a ClientHello, JA3S and JA4S of a ServerHello (docs/design/015-tls-options-and-fingerprints.md).
//!
//! Pure: fields in, text out. What the formats are is told by their authors:
//! <https://github.com/salesforce/ja3>, <https://github.com/FoxIO-LLC/ja4/tree/main/technical_details>.

use std::fmt::Write as _;

use md5::{Digest as _, Md5};
use ring::digest::{SHA256, digest};

use crate::event::TlsFingerprint;

/// The extensions JA4 names apart or leaves out of its hash.
const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;

/// The digits of a hash JA4 keeps.
const JA4_HASH_DIGITS: usize = 12;

/// What JA4 writes for the hash of an empty list.
const JA4_EMPTY: &str = "000000000000";

/// The most JA4 counts up to.
const JA4_MAX_COUNT: usize = 99;

/// What a ClientHello says that its fingerprint is made of, in its order, GREASE (RFC 8701) included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClientFields<'a> {
    /// `legacy_version`.
    pub(crate) version: u16,
    pub(crate) cipher_suites: Vec<u16>,
    pub(crate) extensions: Vec<u16>,
    /// `supported_groups`, once "elliptic curves".
    pub(crate) groups: Vec<u16>,
    pub(crate) point_formats: Vec<u8>,
    pub(crate) signature_algorithms: Vec<u16>,
    pub(crate) supported_versions: Vec<u16>,
    /// The first protocol offered that is not GREASE.
    pub(crate) first_alpn: Option<&'a [u8]>,
}

/// What a ServerHello says that its fingerprint is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServerFields<'a> {
    /// `legacy_version`.
    pub(crate) version: u16,
    pub(crate) cipher_suite: u16,
    pub(crate) extensions: Vec<u16>,
    /// The version in `supported_versions`, where there is that extension.
    pub(crate) selected_version: Option<u16>,
    /// The protocol chosen, where it is told here: before TLS 1.3.
    pub(crate) alpn: Option<&'a [u8]>,
}

/// JA3 and JA4 of a client.
pub(crate) fn of_client(fields: &ClientFields<'_>) -> TlsFingerprint {
    let plain =
        |values: &[u16]| -> Vec<u16> { values.iter().copied().filter(|it| !is_grease(*it)).collect() };
    let ciphers = plain(&fields.cipher_suites);
    let extensions = plain(&fields.extensions);
    let ja3 = format!(
        "{},{},{},{},{}",
        fields.version,
        dashed(&ciphers),
        dashed(&extensions),
        dashed(&plain(&fields.groups)),
        dashed(&fields.point_formats),
    );
    let signatures = plain(&fields.signature_algorithms);
    let offered = plain(&fields.supported_versions).into_iter().max().unwrap_or(fields.version);
    let ja4 = format!(
        "t{}{}{:02}{:02}{}_{}_{}",
        ja4_version(offered),
        if extensions.contains(&SERVER_NAME) { 'd' } else { 'i' },
        ciphers.len().min(JA4_MAX_COUNT),
        extensions.len().min(JA4_MAX_COUNT),
        ja4_alpn(fields.first_alpn),
        ja4_hash(&sorted(ciphers)),
        ja4_extensions(extensions, &signatures),
    );
    fingerprint(ja3, ja4)
}

/// JA3S and JA4S of a server: unlike a client's, its extensions keep their order and their GREASE.
pub(crate) fn of_server(fields: &ServerFields<'_>) -> TlsFingerprint {
    let ja3s = format!("{},{},{}", fields.version, fields.cipher_suite, dashed(&fields.extensions));
    let ja4s = format!(
        "t{}{:02}{}_{:04x}_{}",
        ja4_version(fields.selected_version.unwrap_or(fields.version)),
        fields.extensions.len().min(JA4_MAX_COUNT),
        ja4_alpn(fields.alpn),
        fields.cipher_suite,
        ja4_hash(&hexadecimal(&fields.extensions)),
    );
    fingerprint(ja3s, ja4s)
}

fn fingerprint(ja3: String, ja4: String) -> TlsFingerprint {
    let hash = hex(&Md5::digest(ja3.as_bytes()));
    TlsFingerprint::new(ja3, hash, ja4)
}

/// A number no one has, sent to keep servers tolerant (RFC 8701 section 2).
pub(crate) fn is_grease(value: u16) -> bool {
    let [high, low] = value.to_be_bytes();
    high == low && high & 0x0f == 0x0a
}

fn dashed<T: ToString>(values: &[T]) -> String {
    values.iter().map(T::to_string).collect::<Vec<_>>().join("-")
}

fn hexadecimal(values: &[u16]) -> String {
    values.iter().map(|value| format!("{value:04x}")).collect::<Vec<_>>().join(",")
}

fn sorted(mut values: Vec<u16>) -> String {
    values.sort_unstable();
    hexadecimal(&values)
}

/// The extensions without those that other parts tell, sorted, and the signature algorithms as they came.
fn ja4_extensions(mut extensions: Vec<u16>, signatures: &[u16]) -> String {
    extensions.retain(|kind| !matches!(*kind, SERVER_NAME | ALPN));
    let mut text = sorted(extensions);
    if !text.is_empty() && !signatures.is_empty() {
        text.push('_');
        text.push_str(&hexadecimal(signatures));
    }
    ja4_hash(&text)
}

fn ja4_hash(text: &str) -> String {
    if text.is_empty() {
        return JA4_EMPTY.to_owned();
    }
    let mut hash = hex(digest(&SHA256, text.as_bytes()).as_ref());
    hash.truncate(JA4_HASH_DIGITS);
    hash
}

fn ja4_version(version: u16) -> &'static str {
    match version {
        0x0304 => "13",
        0x0303 => "12",
        0x0302 => "11",
        0x0301 => "10",
        0x0300 => "s3",
        0x0002 => "s2",
        _ => "00",
    }
}

/// The first and the last character of a protocol's name, of its hexadecimal digits where those are not
/// alphanumeric.
fn ja4_alpn(name: Option<&[u8]>) -> String {
    let Some((first, last)) = name.and_then(|name| Some((*name.first()?, *name.last()?))) else {
        return "00".to_owned();
    };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        return [char::from(first), char::from(last)].iter().collect();
    }
    format!("{:x}{:x}", first >> 4, last & 0x0f)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The client of FoxIO's specification of JA4: Chrome in 2023, with the GREASE the text leaves out put back in.
    fn chrome() -> ClientFields<'static> {
        ClientFields {
            version: 0x0303,
            cipher_suites: vec![
                0x2a2a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013,
                0xc014, 0x009c, 0x009d, 0x002f, 0x0035,
            ],
            extensions: vec![
                0x5a5a, 0x001b, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d, 0x0005, 0x0023,
                0x0012, 0x002b, 0xff01, 0x000b, 0x000a, 0x0015, 0xdada,
            ],
            groups: vec![0xaaaa, 29, 23, 24],
            point_formats: vec![0],
            signature_algorithms: vec![0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601],
            supported_versions: vec![0xbaba, 0x0304, 0x0303],
            first_alpn: Some(b"h2"),
        }
    }

    #[test]
    fn ja4_is_that_of_the_specification() {
        // https://github.com/FoxIO-LLC/ja4/blob/main/technical_details/JA4.md, "Example".
        assert_eq!(of_client(&chrome()).ja4, "t13d1516h2_8daaf6152771_e5627efa2ab1");
        // "If there are no signature algorithms in the hello packet, then the string ends without an underscore".
        let unsigned = ClientFields { signature_algorithms: Vec::new(), ..chrome() };
        assert_eq!(of_client(&unsigned).ja4, "t13d1516h2_8daaf6152771_6d807ffa2a79");
    }

    #[test]
    fn ja4_tells_what_is_missing() {
        let bare = ClientFields { version: 0x0301, ..ClientFields::default() };
        assert_eq!(of_client(&bare).ja4, "t10i000000_000000000000_000000000000");
        let many = ClientFields { cipher_suites: (1..=120).collect(), ..bare };
        assert!(of_client(&many).ja4.starts_with("t10i990000_"));
    }

    #[test]
    fn ja4_shortens_protocols_as_specified() {
        // The same document, "ALPN Extension Value".
        for (name, short) in [
            (&b"h2"[..], "h2"),
            (b"http/1.1", "h1"),
            (b"h", "hh"),
            (b"", "00"),
            (b"\xab", "ab"),
            (b"\xab\xcd", "ad"),
            (b"\x30\xab", "3b"),
            (b"\x30\x31\xab\xcd", "3d"),
            (b"\x30\xab\xcd\x31", "01"),
        ] {
            assert_eq!(ja4_alpn(Some(name)), short, "{name:x?}");
        }
        assert_eq!(ja4_alpn(None), "00");
    }

    #[test]
    fn ja3_is_that_of_its_readme() {
        // https://github.com/salesforce/ja3/blob/master/README.md, "How it works".
        let fields = ClientFields {
            version: 769,
            cipher_suites: vec![47, 53, 5, 10, 49161, 49162, 49171, 49172, 50, 56, 19, 4],
            extensions: vec![0, 10, 11],
            groups: vec![23, 24, 25],
            point_formats: vec![0],
            ..ClientFields::default()
        };
        let made = of_client(&fields);
        assert_eq!(made.ja3, "769,47-53-5-10-49161-49162-49171-49172-50-56-19-4,0-10-11,23-24-25,0");
        assert_eq!(made.ja3_hash, "ada70206e40642a3e4461f35503241d5");

        let fields = ClientFields {
            version: 769,
            cipher_suites: vec![4, 5, 10, 9, 100, 98, 3, 6, 19, 18, 99],
            ..ClientFields::default()
        };
        let made = of_client(&fields);
        assert_eq!(made.ja3, "769,4-5-10-9-100-98-3-6-19-18-99,,,");
        assert_eq!(made.ja3_hash, "de350869b8c85de67a350c8d186f11e6");
    }

    #[test]
    fn ja3_leaves_grease_out() {
        assert_eq!(
            of_client(&chrome()).ja3,
            "771,4865-4866-4867-49195-49199-49196-49200-52393-52392-49171-49172-156-157-47-53,\
             27-0-51-16-17513-23-45-13-5-35-18-43-65281-11-10-21,29-23-24,0"
        );
    }

    #[test]
    fn ja4s_is_that_of_the_specification() {
        // https://github.com/FoxIO-LLC/ja4/blob/main/technical_details/JA4S.md
        let fields = ServerFields {
            version: 0x0303,
            cipher_suite: 0xc030,
            extensions: vec![0x0005, 0x0017, 0xff01, 0x0000],
            ..ServerFields::default()
        };
        let made = of_server(&fields);
        assert_eq!(made.ja4, "t120400_c030_4e8089b08790");
        assert_eq!(made.ja3, "771,49200,5-23-65281-0");
        // rust/ja4/src/snapshots of the same repository: tls3.pcapng, streams 7 and 9.
        for (extensions, expected) in [
            (vec![0x002b, 0x0033], "t130200_1301_a56c5b993250"),
            (vec![0x002b, 0x0033, 0x0029], "t130300_1301_0ee26285a86f"),
        ] {
            let fields = ServerFields {
                version: 0x0303,
                cipher_suite: 0x1301,
                extensions,
                selected_version: Some(0x0304),
                alpn: None,
            };
            assert_eq!(of_server(&fields).ja4, expected);
        }
    }

    #[test]
    fn ja3s_is_that_of_other_tools() {
        // As Suricata's logs (`tls.ja3s.string`, `tls.ja3s.hash`) have it for the two orders servers use most.
        for (extensions, text, hash) in [
            (vec![51, 43], "771,4865,51-43", "eb1d94daa7e0344597e756a1fb6e7054"),
            (vec![43, 51], "771,4865,43-51", "f4febc55ea12b31ae17cfb7e614afda8"),
        ] {
            let fields = ServerFields {
                version: 771,
                cipher_suite: 4865,
                extensions,
                selected_version: Some(0x0304),
                alpn: None,
            };
            let made = of_server(&fields);
            assert_eq!((&*made.ja3, &*made.ja3_hash), (text, hash));
        }
    }
}
