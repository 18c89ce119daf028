use std::path::Path;

use super::*;

#[test]
fn a_problem_is_told_with_its_place() {
    for (format, text, place, said) in [
        (
            FileFormat::Toml,
            "version = 1\n\n[[rules]]\nname = \"a\"\n\n[[rules]]\nwhen.url = { regex = \"[\" }\n",
            (7, 22, "rules[1].when.url.regex"),
            "does not compile",
        ),
        (
            FileFormat::Json,
            "{\"version\": 1, \"rules\": [\n  {\"when\": {\"url\": {\"regex\": \"(\"}}}\n]}",
            (2, 0, "rules[0].when.url.regex"),
            "does not compile",
        ),
        (
            FileFormat::Toml,
            "[[rules]]\nthen = [{ mock = { status = 99 } }]\n",
            (2, 29, "rules[0].then[0].mock.status"),
            "200 to 999",
        ),
        (FileFormat::Toml, "[[rules]]\nwen = {}\n", (2, 1, "rules[0].wen"), "unknown field"),
        (FileFormat::Toml, "[[rules]\n", (1, 0, ""), ""),
        (FileFormat::Json, "{\"rules\": []} x", (1, 0, ""), "something follows"),
        (
            FileFormat::Toml,
            "[[rules]]\nwhen.status = 500\nthen = [{ set_method = \"PUT\" }]\n",
            (1, 0, "rules[0]"),
            "then[0]: `set_method` changes the request",
        ),
        (
            FileFormat::Toml,
            "[[rules]]\nthen = [\"drop\", \"close\"]\n",
            (1, 0, "rules[0]"),
            "nothing runs after",
        ),
        (
            FileFormat::Toml,
            "[[rules]]\nthen = [\"explode\"]\n",
            (2, 9, "rules[0].then[0]"),
            "unknown variant",
        ),
        (FileFormat::Toml, "[[rules]]\nid = \"a b\"\n", (2, 0, "rules[0].id"), "letters"),
    ] {
        let error = Rules::new().replace_with_text(text, format).unwrap_err();
        let told = error.place();
        let (line, column, path) = place;
        assert_eq!(told.line, Some(line), "{error}");
        if column > 0 {
            assert_eq!(told.column, Some(column), "{error}");
        }
        assert_eq!(told.path, path, "{error}");
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[test]
fn a_newer_version_is_refused() {
    let error = Rules::new().replace_with_text("version = 2", FileFormat::Toml).unwrap_err();
    assert_eq!(error.kind(), &RuleErrorKind::Version(2));
}

#[test]
fn what_is_written_reads_back() {
    let rules = rules(&[
        r#"{"name": "n", "priority": 3, "stop": true, "when": {"method": ["GET", "PUT"], "url": {"regex": "a+", "ignore_case": true},
            "host": ["*.example.com:81", {"regex": "x"}], "port": 80, "query": {"a": true, "b": "x*"},
            "body_json": [{"at": "/a~1b", "equals": {"c": [1]}}], "protocol": "http/2", "client": "10.0.0.0/8",
            "status": [404, "5xx", "400-403"], "window": {"until": "2030-01-01T00:00:00Z"}, "nth": {"from": 2},
            "probability": 0.5},
            "then": [{"response_body": [{"find": "a", "with": "b"}, {"merge": {"a": 1}}, {"patch": [{"op": "remove", "path": "/a"}]}]},
            {"throttle": "3G"}, {"corrupt": {"every_bytes": 3}}, {"truncate": {"after_bytes": 1}}, {"breakpoint": {}},
            {"mock": {"headers": {"set-cookie": ["a=1", "b=2"]}, "body": {"base64": "AAE="}}}]}"#,
        r#"{"then": [{"map_remote": {"scheme": "https", "host": "::1", "path": {"regex": "^/a", "with": "/b"}}},
            {"query": {"set": {"a": "1"}, "remove": ["b"]}}, {"edit_messages": {"from": "client", "then": "drop"}},
            {"inject_message": {"to": "client", "content": "hi", "after_ms": 5}},
            {"throttle": {"down_bytes_per_second": 1000, "latency_ms": 20}},
            {"redirect": {"to": "https://x{{request.target}}", "status": 307}}]}"#,
    ]);
    for format in [FileFormat::Toml, FileFormat::Json] {
        let text = rules.to_text(format).unwrap();
        let again = Rules::new();
        again.replace_with_text(&text, format).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(again.to_text(format).unwrap(), text);
        for (a, b) in rules.list().iter().zip(again.list()) {
            assert_eq!(a.rule(), b.rule(), "{text}");
        }
    }
}

#[test]
fn null_removes_and_only_json_can_say_it() {
    let rules = rules(&[r#"{"then": [{"request_headers": {"set": {"cookie": null}}}]}"#]);
    assert!(rules.to_text(FileFormat::Json).unwrap().contains("\"cookie\": null"));
}

#[test]
fn files_are_told_by_their_extension_and_keep_the_old_rules_when_they_are_bad() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("rules.toml");
    std::fs::write(&path, "[[rules]]\nid = \"a\"\nthen = [{ mock = { body = { file = \"b.txt\" } } }]\n")
        .unwrap();
    let rules = Rules::new();
    rules.load(&path).unwrap();
    let active = rules.get("a").unwrap();
    let Action::Mock(mock) = &active.rule().then[0] else { panic!() };
    assert_eq!(mock.body.file(), Some(directory.path().join("b.txt").as_path()));
    std::fs::write(&path, "[[rules]]\nthen = 1\n").unwrap();
    let error = rules.load(&path).unwrap_err();
    assert_eq!(error.place().file.as_deref(), Some(path.as_path()));
    assert_eq!(rules.list().len(), 1);
    assert!(FileFormat::of(Path::new("rules.yaml")).is_err());
}
