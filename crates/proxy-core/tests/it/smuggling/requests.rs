//! Requests whose end, or whose origin, two recipients could see differently.
#![expect(clippy::too_many_lines, reason = "tables are as long as they are")]

/// What must become of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Refused by this status before anything of it reached upstream.
    Refused(u16),
    /// Its head passed, its body turned out to be none: upstream never gets a whole message, and the client this.
    Broken(u16),
    /// Passed on with this body, and what follows it is a message of its own.
    Passed(&'static str),
    /// Passed on without a body; what follows it is no message, and is refused.
    PassedThenRefused,
    /// Its body is not whole when the client stops sending.
    Cut,
}

/// One request, with `{target}` and `{host}` to fill in. Characters up to U+00FF are one byte each.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) text: String,
    pub(super) verdict: Verdict,
}

use Verdict::{Broken, Cut, Passed, PassedThenRefused, Refused};

const START: &str = "POST {target} HTTP/1.1\r\nHost: {host}\r\n";

/// A chunked body of 15 bytes that is `hello` to who reads chunks.
const CHUNKS: &str = "5\r\nhello\r\n0\r\n\r\n";

fn case(text: impl Into<String>, verdict: Verdict) -> Case {
    Case { text: text.into(), verdict }
}

/// What tells that a body comes in chunks, or seems to.
#[derive(Clone, Copy)]
enum Coding {
    /// It does.
    Chunked,
    /// Some recipient takes it for that.
    Disguised,
    /// It is another field altogether.
    Unrelated,
}

