//! Files as tools write them, and as broken ones are: what becomes of each.
//!
//! Beyond its own outcome each file holds all of these: a refused one leaves nothing; `strict` takes exactly those without a
//! warning; what was imported exports as valid HAR, whose own import takes all of it without a warning.
#![expect(clippy::too_many_lines, clippy::panic, reason = "cases are data, and a wrong one fails the test")]

use std::{
    io::Write,
    panic::{AssertUnwindSafe, catch_unwind},
};

use capture_store::{BodySide, ExchangeState, Query, SessionId};
use har_export::{ErrorKind, ExportOptions, ImportOptions, read, write};
use serde_json::{Value, json};

use crate::{
    schema,
    seed::{Place, gzip},
};

/// What becomes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// So many entries are imported, skipped, and warned of (skipped ones included).
    Taken(u64, u64, u64),
    /// It is no JSON.
    NotJson,
    /// It is JSON, but no HAR.
    NotHar,
    /// It is in a form that is named.
    OtherForm,
}

use Outcome::{NotHar, NotJson, OtherForm, Taken};

struct Case {
    name: &'static str,
    file: Vec<u8>,
    outcome: Outcome,
    /// What the first exchange shows, in the words of [`shown`].
    shows: &'static str,
}

const WHOLE: Outcome = Taken(1, 0, 0);
const WARNED: Outcome = Taken(1, 0, 1);
const SKIPPED: Outcome = Taken(0, 1, 1);

/// An entry to the letter of HAR 1.2.
fn plain() -> Value {
    json!({
        "startedDateTime": "2026-03-02T09:15:00.000Z", "time": 6,
        "request": {"method": "GET", "url": "http://a.test/x?y=1", "httpVersion": "HTTP/1.1", "cookies": [],
            "headers": [{"name": "Host", "value": "a.test"}], "queryString": [{"name": "y", "value": "1"}],
            "headersSize": 40, "bodySize": 0},
        "response": {"status": 200, "statusText": "OK", "httpVersion": "HTTP/1.1", "cookies": [],
            "headers": [{"name": "Content-Type", "value": "text/plain"}],
            "content": {"size": 5, "mimeType": "text/plain", "text": "hello"}, "redirectURL": "",
            "headersSize": 60, "bodySize": 5},
        "cache": {}, "timings": {"blocked": -1, "dns": -1, "connect": -1, "ssl": -1, "send": 1, "wait": 2, "receive": 3}})
}

/// A file with one entry, changed.
fn file(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut entry = plain();
    change(&mut entry);
    log_of(&[entry])
}

fn log_of(entries: &[Value]) -> Vec<u8> {
    let creator = json!({"name": "a tool", "version": "1"});
    json!({"log": {"version": "1.2", "creator": creator, "entries": entries}}).to_string().into_bytes()
}

/// The plain entry with a member set to a JSON text, or removed.
fn set(pointer: &str, value: Option<Value>) -> Vec<u8> {
    file(|entry| {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let parent = entry.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        match value {
            Some(value) => parent.insert(name.to_owned(), value),
            None => parent.remove(name),
        };
    })
}

/// The plain entry's text with one part replaced: what no JSON value can be.
fn raw(from: &str, to: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(log_of(&[plain()])).unwrap();
    let (before, after) = text.split_once(from).unwrap_or_else(|| panic!("{from} in {text}"));
    [before.as_bytes(), to, after.as_bytes()].concat()
}

fn content(content: Value, headers: Value) -> Vec<u8> {
    file(|entry| {
        entry["response"]["content"] = content;
        entry["response"]["headers"] = headers;
    })
}

fn posting(post: Value) -> Vec<u8> {
    file(|entry| {
        entry["request"]["method"] = "POST".into();
        entry["request"]["postData"] = post;
    })
}

fn case(name: &'static str, file: impl Into<Vec<u8>>, outcome: Outcome, shows: &'static str) -> Case {
    Case { name, file: file.into(), outcome, shows }
}

fn coded(coding: &str) -> Value {
    json!([{"name": "Content-Encoding", "value": coding}])
}

