//! Where bodies end, by the head alone (RFC 9112 section 6.3).

use http::{Method, Version};

use super::*;

const BOTH: &str = "both Transfer-Encoding and Content-Length";
const NOT_CHUNKED: &str = "Transfer-Encoding is not \"chunked\"";
const NOT_A_NUMBER: &str = "Content-Length is not a number";
const TWO_LENGTHS: &str = "more than one Content-Length";
const TWO_CODINGS: &str = "more than one Transfer-Encoding";

fn of_request(line: &str, fields: &str) -> Result<Framing, String> {
    let head = request(format!("{line}\r\nHost: h\r\n{fields}\r\n")).expect(fields).expect(fields);
    request_framing(&head).map_err(|error| error.detail)
}

fn of_response(method: &str, line: &str, fields: &str) -> Result<Framing, String> {
    let head = response(format!("HTTP/{line}\r\n{fields}\r\n")).expect(fields);
    response_framing(&method.parse().unwrap(), &head).map_err(|error| error.detail)
}

#[test]
fn request_bodies_end_where_the_only_framing_field_says() {
    for (fields, framing) in [
        ("", Framing::Empty),
        ("Content-Length: 0\r\n", Framing::Length(0)),
        ("Content-Length: 5\r\n", Framing::Length(5)),
        ("content-LENGTH:5 \r\n", Framing::Length(5)),
        ("Content-Length: 005\r\n", Framing::Length(5)),
        ("Content-Length: 18446744073709551615\r\n", Framing::Length(u64::MAX)),
        ("Transfer-Encoding: chunked\r\n", Framing::Chunked),
        ("transfer-encoding:CHUNKED\r\n", Framing::Chunked),
        ("Transfer-Encoding:\tChunked \t\r\n", Framing::Chunked),
        ("Trailer: X\r\nTE: trailers\r\n", Framing::Empty),
        ("X-Transfer-Encoding: chunked\r\nX-Content-Length: 7\r\n", Framing::Empty),
    ] {
        for method in ["GET", "POST", "HEAD", "DELETE", "OPTIONS", "X"] {
            assert_eq!(of_request(&format!("{method} / HTTP/1.1"), fields), Ok(framing), "{fields}");
        }
    }
}

#[test]
fn ambiguous_request_framing_is_refused() {
    for (fields, what) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", BOTH),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", BOTH),
        ("Transfer-Encoding: chunked\r\ncontent-length: 0\r\n", BOTH),
        ("Transfer-Encoding: chunked\r\ncontent-length:\r\n", BOTH),
        ("Transfer-Encoding: identity\r\nContent-Length: 5\r\n", BOTH),
        ("Transfer-Encoding:\r\nContent-Length: 5\r\n", BOTH),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", TWO_CODINGS),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", TWO_CODINGS),
        ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", TWO_CODINGS),
        ("Transfer-Encoding: chunked\r\ntransfer-encoding:\r\n", TWO_CODINGS),
        ("Transfer-Encoding:\r\n", NOT_CHUNKED),
        ("Transfer-Encoding: identity\r\n", NOT_CHUNKED),
        ("Transfer-Encoding: gzip\r\n", NOT_CHUNKED),
        ("Transfer-Encoding: gzip, chunked\r\n", NOT_CHUNKED),
        ("Transfer-Encoding: chunked, gzip\r\n", NOT_CHUNKED),
        ("Transfer-Encoding: chunked, chunked\r\n", NOT_CHUNKED),
        ("Transfer-Encoding: chunked, identity\r\n", NOT_CHUNKED),
        ("Transfer-Encoding: chunked,\r\n", NOT_CHUNKED),
        ("Transfer-Encoding: ,chunked\r\n", NOT_CHUNKED),
        ("Transfer-Encoding: chunked;q=1\r\n", NOT_CHUNKED),
        ("Transfer-Encoding: \"chunked\"\r\n", NOT_CHUNKED),
        ("Transfer-Encoding: 'chunked'\r\n", NOT_CHUNKED),
        ("Transfer-Encoding: xchunked\r\n", NOT_CHUNKED),
        ("Transfer-Encoding: chunkedx\r\n", NOT_CHUNKED),
        ("Transfer-Encoding: chun\u{212a}ed\r\n", NOT_CHUNKED),
        ("Transfer-Encoding: chunked\u{a0}\r\n", NOT_CHUNKED),
        ("Transfer-Encoding: \x0bchunked\r\n", NOT_CHUNKED),
        ("Transfer-Encoding: chunked\x0c\r\n", NOT_CHUNKED),
        ("Transfer-Encoding: \x01chunked\r\n", NOT_CHUNKED),
        ("Transfer-Encoding: chunked\x7f\r\n", NOT_CHUNKED),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", TWO_LENGTHS),
        ("Content-Length: 5\r\ncontent-length: 6\r\n", TWO_LENGTHS),
        ("Content-Length: 5\r\ncontent-length:\r\n", TWO_LENGTHS),
        ("Content-Length:\r\n", NOT_A_NUMBER),
        ("Content-Length: 5, 5\r\n", NOT_A_NUMBER),
        ("Content-Length: 5,6\r\n", NOT_A_NUMBER),
        ("Content-Length: 5,\r\n", NOT_A_NUMBER),
        ("Content-Length: +5\r\n", NOT_A_NUMBER),
        ("Content-Length: -5\r\n", NOT_A_NUMBER),
        ("Content-Length: -0\r\n", NOT_A_NUMBER),
        ("Content-Length: 0x5\r\n", NOT_A_NUMBER),
        ("Content-Length: 5.0\r\n", NOT_A_NUMBER),
        ("Content-Length: 5e1\r\n", NOT_A_NUMBER),
        ("Content-Length: 1_000\r\n", NOT_A_NUMBER),
        ("Content-Length: 5 5\r\n", NOT_A_NUMBER),
        ("Content-Length: \"5\"\r\n", NOT_A_NUMBER),
        ("Content-Length: 5;x\r\n", NOT_A_NUMBER),
        ("Content-Length: five\r\n", NOT_A_NUMBER),
        ("Content-Length: \u{665}\r\n", NOT_A_NUMBER),
        ("Content-Length: 5\x0b\r\n", NOT_A_NUMBER),
        ("Content-Length: \x0c5\r\n", NOT_A_NUMBER),
        ("Content-Length: 18446744073709551616\r\n", NOT_A_NUMBER),
        ("Content-Length: 99999999999999999999999999\r\n", NOT_A_NUMBER),
    ] {
        for line in ["POST / HTTP/1.1", "GET / HTTP/1.1", "HEAD / HTTP/1.1", "CONNECT h:1 HTTP/1.1"] {
            assert_eq!(of_request(line, fields), Err(what.to_owned()), "{line} {fields:?}");
        }
    }
}

