//! Bodies: what decodes, what is refused, and where the next message begins.

use bytes::BytesMut;

use super::*;
use crate::wire::{Piece, WireErrorKind};

/// What a decoder makes of a whole stream: the body, the trailers, and what is left for the next message.
type Decoded = Result<(String, Vec<String>, String), (WireErrorKind, String)>;

fn read(from: Pieces, framing: Framing, max_trailer_bytes: usize) -> Decoded {
    let mut reader = Reader::new(from, LIMITS);
    let mut decoder = Decoder::new(framing, max_trailer_bytes);
    let (mut body, mut trailers) = (BytesMut::new(), Vec::new());
    while let Some(piece) = now(reader.piece(&mut decoder)).map_err(|error| (error.kind, error.detail))? {
        assert!(trailers.is_empty(), "trailers are the last piece");
        match piece {
            Piece::Data(data) => {
                assert!(!data.is_empty());
                body.extend_from_slice(&data);
            }
            Piece::Trailers(fields) => trailers = shown(&fields),
        }
    }
    assert!(decoder.is_done());
    assert_eq!(now(reader.piece(&mut decoder)), Ok(None), "the end stays the end");
    let rest = reader.buffered().to_vec();
    Ok((String::from_utf8(body.to_vec()).unwrap(), trailers, String::from_utf8(rest).unwrap()))
}

fn decode(framing: Framing, text: &str) -> Decoded {
    let bytewise = read(Pieces::bytewise(text.as_bytes()), framing, 100);
    let whole = read(Pieces::whole(text.to_owned()), framing, 100);
    match (&whole, &bytewise) {
        // Read byte by byte, the next message is not in the buffer yet.
        (Ok(whole), Ok(bytewise)) => assert_eq!((&whole.0, &whole.1), (&bytewise.0, &bytewise.1)),
        _ => assert_eq!(whole, bytewise, "the cut of the reads makes a difference"),
    }
    whole
}

fn body(text: &str) -> Decoded {
    Ok((text.to_owned(), Vec::new(), String::new()))
}

fn refused(kind: WireErrorKind, what: &str) -> Decoded {
    Err((kind, what.to_owned()))
}

#[test]
fn bodies_of_known_length_end_there() {
    assert_eq!(decode(Framing::Empty, ""), body(""));
    assert_eq!(decode(Framing::Length(0), ""), body(""));
    assert_eq!(decode(Framing::Length(5), "hello"), body("hello"));
    let next = Ok(("hello".to_owned(), Vec::new(), "GET /".to_owned()));
    assert_eq!(decode(Framing::Length(5), "helloGET /"), next);
    let mut buffered = Reader::with_buffered(Pieces::whole(""), BytesMut::from("GET /"), LIMITS);
    assert_eq!(now(buffered.piece(&mut Decoder::new(Framing::Empty, 0))), Ok(None));
    assert_eq!(buffered.buffered(), b"GET /", "the next message is left alone");
}

#[test]
fn bodies_until_close_end_with_the_connection() {
    assert_eq!(decode(Framing::UntilClose, ""), body(""));
    assert_eq!(decode(Framing::UntilClose, "0\r\n\r\nall of it"), body("0\r\n\r\nall of it"));
}

#[test]
fn a_connection_that_ends_in_a_body_is_an_error() {
    let cut = refused(WireErrorKind::Closed, "connection closed in the middle of a body");
    for (framing, text) in [
        (Framing::Length(5), ""),
        (Framing::Length(5), "hell"),
        (Framing::Chunked, ""),
        (Framing::Chunked, "5"),
        (Framing::Chunked, "5\r"),
        (Framing::Chunked, "5\r\n"),
        (Framing::Chunked, "5\r\nhell"),
        (Framing::Chunked, "5\r\nhello"),
        (Framing::Chunked, "5\r\nhello\r"),
        (Framing::Chunked, "5\r\nhello\r\n"),
        (Framing::Chunked, "5\r\nhello\r\n0\r\n"),
        (Framing::Chunked, "5\r\nhello\r\n0\r\n\r"),
        (Framing::Chunked, "0\r\nA: 1\r\n"),
    ] {
        assert_eq!(decode(framing, text), cut, "{text:?}");
    }
}

