use std::time::{Duration, SystemTime};

use super::*;

/// Whether a matcher matches a request, live and explained.
fn matches(when: &str, lab: &Lab) -> bool {
    let rules = rules(&[&format!(r#"{{"when": {when}}}"#)]);
    let explained = rules.explain(&lab.asked(), None, SystemTime::now());
    let now = SystemTime::now();
    let live = Course::begin(&rules, &lab.asked())
        .is_some_and(|mut course| !course.request(&lab.asked(), now).hits.is_empty());
    assert_eq!(explained.rules[0].applies, live, "{when}: {:?}", explained.rules[0]);
    live
}

#[test]
fn each_part_of_a_matcher_holds_or_fails() {
    let lab = || {
        Lab::get("https://API.Example.com/v1/Users?page=2&q=a+b&page=3")
            .method("PROPFIND")
            .header("X-Env", "staging")
            .header("Accept", "text/html")
            .header("accept", "application/json")
            .body(r#"{"user": {"id": 7, "name": "Ada"}, "on": true}"#)
    };
    for (when, expected) in [
        ("{}", true),
        (r#"{"method": "PROPFIND"}"#, true),
        (r#"{"method": "propfind"}"#, true),
        (r#"{"method": "GET"}"#, false),
        (r#"{"method": ["GET", "PROPFIND"]}"#, true),
        (r#"{"scheme": "https"}"#, true),
        (r#"{"scheme": "http"}"#, false),
        (r#"{"url": "https://api.example.com/v1/*"}"#, true),
        (r#"{"url": "https://API.EXAMPLE.com/v1/*"}"#, true),
        (r#"{"url": "https://api.example.com/v1/users*"}"#, false),
        (r#"{"url": {"contains": "page=2"}}"#, true),
        (r#"{"url": {"regex": "[?&]page=\\d+$"}}"#, true),
        (r#"{"url": {"exact": "https://api.example.com/v1/Users"}}"#, false),
        (r#"{"host": "api.example.COM"}"#, true),
        (r#"{"host": "*.example.com"}"#, true),
        (r#"{"host": ["other", "*.com"]}"#, true),
        (r#"{"host": "example.com"}"#, false),
        (r#"{"host": "api.example.com:443"}"#, true),
        (r#"{"host": {"regex": "^API\\."}}"#, true),
        (r#"{"port": 443}"#, true),
        (r#"{"port": [80, 8080]}"#, false),
        (r#"{"path": "/v1/Users"}"#, true),
        (r#"{"path": {"glob": "/v1/users", "ignore_case": true}}"#, true),
        (r#"{"path": "/v1/Users?page=2*"}"#, false),
        (r#"{"query": {"page": "3"}}"#, true),
        (r#"{"query": {"q": "a b"}}"#, true),
        (r#"{"query": {"q": true, "none": false}}"#, true),
        (r#"{"query": {"page": false}}"#, false),
        (r#"{"headers": {"x-env": "stag*"}}"#, true),
        (r#"{"headers": {"ACCEPT": "application/json"}}"#, true),
        (r#"{"headers": {"cookie": false}}"#, true),
        (r#"{"headers": {"x-env": {"regex": "^prod"}}}"#, false),
        (r#"{"body": {"contains": "Ada"}}"#, true),
        (r#"{"body": {"contains": "Bob"}}"#, false),
        (r#"{"body_json": [{"at": "/user/id", "equals": 7.0}]}"#, true),
        (r#"{"body_json": [{"at": "/user/name", "fits": "A*"}, {"at": "/on", "equals": true}]}"#, true),
        (r#"{"body_json": [{"at": "/user/id", "equals": "7"}]}"#, false),
        (r#"{"body_json": [{"at": "/none"}]}"#, false),
        (r#"{"protocol": "http/1.1"}"#, true),
        (r#"{"protocol": ["h2", "websocket"]}"#, false),
        (r#"{"listener": "explicit"}"#, true),
        (r#"{"listener": ["socks", "reverse"]}"#, false),
        (r#"{"client": "127.0.0.0/8"}"#, true),
        (r#"{"client": "10.0.0.1"}"#, false),
        (r#"{"window": {"from": "2020-01-01T00:00:00Z"}}"#, true),
        (r#"{"window": {"until": "2020-01-01T00:00:00Z"}}"#, false),
        (r#"{"probability": 1}"#, true),
        (r#"{"probability": 0}"#, false),
        (r#"{"nth": 1}"#, true),
        (r#"{"nth": 2}"#, false),
        (r#"{"method": "PROPFIND", "host": "*.example.com", "path": "/v2/*"}"#, false),
    ] {
        assert_eq!(matches(when, &lab()), expected, "{when}");
    }
}

#[test]
fn a_websocket_request_is_told_by_its_upgrade() {
    let lab = Lab::get("http://h/ws").header("Upgrade", "websocket");
    assert!(
        !matches(r#"{"protocol": "websocket"}"#, &lab),
        "a field that Connection does not name asks for nothing"
    );
    let lab = lab.header("Connection", "keep-alive, Upgrade");
    assert!(matches(r#"{"protocol": "websocket"}"#, &lab));
    assert!(matches(r#"{"protocol": "http/1.1"}"#, &lab));
}

#[test]
fn a_body_is_asked_for_only_where_a_rule_that_still_can_match_needs_it() {
    let lab = Lab::get("http://a.example/x").body("needle");
    for (all, expected) in [
        (vec![r#"{"when": {"host": "a.example", "body": {"contains": "needle"}}}"#], true),
        (vec![r#"{"when": {"path": "/y", "body": {"contains": "needle"}}}"#, r#"{"when": {}}"#], false),
        (vec![r#"{"then": ["drop"]}"#, r#"{"when": {"body": {"contains": "needle"}}}"#], false),
        (vec![r#"{"when": {"nth": 2}, "then": ["drop"]}"#, r#"{"when": {"body": "needle"}}"#], true),
        (vec![r#"{"when": {"response_body": "x", "body_json": [{"at": "/a"}]}}"#], true),
    ] {
        let rules = rules(&all);
        let course = Course::begin(&rules, &lab.asked()).unwrap();
        assert_eq!(course.needs_request_body(&lab.asked()), expected, "{all:?}");
    }
}

#[test]
fn a_body_that_cannot_be_seen_does_not_match_and_says_why() {
    let lab = Lab::get("http://a.example/x");
    let rules = rules(&[r#"{"when": {"body": {"contains": "needle"}}}"#]);
    for (body, why) in [
        (Seen::OverLimit, "over the limit"),
        (Seen::Undecodable, "its content coding cannot be decoded"),
        (Seen::NotRead, "not read"),
    ] {
        let asked = Asked { body, ..lab.asked() };
        let explained = rules.explain(&asked, None, SystemTime::now());
        assert_eq!(explained.rules[0].matched, Matched::Unknown);
        assert_eq!(explained.rules[0].checks[0].holds, Holds::Unknown(why));
        let mut course = Course::begin(&rules, &asked).unwrap();
        assert!(course.request(&asked, SystemTime::now()).hits.is_empty());
    }
}

#[test]
fn the_nth_match_counts_matches_and_nothing_else() {
    let rules = rules(&[r#"{"when": {"path": "/a", "nth": {"from": 2, "to": 3}}}"#]);
    let (a, b) = (Lab::get("http://h/a"), Lab::get("http://h/b"));
    let mut seen = Vec::new();
    for lab in [&a, &b, &a, &a, &b, &a] {
        // Explaining uses nothing up.
        let _ = rules.explain(&lab.asked(), None, SystemTime::now());
        let course = Course::begin(&rules, &lab.asked());
        seen.push(
            course.is_some_and(|mut course| !course.request(&lab.asked(), SystemTime::now()).hits.is_empty()),
        );
    }
    assert_eq!(seen, [false, false, true, true, false, false]);
    let active = &rules.list()[0];
    assert_eq!(active.hit_count(), 2);
    assert!(active.last_hit().unwrap() > SystemTime::now() - Duration::from_secs(600));
}

#[test]
fn chance_comes_out_the_same_for_the_same_seed_and_about_right() {
    let lab = Lab::get("http://h/a");
    let run = |seed| {
        let rules = Rules::with_seed(seed);
        rules.add(rule(r#"{"when": {"probability": 0.25}}"#)).unwrap();
        let mut hits = Vec::new();
        for _ in 0..1000 {
            let mut course = Course::begin(&rules, &lab.asked()).unwrap();
            hits.push(!course.request(&lab.asked(), SystemTime::now()).hits.is_empty());
        }
        hits
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
    let share = run(3).iter().filter(|hit| **hit).count();
    assert!((180..320).contains(&share), "{share}");
}
