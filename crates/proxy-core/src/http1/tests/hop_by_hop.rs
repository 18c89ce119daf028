//! What does not pass on, and what does whatever `Connection` says.

use http::Version;

use super::*;

fn stripped(fields: &[(&'static str, &'static str)], passing: &[&str]) -> Vec<String> {
    let mut fields = headers(fields);
    strip_hop_by_hop(&mut fields, passing);
    shown(&fields)
}

#[test]
fn connection_and_what_it_names_stay_behind() {
    let fields = [
        ("Host", "a"),
        ("Connection", "keep-alive, X-Hop"),
        ("x-hop", "1"),
        ("Accept", "*/*"),
        ("X-HOP", "2"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Connection", "keep-alive"),
        ("Proxy-Authorization", "Basic x"),
        ("connection", " y ,, close"),
        ("Y", "3"),
        ("Z", "4"),
    ];
    assert_eq!(stripped(&fields, &[]), ["Host: a", "Accept: */*", "Z: 4"]);
}

#[test]
fn connection_cannot_take_end_to_end_fields_away() {
    let fields = [
        (
            "Connection",
            "host, content-length, Transfer-Encoding, cookie, authorization, Content-Type, trailer",
        ),
        ("Host", "a"),
        ("Content-Length", "5"),
        ("Transfer-Encoding", "chunked"),
        ("Cookie", "c"),
        ("Authorization", "x"),
        ("Content-Type", "t"),
        ("Trailer", "X"),
    ];
    let kept: Vec<String> = fields[1..].iter().map(|(name, value)| format!("{name}: {value}")).collect();
    assert_eq!(stripped(&fields, &[]), kept);
}

#[test]
fn te_passes_on_for_trailers_only() {
    for (te, kept) in [
        ("trailers", vec!["Te: trailers", "A: 1"]),
        ("Trailers", vec!["Te: Trailers", "A: 1"]),
        ("gzip, trailers", vec!["Te: trailers", "A: 1"]),
        ("gzip;q=0.5", vec!["A: 1"]),
        ("", vec!["A: 1"]),
    ] {
        assert_eq!(stripped(&[("Te", te), ("A", "1")], &[]), kept, "{te}");
    }
    let named = [("connection", "Keep-Alive, TE"), ("TE", "trailers, deflate"), ("A", "1")];
    assert_eq!(stripped(&named, &[]), ["connection: TE", "TE: trailers", "A: 1"]);
    let unused = [("Connection", "TE"), ("TE", "deflate")];
    assert!(stripped(&unused, &[]).is_empty());
}

#[test]
fn an_upgrade_passes_on_in_its_place_and_spelling() {
    let fields = [
        ("Host", "a"),
        ("CONNECTION", "keep-alive, upgrade, x"),
        ("Connection", "Upgrade"),
        ("X", "1"),
        ("Upgrade", "WebSocket"),
        ("Sec-WebSocket-Key", "k"),
    ];
    assert_eq!(
        stripped(&fields, &["upgrade"]),
        ["Host: a", "CONNECTION: upgrade, Upgrade", "Upgrade: WebSocket", "Sec-WebSocket-Key: k"]
    );
    assert_eq!(stripped(&fields, &[]), ["Host: a", "Sec-WebSocket-Key: k"]);
    assert!(stripped(&[("Upgrade", "h2c")], &["upgrade"]).is_empty(), "not an option of the connection");
    assert!(stripped(&[("Connection", "upgrade")], &["upgrade"]).is_empty(), "nothing to upgrade to");
}

#[test]
fn options_that_hold_for_the_next_hop_stay() {
    let fields = [("Connection", "x, Keep-Alive"), ("X", "1"), ("A", "2"), ("connection", "close")];
    assert_eq!(stripped(&fields, &["keep-alive"]), ["Connection: Keep-Alive", "A: 2"]);
    assert_eq!(stripped(&fields, &["close"]), ["Connection: close", "A: 2"]);
    assert_eq!(stripped(&[("connection", "x")], &["close"]), Vec::<String>::new());
}

#[test]
fn persistence_follows_version_and_connection() {
    for (version, connection, keeps) in [
        (Version::HTTP_11, None, true),
        (Version::HTTP_11, Some("keep-alive"), true),
        (Version::HTTP_11, Some("close"), false),
        (Version::HTTP_11, Some("x, Close"), false),
        (Version::HTTP_11, Some("keep-alive, close"), false),
        (Version::HTTP_11, Some("closed"), true),
        (Version::HTTP_10, None, false),
        (Version::HTTP_10, Some("Keep-Alive"), true),
        (Version::HTTP_10, Some("keep-alive, close"), false),
    ] {
        let fields: Headers =
            connection.into_iter().map(|value| crate::head::Header::new("Connection", value)).collect();
        assert_eq!(keeps_alive(version, &fields), keeps, "{version:?} {connection:?}");
    }
}

#[test]
fn host_is_put_right_only_where_it_is_wrong() {
    for (before, after) in [
        (vec![("A", "1"), ("hOST", "O")], vec!["A: 1", "hOST: O"]),
        (vec![("A", "1"), ("host", "other"), ("B", "2")], vec!["A: 1", "host: o", "B: 2"]),
        (vec![("A", "1")], vec!["Host: o", "A: 1"]),
        (vec![("Host", "o"), ("A", "1"), ("Host", "o")], vec!["Host: o", "A: 1"]),
    ] {
        let mut fields = headers(&before);
        put_host_right(&mut fields, "o");
        assert_eq!(shown(&fields), after);
    }
}
