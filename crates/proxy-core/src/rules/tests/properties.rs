use std::time::SystemTime;

use proptest::{prelude::*, sample::select};

use super::*;

/// A part of a matcher, so that some hold and some fail.
fn part() -> impl Strategy<Value = &'static str> {
    select(vec![
        r#""method": "GET""#,
        r#""method": ["POST", "PROPFIND"]"#,
        r#""host": "a.example""#,
        r#""host": "*.example""#,
        r#""host": ["b.example:8443", "c.example"]"#,
        r#""host": {"contains": "EXAMPLE"}"#,
        r#""path": "/api/*""#,
        r#""path": {"regex": "^/(api|v1)/"}"#,
        r#""path": ["/api/users", {"contains": "static"}]"#,
        r#""url": "https://*""#,
        r#""url": {"contains": "page="}"#,
        r#""url": {"regex": "(?i)USERS.*[?]"}"#,
        r#""query": {"page": "2"}"#,
        r#""query": {"page": false}"#,
        r#""headers": {"x-env": "prod"}"#,
        r#""headers": {"x-env": false}"#,
        r#""body": {"contains": "needle"}"#,
        r#""body_json": [{"at": "/n", "equals": 1}]"#,
        r#""status": "5xx""#,
        r#""status": 200"#,
        r#""response_headers": {"content-type": "application/json"}"#,
        r#""response_body": {"contains": "error"}"#,
        r#""nth": 1"#,
        r#""nth": {"from": 2}"#,
        r#""window": {"until": "2020-01-01T00:00:00Z"}"#,
    ])
}

fn action() -> impl Strategy<Value = &'static str> {
    select(vec![
        "",
        r#"{"response_headers": {"set": {"x": "1"}}}"#,
        r#"{"delay": {"ms": 1}}"#,
        r#"{"mock": {"status": 503}}"#,
        r#"{"breakpoint": {"at": "both"}}"#,
        r#""drop""#,
    ])
}

prop_compose! {
    fn any_rule()(
        parts in prop::collection::btree_set(part(), 0..4),
        action in action(),
        priority in 0..4,
        stop in prop::bool::weighted(0.1),
        enabled in prop::bool::weighted(0.9),
    ) -> String {
        // One of each key: the first of those that begin alike.
        let mut kept: Vec<&str> = Vec::new();
        for part in parts {
            let key = part.split(':').next().unwrap();
            if kept.iter().all(|other| other.split(':').next().unwrap() != key) {
                kept.push(part);
            }
        }
        let when = kept.join(",");
        format!(r#"{{"priority": {priority}, "stop": {stop}, "enabled": {enabled}, "when": {{{when}}}, "then": [{action}]}}"#)
    }
}

prop_compose! {
    fn any_lab()(
        method in select(vec!["GET", "POST", "PROPFIND"]),
        origin in select(vec!["http://A.example", "https://b.example:8443", "https://x.c.example", "http://c.example"]),
        target in select(vec!["/", "/api/users?page=2", "/api/users", "/v1/Users?q", "/static/page=1"]),
        env in select(vec!["", "prod", "dev"]),
        body in select(vec!["", "needle", r#"{"n": 1}"#]),
    ) -> Lab {
        let lab = Lab::get(&format!("{origin}{target}")).method(method).body(body);
        if env.is_empty() { lab } else { lab.header("X-Env", env) }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn explaining_and_matching_agree(
        all in prop::collection::vec(any_rule(), 0..8),
        lab in any_lab(),
        status in select(vec![200, 404, 503]),
        content in select(vec!["application/json", "text/html"]),
        body in select(vec!["error", "fine"]),
    ) {
        let all: Vec<_> = all.iter().map(String::as_str).collect();
        let rules = rules(&all);
        let head = response(status, &[("Content-Type", content)]);
        let answered = Answered { head: &head, body: Seen::Whole(body.as_bytes()) };
        let now = SystemTime::now();
        let explained = rules.explain(&lab.asked(), Some(&answered), now);
        // Explaining twice says the same: nothing was used up.
        let again = rules.explain(&lab.asked(), Some(&answered), now);
        prop_assert_eq!(&explained.actions, &again.actions);

        let (mut applied, mut did) = (Vec::new(), Vec::new());
        if let Some(mut course) = Course::begin(&rules, &lab.asked()) {
            let plan = course.request(&lab.asked(), now);
            let ended = plan.steps.last().is_some_and(|step| step.action().ends_the_round());
            applied.extend(hits(&plan).into_iter().map(str::to_owned));
            did.extend(steps(&plan));
            let plan = if ended { course.own_answer() } else { course.response(&answered, now) };
            applied.extend(hits(&plan).into_iter().map(str::to_owned));
            did.extend(steps(&plan));
        }
        let foreseen: Vec<_> =
            explained.actions.iter().map(|step| format!("{}:{}", step.rule, step.action)).collect();
        prop_assert_eq!(foreseen, did);
        for rule in &explained.rules {
            prop_assert_eq!(rule.applies, applied.contains(&rule.id), "{:?}", rule);
            // What applies matches, and what matches applies unless it is off or a rule before it ended the round.
            prop_assert!(!rule.applies || rule.matched == Matched::Yes, "{:?}", rule);
            let counted = rules.get(&rule.id).unwrap().hit_count();
            prop_assert_eq!(counted, u64::from(rule.applies));
        }
        if !rules.list().iter().any(|rule| rule.rule().ends_the_round()) {
            for rule in &explained.rules {
                prop_assert_eq!(rule.applies, rule.enabled && rule.matched == Matched::Yes, "{:?}", rule);
            }
        }
    }

    #[test]
    fn no_text_makes_reading_rules_panic(text in ".{0,200}") {
        let rules = Rules::new();
        let _ = rules.replace_with_text(&text, FileFormat::Toml);
        let _ = rules.replace_with_text(&text, FileFormat::Json);
    }
}
