//! What is written means what was recorded.

use std::time::SystemTime;

use bytes::Bytes;
use capture_store::{
    BodySide, Exchange, ExchangeKind, ExchangeState, ImportedExchange, Seq, Store, StoreConfig, StoredMessage,
};
use http::{Method, StatusCode, Version};
use proxy_core::{Headers, MessageKind, RequestHead, ResponseHead, Scheme};
use serde_json::{Value, json};

use super::{Note, RenderError, curl, json_line, raw};

/// A request, as a test tells it.
struct Told {
    head: RequestHead,
    body: Bytes,
    response: Option<(ResponseHead, Bytes)>,
    kind: ExchangeKind,
    messages: Vec<StoredMessage>,
}

fn told(
    method: &str,
    target: &str,
    fields: &[(&'static str, &'static [u8])],
    body: impl Into<Bytes>,
) -> Told {
    let mut headers = Headers::new();
    for (name, value) in fields {
        headers.push(*name, *value);
    }
    let head = RequestHead {
        method: Method::from_bytes(method.as_bytes()).unwrap(),
        scheme: Scheme::Https,
        authority: "api.test".to_owned(),
        target: target.to_owned(),
        version: Version::HTTP_11,
        headers,
    };
    Told { head, body: body.into(), response: None, kind: ExchangeKind::Http, messages: Vec::new() }
}

impl Told {
    fn over(mut self, version: Version, scheme: Scheme) -> Self {
        (self.head.version, self.head.scheme) = (version, scheme);
        self
    }

    /// The store that holds it alone.
    fn kept(self) -> (tempfile::TempDir, Store, Exchange) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), StoreConfig::default()).unwrap();
        let mut exchange = Exchange::new(self.head, SystemTime::UNIX_EPOCH);
        exchange.summary.kind = self.kind;
        exchange.summary.state = ExchangeState::Response;
        exchange.request_body.wire_bytes = self.body.len() as u64;
        exchange.request_body.complete = true;
        let mut response_body = None;
        if let Some((head, body)) = self.response {
            exchange.response = Some(head);
            exchange.response_body.wire_bytes = body.len() as u64;
            exchange.response_body.complete = true;
            response_body = Some(body);
        }
        let mut import = store.import("one", None).unwrap();
        let seq = import
            .add(ImportedExchange {
                exchange,
                request_body: Some(self.body).filter(|body| !body.is_empty()).map(Into::into),
                response_body: response_body.map(Into::into),
                messages: capture_store::ImportMessages::List(self.messages),
            })
            .unwrap();
        import.finish().unwrap();
        let exchange = store.exchange(seq).unwrap();
        (directory, store, exchange)
    }

    fn curl(self) -> (String, Vec<Note>) {
        let (_directory, store, exchange) = self.kept();
        let mut out = Vec::new();
        let notes = curl(&store, &exchange, &mut out).unwrap();
        (String::from_utf8(out).unwrap(), notes)
    }

    fn raw(self) -> String {
        let (_directory, store, exchange) = self.kept();
        let mut out = Vec::new();
        raw(&store, &exchange, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn line(self) -> Value {
        let (_directory, store, exchange) = self.kept();
        let mut out = Vec::new();
        json_line(&store, &exchange, true, &mut out).unwrap();
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 1);
        serde_json::from_slice(&out).unwrap()
    }
}

