//! Reads what a TLS ClientHello says before the handshake is taken up (RFC 8446 section 4.1.2).
//!
//! Strict about the form, so that nothing else is taken for TLS; indifferent to what it does not need. The same
//! bytes are read again by the TLS library.

use crate::{
    detect::MAX_PEEKED_BYTES,
    event::TlsFingerprint,
    fingerprint::{self, ClientFields},
};

/// The content type of a handshake record (RFC 8446 section 5.1).
pub(crate) const HANDSHAKE_RECORD: u8 = 22;

/// The most a record may hold (RFC 8446 section 5.1).
const MAX_FRAGMENT_BYTES: usize = 1 << 14;

/// The records one ClientHello may be spread over. Clients cut it in a handful; the bound keeps one that sends byte
/// by byte from making us walk thousands of records with each.
const MAX_RECORDS: usize = 1_024;

/// The handshake type of a ClientHello (RFC 8446 section 4).
const CLIENT_HELLO: u8 = 1;

/// The extensions read here (RFC 6066 section 3, RFC 7301 section 3.1, RFC 9849 section 5).
const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;

/// The extensions read for the fingerprint only (RFC 8422 section 5.1, RFC 8446 section 4.2).
const SUPPORTED_GROUPS: u16 = 10;
const EC_POINT_FORMATS: u16 = 11;
const SIGNATURE_ALGORITHMS: u16 = 13;
const SUPPORTED_VERSIONS: u16 = 43;

/// The only type of name there is (RFC 6066 section 3).
const HOST_NAME: u8 = 0;

/// The longest name of the DNS (RFC 1035 section 2.3.4).
const MAX_HOST_NAME_BYTES: usize = 253;

/// What a ClientHello asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClientHelloSummary {
    /// The host name the client wants, where it names one that can be a host's. As sent.
    pub(crate) sni: Option<String>,
    /// The protocols the client offers, in its order, GREASE (RFC 8701) left out.
    pub(crate) alpn: Vec<Vec<u8>>,
    /// Whether it has an Encrypted Client Hello, real or GREASE: then `sni` may be a stand-in.
    pub(crate) ech: bool,
    /// JA3 and JA4.
    pub(crate) fingerprint: Option<TlsFingerprint>,
}

/// What [`parse`] can say yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    Yes(ClientHelloSummary),
    /// It is no ClientHello, or one that does not end within `MAX_PEEKED_BYTES` and `MAX_RECORDS`.
    No,
    NeedMore,
}

/// Reads a ClientHello from the beginning of a connection, over however many records it is spread.
pub(crate) fn parse(bytes: &[u8]) -> Parsed {
    let peeked = &bytes[..bytes.len().min(MAX_PEEKED_BYTES)];
    let more = if peeked.len() < MAX_PEEKED_BYTES { Parsed::NeedMore } else { Parsed::No };
    let mut message = Vec::new();
    let mut rest = peeked;
    for _ in 0..MAX_RECORDS {
        let Some(fragment) = next_fragment(&mut rest) else { return Parsed::No };
        message.extend_from_slice(fragment);
        match &*message {
            [] => return more,
            [CLIENT_HELLO, a, b, c, body @ ..] => {
                let len = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
                if let Some(hello) = body.get(..len) {
                    return client_hello(hello).map_or(Parsed::No, Parsed::Yes);
                }
                if len > MAX_PEEKED_BYTES {
                    return Parsed::No;
                }
            }
            [CLIENT_HELLO, ..] => {}
            _ => return Parsed::No,
        }
        if rest.is_empty() {
            return more;
        }
    }
    Parsed::No
}