/// Transfer codings in all the disguises there are, beside lengths in every place.
fn codings() -> Vec<Case> {
    use Coding::{Chunked, Disguised, Unrelated};
    let lines: &[(&str, Coding)] = &[
        ("Transfer-Encoding: chunked\r\n", Chunked),
        ("transfer-encoding: chunked\r\n", Chunked),
        ("TRANSFER-ENCODING: CHUNKED\r\n", Chunked),
        ("Transfer-Encoding:chunked\r\n", Chunked),
        ("Transfer-Encoding:\tchunked\r\n", Chunked),
        ("Transfer-Encoding:    chunked  \r\n", Chunked),
        ("Transfer-Encoding: ChUnKeD\t \r\n", Chunked),
        ("Transfer-Encoding : chunked\r\n", Disguised),
        ("Transfer-Encoding\t: chunked\r\n", Disguised),
        (" Transfer-Encoding: chunked\r\n", Disguised),
        ("\tTransfer-Encoding: chunked\r\n", Disguised),
        ("X: a\nTransfer-Encoding: chunked\r\n", Disguised),
        ("X: a\rTransfer-Encoding: chunked\r\n", Disguised),
        ("X: a\r\n Transfer-Encoding: chunked\r\n", Disguised),
        ("X: a\r\r\nTransfer-Encoding: chunked\r\n", Disguised),
        ("X: a\0\r\nTransfer-Encoding: chunked\r\n", Disguised),
        ("\nTransfer-Encoding: chunked\r\n", Disguised),
        ("Transfer-Encoding\r\n : chunked\r\n", Disguised),
        ("Transfer-Encoding\r\n: chunked\r\n", Disguised),
        ("Transfer-Encoding\n: chunked\r\n", Disguised),
        ("Transfer-Encoding:\r\n chunked\r\n", Disguised),
        ("Transfer-Encoding:\n chunked\r\n", Disguised),
        ("Transfer-Encoding: chunked\n", Disguised),
        ("Transfer-Encoding: chunked\r", Disguised),
        ("Transfer-Encoding: chunked\n\r\n", Disguised),
        ("Transfer-Encoding: chunked\0\r\n", Disguised),
        ("Transfer-Encoding: \0chunked\r\n", Disguised),
        ("Transfer-Encoding\0: chunked\r\n", Disguised),
        ("\0Transfer-Encoding: chunked\r\n", Disguised),
        ("Transfer-Encoding: \x0bchunked\r\n", Disguised),
        ("Transfer-Encoding: chunked\x0b\r\n", Disguised),
        ("Transfer-Encoding: \x0cchunked\r\n", Disguised),
        ("Transfer-Encoding: chunked\x1f\r\n", Disguised),
        ("Transfer-Encoding: chunked\x7f\r\n", Disguised),
        ("Transfer-Encoding: \u{a0}chunked\r\n", Disguised),
        ("Transfer-Encoding: \u{85}chunked\r\n", Disguised),
        ("Transfer-Encoding: \u{ff}chunked\r\n", Disguised),
        ("Transfer-Encoding: \u{feff}chunked\r\n", Disguised),
        ("Transfer-Encoding: chun\u{212A}ed\r\n", Disguised),
        ("Transfer-Encoding: chunKed\u{212A}\r\n", Disguised),
        ("Transfer-Encoding: chun ked\r\n", Disguised),
        ("Transfer-Encoding: c hunked\r\n", Disguised),
        ("Transfer-Encoding: xchunked\r\n", Disguised),
        ("Transfer-Encoding: chunkedx\r\n", Disguised),
        ("Transfer-Encoding: chunk\r\n", Disguised),
        ("Transfer-Encoding: \"chunked\"\r\n", Disguised),
        ("Transfer-Encoding: 'chunked'\r\n", Disguised),
        ("Transfer-Encoding: <chunked>\r\n", Disguised),
        ("Transfer-Encoding: chunked;\r\n", Disguised),
        ("Transfer-Encoding: chunked;q=1\r\n", Disguised),
        ("Transfer-Encoding: chunked;q=0\r\n", Disguised),
        ("Transfer-Encoding: chunked,\r\n", Disguised),
        ("Transfer-Encoding: ,chunked\r\n", Disguised),
        ("Transfer-Encoding: ,,\r\n", Disguised),
        ("Transfer-Encoding: ,\r\n", Disguised),
        ("Transfer-Encoding:\r\n", Disguised),
        ("Transfer-Encoding: \r\n", Disguised),
        ("Transfer-Encoding: chunked, chunked\r\n", Disguised),
        ("Transfer-Encoding: chunked,identity\r\n", Disguised),
        ("Transfer-Encoding: identity\r\n", Disguised),
        ("Transfer-Encoding: identity, chunked\r\n", Disguised),
        ("Transfer-Encoding: gzip, chunked\r\n", Disguised),
        ("Transfer-Encoding: chunked, gzip\r\n", Disguised),
        ("Transfer-Encoding: gzip\r\n", Disguised),
        ("Transfer-Encoding: cow\r\n", Disguised),
        ("Transfer-Encoding: cow, chunked\r\n", Disguised),
        ("Transfer-Encoding: chunked cow\r\n", Disguised),
        ("Transfer-Encoding: false\r\n", Disguised),
        ("Transfer-Encoding: null\r\n", Disguised),
        ("Transfer-Encoding: \\x63hunked\r\n", Disguised),
        ("Transfer-Encoding: =?utf-8?q?chunked?=\r\n", Disguised),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Disguised),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", Disguised),
        ("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n", Disguised),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n", Disguised),
        ("Transfer-Encoding: cow\r\ntransfer-encoding: chunked\r\n", Disguised),
        ("Transfer-Encoding:\r\nTransfer-Encoding: chunked\r\n", Disguised),
        ("Transfer-Encoding\u{a0}: chunked\r\n", Disguised),
        ("Transfer Encoding: chunked\r\n", Disguised),
        ("Transfer-Encoding; chunked\r\n", Disguised),
        ("Transfer-Encoding chunked\r\n", Disguised),
        ("Transfer-Encoding\r\n", Disguised),
        (": Transfer-Encoding: chunked\r\n", Disguised),
        ("(Transfer-Encoding): chunked\r\n", Disguised),
        ("\"Transfer-Encoding\": chunked\r\n", Disguised),
        ("Transf\u{e9}r-Encoding: chunked\r\n", Disguised),
        ("Trans\u{17f}er-Encoding: chunked\r\n", Disguised),
        ("Transfer_Encoding: chunked\r\n", Unrelated),
        ("X-Transfer-Encoding: chunked\r\n", Unrelated),
        ("Transfer-Encodin: chunked\r\n", Unrelated),
        ("Transfer-Encoding1: chunked\r\n", Unrelated),
        ("Content-Encoding: chunked\r\n", Unrelated),
        ("TE: chunked\r\n", Unrelated),
        ("X: \\r\\nTransfer-Encoding: chunked\r\n", Unrelated),
        ("X: %0d%0aTransfer-Encoding: chunked\r\n", Unrelated),
        ("X: \u{c4}\u{8d}\u{c4}\u{8a}Transfer-Encoding: chunked\r\n", Unrelated),
    ];
    let mut cases = Vec::new();
    for (line, coding) in lines {
        for (before, after) in [
            ("", ""),
            ("Content-Length: 15\r\n", ""),
            ("", "Content-Length: 15\r\n"),
            ("Content-Length: 4\r\n", ""),
            ("", "Content-Length: 0\r\n"),
        ] {
            let verdict = match (coding, before, after) {
                (Chunked, "", "") => Passed("hello"),
                (Chunked | Disguised, ..) => Refused(400),
                (Unrelated, "", "") => PassedThenRefused,
                (Unrelated, ..) if before.contains("15") || after.contains("15") => Passed(CHUNKS),
                // What is left of the body is no request.
                (Unrelated, ..) => continue,
            };
            // A line that is not ended eats the next one: then it is the next one that is odd.
            if line.ends_with('\r') && !line.ends_with("\r\n") && after.is_empty() {
                cases.push(case(format!("{START}{before}{line}\r\n{CHUNKS}"), Refused(400)));
                continue;
            }
            cases.push(case(format!("{START}{before}{line}{after}\r\n{CHUNKS}"), verdict));
        }
        if !matches!(coding, Unrelated) {
            let old = START.replace("HTTP/1.1", "HTTP/1.0");
            cases.push(case(format!("{old}{line}\r\n{CHUNKS}"), Refused(400)));
        }
    }
    cases
}

