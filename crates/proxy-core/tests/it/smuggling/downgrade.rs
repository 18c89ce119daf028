//! Requests in HTTP/2 that go on to an origin in HTTP/1: what is no line end in one version is one in the other.

use std::time::Duration;

use proxy_core::{BoxFuture, ExchangeId, Interceptor, Outcome, RequestHead, Scheme, Verdict};
use testkit::Origin;

use super::{
    origin::Listener,
    readings::{Kind, READINGS, text},
};
use crate::lab::{Lab, Told};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Sends every request on to an origin in cleartext.
struct Downgrade(String);

impl Interceptor for Downgrade {
    fn request<'a>(&'a self, _: ExchangeId, head: &'a mut RequestHead) -> BoxFuture<'a, Verdict> {
        head.scheme = Scheme::Http;
        head.authority.clone_from(&self.0);
        Box::pin(std::future::ready(Verdict::Continue))
    }
}

type Field = (&'static [u8], &'static [u8]);

/// What replaces or follows the fields of a plain POST, and its body, in DATA frames.
struct Case {
    fields: &'static [Field],
    body: &'static [u8],
    passes: bool,
}

const fn refused(fields: &'static [Field]) -> Case {
    Case { fields, body: b"hello", passes: false }
}

const fn passes(fields: &'static [Field], body: &'static [u8]) -> Case {
    Case { fields, body, passes: true }
}

