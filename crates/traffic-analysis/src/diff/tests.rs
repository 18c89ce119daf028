//! What differs and what does not.

use capture_store::{Query, Seq};
use proptest::prelude::*;

use super::*;
use crate::{
    fixture::{Fed, Fixture},
    scope::Scope,
    subject::Subject,
};

/// The differences of two exchanges, as `place: left | right`, volatile ones with their kind.
fn check(left: Fed, right: Fed, options: &Options) -> (Vec<String>, ExchangeDiff) {
    let fixture = Fixture::of(vec![left, right]);
    let items = fixture.store.query(&Query::default()).unwrap().items;
    let (one, other) =
        (Subject::new(&fixture.store, items[0].clone()), Subject::new(&fixture.store, items[1].clone()));
    let diff = exchanges(&one, &other, options).unwrap();
    for subject in [&one, &other] {
        assert_eq!(exchanges(subject, subject, options).unwrap(), ExchangeDiff::default());
    }
    let mirrored = exchanges(&other, &one, options).unwrap();
    let turned: Vec<_> = mirrored
        .differences
        .into_iter()
        .map(|Difference { place, left, right, volatile }| Difference {
            place,
            left: right,
            right: left,
            volatile,
        })
        .collect();
    assert_eq!((&turned, mirrored.total, mirrored.volatile), (&diff.differences, diff.total, diff.volatile));
    let told = diff
        .differences
        .iter()
        .map(|difference| {
            let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
            let why = difference.volatile.map(|why| format!(" ({})", why.as_str())).unwrap_or_default();
            format!("{}: {} | {}{why}", difference.place, shown(&difference.left), shown(&difference.right))
        })
        .collect();
    (told, diff)
}

fn listed() -> Options {
    Options { volatile: Shown::Listed, ..Options::default() }
}

fn json(body: &str) -> Fed {
    Fed::get("https://a.test/x").body("application/json", body.to_owned())
}

