//! Reads what a ServerHello says, for its fingerprint (RFC 8446 section 4.1.3, RFC 5246 section 7.4.1.3).

use crate::{
    client_hello::{HANDSHAKE_RECORD, Reader},
    fingerprint::ServerFields,
};

/// The bytes of a handshake that are looked at: a HelloRetryRequest, a change_cipher_spec and a ServerHello with a
/// post-quantum key share take less than 2 KiB.
pub(crate) const MAX_HELLO_BYTES: usize = 8 * 1024;

/// The content type that may stand between a HelloRetryRequest and its ServerHello (RFC 8446 appendix D.4).
const CHANGE_CIPHER_SPEC: u8 = 20;

/// The handshake type (RFC 8446 section 4).
const SERVER_HELLO: u8 = 2;

/// The extensions read here (RFC 7301 section 3.1, RFC 8446 section 4.2.1).
const ALPN: u16 = 16;
const SUPPORTED_VERSIONS: u16 = 43;

/// The random of a ServerHello that is a HelloRetryRequest (RFC 8446 section 4.1.3).
const HELLO_RETRY_REQUEST: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2,
    0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// The handshake messages in cleartext at the beginning of what a server sent.
pub(crate) fn handshake(bytes: &[u8]) -> Vec<u8> {
    let mut messages = Vec::new();
    let mut records = Reader(&bytes[..bytes.len().min(MAX_HELLO_BYTES)]);
    while let (Some(kind), Some(_version)) = (records.u8(), records.u16())
        && let Some(fragment) = records.vector16()
    {
        match kind {
            HANDSHAKE_RECORD => messages.extend_from_slice(fragment.0),
            CHANGE_CIPHER_SPEC => {}
            _ => break,
        }
    }
    messages
}

/// What the ServerHello among these handshake messages says; a HelloRetryRequest is passed over. `None` when there is
/// none that is whole.
pub(crate) fn parse(messages: &[u8]) -> Option<ServerFields<'_>> {
    let mut messages = Reader(messages);
    loop {
        let kind = messages.u8()?;
        let body = messages.vector24()?;
        if kind != SERVER_HELLO {
            return None;
        }
        if !body.0.get(2..34)?.starts_with(&HELLO_RETRY_REQUEST) {
            return server_hello(body);
        }
    }
}

fn server_hello(mut body: Reader<'_>) -> Option<ServerFields<'_>> {
    let version = body.u16()?;
    body.take(32)?;
    body.vector8()?;
    let cipher_suite = body.u16()?;
    body.u8()?;
    let mut fields = ServerFields { version, cipher_suite, ..ServerFields::default() };
    // Before TLS 1.3 the extensions may be left out.
    let mut extensions = if body.0.is_empty() { Reader(&[]) } else { body.vector16()? };
    while !extensions.0.is_empty() {
        let kind = extensions.u16()?;
        let mut data = extensions.vector16()?;
        fields.extensions.push(kind);
        match kind {
            SUPPORTED_VERSIONS => fields.selected_version = data.u16(),
            ALPN => fields.alpn = data.vector16().and_then(|mut list| Some(list.vector8()?.0)),
            _ => {}
        }
    }
    Some(fields)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn hello(random: [u8; 32], extensions: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = b"\x03\x03".to_vec();
        body.extend(random);
        body.extend(b"\0\x13\x01\0");
        let data: Vec<u8> = extensions
            .iter()
            .flat_map(|(kind, data)| {
                [&kind.to_be_bytes()[..], &(data.len() as u16).to_be_bytes(), data].concat()
            })
            .collect();
        body.extend((data.len() as u16).to_be_bytes());
        body.extend(data);
        let mut message = vec![SERVER_HELLO];
        message.extend(&(body.len() as u32).to_be_bytes()[1..]);
        message.extend(body);
        message
    }

    fn record(kind: u8, fragment: &[u8]) -> Vec<u8> {
        [&[kind, 3, 3][..], &(fragment.len() as u16).to_be_bytes(), fragment].concat()
    }

    #[test]
    fn a_hello_after_a_retry_request_is_the_one_that_counts() {
        let retry = record(22, &hello(HELLO_RETRY_REQUEST, &[(51, b"\0\x17"), (43, b"\x03\x04")]));
        let real = hello([7; 32], &[(43, b"\x03\x04"), (51, b"\0\x17\0\0")]);
        let flight = [retry, record(20, &[1]), record(22, &real), record(23, b"secret")].concat();
        let messages = handshake(&flight);
        let fields = parse(&messages).unwrap();
        assert_eq!((fields.version, fields.selected_version), (0x0303, Some(0x0304)));
        assert_eq!((fields.cipher_suite, fields.extensions), (0x1301, vec![43, 51]));
    }

    #[test]
    fn a_hello_of_tls_1_2_tells_its_protocol() {
        let fragments = hello([7; 32], &[(16, b"\0\x03\x02h2"), (65281, b"\0")]);
        let (one, two) = fragments.split_at(20);
        let messages = handshake(&[record(22, one), record(22, two)].concat());
        let fields = parse(&messages).unwrap();
        assert_eq!((fields.alpn, fields.selected_version), (Some(&b"h2"[..]), None));
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_without_harm(bytes in vec(any::<u8>(), 0..300), cut in 0..200_usize) {
            let _ = parse(&handshake(&bytes));
            let whole = record(22, &hello([7; 32], &[(16, &bytes)]));
            let _ = parse(&handshake(&whole[..cut.min(whole.len())]));
        }
    }
}
