use std::time::SystemTime;

use super::*;

fn request(rules: &Rules, lab: &Lab) -> (Course, Plan) {
    let mut course = Course::begin(rules, &lab.asked()).unwrap();
    let plan = course.request(&lab.asked(), SystemTime::now());
    (course, plan)
}

const HEADER: &str = r#"{"request_headers": {"set": {"x-a": "1"}}}"#;

#[test]
fn rules_run_by_priority_then_age_and_add_up() {
    let rules = rules(&[
        &format!(r#"{{"id": "late", "priority": 200, "then": [{HEADER}]}}"#),
        &format!(r#"{{"id": "old", "then": [{HEADER}, {{"delay": {{"ms": 1}}}}]}}"#),
        &format!(r#"{{"id": "young", "then": [{HEADER}]}}"#),
        &format!(r#"{{"id": "first", "priority": -5, "then": [{HEADER}]}}"#),
        r#"{"id": "off", "enabled": false, "then": ["drop"]}"#,
    ]);
    let (_, plan) = request(&rules, &Lab::get("http://h/"));
    let expected = ["first:request_headers", "old:request_headers", "old:delay", "young:request_headers"];
    assert_eq!(steps(&plan)[..4], expected);
    assert_eq!(hits(&plan), ["first", "old", "young", "late"]);
}

#[test]
fn the_first_answer_ends_the_round() {
    let rules = rules(&[
        r#"{"id": "cors", "priority": 1, "then": [{"response_headers": {"set": {"x": "1"}}}]}"#,
        r#"{"id": "mock", "priority": 2, "then": [{"delay": {"ms": 1}}, {"mock": {"status": 503}}]}"#,
        r#"{"id": "never", "priority": 3, "then": ["drop"]}"#,
    ]);
    let (course, plan) = request(&rules, &Lab::get("http://h/"));
    assert_eq!(steps(&plan), ["mock:delay", "mock:mock"]);
    assert_eq!(hits(&plan), ["cors", "mock"]);
    assert_eq!(steps(&course.own_answer()), ["cors:response_headers"]);
    assert_eq!(rules.get("never").unwrap().hit_count(), 0);
}

#[test]
fn stop_leaves_out_what_comes_after() {
    let rules = rules(&[
        &format!(r#"{{"id": "a", "priority": 1, "stop": true, "then": [{HEADER}]}}"#),
        &format!(r#"{{"id": "b", "priority": 2, "then": [{HEADER}]}}"#),
    ]);
    let (_, plan) = request(&rules, &Lab::get("http://h/"));
    assert_eq!(hits(&plan), ["a"]);
}

#[test]
fn rules_that_look_at_the_response_run_in_their_place_among_the_others() {
    let edit = r#"{"response_headers": {"set": {"x": "1"}}}"#;
    let rules = rules(&[
        &format!(r#"{{"id": "all", "priority": 2, "then": [{edit}]}}"#),
        &format!(r#"{{"id": "errors", "priority": 1, "when": {{"status": "5xx"}}, "then": [{edit}]}}"#),
        r#"{"id": "teapot", "priority": 3, "when": {"status": 418}, "then": [{"mock": {"status": 200}}]}"#,
        &format!(r#"{{"id": "last", "priority": 4, "then": [{edit}]}}"#),
    ]);
    for (status, expected) in [
        (200, vec!["all:response_headers", "last:response_headers"]),
        (503, vec!["errors:response_headers", "all:response_headers", "last:response_headers"]),
        (418, vec!["all:response_headers", "teapot:mock"]),
    ] {
        let (mut course, plan) = request(&rules, &Lab::get("http://h/"));
        assert!(plan.is_empty());
        assert!(!course.is_done_with_response());
        let head = response(status, &[]);
        let answered = Answered { head: &head, body: Seen::NotRead };
        assert!(!course.needs_response_body(&answered));
        assert_eq!(steps(&course.response(&answered, SystemTime::now())), expected, "{status}");
    }
    assert_eq!(rules.get("errors").unwrap().hit_count(), 1);
}

#[test]
fn response_bodies_are_asked_for_only_where_the_head_fits() {
    let rules = rules(&[
        r#"{"when": {"response_headers": {"content-type": "application/json*"}, "response_body_json": [{"at": "/error"}]}}"#,
    ]);
    for (kind, body, needs, holds) in [
        ("text/html", r#"{"error": 1}"#, false, false),
        ("application/json; charset=utf-8", r#"{"error": 1}"#, true, true),
        ("application/json", "{}", true, false),
    ] {
        let (mut course, _) = request(&rules, &Lab::get("http://h/"));
        let head = response(200, &[("Content-Type", kind)]);
        assert_eq!(course.needs_response_body(&Answered { head: &head, body: Seen::NotRead }), needs);
        let answered = Answered { head: &head, body: Seen::Whole(body.as_bytes()) };
        assert_eq!(course.response(&answered, SystemTime::now()).hits.len(), usize::from(holds), "{body}");
    }
}

#[test]
fn an_exchange_keeps_the_rules_it_began_with() {
    let rules = rules(&[
        r#"{"id": "a", "then": [{"response_headers": {"set": {"x": "1"}}}]}"#,
        r#"{"id": "b", "when": {"status": 200}}"#,
    ]);
    let (mut course, _) = request(&rules, &Lab::get("http://h/"));
    rules.replace_all(Vec::new()).unwrap();
    assert!(Course::begin(&rules, &Lab::get("http://h/").asked()).is_none());
    let head = response(200, &[]);
    let plan = course.response(&Answered { head: &head, body: Seen::NotRead }, SystemTime::now());
    assert_eq!(steps(&plan), ["a:response_headers"]);
    assert_eq!(hits(&plan), ["b"]);
}

#[test]
fn edits_keep_ids_ages_and_counts() {
    let rules = rules(&[r#"{"when": {"path": "/a"}}"#, r#"{"name": "two"}"#]);
    request(&rules, &Lab::get("http://h/a"));
    let before = rules.get("r1").unwrap();
    assert_eq!(before.hit_count(), 1);
    let after = rules.merge("r1", r#"{"name": "new", "when": {"method": "GET"}, "priority": 7}"#).unwrap();
    assert_eq!((after.hit_count(), after.created_at()), (1, before.created_at()));
    // Merged, not replaced: the path is still there.
    assert_eq!(
        after.rule().to_json(),
        r#"{"id":"r1","name":"new","priority":7,"when":{"method":"GET","path":"/a"},"then":[]}"#
    );
    rules.disable("r1").unwrap();
    assert_eq!(hits(&request(&rules, &Lab::get("http://h/a")).1), ["r2"]);
    rules.enable("r1").unwrap();
    assert_eq!(hits(&request(&rules, &Lab::get("http://h/a")).1), ["r1", "r2"]);
    rules.remove("r2").unwrap();
    // An id is never given twice.
    assert_eq!(rules.add(rule("{}")).unwrap().id(), "r3");
}

#[test]
fn an_edit_that_is_refused_changes_nothing() {
    let rules = rules(&[r#"{"id": "a", "when": {"url": "http://h/*"}}"#]);
    let before = rules.to_text(FileFormat::Json).unwrap();
    assert!(rules.merge("a", r#"{"when": {"url": {"regex": "["}}}"#).is_err());
    assert!(rules.merge("a", r#"{"nonsense": 1}"#).is_err());
    assert!(rules.merge("b", "{}").is_err());
    assert!(rules.add(rule(r#"{"id": "a"}"#)).is_err());
    assert!(rules.remove("b").is_err());
    assert!(rules.replace_all(vec![rule(r#"{"id": "x"}"#), rule(r#"{"id": "x"}"#)]).is_err());
    assert!(rules.replace_with_text("[[rules]]\nwhen = 3\n", FileFormat::Toml).is_err());
    assert_eq!(rules.to_text(FileFormat::Json).unwrap(), before);
    let (_, plan) = request(&rules, &Lab::get("http://h/a"));
    assert_eq!(hits(&plan), ["a"]);
}

#[test]
fn without_an_enabled_rule_there_is_nothing_to_begin() {
    let rules = Rules::new();
    let lab = Lab::get("http://h/");
    assert!(Course::begin(&rules, &lab.asked()).is_none());
    rules.add(Rule::when(Matcher::any()).disabled()).unwrap();
    assert!(Course::begin(&rules, &lab.asked()).is_none());
    rules.enable("r1").unwrap();
    assert!(Course::begin(&rules, &lab.asked()).is_some());
}