/// What the tools write that people have, each in its own way.
fn of_tools() -> Vec<Case> {
    let chrome = file(|entry| {
        entry["_initiator"] = json!({"type": "script", "stack": {"callFrames": [{"url": "http://a.test/a.js", "lineNumber": 3}]}});
        entry["_priority"] = "High".into();
        entry["_resourceType"] = "fetch".into();
        entry["_connectionId"] = "812".into();
        entry["connection"] = "443".into();
        entry["pageref"] = "page_1".into();
        entry["serverIPAddress"] = "[2001:db8::1]".into();
        entry["request"]["httpVersion"] = "http/2.0".into();
        entry["request"]["headers"] = json!([{"name": ":authority", "value": "a.test"}, {"name": ":method", "value": "GET"}, {"name": "accept", "value": "*/*"}]);
        entry["response"]["_transferSize"] = 120.into();
        entry["response"]["_error"] = Value::Null;
        entry["response"]["_fetchedViaServiceWorker"] = false.into();
        entry["timings"]["_blocked_queueing"] = 1.25.into();
        entry["time"] = 6.000000000123.into();
    });
    let firefox = file(|entry| {
        entry["pageref"] = "page_1".into();
        entry["_securityState"] = "secure".into();
        entry["cache"] = json!({"afterRequest": null});
        entry["startedDateTime"] = "2026-03-02T10:15:00.000+01:00".into();
        entry["response"]["content"]["comment"] = "Response bodies are not included.".into();
        entry["timings"] =
            json!({"blocked": 0, "dns": 0, "connect": 0, "ssl": 0, "send": 0, "wait": 2, "receive": 0});
    });
    let safari = file(|entry| {
        entry["request"]["bodySize"] = json!(-1);
        entry["response"]["bodySize"] = json!(4.6);
        entry["response"]["_transferSize"] = json!(300.25);
        entry["_fetchType"] = "Network Load".into();
        entry["_priority"] = "medium".into();
        entry["timings"] = json!({"blocked": 0.1, "dns": -1, "connect": -1, "ssl": -1, "send": 0.2, "wait": 3.5, "receive": 1});
    });
    let charles = file(|entry| {
        entry["connection"] = 443.into();
        entry["response"]["redirectURL"] = Value::Null;
        entry["response"]["_charlesStatus"] = "COMPLETE".into();
        entry["response"]["content"] = json!({"size": 5, "compression": 0, "mimeType": "text/plain", "text": "aGVsbG8=", "encoding": "base64"});
        entry["timings"] = json!({"dns": 1, "connect": 10, "ssl": 6, "send": 1, "wait": 30, "receive": 3});
    });
    let insomnia = file(|entry| {
        entry.as_object_mut().unwrap().remove("cache");
        entry["comment"] = "Log in".into();
        entry["request"]["settingEncodeUrl"] = true.into();
        entry["request"]["postData"] = json!({"mimeType": "application/x-www-form-urlencoded", "params": [{"name": "a", "value": "1 2"}], "text": ""});
        entry["timings"] = json!({"blocked": -1, "dns": -1, "connect": -1, "send": 0, "wait": 12.5, "receive": 0, "ssl": -1});
    });
    let mitmproxy = file(|entry| {
        entry["startedDateTime"] = "2026-03-02T09:15:00.123456+00:00".into();
        entry["request"]["postData"] = json!({"mimeType": "", "text": "", "params": []});
        entry["response"]["content"] =
            json!({"size": 5, "compression": 0, "mimeType": "text/plain", "text": "hello"});
        entry["timings"] = json!({"connect": null, "ssl": null, "send": 1.5, "receive": 0, "wait": 2});
    });
    let mitmproxy_error = file(|entry| {
        entry["response"] = json!({"status": 0, "statusText": "", "httpVersion": "", "headers": [], "cookies": [], "content": {},
            "redirectURL": "", "headersSize": -1, "bodySize": -1, "_transferSize": 0, "_error": "connection closed"});
    });
    let mitmproxy_socket = file(|entry| {
        entry["response"]["status"] = 101.into();
        entry["_resourceType"] = "websocket".into();
        entry["_webSocketMessages"] = json!([{"type": "send", "time": 1772442900.5, "opcode": 1, "data": "hi"},
            {"type": "receive", "time": 1772442901, "opcode": 2, "data": "AAH/"}]);
    });
    let playwright = file(|entry| {
        entry["_frameref"] = "frame@1".into();
        entry["_monotonicTime"] = 1234.5.into();
        entry["_serverPort"] = 80.into();
        entry["_securityDetails"] = json!({});
        entry["request"]["headersSize"] = json!(-1);
        entry["response"]["content"] = json!({"size": -1, "mimeType": "x-unknown"});
        entry["timings"] = json!({"send": -1, "wait": -1, "receive": -1});
    });
    let playwright_failed = file(|entry| {
        entry["response"]["status"] = json!(-1);
        entry["response"]["_failureText"] = "net::ERR_CONNECTION_REFUSED".into();
    });
    let playwright_slim = file(|entry| {
        let method = entry["request"]["method"].clone();
        *entry = json!({"startedDateTime": "2026-03-02T09:15:00.000Z", "request": {"method": method, "url": "http://a.test/"},
            "response": {"status": 200, "content": {"_file": "0a1b.txt"}}, "cache": {}, "timings": {}});
    });
    let fiddler = file(|entry| {
        entry["comment"] = "[#12]".into();
        entry["request"]["httpVersion"] = "HTTP/1.1".into();
        entry["response"]["content"] = json!({"size": 5, "compression": 0, "mimeType": "text/plain", "text": "hello", "_TextToBase64": ""});
        entry["connection"] = "ClientPort:50123;EgressPort:50124".into();
        entry["startedDateTime"] = "2026-03-02T10:15:00.0000000+01:00".into();
        entry["timings"] =
            json!({"dns": 0, "connect": 0, "ssl": 0, "blocked": -1, "send": 0, "wait": 0, "receive": 0});
    });
    let fiddler_unstarted = set("/startedDateTime", Some(json!("0001-01-01T00:00:00.0000000+00:00")));
    let postman = file(|entry| {
        entry["request"]["headers"] =
            json!([{"name": "Authorization", "value": "Bearer x", "comment": "from the vault"}]);
        entry["response"]["content"]["text"] = Value::Null;
    });
    let http_toolkit = file(|entry| {
        entry["_webSocketMessages"] =
            json!([{"type": "request", "opcode": 1, "data": "hi", "time": 1772442900.25}]);
        entry["_webSocketClose"] = json!({"code": 1000});
        entry["request"]["_trailers"] = json!([{"name": "X", "value": "1"}]);
        entry["response"]["status"] = 101.into();
    });
    let sanitized = file(|entry| {
        entry["request"]["headers"] = json!([]);
        entry["request"]["cookies"] = json!([]);
    });
    vec![
        case("chrome", chrome, WHOLE, "GET http://a.test/x?y=1 HTTP/2 200 req[1]"),
        case("chrome, without what it holds secret", sanitized, WHOLE, "200 req[0]"),
        case("firefox", firefox, WHOLE, "<hello"),
        case("safari", safari, WHOLE, "<hello"),
        case("charles", charles, WHOLE, "<hello"),
        case(
            "charles with a byte order mark",
            [b"\xef\xbb\xbf".to_vec(), log_of(&[plain()])].concat(),
            WHOLE,
            "<hello",
        ),
        case("insomnia", insomnia, WHOLE, ">a=1+2 <hello"),
        case("mitmproxy", mitmproxy, WHOLE, "200 req[1] res[1] >- <hello"),
        case("mitmproxy, no answer", mitmproxy_error, WHOLE, "none req[1]"),
        case("mitmproxy, WebSocket", mitmproxy_socket, WHOLE, "messages[2]"),
        case("playwright", playwright, WHOLE, "200 req[1] res[1] >- <-"),
        case("playwright, failed", playwright_failed, WHOLE, "failed"),
        case("playwright, slim with attached bodies", playwright_slim, WARNED, "200 req[0] res[0] >- <-"),
        case("fiddler", fiddler, WHOLE, "<hello"),
        case("fiddler, never started", fiddler_unstarted, WARNED, "<hello"),
        case("postman", postman, WHOLE, "200 req[1] res[1] >- <-"),
        case("http toolkit", http_toolkit, WHOLE, "messages[1]"),
    ]
}

