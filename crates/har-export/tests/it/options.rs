//! What goes into a file and how: bodies by kind and size, hidden credentials, packed and split files, pages.

use std::{io::Read, path::Path};

use capture_store::{ImportedExchange, Query, secrets::SecretKind, secrets::Secrets};
use har_export::{BodyLevel, ExportOptions, ExportSummary, ImportOptions, export, import, read, write};
use serde_json::{Value, json};

use crate::{
    schema,
    seed::{Place, json, request, seed},
};

fn exported(place: &Place, options: &ExportOptions) -> (Value, ExportSummary) {
    let mut out = Vec::new();
    let summary = write(&place.store, &Query::default(), &mut out, options).unwrap();
    let file: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(schema::problems(&file), Vec::<String>::new());
    (file, summary)
}

fn answer(target: &str, body: impl Into<Vec<u8>>) -> ImportedExchange {
    seed(request("GET", target, &[])).answered(200, &[("Content-Type", "text/plain")], body.into()).done()
}

#[test]
fn bodies_go_by_kind_and_size_and_what_is_left_out_is_said() {
    let bodies: [&[u8]; 4] = [b"text", b"\xff\xfe\xfd", &[b'x'; 200], b""];
    for (level, written) in [
        (BodyLevel::All, [true, true, true, false]),
        (BodyLevel::Text, [true, false, true, false]),
        (BodyLevel::UpTo(4), [true, true, false, false]),
        (BodyLevel::None, [false; 4]),
    ] {
        let place = Place::with(bodies.map(|body| answer("/", body)));
        let mut options = ExportOptions::default();
        options.bodies = level;
        let (file, summary) = exported(&place, &options);
        for (entry, (body, written)) in
            file["log"]["entries"].as_array().unwrap().iter().zip(bodies.into_iter().zip(written))
        {
            let content = &entry["response"]["content"];
            assert_eq!((content.get("text").is_some(), &content["size"]), (written, &json!(body.len())));
            let is_left_out = !written && !body.is_empty();
            assert_eq!(content.get("comment").is_some(), is_left_out, "{level:?}");
            assert_eq!(entry["_wirescope"]["responseBody"].get("omitted").is_some(), is_left_out);
        }
        assert_eq!(summary.bodies_left_out, 3 - written.iter().filter(|written| **written).count() as u64);
    }
}

#[test]
fn credentials_are_hidden_and_counted() {
    let json_body = r#"{"access_token":"s3cret","user":"ann"}"#;
    let login = seed(request(
        "POST",
        "/login?api_key=s3cret&q=1",
        &[
            ("Authorization", "Bearer s3cret"),
            ("Cookie", "sid=s3cret"),
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("Referer", "https://a.test/?token=s3cret"),
        ],
    ))
    .posting("user=ann&password=s3cret")
    .answered(200, &[("Content-Type", "application/json"), ("Set-Cookie", "sid=s3cret; HttpOnly")], json_body)
    .done();
    let binary = answer("/image", &b"\xff\x00"[..]);
    let place = Place::with([login, binary]);
    let mut options = ExportOptions::default();
    options.redact = Some(Secrets::default().with_name("user"));
    let (file, summary) = exported(&place, &options);
    let text = file.to_string();
    assert!(!text.contains("s3cret") && !text.contains("ann"), "{text}");
    let entry = &file["log"]["entries"][0];
    assert_eq!(entry["request"]["postData"]["text"], "user=[redacted]&password=[redacted]");
    assert_eq!(
        entry["response"]["content"]["size"],
        json!(entry["response"]["content"]["text"].as_str().unwrap().len())
    );
    let count = |kind, name: &str| {
        let found = summary.redacted.iter().find(|hidden| hidden.kind == kind && hidden.name == name);
        found.map_or(0, |hidden| hidden.count)
    };
    assert_eq!(count(SecretKind::Header, "authorization"), 1);
    assert_eq!(count(SecretKind::Json, "access_token"), 1);
    assert_eq!(count(SecretKind::Query, "api_key"), 2, "in the URL and in its list");
    assert_eq!(count(SecretKind::Cookie, "sid"), 4, "in the heads and in the lists of both");
    assert_eq!(count(SecretKind::Form, "password"), 2);
    assert_eq!(summary.not_redacted, 1);
    assert!(exported(&place, &ExportOptions::default()).1.redacted.is_empty());
}

