//! h2spec's cases by their numbers (its 2.6), as raw frames against the client-facing HTTP/2.
//!
//! A malformed request is answered with 400 before its stream is reset, as RFC 9113 section 8.1.1 allows. h2spec waits
//! for the reset as well.

use proxy_core::Limits;
use testkit::{Origin, RawClient};

use crate::lab::Lab;

const PROTOCOL: u32 = 1;
const FLOW_CONTROL: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE: u32 = 6;
const REFUSED: u32 = 7;
const COMPRESSION: u32 = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const WITH_PRIORITY: u8 = 0x20;
const WHOLE: u8 = END_STREAM | END_HEADERS;

/// What is to come of a case.
#[derive(Clone, Copy, Debug)]
enum Want {
    /// The connection ends, with one of these codes where it says one.
    Connection(&'static [u32]),
    /// The stream is reset with one of these codes, or the connection ends with one.
    Stream(&'static [u32]),
    /// A response on this stream.
    Response(u32),
    /// The connection goes on: a ping comes back.
    Alive,
}

use Want::{Alive, Connection, Response, Stream};

fn frame(kind: u8, flags: u8, stream: u32, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

fn setting(id: u16, value: u32) -> Vec<u8> {
    frame(SETTINGS, 0, 0, [&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
}

fn ping() -> Vec<u8> {
    frame(PING, 0, 0, b"h2spec!!")
}

/// Literals without indexing and without Huffman code (RFC 7541 section 6.2.2); strings below 127 bytes.
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let string = |text: &str| [&[text.len() as u8][..], text.as_bytes()].concat();
    fields.iter().flat_map(|(name, value)| [vec![0], string(name), string(value)].concat()).collect()
}

/// The fields of a good request, to be made worse.
struct Request {
    authority: String,
}

impl Request {
    fn fields<'r>(&'r self, method: &'r str, more: &[(&'r str, &'r str)]) -> Vec<(&'r str, &'r str)> {
        let good =
            [(":method", method), (":scheme", "http"), (":path", "/json"), (":authority", &self.authority)];
        [&good[..], more].concat()
    }

    fn get(&self) -> Vec<u8> {
        block(&self.fields("GET", &[]))
    }

    fn post(&self) -> Vec<u8> {
        block(&self.fields("POST", &[]))
    }

    fn with(&self, more: &[(&str, &str)]) -> Vec<u8> {
        block(&self.fields("GET", more))
    }

    fn without(&self, name: &str) -> Vec<u8> {
        let fields: Vec<_> = self.fields("GET", &[]).into_iter().filter(|field| field.0 != name).collect();
        block(&fields)
    }

    fn replaced(&self, name: &str, value: &str) -> Vec<u8> {
        let replace = |(n, v)| if n == name { (n, value) } else { (n, v) };
        block(&self.fields("GET", &[]).into_iter().map(replace).collect::<Vec<_>>())
    }
}

/// A client that writes frames.
struct Client(RawClient);

impl Client {
    async fn connect(lab: &Lab) -> Self {
        let mut client = RawClient::connect(lab.addr).await.unwrap();
        client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        client.send(frame(SETTINGS, 0, 0, [])).await.unwrap();
        Self(client)
    }

    /// The next frame: kind, flags, stream, payload. `None` when the connection ended.
    async fn next(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let head = self.0.read(9).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let payload = self.0.read(length).await.ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some((head[3], head[4], stream, payload.to_vec()))
    }

    async fn until(&mut self, wanted: impl Fn(u8, u8, u32, &[u8]) -> bool) -> Option<Vec<u8>> {
        loop {
            let (kind, flags, stream, payload) = self.next().await?;
            if wanted(kind, flags, stream, &payload) {
                return Some(payload);
            }
        }
    }

    /// Waits for the end of a response.
    async fn end_of(&mut self, id: u32) {
        self.until(|kind, flags, stream, _| kind <= HEADERS && stream == id && flags & END_STREAM != 0)
            .await
            .expect("a response");
    }

    async fn check(&mut self, case: &str, want: Want) {
        if matches!(want, Alive) {
            self.0.send(ping()).await.unwrap();
        }
        loop {
            let Some((kind, flags, stream, payload)) = self.next().await else {
                assert!(matches!(want, Connection(_) | Stream(_)), "{case}: the connection ended");
                return;
            };
            let code = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
            match (kind, want) {
                (GOAWAY, Connection(codes) | Stream(codes)) => {
                    return assert!(codes.contains(&code(4)), "{case}: GOAWAY {}", code(4));
                }
                (RST_STREAM, Stream(codes)) => {
                    return assert!(codes.contains(&code(0)), "{case}: RST_STREAM {}", code(0));
                }
                (HEADERS, Response(id)) if stream == id => return,
                (PING, Alive) if flags & ACK != 0 && payload == b"h2spec!!" => return,
                (GOAWAY | RST_STREAM, _) => panic!("{case}: frame {kind} of {stream}: {payload:?}"),
                _ => {}
            }
        }
    }
}

/// A case: its number, what it sends at once, and what is to come of it.
type Case = (&'static str, Vec<Vec<u8>>, Want);

fn generic(r: &Request) -> Vec<Case> {
    let open = frame(HEADERS, END_HEADERS, 1, r.post());
    let get = frame(HEADERS, WHOLE, 1, r.get());
    let prioritised = |depends_on: u32| [&depends_on.to_be_bytes()[..], &[15], &r.get()].concat();
    let padded = |payload: &[u8]| [&[4][..], payload, &[0; 4]].concat();
    vec![
        ("generic/1/1", vec![], Alive),
        ("generic/2/1", vec![frame(PRIORITY, 0, 1, [0, 0, 0, 0, 255]), get.clone()], Response(1)),
        ("generic/2/2", vec![get.clone(), frame(WINDOW_UPDATE, 0, 1, [0, 0, 0, 100])], Response(1)),
        ("generic/2/3", vec![get.clone(), frame(PRIORITY, 0, 1, [0, 0, 0, 0, 255])], Response(1)),
        ("generic/2/4", vec![get.clone(), frame(RST_STREAM, 0, 1, [0, 0, 0, 8])], Alive),
        ("generic/3.1/1", vec![open.clone(), frame(DATA, END_STREAM, 1, b"test")], Response(1)),
        (
            "generic/3.1/2",
            vec![open.clone(), frame(DATA, 0, 1, b"test"), frame(DATA, END_STREAM, 1, b"test")],
            Response(1),
        ),
        (
            "generic/3.1/3",
            vec![open.clone(), frame(DATA, END_STREAM | PADDED, 1, padded(b"test"))],
            Response(1),
        ),
        ("generic/3.2/1", vec![get.clone()], Response(1)),
        ("generic/3.2/2", vec![frame(HEADERS, WHOLE | PADDED, 1, padded(&r.get()))], Response(1)),
        ("generic/3.2/3", vec![frame(HEADERS, WHOLE | WITH_PRIORITY, 1, prioritised(0))], Response(1)),
        ("generic/3.3/1", vec![frame(PRIORITY, 0, 1, [0, 0, 0, 0, 15])], Alive),
        ("generic/3.3/3", vec![frame(PRIORITY, 0, 1, [0x80, 0, 0, 3, 15])], Alive),
        ("generic/3.4/1", vec![open.clone(), frame(RST_STREAM, 0, 1, [0, 0, 0, 8])], Alive),
        ("generic/3.5/1", vec![setting(3, 100)], Alive),
        ("generic/3.7/1", vec![], Alive),
        ("generic/3.8/1", vec![frame(GOAWAY, 0, 0, [0; 8])], Alive),
        ("generic/3.9/1", vec![frame(WINDOW_UPDATE, 0, 0, [0, 0, 0, 1])], Alive),
        ("generic/3.10/1", continued(r, &[END_HEADERS]), Response(1)),
        ("generic/3.10/2", continued(r, &[0, END_HEADERS]), Response(1)),
        ("generic/4/1", vec![get], Response(1)),
        ("generic/4/2", vec![frame(HEADERS, WHOLE, 1, block(&r.fields("HEAD", &[])))], Response(1)),
        ("generic/4/4", vec![open, frame(HEADERS, WHOLE, 1, block(&[("x-test", "ok")]))], Response(1)),
        // Indexed fields, a literal of each kind, a size update (RFC 7541 section 6).
        (
            "generic/5/1",
            vec![frame(HEADERS, WHOLE, 1, [&[0x20, 0x82][..], &r.without(":method")].concat())],
            Response(1),
        ),
        (
            "generic/5/2",
            vec![frame(HEADERS, WHOLE, 1, [&r.get()[..], b"\x40\x01a\x01b\x10\x01a\x01c\xbe"].concat())],
            Response(1),
        ),
    ]
}

/// A request in HEADERS and CONTINUATION frames with these flags.
fn continued(r: &Request, flags: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = vec![frame(HEADERS, END_STREAM, 1, r.get())];
    frames.extend(flags.iter().map(|flags| frame(CONTINUATION, *flags, 1, block(&[("x-dummy", "dummy")]))));
    frames
}

#[expect(clippy::too_many_lines, reason = "a table, one case after the other")]
fn framing(r: &Request) -> Vec<Case> {
    let open = frame(HEADERS, END_HEADERS, 1, r.post());
    let get = |id| frame(HEADERS, WHOLE, id, r.get());
    let begun = frame(HEADERS, END_STREAM, 1, r.get());
    vec![
        ("http2/4.1/1", vec![frame(0x16, 0, 0, [0; 8])], Alive),
        ("http2/4.1/2", vec![frame(PING, 0xfe, 0, [0; 8])], Alive),
        ("http2/4.1/3", vec![frame(PING, 0, 0x8000_0000, [0; 8])], Alive),
        ("http2/4.2/1", vec![open.clone(), frame(DATA, END_STREAM, 1, [0; 16_384])], Response(1)),
        (
            "http2/4.2/2",
            vec![open.clone(), frame(DATA, END_STREAM, 1, vec![0; 65_537])],
            Stream(&[FRAME_SIZE]),
        ),
        ("http2/4.2/3", vec![frame(HEADERS, WHOLE, 1, vec![0; 65_537])], Connection(&[FRAME_SIZE])),
        ("http2/4.3/1", vec![frame(HEADERS, WHOLE, 1, [0x40])], Connection(&[COMPRESSION])),
        (
            "http2/4.3/2",
            vec![begun.clone(), frame(PRIORITY, 0, 1, [0, 0, 0, 0, 255])],
            Connection(&[PROTOCOL]),
        ),
        ("http2/4.3/3", vec![begun.clone(), get(3)], Connection(&[PROTOCOL])),
        ("http2/5.1.1/1", vec![get(2)], Connection(&[PROTOCOL])),
        ("http2/5.1.1/2", vec![get(5), get(3)], Connection(&[PROTOCOL])),
        (
            "http2/5.3.1/1",
            vec![frame(HEADERS, WHOLE | WITH_PRIORITY, 1, [&[0, 0, 0, 1, 15][..], &r.get()].concat())],
            Stream(&[PROTOCOL]),
        ),
        ("http2/5.3.1/2", vec![frame(PRIORITY, 0, 1, [0, 0, 0, 1, 15])], Stream(&[PROTOCOL])),
        ("http2/5.4.1/1", vec![frame(PING, 0, 3, [0; 8])], Connection(&[PROTOCOL])),
        ("http2/5.5/1", vec![frame(0xff, 0, 1, [0; 8])], Alive),
        ("http2/5.5/2", vec![begun.clone(), frame(0xff, 0, 1, [0; 8])], Connection(&[PROTOCOL])),
        ("http2/6.1/1", vec![frame(DATA, END_STREAM, 0, b"test")], Connection(&[PROTOCOL])),
        ("http2/6.1/2", vec![get(1), frame(DATA, END_STREAM, 1, b"test")], Stream(&[STREAM_CLOSED])),
        (
            "http2/6.1/3",
            vec![open.clone(), frame(DATA, END_STREAM | PADDED, 1, b"\xfftest")],
            Connection(&[PROTOCOL]),
        ),
        ("http2/6.2/1", vec![begun.clone(), frame(DATA, END_STREAM, 1, b"test")], Connection(&[PROTOCOL])),
        ("http2/6.2/2", vec![begun.clone(), get(3)], Connection(&[PROTOCOL])),
        ("http2/6.2/3", vec![get(0)], Connection(&[PROTOCOL])),
        (
            "http2/6.2/4",
            vec![frame(HEADERS, WHOLE | PADDED, 1, [&[0xff][..], &r.get()].concat())],
            Connection(&[PROTOCOL]),
        ),
        ("http2/6.3/1", vec![frame(PRIORITY, 0, 0, [0, 0, 0, 0, 15])], Connection(&[PROTOCOL])),
        ("http2/6.3/2", vec![open.clone(), frame(PRIORITY, 0, 1, [0; 4])], Stream(&[FRAME_SIZE])),
        ("http2/6.4/1", vec![frame(RST_STREAM, 0, 0, [0, 0, 0, 8])], Connection(&[PROTOCOL])),
        ("http2/6.4/2", vec![frame(RST_STREAM, 0, 1, [0, 0, 0, 8])], Connection(&[PROTOCOL])),
        ("http2/6.4/3", vec![open.clone(), frame(RST_STREAM, 0, 1, [0; 3])], Connection(&[FRAME_SIZE])),
        ("http2/6.5/1", vec![frame(SETTINGS, ACK, 0, [0])], Connection(&[FRAME_SIZE])),
        ("http2/6.5/2", vec![frame(SETTINGS, 0, 1, [0, 3, 0, 0, 0, 100])], Connection(&[PROTOCOL])),
        ("http2/6.5/3", vec![frame(SETTINGS, 0, 0, [0, 3, 0])], Connection(&[FRAME_SIZE])),
        ("http2/6.5.2/1", vec![setting(2, 2)], Connection(&[PROTOCOL])),
        ("http2/6.5.2/2", vec![setting(4, 1 << 31)], Connection(&[FLOW_CONTROL])),
        ("http2/6.5.2/3", vec![setting(5, 16_383)], Connection(&[PROTOCOL])),
        ("http2/6.5.2/4", vec![setting(5, 1 << 24)], Connection(&[PROTOCOL])),
        ("http2/6.5.2/5", vec![setting(0xff, 1)], Alive),
        ("http2/6.7/2", vec![frame(PING, ACK, 0, b"whatever")], Alive),
        ("http2/6.7/3", vec![frame(PING, 0, 1, [0; 8])], Connection(&[PROTOCOL])),
        ("http2/6.7/4", vec![frame(PING, 0, 0, [0; 6])], Connection(&[FRAME_SIZE])),
        ("http2/6.8/1", vec![frame(GOAWAY, 0, 1, [0; 8])], Connection(&[PROTOCOL])),
        ("http2/6.9/1", vec![frame(WINDOW_UPDATE, 0, 0, [0; 4])], Connection(&[PROTOCOL])),
        ("http2/6.9/2", vec![open.clone(), frame(WINDOW_UPDATE, 0, 1, [0; 4])], Stream(&[PROTOCOL])),
        ("http2/6.9/3", vec![frame(WINDOW_UPDATE, 0, 0, [0; 3])], Connection(&[FRAME_SIZE])),
        (
            "http2/6.9.1/2",
            vec![frame(WINDOW_UPDATE, 0, 0, [0x7f, 0xff, 0xff, 0xff])],
            Connection(&[FLOW_CONTROL]),
        ),
        (
            "http2/6.9.1/3",
            vec![open.clone(), frame(WINDOW_UPDATE, 0, 1, [0x7f, 0xff, 0xff, 0xff])],
            Stream(&[FLOW_CONTROL]),
        ),
        ("http2/6.9.2/3", vec![setting(4, 1 << 31)], Connection(&[FLOW_CONTROL])),
        ("http2/6.10/1", continued(r, &[0, 0, END_HEADERS]), Response(1)),
        ("http2/6.10/2", vec![begun.clone(), frame(DATA, 0, 1, b"test")], Connection(&[PROTOCOL])),
        ("http2/6.10/3", vec![begun, frame(CONTINUATION, END_HEADERS, 0, [])], Connection(&[PROTOCOL])),
        (
            "http2/6.10/4",
            vec![open.clone(), frame(CONTINUATION, END_HEADERS, 1, [])],
            Connection(&[PROTOCOL]),
        ),
        (
            "http2/6.10/5",
            [continued(r, &[END_HEADERS]), vec![frame(CONTINUATION, END_HEADERS, 1, [])]].concat(),
            Connection(&[PROTOCOL]),
        ),
        (
            "http2/6.10/6",
            vec![open, frame(DATA, 0, 1, b"t"), frame(CONTINUATION, END_HEADERS, 1, [])],
            Connection(&[PROTOCOL]),
        ),
        ("http2/7/1", vec![frame(GOAWAY, 0, 0, [0, 0, 0, 0, 0, 0, 0, 0xff])], Alive),
        (
            "http2/7/2",
            vec![frame(HEADERS, END_HEADERS, 1, r.post()), frame(RST_STREAM, 0, 1, [0, 0, 0, 0xff])],
            Alive,
        ),
        (
            "http2/8.2/1",
            vec![frame(PUSH_PROMISE, END_HEADERS, 1, [&[0, 0, 0, 3][..], &r.get()].concat())],
            Connection(&[PROTOCOL]),
        ),
    ]
}

#[expect(clippy::too_many_lines, reason = "a table, one case after the other")]
fn streams(r: &Request) -> Vec<Case> {
    let open = frame(HEADERS, END_HEADERS, 1, r.post());
    let get = frame(HEADERS, WHOLE, 1, r.get());
    let reset = frame(RST_STREAM, 0, 1, [0, 0, 0, 8]);
    let data = frame(DATA, END_STREAM, 1, b"test");
    let more = frame(CONTINUATION, END_HEADERS, 1, r.get());
    vec![
        ("http2/5.1/1", vec![data.clone()], Connection(&[PROTOCOL])),
        ("http2/5.1/2", vec![reset.clone()], Connection(&[PROTOCOL])),
        ("http2/5.1/3", vec![frame(WINDOW_UPDATE, 0, 1, [0, 0, 0, 100])], Connection(&[PROTOCOL])),
        ("http2/5.1/4", vec![more.clone()], Connection(&[PROTOCOL])),
        ("http2/5.1/5", vec![get.clone(), data.clone()], Stream(&[STREAM_CLOSED])),
        ("http2/5.1/6", vec![get.clone(), get.clone()], Stream(&[STREAM_CLOSED])),
        ("http2/5.1/7", vec![get.clone(), more.clone()], Stream(&[STREAM_CLOSED, PROTOCOL])),
        ("http2/5.1/8", vec![open.clone(), reset.clone(), data.clone()], Stream(&[STREAM_CLOSED])),
        ("http2/5.1/9", vec![open.clone(), reset.clone(), get], Stream(&[STREAM_CLOSED])),
        ("http2/5.1/10", vec![open.clone(), reset, more], Stream(&[STREAM_CLOSED, PROTOCOL])),
        ("http2/8.1/1", vec![open.clone(), open.clone()], Stream(&[PROTOCOL])),
        ("http2/8.1.2/1", vec![frame(HEADERS, WHOLE, 1, r.with(&[("X-TEST", "ok")]))], Stream(&[PROTOCOL])),
        ("http2/8.1.2.1/1", vec![frame(HEADERS, WHOLE, 1, r.with(&[(":test", "ok")]))], Stream(&[PROTOCOL])),
        (
            "http2/8.1.2.1/2",
            vec![frame(HEADERS, WHOLE, 1, r.with(&[(":status", "200")]))],
            Stream(&[PROTOCOL]),
        ),
        (
            "http2/8.1.2.1/3",
            vec![open.clone(), frame(HEADERS, WHOLE, 1, block(&[(":method", "200")]))],
            Stream(&[PROTOCOL]),
        ),
        (
            "http2/8.1.2.1/4",
            vec![frame(HEADERS, WHOLE, 1, [block(&[("x-test", "ok")]), r.get()].concat())],
            Stream(&[PROTOCOL]),
        ),
        (
            "http2/8.1.2.2/1",
            vec![frame(HEADERS, WHOLE, 1, r.with(&[("connection", "keep-alive")]))],
            Stream(&[PROTOCOL]),
        ),
        (
            "http2/8.1.2.2/2",
            vec![frame(HEADERS, WHOLE, 1, r.with(&[("trailers", "test"), ("te", "trailers, deflate")]))],
            Stream(&[PROTOCOL]),
        ),
        ("http2/8.1.2.3/1", vec![frame(HEADERS, WHOLE, 1, r.replaced(":path", ""))], Stream(&[PROTOCOL])),
        ("http2/8.1.2.3/2", vec![frame(HEADERS, WHOLE, 1, r.without(":method"))], Stream(&[PROTOCOL])),
        ("http2/8.1.2.3/3", vec![frame(HEADERS, WHOLE, 1, r.without(":scheme"))], Stream(&[PROTOCOL])),
        ("http2/8.1.2.3/4", vec![frame(HEADERS, WHOLE, 1, r.without(":path"))], Stream(&[PROTOCOL])),
        (
            "http2/8.1.2.3/5",
            vec![frame(HEADERS, WHOLE, 1, r.with(&[(":method", "GET")]))],
            Stream(&[PROTOCOL]),
        ),
        (
            "http2/8.1.2.3/6",
            vec![frame(HEADERS, WHOLE, 1, r.with(&[(":scheme", "http")]))],
            Stream(&[PROTOCOL]),
        ),
        ("http2/8.1.2.3/7", vec![frame(HEADERS, WHOLE, 1, r.with(&[(":path", "/")]))], Stream(&[PROTOCOL])),
        (
            "http2/8.1.2.6/1",
            vec![frame(HEADERS, END_HEADERS, 1, r.with(&[("content-length", "1")])), data.clone()],
            Stream(&[PROTOCOL]),
        ),
        (
            "http2/8.1.2.6/2",
            vec![
                frame(HEADERS, END_HEADERS, 1, r.with(&[("content-length", "1")])),
                frame(DATA, 0, 1, b"test"),
                data,
            ],
            Stream(&[PROTOCOL]),
        ),
    ]
}

fn hpack(r: &Request) -> Vec<Case> {
    let spoilt = |tail: &[u8]| vec![frame(HEADERS, WHOLE, 1, [&r.get()[..], tail].concat())];
    vec![
        ("hpack/2.3.3/1", spoilt(&[0xff, 0x20]), Connection(&[COMPRESSION])),
        ("hpack/2.3.3/2", spoilt(&[0x7f, 0x20, 0x01, b'a']), Connection(&[COMPRESSION])),
        ("hpack/4.2/1", spoilt(&[0x20]), Connection(&[COMPRESSION])),
        (
            "hpack/5.2/1",
            spoilt(b"\x00\x85\xf2\xb2\x4a\x84\xff\x84\x49\x50\x9f\xff"),
            Connection(&[COMPRESSION]),
        ),
        ("hpack/5.2/2", spoilt(b"\x00\x84\xf2\xb2\x4a\x87\x83\x49\x50\x90"), Connection(&[COMPRESSION])),
        (
            "hpack/5.2/3",
            spoilt(b"\x00\x88\xf2\xb2\x4a\x84\xff\xff\xff\xff\x83\x49\x50\x9f"),
            Connection(&[COMPRESSION]),
        ),
        ("hpack/6.1/1", spoilt(&[0x80]), Connection(&[COMPRESSION])),
        (
            "hpack/6.3/1",
            vec![frame(HEADERS, WHOLE, 1, [&[0x3f, 0xe2, 0x1f][..], &r.get()].concat())],
            Connection(&[COMPRESSION]),
        ),
    ]
}

#[tokio::test]
async fn every_case_of_h2spec_that_sends_at_once_ends_as_it_should() {
    let lab = Lab::new().await;
    let origin = Origin::plain().await.unwrap();
    let request = Request { authority: origin.authority() };
    let cases = [generic(&request), framing(&request), streams(&request), hpack(&request)].concat();
    for (number, frames, want) in &cases {
        let mut client = Client::connect(&lab).await;
        client.0.send(frames.concat()).await.unwrap();
        client.check(number, *want).await;
    }
    assert!(cases.len() > 100);
}

#[tokio::test]
async fn h2spec_3_5_2_a_wrong_preface_ends_the_connection() {
    let lab = Lab::new().await;
    let mut client = RawClient::connect(lab.addr).await.unwrap();
    client.send(b"INVALID CONNECTION PREFACE\r\n\r\n").await.unwrap();
    // It is no HTTP/2 at all, so it is answered in HTTP/1.
    assert!(client.read_head().await.unwrap().starts_with("HTTP/1.1 400 "));
    client.read_to_end().await.unwrap();
}

#[tokio::test]
async fn h2spec_5_1_11_to_13_frames_after_a_streams_end() {
    let lab = Lab::new().await;
    let origin = Origin::plain().await.unwrap();
    let request = Request { authority: origin.authority() };
    for (number, late, want) in [
        ("generic/2/5", frame(PRIORITY, 0, 1, [0, 0, 0, 0, 255]), Alive),
        ("http2/5.1/11", frame(DATA, END_STREAM, 1, b"test"), Stream(&[STREAM_CLOSED][..])),
        ("http2/5.1/12", frame(HEADERS, WHOLE, 1, request.get()), Connection(&[STREAM_CLOSED])),
        (
            "http2/5.1/13",
            frame(CONTINUATION, END_HEADERS, 1, request.get()),
            Connection(&[STREAM_CLOSED, PROTOCOL]),
        ),
    ] {
        let mut client = Client::connect(&lab).await;
        client.0.send(frame(HEADERS, WHOLE, 1, request.get())).await.unwrap();
        client.end_of(1).await;
        client.0.send(late).await.unwrap();
        client.check(number, want).await;
    }
}

#[tokio::test]
async fn h2spec_5_1_2_more_streams_than_agreed_are_refused() {
    let mut limits = Limits::default();
    limits.max_concurrent_streams = 3;
    let lab = Lab::with(|builder| builder.limits(limits)).await;
    let origin = Origin::plain().await.unwrap();
    let request = Request { authority: origin.authority() };
    let mut client = Client::connect(&lab).await;
    for id in [1, 3, 5, 7] {
        client.0.send(frame(HEADERS, END_HEADERS, id, request.post())).await.unwrap();
    }
    client.check("http2/5.1.2/1", Stream(&[REFUSED])).await;
}

#[tokio::test]
async fn h2spec_6_9_windows_are_obeyed() {
    let lab = Lab::new().await;
    let origin = Origin::plain().await.unwrap();
    let request = Request { authority: origin.authority() };
    let get = frame(HEADERS, WHOLE, 1, request.get());
    let data =
        |kind: u8, _: u8, stream: u32, payload: &[u8]| kind == DATA && stream == 1 && !payload.is_empty();

    // 6.5.3/1 and 6.9.1/1: the last of several values counts, and one octet is one octet.
    let mut client = Client::connect(&lab).await;
    let twice = [[0, 4, 0, 0, 0, 100], [0, 4, 0, 0, 0, 1]].concat();
    client.0.send([frame(SETTINGS, 0, 0, twice), get.clone()].concat()).await.unwrap();
    assert_eq!(client.until(data).await.unwrap().len(), 1);

    // 6.9.2/1 and /2: a change holds for open streams, also below zero.
    let mut client = Client::connect(&lab).await;
    client.0.send([setting(4, 0), get].concat()).await.unwrap();
    client.until(|kind, _, stream, _| kind == HEADERS && stream == 1).await.unwrap();
    client.0.send(setting(4, 3)).await.unwrap();
    assert_eq!(client.until(data).await.unwrap().len(), 3);
    client.0.send([setting(4, 2), frame(WINDOW_UPDATE, 0, 1, [0, 0, 0, 2])].concat()).await.unwrap();
    assert_eq!(client.until(data).await.unwrap().len(), 1);
}