/// Takes the next record, or as much of it as is there, off `rest`: its fragment; `None` when it is no record
/// that can carry a ClientHello.
fn next_fragment<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let expected = |at: usize, test: fn(u8) -> bool| rest.get(at).is_none_or(|byte| test(*byte));
    // SSL 3.0 to TLS 1.2 are named here; TLS 1.3 says 1.0 or 1.2 (RFC 8446 section 5.1).
    if !expected(0, |byte| byte == HANDSHAKE_RECORD)
        || !expected(1, |byte| byte == 3)
        || !expected(2, |byte| byte <= 3)
    {
        return None;
    }
    let [_, _, _, high, low, fragment @ ..] = *rest else {
        *rest = &[];
        return Some(&[]);
    };
    let len = usize::from(*high) << 8 | usize::from(*low);
    // A handshake record is never empty (RFC 8446 section 5.1).
    if len == 0 || len > MAX_FRAGMENT_BYTES {
        return None;
    }
    let (fragment, after) = fragment.split_at(len.min(fragment.len()));
    *rest = after;
    Some(fragment)
}

/// Reads the body of a ClientHello; `None` when its form is not right.
fn client_hello(body: &[u8]) -> Option<ClientHelloSummary> {
    let mut body = Reader(body);
    let legacy_version = body.u16()?;
    body.take(32)?;
    let session_id = body.vector8()?;
    let cipher_suites = body.vector16()?;
    let compression_methods = body.vector8()?;
    if legacy_version >> 8 != 3
        || session_id.0.len() > 32
        || cipher_suites.0.is_empty()
        || cipher_suites.0.len() % 2 != 0
        || compression_methods.0.is_empty()
    {
        return None;
    }
    let mut summary = ClientHelloSummary::default();
    let mut fields = ClientFields {
        version: legacy_version,
        cipher_suites: cipher_suites.u16s(),
        ..ClientFields::default()
    };
    // Before TLS 1.3 the extensions may be left out (RFC 5246 section 7.4.1.2).
    let mut extensions = if body.0.is_empty() { Reader(&[]) } else { body.vector16()? };
    if !body.0.is_empty() {
        return None;
    }
    let (mut names, mut protocols) = (false, false);
    while !extensions.0.is_empty() {
        let kind = extensions.u16()?;
        let data = extensions.vector16()?;
        note(&mut fields, kind, data);
        match kind {
            SERVER_NAME if !names => (names, summary.sni) = (true, server_name(data)?),
            ALPN if !protocols => (protocols, summary.alpn) = (true, protocol_names(data)?),
            // No extension may come twice (RFC 8446 section 4.2).
            SERVER_NAME | ALPN => return None,
            ENCRYPTED_CLIENT_HELLO => summary.ech = true,
            _ => {}
        }
    }
    fields.first_alpn = summary.alpn.first().map(Vec::as_slice);
    summary.fingerprint = Some(fingerprint::of_client(&fields));
    Some(summary)
}

/// Takes an extension into the fields of the fingerprint, as far as its form is right: judging that is up to the TLS
/// library.
fn note(fields: &mut ClientFields<'_>, kind: u16, mut data: Reader<'_>) {
    fields.extensions.push(kind);
    match kind {
        SUPPORTED_GROUPS => fields.groups = data.vector16().map(|list| list.u16s()).unwrap_or_default(),
        EC_POINT_FORMATS => {
            fields.point_formats = data.vector8().map(|list| list.0.to_vec()).unwrap_or_default();
        }
        SIGNATURE_ALGORITHMS => {
            fields.signature_algorithms = data.vector16().map(|list| list.u16s()).unwrap_or_default();
        }
        SUPPORTED_VERSIONS => {
            fields.supported_versions = data.vector8().map(|list| list.u16s()).unwrap_or_default();
        }
        _ => {}
    }
}

/// The host name of a server_name extension, where it can be one (RFC 6066 section 3).
fn server_name(mut data: Reader<'_>) -> Option<Option<String>> {
    let mut list = data.vector16()?;
    if !data.0.is_empty() || list.0.is_empty() {
        return None;
    }
    let mut host = None;
    while !list.0.is_empty() {
        let kind = list.u8()?;
        let name = list.vector16()?;
        if kind == HOST_NAME && host.is_none() {
            host = Some(name.0);
        }
    }
    let host = host.and_then(|name| std::str::from_utf8(name).ok()).filter(|name| is_host_name(name));
    Some(host.map(str::to_owned))
}

