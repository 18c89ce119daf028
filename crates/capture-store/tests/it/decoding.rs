//! Content codings are taken off lazily, within bounds, and what is broken says so.

use std::io::{Read, Write};

use capture_store::{Body, BodySide, Decoded};
use flate2::{Compression, write};
use proxy_core::Outcome;

use crate::support::{Teller, TestStore, get, noise, response};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = write::GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = write::ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn raw_deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = write::DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn brotli(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = brotli::CompressorWriter::new(&mut out, 4096, 5, 22);
    encoder.write_all(bytes).unwrap();
    drop(encoder);
    out
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

/// Stores a body with these `Content-Encoding` fields and opens it.
fn stored(test: &TestStore, codings: &[&str], bytes: &[u8]) -> Body {
    let recorder = test.scratch();
    let mut head = response(200, "text/plain");
    for coding in codings {
        head.headers.push("Content-Encoding", (*coding).to_owned());
    }
    let teller = Teller::begin(&recorder, 1, get("/")).response(head);
    bytes
        .chunks(9_000)
        .fold(teller, |teller, piece| teller.response_body(piece.to_vec()))
        .end(Outcome::Response);
    let seq = recorder.flush().unwrap();
    test.store.body(seq, BodySide::Response).unwrap().unwrap()
}

fn decode(codings: &[&str], bytes: &[u8], max_bytes: usize) -> Decoded {
    stored(&TestStore::new(), codings, bytes).decode(max_bytes)
}

#[test]
fn every_coding_and_chains_of_them_come_off() {
    let text = "All work and no play makes Jack a dull boy. ".repeat(1500).into_bytes();
    let cases: Vec<(&[&str], Vec<u8>)> = vec![
        (&[], text.clone()),
        (&["identity"], text.clone()),
        (&["gzip"], gzip(&text)),
        (&["X-GZIP"], gzip(&text)),
        (&["gzip"], [gzip(&text[..1000]), gzip(&text[1000..])].concat()),
        (&["gzip"], [gzip(&text), vec![0; 512]].concat()),
        (&["deflate"], zlib(&text)),
        (&["deflate"], raw_deflate(&text)),
        (&["br"], brotli(&text)),
        (&["zstd"], zstd(&text)),
        (&["gzip, br"], brotli(&gzip(&text))),
        (&["deflate", "identity", "zstd"], zstd(&zlib(&text))),
    ];
    for (codings, bytes) in cases {
        let decoded = decode(codings, &bytes, usize::MAX);
        assert_eq!(decoded.problem, None, "{codings:?}");
        assert!(decoded.bytes == text && !decoded.truncated, "{codings:?}");
        let part = decode(codings, &bytes, 100);
        assert!(part.bytes == text[..100] && part.truncated && part.problem.is_none(), "{codings:?}");
        let all = decode(codings, &bytes, text.len());
        assert!(all.bytes == text && !all.truncated, "{codings:?}");
    }
}

#[test]
fn a_bomb_gives_no_more_than_asked_for() {
    let bomb = gzip(&gzip(&vec![0; 50_000_000]));
    assert!(bomb.len() < 5_000, "{}", bomb.len());
    let decoded = decode(&["gzip", "gzip"], &bomb, 10_000);
    assert_eq!((decoded.bytes.len(), decoded.truncated), (10_000, true));
}

#[test]
fn broken_data_gives_what_came_before_and_its_problem() {
    let text = noise(60_000, 8);
    for (coding, whole) in
        [("gzip", gzip(&text)), ("deflate", zlib(&text)), ("br", brotli(&text)), ("zstd", zstd(&text))]
    {
        let decoded = decode(&[coding], &whole[..whole.len() / 2], usize::MAX);
        assert!(decoded.problem.as_ref().is_some_and(|text| text.contains(coding)), "{coding}: {decoded:?}");
        assert!(decoded.bytes.len() > 10_000, "{coding}: {}", decoded.bytes.len());
        assert!(text.starts_with(&decoded.bytes), "{coding}");
    }
}

#[test]
fn what_cannot_be_decoded_at_all_comes_raw() {
    for codings in [&["gzip"][..], &["rot13"], &["gzip, rot13"], &["br"; 9]] {
        let decoded = decode(codings, b"plain after all", 5);
        assert_eq!(decoded.bytes, "plain", "{codings:?}");
        assert!(decoded.problem.is_some() && decoded.truncated, "{codings:?}");
        let mut out = Vec::new();
        let error = stored(&TestStore::new(), codings, b"plain after all")
            .into_decoded_reader()
            .read_to_end(&mut out)
            .unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidData, "{codings:?}");
    }
}