/// Lengths that are none, or that are more than one.
fn lengths() -> Vec<Case> {
    let bad = [
        "",
        " ",
        ",",
        "+5",
        "-5",
        "-0",
        "5-",
        "5+",
        "0x5",
        "0X5",
        "5h",
        "5.0",
        "5.",
        ".5",
        "5e0",
        "5 5",
        "5,5",
        "5, 5",
        "5,6",
        "5,",
        ",5",
        "5;5",
        "5;q=1",
        "\"5\"",
        "'5'",
        "(5)",
        "5\x0b",
        "\x0b5",
        "5\x0c",
        "\x0c5",
        "5\0",
        "\x005",
        "5\x7f",
        "\u{a0}5",
        "5\u{a0}",
        "\u{0665}",
        "\u{ff15}",
        "\u{b2}",
        "\u{2075}",
        "\u{feff}5",
        "5\u{200b}",
        "NaN",
        "Infinity",
        "foo",
        "five",
        "true",
        "null",
        "18446744073709551616",
        "18446744073709551621",
        "99999999999999999999999",
        "5_0",
        "5'0",
        "5 ;",
        "5\\r",
        "%35",
        "&#53;",
        "5/1",
        "5*1",
        "5\r",
        "5\n",
        "\r5",
        "\n5",
        "5\r\n 0",
        "5\r\n\t0",
        "\r\n 5",
    ];
    let mut cases = Vec::new();
    for value in bad {
        let line = format!("Content-Length: {value}\r\n");
        cases.push(case(format!("{START}{line}\r\nhello"), Refused(400)));
        cases.push(case(format!("{START}Content-Length: 5\r\n{line}\r\nhello"), Refused(400)));
        cases.push(case(format!("{START}{line}Content-Length: 5\r\n\r\nhello"), Refused(400)));
    }
    for (lines, verdict) in [
        ("Content-Length: 5\r\n", Passed("hello")),
        ("content-length:5\r\n", Passed("hello")),
        ("Content-Length:\t 5 \t\r\n", Passed("hello")),
        ("Content-Length: 05\r\n", Passed("hello")),
        ("Content-Length: 0000000000000000000000005\r\n", Passed("hello")),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", Refused(400)),
        ("Content-Length: 5\r\ncontent-length: 5\r\n", Refused(400)),
        ("Content-Length: 5\r\nContent-Length: 05\r\n", Refused(400)),
        ("Content-Length: 5\r\nContent-Length: 0\r\n", Refused(400)),
        ("Content-Length: 0\r\nContent-Length: 5\r\n", Refused(400)),
        ("Content-Length: 0\r\nContent-Length: 0\r\n", Refused(400)),
        ("Content-Length: 5\r\nContent-Length:\r\n", Refused(400)),
        ("Content-Length : 5\r\n", Refused(400)),
        (" Content-Length: 5\r\n", Refused(400)),
        ("Content-Length\0: 5\r\n", Refused(400)),
        ("Content Length: 5\r\n", Refused(400)),
        ("X: a\nContent-Length: 5\r\n", Refused(400)),
        ("X: a\rContent-Length: 5\r\n", Refused(400)),
        ("X: a\r\n Content-Length: 5\r\n", Refused(400)),
        ("Content-Length: 500\r\n", Cut),
        ("Content-Length: 18446744073709551615\r\n", Cut),
        ("Content-Length: 4294967301\r\n", Cut),
    ] {
        cases.push(case(format!("{START}{lines}\r\nhello"), verdict));
    }
    // Lengths of nothing: what follows begins a message, and is none.
    for line in ["Content_Length: 5", "X-Content-Length: 5", "Content-Length: 0", "Content-Length: 00"] {
        cases.push(case(format!("{START}{line}\r\n\r\nhello\r\n"), PassedThenRefused));
    }
    // Eight is ten to a recipient that takes a leading zero for octal.
    cases.push(case(format!("{START}Content-Length: 010\r\n\r\nhellohello"), Passed("hellohello")));
    cases
}

