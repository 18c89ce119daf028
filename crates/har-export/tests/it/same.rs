//! The export of an import is equal to it, field by field, but for what docs/har.md lists.

use capture_store::Query;
use har_export::{ExportOptions, ImportOptions, read, write};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::{schema, seed::Place};

/// What a tool may put into a `_` member.
fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(|number| Value::from(f64::from(number) / 4.0)),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[a-z_]{1,6}", inner, 0..3)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Members that HAR leaves to tools, and comments.
fn extras() -> impl Strategy<Value = Map<String, Value>> {
    let own = prop::collection::btree_map("_[a-vx-z][a-zA-Z]{0,6}", anything(), 0..3);
    (own, prop::option::of("[ -~]{0,12}")).prop_map(|(own, comment)| {
        let comment = comment.map(|text| ("comment".to_owned(), Value::from(text)));
        own.into_iter().chain(comment).collect()
    })
}

fn pairs() -> impl Strategy<Value = Vec<Value>> {
    let pair = ("[A-Za-z][A-Za-z0-9-]{0,8}", "[!-~]{0,12}", prop::option::of("[ -~]{1,8}"));
    let pair = pair.prop_map(|(name, value, comment)| match comment {
        Some(comment) => json!({"name": name, "value": value, "comment": comment}),
        None => json!({"name": name, "value": value}),
    });
    prop::collection::vec(pair, 0..4)
}

/// Headers as a browser lists them: with those of HTTP/2 that are no fields, and several lines in one.
fn headers() -> impl Strategy<Value = Vec<Value>> {
    let special = prop::sample::select(vec![
        json!({"name": ":authority", "value": "a.test"}),
        json!({"name": "set-cookie", "value": "a=1\nb=2"}),
        json!({"name": "Content-Encoding", "value": "gzip"}),
        json!({"name": "Content-Type", "value": "text/html; charset=utf-8"}),
    ]);
    (pairs(), prop::collection::vec(special, 0..3)).prop_map(|(mut pairs, special)| {
        pairs.extend(special);
        pairs
    })
}

/// Milliseconds to the microsecond; what a store keeps is finer.
fn millis() -> impl Strategy<Value = Value> {
    prop_oneof![
        (0..10_000_000u32).prop_map(|micros| Value::from(f64::from(micros) / 1000.0)),
        (0..5000u32).prop_map(Value::from)
    ]
}

fn timings() -> impl Strategy<Value = Value> {
    let part = || prop_oneof![Just(Value::from(-1)), millis()];
    (part(), part(), part(), part(), millis(), millis(), millis()).prop_map(
        |(blocked, dns, connect, ssl, send, wait, receive)| {
            json!({"blocked": blocked, "dns": dns, "connect": connect, "ssl": ssl, "send": send, "wait": wait, "receive": receive})
        },
    )
}

fn size() -> impl Strategy<Value = Value> {
    (-1i64..100_000).prop_map(Value::from)
}

fn version() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        "HTTP/1.1", "http/1.1", "HTTP/1.0", "h2", "http/2.0", "HTTP/2", "h3", "unknown",
    ])
    .prop_map(Value::from)
}

fn lay(mut members: Value, extras: Map<String, Value>) -> Value {
    members.as_object_mut().unwrap().extend(extras);
    members
}

prop_compose! {
    fn request()(
        method in prop::sample::select(vec!["GET", "POST", "get", "M-SEARCH"]),
        url in prop::sample::select(vec!["http://a.test/", "https://a.test/x?y=1&y=2#part", "https://a.test:8443/%C3%A4", "http://ann:pw@a.test/", "https://a.test"]),
        version in version(), headers in headers(), cookies in pairs(), query in pairs(),
        post in prop::option::of((prop::sample::select(vec!["text/plain", "application/x-www-form-urlencoded", ""]), "\\PC{1,20}", extras())),
        (headers_size, body_size) in (size(), size()), extras in extras(),
    ) -> Value {
        let mut request = json!({"method": method, "url": url, "httpVersion": version, "headers": headers, "cookies": cookies,
            "queryString": query, "headersSize": headers_size, "bodySize": body_size});
        if let Some((mime, text, extras)) = post {
            request["postData"] = lay(json!({"mimeType": mime, "text": text}), extras);
        }
        lay(request, extras)
    }
}

