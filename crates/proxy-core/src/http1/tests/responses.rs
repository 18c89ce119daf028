//! Response heads: origins differ, so more is taken than from clients, but nothing ambiguous.

use http::Version;

use super::*;

#[test]
fn status_lines_keep_version_code_and_the_exact_reason() {
    for (line, version, status, reason) in [
        ("HTTP/1.1 200 OK", Version::HTTP_11, 200, "OK"),
        ("HTTP/1.1 200 ", Version::HTTP_11, 200, ""),
        ("HTTP/1.1 200", Version::HTTP_11, 200, ""),
        ("HTTP/1.0 404 Not  Found ", Version::HTTP_10, 404, "Not  Found "),
        ("HTTP/1.1 200  two spaces", Version::HTTP_11, 200, " two spaces"),
        ("HTTP/1.1 999 Request denied", Version::HTTP_11, 999, "Request denied"),
        ("HTTP/1.1 100 Continue", Version::HTTP_11, 100, "Continue"),
        ("HTTP/1.1 103 Early Hints", Version::HTTP_11, 103, "Early Hints"),
        ("HTTP/1.1 101 Switching", Version::HTTP_11, 101, "Switching"),
        ("HTTP/1.1 200 D\u{e9}j\u{e0} vu", Version::HTTP_11, 200, "D\u{e9}j\u{e0} vu"),
    ] {
        let head = response(format!("{line}\r\nA: 1\r\n\r\n")).expect(line);
        let reason_seen = String::from_utf8(head.reason.unwrap().to_vec()).unwrap();
        assert_eq!((head.version, head.status.as_u16(), reason_seen.as_str()), (version, status, reason));
    }
    let latin = response(b"HTTP/1.1 200 D\xe9j\xe0\r\n\r\n").unwrap();
    assert_eq!(latin.reason.unwrap(), &b"D\xe9j\xe0"[..]);
}

#[test]
fn bare_line_feeds_end_lines_of_responses() {
    for text in [
        "HTTP/1.1 200 OK\nA: 1\nB: 2\n\n",
        "HTTP/1.1 200 OK\r\nA: 1\nB: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: 1\r\nB: 2\r\n\n",
        "\n\r\nHTTP/1.1 200 OK\r\nA: 1\r\nB: 2\n\r\n",
    ] {
        let head = response(text).expect(text);
        assert_eq!(shown(&head.headers), ["A: 1", "B: 2"], "{text:?}");
        assert_eq!(head.reason.unwrap(), "OK");
    }
}

#[test]
fn folded_values_of_responses_become_one_line() {
    for (fields, seen) in [
        ("A: 1\r\n 2\r\nB: 3\r\n", ["A: 1 2", "B: 3"]),
        ("A: 1 \r\n\t 2 \r\n  3\r\nB: 3\r\n", ["A: 1 2 3", "B: 3"]),
        ("A:\r\n 2\r\nB: 3\r\n", ["A:  2", "B: 3"]),
        ("A: 1\r\n  \r\nB: 3\r\n", ["A: 1", "B: 3"]),
        ("A: 1\n 2\nB: 3\n", ["A: 1 2", "B: 3"]),
    ] {
        let head = response(format!("HTTP/1.1 200 OK\r\n{fields}\r\n")).expect(fields);
        assert_eq!(shown(&head.headers), seen, "{fields:?}");
    }
}

#[test]
fn whitespace_before_the_colon_of_a_response_goes() {
    let head = response("HTTP/1.1 200 OK\r\nA : 1\r\nContent-Length\t: 5\r\n\r\n").unwrap();
    assert_eq!(shown(&head.headers), ["A: 1", "Content-Length: 5"]);
}

#[test]
fn malformed_heads_are_refused() {
    let status = "status code is not three digits from 100";
    let version = "HTTP version is malformed";
    for (text, what) in [
        ("HTTP/1.1\r\n\r\n", "status line has no spaces"),
        ("HTTP/1.1  200 OK\r\n\r\n", status),
        ("HTTP/1.1 20 OK\r\n\r\n", status),
        ("HTTP/1.1 2000 OK\r\n\r\n", status),
        ("HTTP/1.1 099 OK\r\n\r\n", status),
        ("HTTP/1.1 +20 OK\r\n\r\n", status),
        ("HTTP/1.1 2x0 OK\r\n\r\n", status),
        ("HTTP/1.1 200\tOK\r\n\r\n", status),
        ("HTTP/1.1 OK\r\n\r\n", status),
        ("HTTP 200 OK\r\n\r\n", version),
        ("http/1.1 200 OK\r\n\r\n", version),
        ("ICY 200 OK\r\n\r\n", version),
        (" HTTP/1.1 200 OK\r\n\r\n", version),
        ("SSH-2.0-OpenSSH 9\r\n\r\n", version),
        ("<html> <body>\r\n\r\n", version),
        ("HTTP/2.0 200 OK\r\n\r\n", "HTTP version is neither 1.0 nor 1.1"),
        ("HTTP/1.1 200 O\rK\r\n\r\n", "start line holds a bare CR or a NUL"),
        ("HTTP/1.1 200 O\0K\r\n\r\n", "start line holds a bare CR or a NUL"),
        ("HTTP/1.1 200 OK\r\r\n\r\n", "start line holds a bare CR or a NUL"),
        ("HTTP/1.1 200 OK\r\n : 1\r\n\r\n", "first field line begins with whitespace"),
        ("HTTP/1.1 200 OK\r\nA B: 1\r\n\r\n", "field name is not a token"),
        ("HTTP/1.1 200 OK\r\nA 1\r\n\r\n", "field line has no colon"),
        ("HTTP/1.1 200 OK\r\n: 1\r\n\r\n", "field name is empty"),
        ("HTTP/1.1 200 OK\r\nA B: 1\r\n\r\n", "field name is not a token"),
        ("HTTP/1.1 200 OK\r\nA: \r1\r\n\r\n", "field line holds a bare CR or a NUL"),
        ("HTTP/1.1 200 OK\r\nA: 1\r\n \0\r\n\r\n", "field line holds a bare CR or a NUL"),
        ("HTTP/1.1 200 OK\r\nA: 1\r\n \r \r\n\r\n", "field line holds a bare CR or a NUL"),
        ("HTTP/1.1 200 OK\r\nA: 1\r\r\n\r\n", "field line holds a bare CR or a NUL"),
        ("HTTP/1.1 200 OK\r\n A: 1\r\n\r\n", "first field line begins with whitespace"),
        ("\r\n\r\n\r\n\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "too many empty lines before the message"),
    ] {
        let error = response(text).expect_err(text);
        assert_eq!(error.to_string(), what, "{text:?}");
    }
}

#[test]
fn a_connection_closed_before_or_in_a_head_is_told() {
    for text in ["", "\r\n", "\n\n"] {
        assert!(matches!(response(text), Err(HeadError::Closed)), "{text:?}");
    }
    for text in ["H", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nA: 1\r\n\r"] {
        assert!(matches!(response(text), Err(HeadError::Truncated)), "{text:?}");
    }
}

#[test]
fn heads_beyond_the_limits_are_refused() {
    let large = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "a".repeat(9_000));
    assert!(matches!(response(large), Err(HeadError::TooLarge)));
    let long = format!("HTTP/1.1 200 {}\r\n\r\n", "a".repeat(9_000));
    assert!(matches!(response(long), Err(HeadError::StartLineTooLong)));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: 1\r\n".repeat(101));
    assert!(matches!(response(many), Err(HeadError::TooManyFields)));
}
