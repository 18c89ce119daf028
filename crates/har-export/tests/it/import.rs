//! Files of other tools, and files that are none, into a store.

use capture_store::{BodySide, ExchangeKind, ExchangeState};
use har_export::{Error, ErrorKind, ImportOptions, ImportSummary, import, read};
use http::Version;
use proxy_core::{Failure, FailureKind};

use crate::seed::{Place, at};

fn fixture(place: &Place, name: &str) -> ImportSummary {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures").join(name);
    import(&place.store, &path, &ImportOptions::default(), |_| {}).unwrap()
}

fn strict() -> ImportOptions {
    let mut options = ImportOptions::default();
    options.strict = true;
    options
}

fn texts(place: &Place, side: BodySide) -> Vec<Option<String>> {
    let text = |exchange| place.body(&exchange, side).map(|body| String::from_utf8_lossy(&body).into_owned());
    place.exchanges(None).into_iter().map(text).collect()
}

#[test]
fn chromes_file_gives_its_exchanges() {
    let place = Place::new();
    let summary = fixture(&place, "chrome.har");
    assert_eq!((summary.total_entries, summary.imported, summary.skipped), (4, 3, 1));
    assert_eq!(summary.session.name.as_deref(), Some("chrome"));
    assert_eq!((summary.first_timestamp, summary.last_timestamp), (Some(at(120)), Some(at(1000))));
    let warnings: Vec<_> = summary.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "entry 0: 1 characters that are no Unicode were replaced by U+FFFD",
            "entry 3 was skipped: its URL is neither http nor https but \"data\"",
        ]
    );
    let smile = "<h1>café 😀 cut \u{fffd}</h1>".to_owned();
    assert_eq!(texts(&place, BodySide::Response), [Some(smile), None, None]);
    assert_eq!(texts(&place, BodySide::Request)[1].as_deref(), Some("id=7&count=2"));
}

#[test]
fn chromes_habits_are_understood() {
    let place = Place::new();
    fixture(&place, "chrome.har");
    let exchanges = place.exchanges(None);
    let page = &exchanges[0];
    assert_eq!(
        (page.request.version, page.summary.url.as_str()),
        (Version::HTTP_2, "https://shop.test/?q=caf%C3%A9")
    );
    assert_eq!(page.request.headers.len(), 2, "pseudo-header fields are no headers");
    let response = page.response.as_ref().unwrap();
    assert_eq!(response.reason, None);
    assert_eq!(response.headers.get_all("set-cookie").count(), 2, "joined duplicates are taken apart");
    assert!(page.response_body.identity, "a decoded body says so");
    assert_eq!(page.upstream.as_ref().unwrap().address, Some("[2001:db8::10]:443".parse().unwrap()));
    assert_eq!(page.upstream.as_ref().unwrap().connection, 443);
    assert_eq!(page.timings.ssl, Some(std::time::Duration::from_micros(12_500)));

    let refused =
        ExchangeState::Failed(Failure::new(FailureKind::ConnectionRefused, "net::ERR_CONNECTION_REFUSED"));
    assert_eq!(exchanges[1].summary.state, refused);
    assert_eq!(exchanges[1].request.target, "/cart");

    assert_eq!(exchanges[2].summary.kind, ExchangeKind::WebSocket);
    assert_eq!(exchanges[2].summary.url, "https://shop.test/live");
    let messages = place.store.messages(exchanges[2].summary.seq, 0, 0).unwrap();
    assert_eq!(
        messages.iter().map(|m| (m.from_client, &m.data[..])).collect::<Vec<_>>(),
        [(true, &b"hello"[..]), (false, b"\x00\x01\x02\xff")]
    );
    assert_eq!(messages[0].at, at(1250));
}

#[test]
fn firefoxs_file_gives_its_exchanges() {
    let place = Place::new();
    let summary = fixture(&place, "firefox.har");
    assert_eq!((summary.imported, summary.warning_count), (2, 0));
    assert_eq!(summary.first_timestamp, Some(at(250)));
    let exchanges = place.exchanges(None);
    assert_eq!(exchanges[0].summary.port, 8080);
    let body = place.body(&exchanges[0], BodySide::Request).unwrap();
    assert!(body.ends_with(b"------geckoX--\r\n"));
    assert_eq!(place.body(&exchanges[1], BodySide::Response).unwrap(), b"\x89PNG\r\n\x1a\n");
}