/// Takes a command apart as a POSIX shell does (XCU section 2.2), as far as these commands go: words, single quotes,
/// `"$(printf '…')"`, and ends of lines behind backslashes. What follows a line's end is what stands on standard input.
fn parse(command: &str) -> (Vec<Vec<u8>>, String) {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut rest = command.chars();
    while let Some(letter) = rest.next() {
        match letter {
            '\n' => break,
            ' ' => words.extend(word.take()),
            '\\' => match rest.next().unwrap() {
                '\n' => words.extend(word.take()),
                other => word.get_or_insert_default().extend(other.to_string().bytes()),
            },
            '\'' => {
                let quoted: String = rest.by_ref().take_while(|letter| *letter != '\'').collect();
                word.get_or_insert_default().extend(quoted.bytes());
            }
            '"' => {
                let printed: String = rest.by_ref().take_while(|letter| *letter != '"').collect();
                let format = printed.strip_prefix("$(printf '").unwrap().strip_suffix("')").unwrap();
                word.get_or_insert_default().extend(print(format));
            }
            '$' | '`' | '#' | '*' | '?' | '~' | '(' | '&' | ';' => {
                panic!("{letter:?} means something: {command}")
            }
            letter => word.get_or_insert_default().extend(letter.to_string().bytes()),
        }
    }
    words.extend(word);
    (words, rest.as_str().to_owned())
}

fn print(format: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = format;
    while let Some(at) = rest.find('\\') {
        bytes.extend(rest[..at].bytes());
        bytes.push(u8::from_str_radix(&rest[at + 1..at + 4], 8).unwrap());
        rest = &rest[at + 4..];
    }
    assert!(!rest.contains('%'));
    bytes.extend(rest.bytes());
    bytes
}

/// The words after `curl`, as texts.
fn words(command: &str) -> Vec<String> {
    let (words, input) = parse(command);
    assert_eq!(input, "", "nothing follows the command");
    assert_eq!(words[0], b"curl");
    words[1..].iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

const USUAL: [(&str, &[u8]); 3] = [("Host", b"api.test"), ("User-Agent", b"Test/1.0"), ("Accept", b"*/*")];

#[test]
fn a_get_is_a_get_with_its_fields_and_none_of_curls() {
    let fields =
        [USUAL[0], ("X-Empty", b""), ("Cookie", b"a=1; b='2'"), ("x-twice", b"1"), ("X-Twice", b"2")];
    let (command, notes) = told("GET", "/a/../b?q=[1]&r={x}", &fields, "").curl();
    assert_eq!(notes, []);
    assert_eq!(
        words(&command),
        [
            "-g",
            "--path-as-is",
            "--http1.1",
            "-H",
            "X-Empty;",
            "-H",
            "Cookie: a=1; b='2'",
            "-H",
            "x-twice: 1",
            "-H",
            "X-Twice: 2",
            "-H",
            "User-Agent:",
            "-H",
            "Accept:",
            "https://api.test/a/../b?q=[1]&r={x}"
        ]
    );
    assert!(command.starts_with("curl -g --path-as-is --http1.1 \\\n  -H 'X-Empty;' \\\n"), "{command}");
}

#[test]
fn a_body_of_text_is_an_argument_and_curl_adds_no_field_for_it() {
    let text = "it's $HOME\n@file `x` \\ \"y\" grün!\n";
    let (command, _) = told("POST", "/", &USUAL, text).curl();
    assert_eq!(
        words(&command),
        [
            "-g",
            "--path-as-is",
            "--http1.1",
            "-H",
            "User-Agent: Test/1.0",
            "-H",
            "Accept: */*",
            "-H",
            "Content-Type:",
            "-H",
            "Expect:",
            "--data-raw",
            text,
            "https://api.test/"
        ]
    );
    let typed = [USUAL[0], USUAL[1], USUAL[2], ("content-type", &b"a/b"[..]), ("Content-Length", b"2")];
    let (command, _) = told("PUT", "/", &typed, "xy").curl();
    assert_eq!(
        words(&command)[3..],
        [
            "-X",
            "PUT",
            "-H",
            "User-Agent: Test/1.0",
            "-H",
            "Accept: */*",
            "-H",
            "content-type: a/b",
            "-H",
            "Expect:",
            "--data-raw",
            "xy",
            "https://api.test/"
        ]
    );
}

#[test]
fn methods_are_named_where_curl_would_choose_another() {
    let length = [USUAL[0], USUAL[1], USUAL[2], ("Content-Length", &b"0"[..])];
    for (method, fields, body, expected) in [
        ("GET", &USUAL[..], "", &[][..]),
        ("GET", &USUAL, "x", &["-X", "GET"]),
        ("HEAD", &USUAL, "", &["--head"]),
        ("POST", &USUAL, "", &["-X", "POST"]),
        ("POST", &length, "", &[]),
        ("DELETE", &USUAL, "", &["-X", "DELETE"]),
        ("M-SEARCH", &USUAL, "", &["-X", "M-SEARCH"]),
    ] {
        let words = words(&told(method, "/", fields, body).curl().0);
        let named: Vec<_> = words[3..].iter().take_while(|word| *word != "-H").collect();
        assert_eq!(named, expected, "{method}");
        assert_eq!(
            words.contains(&"--data-raw".to_owned()),
            method == "POST" && fields.len() == 4 || body == "x"
        );
    }
}

#[test]
fn what_a_person_cannot_read_is_printed_and_bodies_of_it_are_base64() {
    let fields = [USUAL[0], USUAL[1], USUAL[2], ("X-Odd", b"\xe4 100%\t!"), ("X-Grün", "grün".as_bytes())];
    let (command, _) = told("GET", "/", &fields, "").curl();
    let (words, _) = parse(&command);
    assert!(words.contains(&b"X-Odd: \xe4 100%\t!".to_vec()), "{command}");
    assert!(words.contains(&"X-Grün: grün".as_bytes().to_vec()), "{command}");
    assert!(!command.contains('\t'));

    for body in [&b"\0\x01\xff"[..], b"\x1b[2J", b"a\r\nb", "\u{202e}evil".as_bytes(), &[b'x'; 20_000]] {
        let (command, _) = told("POST", "/", &USUAL, body.to_vec()).curl();
        let (words, input) = parse(&command);
        assert_eq!(words[..4], [&b"base64"[..], b"--decode", b"<<END_OF_BODY", b"|"]);
        assert_eq!(words[4], b"curl");
        assert!(words.contains(&b"@-".to_vec()));
        let lines: Vec<_> = input.lines().collect();
        let (end, lines) = lines.split_last().unwrap();
        assert_eq!(*end, "END_OF_BODY");
        assert!(lines.iter().all(|line| line.len() <= 76));
        let decoded = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, lines.concat());
        assert!(decoded.unwrap() == body);
    }
}

