//! Bytes that lead deep into the parsers, as the fuzzers' and the tests' first generation.

/// No cuts, then the stream.
fn uncut(stream: &[u8]) -> Vec<u8> {
    [&[0], stream].concat()
}

/// First bytes of connections.
pub(super) fn openings() -> Vec<Vec<u8>> {
    let texts: [&[u8]; 8] = [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"CONNECT a.example:443 HTTP/1.1\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\n\r\n",
        b"\r\nPOST http://a/ HTTP/1.0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\x05\x01\x00",
        b"\x04\x01\x00\x50\x7f\0\0\x01user\0",
    ];
    texts.iter().map(|text| text.to_vec()).chain(hellos()).collect()
}

/// Messages of SOCKS clients of every version.
pub(super) fn socks() -> Vec<Vec<u8>> {
    let messages: [&[u8]; 9] = [
        b"\x05\x02\x00\x02",
        b"\x01\x04user\x06secret",
        b"\x05\x01\x00\x01\x7f\0\0\x01\x01\xbb",
        b"\x05\x01\x00\x03\x09a.example\x00\x50",
        b"\x05\x01\x00\x03\x05[::1]\x00\x50",
        b"\x05\x01\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x00\x50",
        b"\x05\x03\x00\x01\0\0\0\0\0\0",
        b"\x04\x01\x00\x50\x7f\0\0\x01user\0",
        b"\x04\x01\x00\x50\0\0\0\x01\0a.example\0",
    ];
    messages.iter().map(|message| message.to_vec()).collect()
}

/// ClientHello messages in their records.
pub(super) fn hellos() -> Vec<Vec<u8>> {
    let server_name = extension(0, &[&[0, 14, 0, 0, 11][..], b"a.b.example"].concat());
    let alpn = extension(16, b"\0\x0c\x02h2\x08http/1.1");
    let versions = extension(43, b"\x04\x03\x04\x03\x03");
    let ech = extension(0xfe0d, &[0; 16]);
    let all = [server_name.clone(), alpn, versions, ech].concat();
    [Vec::new(), server_name, all]
        .iter()
        .flat_map(|extensions| {
            let hello = hello(extensions);
            [record(&hello), hello.chunks(20).flat_map(record).collect()]
        })
        .collect()
}

fn sized16(bytes: &[u8]) -> Vec<u8> {
    let size = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    [&size.to_be_bytes()[..], bytes].concat()
}

fn extension(number: u16, body: &[u8]) -> Vec<u8> {
    [&number.to_be_bytes()[..], &sized16(body)].concat()
}

fn hello(extensions: &[u8]) -> Vec<u8> {
    let suites = sized16(&[0x13, 1, 0x13, 2, 0xc0, 0x2f]);
    let body = [&[3, 3][..], &[7; 32], &[0], &suites, &[1, 0], &sized16(extensions)].concat();
    let size = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&[1][..], &size[1..], &body].concat()
}

fn record(fragment: &[u8]) -> Vec<u8> {
    [&[22, 3, 1][..], &sized16(fragment)].concat()
}

/// Hosts, ports and patterns.
pub(super) fn authorities() -> Vec<Vec<u8>> {
    [
        "example.com:443",
        "[::1]:8080",
        "[::1]",
        "*.example.com",
        "127.0.0.1",
        "a:",
        "[fe80::1%25eth0]:1",
        "*",
        "*.a:443",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect()
}

/// Streams of requests.
pub(super) fn requests() -> Vec<Vec<u8>> {
    let streams: [&[u8]; 6] = [
        b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\nx: 2\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST http://u@a:80/?q HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=\"y\"\r\nhello\r\n0\r\nT: 1\r\n\r\n",
        b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
        b"OPTIONS * HTTP/1.0\r\nConnection: keep-alive, te\r\nTE: trailers\r\n\r\n",
        b"\r\n\r\nPUT /\xc3\xa9 HTTP/1.1\r\nHost: [::1]:1\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n",
    ];
    streams.iter().map(|stream| uncut(stream)).collect()
}

/// Streams of responses.
pub(super) fn responses() -> Vec<Vec<u8>> {
    let streams: [&[u8]; 6] = [
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nT: 1\r\n\r\nHTTP/1.1 204\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nA : 1\r\n 2\r\n\r\nuntil the end",
        b"HTTP/1.1 304 Not Modified\nETag: \"a\"\nContent-Length: 7\n\nHTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nab",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x01a",
        b"HTTP/1.1 999 \xff\xfe\r\n\r\n",
    ];
    streams.iter().map(|stream| uncut(stream)).collect()
}

/// Chunked bodies.
pub(super) fn chunked() -> Vec<Vec<u8>> {
    let streams: [&[u8]; 4] = [
        b"5\r\nhello\r\n0\r\n\r\nnext",
        b"5;a=b\r\nhello\r\nA \r\n0123456789\r\n0;c\r\nT: 1\r\nt: 2\r\n\r\n",
        b"0000000000000001\r\nx\r\n000\r\n\r\n",
        b"ffffffffffffffff\r\nbeginning",
    ];
    streams.iter().map(|stream| uncut(stream)).collect()
}

/// WebSocket streams, each behind an octet for what was negotiated.
pub(super) fn frames() -> Vec<Vec<u8>> {
    let masked = [0x81, 0x85, 1, 2, 3, 4, b'h' ^ 1, b'e' ^ 2, b'l' ^ 3, b'l' ^ 4, b'o' ^ 1];
    // "Hello" twice, with and without the window of the first (RFC 7692 section 7.2.3).
    let deflated =
        [0xc1, 0x07, 0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0xc1, 0x05, 0xf2, 0x00, 0x11, 0x00, 0x00];
    let fragments = [0x01, 0x02, b'h', b'e', 0x89, 0x01, b'p', 0x80, 0x01, b'y', 0x88, 0x02, 0x03, 0xe8];
    let long = [&[0x82, 126, 1, 0][..], &[0xaa; 256], &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0][..], &[0x55; 64]]
        .concat();
    [(0, &masked[..]), (1, &deflated), (2, &deflated), (0, &fragments), (3, &deflated), (1, &long)]
        .iter()
        .map(|(mode, stream)| [&[*mode], uncut(stream).as_slice()].concat())
        .collect()
}

