//! The RFC's examples, hostile blocks, and an independent implementation.

use bytes::BytesMut;
use proptest::prelude::*;

use super::{Decoder, Encoder, decoder::BadBlock, table::DEFAULT_TABLE_BYTES};

fn decoder() -> Decoder {
    Decoder::new(1 << 20, 1_000)
}

fn decoded(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<(String, String)>, BadBlock> {
    let section = decoder.decode(block)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(section.fields.iter().map(|field| (text(&field.name), text(&field.value))).collect())
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[track_caller]
fn check(decoder: &mut Decoder, block: &str, expected: &[(&str, &str)], table_bytes: usize) {
    let fields = decoded(decoder, &hex(block)).unwrap();
    let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(fields, expected);
    assert_eq!(decoder.table_bytes(), table_bytes);
}

#[test]
fn the_requests_of_the_rfc_decode_as_there() {
    // RFC 7541 sections C.3 and C.4: the same without and with Huffman code.
    for blocks in [
        [
            "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
            "8286 84be 5808 6e6f 2d63 6163 6865",
            "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
        ],
        [
            "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
            "8286 84be 5886 a8eb 1064 9cbf",
            "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
        ],
    ] {
        let mut decoder = decoder();
        let first =
            [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com")];
        check(&mut decoder, blocks[0], &first, 57);
        check(&mut decoder, blocks[1], &[&first[..], &[("cache-control", "no-cache")]].concat(), 110);
        let third = [
            (":method", "GET"),
            (":scheme", "https"),
            (":path", "/index.html"),
            (":authority", "www.example.com"),
            ("custom-key", "custom-value"),
        ];
        check(&mut decoder, blocks[2], &third, 164);
    }
}

#[test]
fn entries_are_evicted_as_in_the_rfc() {
    // RFC 7541 section C.6, with a table of 256 bytes.
    let mut decoder = decoder();
    decoded(&mut decoder, &hex("3fe101")).unwrap();
    let fields = |status, date| {
        [
            (":status", status),
            ("cache-control", "private"),
            ("date", date),
            ("location", "https://www.example.com"),
        ]
    };
    let date = "Mon, 21 Oct 2013 20:13:21 GMT";
    let first =
        "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad
                 1718 63c7 8f0b 97c8 e9ae 82ae 43d3";
    check(&mut decoder, first, &fields("302", date), 222);
    check(&mut decoder, "4883 640e ffc1 c0bf", &fields("307", date), 222);
}

#[test]
fn never_indexed_fields_keep_their_mark() {
    let section = decoder().decode(&hex("1008 7061 7373 776f 7264 0673 6563 7265 74")).unwrap();
    assert!(section.fields[0].is_never_indexed());
    let (mut encoder, mut out) = (Encoder::new(), BytesMut::new());
    encoder.field(b"password", b"secret", true, &mut out);
    encoder.field(b":method", b"GET", true, &mut out);
    assert_eq!((out[0], encoder.table_bytes()), (0x10, 0));
    let section = decoder().decode(&out).unwrap();
    assert!(section.fields.iter().all(crate::head::Header::is_never_indexed));
}

#[test]
fn what_is_no_block_is_refused() {
    for bad in [
        "80",                      // index zero
        "be",                      // an empty dynamic table
        "ff ff ff ff ff 0f",       // an integer beyond all bounds
        "40 85 61",                // a string that breaks off
        "40",                      // a field that breaks off
        "00 01 61 ff ff ff ff 7f", // a length that is not there
        "00 01 61 82 ff ff",       // padding of sixteen bits
        "00 01 61 84 ff ff ff fa", // EOS
        "3f e2 1f",                // a table over the agreed size
        "82 20",                   // an update after a field
        "20 20 20",                // three updates
    ] {
        assert!(decoder().decode(&hex(bad)).is_err(), "{bad}");
    }
}

#[test]
fn the_peers_table_size_is_obeyed_and_told() {
    let (mut encoder, mut decoder) = (Encoder::new(), decoder());
    let mut write = |encoder: &mut Encoder| {
        let mut out = BytesMut::new();
        encoder.begin(&mut out);
        encoder.field(b"x-name", b"value", false, &mut out);
        decoder.decode(&out).unwrap();
        (out[0], encoder.table_bytes(), decoder.table_bytes())
    };
    assert_eq!(write(&mut encoder), (0x40, 43, 43));
    assert_eq!(write(&mut encoder), (0x80 | 62, 43, 43));
    encoder.set_peer_table_bytes(0);
    encoder.set_peer_table_bytes(100_000);
    // Both the least size and the last are told (RFC 7541 section 4.2).
    assert_eq!(write(&mut encoder), (0x20, 43, 43));
    encoder.set_peer_table_bytes(10);
    assert_eq!(write(&mut encoder), (0x2a, 0, 0));
}

#[test]
fn fields_over_the_limits_are_counted_and_left_out() {
    let mut decoder = Decoder::new(100, 2);
    let section = decoder.decode(&hex("82 82 82 84")).unwrap();
    assert_eq!((section.fields.len(), section.count), (2, 4));
    assert_eq!(section.bytes, 3 * (7 + 3 + 32) + (5 + 1 + 32));
}

fn fields() -> impl Strategy<Value = Vec<(Vec<u8>, Vec<u8>)>> {
    let name = prop_oneof![
        prop::sample::select(vec![
            ":path",
            ":status",
            "cookie",
            "set-cookie",
            "authorization",
            "date",
            "x-a",
            "server"
        ])
        .prop_map(|name| name.as_bytes().to_vec()),
        "[a-z-]{1,12}".prop_map(String::into_bytes),
    ];
    let value = prop_oneof![
        "[a-d]{0,3}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..40),
        prop::collection::vec(32_u8..127, 0..900),
    ];
    prop::collection::vec((name, value), 1..12)
}

proptest! {
    #[test]
    fn an_independent_decoder_reads_what_is_encoded(
        blocks in prop::collection::vec((fields(), prop::option::of(0_u32..6_000)), 1..12),
    ) {
        let (mut encoder, mut ours, mut theirs) = (Encoder::new(), decoder(), loona_hpack::Decoder::new());
        theirs.set_max_allowed_table_size(DEFAULT_TABLE_BYTES);
        for (fields, resize) in blocks {
            if let Some(bytes) = resize {
                encoder.set_peer_table_bytes(bytes);
            }
            let mut out = BytesMut::new();
            encoder.begin(&mut out);
            for (name, value) in &fields {
                encoder.field(name, value, false, &mut out);
            }
            prop_assert_eq!(&theirs.decode(&out).unwrap(), &fields);
            let section = ours.decode(&out).unwrap();
            let read: Vec<_> = section.fields.iter().map(|f| (f.name.to_vec(), f.value.to_vec())).collect();
            prop_assert_eq!(read, fields);
            prop_assert_eq!(ours.table_bytes(), encoder.table_bytes());
        }
    }

    #[test]
    fn what_an_independent_encoder_writes_is_decoded(blocks in prop::collection::vec(fields(), 1..12)) {
        let (mut theirs, mut ours) = (loona_hpack::Encoder::new(), decoder());
        for fields in blocks {
            let out = theirs.encode(fields.iter().map(|(name, value)| (&name[..], &value[..])));
            let section = ours.decode(&out).unwrap();
            let read: Vec<_> = section.fields.iter().map(|f| (f.name.to_vec(), f.value.to_vec())).collect();
            prop_assert_eq!(read, fields);
        }
    }

    #[test]
    fn no_bytes_make_the_table_larger_than_agreed(blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 1..4)) {
        let mut decoder = decoder();
        for block in blocks {
            if decoder.decode(&block).is_err() {
                break;
            }
            prop_assert!(decoder.table_bytes() <= DEFAULT_TABLE_BYTES);
        }
    }
}
