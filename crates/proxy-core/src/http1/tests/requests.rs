//! Request heads: what is taken, and as what; what is refused, and with which status.

use http::{Method, Version};

use super::*;

#[test]
fn heads_keep_order_case_duplicates_and_exact_values() {
    let head = request(
        "GET /a/../b?q=%2F&x HTTP/1.1\r\nhOST: Example.COM\r\nX-a:  two  words \t\r\nx-A:\r\nCookie: \u{e4}\r\nX-a:3\r\n\r\n",
    );
    let head = head.unwrap().unwrap();
    assert_eq!(head.method, Method::GET);
    assert_eq!(head.target, "/a/../b?q=%2F&x");
    assert_eq!(head.authority, "Example.COM");
    assert_eq!(head.scheme, Scheme::Http);
    assert_eq!(head.version, Version::HTTP_11);
    assert_eq!(
        shown(&head.headers),
        ["hOST: Example.COM", "X-a: two  words", "x-A: ", "Cookie: \u{e4}", "X-a: 3"]
    );
}

#[test]
fn field_values_keep_bytes_beyond_ascii_and_harmless_controls() {
    let head =
        request(b"GET / HTTP/1.1\r\nHost: a\r\nX: \xff\x80\x01\x7f \"\xe9\"\r\n\r\n").unwrap().unwrap();
    assert_eq!(head.headers.get("x").unwrap(), &b"\xff\x80\x01\x7f \"\xe9\""[..]);
}