#[test]
fn a_head_request_has_no_body_whatever_size_its_entry_names() {
    let place = Place::new();
    let summary = fixture(&place, "safari.har");
    assert_eq!((summary.imported, summary.warning_count), (1, 0));
    let exchange = &place.exchanges(None)[0];
    assert_eq!((exchange.response_body.wire_bytes, exchange.response_body.stored_bytes), (0, 0));
    assert_eq!((exchange.sizes.request_head, exchange.sizes.response_head), (61, 111));
    assert_eq!(exchange.request.version, Version::HTTP_2);
}

#[test]
fn charless_file_with_a_byte_order_mark_and_a_numeric_connection_is_read() {
    let place = Place::new();
    let summary = fixture(&place, "charles.har");
    assert_eq!((summary.imported, summary.warning_count), (2, 0));
    let exchanges = place.exchanges(None);
    assert_eq!(exchanges[0].upstream.as_ref().unwrap().connection, 443);
    assert_eq!(
        exchanges[0].request.headers.iter().map(|h| h.name_text().into_owned()).collect::<Vec<_>>(),
        ["Host", "X-Dup", "x-dup"]
    );
    assert_eq!((exchanges[0].response_body.wire_bytes, exchanges[0].response_body.stored_bytes), (31, 11));
    assert_eq!(texts(&place, BodySide::Response)[0].as_deref(), Some("{\"ok\":true}"));
    assert_eq!(exchanges[1].summary.kind, ExchangeKind::Tunnel);
    assert_eq!(
        (exchanges[1].request.target.as_str(), &exchanges[1].summary.state),
        ("pinned.test:443", &ExchangeState::Tunnel)
    );
}

#[test]
fn insomnias_file_gives_bodies_rebuilt_from_parameters() {
    let place = Place::new();
    let summary = fixture(&place, "insomnia.har");
    assert_eq!(summary.imported, 2);
    let warnings: Vec<_> = summary.warnings.iter().map(|warning| warning.reason.as_str()).collect();
    assert_eq!(warnings, ["its response body is no text, but JSON, and was written out as such"]);
    assert_eq!(
        texts(&place, BodySide::Request),
        [Some("{\"name\":\"ä\"}".to_owned()), Some("user=a+b&pw=x%26y".to_owned())]
    );
    assert_eq!(texts(&place, BodySide::Response), [None, Some("{\"token\":1}".to_owned())]);
    assert_eq!(place.exchanges(None)[0].comment.as_deref(), Some("rename"));
}

#[test]
fn what_is_no_har_is_refused_with_its_place_and_leaves_nothing_behind() {
    let place = Place::new();
    for (content, expected) in [
        ("", "EOF while parsing a value at line 1 column 0"),
        ("<!doctype html>", "expected value at line 1 column 1"),
        ("{\"a\": [1,\n 2}", "expected `,` or `]` at line 2 column 3"),
        ("{\"log\": {\"version\": \"1.2\"}}", "there is no such list"),
        ("[]", "expected an object with a `log`"),
        // Cut after a whole entry: what came before is not kept either.
        (&format!("{{\"log\":{{\"entries\":[{}", entry("/kept?")), "EOF while parsing a list at line 1"),
    ] {
        let path = place.path("bad.har");
        std::fs::write(&path, content).unwrap();
        let error = import(&place.store, &path, &ImportOptions::default(), |_| {}).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(place.store.sessions().unwrap(), []);
    }
}

#[test]
fn a_file_that_is_not_there_or_a_directory_is_named() {
    let place = Place::new();
    for path in [place.path("none.har"), place.directory.path().to_owned()] {
        let error = import(&place.store, &path, &ImportOptions::default(), |_| {}).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::ReadFile(path));
        assert!(std::error::Error::source(&error).is_some());
    }
    assert_eq!(place.store.sessions().unwrap(), []);
}

#[test]
fn a_har_in_another_form_is_said_to_be_one() {
    let place = Place::new();
    for (content, expected) in [
        (&b"\xff\xfe{\0"[..], "UTF-16"),
        (b"{\0\"\0", "UTF-16"),
        (b"PK\x03\x04", "ZIP"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
    ] {
        let path = place.path("other.har");
        std::fs::write(&path, content).unwrap();
        let error = import(&place.store, &path, &ImportOptions::default(), |_| {}).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::ReadFile(path));
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains(expected), "{source}");
    }
}

fn entry(target: &str) -> String {
    format!(
        r#"{{"startedDateTime":"2026-03-02T09:15:00.000Z","request":{{"method":"GET","url":"http://a.test{target}"}},"response":{{"status":200}}}}"#
    )
}

