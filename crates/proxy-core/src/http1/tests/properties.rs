//! What holds for all messages and every way the network may cut them.

use bytes::BytesMut;
use proptest::{collection::vec, prelude::*};

use super::*;
use crate::wire::{Piece, WireError};

fn token() -> impl Strategy<Value = String> {
    "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,20}"
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    let inner = prop_oneof![8 => 0x21..=0x7e_u8, 1 => 0x80..=0xff_u8, 1 => Just(b' '), 1 => Just(b'\t')];
    vec(inner, 0..40).prop_map(|value| fields::trim_ows(&value).to_vec())
}

fn field_lines() -> impl Strategy<Value = Vec<u8>> {
    let names = token().prop_filter("framing and Host are the message's own", |name| {
        !["host", "content-length", "transfer-encoding"].iter().any(|own| name.eq_ignore_ascii_case(own))
    });
    vec((names, value()), 0..12).prop_map(|fields| {
        fields.iter().flat_map(|(name, value)| [name.as_bytes(), b": ", value, b"\r\n"].concat()).collect()
    })
}

fn request_text() -> impl Strategy<Value = Vec<u8>> {
    (token(), "/[!-~\u{e9}]{0,60}", field_lines(), 0..2_u8).prop_map(|(method, target, fields, minor)| {
        let method = if method == "CONNECT" { "GET".to_owned() } else { method };
        let line = format!("{method} {target} HTTP/1.{minor}\r\nHost: example.com:81\r\n");
        [line.as_bytes(), &fields, b"\r\n"].concat()
    })
}

fn response_text() -> impl Strategy<Value = Vec<u8>> {
    (100..1_000_u16, value(), field_lines()).prop_map(|(status, reason, fields)| {
        [format!("HTTP/1.1 {status} ").as_bytes(), &reason, b"\r\n", &fields, b"\r\n"].concat()
    })
}

/// Bytes that look enough like HTTP to reach every branch.
fn nearly_http() -> impl Strategy<Value = Vec<u8>> {
    let words = prop_oneof![
        Just("GET"),
        Just(" "),
        Just("/"),
        Just("http://a"),
        Just("HTTP/1.1"),
        Just("HTTP/1.0 200 OK"),
        Just("\r\n"),
        Just("\r\n\r\n"),
        Just("\n"),
        Just("\r"),
        Just("Host: a\r\n"),
        Just("Content-Length: 5\r\n"),
        Just("Transfer-Encoding: chunked\r\n"),
        Just(":"),
        Just("5"),
        Just("0"),
        Just(";x"),
        Just("hello"),
        Just("\0"),
        Just("\t"),
        Just("é"),
    ];
    vec(words, 0..20).prop_map(|words| words.concat().into_bytes())
}

/// Everything a connection says, to its end or its first error.
fn requests_in(from: Pieces) -> Vec<String> {
    let mut reader = Reader::new(from, LIMITS);
    let mut seen = Vec::new();
    loop {
        let head = match now(reader.request(&no_tunnel())) {
            Ok(Some(head)) => head,
            end => {
                seen.push(format!("{end:?}"));
                return seen;
            }
        };
        seen.push(format!(
            "{head:?} {:?}",
            head.headers.iter().map(|field| field.value.clone()).collect::<Vec<_>>()
        ));
        let body = request_framing(&head)
            .and_then(|framing| now(collect(&mut reader, &mut Decoder::new(framing, 1_000))));
        seen.push(format!("{body:?}"));
        if body.is_err() {
            return seen;
        }
    }
}

async fn collect<R: AsyncRead + Unpin>(
    reader: &mut Reader<R>,
    decoder: &mut Decoder,
) -> Result<(Bytes, Option<Headers>), WireError> {
    let mut body = BytesMut::new();
    let mut trailers = None;
    while let Some(piece) = reader.piece(decoder).await? {
        match piece {
            Piece::Data(data) => body.extend_from_slice(&data),
            Piece::Trailers(fields) => trailers = Some(fields),
        }
    }
    Ok((body.freeze(), trailers))
}