#[test]
fn chunks_are_joined_and_trailers_kept() {
    for (text, data, trailers, rest) in [
        ("0\r\n\r\n", "", vec![], ""),
        ("000\r\n\r\n", "", vec![], ""),
        ("5\r\nhello\r\n0\r\n\r\n", "hello", vec![], ""),
        ("5\r\nhello\r\n0\r\n\r\nGET /", "hello", vec![], "GET /"),
        ("1\r\na\r\n1\r\nb\r\n0\r\n\r\n", "ab", vec![], ""),
        ("A\r\n0123456789\r\n0\r\n\r\n", "0123456789", vec![], ""),
        ("a\r\n0123456789\r\n0\r\n\r\n", "0123456789", vec![], ""),
        ("0000000000000005\r\nhello\r\n0\r\n\r\n", "hello", vec![], ""),
        ("5;x\r\nhello\r\n0;last\r\n\r\n", "hello", vec![], ""),
        ("5;x=y;z=\"q\\\" ;\"\r\nhello\r\n0\r\n\r\n", "hello", vec![], ""),
        ("5 ; x\r\nhello\r\n0\r\n\r\n", "hello", vec![], ""),
        ("5  \t\r\nhello\r\n0 \r\n\r\n", "hello", vec![], ""),
        ("2\r\n\r\n\r\n0\r\n\r\n", "\r\n", vec![], ""),
        ("0\r\nA: 1\r\n\r\n", "", vec!["A: 1"], ""),
        (
            "2\r\nhi\r\n0\r\ngRPC-Status: 0\r\nx:\r\nX: 2 \r\n\r\nGET /",
            "hi",
            vec!["gRPC-Status: 0", "x: ", "X: 2"],
            "GET /",
        ),
    ] {
        let trailers = trailers.into_iter().map(str::to_owned).collect();
        assert_eq!(
            decode(Framing::Chunked, text),
            Ok((data.to_owned(), trailers, rest.to_owned())),
            "{text:?}"
        );
    }
}