#[test]
fn http_1_0_has_lengths_but_no_transfer_codings() {
    assert_eq!(of_request("POST / HTTP/1.0", ""), Ok(Framing::Empty));
    assert_eq!(of_request("POST / HTTP/1.0", "Content-Length: 3\r\n"), Ok(Framing::Length(3)));
    let what = Err("Transfer-Encoding in HTTP/1.0".to_owned());
    for fields in ["Transfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n"] {
        assert_eq!(of_request("POST / HTTP/1.0", fields), what);
        assert_eq!(of_response("GET", "1.0 200 OK", fields), what);
    }
}

#[test]
fn a_connect_announces_no_body() {
    let line = "CONNECT h:443 HTTP/1.1";
    assert_eq!(of_request(line, ""), Ok(Framing::Empty));
    assert_eq!(of_request(line, "Content-Length: 0\r\n"), Ok(Framing::Empty));
    let what = Err("CONNECT announces a body".to_owned());
    assert_eq!(of_request(line, "Content-Length: 1\r\n"), what);
    assert_eq!(of_request(line, "Transfer-Encoding: chunked\r\n"), what);
}

#[test]
fn response_bodies_end_where_method_status_and_fields_say() {
    let length = "Content-Length: 5\r\n";
    let chunked = "Transfer-Encoding: chunked\r\n";
    for (method, line, fields, framing) in [
        ("GET", "1.1 200 OK", "", Framing::UntilClose),
        ("GET", "1.1 200 OK", length, Framing::Length(5)),
        ("GET", "1.1 200 OK", chunked, Framing::Chunked),
        ("GET", "1.0 200 OK", length, Framing::Length(5)),
        ("GET", "1.0 200 OK", "", Framing::UntilClose),
        ("GET", "1.1 404 No", length, Framing::Length(5)),
        ("GET", "1.1 205 Reset", "Content-Length: 0\r\n", Framing::Length(0)),
        ("POST", "1.1 304 Not Modified", length, Framing::Empty),
        ("GET", "1.1 304 Not Modified", chunked, Framing::Empty),
        ("GET", "1.1 204 No Content", length, Framing::Empty),
        ("GET", "1.1 204 No Content", "", Framing::Empty),
        ("GET", "1.1 100 Continue", length, Framing::Empty),
        ("GET", "1.1 101 Switching", "Upgrade: x\r\n", Framing::Empty),
        ("GET", "1.1 103 Hints", chunked, Framing::Empty),
        ("HEAD", "1.1 200 OK", length, Framing::Empty),
        ("HEAD", "1.1 200 OK", chunked, Framing::Empty),
        ("HEAD", "1.1 200 OK", "", Framing::Empty),
        ("HEAD", "1.0 200 OK", "", Framing::Empty),
        ("HEAD", "1.1 500 Oh", length, Framing::Empty),
        ("CONNECT", "1.1 200 OK", "", Framing::UntilClose),
        ("CONNECT", "1.1 200 OK", length, Framing::UntilClose),
        ("CONNECT", "1.1 299 OK", chunked, Framing::UntilClose),
        ("CONNECT", "1.1 407 Auth", length, Framing::Length(5)),
        ("CONNECT", "1.1 502 Bad", chunked, Framing::Chunked),
        ("GET", "1.1 200 OK", "Content-Length: 5\r\ncontent-length: 5\r\n", Framing::Length(5)),
        ("GET", "1.1 200 OK", "Content-Length: 5, 5\r\n", Framing::Length(5)),
        ("GET", "1.1 200 OK", "Content-Length: 5,05 ,5\r\nContent-Length:5\r\n", Framing::Length(5)),
    ] {
        assert_eq!(of_response(method, line, fields), Ok(framing), "{method} {line} {fields}");
    }
}