#[test]
fn versions_hosts_and_targets_are_said_where_the_url_cannot() {
    for (version, scheme, flag) in [
        (Version::HTTP_10, Scheme::Http, "--http1.0"),
        (Version::HTTP_11, Scheme::Https, "--http1.1"),
        (Version::HTTP_2, Scheme::Https, "--http2"),
        (Version::HTTP_2, Scheme::Http, "--http2-prior-knowledge"),
    ] {
        let words = words(&told("GET", "/", &USUAL, "").over(version, scheme).curl().0);
        assert_eq!(words[2], flag);
        assert_eq!(words.last().unwrap(), &format!("{}://api.test/", scheme.as_str()));
    }
    let other = [("Host", &b"Other.test:443"[..]), USUAL[1], USUAL[2]];
    assert!(words(&told("GET", "/", &other, "").curl().0).contains(&"Host: Other.test:443".to_owned()));
    assert!(words(&told("GET", "/", &USUAL[1..], "").curl().0).contains(&"Host:".to_owned()));
    for target in ["*", "/a b", "/a#b", "/gr\u{fc}n", "/\\x"] {
        let words = words(&told("OPTIONS", target, &USUAL, "").curl().0);
        let at = words.iter().position(|word| word == "--request-target").unwrap();
        assert_eq!((words[at + 1].as_str(), words.last().unwrap().as_str()), (target, "https://api.test/"));
    }
}