/// Chunked bodies that are none.
fn chunks() -> Vec<Case> {
    let start = format!("{START}Transfer-Encoding: chunked\r\n\r\n");
    let broken = [
        "05;\0\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "0X5\r\nhello\r\n0\r\n\r\n",
        "5h\r\nhello\r\n0\r\n\r\n",
        "h5\r\nhello\r\n0\r\n\r\n",
        "5.0\r\nhello\r\n0\r\n\r\n",
        "5,5\r\nhello\r\n0\r\n\r\n",
        "5 5\r\nhello\r\n0\r\n\r\n",
        "5_0\r\nhello\r\n0\r\n\r\n",
        "\"5\"\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "\t5\r\nhello\r\n0\r\n\r\n",
        "\x0b5\r\nhello\r\n0\r\n\r\n",
        "5\x0b\r\nhello\r\n0\r\n\r\n",
        "5\x0c\r\nhello\r\n0\r\n\r\n",
        "5\0\r\nhello\r\n0\r\n\r\n",
        "\x005\r\nhello\r\n0\r\n\r\n",
        "5\u{a0}\r\nhello\r\n0\r\n\r\n",
        "\u{0665}\r\nhello\r\n0\r\n\r\n",
        "\u{ff15}\r\nhello\r\n0\r\n\r\n",
        "\r\n5\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        ";5\r\nhello\r\n0\r\n\r\n",
        "g\r\nhello\r\n0\r\n\r\n",
        "five\r\nhello\r\n0\r\n\r\n",
        "-0\r\n\r\n",
        "+0\r\n\r\n",
        "0x0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "00000000000000005\r\nhello\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
        "5\r\rhello\r\n0\r\n\r\n",
        "5\n\rhello\r\n0\r\n\r\n",
        "5;a\nhello\r\n0\r\n\r\n",
        "5;a\rb\r\nhello\r\n0\r\n\r\n",
        "5;a\x0bb\r\nhello\r\n0\r\n\r\n",
        "5;\r\r\nhello\r\n0\r\n\r\n",
        "5;a=\"\r\n\"\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello\r0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello!\r\n0\r\n\r\n",
        "5\r\nhelloXX0\r\n\r\n",
        "4\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\n\r\n",
        "5\r\nhello\r\n0\r\n\n",
        "5\r\nhello\r\n0\n\n",
        "5\r\nhello\r\n0\r\r\n",
        "5\r\nhello\r\n0\r\nA\r\n\r\n",
        "5\r\nhello\r\n0\r\nA : 1\r\n\r\n",
        "5\r\nhello\r\n0\r\n A: 1\r\n\r\n",
        "5\r\nhello\r\n0\r\nA: 1\r\n 2\r\n\r\n",
        "5\r\nhello\r\n0\r\nA: 1\n\r\n",
        "5\r\nhello\r\n0\r\nA: \0\r\n\r\n",
        "5\r\nhello\r\n0\r\nA: 1\r2\r\n\r\n",
        "5\r\nhello\r\n0\r\n: 1\r\n\r\n",
        "5\r\nhello\r\n0\r\nContent-Length: 0\r\n\r\n",
        "5\r\nhello\r\n0\r\ncontent-length: 44\r\n\r\n",
        "5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "5\r\nhello\r\n0\r\nGET /smuggled HTTP/1.1\r\n\r\n",
        "5\r\nhello\r\n0\r\nX\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n",
    ];
    let mut cases: Vec<Case> =
        broken.iter().map(|body| case(format!("{start}{body}"), Broken(400))).collect();
    for body in [
        "5\r\nhello\r\n0\r\n\r\n",
        "05\r\nhello\r\n0\r\n\r\n",
        "0000000000000005\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "5\t\r\nhello\r\n0 \r\n\r\n",
        "5;a\r\nhello\r\n0;b\r\n\r\n",
        "5;a=b\r\nhello\r\n0\r\n\r\n",
        "5;a=\"b\"\r\nhello\r\n0\r\n\r\n",
        "5 ; a = b\r\nhello\r\n0\r\n\r\n",
        "5;\r\nhello\r\n0\r\n\r\n",
        "5;;\r\nhello\r\n0\r\n\r\n",
        "5;\u{e9}\r\nhello\r\n0\r\n\r\n",
        "5;0\r\nhello\r\n0;5\r\n\r\n",
        "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        "5\r\nhello\r\n00000\r\n\r\n",
        "5\r\nhello\r\n0\r\nA: 1\r\n\r\n",
        "5\r\nhello\r\n0\r\nHost: other\r\n\r\n",
        "5\r\nhello\r\n0\r\nX-Sum: \u{e9}\r\nx-sum: 2\r\n\r\n",
    ] {
        cases.push(case(format!("{start}{body}"), Passed("hello")));
    }
    let inner = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
    let hidden = format!("{start}{:x}\r\n{inner}\r\n0\r\n\r\n", inner.len());
    cases.push(case(hidden, Passed("GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")));
    let long = "x".repeat(5_000);
    cases.push(case(format!("{start}5;{long}\r\nhello\r\n0\r\n\r\n"), Broken(431)));
    cases.push(case(
        format!("{start}{}0\r\n\r\n", format!("1;{}\r\nx\r\n", "x".repeat(3_000)).repeat(7)),
        Broken(431),
    ));
    cases.push(case(format!("{start}0\r\nA: {}\r\n\r\n", "x".repeat(9_000)), Broken(431)));
    cases.push(case(format!("{start}0\r\n{}\r\n", "A: 1\r\n".repeat(1_400)), Broken(431)));
    cases
}