/// Entries that are none, each with the reason it is skipped for.
const BAD: &[(&str, &str)] = &[
    ("null", "it has no request"),
    ("42", "it has no request"),
    ("{}", "it has no request"),
    (r#"{"request":[]}"#, "it has no request"),
    (r#"{"request":{"url":"http://a.test/"}}"#, "its request has no method"),
    (r#"{"request":{"method":"GET"}}"#, "its request has no url"),
    (r#"{"request":{"method":"G T","url":"http://a.test/"}}"#, "its method is no token: \"G T\""),
    (r#"{"request":{"method":"GET","url":"/x"}}"#, "its URL is not absolute: \"/x\""),
    (
        r#"{"request":{"method":"GET","url":"http://a.test/"},"response":{"status":99}}"#,
        "its status is no HTTP status: 99",
    ),
    (
        r#"{"request":{"method":"GET","url":"http://a.test/"},"response":{"status":200.5}}"#,
        "its status is no HTTP status: 200.5",
    ),
];

fn import_text(place: &Place, text: &str, options: &ImportOptions) -> Result<ImportSummary, Error> {
    read(&place.store, text.as_bytes(), options)
}

#[test]
fn bad_entries_are_skipped_with_a_warning_that_names_index_and_reason() {
    let place = Place::new();
    let list: Vec<_> = BAD.iter().map(|(bad, _)| format!("{bad},{}", entry("/good"))).collect();
    let file = format!("{{\"log\":{{\"entries\":[{}]}}}}", list.join(","));
    let summary = import_text(&place, &file, &ImportOptions::default()).unwrap();
    assert_eq!(summary.imported, BAD.len() as u64);
    assert_eq!(summary.skipped, BAD.len() as u64);
    for (at, (warning, (_, reason))) in summary.warnings.iter().zip(BAD).enumerate() {
        let seen = (warning.entry, warning.reason.as_str(), warning.skipped);
        assert_eq!(seen, (Some(2 * at as u64), *reason, true));
    }
    assert_eq!(place.exchanges(Some(summary.session.id)).len(), BAD.len());
}

#[test]
fn a_strict_import_ends_at_the_first_bad_entry_and_leaves_nothing() {
    let place = Place::new();
    for (bad, reason) in BAD {
        let file = format!("{{\"log\":{{\"entries\":[{},{bad}]}}}}", entry("/good"));
        let error = import_text(&place, &file, &strict()).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::BadEntry { index: 1, reason: (*reason).to_owned() });
        assert_eq!(place.store.sessions().unwrap(), []);
    }
    let file = format!("{{\"log\":{{\"entries\":[{}]}}}}", entry("/good"));
    assert_eq!(import_text(&place, &file, &strict()).unwrap().imported, 1);
}

#[test]
fn warnings_are_bounded_but_all_are_counted() {
    let place = Place::new();
    let file = format!("{{\"log\":{{\"entries\":[{}]}}}}", vec!["null"; 250].join(","));
    let summary = import_text(&place, &file, &ImportOptions::default()).unwrap();
    assert_eq!((summary.warnings.len(), summary.warning_count, summary.skipped), (100, 250, 250));
    assert_eq!((summary.first_timestamp, summary.session.exchanges), (None, 0));
}

#[test]
fn entries_beyond_the_sessions_limit_are_counted_as_skipped() {
    let place = Place::new();
    let mut options = ImportOptions::default();
    options.max_bytes = Some(200_000);
    let body = format!(r#"{{"status":200,"content":{{"text":"{}"}}}}"#, "x".repeat(100_000));
    let big = entry("/big").replace("{\"status\":200}", &body);
    let file = format!("{{\"log\":{{\"entries\":[{big},{big},{big},{big}]}}}}");
    let summary = import_text(&place, &file, &options).unwrap();
    assert_eq!(summary.total_entries, 4);
    assert!(summary.imported < 4, "{summary:?}");
    assert_eq!(summary.imported, summary.session.exchanges);
    assert_eq!(summary.skipped, summary.session.not_recorded);
}

#[test]
fn progress_is_told_up_to_the_end() {
    let place = Place::new();
    let path = place.path("many.har");
    let file = format!("{{\"log\":{{\"entries\":[{}]}}}}", vec![entry("/"); 250].join(","));
    std::fs::write(&path, &file).unwrap();
    let mut told = Vec::new();
    import(&place.store, &path, &ImportOptions::default(), |progress| told.push(progress)).unwrap();
    assert_eq!(told.iter().map(|progress| progress.entries).collect::<Vec<_>>(), [100, 200, 250]);
    let last = told.last().unwrap();
    assert_eq!((last.bytes, last.total_bytes), (file.len() as u64, Some(file.len() as u64)));
}
