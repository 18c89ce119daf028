//! Responses whose end two recipients could see differently.
#![expect(clippy::too_many_lines, reason = "tables are as long as they are")]

/// What must become of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It reaches the client with this status and body, and the next exchange is its own.
    Passed(u16, &'static str),
    /// It reaches the client with this status and body, and ends its connection.
    Closed(u16, &'static str),
    /// The client gets a 502 instead.
    BadGateway,
    /// The client sees that it is not whole.
    Cut,
}

/// One response to a method.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) method: &'static str,
    pub(super) text: String,
    /// Whether the connection ends behind it.
    pub(super) closes: bool,
    pub(super) verdict: Verdict,
}

use Verdict::{BadGateway, Closed, Cut, Passed};

const POISON: &str = "HTTP/1.1 200 Poison\r\nContent-Length: 6\r\n\r\nPOISON";

fn get(text: impl Into<String>, verdict: Verdict) -> Case {
    Case { method: "GET", text: text.into(), closes: matches!(verdict, Closed(..) | Cut), verdict }
}

/// Framing fields in all the disguises there are.
fn framing() -> Vec<Case> {
    let mut cases = Vec::new();
    for value in [
        "",
        " ",
        ",",
        "+5",
        "-5",
        "0x5",
        "5h",
        "5.0",
        "5e0",
        "5 5",
        "5, 6",
        "5,",
        ",5",
        "5;5",
        "\"5\"",
        "5\x0b",
        "\x0b5",
        "5\0",
        "5\u{a0}",
        "\u{0665}",
        "\u{ff15}",
        "NaN",
        "foo",
        "18446744073709551616",
        "99999999999999999999999",
        "5_0",
        "\r5",
        "5, 0x5",
        "5\r\n 0",
    ] {
        cases.push(get(
            format!("HTTP/1.1 200 OK\r\nContent-Length: {value}\r\n\r\nhello{POISON}"),
            BadGateway,
        ));
    }
    for line in [
        "Transfer-Encoding: chunked\0",
        "Transfer-Encoding: \x0bchunked",
        "Transfer-Encoding: chunked\x0b",
        "Transfer-Encoding: \u{a0}chunked",
        "Transfer-Encoding: chun\u{212A}ed",
        "Transfer-Encoding: chun ked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: chunked,",
        "Transfer-Encoding: ,chunked",
        "Transfer-Encoding:",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, gzip",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: cow",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        "X: a\rTransfer-Encoding: chunked",
        "X: a\0\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding\0: chunked",
        "Transfer Encoding: chunked",
        "Transfer-Encoding chunked",
        "Transfer-Encoding",
        " Transfer-Encoding: chunked",
        "Transf\u{e9}r-Encoding: chunked",
        "Transfer-Encoding\x0b: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Content-Length: 0\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: cow\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 6\r\nContent-Length: 5",
        "Content-Length: 5\r\ncontent-length: 0",
        "Content-Length: 5\r\nContent-Length:",
        "Content Length: 5",
        "Content-Length\0: 5",
        "X: a\rContent-Length: 5",
        ": a",
        "X",
        "X(y): a",
        "X: a\0b",
        "X: a\rb",
    ] {
        cases.push(get(
            format!("HTTP/1.1 200 OK\r\n{line}\r\n\r\n5\r\nhello\r\n0\r\n\r\n{POISON}"),
            BadGateway,
        ));
    }
    cases.push(get(
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        BadGateway,
    ));
    for fields in [
        "Content-Length: 5\r\n",
        "Content-Length: 05\r\n",
        "content-length:5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5 ,5,\t5\r\n",
        "Content-Length : 5\r\n",
        "Content-Length\t: 5\r\n",
        "X : a\r\nContent-Length: 5\r\n",
        "X: a\nContent-Length: 5\r\n",
        "Content-Length: 5\n",
        "X: a\r\n b\r\n\tc\r\nContent-Length: 5\r\n",
        "Connection: Content-Length\r\nContent-Length: 5\r\n",
        "Connection: close, transfer-encoding\r\nContent-Length: 5\r\n",
        "TE: chunked\r\nContent-Length: 5\r\n",
    ] {
        cases.push(get(format!("HTTP/1.1 200 OK\r\n{fields}\r\nhello"), Passed(200, "hello")));
        cases.push(get(format!("HTTP/1.1 200 OK\r\n{fields}\r\nhello{POISON}"), Passed(200, "hello")));
    }
    for line in [
        "Transfer-Encoding: chunked",
        "transfer-encoding:\tCHUNKED ",
        "Transfer-Encoding : chunked",
        "Connection: transfer-encoding\r\nTransfer-Encoding: chunked",
    ] {
        let text = format!("HTTP/1.1 200 OK\r\n{line}\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
        cases.push(get(&text, Passed(200, "hello")));
        cases.push(get(format!("{text}{POISON}"), Passed(200, "hello")));
    }
    cases
}

/// Chunked bodies that are none, and bodies that are not whole.
fn bodies() -> Vec<Case> {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut cases = Vec::new();
    for body in [
        "+5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5h\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhelloXX0\r\n\r\n",
        "4\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\n\n",
        "5;a\rb\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n",
        "5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "5\r\nhello\r\n0\r\nA : 1\r\n\r\n",
        "5\r\nhello\r\n0\r\nA: 1\r2\r\n\r\n",
        "5\r\nhello\r\n0\r\nHTTP/1.1 200 Poison\r\n\r\n",
        "5\r\nhel",
        "5\r\nhello",
        "5\r\nhello\r\n",
        "5\r\nhello\r\n0\r\n",
        "5\r\nhello\r\n0\r\nA: 1\r\n",
        "",
        "g\r\n",
    ] {
        cases.push(get(format!("{chunked}{body}"), Cut));
    }
    for body in [
        "5;a=b\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nA: 1\r\n\r\n",
        "5\r\nhello\r\n000\r\n\r\n",
    ] {
        cases.push(get(format!("{chunked}{body}"), Passed(200, "hello")));
        cases.push(get(format!("{chunked}{body}{POISON}"), Passed(200, "hello")));
    }
    cases.push(get("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello", Cut));
    cases.push(get("HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\nhello", Cut));
    cases.push(get("HTTP/1.1 200 OK\r\n\r\nhello", Closed(200, "hello")));
    cases.push(get("HTTP/1.0 200 OK\r\n\r\nhello", Closed(200, "hello")));
    cases.push(get("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", Passed(200, "hello")));
    cases.push(get("HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\nhello", Closed(200, "hello")));
    cases.push(get("HTTP/1.1 200 OK\r\nTransfer_Encoding: chunked\r\n\r\nhello", Closed(200, "hello")));
    cases
}

/// Status lines that say more than one thing.
fn status_lines() -> Vec<Case> {
    let mut cases = Vec::new();
    for line in [
        "HTTP/1.1",
        "HTTP/1.1 ",
        "HTTP/1.1 20",
        "HTTP/1.1 2000 OK",
        "HTTP/1.1 2OO OK",
        "HTTP/1.1 -20 OK",
        "HTTP/1.1 +200 OK",
        "HTTP/1.1  200 OK",
        "HTTP/1.1\t200 OK",
        " HTTP/1.1 200 OK",
        "HTTP/1.1 099 Low",
        "HTTP/1.1 000 None",
        "HTTP/1.1 200\0 OK",
        "HTTP/1.1 200 O\0K",
        "HTTP/1.1 200 O\rK",
        "http/1.1 200 OK",
        "HTTP/2.0 200 OK",
        "HTTP/0.9 200 OK",
        "HTTP/1.2 200 OK",
        "HTTP/1 200 OK",
        "HTTP/11 200 OK",
        "HTTPS/1.1 200 OK",
        "ICY 200 OK",
        "200 OK",
        "nonsense",
        "GET / HTTP/1.1",
        "\0",
        "\u{ff}\u{fe}",
        "HTTP/1.1,200 OK",
        "HTTP/1.1 101 Switching Protocols",
    ] {
        cases.push(get(format!("{line}\r\nContent-Length: 5\r\n\r\nhello{POISON}"), BadGateway));
    }
    for (line, status) in [
        ("HTTP/1.1 200", 200),
        ("HTTP/1.1 200 ", 200),
        ("HTTP/1.1 200  two  words ", 200),
        ("HTTP/1.1 200 \u{e9}", 200),
        ("HTTP/1.1 299 Odd", 299),
        ("HTTP/1.1 599 High", 599),
        ("HTTP/1.1 999 Higher", 999),
        ("HTTP/1.0 404 Gone", 404),
        ("\r\nHTTP/1.1 200 OK", 200),
        ("HTTP/1.1 205 Reset Content", 205),
    ] {
        cases.push(get(format!("{line}\r\nContent-Length: 5\r\n\r\nhello{POISON}"), Passed(status, "hello")));
    }
    cases
}

/// Responses that have no body, whatever they say.
fn bodiless() -> Vec<Case> {
    let mut cases = Vec::new();
    for status in [204, 304] {
        for fields in ["", "Content-Length: 5\r\n", "Content-Length: 0\r\n", "Transfer-Encoding: chunked\r\n"]
        {
            cases.push(get(format!("HTTP/1.1 {status} Empty\r\n{fields}\r\n"), Passed(status, "")));
            cases.push(get(format!("HTTP/1.1 {status} Empty\r\n{fields}\r\n{POISON}"), Passed(status, "")));
        }
    }
    for fields in ["", "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"] {
        for body in ["", POISON, "hello", "5\r\nhello\r\n0\r\n\r\n"] {
            let text = format!("HTTP/1.1 200 OK\r\n{fields}\r\n{body}");
            cases.push(Case { method: "HEAD", text, closes: false, verdict: Passed(200, "") });
        }
    }
    for interim in [
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
        "HTTP/1.1 102\r\n\r\n",
        "HTTP/1.1 199 Odd\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 150 Odd\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        let whole = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        cases.push(get(format!("{interim}{whole}"), Passed(200, "hello")));
        cases.push(get(format!("{interim}{interim}{whole}{POISON}"), Passed(200, "hello")));
        cases.push(Case { closes: true, ..get(interim, BadGateway) });
    }
    let long = "x".repeat(9_000);
    cases.push(get(format!("HTTP/1.1 200 OK\r\nX: {long}\r\n\r\n"), BadGateway));
    cases.push(get(format!("HTTP/1.1 200 {long}\r\n\r\n"), BadGateway));
    cases.push(get(format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: 1\r\n".repeat(1_100)), BadGateway));
    cases.push(Case { closes: true, ..get("HTTP/1.1 200 OK\r\nContent-Le", BadGateway) });
    cases.push(Case { closes: true, ..get("HTTP", BadGateway) });
    cases
}

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    [framing(), bodies(), status_lines(), bodiless()].concat()
}
