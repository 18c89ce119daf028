//! The output file, its pages, and what becomes of it when something fails.

use std::{fs, io};

use capture_store::{ImportedExchange, Order, Query};
use har_export::{ErrorKind, ExportOptions, MAX_TYPED_ENTRIES, export, to_har, write};

use crate::seed::{Place, json, request, seed};

fn many(count: u64) -> impl Iterator<Item = ImportedExchange> {
    (0..count).map(|index| seed(request("GET", &format!("/{index}"), &[])).answered(200, &[], "ok").done())
}

fn urls(file: &serde_json::Value) -> Vec<String> {
    let entries = file["log"]["entries"].as_array().unwrap();
    entries.iter().map(|entry| entry["request"]["url"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn all_pages_are_exported_in_either_order_and_within_limits() {
    let place = Place::with(many(1203));
    let out = place.path("all.har");
    let mut all: Vec<_> = (0..1203).map(|index| format!("https://example.com/{index}")).collect();
    for (order, offset, limit, expected) in [
        (Order::Ascending, 0, 0, 0..1203),
        (Order::Descending, 0, 0, 0..1203),
        (Order::Ascending, 100, 1000, 100..1100),
        (Order::Descending, 1200, 0, 1200..1203),
        (Order::Ascending, 0, 500, 0..500),
        (Order::Ascending, 5000, 0, 0..0),
    ] {
        let mut query = Query::default();
        (query.order, query.offset, query.limit) = (order, offset, limit);
        let mut last = None;
        let summary =
            export(&place.store, &query, &out, &ExportOptions::default(), |progress| last = Some(progress))
                .unwrap();
        all.sort_by_key(|url| {
            url[20..].parse::<i32>().unwrap() * if order == Order::Descending { -1 } else { 1 }
        });
        assert_eq!(urls(&json(&out)), all[expected.clone()]);
        assert_eq!(summary.entries, expected.len() as u64);
        assert_eq!(
            last.map(|last| (last.entries, last.bytes)),
            Some((summary.entries, fs::metadata(&out).unwrap().len()))
        );
    }
}

#[cfg(unix)]
#[test]
fn the_file_is_its_owners_alone_and_replaces_what_was_there() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::with(many(1));
    let out = place.path("out.har");
    fs::write(&out, "old").unwrap();
    fs::set_permissions(&out, fs::Permissions::from_mode(0o644)).unwrap();
    export(&place.store, &Query::default(), &out, &ExportOptions::default(), |_| {}).unwrap();
    assert_eq!(urls(&json(&out)).len(), 1);
    assert_eq!(fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn nothing_half_written_is_left_behind() {
    let place = Place::with(many(1));
    let listing = || {
        let mut names: Vec<_> =
            fs::read_dir(place.directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = listing();
    let directory = place.path("store");
    let missing = place.path("none/out.har");
    for out in [&directory, &missing] {
        let error =
            export(&place.store, &Query::default(), out, &ExportOptions::default(), |_| {}).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::WriteFile(out.clone()));
    }
    let mut query = Query::default();
    query.session = Some(capture_store::SessionId(999));
    let out = place.path("out.har");
    let error = export(&place.store, &query, &out, &ExportOptions::default(), |_| {}).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Store);
    assert_eq!(listing(), before);
}

#[test]
fn a_writer_that_refuses_ends_the_export() {
    struct Full(usize);
    impl io::Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let place = Place::with(many(3));
    for room in [0, 60, 500, 1500] {
        let error =
            write(&place.store, &Query::default(), &mut Full(room), &ExportOptions::default()).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Output, "{room}");
    }
}

#[test]
fn small_logs_come_as_types_and_large_ones_are_refused() {
    let place = Place::with(many(3));
    let har = to_har(&place.store, &Query::default(), &ExportOptions::default()).unwrap();
    let har::Spec::V1_2(log) = har.log else { panic!("{:?}", har.version()) };
    assert_eq!(log.entries.iter().map(|entry| entry.response.status).collect::<Vec<_>>(), [200, 200, 200]);

    let place = Place::with(many(MAX_TYPED_ENTRIES + 1));
    let error = to_har(&place.store, &Query::default(), &ExportOptions::default()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::TooLarge { .. }), "{error}");
    let mut query = Query::default();
    query.limit = 10;
    assert!(to_har(&place.store, &query, &ExportOptions::default()).is_ok());
}