/// Heads that are cut into lines, or lines into fields, in more than one way.
fn heads() -> Vec<Case> {
    let mut cases = Vec::new();
    for rest in [
        "X: a\nY: b\r\n\r\n",
        "X: a\rY: b\r\n\r\n",
        "X: a\r\r\n\r\n",
        "X: a\n\n",
        "X: a\r\n\n",
        "X: a\n\r\n",
        "X: a\r\rGET / HTTP/1.1\r\n\r\n",
        "X: a\0b\r\n\r\n",
        "X\0: a\r\n\r\n",
        "X : a\r\n\r\n",
        "X\t: a\r\n\r\n",
        " X: a\r\n\r\n",
        "\tX: a\r\n\r\n",
        "X: a\r\n b\r\n\r\n",
        "X: a\r\n\tb\r\n\r\n",
        "X: a\r\n \r\n\r\n",
        "X: a\r\n \r\nY: b\r\n\r\n",
        "X\r\n\r\n",
        "X a\r\n\r\n",
        ": a\r\n\r\n",
        ":\r\n\r\n",
        "X\x0b: a\r\n\r\n",
        "X\x7f: a\r\n\r\n",
        "X\u{e9}: a\r\n\r\n",
        "X(a): b\r\n\r\n",
        "X,Y: a\r\n\r\n",
        "X/Y: a\r\n\r\n",
        "X[0]: a\r\n\r\n",
        "{X}: a\r\n\r\n",
        "X@: a\r\n\r\n",
        "X;a=b: c\r\n\r\n",
        "X=: a\r\n\r\n",
        "\"X\": a\r\n\r\n",
        "X\\: a\r\n\r\n",
        "GET /smuggled HTTP/1.1\r\n\r\n",
        "X: a\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n",
    ] {
        cases.push(case(format!("{START}{rest}"), Refused(400)));
    }
    for rest in [
        "X:\r\n\r\n",
        "X: \r\n\r\n",
        "X: a:b\r\n\r\n",
        "X: \x0b\r\n\r\n",
        "X: \x01\x1f\x7f\r\n\r\n",
        "X: \u{80}\u{ff}\r\n\r\n",
        "!#$%&'*+-.^_`|~: a\r\n\r\n",
        "X: %0d%0aGET%20/smuggled\r\n\r\n",
        "X: \u{560d}\u{560a}Y: b\r\n\r\n",
        "X: \u{010d}\u{010a}Y: b\r\n\r\n",
        "X: \u{2028}Y: b\r\n\r\n",
        "X: \u{85}Y: b\r\n\r\n",
        "Connection: X\r\nX: a\r\n\r\n",
        "Connection: keep-alive, Host\r\n\r\n",
        "Connection: Cookie, Authorization\r\nCookie: a\r\n\r\n",
        "Keep-Alive: timeout=5\r\nProxy-Connection: close\r\n\r\n",
        "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
        "TE: trailers\r\nConnection: TE\r\n\r\n",
        "Trailer: Content-Length\r\n\r\n",
    ] {
        cases.push(case(format!("{START}{rest}"), Passed("")));
    }
    for rest in [
        "Connection: Content-Length\r\nContent-Length: 5\r\n\r\nhello",
        "Connection: keep-alive, content-length\r\nContent-Length: 5\r\n\r\nhello",
        "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "Connection: transfer-encoding, te\r\nTE: chunked\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "Connection: Host, Expect\r\nContent-Length: 5\r\n\r\nhello",
        "Proxy-Connection: Content-Length\r\nContent-Length: 5\r\n\r\nhello",
        "Keep-Alive: Content-Length\r\nContent-Length: 5\r\n\r\nhello",
    ] {
        cases.push(case(format!("{START}{rest}"), Passed("hello")));
    }
    cases.push(case(format!("{START}X: {}\r\n\r\n", "x".repeat(9_000)), Refused(431)));
    cases.push(case(format!("{START}{}\r\n", "A: 1\r\n".repeat(1_100)), Refused(431)));
    cases.push(case(format!("{START}{}\r\n", "x".repeat(9_000)), Refused(431)));
    cases
}

