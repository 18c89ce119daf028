//! The tap as a whole: bytes in, messages out. Vectors are those of RFC 6455 section 5.7 and RFC 7692 section
//! 7.2.3.

use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress};
use proptest::{collection::vec, prelude::*};

use super::{
    MessageTap,
    extension::{DeflateParams, Negotiated},
};
use crate::event::{Direction, MessageKind, WebSocketMessage};

const MAX: usize = 1 << 20;
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

fn deflate(no_context_takeover: bool) -> Negotiated {
    let params = DeflateParams { no_context_takeover };
    Negotiated::Deflate { to_upstream: params, to_client: params }
}

/// What a tap makes of a stream that comes in these pieces and then ends, and why it stopped, if it did.
fn tap(
    negotiated: Negotiated,
    max: usize,
    pieces: &[&[u8]],
) -> (Vec<WebSocketMessage>, Option<&'static str>) {
    let mut messages = Vec::new();
    let mut tap = MessageTap::new(Direction::ToClient, negotiated, max);
    for piece in pieces {
        tap.feed(piece, &mut |message| messages.push(message));
    }
    tap.finish(&mut |message| messages.push(message));
    (messages, tap.broken())
}

/// The same in one line per message: `text 5 "Hello"`, with marks for what is not plain.
#[track_caller]
fn check(negotiated: Negotiated, stream: &[u8], expected: &[&str]) {
    let (whole, broken) = tap(negotiated, MAX, &[stream]);
    let bytes: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(tap(negotiated, MAX, &bytes), (whole.clone(), broken), "byte by byte");
    let mut lines: Vec<String> = whole.iter().map(describe).collect();
    lines.extend(broken.map(|rule| format!("broken: {rule}")));
    assert_eq!(lines, expected, "{stream:x?}");
}

fn describe(message: &WebSocketMessage) -> String {
    let kind = format!("{:?}", message.kind).to_lowercase();
    let data = String::from_utf8_lossy(&message.data).escape_debug().to_string();
    let compressed = if message.compressed { " compressed" } else { "" };
    let truncated = if message.truncated { " truncated" } else { "" };
    format!("{kind} {} \"{data}\"{compressed}{truncated}", message.length)
}