prop_compose! {
    fn response()(
        status in prop::sample::select(vec![200, 204, 302, 404, 500, 999]), reason in "[ -~]{0,10}",
        version in version(), headers in headers(), cookies in pairs(),
        text in prop::option::of("\\PC{1,30}"), (size, compression) in (0..1000u32, prop::option::of(-200i64..1000)),
        mime in prop::sample::select(vec!["text/html", "x-unknown", "", "application/json; charset=utf-8"]),
        redirect in prop::sample::select(vec!["", "/next", "https://b.test/"]), (headers_size, body_size) in (size(), size()),
        (extras, content_extras) in (extras(), extras()),
    ) -> Value {
        let mut content = json!({"size": size, "mimeType": mime});
        if let Some(text) = text {
            content["text"] = text.into();
        }
        if let Some(compression) = compression {
            content["compression"] = compression.into();
        }
        let response = json!({"status": status, "statusText": reason, "httpVersion": version, "headers": headers,
            "cookies": cookies, "content": lay(content, content_extras), "redirectURL": redirect,
            "headersSize": headers_size, "bodySize": body_size});
        lay(response, extras)
    }
}

prop_compose! {
    fn entry()(
        started in prop::sample::select(vec!["2026-03-02T09:15:00.000Z", "2026-03-02T10:15:00.123+01:00", "2026-03-02T09:15:00.1234567Z", "2026-03-02T09:15:00Z"]),
        request in request(), response in response(), timings in timings(), timing_extras in extras(),
        address in prop::option::of(prop::sample::select(vec!["192.0.2.1", "2001:db8::1"])),
        connection in prop::option::of(prop::sample::select(vec!["443", "ClientPort:50123", "0x1f"])),
        page in prop::option::of(Just("page_1")), cache in prop::sample::select(vec![json!({}), json!({"comment": "none"}), json!({"afterRequest": null})]),
        extras in extras(),
    ) -> Value {
        let mut entry = json!({"startedDateTime": started, "request": request, "response": response, "cache": cache,
            "timings": lay(timings, timing_extras)});
        for (name, value) in [("serverIPAddress", address), ("connection", connection), ("pageref", page)] {
            if let Some(value) = value {
                entry[name] = value.into();
            }
        }
        entry["time"] = sum(&entry["timings"]).into();
        lay(entry, extras)
    }
}

/// HAR's rule: what took place, without `ssl`, which is within `connect`.
fn sum(timings: &Value) -> f64 {
    ["blocked", "dns", "connect", "send", "wait", "receive"]
        .into_iter()
        .map(|part| timings[part].as_f64().unwrap())
        .filter(|millis| *millis >= 0.0)
        .sum()
}

/// What is different, as paths.
fn differences(theirs: &Value, ours: &Value, path: &str, out: &mut Vec<String>) {
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) => {
            for (name, their) in theirs {
                let path = format!("{path}.{name}");
                match ours.get(name) {
                    Some(our) => differences(their, our, &path, out),
                    None => out.push(format!("{path} is missing: {their}")),
                }
            }
        }
        (Value::Array(theirs), Value::Array(ours)) if theirs.len() == ours.len() => {
            for (their, our) in theirs.iter().zip(ours) {
                differences(their, our, path, out);
            }
        }
        (Value::Number(theirs), Value::Number(ours)) => {
            let (their, our) = (theirs.as_f64().unwrap(), ours.as_f64().unwrap());
            // The sum of the parts is a double, as theirs is; times are kept to the nanosecond.
            if (their - our).abs() > 1e-6 {
                out.push(format!("{path}: {their} became {our}"));
            }
        }
        _ if theirs == ours => {}
        _ => out.push(format!("{path}: {theirs} became {ours}")),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_export_of_an_import_says_all_that_the_file_said(entries in prop::collection::vec(entry(), 8), extras in extras()) {
        let page = json!({"id": "page_1", "title": "T", "startedDateTime": "2026-03-02T09:15:00.000Z", "pageTimings": {"onLoad": 5, "_x": [1]}});
        let log = json!({"version": "1.2", "creator": {"name": "a tool", "version": "1"}, "pages": [page], "entries": entries});
        let theirs = json!({"log": lay(log, extras)});
        prop_assert_eq!(schema::problems(&theirs), Vec::<String>::new());
        let place = Place::new();
        let mut strict = ImportOptions::default();
        strict.strict = true;
        let imported = read(&place.store, theirs.to_string().as_bytes(), &strict).unwrap();
        let mut query = Query::default();
        query.session = Some(imported.session.id);
        let mut out = Vec::new();
        write(&place.store, &query, &mut out, &ExportOptions::default()).unwrap();
        let mut ours: Value = serde_json::from_slice(&out).unwrap();
        prop_assert_eq!(schema::problems(&ours), Vec::<String>::new());
        // Who wrote the file is us now; who wrote theirs stands beside.
        let creator = ours["log"]["_wirescope"]["creator"].take();
        ours["log"]["creator"] = creator;
        let mut different = Vec::new();
        differences(&theirs, &ours, "", &mut different);
        prop_assert_eq!(different, Vec::<String>::new());
    }
}
