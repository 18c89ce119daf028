//! What a client may not send, as raw frames: `h2`'s client would not write most of it.

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::*;
use crate::{
    http2::{BodyToCome, downstream::RefusedRequest},
    wire::WireErrorKind,
};

const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const CONTINUATION: u8 = 0x9;
const RST_STREAM: u8 = 0x3;
const SETTINGS: u8 = 0x4;
const GOAWAY: u8 = 0x7;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PROTOCOL_ERROR: u32 = 0x1;
const ENHANCE_YOUR_CALM: u32 = 0xb;

/// `:status: 431` as the first header block of a connection: the name of static entry 8, the value as it is, which is
/// no longer than in Huffman code (RFC 7541 section 6.2.1 and appendix A).
const STATUS_431: [u8; 5] = [0x48, 3, b'4', b'3', b'1'];

/// A client that writes what it is told, frame by frame.
struct RawClient {
    io: DuplexStream,
}

impl RawClient {
    async fn connect(settings: Settings) -> (Self, Arrivals) {
        let (ours, theirs) = duplex(1 << 20);
        let arrivals = serve(theirs, settings);
        let mut client = Self { io: ours };
        client.io.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        client.frame(SETTINGS, 0, 0, b"").await;
        (client, arrivals)
    }

    async fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let mut frame = BytesMut::new();
        frame.put_uint(payload.len() as u64, 3);
        frame.put_u8(kind);
        frame.put_u8(flags);
        frame.put_u32(stream);
        frame.put_slice(payload);
        self.io.write_all(&frame).await.unwrap();
    }

    async fn request(&mut self, stream: u32, fields: &[(&str, &[u8])]) {
        self.frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(fields)).await;
    }

    /// Reads up to a frame of this kind: its stream and payload.
    async fn until(&mut self, wanted: u8) -> (u32, Vec<u8>) {
        loop {
            let mut head = [0; 9];
            soon(self.io.read_exact(&mut head)).await.unwrap();
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            soon(self.io.read_exact(&mut payload)).await.unwrap();
            if head[3] == wanted {
                return (u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload);
            }
        }
    }

    async fn reset(&mut self) -> (u32, u32) {
        let (stream, payload) = self.until(RST_STREAM).await;
        (stream, u32::from_be_bytes(payload.try_into().unwrap()))
    }

    async fn go_away(&mut self) -> u32 {
        let (_, payload) = self.until(GOAWAY).await;
        u32::from_be_bytes(payload[4..8].try_into().unwrap())
    }
}