/// Start lines that say more than one thing. Only where the request names its origin: in a tunnel such bytes are no
/// HTTP, and are relayed as what they are.
pub(super) fn start_lines() -> Vec<Case> {
    let mut cases = Vec::new();
    for line in [
        "GET  {target} HTTP/1.1",
        "GET {target}  HTTP/1.1",
        " GET {target} HTTP/1.1",
        "\tGET {target} HTTP/1.1",
        "GET\t{target} HTTP/1.1",
        "GET {target}\tHTTP/1.1",
        "GET {target} HTTP/1.1 ",
        "GET {target} HTTP/1.1\t",
        "GET {target} HTTP/1.1\0",
        "GET\0 {target} HTTP/1.1",
        "GET {target}\0 HTTP/1.1",
        "GET {target}\r HTTP/1.1",
        "GET {target} HTTP/1.1\r",
        "GET {target}\x0b HTTP/1.1",
        "GET\x0b{target} HTTP/1.1",
        "GET {target}\x7f HTTP/1.1",
        "GET {target} x HTTP/1.1",
        "GET {target}",
        "GET",
        "{target}",
        "{target} HTTP/1.1",
        "GET {target} HTTP",
        "GET {target} HTTP/",
        "GET {target} HTTP/1",
        "GET {target} HTTP/1.",
        "GET {target} HTTP/1.1.1",
        "GET {target} HTTP/11",
        "GET {target} HTTP/1.10",
        "GET {target} HTTP/01.1",
        "GET {target} HTTP/+1.1",
        "GET {target} HTTP/ 1.1",
        "GET {target} HTTP /1.1",
        "GET {target} http/1.1",
        "GET {target} Http/1.1",
        "GET {target} HTTPS/1.1",
        "GET {target} HTCPCP/1.0",
        "GET {target} 1.1",
        "G(T {target} HTTP/1.1",
        "G\u{e9}T {target} HTTP/1.1",
        "GET: {target} HTTP/1.1",
        "GET, {target} HTTP/1.1",
        "GET {target} HTTP/1.1 GET /smuggled HTTP/1.1",
        "GET {target} HTTP/1,1",
        "GET {target} HTTP/x.y",
        "GET  HTTP/1.1",
        "GET * HTTP/1.1",
        "GET relative HTTP/1.1",
        "GET ftp://{host}/ HTTP/1.1",
        "GET http:/{host}/ HTTP/1.1",
        "GET http://{host} /x HTTP/1.1",
        "GET http:// HTTP/1.1",
        "GET http:///x HTTP/1.1",
        "GET http://:80/ HTTP/1.1",
        "GET http://@/ HTTP/1.1",
        "GET http://{host}:80:80/ HTTP/1.1",
        "GET http://a b/ HTTP/1.1",
        "GET http://{host}:/ x HTTP/1.1",
        "GET http://[::1/ HTTP/1.1",
        "GET http://{host}:99999999/ HTTP/1.1",
        "GET http://a%00b/ HTTP/1.1",
        "GET http://a\\@{host}/ HTTP/1.1",
        "GET http://a,b/ HTTP/1.1",
        "CONNECT {target} HTTP/1.1",
        "CONNECT localhost HTTP/1.1",
        "CONNECT localhost: HTTP/1.1",
        "CONNECT localhost:0 HTTP/1.1",
        "CONNECT localhost:x HTTP/1.1",
        "CONNECT a:1:2 HTTP/1.1",
        "CONNECT / HTTP/1.1",
        "CONNECT user@localhost:1 HTTP/1.1",
    ] {
        cases.push(case(format!("{line}\r\nHost: {{host}}\r\n\r\n"), Refused(400)));
    }
    for version in ["HTTP/2.0", "HTTP/0.9", "HTTP/1.2", "HTTP/9.9", "HTTP/3.0"] {
        cases.push(case(format!("GET {{target}} {version}\r\nHost: {{host}}\r\n\r\n"), Refused(505)));
    }
    cases.push(case(
        format!("GET {{target}}{} HTTP/1.1\r\nHost: {{host}}\r\n\r\n", "x".repeat(9_000)),
        Refused(414),
    ));
    cases.push(case("GET {target} HTTP/1.1\nHost: {host}\r\n\r\n", Refused(400)));
    cases.push(case("GET {target} HTTP/1.1\rHost: {host}\r\n\r\n", Refused(400)));
    cases.push(case("\r\n\r\n\r\n\r\n\r\n\r\nGET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n", Refused(400)));
    cases.push(case("\r\nGET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n", Passed("")));
    cases.push(case("\r\n\r\nGET {target}?a=\"<>{}|^`\\ HTTP/1.1\r\nHost: {host}\r\n\r\n", Passed("")));
    cases.push(case("GET {target}?\u{c3}\u{a9} HTTP/1.1\r\nHost: {host}\r\n\r\n", Passed("")));
    cases.push(case("GET {target}?%0d%0aHost:%20evil HTTP/1.1\r\nHost: {host}\r\n\r\n", Passed("")));
    cases.push(case("GET {target}#fragment HTTP/1.1\r\nHost: {host}\r\n\r\n", Passed("")));
    cases.push(case("GET {target} HTTP/1.1\r\nHost: evil.example\r\n\r\n", Passed("")));
    cases.push(case("GET {target} HTTP/1.1\r\n\r\n", Passed("")));
    cases
}