#[test]
fn a_packed_file_unpacks_to_the_same_and_imports() {
    let place = Place::with((0..50).map(|number| answer(&format!("/{number}"), "x".repeat(1000))));
    let (plain, packed) = (place.path("a.har"), place.path("a.har.gz"));
    export(&place.store, &Query::default(), &plain, &ExportOptions::default(), |_| {}).unwrap();
    let mut options = ExportOptions::default();
    options.gzip = true;
    let summary = export(&place.store, &Query::default(), &packed, &options, |_| {}).unwrap();
    assert_eq!(summary.files, [packed.as_path()]);
    let bytes = std::fs::read(&packed).unwrap();
    assert_eq!(summary.file_bytes, bytes.len() as u64);
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut unpacked).unwrap();
    assert_eq!(unpacked, std::fs::read(&plain).unwrap());
    assert_eq!(summary.bytes, unpacked.len() as u64);
    let imported = import(&place.store, &packed, &ImportOptions::default(), |_| {}).unwrap();
    assert_eq!((imported.imported, imported.session.name.as_deref()), (50, Some("a")));
}

fn targets(path: &Path) -> Vec<String> {
    let file = json(path);
    assert_eq!(schema::problems(&file), Vec::<String>::new());
    let entries = file["log"]["entries"].as_array().unwrap();
    entries.iter().map(|entry| entry["request"]["url"].as_str().unwrap()[19..].to_owned()).collect()
}

#[test]
fn a_split_export_is_whole_files_of_at_most_the_size_with_all_entries_in_order() {
    let mut seeds: Vec<_> = (0..40).map(|number| answer(&format!("/{number}"), "x".repeat(1000))).collect();
    // One that is longer than a file may be, and one that is read while it is written.
    seeds[20] = answer("/20", "y".repeat(30_000));
    seeds[30] = answer("/30", "z".repeat(140_000));
    let place = Place::with(seeds);
    let out = place.path("part.har");
    let mut options = ExportOptions::default();
    (options.split_bytes, options.redact) = (Some(20_000), Some(Secrets::default()));
    let summary = export(&place.store, &Query::default(), &out, &options, |_| {}).unwrap();
    assert!(summary.files.len() > 4, "{summary:?}");
    assert_eq!(summary.files[1], place.path("part-2.har"));
    assert!(!out.exists());
    let mut all = Vec::new();
    for path in &summary.files {
        let targets = targets(path);
        let bytes = std::fs::metadata(path).unwrap().len();
        assert!(bytes <= 20_000 || targets.len() == 1, "{} {bytes}", path.display());
        all.extend(targets);
    }
    assert_eq!(all, (0..40).map(|number| format!("/{number}")).collect::<Vec<_>>());
    let bytes: u64 = summary.files.iter().map(|path| std::fs::metadata(path).unwrap().len()).sum();
    assert_eq!((summary.file_bytes, summary.entries), (bytes, 40));

    options.split_bytes = Some(1 << 30);
    let summary = export(&place.store, &Query::default(), &out, &options, |_| {}).unwrap();
    assert_eq!(summary.files, [out.as_path()], "one file keeps its name");
}

#[test]
fn pages_of_several_sessions_keep_apart() {
    let file = |title: &str| {
        json!({"log": {"browser": {"name": title, "version": "1"}, "_note": title, "pages": [{"id": "page_1", "title": title,
            "startedDateTime": "2026-03-02T09:15:00.000Z", "pageTimings": {"onLoad": 5}}], "entries": [
            {"pageref": "page_1", "startedDateTime": "2026-03-02T09:15:00.000Z", "request": {"method": "GET", "url": "http://a.test/"},
             "response": {"status": 200}}]}})
        .to_string()
    };
    let place = Place::new();
    let first = read(&place.store, file("one").as_bytes(), &ImportOptions::default()).unwrap();
    let mut out = Vec::new();
    let mut query = Query::default();
    query.session = Some(first.session.id);
    write(&place.store, &query, &mut out, &ExportOptions::default()).unwrap();
    let alone: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(alone["log"]["pages"][0]["pageTimings"], json!({"onLoad": 5}));
    assert_eq!((&alone["log"]["_note"], &alone["log"]["browser"]["name"]), (&json!("one"), &json!("one")));
    assert_eq!(alone["log"]["entries"][0]["pageref"], "page_1");

    read(&place.store, file("two").as_bytes(), &ImportOptions::default()).unwrap();
    let (both, _) = exported(&place, &ExportOptions::default());
    let ids: Vec<_> = both["log"]["pages"].as_array().unwrap().iter().map(|page| &page["id"]).collect();
    let refs: Vec<_> =
        both["log"]["entries"].as_array().unwrap().iter().map(|entry| &entry["pageref"]).collect();
    assert_eq!(ids, ["s1:page_1", "s2:page_1"]);
    assert_eq!(refs, ids);
}