/// Letters, digits, hyphens, dots, and the underscores some hosts have.
fn is_host_name(name: &str) -> bool {
    let len = name.strip_suffix('.').unwrap_or(name).len();
    (1..=MAX_HOST_NAME_BYTES).contains(&len)
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
}

/// The protocols of an ALPN extension (RFC 7301 section 3.1).
fn protocol_names(mut data: Reader<'_>) -> Option<Vec<Vec<u8>>> {
    let mut list = data.vector16()?;
    if !data.0.is_empty() || list.0.is_empty() {
        return None;
    }
    let mut names = Vec::new();
    while !list.0.is_empty() {
        let name = list.vector8()?.0;
        if name.is_empty() {
            return None;
        }
        if !is_grease(name) {
            names.push(name.to_vec());
        }
    }
    Some(names)
}

/// A protocol name no one has, sent to keep servers tolerant (RFC 8701 section 2).
fn is_grease(name: &[u8]) -> bool {
    matches!(name, [a, b] if a == b && a & 0x0f == 0x0a)
}

/// Reads the presentation language of RFC 8446 section 3.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// A vector whose length is one byte.
    pub(crate) fn vector8(&mut self) -> Option<Self> {
        let len = self.u8()?;
        self.take(usize::from(len)).map(Reader)
    }

    /// A vector whose length is two bytes.
    pub(crate) fn vector16(&mut self) -> Option<Self> {
        let len = self.u16()?;
        self.take(usize::from(len)).map(Reader)
    }

    /// A vector whose length is three bytes.
    pub(crate) fn vector24(&mut self) -> Option<Self> {
        let (high, low) = (self.u8()?, self.u16()?);
        self.take(usize::from(high) << 16 | usize::from(low)).map(Reader)
    }

    /// What is left as numbers of two bytes; an odd byte at the end is none.
    pub(crate) fn u16s(self) -> Vec<u16> {
        self.0.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::{collection::vec, prelude::*};
    use rustls::{
        ClientConfig, ClientConnection, RootCertStore,
        pki_types::ServerName,
        version::{TLS12, TLS13},
    };

    use super::{ClientHelloSummary, Parsed, *};

    fn config(versions: &[&'static rustls::SupportedProtocolVersion]) -> ClientConfig {
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth()
    }

    /// The first flight of a real client.
    fn first_flight(config: ClientConfig, host: &str) -> Vec<u8> {
        let host = ServerName::try_from(host.to_owned()).unwrap();
        let mut client = ClientConnection::new(Arc::new(config), host).unwrap();
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    fn summary(sni: Option<&str>, alpn: &[&str]) -> ClientHelloSummary {
        let alpn = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        ClientHelloSummary { sni: sni.map(str::to_owned), alpn, ech: false, fingerprint: None }
    }

    /// What [`parse`] says, without the fingerprint.
    fn parse(bytes: &[u8]) -> Parsed {
        match super::parse(bytes) {
            Parsed::Yes(hello) => {
                assert!(hello.fingerprint.is_some());
                Parsed::Yes(ClientHelloSummary { fingerprint: None, ..hello })
            }
            other => other,
        }
    }

    /// Feeds the bytes one by one: nothing but the last of the ClientHello may tell.
    #[track_caller]
    fn check(bytes: &[u8], expected: &ClientHelloSummary) {
        let end = (0..=bytes.len()).find(|len| parse(&bytes[..*len]) != Parsed::NeedMore).unwrap();
        assert_eq!(parse(&bytes[..end]), Parsed::Yes(expected.clone()));
        assert_eq!(end, bytes.len());
        assert_eq!(parse(&[bytes, b"what follows"].concat()), Parsed::Yes(expected.clone()));
    }

    #[test]
    fn hellos_of_a_real_client_are_read_byte_by_byte() {
        for versions in [&[&TLS12][..], &[&TLS13], &[&TLS12, &TLS13]] {
            check(&first_flight(config(versions), "example.com"), &summary(Some("example.com"), &[]));

            let mut mute = config(versions);
            mute.enable_sni = false;
            check(&first_flight(mute, "example.com"), &summary(None, &[]));

            // An address is no name to ask for (RFC 6066 section 3).
            check(&first_flight(config(versions), "127.0.0.1"), &summary(None, &[]));

            let mut browser = config(versions);
            browser.alpn_protocols = vec![b"h2".to_vec(), b"\x1a\x1a".to_vec(), b"http/1.1".to_vec()];
            check(&first_flight(browser, "a.example"), &summary(Some("a.example"), &["h2", "http/1.1"]));
        }
    }

    #[test]
    fn hellos_over_many_records_are_joined() {
        for size in [32, 33, 64, 100] {
            let mut config = config(&[&TLS13]);
            config.max_fragment_size = Some(size);
            config.alpn_protocols = vec![b"h2".to_vec()];
            let flight = first_flight(config, "fragmented.example");
            assert!(flight.len() > 2 * size);
            check(&flight, &summary(Some("fragmented.example"), &["h2"]));
        }
    }

    #[test]
    fn a_hello_cut_into_records_of_one_byte_is_joined() {
        let flight = first_flight(config(&[&TLS13]), "example.com");
        let records: Vec<u8> = flight[5..].iter().flat_map(|byte| [22, 3, 1, 0, 1, *byte]).collect();
        check(&records, &summary(Some("example.com"), &[]));
    }

    #[test]
    fn encrypted_client_hello_is_noticed() {
        let hello = hello(&[(ENCRYPTED_CLIENT_HELLO, b"\0\0\x01")]);
        assert_eq!(
            parse(&record(&hello)),
            Parsed::Yes(ClientHelloSummary { ech: true, ..summary(None, &[]) })
        );
    }

    /// The body of a ClientHello with these extensions.
    fn hello(extensions: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = b"\x03\x03".to_vec();
        body.extend([7; 32]);
        body.extend(b"\0\0\x02\x13\x01\x01\0");
        let data: Vec<u8> = extensions
            .iter()
            .flat_map(|(kind, data)| {
                [&kind.to_be_bytes()[..], &(data.len() as u16).to_be_bytes(), data].concat()
            })
            .collect();
        body.extend((data.len() as u16).to_be_bytes());
        body.extend(data);
        body
    }

    /// A ClientHello with this body in records as large as may be.
    fn record(body: &[u8]) -> Vec<u8> {
        let mut message = vec![CLIENT_HELLO];
        message.extend(&(body.len() as u32).to_be_bytes()[1..]);
        message.extend(body);
        message
            .chunks(MAX_FRAGMENT_BYTES)
            .flat_map(|part| [&[22, 3, 1][..], &(part.len() as u16).to_be_bytes(), part].concat())
            .collect()
    }

    #[test]
    fn names_that_can_be_no_hosts_are_left_out() {
        let long = "a".repeat(254);
        for (name, sni) in [
            ("example.com", Some("example.com")),
            ("EXAMPLE.com.", Some("EXAMPLE.com.")),
            ("a_b.example", Some("a_b.example")),
            ("", None),
            (".", None),
            ("a b", None),
            ("a\0b", None),
            ("bücher.example", None),
            (&*long, None),
            (&long[1..], Some(&long[1..])),
        ] {
            let mut data = (name.len() as u16 + 3).to_be_bytes().to_vec();
            data.push(HOST_NAME);
            data.extend((name.len() as u16).to_be_bytes());
            data.extend(name.as_bytes());
            let hello = hello(&[(SERVER_NAME, &data)]);
            assert_eq!(parse(&record(&hello)), Parsed::Yes(summary(sni, &[])), "{name:?}");
        }
    }

    #[test]
    fn hellos_of_a_wrong_form_are_none() {
        let empty = hello(&[]);
        let no_extensions = &empty[..empty.len() - 2];
        assert_eq!(parse(&record(no_extensions)), Parsed::Yes(summary(None, &[])));
        let changed = |at: usize, byte: u8| {
            let mut hello = empty.clone();
            hello[at] = byte;
            hello
        };
        let h2: &[u8] = b"\0\x03\x02h2";
        for (form, hello) in [
            ("nothing", Vec::new()),
            ("cut short", empty[..30].to_vec()),
            ("of SSL 2", changed(0, 2)),
            ("with a session id beyond its end", changed(34, 32)),
            ("with an odd list of cipher suites", changed(36, 1)),
            ("with extensions beyond its end", changed(42, 1)),
            ("with bytes after its extensions", [&empty[..], b"x"].concat()),
            ("with ALPN twice", hello(&[(ALPN, h2), (ALPN, h2)])),
            ("with an empty ALPN", hello(&[(ALPN, b"\0\0")])),
            ("with an empty protocol", hello(&[(ALPN, b"\0\x01\0")])),
            ("with bytes after ALPN", hello(&[(ALPN, b"\0\x03\x02h2x")])),
            ("with a name beyond its end", hello(&[(SERVER_NAME, b"\0\x04\0\0\x09a")])),
        ] {
            assert_eq!(parse(&record(&hello)), Parsed::No, "{form}");
        }
    }

    #[test]
    fn a_hello_beyond_the_bound_is_none() {
        let large = |len: usize| record(&hello(&[(0xff00, &vec![0; len])]));
        assert_eq!(parse(&large(60_000)), Parsed::Yes(summary(None, &[])));
        let beyond = large(65_480);
        assert!(beyond.len() > MAX_PEEKED_BYTES);
        assert_eq!(parse(&beyond[..MAX_PEEKED_BYTES - 1]), Parsed::NeedMore);
        assert_eq!(parse(&beyond[..MAX_PEEKED_BYTES]), Parsed::No);
        assert_eq!(parse(&beyond), Parsed::No);
    }

    #[test]
    fn a_hello_in_too_many_records_is_none() {
        let message = [CLIENT_HELLO, 0, 0x10, 0].into_iter().chain(std::iter::repeat(0));
        let records: Vec<u8> = message.take(MAX_RECORDS).flat_map(|byte| [22, 3, 1, 0, 1, byte]).collect();
        assert_eq!(parse(&records), Parsed::NeedMore);
        assert_eq!(parse(&[&*records, &[22]].concat()), Parsed::No);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn damaged_hellos_give_one_answer_however_much_follows(
            damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        ) {
            let alpn: &[u8] = b"\0\x0c\x02h2\x08http/1.1";
            let name: &[u8] = b"\0\x0e\0\0\x0bexample.com";
            let mut bytes = record(&hello(&[(SERVER_NAME, name), (ALPN, alpn), (ENCRYPTED_CLIENT_HELLO, b"")]));
            for (place, value) in damage {
                let place = place.index(bytes.len());
                bytes[place] = value;
            }
            let mut answer = Parsed::NeedMore;
            for len in 0..=bytes.len() {
                let now = parse(&bytes[..len]);
                prop_assert!(answer == Parsed::NeedMore || answer == now, "{answer:?}, then {now:?}");
                answer = now;
            }
        }

        #[test]
        fn random_bytes_in_a_record_never_panic(body in vec(any::<u8>(), 0..300)) {
            parse(&record(&body));
            parse(&[b"\x16\x03\x01", &*body].concat());
        }
    }
}