#[test]
fn malformed_chunks_are_refused() {
    let number = "chunk size is not a hexadecimal number";
    let after = "chunk size is followed by neither an extension nor CRLF";
    let bare = "chunk-size line ends in a bare LF";
    let longer = "chunk is longer than its size";
    let control = "chunk extension holds a control character";
    for (text, what) in [
        ("\r\n", number),
        (" 5\r\nhello\r\n", number),
        ("\t5\r\nhello\r\n", number),
        ("+5\r\nhello\r\n", number),
        ("-5\r\nhello\r\n", number),
        ("g\r\n", number),
        (";x\r\n", number),
        ("\u{665}\r\n", number),
        ("00000000000000005\r\nhello\r\n", number),
        ("10000000000000000\r\n", number),
        ("fffffffffffffffff\r\n", number),
        ("0x5\r\nhello\r\n", after),
        ("5h\r\nhello\r\n", after),
        ("5 5\r\nhello\r\n", after),
        ("5,5\r\nhello\r\n", after),
        ("5_0\r\nhello\r\n", after),
        ("5.\r\nhello\r\n", after),
        ("5\x0b\r\nhello\r\n", after),
        ("5\0\r\nhello\r\n", after),
        ("5\n", bare),
        ("5\nhello\r\n0\r\n\r\n", bare),
        ("5;x\nhello\r\n", bare),
        ("0\n\r\n", bare),
        ("5;a\rb\r\nhello\r\n", control),
        ("5;a\0b\r\nhello\r\n", control),
        ("5;a\x0bb\r\nhello\r\n", control),
        ("5\r\r\nhello\r\n", after),
        ("5;\r\r\nhello\r\n", control),
        ("5\r\nhello!\r\n", longer),
        ("5\r\nhello\n\n", longer),
        ("5\r\nhello\r0", longer),
        ("5\r\nhello0\r\n\r\n", longer),
        ("3\r\nhello\r\n0\r\n\r\n", longer),
        ("0\r\nA 1\r\n\r\n", "field line has no colon"),
        ("0\r\nA : 1\r\n\r\n", "whitespace between field name and colon"),
        ("0\r\n A: 1\r\n\r\n", "first field line begins with whitespace"),
        ("0\r\nA: 1\r\n 2\r\n\r\n", "field value goes on in the next line (obs-fold)"),
        ("0\r\nA: 1\n\r\n", "line ends in a bare LF"),
        ("0\r\n\n", "line ends in a bare LF"),
        ("0\r\nA: \0\r\n\r\n", "field line holds a bare CR or a NUL"),
        ("0\r\nA: 1\r2\r\n\r\n", "field line holds a bare CR or a NUL"),
        ("0\r\ncontent-LENGTH: 1\r\n\r\n", "trailer section holds content-length"),
        ("0\r\nTransfer-Encoding: chunked\r\n\r\n", "trailer section holds transfer-encoding"),
        ("0\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "field line has no colon"),
    ] {
        assert_eq!(decode(Framing::Chunked, text), refused(WireErrorKind::Malformed, what), "{text:?}");
    }
}

#[test]
fn the_largest_chunk_size_is_taken() {
    let mut reader = Reader::new(Pieces::whole("ffffffffffffffff\r\nbeginning"), LIMITS);
    let mut decoder = Decoder::new(Framing::Chunked, 100);
    assert_eq!(now(reader.piece(&mut decoder)), Ok(Some(Piece::Data("beginning".into()))));
    assert!(!decoder.is_done());
}

#[test]
fn trailers_and_extensions_are_bounded() {
    let limit = |what| refused(WireErrorKind::Limit, what);
    let fits = format!("0\r\nA: {}\r\n\r\n", "a".repeat(100 - 7));
    assert!(decode(Framing::Chunked, &fits).is_ok());
    let large = format!("0\r\nA: {}\r\n\r\n", "a".repeat(100 - 6));
    assert_eq!(decode(Framing::Chunked, &large), limit("trailer section is too large"));
    let endless = format!("0\r\nA: {}", "a".repeat(1_000));
    assert_eq!(decode(Framing::Chunked, &endless), limit("trailer section is too large"));
    let many = format!("0\r\n{}\r\n", "A: 1\r\n".repeat(1_001));
    assert_eq!(
        read(Pieces::whole(many), Framing::Chunked, 100_000),
        limit("trailer section has too many fields")
    );

    let long = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(4_096));
    assert_eq!(decode(Framing::Chunked, &long), limit("chunk-size line is too long"));
    let endless = format!("5;{}", "x".repeat(5_000));
    assert_eq!(decode(Framing::Chunked, &endless), limit("chunk-size line is too long"));
    let chunk = |data: usize| format!("{data:x};{}\r\n{}\r\n", "x".repeat(1_000), "d".repeat(data));
    let wasteful = format!("{}0\r\n\r\n", chunk(1).repeat(18));
    assert_eq!(decode(Framing::Chunked, &wasteful), limit("chunk extensions outweigh the data"));
    let paid_for = format!("{}0\r\n\r\n", chunk(1_000).repeat(100));
    assert!(decode(Framing::Chunked, &paid_for).is_ok());
    let tiny = format!("{}0\r\n\r\n", "1\r\nx\r\n".repeat(20_000));
    assert!(read(Pieces::whole(tiny), Framing::Chunked, 100).is_ok());
}

#[test]
fn pieces_are_at_most_64_kib() {
    let all = Bytes::from(vec![b'x'; 300_000]);
    for framing in [Framing::Length(300_000), Framing::UntilClose] {
        let buffered = BytesMut::from(&all[..]);
        let mut reader = Reader::with_buffered(Pieces::whole(""), buffered, LIMITS);
        let mut decoder = Decoder::new(framing, 0);
        let mut total = 0;
        while let Some(Piece::Data(data)) = now(reader.piece(&mut decoder)).unwrap() {
            assert!(data.len() <= 64 * 1024);
            total += data.len();
        }
        assert_eq!(total, all.len());
    }
}