/// Requests that name more than one origin, or none.
fn hosts() -> Vec<Case> {
    let mut cases = Vec::new();
    for hosts in [
        "Host: {host}\r\nHost: {host}\r\n",
        "Host: {host}\r\nHost: evil\r\n",
        "Host: evil\r\nhost: {host}\r\n",
        "Host: a, b\r\n",
        "Host: a b\r\n",
        "Host: a/b\r\n",
        "Host: user@{host}\r\n",
        "Host: {host}/\r\n",
        "Host: http://{host}\r\n",
        "Host: {host}\r\n evil\r\n",
        "Host : {host}\r\n",
        " Host: {host}\r\n",
        "Host: \0\r\n",
        "Host: {host}#\r\n",
        "Host: {host}?\r\n",
        "Host: a\\b\r\n",
        "Host: [::1\r\n",
        "Host: a:b\r\n",
        "Host: a:70000\r\n",
        "Host: \u{e9}\r\n",
        "Host: {host}\x0b\r\n",
        "Host: {host}\t evil\r\n",
        "Host: <a>\r\n",
        "Host: %6c\r\n",
        "X: a\nHost: {host}\r\n",
    ] {
        cases.push(case(
            format!("POST {{target}} HTTP/1.1\r\n{hosts}Content-Length: 0\r\n\r\n"),
            Refused(400),
        ));
    }
    cases
}

/// All of them that hold both for a proxy and inside a tunnel.
pub(super) fn cases() -> Vec<Case> {
    [codings(), lengths(), chunks(), heads(), hosts()].concat()
}