#[test]
fn json_is_compared_by_structure() {
    let (told, _) = check(
        json(r#"{"b":1,"a":{"x":[1,2,3],"y":null,"n":1},"only/left":true}"#),
        json(r#"{ "a": {"n":1.0,"y":"z","x":[1,5]}, "b": 2, "only~right": {} }"#),
        &Options::default(),
    );
    assert_eq!(
        told,
        [
            "resp.json./a/x/1: 2 | 5",
            "resp.json./a/x: 3 items | 2 items",
            "resp.json./a/y: null | \"z\"",
            "resp.json./b: 1 | 2",
            "resp.json./only~1left: true | -",
            "resp.json./only~0right: - | {}",
        ]
    );
}

#[test]
fn what_differs_by_its_nature_is_counted_apart() {
    let left = json(r#"{"id":1,"createdAt":"2026-01-31T10:00:00Z","name":"ann","next":"/p/9b2e4c1d-8f3a-4b6e-9d2c-1a2b3c4d5e6f"}"#)
        .answers("Date", "Sun, 06 Nov 1994 08:49:37 GMT")
        .answers("X-Request-Id", "a")
        .answers("Set-Cookie", "sid=one; Path=/; Expires=Wed, 01 Jan 2025 00:00:00 GMT");
    let right = json(r#"{"id":2,"createdAt":"2026-02-01T10:00:00Z","name":"bob","next":"/p/1b2e4c1d-8f3a-4b6e-9d2c-1a2b3c4d5e60"}"#)
        .answers("date", "Mon, 07 Nov 1994 08:49:37 GMT")
        .answers("x-request-id", "b")
        .answers("Set-Cookie", "sid=two; path=/; Expires=Thu, 02 Jan 2025 00:00:00 GMT; Secure");
    let (told, diff) = check(left, right, &Options::default());
    assert_eq!(told, ["resp.cookie.sid;secure: - | ", "resp.json./name: \"ann\" | \"bob\""]);
    assert_eq!((diff.total, diff.volatile, diff.is_same()), (2, 7, false));
}

#[test]
fn volatile_differences_are_listed_when_asked_for_and_places_ignored() {
    let (left, right) = (
        json(r#"{"id":1,"v":[{"p":1},{"p":2}]}"#).answers("Date", "x"),
        json(r#"{"id":2,"v":[{"p":3},{"p":4}]}"#).answers("Date", "y"),
    );
    let options = Options { ignore: vec!["resp.json./v/*".to_owned()], ..listed() };
    let (told, diff) = check(left, right, &options);
    assert_eq!(told, ["resp.header.date: x | y (time)", "resp.json./id: 1 | 2 (id)"]);
    assert!(diff.is_same());
}

#[test]
fn heads_are_compared_whatever_their_case_and_order() {
    let left = Fed::get("https://a.test/x?b=2&a=1&a=3")
        .sends("Accept", "a/b")
        .sends("X-List", "1")
        .sends("X-List", "2")
        .sends("Cookie", "k=1; only=2");
    let right = Fed::get("https://a.test:8443/y?a=1&b=9&a=3")
        .sends("x-list", "1, 2")
        .sends("ACCEPT", "a/c")
        .sends("cookie", "k=1")
        .status(404);
    let (told, _) = check(left, right, &Options::default());
    assert_eq!(
        told,
        [
            "port: 443 | 8443",
            "path: /x | /y",
            "param.b: 2 | 9",
            "req.header.accept: a/b | a/c",
            "req.cookie.only: 2 | -",
            "status: 200 | 404",
        ]
    );
}

#[test]
fn texts_forms_and_bytes_are_compared_as_what_they_are() {
    let page = |text: &str| Fed::get("https://a.test/").body("text/html", text.to_owned());
    let (told, diff) = check(
        page("<p>\none\n<i nonce=\"9b2e4c1d8f3a4b6e\">\nend"),
        page("<p>\ntwo\n<i nonce=\"1a2b3c4d5e6f7a8b\">\nend"),
        &Options::default(),
    );
    assert_eq!((told, diff.volatile), (vec!["resp.body.line.2: one | two".to_owned()], 1));
    let (told, _) = check(page("a\nb\nc"), page("a\nx\ny\nc"), &Options::default());
    assert_eq!(told, ["resp.body.line.2: b | x (and 1 more lines)"]);
    let form =
        |text: &str| Fed::post("https://a.test/", "application/x-www-form-urlencoded", text.to_owned());
    let (told, _) = check(form("a=1&b=%20"), form("b=+&a=2&c="), &Options::default());
    assert_eq!(told, ["req.form.a: 1 | 2", "req.form.c: - | "]);
    let bytes = |bytes: &'static [u8]| Fed::get("https://a.test/").body("image/png", bytes);
    let (told, _) = check(bytes(b"\x89PN\xff\x00"), bytes(b"\x89PN\xff\x01\x02"), &Options::default());
    assert_eq!(told, ["resp.body: 5 bytes, another from byte 4 on | 6 bytes, another from byte 4 on"]);
    let part = |boundary: &str| {
        let body =
            format!("--{boundary}\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--{boundary}--");
        let content_type: &'static str = format!("multipart/form-data; boundary={boundary}").leak();
        Fed::post("https://a.test/", content_type, body)
    };
    let (told, diff) = check(part("----one"), part("----two"), &Options::default());
    assert!(told.is_empty() && diff.volatile == 1, "{told:?}");
}

#[test]
fn a_failure_is_not_compared_field_by_field() {
    let (told, _) = check(
        json("{}"),
        Fed::get("https://a.test/x").failed(proxy_core::FailureKind::Dns),
        &Options::default(),
    );
    assert_eq!(told, ["status: 200 | -", "failure: - | dns"]);
}

#[test]
fn what_is_given_is_bounded_and_what_is_counted_is_not() {
    let many = |from: u32| json(&serde_json::json!((from..from + 50).collect::<Vec<_>>()).to_string());
    let options = Options { max_differences: 3, ..Options::default() };
    let (told, diff) = check(many(0), many(100), &options);
    assert_eq!((told.len(), diff.total), (3, 50));
}

fn side(fixture: &Fixture, session: capture_store::SessionId) -> Side<'_> {
    Side { store: &fixture.store, scope: Scope::of_session(session) }
}

#[test]
fn sessions_are_compared_by_endpoint_the_gravest_difference_first() {
    let fixture = Fixture::of(vec![
        Fed::get("https://a.test/users/1"),
        Fed::get("https://a.test/users/2"),
        Fed::get("https://a.test/gone"),
        Fed::get("https://a.test/same").took(10),
        Fed::get("https://a.test/more"),
    ]);
    let other = fixture.import(vec![
        Fed::get("https://a.test/users/7"),
        Fed::get("https://a.test/users/8").status(500),
        Fed::get("https://a.test/new"),
        Fed::get("https://a.test/same").took(30),
        Fed::get("https://a.test/more"),
        Fed::get("https://a.test/more"),
    ]);
    let (left, right) = (side(&fixture, fixture.session), side(&fixture, other));
    let diff = sessions(&left, &right, SessionsOptions::default()).unwrap();
    let told: Vec<_> = diff
        .endpoints
        .iter()
        .map(|(endpoint, told)| format!("{endpoint} {}", told.verdict.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            "GET a.test/users/{id} outcome",
            "GET a.test/gone only_left",
            "GET a.test/new only_right",
            "GET a.test/more count",
            "GET a.test/same alike",
        ]
    );
    let same = &diff.endpoints[4].1;
    assert_eq!((same.left.median.unwrap().as_millis(), same.right.median.unwrap().as_millis()), (10, 30));
    assert_eq!(diff.endpoints[0].1.right.outcomes["500"], 1);
    let itself = sessions(&left, &left, SessionsOptions::default()).unwrap();
    assert!(itself.endpoints.iter().all(|(_, told)| told.verdict == Verdict::Alike));
}

#[test]
fn another_host_is_the_same_api_where_none_is_on_both_sides() {
    let fixture = Fixture::of(vec![Fed::get("https://prod.test/a"), Fed::get("https://prod.test/b/1")]);
    let other =
        fixture.import(vec![Fed::get("https://staging.test/a"), Fed::get("https://staging.test/b/2")]);
    let (left, right) = (side(&fixture, fixture.session), side(&fixture, other));
    let diff = sessions(&left, &right, SessionsOptions::default()).unwrap();
    assert!(diff.hosts_ignored && diff.endpoints.len() == 2, "{diff:?}");
    let options = SessionsOptions { hosts: Hosts::Compared, ..SessionsOptions::default() };
    assert_eq!(sessions(&left, &right, options).unwrap().endpoints.len(), 4);
}

#[test]
fn exchanges_of_an_endpoint_are_paired_by_target_then_by_order() {
    let item = |n: u32, body: &str| {
        Fed::get(&format!("https://a.test/i/{n}")).body("application/json", body.to_owned())
    };
    let fixture = Fixture::of(vec![item(1, r#"{"v":1}"#), item(2, r#"{"v":2}"#), item(3, r#"{"v":3}"#)]);
    let other = fixture.import(vec![
        item(2, r#"{"v":2}"#),
        item(1, r#"{"v":9}"#),
        item(8, r#"{"v":3}"#),
        item(9, r#"{"v":3}"#),
    ]);
    let (left, right) = (side(&fixture, fixture.session), side(&fixture, other));
    let asked = Endpoint::new("get", Some("A.test"), "/i/{id}");
    let diff = endpoint(&left, &right, &asked, &Options::default(), 100).unwrap();
    assert_eq!((diff.pairs, diff.compared, diff.differing, diff.unpaired), (3, 3, 2, (0, 1)));
    let told: Vec<_> = diff.places.iter().map(|place| (place.first.place.as_str(), place.pairs)).collect();
    assert_eq!(told, [("path", 1), ("resp.json./v", 1)]);
    assert!(diff.worst.iter().all(|pair| pair.left >= Seq(1)));
    let few = endpoint(&left, &right, &asked, &Options::default(), 1).unwrap();
    assert_eq!((few.pairs, few.compared), (3, 1));
}

fn value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i32>().prop_map(Into::into),
        (1..100i64).prop_map(|n| (1_700_000_000 + n).into()),
        "[a-c]{0,3}".prop_map(Into::into),
        "[0-9a-f]{16}".prop_map(Into::into),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            proptest::collection::hash_map("id|name|at|[a-c]", inner, 0..4)
                .prop_map(|map| map.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn json_differs_from_another_and_not_from_itself(left in value(), right in value()) {
        let options = listed();
        let compare = |left: &serde_json::Value, right: &serde_json::Value| {
            let mut found = difference::Found::new(&options);
            json::compare(&mut found, "resp.json.", left, right);
            found.finish()
        };
        prop_assert_eq!(compare(&left, &left), ExchangeDiff::default());
        let (there, back) = (compare(&left, &right), compare(&right, &left));
        prop_assert_eq!((there.total, there.volatile), (back.total, back.volatile));
        prop_assert_eq!(there.total + there.volatile == 0, left == right);
        for (one, other) in there.differences.iter().zip(&back.differences) {
            prop_assert_eq!((&one.place, &one.left, &one.right), (&other.place, &other.right, &other.left));
        }
    }

    #[test]
    fn texts_differ_from_others_and_not_from_themselves(left in "[ab0-9\n\u{e4}]{0,30}", right in "[ab0-9\n\u{e4}]{0,30}") {
        let options = listed();
        let compare = |left: &str, right: &str| {
            let mut found = difference::Found::new(&options);
            text::compare(&mut found, "resp.body", left, right);
            found.finish()
        };
        prop_assert_eq!(compare(&left, &left), ExchangeDiff::default());
        let (there, back) = (compare(&left, &right), compare(&right, &left));
        prop_assert_eq!((there.total, there.volatile), (back.total, back.volatile));
        prop_assert_eq!(there.total + there.volatile == 0, left == right);
    }
}