fn bodies() -> Vec<Case> {
    let packed = base64(&gzip(b"hello"));
    let png = base64(b"\x89PNG\r\n\x1a\nrest");
    let image = json!([{"name": "Content-Type", "value": "image/png"}]);
    let binary = |text: Value, size: Value| {
        content(json!({"size": size, "mimeType": "image/png", "text": text}), image.clone())
    };
    let text = |text: Value, encoding: Value| {
        content(json!({"size": 5, "mimeType": "text/plain", "text": text, "encoding": encoding}), json!([]))
    };
    let form = "application/x-www-form-urlencoded";
    vec![
        case("base64 in capitals", text(json!("aGVsbG8="), json!("BASE64")), WHOLE, "<hello"),
        case("base64 in lines", text(json!("aGVs\r\nbG8=\n"), json!("base64")), WHOLE, "<hello"),
        case("base64 without padding", text(json!("aGVsbG8"), json!("base64")), WHOLE, "<hello"),
        case("base64 for URLs", text(json!("Pz8_Pj4-"), json!("base64")), WHOLE, "<???>>>"),
        case("base64 that is none", text(json!("<html>"), json!("base64")), WARNED, "<<html>"),
        case("base64 cut within a group", text(json!("aGVsbG8gd"), json!("base64")), WHOLE, "<hello "),
        case("an encoding that says nothing", text(json!("hello"), json!("")), WHOLE, "<hello"),
        case("an encoding that is a charset", text(json!("hello"), json!("utf-8")), WHOLE, "<hello"),
        case("an encoding that is null", text(json!("hello"), Value::Null), WHOLE, "<hello"),
        case("an encoding that is a number", text(json!("hello"), json!(64)), WHOLE, "<hello"),
        case(
            "an image that does not say it is base64",
            binary(json!(png), json!(12)),
            WARNED,
            "<\u{fffd}PNG",
        ),
        case("an image of a size nobody knows", binary(json!(png), json!(-1)), WARNED, "<\u{fffd}PNG"),
        case("an image whose text has its size", binary(json!(png), json!(16)), WHOLE, "<iVBORw0KGgpyZXN0"),
        case("an image whose text is none", binary(json!("not base64!"), json!(3)), WHOLE, "<not base64!"),
        case("text that looks like base64", text(json!("aGVsbG8="), json!("none")), WHOLE, "<aGVsbG8="),
        case(
            "a body as it was on the wire",
            content(
                json!({"size": 5, "mimeType": "text/plain", "text": packed, "encoding": "base64"}),
                coded("gzip"),
            ),
            WHOLE,
            "<hello",
        ),
        case(
            "a body decoded though its head says gzip",
            content(json!({"size": 5, "mimeType": "text/plain", "text": "hello"}), coded("gzip")),
            WHOLE,
            "<hello",
        ),
        case(
            "a body decoded though its head says br",
            content(json!({"size": 5, "mimeType": "text/plain", "text": "hello"}), coded("br")),
            WHOLE,
            "<hello",
        ),
        case(
            "a body of a coding nobody knows",
            content(json!({"size": 5, "mimeType": "text/plain", "text": "hello"}), coded("made-up")),
            WHOLE,
            "<hello",
        ),
        case("a body that is a number", set("/response/content/text", Some(json!(5))), WARNED, "<5"),
        case(
            "a body that is JSON",
            set("/response/content/text", Some(json!({"a": [1]}))),
            WARNED,
            "<{\"a\":[1]}",
        ),
        case("a body that is false", set("/response/content/text", Some(json!(false))), WARNED, "<false"),
        case("an empty body", set("/response/content/text", Some(json!(""))), WHOLE, "<-"),
        case("a body with NUL", set("/response/content/text", Some(json!("a\0b"))), WHOLE, "<a\0b"),
        case("a body of a lone surrogate", raw("\"hello\"", br#""cut \ud83d""#), WARNED, "<cut \u{fffd}"),
        case("a body of a pair of surrogates", raw("\"hello\"", br#""\ud83d\ude00""#), WHOLE, "<\u{1f600}"),
        case("a body that is no UTF-8", raw("\"hello\"", b"\"caf\xe9\""), WARNED, "<caf\u{fffd}"),
        case("a body twice", raw("\"text\":\"hello\"", br#""text":"first","text":"last""#), WHOLE, "<last"),
        case("content that is a list", set("/response/content", Some(json!([]))), WHOLE, "<-"),
        case("content that is missing", set("/response/content", None), WHOLE, "<-"),
        case("a posted text", posting(json!({"mimeType": "text/plain", "text": "a=1"})), WHOLE, ">a=1"),
        case(
            "a posted form of parameters",
            posting(json!({"mimeType": form, "params": [{"name": "a b", "value": "1&2"}]})),
            WHOLE,
            ">a+b=1%262",
        ),
        case(
            "a posted file of parameters",
            posting(json!({"mimeType": "multipart/form-data", "params": [{"name": "f", "fileName": "x"}]})),
            WARNED,
            ">-",
        ),
        case(
            "posted bytes",
            posting(json!({"mimeType": "x/y", "text": "aGVsbG8=", "encoding": "base64"})),
            WHOLE,
            ">hello",
        ),
        case(
            "posted bytes as others say it",
            posting(json!({"mimeType": "x/y", "text": "aGVsbG8=", "_encoding": "base64"})),
            WHOLE,
            ">hello",
        ),
        case("posted data that is text", posting(json!("a=1")), WHOLE, ">-"),
        case("posted data that is null", posting(Value::Null), WHOLE, ">-"),
    ]
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Entries with something missing, or of another type.
fn odd_entries() -> Vec<Case> {
    let headers = |headers: Value| set("/request/headers", Some(headers));
    let status = |status: Value| set("/response/status", Some(status));
    let url = |url: &str| set("/request/url", Some(json!(url)));
    let time = |time: Value| set("/startedDateTime", Some(time));
    vec![
        case("an entry that is null", log_of(&[Value::Null]), SKIPPED, ""),
        case("an entry that is a number", log_of(&[json!(42)]), SKIPPED, ""),
        case("an entry that is empty", log_of(&[json!({})]), SKIPPED, ""),
        case("no request", set("/request", None), SKIPPED, ""),
        case("a request that is a list", set("/request", Some(json!([]))), SKIPPED, ""),
        case("no method", set("/request/method", None), SKIPPED, ""),
        case("a method that is none", set("/request/method", Some(json!("G T"))), SKIPPED, ""),
        case("an empty method", set("/request/method", Some(json!(""))), SKIPPED, ""),
        case(
            "a method in small letters",
            set("/request/method", Some(json!("get"))),
            WHOLE,
            "get http://a.test",
        ),
        case("no URL", set("/request/url", None), SKIPPED, ""),
        case("a URL that is null", set("/request/url", Some(Value::Null)), SKIPPED, ""),
        case("an empty URL", url(""), SKIPPED, ""),
        case("a URL that is a path", url("/x"), SKIPPED, ""),
        case("a data URL", url("data:text/plain,hi"), SKIPPED, ""),
        case("a blob URL", url("blob:http://a.test/1"), SKIPPED, ""),
        case("an extension's URL", url("chrome-extension://abc/x.js"), SKIPPED, ""),
        case("a WebSocket URL", url("wss://a.test/live"), WHOLE, "https://a.test/live"),
        case("a URL with a fragment", url("http://a.test/x#part"), WHOLE, "http://a.test/x HTTP"),
        case("a URL with user information", url("http://ann:pw@a.test/"), WHOLE, "http://a.test/ HTTP"),
        case("a URL with spaces", url("http://a.test/a b"), WHOLE, "http://a.test/a%20b"),
        case("a URL beyond ASCII", url("http://a.test/ä"), WHOLE, "http://a.test/%C3%A4"),
        case("a URL of capitals", url("HTTP://A.TEST/X"), WHOLE, "http://A.TEST/X"),
        case("no response", set("/response", None), WHOLE, "none req[1]"),
        case("a response that is null", set("/response", Some(Value::Null)), WHOLE, "none req[1]"),
        case("no status", set("/response/status", None), WHOLE, "none req[1]"),
        case("a status as text", status(json!("200")), WHOLE, " 200 "),
        case("a status with a fraction of zero", status(json!(200.0)), WHOLE, " 200 "),
        case("a status with a fraction", status(json!(200.5)), SKIPPED, ""),
        case("a status of 99", status(json!(99)), SKIPPED, ""),
        case("a status of 1000", status(json!(1000)), SKIPPED, ""),
        case("a huge status", raw("\"status\":200", b"\"status\":1e400"), SKIPPED, ""),
        case("a status of 0", status(json!(0)), WHOLE, "failed"),
        case("a status beyond the classes", status(json!(999)), WHOLE, " 999 "),
        case("no headers", set("/request/headers", None), WHOLE, "req[0]"),
        case("headers that are null", headers(Value::Null), WHOLE, "req[0]"),
        case(
            "headers that are an object",
            headers(json!({"Host": "a.test", "X": ["1", "2"]})),
            WHOLE,
            "req[3]",
        ),
        case("headers that are text", headers(json!("Host: a.test")), WARNED, "req[0]"),
        case(
            "a header without a name",
            headers(json!([{"value": "1"}, {"name": "A", "value": "1"}])),
            WARNED,
            "req[1]",
        ),
        case("a header that is text", headers(json!(["Host: a.test"])), WARNED, "req[0]"),
        case("a header without a value", headers(json!([{"name": "A"}])), WHOLE, "req[1]"),
        case(
            "a header whose value is a number",
            headers(json!([{"name": "A", "value": 1}])),
            WHOLE,
            "req[1]",
        ),
        case("a header of several lines", headers(json!([{"name": "A", "value": "1\n2"}])), WHOLE, "req[2]"),
        case(
            "a header that would end its head",
            headers(json!([{"name": "A", "value": "1\r\n\r\nGET / HTTP/1.1"}])),
            WHOLE,
            "req[",
        ),
        case(
            "a header name that would end its line",
            headers(json!([{"name": "A: 1\r\nB", "value": "1"}])),
            WARNED,
            "req[0]",
        ),
        case("no version", set("/request/httpVersion", None), WHOLE, "HTTP/1.1"),
        case(
            "a version nobody knows",
            set("/request/httpVersion", Some(json!("unknown"))),
            WHOLE,
            "HTTP/1.1",
        ),
        case("HTTP/3 by its name", set("/request/httpVersion", Some(json!("h3"))), WHOLE, "HTTP/3"),
        case("no time", set("/startedDateTime", None), WARNED, "200"),
        case("a time that is none", time(json!("yesterday")), WARNED, "200"),
        case("a time without an offset", time(json!("2026-03-02T09:15:00")), WHOLE, "200"),
        case("a time in milliseconds", time(json!(1772442900000u64)), WHOLE, "200"),
        case("a time in milliseconds as text", time(json!("1772442900000")), WHOLE, "200"),
        case("a time that no store holds", time(json!("9999-12-31T23:59:59Z")), WARNED, "200"),
        case("no timings", set("/timings", None), WHOLE, "200"),
        case(
            "timings as text",
            set("/timings", Some(json!({"send": "1", "wait": "2.5", "receive": ""}))),
            WHOLE,
            "200",
        ),
        case(
            "timings that are negative",
            set("/timings", Some(json!({"send": -5, "wait": -1, "receive": -1}))),
            WHOLE,
            "200",
        ),
        case("timings that are huge", raw("\"wait\":2", b"\"wait\":1e308"), WHOLE, "200"),
        case("sizes as text", set("/response/bodySize", Some(json!("5"))), WHOLE, "200"),
        case("sizes with fractions", set("/response/headersSize", Some(json!(60.4))), WHOLE, "200"),
        case(
            "sizes that are huge",
            raw("\"bodySize\":5", b"\"bodySize\":123456789012345678901234567890"),
            WHOLE,
            "200",
        ),
        case("sizes that are negative", set("/response/bodySize", Some(json!(-1))), WHOLE, "200"),
        case("cookies that are null", set("/request/cookies", Some(Value::Null)), WHOLE, "200"),
        case(
            "cookies with dates that are none",
            set("/response/cookies", Some(json!([{"name": "a", "value": "1", "expires": "0"}]))),
            WHOLE,
            "200",
        ),
        case("an address that is none", set("/serverIPAddress", Some(json!(""))), WHOLE, "200"),
        case("a member nobody knows", set("/whatever", Some(json!([1, {"a": null}]))), WHOLE, "200"),
        case("members nested deep", set("/_deep", Some(nested(60))), WHOLE, "200"),
        case("members nested too deep", raw("\"cache\":{}", &deep(300)), WARNED, "200"),
        case("a member twice", raw("\"time\":6", b"\"time\":1,\"time\":6"), WHOLE, "200"),
        case(
            "a request twice",
            raw("\"time\":6", b"\"request\":{\"method\":\"PUT\"},\"time\":6"),
            SKIPPED,
            "",
        ),
        case(
            "messages that are none",
            set("/_webSocketMessages", Some(json!([1, {"type": "send"}, {"data": "x"}]))),
            WARNED,
            "messages[0]",
        ),
        case(
            "messages that are no list",
            set("/_webSocketMessages", Some(json!("none"))),
            WHOLE,
            "messages[0]",
        ),
        case("our own member made up", set("/_wirescope", Some(json!({"state": 5}))), WARNED, "200"),
        case("good and bad ones", log_of(&[plain(), json!({}), plain()]), Taken(2, 1, 1), "<hello"),
    ]
}

fn nested(levels: usize) -> Value {
    (0..levels).fold(json!(1), |value, _| json!([value]))
}

fn deep(levels: usize) -> Vec<u8> {
    [b"\"cache\":{},\"_deep\":".to_vec(), b"[".repeat(levels), b"]".repeat(levels)].concat()
}

/// Files that are broken, cut, or none.
fn broken_files() -> Vec<Case> {
    let good = log_of(&[plain(), plain()]);
    let text = String::from_utf8(good.clone()).unwrap();
    let cut = |at: &str| good[..text.find(at).unwrap() + at.len()].to_vec();
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    zlib.write_all(&good).unwrap();
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    vec![
        case("no bytes", "", NotJson, ""),
        case("white space", " \r\n\t", NotJson, ""),
        case("a page", "<!doctype html><html></html>", NotJson, ""),
        case("words", "not found", NotJson, ""),
        case("a byte order mark alone", "\u{feff}", NotJson, ""),
        case("cut within the log", cut("\"log\""), NotJson, ""),
        case("cut within a text", cut("hel"), NotJson, ""),
        case("cut within an entry", cut("\"headersSize\":"), NotJson, ""),
        case("cut before its last brackets", good[..good.len() - 3].to_vec(), NotJson, ""),
        case("cut before its last bracket", good[..good.len() - 1].to_vec(), NotJson, ""),
        case("something after its end", [good.clone(), b" x".to_vec()].concat(), NotJson, ""),
        case("one file after the other", [good.clone(), good.clone()].concat(), NotJson, ""),
        case("a comma too many", raw("\"cache\":{},", b"\"cache\":{},,"), NotJson, ""),
        case("a comma before its end", raw("\"entries\":[", b"\"entries\":[1,],\"x\":["), NotJson, ""),
        case("a comment", raw("\"cache\":{}", b"/* none */\"cache\":{}"), NotJson, ""),
        case("single quotes", text.replace('"', "'"), NotJson, ""),
        case("a number that is none", raw("\"time\":6", b"\"time\":NaN"), NotJson, ""),
        case("a number with a zero before", raw("\"time\":6", b"\"time\":06"), NotJson, ""),
        case("a text of several lines", raw("\"hello\"", b"\"hel\nlo\""), NotJson, ""),
        case("a text with NUL", raw("\"hello\"", b"\"hel\0lo\""), NotJson, ""),
        case("zeros where a crash left them", raw("\"cache\":{}", &[0; 64]), NotJson, ""),
        case("an escape that is none", raw("\"hello\"", br#""\x41""#), NotJson, ""),
        case("a list", "[]", NotHar, ""),
        case("a number", "42", NotHar, ""),
        case("a text", "\"log\"", NotHar, ""),
        case("null", "null", NotHar, ""),
        case("an object", "{}", NotHar, ""),
        case("another format", r#"{"info": {"name": "x"}, "item": []}"#, NotHar, ""),
        case("a log that is null", r#"{"log": null}"#, NotHar, ""),
        case("a log that is a list", r#"{"log": []}"#, NotHar, ""),
        case("a log without entries", r#"{"log": {"version": "1.2", "pages": []}}"#, NotHar, ""),
        case("entries beside the log", r#"{"log": {}, "entries": []}"#, NotHar, ""),
        case("entries that are an object", r#"{"log": {"entries": {}}}"#, NotHar, ""),
        case("entries that are null", r#"{"log": {"entries": null}}"#, NotHar, ""),
        case("entries of another spelling", r#"{"log": {"Entries": []}}"#, NotHar, ""),
        case("lists in lists", b"[".repeat(100_000), NotJson, ""),
        case("lists in lists that end", [b"[".repeat(100_000), b"]".repeat(100_000)].concat(), NotHar, ""),
        case("UTF-16", utf16.clone(), OtherForm, ""),
        case("UTF-16 with a byte order mark", [b"\xff\xfe".to_vec(), utf16].concat(), OtherForm, ""),
        case("a ZIP archive", &b"PK\x03\x04\x14\x00"[..], OtherForm, ""),
        case("packed with gzip", gzip(&good), Taken(2, 0, 0), "<hello"),
        case("packed with gzip and cut", gzip(&good)[..100].to_vec(), OtherForm, ""),
        case("packed with zlib", zlib.finish().unwrap(), Taken(2, 0, 0), "<hello"),
        case("no entries", log_of(&[]), Taken(0, 0, 0), ""),
        case("no version, no creator", r#"{"log": {"entries": []}}"#, Taken(0, 0, 0), ""),
        case("entries twice", r#"{"log": {"entries": [], "entries": []}}"#, Taken(0, 0, 1), ""),
        case(
            "entries before all else",
            r#"{"log": {"entries": [], "version": "1.2"}, "more": [{}]}"#,
            Taken(0, 0, 0),
            "",
        ),
        case("pages that are none", r#"{"log": {"pages": [{"id": 1}], "entries": []}}"#, Taken(0, 0, 1), ""),
    ]
}

/// The first exchange of a session in one line.
fn shown(place: &Place, session: SessionId) -> String {
    let Some(exchange) = place.exchanges(Some(session)).into_iter().next() else { return String::new() };
    let body = |side| {
        let body = place.body(&exchange, side).filter(|body| !body.is_empty());
        body.map_or_else(|| "-".to_owned(), |body| String::from_utf8_lossy(&body).into_owned())
    };
    let summary = &exchange.summary;
    let state = if matches!(summary.state, ExchangeState::Failed(_)) { " failed" } else { "" };
    format!(
        "{} {} {} {} req[{}] res[{}] >{} <{}{state} messages[{}]",
        summary.method,
        summary.url,
        summary.http_version,
        summary.status.map_or_else(|| "none".to_owned(), |status| status.to_string()),
        exchange.request.headers.len(),
        exchange.response.as_ref().map_or(0, |head| head.headers.len()),
        body(BodySide::Request),
        body(BodySide::Response),
        summary.messages,
    )
}

fn options(strict: bool) -> ImportOptions {
    let mut options = ImportOptions::default();
    options.strict = strict;
    options
}

fn check(place: &Place, case: &Case) {
    let strict = read(&place.store, &case.file[..], &options(true));
    assert_eq!(strict.is_ok(), matches!(case.outcome, Taken(_, 0, 0)), "strict");
    if let Ok(summary) = strict {
        place.store.delete_session(summary.session.id).unwrap();
    }
    assert_eq!(place.store.sessions().unwrap(), []);
    let (outcome, session) = match read(&place.store, &case.file[..], &options(false)) {
        Ok(summary) => {
            assert_eq!(summary.imported + summary.skipped, summary.total_entries);
            let outcome = Taken(summary.imported, summary.skipped, summary.warning_count);
            (outcome, Some(summary.session.id))
        }
        Err(error) => match error.kind() {
            ErrorKind::NotJson { .. } => (NotJson, None),
            ErrorKind::NotHar { .. } => (NotHar, None),
            ErrorKind::Input => (OtherForm, None),
            other => panic!("{other:?}"),
        },
    };
    assert_eq!(outcome, case.outcome);
    let Some(session) = session else {
        assert_eq!(place.store.sessions().unwrap(), []);
        return;
    };
    let shown = shown(place, session);
    assert!(shown.contains(case.shows), "{shown}");
    let once = exported(place, session);
    let again = read(&place.store, &once[..], &options(true)).unwrap();
    assert_eq!((again.total_entries, again.warning_count), (again.imported, 0), "again");
    let twice = exported(place, again.session.id);
    assert_eq!(comparable(&once), comparable(&twice), "what was exported and imported exports as it was");
    for session in [session, again.session.id] {
        place.store.delete_session(session).unwrap();
    }
}

fn exported(place: &Place, session: SessionId) -> Vec<u8> {
    let mut query = Query::default();
    query.session = Some(session);
    let mut out = Vec::new();
    write(&place.store, &query, &mut out, &ExportOptions::default()).unwrap();
    assert_eq!(schema::problems(&serde_json::from_slice(&out).unwrap()), Vec::<String>::new());
    out
}

/// A file without what a new store gives anew.
fn comparable(file: &[u8]) -> Value {
    let mut file: Value = serde_json::from_slice(file).unwrap();
    for entry in file["log"]["entries"].as_array_mut().unwrap() {
        let ours = entry["_wirescope"].as_object_mut().unwrap();
        ours.remove("seq");
        for body in ["requestBody", "responseBody"] {
            ours[body].as_object_mut().unwrap().remove("storedBytes");
        }
    }
    file
}

#[test]
fn every_file_has_its_outcome() {
    let cases: Vec<_> = [of_tools(), bodies(), odd_entries(), broken_files()].into_iter().flatten().collect();
    assert!(cases.len() >= 126, "{} cases", cases.len());
    let mut place = Place::new();
    let mut failed = Vec::new();
    for case in &cases {
        if catch_unwind(AssertUnwindSafe(|| check(&place, case))).is_err() {
            failed.push(case.name);
            place = Place::new();
        }
    }
    assert_eq!(failed, Vec::<&str>::new());
}