/// Writes a frame with its length in the shortest form.
fn frame(first: u8, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    let masked = if mask.is_some() { 0x80 } else { 0 };
    match payload.len() {
        len @ 0..=125 => frame.push(masked | len as u8),
        len @ 126..=65_535 => {
            frame.push(masked | 126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(masked | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend(mask.unwrap_or_default().iter().take(if mask.is_some() { 4 } else { 0 }));
    let key = mask.unwrap_or_default();
    frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// Compresses as RFC 7692 section 7.2.1 has it; the compressor keeps its context until it is reset.
fn compress(compressor: &mut Compress, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut input = payload;
    loop {
        let (taken, room) = (compressor.total_in(), out.len());
        out.reserve(payload.len() + 1_024);
        compressor.compress_vec(input, &mut out, FlushCompress::Sync).unwrap();
        input = &input[(compressor.total_in() - taken) as usize..];
        if input.is_empty() && (out.len() == room || out.len() < out.capacity()) {
            break;
        }
    }
    out.truncate(out.len() - 4);
    out
}

fn message(kind: MessageKind, data: &[u8], compressed: bool) -> WebSocketMessage {
    WebSocketMessage {
        compressed,
        ..WebSocketMessage::new(Direction::ToClient, kind, Bytes::copy_from_slice(data))
    }
}

#[test]
fn examples_of_rfc_6455_are_decoded() {
    let mut long = vec![0x82, 0x7e, 0x01, 0x00];
    long.extend([b'x'; 256]);
    let mut longer = vec![0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0];
    longer.extend([b'x'; 65_536]);
    let cases: &[(&[u8], &[&str])] = &[
        (b"\x81\x05Hello", &["text 5 \"Hello\""]),
        (b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", &["text 5 \"Hello\""]),
        (b"\x01\x03Hel\x80\x02lo", &["text 5 \"Hello\""]),
        (b"\x89\x05Hello", &["ping 5 \"Hello\""]),
        (b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", &["pong 5 \"Hello\""]),
        (&long, &[&format!("binary 256 \"{}\"", "x".repeat(256))]),
        (&longer, &[&format!("binary 65536 \"{}\"", "x".repeat(65_536))]),
    ];
    for (stream, expected) in cases {
        check(Negotiated::None, stream, expected);
    }
}

#[test]
fn examples_of_rfc_7692_are_decoded() {
    let hello = "text 5 \"Hello\" compressed";
    let cases: &[(&[u8], &[&str])] = &[
        // 7.2.3.1: one block, one frame; the same in two frames.
        (b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00", &[hello]),
        (b"\x41\x03\xf2\x48\xcd\x80\x04\xc9\xc9\x07\x00", &[hello]),
        // 7.2.3.2: the second message refers to the first.
        (b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00\xc1\x05\xf2\x00\x11\x00\x00", &[hello, hello]),
        // 7.2.3.3: a block without compression.
        (b"\xc1\x0b\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", &[hello]),
        // 7.2.3.4: a final block.
        (b"\xc1\x08\xf3\x48\xcd\xc9\xc9\x07\x00\x00", &[hello]),
        // 7.2.3.5: two blocks.
        (b"\xc1\x0d\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", &[hello]),
        // 7.2.3.6: an empty message.
        (b"\xc1\x01\x00", &["text 0 \"\" compressed"]),
        // Not compressed, between compressed ones.
        (
            b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00\x81\x02hi\xc1\x05\xf2\x00\x11\x00\x00",
            &[hello, "text 2 \"hi\"", hello],
        ),
    ];
    for (stream, expected) in cases {
        check(deflate(false), stream, expected);
    }
}

#[test]
fn what_came_before_a_final_block_can_be_referred_to() {
    let hello = "text 5 \"Hello\" compressed";
    let after_final = b"\xc1\x08\xf3\x48\xcd\xc9\xc9\x07\x00\x00\xc1\x05\xf2\x00\x11\x00\x00";
    check(deflate(false), after_final, &[hello, hello]);
    // The same from a sender that leaves out the empty block after its final one.
    let bare = b"\xc1\x07\xf3\x48\xcd\xc9\xc9\x07\x00\xc1\x05\xf2\x00\x11\x00\x00";
    check(deflate(false), bare, &[hello, hello]);
    // Without a context, the second is decoded from its own bytes alone.
    let alone = b"\xc1\x08\xf3\x48\xcd\xc9\xc9\x07\x00\x00\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00";
    check(deflate(true), alone, &[hello, hello]);
}

#[test]
fn compressed_messages_without_payload_are_empty() {
    check(
        deflate(false),
        b"\xc1\x00\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00",
        &["text 0 \"\" compressed", "text 5 \"Hello\" compressed"],
    );
}

#[test]
fn control_frames_come_between_fragments() {
    check(
        Negotiated::None,
        b"\x01\x03Hel\x89\x02ab\x00\x01l\x8a\x00\x80\x01o\x88\x05\x03\xe8bye",
        &["ping 2 \"ab\"", "pong 0 \"\"", "text 5 \"Hello\"", "close 5 \"\\u{3}\u{fffd}bye\""],
    );
    let stream = b"\x41\x03\xf2\x48\xcd\x89\x02ab\x80\x04\xc9\xc9\x07\x00";
    check(deflate(false), stream, &["ping 2 \"ab\"", "text 5 \"Hello\" compressed"]);
}

#[test]
fn close_frames_keep_their_code() {
    let (messages, _) = tap(Negotiated::None, MAX, &[b"\x88\x02\x03\xf3"]);
    assert_eq!(messages, [message(MessageKind::Close, &1011_u16.to_be_bytes(), false)]);
    check(Negotiated::None, b"\x88\x00", &["close 0 \"\""]);
}

#[test]
fn text_that_is_not_utf_8_is_recorded_as_it_is() {
    let (messages, broken) = tap(Negotiated::None, MAX, &[b"\x81\x03\xff\xfe\x80"]);
    assert_eq!(messages, [message(MessageKind::Text, b"\xff\xfe\x80", false)]);
    assert_eq!(broken, None);
}

#[test]
fn what_is_no_frame_stops_the_decoding_for_good() {
    let cases: &[(Negotiated, &[u8], &[&str])] = &[
        (Negotiated::None, b"\x83\x00\x81\x01a", &["broken: frame has a reserved opcode"]),
        (Negotiated::None, b"\x09\x00", &["broken: control frame is fragmented"]),
        (Negotiated::None, b"\x88\x7e\x00\x7e", &["broken: control frame is longer than 125 bytes"]),
        (Negotiated::None, b"\x80\x00", &["broken: continuation frame without a message to continue"]),
        (
            Negotiated::None,
            b"\x01\x01a\x81\x01b",
            &["text 1 \"a\" truncated", "broken: message begins inside another one"],
        ),
        (Negotiated::None, b"\xc1\x00", &["broken: frame sets RSV1 without an extension"]),
        (Negotiated::None, b"\xa1\x00", &["broken: frame sets a reserved bit"]),
        (deflate(false), b"\x91\x00", &["broken: frame sets a reserved bit"]),
        (deflate(false), b"\xc9\x00", &["broken: frame that begins no message sets RSV1"]),
        (
            deflate(false),
            b"\x01\x01a\xc0\x00",
            &["text 1 \"a\" truncated", "broken: frame that begins no message sets RSV1"],
        ),
        (
            Negotiated::None,
            b"\x81\x02ok\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0",
            &["text 2 \"ok\"", "broken: frame length has its highest bit set"],
        ),
    ];
    for (negotiated, stream, expected) in cases {
        check(*negotiated, stream, expected);
    }
}

#[test]
fn what_the_stream_ends_in_is_handed_out_as_truncated() {
    let cases: &[(&[u8], &[&str])] = &[
        (b"\x81", &[]),
        (b"\x81\x05", &["text 0 \"\" truncated"]),
        (b"\x81\x05Hel", &["text 3 \"Hel\" truncated"]),
        (b"\x01\x03Hel", &["text 3 \"Hel\" truncated"]),
        (b"\x01\x03Hel\x89\x04pi", &["ping 2 \"pi\" truncated", "text 3 \"Hel\" truncated"]),
        (b"\x81\x01a\x82\x02b", &["text 1 \"a\"", "binary 1 \"b\" truncated"]),
        (b"\xc1\x07\xf2\x48\xcd\xc9\xc9", &["text 4 \"Hell\" compressed truncated"]),
    ];
    for (stream, expected) in cases {
        check(deflate(false), stream, expected);
    }
}

#[test]
fn messages_of_an_unknown_extension_are_recorded_raw_and_marked() {
    check(
        Negotiated::Unknown,
        b"\xc1\x03\x01\x02\x03\x81\x01a\x02\x01b\xa0\x01c",
        &[
            "text 3 \"\\u{1}\\u{2}\\u{3}\" compressed truncated",
            "text 1 \"a\"",
            "binary 2 \"bc\" compressed truncated",
        ],
    );
}

#[test]
fn a_message_beyond_the_limit_is_cut_and_counted() {
    let payload: Vec<u8> = (0..=255).cycle().take(10_000).collect();
    let mut compressor = Compress::new(Compression::default(), false);
    let mut stream = frame(0xc2, Some(KEY), &compress(&mut compressor, &payload));
    stream.extend(frame(0x82, Some(KEY), &payload));
    stream.extend(frame(0xc2, None, &compress(&mut compressor, &payload[..100])));
    let (messages, broken) = tap(deflate(false), 100, &[&stream]);
    let cut = |compressed| WebSocketMessage {
        length: 10_000,
        truncated: true,
        ..message(MessageKind::Binary, &payload[..100], compressed)
    };
    // The last refers to what was cut from the record of the first, and is whole all the same.
    assert_eq!(messages, [cut(true), cut(false), message(MessageKind::Binary, &payload[..100], true)]);
    assert_eq!(broken, None);
}

#[test]
fn a_limit_of_zero_records_lengths_only() {
    let (messages, _) = tap(Negotiated::None, 0, &[b"\x81\x05Hello\x89\x01a\x81\x00"]);
    let seen: Vec<_> = messages.iter().map(|m| (m.data.len(), m.length, m.truncated)).collect();
    assert_eq!(seen, [(0, 5, true), (0, 1, true), (0, 0, false)]);
}

#[test]
fn a_message_that_is_no_deflate_takes_the_context_with_it() {
    // Block type 3 is reserved (RFC 1951 section 3.2.3).
    let stream = b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00\xc1\x02\x06\x00\xc1\x05\xf2\x00\x11\x00\x00\x81\x01a";
    check(
        deflate(false),
        stream,
        &[
            "text 5 \"Hello\" compressed",
            "text 0 \"\" compressed truncated",
            "text 0 \"\" compressed truncated",
            "text 1 \"a\"",
        ],
    );
    let stream = b"\xc1\x02\x06\x00\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00";
    check(deflate(true), stream, &["text 0 \"\" compressed truncated", "text 5 \"Hello\" compressed"]);
}

#[test]
fn a_bomb_is_counted_and_not_kept() {
    let zeros = vec![0; 16 << 20];
    let bomb = compress(&mut Compress::new(Compression::best(), false), &zeros);
    assert!(bomb.len() < 20_000, "{}", bomb.len());
    let (messages, _) = tap(deflate(false), 1_000, &[&frame(0xc2, None, &bomb)]);
    assert_eq!(messages[0].length, zeros.len() as u64);
    assert_eq!((messages[0].data.len(), messages[0].truncated), (1_000, true));
}

#[test]
fn many_final_blocks_are_given_up() {
    let empty_final_blocks = [0x03, 0x00].repeat(1_000);
    let mut stream = frame(0xc1, None, &empty_final_blocks);
    stream.extend(b"\x81\x01a");
    check(deflate(false), &stream, &["text 0 \"\" compressed truncated", "text 1 \"a\""]);
}

#[test]
fn windows_slide_over_long_conversations() {
    let mut noise = 1_u32;
    let payloads: Vec<Vec<u8>> = (0..40)
        .map(|index| {
            let mut byte = || {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (noise >> 24) as u8 & if index % 3 == 0 { 0x0f } else { 0x01 }
            };
            (0..index * 1_999).map(|_| byte()).collect()
        })
        .collect();
    for takeover in [true, false] {
        let mut compressor = Compress::new(Compression::fast(), false);
        let mut stream = Vec::new();
        for payload in &payloads {
            if !takeover {
                compressor.reset();
            }
            stream.extend(frame(0xc2, Some(KEY), &compress(&mut compressor, payload)));
        }
        let pieces: Vec<&[u8]> = stream.chunks(1_013).collect();
        let (messages, broken) = tap(deflate(!takeover), MAX, &pieces);
        let expected: Vec<_> =
            payloads.iter().map(|payload| message(MessageKind::Binary, payload, true)).collect();
        assert!(messages == expected, "takeover: {takeover}");
        assert_eq!(broken, None);
    }
}

/// Cuts `stream` at these places, whatever they are.
fn cut<'a>(stream: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
    places.extend([0, stream.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect()
}

/// One message to send: its kind, payload, number of frames, mask, and whether to compress it.
type Sent = (bool, Vec<u8>, usize, Option<[u8; 4]>, bool);

fn sent() -> impl Strategy<Value = Sent> {
    let payload = prop_oneof![vec(any::<u8>(), 0..300), vec(0..3_u8, 0..70_000)];
    (any::<bool>(), payload, 1..5_usize, any::<Option<[u8; 4]>>(), any::<bool>())
}

/// Writes the messages as frames, a ping between any two.
fn write(messages: &[Sent], takeover: bool) -> (Vec<u8>, Vec<WebSocketMessage>) {
    let mut compressor = Compress::new(Compression::default(), false);
    let (mut stream, mut expected) = (Vec::new(), Vec::new());
    for (text, data, frames, mask, compressed) in messages {
        if !takeover {
            compressor.reset();
        }
        let payload = if *compressed { compress(&mut compressor, data) } else { data.clone() };
        let (kind, opcode) = if *text { (MessageKind::Text, 1) } else { (MessageKind::Binary, 2) };
        let size = payload.len().div_ceil(*frames).max(1);
        let mut parts: Vec<&[u8]> = payload.chunks(size).collect();
        parts.resize(parts.len().max(*frames), &[]);
        for (index, part) in parts.iter().enumerate() {
            let begin = if index == 0 { opcode | if *compressed { 0x40 } else { 0 } } else { 0 };
            let fin = if index + 1 == parts.len() { 0x80 } else { 0 };
            if index > 0 {
                stream.extend(frame(0x89, *mask, b"ping"));
                expected.push(message(MessageKind::Ping, b"ping", false));
            }
            stream.extend(frame(begin | fin, *mask, part));
        }
        expected.push(message(kind, data, *compressed));
    }
    (stream, expected)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn messages_come_out_as_they_were_sent_however_the_stream_is_cut(
        messages in vec(sent(), 0..6),
        takeover: bool,
        cuts in vec(any::<prop::sample::Index>(), 0..40),
    ) {
        let (stream, expected) = write(&messages, takeover);
        let (seen, broken) = tap(deflate(!takeover), MAX, &cut(&stream, &cuts));
        prop_assert!(seen == expected);
        prop_assert_eq!(broken, None);
    }

    #[test]
    fn damaged_streams_are_read_alike_however_they_are_cut(
        messages in vec(sent(), 1..4),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cuts in vec(any::<prop::sample::Index>(), 0..40),
        max in 0..100_000_usize,
    ) {
        let (mut stream, _) = write(&messages, true);
        for (place, value) in damage {
            let place = place.index(stream.len());
            stream[place] = value;
        }
        prop_assert!(tap(deflate(false), max, &cut(&stream, &cuts)) == tap(deflate(false), max, &[&stream]));
    }

    #[test]
    fn random_bytes_are_read_alike_however_they_are_cut_and_kept_within_the_limit(
        stream in vec(any::<u8>(), 0..2_000),
        cuts in vec(any::<prop::sample::Index>(), 0..40),
        extension in 0..4_u8,
        max in 0..200_usize,
    ) {
        let negotiated = match extension {
            0 => Negotiated::None,
            1 => Negotiated::Unknown,
            other => deflate(other == 2),
        };
        let (seen, broken) = tap(negotiated, max, &cut(&stream, &cuts));
        prop_assert!(seen.iter().all(|message| message.data.len() <= max));
        prop_assert_eq!((seen, broken), tap(negotiated, max, &[&stream]));
    }

    #[test]
    fn random_deflate_is_read_alike_however_it_is_cut(
        payload in vec(any::<u8>(), 0..400),
        final_block in any::<bool>(),
        cuts in vec(any::<prop::sample::Index>(), 0..40),
    ) {
        let mut payload = payload;
        if let Some(first) = payload.first_mut() {
            // Fixed Huffman codes, so that much of the noise is taken for symbols.
            *first = *first & 0xf8 | 0x02 | u8::from(final_block);
        }
        let stream = [frame(0xc2, None, &payload), frame(0xc2, None, b"\xf2\x48\xcd\xc9\xc9\x07\x00")].concat();
        prop_assert_eq!(tap(deflate(false), MAX, &cut(&stream, &cuts)), tap(deflate(false), MAX, &[&stream]));
    }
}