/// The first two requests of RFC 7541 appendix C.4, as blocks.
const BLOCKS: [&[u8]; 2] = [
    b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff",
    b"\x82\x86\x84\xbe\x58\x86\xa8\xeb\x10\x64\x9c\xbf",
];

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len()).unwrap_or_default().to_be_bytes();
    [&size[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
}

/// What an HTTP/2 client sends behind its preface and settings.
pub(super) fn http2_requests() -> Vec<Vec<u8>> {
    let [first, second] = BLOCKS;
    let get = [frame(1, 5, 1, first), frame(1, 5, 3, second)].concat();
    let post = [
        frame(1, 4, 1, b"\x83\x87\x84\x41\x01a\x00\x0econtent-length\x015"),
        frame(8, 0, 0, &[0, 0, 16, 0]),
        frame(0, 0, 1, b"hel"),
        frame(0, 8, 1, b"\x02lo\0\0"),
        frame(1, 5, 1, b"\x00\x03sum\x011"),
    ];
    let others = [
        frame(4, 0, 0, &[0, 3, 0, 0, 0, 1, 0, 4, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0]),
        frame(1, 1, 1, &first[..4]),
        frame(9, 4, 1, &first[4..]),
        frame(6, 0, 0, &[0; 8]),
        frame(2, 0, 3, &[0, 0, 0, 1, 16]),
        frame(3, 0, 1, &[0, 0, 0, 8]),
        frame(1, 0x2d, 3, &[&[1, 0, 0, 0, 0, 16][..], second, &[0]].concat()),
        frame(7, 0, 0, &[0; 8]),
    ];
    [get, post.concat(), others.concat()].iter().map(|stream| uncut(stream)).collect()
}

/// What an HTTP/2 upstream sends behind its settings.
pub(super) fn http2_responses() -> Vec<Vec<u8>> {
    let plain = [frame(1, 4, 1, b"\x88"), frame(0, 1, 1, b"hello"), frame(1, 5, 3, b"\x88")].concat();
    let more = [
        frame(4, 0, 0, &[0, 3, 0, 0, 0, 1, 0, 8, 0, 0, 0, 1]),
        frame(1, 4, 1, b"\x08\x03103\x00\x04link\x01a"),
        frame(1, 4, 1, b"\x88\x0f\x0d\x015"),
        frame(8, 0, 1, &[0, 0, 1, 0]),
        frame(0, 0, 1, b"hello"),
        frame(1, 5, 1, b"\x00\x03sum\x011"),
        frame(5, 4, 1, &[0, 0, 0, 2, 0x82]),
        frame(7, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]),
    ];
    [plain, more.concat()].iter().map(|stream| uncut(stream)).collect()
}

/// Header blocks, each behind its length.
pub(super) fn blocks() -> Vec<Vec<u8>> {
    let [first, second] = BLOCKS;
    let sized = |block: &[u8]| [&[u8::try_from(block.len()).unwrap_or_default()][..], block].concat();
    let sizes = b"\x20\x3f\xe1\x1f\x82\x87\x84\x41\x01a\x10\x01n\x01v\x40\x01i\x01w";
    // More fields than may pass, each by an index.
    let many = sized(&[0x9a; 70]);
    vec![many, [sized(first), sized(second)].concat(), [sized(first), sized(sizes), sized(second)].concat()]
}