/// A header block of literals without indexing (RFC 7541 section 6.2.2), without Huffman.
fn block(fields: &[(&str, &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for string in [name.as_bytes(), value] {
            push_length(&mut block, string.len());
            block.extend_from_slice(string);
        }
    }
    block
}

/// An integer with a prefix of seven bits (RFC 7541 section 5.1).
fn push_length(block: &mut Vec<u8>, length: usize) {
    let Some(mut rest) = length.checked_sub(127) else { return block.push(length as u8) };
    block.push(127);
    while rest >= 128 {
        block.push(rest as u8 | 128);
        rest >>= 7;
    }
    block.push(rest as u8);
}

const GOOD: [(&str, &[u8]); 4] =
    [(":method", b"GET"), (":scheme", b"https"), (":authority", b"example.com"), (":path", b"/")];

fn without(name: &str) -> Vec<(&'static str, &'static [u8])> {
    GOOD.into_iter().filter(|field| field.0 != name).collect()
}

fn with(name: &'static str, value: &'static [u8]) -> Vec<(&'static str, &'static [u8])> {
    let mut fields = without(name);
    let at = if name.starts_with(':') { 0 } else { fields.len() };
    fields.insert(at, (name, value));
    fields
}

async fn refused(arrivals: &mut Arrivals) -> RefusedRequest {
    match arrival_error(arrivals).await {
        DownstreamError::Refused(refused) => *refused,
        DownstreamError::Connection(error) => panic!("the connection should go on: {error:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn malformed_requests_are_reported_answered_and_then_reset() {
    let (mut client, mut arrivals) = RawClient::connect(tight()).await;
    let two_hosts = [without(":authority"), vec![("host", b"a"), ("host", b"b")]].concat();
    let repeated = [GOOD.to_vec(), vec![(":path", &b"/2"[..])]].concat();
    let late = [&GOOD[..3], &[("x", b"1"), (":path", b"/")]].concat();
    let cases = [
        (without(":authority"), ""),
        (two_hosts, "a"),
        (with(":authority", b"user:secret@example.com"), "user:secret@example.com"),
        ([without(":authority"), vec![("host", b"exa mple")]].concat(), "exa mple"),
        (with(":authority", b"a b"), "a b"),
        (with(":scheme", b"ftp"), "example.com"),
        (with(":path", b"?query"), "example.com"),
        (with(":path", b"/a b"), "example.com"),
        (with(":path", b"/a\nb"), "example.com"),
        (with(":path", b"/a\0b"), "example.com"),
        (with(":path", b"relative"), "example.com"),
        (with(":path", b""), "example.com"),
        (with(":path", b"/\xff"), "example.com"),
        (with(":method", b"GE T"), "example.com"),
        (with("connection", b"close"), "example.com"),
        (with("transfer-encoding", b"chunked"), "example.com"),
        (with("keep-alive", b"timeout=5"), "example.com"),
        (with("proxy-connection", b"keep-alive"), "example.com"),
        (with("upgrade", b"websocket"), "example.com"),
        (with("te", b"gzip"), "example.com"),
        (with(":status", b"200"), "example.com"),
        (with(":protocol", b"websocket"), "example.com"),
        (with(":unknown", b""), "example.com"),
        (with("content-length", b"1"), "example.com"),
        (with("content-length", b"1, 1"), "example.com"),
        (with("content-length", b"+1"), "example.com"),
        (with("x", b"a\nb"), "example.com"),
        (with("x", b"a\rb"), "example.com"),
        (with("x", b"a\0b"), "example.com"),
        (with("Upper", b"case"), "example.com"),
        (with("spa ce", b""), "example.com"),
        (with("", b""), "example.com"),
        (without(":method"), "example.com"),
        (without(":scheme"), "example.com"),
        (without(":path"), "example.com"),
        (repeated, "example.com"),
        (late, "example.com"),
    ];
    for (index, (fields, authority)) in cases.iter().enumerate() {
        let stream = 2 * index as u32 + 1;
        client.request(stream, fields).await;
        let mut refused = refused(&mut arrivals).await;
        assert_eq!(refused.error.kind, WireErrorKind::Malformed, "{fields:?}");
        assert_eq!(refused.incoming.head.authority, *authority, "{fields:?}");
        refused.incoming.responder.head(&status(400), BodyToCome::No).unwrap();
        drop(refused);
        assert_eq!(client.until(HEADERS).await.0, stream);
        assert_eq!(client.reset().await, (stream, PROTOCOL_ERROR), "{fields:?}");
    }
    client.request(99, &GOOD).await;
    assert_eq!(arrival(&mut arrivals).await.head.target, "/");
}

#[tokio::test(start_paused = true)]
async fn a_path_of_any_visible_octet_passes() {
    let (mut client, mut arrivals) = RawClient::connect(tight()).await;
    let visible: String = ('!'..='~').chain(['\u{e9}', '\u{65e5}']).collect();
    let path = format!("/{visible}?{visible}#{visible}");
    let fields = [without(":path"), vec![]].concat();
    let fields: Vec<(&str, &[u8])> = fields.into_iter().chain([(":path", path.as_bytes())]).collect();
    client.request(1, &fields).await;
    assert_eq!(arrival(&mut arrivals).await.head.target, path);
}

#[tokio::test(start_paused = true)]
async fn fields_come_in_their_order() {
    let (mut client, mut arrivals) = RawClient::connect(tight()).await;
    let fields: [(&str, &[u8]); 4] = [("a", b"1"), ("b", b"2"), ("a", b"3"), ("cookie", b"c=d")];
    client.request(1, &[GOOD.to_vec(), fields.to_vec()].concat()).await;
    assert_eq!(lines(&arrival(&mut arrivals).await.head.headers), ["a: 1", "b: 2", "a: 3", "cookie: c=d"]);
}

#[tokio::test(start_paused = true)]
async fn te_trailers_and_bytes_beyond_ascii_pass() {
    let (mut client, mut arrivals) = RawClient::connect(tight()).await;
    let fields = [with("te", b"trailers"), vec![("x", "\u{e9}\t".as_bytes()), ("x", b"")]].concat();
    client.request(1, &fields).await;
    assert_eq!(lines(&arrival(&mut arrivals).await.head.headers), ["te: trailers", "x: \u{e9}\t", "x: "]);
}

#[tokio::test(start_paused = true)]
async fn a_head_over_the_limits_is_answered_431_and_reported() {
    let mut settings = tight();
    settings.max_head_bytes = 4_000;
    settings.max_header_count = 20;
    let value = vec![b'a'; 4_000];
    let many: Vec<(&str, &[u8])> = std::iter::repeat_n(("x", &b"1"[..]), 21).collect();
    for fields in [[GOOD.to_vec(), vec![("x", &value[..])]].concat(), [GOOD.to_vec(), many].concat()] {
        let (mut client, mut arrivals) = RawClient::connect(settings.clone()).await;
        client.request(1, &fields).await;
        let mut refused = refused(&mut arrivals).await;
        assert_eq!(refused.error.kind, WireErrorKind::Limit);
        assert_eq!(refused.incoming.head.authority, "example.com");
        assert!(refused.incoming.head_bytes > 600);
        refused.incoming.responder.head(&status(431), BodyToCome::No).unwrap();
        assert_eq!(client.until(HEADERS).await, (1, STATUS_431.to_vec()));
        client.request(3, &GOOD).await;
        arrival(&mut arrivals).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_far_over_the_limits_costs_no_memory() {
    let mut settings = tight();
    settings.max_head_bytes = 4_000;
    let (mut client, mut arrivals) = RawClient::connect(settings).await;
    // A literal that goes into the decoder's table, and then by its index (RFC 7541 section 2.3.3) many times over.
    let value = vec![b'a'; 3_000];
    let mut bomb = block(&GOOD);
    let literal = block(&[("x", &value[..])]);
    bomb.push(0x40);
    bomb.extend_from_slice(&literal[1..]);
    bomb.extend_from_slice(&[0x80 | 62; 10_000]);
    client.frame(HEADERS, END_HEADERS | END_STREAM, 1, &bomb).await;
    let refused = refused(&mut arrivals).await;
    assert_eq!(refused.error.kind, WireErrorKind::Limit);
    assert!(refused.incoming.head_bytes > 30_000_000);
    assert_eq!(lines(&refused.incoming.head.headers), [format!("x: {}", "a".repeat(3_000))]);
    client.request(3, &GOOD).await;
    arrival(&mut arrivals).await;
}

#[tokio::test(start_paused = true)]
async fn a_block_without_end_ends_the_connection_on_the_record() {
    let mut settings = tight();
    settings.max_head_bytes = 4_000;
    let (mut client, mut arrivals) = RawClient::connect(settings).await;
    client.frame(HEADERS, END_STREAM, 1, &block(&GOOD)).await;
    let value = vec![b'a'; 16_000];
    for _ in 0..3 {
        client.frame(CONTINUATION, 0, 1, &block(&[("x", &value[..])])).await;
    }
    assert_eq!(client.go_away().await, ENHANCE_YOUR_CALM);
    let refused = refused(&mut arrivals).await;
    assert_eq!(refused.error.kind, WireErrorKind::Limit);
    assert_eq!(refused.incoming.head.authority, "example.com");
    let error = arrival_error(&mut arrivals).await;
    let DownstreamError::Connection(error) = error else { panic!("{error:?}") };
    assert_eq!(error.kind, WireErrorKind::Limit);
}

#[tokio::test(start_paused = true)]
async fn trailers_over_the_limits_are_an_error() {
    let mut settings = tight();
    settings.max_header_count = 2;
    let (mut client, mut arrivals) = RawClient::connect(settings).await;
    client.frame(HEADERS, END_HEADERS, 1, &block(&GOOD)).await;
    client.frame(DATA, 0, 1, b"body").await;
    let mut incoming = arrival(&mut arrivals).await;
    assert!(!incoming.body.is_at_end());
    client.request(1, &[("a", b"1"), ("b", b"2"), ("c", b"3")]).await;
    assert_eq!(soon(incoming.body.piece()).await, Ok(Some(Piece::Data("body".into()))));
    assert_eq!(soon(incoming.body.piece()).await.unwrap_err().kind, WireErrorKind::Limit);
}

#[tokio::test(start_paused = true)]
async fn empty_frames_are_no_pieces() {
    let (mut client, mut arrivals) = RawClient::connect(tight()).await;
    client.frame(HEADERS, END_HEADERS, 1, &block(&GOOD)).await;
    for payload in [&b""[..], b"a", b"", b"b"] {
        client.frame(DATA, 0, 1, payload).await;
    }
    // An empty trailer section is as good as none.
    client.frame(HEADERS, END_HEADERS | END_STREAM, 1, b"").await;
    let mut incoming = arrival(&mut arrivals).await;
    // What was there at once is one piece.
    for piece in [Some(Piece::Data("ab".into())), None, None] {
        assert_eq!(soon(incoming.body.piece()).await, Ok(piece));
    }
}

#[tokio::test(start_paused = true)]
async fn streams_opened_and_reset_in_a_flood_end_the_connection() {
    let mut settings = tight();
    settings.resets = (10, 0);
    let (mut client, mut arrivals) = RawClient::connect(settings).await;
    for index in 0..30 {
        client.request(2 * index + 1, &GOOD).await;
        client.frame(RST_STREAM, 0, 2 * index + 1, &8_u32.to_be_bytes()).await;
    }
    assert_eq!(client.go_away().await, ENHANCE_YOUR_CALM);
    loop {
        match soon(arrivals.recv()).await.expect("an error") {
            Ok(_) | Err(DownstreamError::Refused(_)) => {}
            Err(DownstreamError::Connection(error)) => break assert_eq!(error.kind, WireErrorKind::Limit),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn streams_beyond_the_agreed_number_are_refused() {
    let mut settings = tight();
    settings.max_concurrent_streams = 1;
    let (mut client, mut arrivals) = RawClient::connect(settings).await;
    client.request(1, &GOOD).await;
    let mut first = arrival(&mut arrivals).await;
    client.request(3, &GOOD).await;
    assert_eq!(client.reset().await, (3, 0x7));
    first.responder.head(&status(204), BodyToCome::No).unwrap();
    drop(first);
    client.until(HEADERS).await;
    client.request(5, &GOOD).await;
    arrival(&mut arrivals).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_no_preface_is_malformed() {
    let (mut ours, theirs) = duplex(PIPE_BYTES);
    ours.write_all(b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n").await.unwrap();
    let refused = soon(Downstream::accept(Box::new(theirs), Scheme::Https, &tight())).await;
    assert_eq!(refused.err().unwrap().kind, WireErrorKind::Malformed);
}

#[tokio::test(start_paused = true)]
async fn floods_of_frames_that_move_nothing_end_their_connection() {
    let head = block(&GOOD);
    let floods: [(&str, u8, u8, u32, &[u8]); 9] = [
        ("ping", 0x6, 0, 0, &[0; 8]),
        ("ping answers", 0x6, 1, 0, &[0; 8]),
        ("settings", SETTINGS, 0, 0, &[]),
        ("settings answers", SETTINGS, 1, 0, &[]),
        ("empty data", DATA, 0, 1, &[]),
        ("priority", 0x2, 0, 1, &[0, 0, 0, 0, 1]),
        ("window update", 0x8, 0, 0, &[0, 0, 0, 1]),
        ("unknown", 0xbe, 0, 0, &[]),
        ("continuation", CONTINUATION, 0, 3, &[]),
    ];
    for (flood, kind, flags, stream, payload) in floods {
        let mut settings = tight();
        settings.idle_frames = (100, 10);
        let (mut client, mut arrivals) = RawClient::connect(settings).await;
        client.frame(HEADERS, END_HEADERS, 1, &head).await;
        let _open = arrival(&mut arrivals).await;
        if kind == CONTINUATION {
            client.frame(HEADERS, 0, stream, &head).await;
        }
        // Few are nothing to worry about.
        for _ in 0..90 {
            client.frame(kind, flags, stream, payload).await;
        }
        never(arrivals.recv()).await;
        for _ in 0..20_000 {
            client.frame(kind, flags, stream, payload).await;
            if !arrivals.is_empty() {
                break;
            }
        }
        let error = arrival_error(&mut arrivals).await;
        let DownstreamError::Connection(error) = error else { panic!("{flood}: {error:?}") };
        assert_eq!(error.kind, WireErrorKind::Limit, "{flood}");
    }
}

#[tokio::test(start_paused = true)]
async fn pings_that_go_with_data_are_no_flood() {
    let mut settings = tight();
    settings.idle_frames = (10, 0);
    let (mut client, mut arrivals) = RawClient::connect(settings).await;
    client.frame(HEADERS, END_HEADERS, 1, &block(&GOOD)).await;
    let mut incoming = arrival(&mut arrivals).await;
    for _ in 0..500 {
        client.frame(DATA, 0, 1, b"data").await;
        client.frame(0x6, 0, 0, &[0; 8]).await;
        assert!(matches!(soon(incoming.body.piece()).await, Ok(Some(Piece::Data(_)))));
    }
}

#[tokio::test(start_paused = true)]
async fn what_can_be_read_of_a_block_far_over_the_limits_is_no_request() {
    let mut settings = tight();
    settings.max_head_bytes = 4_000;
    let (mut client, mut arrivals) = RawClient::connect(settings).await;
    // Behind a good head comes an index that is beyond all tables.
    let head = [&block(&GOOD)[..], &[0xff, 0x7f]].concat();
    client.frame(HEADERS, END_STREAM, 1, &head).await;
    for _ in 0..2 {
        client.frame(CONTINUATION, 0, 1, &[b'a'; 16_000]).await;
    }
    assert_eq!(client.go_away().await, ENHANCE_YOUR_CALM);
    let refused = refused(&mut arrivals).await;
    assert_eq!(refused.error.kind, WireErrorKind::Limit);
    assert_eq!(refused.incoming.head.authority, "example.com");
}

#[tokio::test(start_paused = true)]
async fn streams_that_a_client_makes_us_reset_count_as_its_resets() {
    let trailers = block(&[("x", b"1")]);
    let faults: [(&str, u8, u8, &[u8]); 4] = [
        ("data after the end", DATA, 0, b"x"),
        ("trailers after the end", HEADERS, END_HEADERS | END_STREAM, &trailers),
        ("no window", 0x8, 0, &[0; 4]),
        ("short priority", 0x2, 0, &[0; 4]),
    ];
    for (fault, kind, flags, payload) in faults {
        let mut settings = tight();
        settings.resets = (10, 0);
        let (mut client, mut arrivals) = RawClient::connect(settings).await;
        for index in 0..30 {
            client.request(2 * index + 1, &GOOD).await;
            client.frame(kind, flags, 2 * index + 1, payload).await;
        }
        let mut came = 0;
        loop {
            match timeout(LONG, arrivals.recv()).await {
                Ok(Some(Err(DownstreamError::Connection(error)))) => {
                    break assert_eq!(error.kind, WireErrorKind::Limit, "{fault}");
                }
                Ok(Some(_)) => came += 1,
                _ => panic!("{fault}: {came} came, and the connection goes on"),
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_protocol_is_a_token() {
    let mut settings = tight();
    settings.extended_connect = true;
    let (mut client, mut arrivals) = RawClient::connect(settings).await;
    for (stream, protocol) in [(1, &b"web\r\nsocket"[..]), (3, b""), (5, b"web socket")] {
        let fields = [&with(":method", b"CONNECT")[..], &[(":protocol", protocol)]].concat();
        client.request(stream, &fields).await;
        assert_eq!(refused(&mut arrivals).await.error.kind, WireErrorKind::Malformed, "{protocol:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_is_not_read_for_ever() {
    let (mut client, mut arrivals) = RawClient::connect(tight()).await;
    let mut head = status(204);
    head.headers.push("x", "v".repeat(16_000));
    let mut stream = 1;
    let stalled = loop {
        assert!(stream < 1_000, "hundreds of answers wait to be read");
        client.request(stream, &GOOD).await;
        match timeout(LONG, arrivals.recv()).await {
            Ok(Some(Ok(mut incoming))) => incoming.responder.head(&head, BodyToCome::No).unwrap(),
            Ok(end) => panic!("{end:?}"),
            Err(_elapsed) => break stream,
        };
        stream += 2;
    };
    // It goes on where the client does.
    let mut unread = vec![0; 64 * 1024];
    let next = loop {
        tokio::select! {
            read = client.io.read(&mut unread) => assert_ne!(read.unwrap(), 0),
            next = soon(arrivals.recv()) => break next,
        }
    };
    assert!(matches!(next, Some(Ok(_))), "{next:?} came instead of stream {stalled}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_client_gets_its_last_response_whole() {
    let (ours, theirs) = duplex(PIPE_BYTES);
    tokio::spawn(async move {
        let mut downstream =
            Downstream::accept(Box::new(theirs), Scheme::Https, &tight()).await.expect("a preface");
        let Some(Ok(mut incoming)) = downstream.next().await else { panic!("a request") };
        downstream.graceful_shutdown();
        drop(incoming.body);
        tokio::spawn(async move {
            let mut writer = incoming.responder.head(&status(200), BodyToCome::Yes).unwrap();
            writer.last(zeros(60_000)).await.unwrap();
        });
        while downstream.next().await.is_some() {}
    });
    let mut client = RawClient { io: ours };
    client.io.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    client.frame(SETTINGS, 0, 0, b"").await;
    client.request(1, &GOOD).await;
    let (_, ping) = client.until(0x6).await;
    client.frame(0x6, 0x1, 0, &ping).await;
    let mut received = Vec::new();
    let mut piece = [0; 4_096];
    loop {
        tokio::time::sleep(Duration::from_millis(600)).await;
        match client.io.read(&mut piece).await.unwrap() {
            0 => break,
            length => received.extend_from_slice(&piece[..length]),
        }
    }
    let zeros = received.iter().filter(|byte| **byte == 0).count();
    assert!(zeros >= 60_000, "{zeros} of 60,000 bytes came");
}