#[test]
fn methods_are_any_token_in_their_own_case() {
    for method in
        ["GET", "get", "M-SEARCH", "PROPFIND", "X!#$%&'*+-.^_`|~09", "A-METHOD-LONGER-THAN-MOST-METHODS-ARE"]
    {
        let head = request(format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n")).unwrap().unwrap();
        assert_eq!(head.method.as_str(), method);
    }
}

#[test]
fn targets_resolve_to_scheme_authority_and_path() {
    // (request line without version, Host, scheme, authority, target)
    for (line, host, scheme, authority, target) in [
        ("GET /", "h", "http", "h", "/"),
        ("GET //double//slash", "h", "http", "h", "//double//slash"),
        ("GET /?", "h:81", "http", "h:81", "/?"),
        ("GET /ü", "h", "http", "h", "/ü"),
        ("GET /a#frag", "h", "http", "h", "/a#frag"),
        ("GET /http://other/", "h", "http", "h", "/http://other/"),
        ("GET http://o/", "o", "http", "o", "/"),
        ("GET http://o", "o", "http", "o", "/"),
        ("GET http://o?q", "o", "http", "o", "/?q"),
        ("GET HTTP://o/", "o", "http", "o", "/"),
        ("GET https://o:444/p?q=1", "o", "https", "o:444", "/p?q=1"),
        ("GET http://other/", "h", "http", "other", "/"),
        ("GET http://user:secret@o:80/", "o", "http", "o:80", "/"),
        ("GET http://user@o", "o", "http", "o", "/"),
        ("GET http://@o/", "o", "http", "o", "/"),
        ("GET http://o/a@b", "o", "http", "o", "/a@b"),
        ("GET http://[::1]:8080/x", "h", "http", "[::1]:8080", "/x"),
        ("GET http://o:/", "o", "http", "o:", "/"),
        ("GET http://Under_Score.O/", "h", "http", "Under_Score.O", "/"),
        ("OPTIONS *", "h", "http", "h", "*"),
        ("OPTIONS http://o", "h", "http", "o", "*"),
        ("OPTIONS http://o/", "h", "http", "o", "/"),
        ("OPTIONS http://o:8080", "h", "http", "o:8080", "*"),
        ("CONNECT o:443", "h", "http", "o:443", "o:443"),
        ("CONNECT [2001:db8::1]:443", "h", "http", "[2001:db8::1]:443", "[2001:db8::1]:443"),
        ("CONNECT 127.0.0.1:1", "h", "http", "127.0.0.1:1", "127.0.0.1:1"),
    ] {
        let head = request(format!("{line} HTTP/1.1\r\nHost: {host}\r\n\r\n")).expect(line).unwrap();
        let seen = (head.scheme.as_str(), head.authority.as_str(), head.target.as_str());
        assert_eq!(seen, (scheme, authority, target), "{line}");
    }
}

#[test]
fn a_tunnel_fills_in_what_the_request_leaves_out() {
    for (text, scheme, authority, target) in [
        ("GET / HTTP/1.1\r\n\r\n", "https", "tunnel.example:8443", "/"),
        ("GET / HTTP/1.0\r\n\r\n", "https", "tunnel.example:8443", "/"),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", "https", "tunnel.example:8443", "/"),
        ("GET / HTTP/1.1\r\nHost: other\r\n\r\n", "https", "other", "/"),
        ("GET https://abs/x HTTP/1.1\r\nHost: other\r\n\r\n", "https", "abs", "/x"),
        ("GET http://abs/x HTTP/1.1\r\n\r\n", "http", "abs", "/x"),
        ("OPTIONS * HTTP/1.1\r\n\r\n", "https", "tunnel.example:8443", "*"),
    ] {
        let head = request_in(&tunnel(), text).expect(text).unwrap();
        let seen = (head.scheme.as_str(), head.authority.as_str(), head.target.as_str());
        assert_eq!(seen, (scheme, authority, target), "{text}");
    }
}

#[test]
fn absolute_and_connect_targets_need_no_host_field() {
    for text in [
        "GET http://o/ HTTP/1.1\r\n\r\n",
        "GET http://o/ HTTP/1.0\r\n\r\n",
        "CONNECT o:443 HTTP/1.1\r\n\r\n",
        "CONNECT o:443 HTTP/1.0\r\n\r\n",
        "CONNECT o:443 HTTP/1.1\r\nHost:\r\n\r\n",
    ] {
        assert!(request(text).expect(text).is_some());
    }
}

#[test]
fn an_http_1_0_request_with_host_is_taken() {
    let head = request("GET / HTTP/1.0\r\nHost: o\r\n\r\n").unwrap().unwrap();
    assert_eq!((head.version, head.authority.as_str()), (Version::HTTP_10, "o"));
}

#[test]
fn a_few_empty_lines_before_a_request_are_passed_over() {
    for count in 0..=4 {
        let text = format!("{}GET / HTTP/1.1\r\nHost: a\r\n\r\n", "\r\n".repeat(count));
        assert!(request(text).unwrap().is_some());
        assert!(request("\r\n".repeat(count)).unwrap().is_none(), "closed before a request began");
    }
    let text = format!("{}GET / HTTP/1.1\r\nHost: a\r\n\r\n", "\r\n".repeat(5));
    assert_refused(text, 400, "too many empty lines before the message");
}

#[test]
fn malformed_start_lines_are_refused() {
    for (line, status, what) in [
        ("GET", 400, "request line has no spaces"),
        ("GET /", 400, "request line has no HTTP version"),
        ("GET / ", 400, "HTTP version is malformed"),
        (" GET / HTTP/1.1", 400, "method is not a token"),
        ("\tGET / HTTP/1.1", 400, "method is not a token"),
        ("G(T / HTTP/1.1", 400, "method is not a token"),
        ("G\u{e9}T / HTTP/1.1", 400, "method is not a token"),
        ("GET\t/ HTTP/1.1", 400, "request line has no HTTP version"),
        ("GET  HTTP/1.1", 400, "request target is empty"),
        ("GET  / HTTP/1.1", 400, "request target holds a space or a control character"),
        ("GET /  HTTP/1.1", 400, "request target holds a space or a control character"),
        ("GET / HTTP/1.1 ", 400, "HTTP version is malformed"),
        ("GET / x HTTP/1.1", 400, "request target holds a space or a control character"),
        ("GET /\tx HTTP/1.1", 400, "request target holds a space or a control character"),
        ("GET /\x01 HTTP/1.1", 400, "request target holds a space or a control character"),
        ("GET /\x7f HTTP/1.1", 400, "request target holds a space or a control character"),
        ("GET /\0 HTTP/1.1", 400, "start line holds a bare CR or a NUL"),
        ("GET /\rx HTTP/1.1", 400, "start line holds a bare CR or a NUL"),
        ("GET / HTTP/1.1\r", 400, "start line holds a bare CR or a NUL"),
        ("GET / http/1.1", 400, "HTTP version is malformed"),
        ("GET / HTTP/1", 400, "HTTP version is malformed"),
        ("GET / HTTP/1.", 400, "HTTP version is malformed"),
        ("GET / HTTP/11.1", 400, "HTTP version is malformed"),
        ("GET / HTTP/1.10", 400, "HTTP version is malformed"),
        ("GET / HTTP/+1.1", 400, "HTTP version is malformed"),
        ("GET / HTTP/1,1", 400, "HTTP version is malformed"),
        ("GET / HTTP/1.1HTTP/1.1", 400, "HTTP version is malformed"),
        ("GET / ICE/1.0", 400, "HTTP version is malformed"),
        ("GET / HTTP/0.9", 505, "HTTP version is neither 1.0 nor 1.1"),
        ("GET / HTTP/1.2", 505, "HTTP version is neither 1.0 nor 1.1"),
        ("GET / HTTP/2.0", 505, "HTTP version is neither 1.0 nor 1.1"),
        ("GET / HTTP/3.0", 505, "HTTP version is neither 1.0 nor 1.1"),
        ("PRI * HTTP/2.0", 505, "HTTP version is neither 1.0 nor 1.1"),
    ] {
        assert_refused(format!("{line}\r\nHost: a\r\n\r\n"), status, what);
    }
    assert_refused(b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", 400, "request target is not UTF-8");
}

#[test]
fn malformed_targets_are_refused() {
    let form = "request target has no valid form";
    let scheme = "scheme of the request target is neither http nor https";
    let host = "invalid authority in the request target: not a host";
    let port = "invalid authority in the request target: not a port";
    for (line, what) in [
        ("GET *", form),
        ("GET o", form),
        ("GET o:443", form),
        ("GET o/path", form),
        ("GET ?q", form),
        ("GET #", form),
        ("GET http:/o/", form),
        ("GET http:o", form),
        ("connect o:443", form),
        ("GET ftp://o/", scheme),
        ("GET file:///etc/passwd", scheme),
        ("GET ws://o/", scheme),
        ("GET ://o/", scheme),
        ("GET xhttp://o/", scheme),
        ("GET http://", host),
        ("GET http:///path", host),
        ("GET http://?q", host),
        ("GET http://user@/", host),
        ("GET http://a\\@o/", "invalid user information in the request target"),
        ("GET http://:80/", host),
        ("GET http://a@b@c/", host),
        ("GET http://a\\b/", host),
        ("GET http://a%00b/", host),
        ("GET http://a,b/", host),
        ("GET http://a\"b/", host),
        ("GET http://a<b/", host),
        ("GET http://ü/", host),
        ("GET http://[::1/", "invalid authority in the request target: bracket is not closed"),
        ("GET http://[::1]x/", "invalid authority in the request target: bytes after the bracket"),
        ("GET http://[::1]80/", "invalid authority in the request target: bytes after the bracket"),
        ("GET http://[nope]/", host),
        ("GET http://[1.2.3.4]/", host),
        ("GET http://[fe80::1%25eth0]/", host),
        ("GET http://[v1.x]/", host),
        ("GET http://[]/", host),
        ("GET http://::1/", host),
        ("GET http://o:x/", port),
        ("GET http://o:65536/", port),
        ("GET http://o:-1/", port),
        ("GET http://o:+1/", port),
        ("GET http://o:80:80/", port),
        ("GET http://o:80:/", port),
        ("GET http://o:99999999999999999999/", port),
    ] {
        assert_refused(format!("{line} HTTP/1.1\r\nHost: h\r\n\r\n"), 400, what);
    }
}

#[test]
fn a_connect_that_names_no_host_and_port_is_refused() {
    for (line, what) in [
        ("CONNECT /", "invalid CONNECT target: not a host"),
        ("CONNECT *", "CONNECT target has no port"),
        ("CONNECT o", "CONNECT target has no port"),
        ("CONNECT o:", "CONNECT target has no port"),
        ("CONNECT o:0", "CONNECT target has no port"),
        ("CONNECT :443", "invalid CONNECT target: not a host"),
        ("CONNECT o:70000", "invalid CONNECT target: not a port"),
        ("CONNECT o:44x", "invalid CONNECT target: not a port"),
        ("CONNECT o:443/", "invalid CONNECT target: not a port"),
        ("CONNECT http://o:443", "invalid CONNECT target: not a port"),
        ("CONNECT user@o:443", "invalid CONNECT target: not a host"),
        ("CONNECT [::1]", "CONNECT target has no port"),
    ] {
        assert_refused(format!("{line} HTTP/1.1\r\nHost: h\r\n\r\n"), 400, what);
    }
}

#[test]
fn a_host_that_is_missing_double_or_invalid_is_refused() {
    for (text, what) in [
        ("GET / HTTP/1.1\r\n\r\n", "Host is missing"),
        ("OPTIONS * HTTP/1.1\r\n\r\n", "Host is missing"),
        ("GET / HTTP/1.0\r\n\r\n", "neither the target nor a Host field names the origin"),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", "Host is empty"),
        ("GET / HTTP/1.1\r\nHost: \t \r\n\r\n", "Host is empty"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "more than one Host field"),
        ("GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n", "more than one Host field"),
        ("GET / HTTP/1.1\r\nHost: a\r\nhost:\r\n\r\n", "more than one Host field"),
        ("GET http://a/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "more than one Host field"),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "more than one Host field"),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "invalid Host: not a host"),
        ("GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", "invalid Host: not a host"),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "invalid Host: not a host"),
        ("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", "invalid Host: not a host"),
        ("GET / HTTP/1.1\r\nHost: a\x0bb\r\n\r\n", "invalid Host: not a host"),
        ("GET / HTTP/1.1\r\nHost: http://a\r\n\r\n", "invalid Host: not a port"),
        ("GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", "invalid Host: not a port"),
        ("GET / HTTP/1.1\r\nHost: a:80 \x01\r\n\r\n", "invalid Host: not a port"),
        ("GET / HTTP/1.1\r\nHost: ü\r\n\r\n", "invalid Host: not a host"),
        ("GET http://a/ HTTP/1.1\r\nHost: a b\r\n\r\n", "invalid Host: not a host"),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a b\r\n\r\n", "invalid Host: not a host"),
    ] {
        assert_refused(text, 400, what);
    }
    assert_refused(b"GET / HTTP/1.1\r\nHost: \xff\r\n\r\n", 400, "Host is not ASCII");
}

#[test]
fn malformed_field_lines_are_refused() {
    let fold = "field value goes on in the next line (obs-fold)";
    let space = "whitespace between field name and colon";
    let control = "field line holds a bare CR or a NUL";
    for (fields, what) in [
        ("X\r\n", "field line has no colon"),
        ("X 1\r\n", "field line has no colon"),
        (": 1\r\n", "field name is empty"),
        (":\r\n", "field name is empty"),
        ("X : 1\r\n", space),
        ("X\t: 1\r\n", space),
        ("Content-Length : 5\r\n", space),
        ("Transfer-Encoding : chunked\r\n", space),
        ("X Y: 1\r\n", "field name is not a token"),
        ("X\x0b: 1\r\n", "field name is not a token"),
        ("X\x01Y: 1\r\n", "field name is not a token"),
        ("X(: 1\r\n", "field name is not a token"),
        ("\"X\": 1\r\n", "field name is not a token"),
        ("[X]: 1\r\n", "field name is not a token"),
        ("Ünicode: 1\r\n", "field name is not a token"),
        ("X: 1\r\n 2\r\n", fold),
        ("X: 1\r\n\t2\r\n", fold),
        ("X: 1\r\n \r\n", fold),
        ("Transfer-Encoding:\r\n chunked\r\n", fold),
        ("X: a\rb\r\n", control),
        ("X: a\0b\r\n", control),
        ("X: a\r\r\n", control),
        ("\rX: a\r\n", control),
        ("X\r: a\r\n", control),
        ("\r\r\n", control),
        ("X: 1\n", "line ends in a bare LF"),
        ("X: 1\nY: 2\r\n", "line ends in a bare LF"),
        ("\n", "line ends in a bare LF"),
    ] {
        assert_refused(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"), 400, what);
    }
    for (text, what) in [
        ("GET / HTTP/1.1\nHost: a\r\n\r\n", "line ends in a bare LF"),
        ("GET / HTTP/1.1\r\nHost: a\r\n\n", "line ends in a bare LF"),
        ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "line ends in a bare LF"),
        ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", "first field line begins with whitespace"),
        ("GET / HTTP/1.1\r\n \r\nHost: a\r\n\r\n", "first field line begins with whitespace"),
    ] {
        assert_refused(text, 400, what);
    }
}

#[test]
fn heads_beyond_the_limits_are_refused() {
    let start = "GET / HTTP/1.1\r\nHost: a\r\n";
    let fits = |bytes: usize| format!("{start}X: {}\r\n\r\n", "x".repeat(bytes - start.len() - 7));
    assert!(request(fits(8 * 1024)).unwrap().is_some());
    assert_refused(fits(8 * 1024 + 1), 431, "message head is too large");
    let endless = format!("{start}X: {}", "x".repeat(9_000));
    assert_refused(endless, 431, "message head is too large");
    let line = format!("GET /{}", "x".repeat(9_000));
    assert_refused(line, 414, "start line is too long");
    let many = |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: 1\r\n".repeat(count - 1));
    assert_eq!(request(many(100)).unwrap().unwrap().headers.len(), 100);
    assert_refused(many(101), 431, "message head has too many fields");
}

#[test]
fn a_connection_closed_in_a_head_is_told_from_one_closed_before_it() {
    assert!(request("").unwrap().is_none());
    for text in
        ["G", "GET / HTTP/1.1", "GET / HTTP/1.1\r\nHost: a\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r", "\r"]
    {
        assert!(matches!(request(text), Err(HeadError::Truncated)), "{text:?}");
    }
}

#[track_caller]
fn assert_refused(text: impl AsRef<[u8]>, status: u16, what: &str) {
    let shown = String::from_utf8_lossy(text.as_ref()).chars().take(80).collect::<String>();
    let error = request(text).expect_err(&shown);
    assert_eq!((error.status().as_u16(), error.to_string().as_str()), (status, what), "{shown:?}");
}