const CASES: &[Case] = &[
    passes(&[], b"hello"),
    passes(&[(b"content-length", b"5")], b"hello"),
    passes(&[(b"x", b"a"), (b"y", b"\xe9"), (b"x", b"b")], b"hello"),
    passes(&[(b"cookie", b"a=1"), (b"cookie", b"b=2")], b""),
    passes(&[(b":path", b"/a?\"<>|")], b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"),
    passes(&[(b"te", b"trailers")], b"5\r\nhello\r\n0\r\n\r\n"),
    refused(&[(b"content-length", b"4")]),
    refused(&[(b"content-length", b"6")]),
    refused(&[(b"content-length", b"0")]),
    refused(&[(b"content-length", b"+5")]),
    refused(&[(b"content-length", b"5, 5")]),
    refused(&[(b"content-length", b"5"), (b"content-length", b"6")]),
    refused(&[(b"content-length", b"0x5")]),
    refused(&[(b"content-length", b"")]),
    refused(&[(b"transfer-encoding", b"chunked")]),
    refused(&[(b"transfer-encoding", b"identity")]),
    refused(&[(b"transfer-encoding", b"chunked"), (b"content-length", b"5")]),
    refused(&[(b"connection", b"close")]),
    refused(&[(b"connection", b"content-length")]),
    refused(&[(b"upgrade", b"h2c")]),
    refused(&[(b"keep-alive", b"5")]),
    refused(&[(b"proxy-connection", b"keep-alive")]),
    refused(&[(b"te", b"chunked")]),
    refused(&[(b"x", b"a\r\nTransfer-Encoding: chunked")]),
    refused(&[(b"x", b"a\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n")]),
    refused(&[(b"x", b"a\nb: c")]),
    refused(&[(b"x", b"a\rb")]),
    refused(&[(b"x", b"a\0b")]),
    refused(&[(b"x\r\nhost: evil\r\ny", b"a")]),
    refused(&[(b"x: y\r\nz", b"a")]),
    refused(&[(b"x y", b"a")]),
    refused(&[(b"x:", b"a")]),
    refused(&[(b"X", b"a")]),
    refused(&[(b"Content-Length", b"5")]),
    refused(&[(b"", b"a")]),
    refused(&[(b"x\0", b"a")]),
    refused(&[(b":path", b"/ HTTP/1.1\r\nHost: evil\r\n\r\nGET /smuggled")]),
    refused(&[(b":path", b"/a b")]),
    refused(&[(b":path", b"/a\tb")]),
    refused(&[(b":path", b"")]),
    refused(&[(b":path", b"no-slash")]),
    refused(&[(b":path", b"http://evil/")]),
    refused(&[(b":method", b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\nGET")]),
    refused(&[(b":method", b"GE T")]),
    refused(&[(b":method", b"")]),
    refused(&[(b":scheme", b"http\r\n")]),
    refused(&[(b":authority", b"a\r\nx: y")]),
    refused(&[(b":authority", b"a b")]),
    refused(&[(b":authority", b"user@a")]),
    refused(&[(b":unknown", b"a")]),
    refused(&[(b":status", b"200")]),
];

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&size[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A literal field without Huffman and without the table (RFC 7541 section 6.2.2).
fn literal((name, value): (&[u8], &[u8])) -> Vec<u8> {
    let size = |bytes: &[u8]| u8::try_from(bytes.len()).ok().filter(|size| *size < 127).unwrap();
    [&[0, size(name)][..], name, &[size(value)], value].concat()
}

fn head(path: &'static [u8], changes: &[Field]) -> Vec<u8> {
    let pseudo: [Field; 4] =
        [(b":method", b"POST"), (b":scheme", b"https"), (b":authority", b"localhost"), (b":path", path)];
    let changed =
        |field: &Field| changes.iter().find(|change| change.0 == field.0).copied().unwrap_or(*field);
    let regular = changes.iter().filter(|change| pseudo.iter().all(|field| field.0 != change.0));
    pseudo.iter().map(changed).chain(regular.copied()).flat_map(literal).collect()
}

async fn play(case: &Case) -> (Vec<super::origin::Heard>, Vec<Told>) {
    let listener = Listener::start(vec![], false).await;
    let to = listener.authority();
    let mut lab = Lab::with(|builder| builder.interceptor(Downgrade(to))).await;
    let front = Origin::https(&lab.origin_ca).await.unwrap();
    let mut client = lab.client(&["h2"]).raw_tls(&front.authority()).await.unwrap();
    let marker = head(b"/marker", &[]);
    let all = [
        PREFACE.to_vec(),
        frame(1, 4, 1, &head(b"/case", case.fields)),
        frame(0, 1, 1, case.body),
        frame(1, 5, 3, &marker),
    ];
    let _ = client.send(all.concat()).await;
    // A refusal is recorded by itself; an error of the connection may leave the second request unread.
    let is_over = |told: &Told| !told.endings.is_empty();
    let failed = |told: &Told| told.endings.iter().any(|ending| matches!(ending.outcome, Outcome::Failed(_)));
    let enough = |told: &[Told]| match case.passes {
        true => told.iter().filter(|told| is_over(told)).count() >= 2,
        false => told.iter().any(failed),
    };
    lab.log.until("what becomes of both requests", enough).await;
    drop(client);
    let drained = lab.proxy.take().unwrap().shutdown(Duration::from_secs(20)).await;
    assert_eq!(drained.cut_connections, 0);
    (listener.done().await, lab.log.all())
}

#[tokio::test]
async fn no_http2_request_becomes_two_or_another_in_http1() {
    for case in CASES {
        let (heard, told) = play(case).await;
        let context =
            format!("{:?}", case.fields.iter().map(|(n, v)| (text(n), text(v))).collect::<Vec<_>>());
        let mut whole = Vec::new();
        for heard in &heard {
            assert_eq!(heard.messages.bad, None, "{context}: {:?}", text(&heard.received));
            for reading in READINGS {
                let other = reading.read(&heard.received, Kind::Requests);
                assert_eq!(
                    other.whole.len(),
                    heard.messages.whole.len(),
                    "{context} {:?}",
                    text(&heard.received)
                );
            }
            whole.extend(heard.messages.whole.clone());
        }
        let markers = whole.iter().filter(|message| message.start == "POST /marker").count();
        assert!(markers <= 1 && whole.len() - markers <= 1, "{context}: {whole:?}");
        let recorded = told.iter().filter(|told| told.outcome() == &Outcome::Response).count();
        // Of a refusal's neighbour the response may be under way when the client leaves.
        assert!(recorded <= whole.len() && (!case.passes || recorded == 2), "{context}");
        let case_message = whole.iter().find(|message| message.start != "POST /marker");
        assert_eq!(case_message.is_some(), case.passes, "{context}: {whole:?} {told:#?}");
        if let Some(message) = case_message {
            assert_eq!(message.body, text(case.body), "{context}");
            assert_eq!(markers, 1, "{context}");
        } else {
            assert!(told.iter().any(|told| matches!(told.outcome(), Outcome::Failed(_))), "{context}");
        }
    }
}