#[test]
fn what_cannot_be_said_is_told() {
    let fields = [USUAL[0], USUAL[1], USUAL[2], ("Proxy-Authorization", &b"Basic eDp5"[..])];
    let (command, notes) = told("GET", "/", &fields, "").curl();
    assert_eq!(notes, [Note::ProxyFields]);
    assert!(!command.contains("eDp5"));
    let (_directory, store, exchange) = told("CONNECT", "api.test:443", &USUAL, "").kept();
    let refused = curl(&store, &exchange, &mut Vec::new()).unwrap_err();
    assert!(matches!(refused, RenderError::NoSuchForm { exchange: Seq(1), .. }), "{refused}");
    assert_eq!(
        Note::CutBody { side: BodySide::Request, stored: 3, wire: 10 }.to_string(),
        "only 3 of 10 bytes of the request's body were recorded"
    );
}

fn answer(status: u16, fields: &[(&'static str, &'static str)]) -> ResponseHead {
    let mut head = ResponseHead::new(StatusCode::from_u16(status).unwrap());
    for (name, value) in fields {
        head.headers.push(*name, *value);
    }
    head
}

#[test]
fn messages_are_written_as_they_were() {
    let mut post = told("POST", "/x?y", &[("Host", b"api.test"), ("content-LENGTH", b"2")], "hi");
    post.response = Some((answer(200, &[("Transfer-Encoding", "chunked")]), "hello".into()));
    assert_eq!(
        post.raw(),
        "POST /x?y HTTP/1.1\r\nHost: api.test\r\ncontent-LENGTH: 2\r\n\r\nhi\
         HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    );
    let mut two = told("HEAD", "/", &[("accept", b"*/*")], "").over(Version::HTTP_2, Scheme::Https);
    let mut head = answer(204, &[]);
    (head.version, head.reason) = (Version::HTTP_2, None);
    two.response = Some((head, Bytes::new()));
    assert_eq!(two.raw(), "HEAD / HTTP/2\r\nhost: api.test\r\naccept: */*\r\n\r\nHTTP/2 204 \r\n\r\n");
    let mut head = told("HEAD", "/", &USUAL, "");
    head.response = Some((answer(200, &[("Transfer-Encoding", "chunked")]), Bytes::new()));
    assert!(head.raw().ends_with("chunked\r\n\r\n"));
}

#[test]
fn a_line_of_json_has_heads_bodies_and_messages() {
    let mut post = told("POST", "/x", &[("Host", b"api.test")], b"\xff\0".to_vec());
    let gzip = {
        // "hello" in gzip, stored without compression.
        let hex = "1f8b08000000000000ff010500faff68656c6c6f86a6103605000000";
        (0..hex.len() / 2)
            .map(|at| u8::from_str_radix(&hex[at * 2..at * 2 + 2], 16).unwrap())
            .collect::<Vec<_>>()
    };
    post.response = Some((answer(200, &[("Content-Encoding", "gzip")]), gzip.into()));
    post.kind = ExchangeKind::WebSocket;
    post.messages = vec![StoredMessage::new(0, SystemTime::UNIX_EPOCH, true, MessageKind::Text, "hi".into())];
    let line = post.line();
    assert_eq!(line["id"], "e1");
    assert_eq!(line["kind"], "websocket");
    assert_eq!(line["request"]["url"], "https://api.test/x");
    assert_eq!(line["request"]["headers"], json!([["Host", "api.test"]]));
    assert_eq!(line["request"]["body"], json!({"wireBytes": 2, "base64": "/wA="}));
    assert_eq!(line["response"]["status"], 200);
    assert_eq!(line["response"]["body"]["text"], "hello");
    assert_eq!(
        line["messages"],
        json!([{"at": 0, "from": "client", "kind": "text", "length": 2, "text": "hi"}])
    );
    let bare = told("GET", "/", &USUAL, "").line();
    assert_eq!((&bare["response"], bare.get("messages")), (&Value::Null, None));
}

#[test]
fn a_large_body_is_streamed_whole() {
    let body: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let line = told("PUT", "/", &USUAL, body.clone()).line();
    let text = line["request"]["body"]["base64"].as_str().unwrap();
    let decoded = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text).unwrap();
    assert!(decoded == body);
}