proptest! {
    #[test]
    fn a_request_head_comes_out_as_it_went_in(text in request_text(), cuts in vec(any::<usize>(), 0..6)) {
        let mut reader = Reader::new(Pieces::cut(&text, &cuts), LIMITS);
        let head = now(reader.request(&no_tunnel())).unwrap().unwrap();
        prop_assert_eq!(reader.last_head_bytes(), text.len() as u64);
        let mut writer = Writer::new(Vec::new());
        let bytes = writer.put_request(&head, TargetForm::Origin).unwrap();
        now(writer.flush()).unwrap();
        prop_assert_eq!(bytes, text.len() as u64);
        prop_assert_eq!(writer.into_inner(), text);
    }

    #[test]
    fn a_response_head_comes_out_as_it_went_in(text in response_text(), cuts in vec(any::<usize>(), 0..6)) {
        let mut reader = Reader::new(Pieces::cut(&text, &cuts), LIMITS);
        let head = now(reader.response()).unwrap();
        prop_assert_eq!(reader.last_head_bytes(), text.len() as u64);
        let mut writer = Writer::new(Vec::new());
        writer.put_response(&head).unwrap();
        now(writer.flush()).unwrap();
        prop_assert_eq!(writer.into_inner(), text);
    }

    #[test]
    fn the_cut_of_the_reads_makes_no_difference(
        text in prop_oneof![nearly_http(), vec(any::<u8>(), 0..200)],
        cuts in vec(any::<usize>(), 0..10),
    ) {
        let whole = requests_in(Pieces::whole(text.clone()));
        prop_assert_eq!(&whole, &requests_in(Pieces::cut(&text, &cuts)));
        prop_assert_eq!(&whole, &requests_in(Pieces::bytewise(&text)));
    }

    #[test]
    fn a_body_comes_out_as_it_went_in(
        pieces in vec(vec(any::<u8>(), 0..3_000), 0..8),
        trailers in vec((token(), value()), 0..4),
        cuts in vec(any::<usize>(), 0..10),
        how in 0..3_u8,
    ) {
        let body = pieces.concat();
        let (encoding, framing) = match how {
            0 => (Encoding::Length(body.len() as u64), Framing::Length(body.len() as u64)),
            1 => (Encoding::UntilClose, Framing::UntilClose),
            _ => (Encoding::Chunked, Framing::Chunked),
        };
        let trailers: Headers = trailers
            .into_iter()
            .filter(|(name, _)| !name.eq_ignore_ascii_case("content-length"))
            .map(|(name, value)| crate::head::Header::new(name, value))
            .collect();
        let mut writer = Writer::new(Vec::new());
        writer.begin(encoding);
        for piece in pieces {
            now(writer.data(piece.into())).unwrap();
        }
        now(writer.end(Some(&trailers))).unwrap();
        let mut wire = writer.into_inner();
        if how != 1 {
            wire.extend_from_slice(b"next");
        }
        let mut reader = Reader::new(Pieces::cut(&wire, &cuts), LIMITS);
        let (seen, seen_trailers) = now(collect(&mut reader, &mut Decoder::new(framing, 10_000))).unwrap();
        prop_assert_eq!(seen, body);
        prop_assert_eq!(seen_trailers, Some(trailers).filter(|trailers| how == 2 && !trailers.is_empty()));
        let rest = now(collect(&mut reader, &mut Decoder::raw())).unwrap().0;
        prop_assert_eq!(&rest[..], if how == 1 { &b""[..] } else { b"next" });
    }

    #[test]
    fn what_is_taken_from_a_client_an_independent_parser_takes_too(
        text in prop_oneof![nearly_http(), request_text()],
        edits in vec((any::<usize>(), any::<u8>()), 0..3),
    ) {
        let mut text = text;
        for (at, byte) in edits {
            if !text.is_empty() {
                let at = at % text.len();
                text[at] = byte;
            }
        }
        if let Ok(Some(head)) = request(&text) {
            let mut fields = [httparse::EMPTY_HEADER; 100];
            let mut theirs = httparse::Request::new(&mut fields);
            // httparse also refuses control characters in values, which are let pass here (RFC 9110 section 5.5).
            let controls = head
                .headers
                .iter()
                .any(|field| field.value.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t'));
            match theirs.parse(&text) {
                Ok(_) => {}
                Err(_) if controls => return Ok(()),
                Err(error) => return Err(TestCaseError::fail(format!("{error}: {text:?}"))),
            }
            prop_assert_eq!(theirs.method, Some(head.method.as_str()));
            prop_assert!(theirs.path.unwrap().ends_with(head.target.trim_start_matches(['/', '*'])));
            prop_assert_eq!(theirs.headers.len(), head.headers.len());
            for (theirs, ours) in theirs.headers.iter().zip(&head.headers) {
                prop_assert_eq!(theirs.name.as_bytes(), &ours.name[..]);
                prop_assert_eq!(theirs.value, &ours.value[..]);
            }
        }
    }

    #[test]
    fn hostile_bytes_end_in_a_response_or_an_error(text in vec(any::<u8>(), 0..400)) {
        let mut reader = Reader::new(Pieces::whole(text.clone()), LIMITS);
        while now(reader.response()).is_ok() {}
        let mut reader = Reader::new(Pieces::whole(text), LIMITS);
        drop(now(collect(&mut reader, &mut Decoder::new(Framing::Chunked, 100))));
    }
}