#[test]
fn ambiguous_response_framing_is_refused() {
    let contradict = "Content-Length fields contradict each other";
    for (fields, what) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", BOTH),
        ("Transfer-Encoding: identity\r\nContent-Length: 5\r\n", BOTH),
        ("Transfer-Encoding: gzip, chunked\r\n", NOT_CHUNKED),
        ("Transfer-Encoding: identity\r\n", NOT_CHUNKED),
        ("Transfer-Encoding: x\r\n chunked\r\n", NOT_CHUNKED),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", TWO_CODINGS),
        ("Content-Length: 5\r\nContent-Length: 6\r\n", contradict),
        ("Content-Length: 5, 6\r\n", contradict),
        ("Content-Length: 5,\r\n", contradict),
        ("Content-Length: 5\r\nContent-Length:\r\n", contradict),
        ("Content-Length: 5, x\r\n", contradict),
        ("Content-Length:\r\n", NOT_A_NUMBER),
        ("Content-Length: ,5\r\n", NOT_A_NUMBER),
        ("Content-Length: +5\r\n", NOT_A_NUMBER),
        ("Content-Length: 5\r\n 5\r\n", NOT_A_NUMBER),
        ("Content-Length: 18446744073709551616\r\n", NOT_A_NUMBER),
    ] {
        assert_eq!(of_response("GET", "1.1 200 OK", fields), Err(what.to_owned()), "{fields:?}");
        assert_eq!(of_response("HEAD", "1.1 200 OK", fields), Ok(Framing::Empty), "{fields:?}");
    }
}

#[test]
fn framing_fields_are_put_right_in_place_and_left_alone_when_they_are() {
    let before =
        [("A", "1"), ("content-length", "5"), ("B", "2"), ("transfer-ENCODING", "Chunked"), ("C", "3")];
    for (encoding, after) in [
        (Encoding::None, vec!["A: 1", "content-length: 5", "B: 2", "transfer-ENCODING: Chunked", "C: 3"]),
        (Encoding::Length(5), vec!["A: 1", "content-length: 5", "B: 2", "C: 3"]),
        (Encoding::Length(6), vec!["A: 1", "content-length: 6", "B: 2", "C: 3"]),
        (Encoding::Chunked, vec!["A: 1", "B: 2", "transfer-ENCODING: Chunked", "C: 3"]),
        (Encoding::UntilClose, vec!["A: 1", "B: 2", "C: 3"]),
    ] {
        let mut fields = headers(&before);
        encoding.put_right(&mut fields);
        assert_eq!(shown(&fields), after, "{encoding:?}");
    }
    let mut none = headers(&[("A", "1")]);
    Encoding::Length(0).put_right(&mut none);
    assert_eq!(shown(&none), ["A: 1", "Content-Length: 0"]);
    let mut twice = headers(&[("Content-Length", "5"), ("Content-Length", "5")]);
    Encoding::Length(5).put_right(&mut twice);
    assert_eq!(shown(&twice), ["Content-Length: 5"]);
    let mut list = headers(&[("Content-Length", "5, 5")]);
    Encoding::Length(5).put_right(&mut list);
    assert_eq!(shown(&list), ["Content-Length: 5"]);
    let mut coded = headers(&[("Transfer-Encoding", "gzip"), ("Transfer-Encoding", "chunked")]);
    Encoding::Chunked.put_right(&mut coded);
    assert_eq!(shown(&coded), ["Transfer-Encoding: chunked"]);
}

#[test]
fn http_2_heads_have_lengths_too() {
    let mut head = request("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n").unwrap().unwrap();
    head.version = Version::HTTP_2;
    assert_eq!(request_framing(&head), Ok(Framing::Length(4)));
    assert_eq!(head.method, Method::POST);
}
