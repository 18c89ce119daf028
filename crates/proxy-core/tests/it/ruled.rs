//! What rules do to exchanges, over both versions.

use std::time::{Duration, Instant};

use http::{HeaderValue, Method};
use proxy_core::{FailureKind, Outcome, ResponseSource};
use serde_json::{Value, json};
use testkit::{Origin, RawOrigin, Step, full, pattern, pattern_bytes};

use crate::lab::{Lab, Told};

const VERSIONS: [&[&str]; 2] = [&["http/1.1"], &["h2"]];

/// One answer under one rule, whose only condition is the path, and what was told of it.
async fn under(alpn: &[&str], rule: Value, path: &str) -> (testkit::Answer, Told) {
    let (lab, _) = Lab::with_rules(json!([{ "id": "r", "when": { "path": path }, "then": rule }])).await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    let mut client = lab.client(alpn).https(&origin.authority()).await.unwrap();
    let answer = client.get(path).await.unwrap();
    let told = lab.log.one().await;
    // The connection is as good as before, and other exchanges are not touched.
    assert_eq!(client.get("/json").await.unwrap().status, 200, "{alpn:?}");
    (answer, told)
}

#[tokio::test]
async fn a_mock_answers_without_upstream() {
    for alpn in VERSIONS {
        let mock = json!({ "mock": {
            "status": 503, "headers": { "x-by": "rule", "retry-after": "7" },
            "body": "no {{request.method}} of {{request.path}}", "template": true,
        } });
        let (answer, told) = under(alpn, json!([mock]), "/").await;
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (503, "no GET of /"), "{alpn:?}");
        assert_eq!((answer.header("x-by"), answer.header("content-length")), (Some("rule"), Some("11")));
        assert_eq!((told.outcome(), told.source), (&Outcome::Mock, Some(ResponseSource::Mock)));
        assert!(told.upstream.is_empty(), "{alpn:?}");
        assert_eq!(told.changes(), ["r: answered 503"]);
        assert_eq!(told.response_body(), "no GET of /");
    }
}

#[tokio::test]
async fn files_answer_whole_directories_and_redirects_lead_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("page.html"), "<p>local").unwrap();
    std::fs::write(directory.path().join("body.txt"), "from a file").unwrap();
    for alpn in VERSIONS {
        let (lab, _) = Lab::with_rules(json!([
            { "when": { "path": "/page.html" }, "then": [{ "map_local": { "directory": directory.path() } }] },
            { "when": { "path": "/missing" }, "then": [{ "map_local": { "directory": directory.path() } }] },
            { "when": { "path": "/mock" },
              "then": [{ "mock": { "body": { "file": directory.path().join("body.txt") } } }] },
            { "when": { "path": "/old" }, "then": [{ "redirect": { "to": "https://new.example/{{request.query.id}}" } }] },
        ]))
        .await;
        let origin = Origin::https(&lab.origin_ca).await.unwrap();
        let mut client = lab.client(alpn).https(&origin.authority()).await.unwrap();
        let page = client.get("/page.html").await.unwrap();
        assert_eq!((page.text().as_str(), page.status.as_u16()), ("<p>local", 200), "{alpn:?}");
        assert!(page.header("content-type").unwrap().starts_with("text/html"));
        assert_eq!(client.get("/missing").await.unwrap().status, 404);
        assert_eq!(client.get("/mock").await.unwrap().text(), "from a file");
        let moved = client.get("/old?id=9").await.unwrap();
        assert_eq!((moved.status.as_u16(), moved.header("location")), (302, Some("https://new.example/9")));
        assert_eq!(origin.seen().len(), 0);
    }
}

#[tokio::test]
async fn heads_are_edited_on_both_sides_and_hits_are_told_in_order() {
    for alpn in VERSIONS {
        let (lab, rules) = Lab::with_rules(json!([
            { "id": "late", "priority": 200, "then": [{ "request_headers": { "set": { "x-order": "late" } } }] },
            { "id": "early", "priority": 1, "then": [
                { "request_headers": { "set": { "x-order": "early", "x-early": "1" }, "remove": ["x-gone"] } },
                { "query": { "set": { "added": "a b" } } },
                { "response_headers": { "set": { "x-back": "1", "content-type": null } } },
            ] },
            { "id": "seen", "when": { "status": 200 }, "then": [{ "set_status": 203 }] },
            { "id": "other", "when": { "path": "/other" }, "then": ["drop"] },
        ]))
        .await;
        let origin = Origin::https(&lab.origin_ca).await.unwrap();
        let mut client = lab.client(alpn).https(&origin.authority()).await.unwrap();
        let mut request = client.request(Method::GET, "/headers?x=1", full("")).unwrap();
        request.headers_mut().insert("x-gone", HeaderValue::from_static("1"));
        let answer = client.fetch(request).await.unwrap();
        assert_eq!(answer.status, 203, "{alpn:?}");
        assert_eq!((answer.header("x-back"), answer.header("content-type")), (Some("1"), None));
        let seen = &origin.seen()[0];
        assert_eq!(
            (&seen.headers["x-order"], &seen.headers["x-early"]),
            (&"late".parse().unwrap(), &"1".parse().unwrap())
        );
        assert!(!seen.headers.contains_key("x-gone"));
        assert!(seen.uri.query().unwrap().starts_with("x=1&added=a"), "{}", seen.uri);
        let told = lab.log.one().await;
        let ids: Vec<_> = told.rules.iter().map(|hit| hit.rule.as_str()).collect();
        assert_eq!(ids[..2], ["early", "late"], "{:?}", told.changes());
        assert!(ids.contains(&"seen") && !ids.contains(&"other"));
        // What was on the wire stays what is recorded.
        assert_eq!(told.status(), Some(200));
        assert!(told.request.as_ref().unwrap().headers.contains("x-gone"));
        for (rule, hits) in [("early", 1), ("late", 1), ("seen", 1), ("other", 0)] {
            assert_eq!(rules.get(rule).unwrap().hit_count(), hits, "{rule}");
        }
    }
}

#[tokio::test]
async fn bodies_are_edited_on_both_sides_with_length_and_coding_right() {
    for alpn in VERSIONS {
        let (lab, _) = Lab::with_rules(json!([
            { "id": "up", "when": { "path": "/echo" }, "then": [
                { "request_body": [{ "find": "hello", "with": "a longer hello" }, { "regex": "w(or)ld", "with": "$1" }] },
                { "response_body": { "find": "or", "with": "and" } },
            ] },
            { "id": "zip", "when": { "path": "/gzip" }, "then": [{ "response_body": { "merge": { "greeting": null, "n": 1 } } }] },
        ]))
        .await;
        let origin = Origin::https(&lab.origin_ca).await.unwrap();
        let mut client = lab.client(alpn).https(&origin.authority()).await.unwrap();
        let answer = client.post("/echo", full("hello world")).await.unwrap();
        assert_eq!(answer.text(), "a longer hello and", "{alpn:?}");
        let zipped = client.get("/gzip").await.unwrap();
        assert_eq!(zipped.header("content-encoding"), Some("gzip"));
        let text = std::io::read_to_string(flate2::read::GzDecoder::new(&zipped.body[..])).unwrap();
        assert_eq!(text, r#"{"from":"the origin","n":1}"#, "{alpn:?}");
        let told = lab.log.ended(2).await;
        let echo = told.iter().find(|told| told.url().ends_with("/echo")).unwrap();
        assert_eq!(
            (&echo.request_body[..], &echo.response_body[..]),
            (&b"hello world"[..], &b"a longer hello or"[..])
        );
        assert!(echo.changes().iter().any(|change| change.contains("request body")), "{:?}", echo.changes());
    }
}

#[tokio::test]
async fn a_body_that_is_matched_is_read_first_and_one_over_the_limit_does_not_match() {
    for alpn in VERSIONS {
        let rules = proxy_core::Rules::new();
        for rule in [
            json!({ "id": "up", "when": { "body": { "contains": "needle" } }, "then": [{ "mock": { "status": 418 } }] }),
            json!({ "id": "down", "when": { "response_body": { "contains": "greeting" } }, "then": [{ "set_status": 299 }] }),
        ] {
            rules.add(serde_json::from_value(rule).unwrap()).unwrap();
        }
        let mut limits = proxy_core::Limits::default();
        limits.max_held_body_bytes = 1_000;
        let lab = Lab::with(|builder| builder.rules(rules).limits(limits)).await;
        let origin = Origin::https(&lab.origin_ca).await.unwrap();
        let mut client = lab.client(alpn).https(&origin.authority()).await.unwrap();
        assert_eq!(client.post("/echo", full("a needle here")).await.unwrap().status, 418, "{alpn:?}");
        assert_eq!(client.post("/echo", full("nothing here")).await.unwrap().text(), "nothing here");
        assert_eq!(client.get("/gzip").await.unwrap().status, 299);
        let large = format!("{}needle", "x".repeat(5_000));
        assert_eq!(client.post("/echo", full(large.clone())).await.unwrap().text(), large);
        assert_eq!(client.get("/chunked/3000000").await.unwrap().body, pattern_bytes(3_000_000));
    }
}

#[tokio::test]
async fn requests_go_to_another_origin_and_keep_their_host_if_asked() {
    for alpn in VERSIONS {
        for keep_host in [false, true] {
            let ca = testkit::TestCa::new().unwrap();
            let elsewhere = Origin::https(&ca).await.unwrap();
            let trust = proxy_core::UpstreamTrust::nobody().with_ca(ca.pem().as_bytes()).unwrap();
            let rules = proxy_core::Rules::new();
            let port = elsewhere.addr().port();
            let rule = json!({ "id": "move", "when": { "path": "/json" }, "then": [
                { "map_remote": { "port": port, "path": { "find": "/json", "with": "/headers" }, "keep_host": keep_host } },
            ] });
            rules.add(serde_json::from_value(rule).unwrap()).unwrap();
            let lab = Lab::with(|builder| builder.rules(rules).upstream_trust(trust)).await;
            let origin = Origin::https(&ca).await.unwrap();
            let mut client = lab.client(alpn).https(&origin.authority()).await.unwrap();
            assert_eq!(client.get("/json").await.unwrap().status, 200);
            assert_eq!((elsewhere.seen().len(), origin.seen().len()), (1, 0), "{alpn:?}");
            let seen = &elsewhere.seen()[0];
            assert_eq!(seen.uri.path(), "/headers");
            let host = seen.headers.get("host").map(|host| host.to_str().unwrap().to_owned());
            let named = seen.uri.authority().map(|authority| authority.to_string()).or(host);
            let expected = if keep_host { origin.authority() } else { elsewhere.authority() };
            assert_eq!(named, Some(expected), "{alpn:?} {keep_host}");
        }
    }
}

#[tokio::test]
async fn a_delay_and_a_slow_line_take_their_time() {
    for alpn in VERSIONS {
        let begun = Instant::now();
        let (_, told) = under(alpn, json!([{ "delay": { "ms": 120 } }]), "/").await;
        assert!(begun.elapsed() >= Duration::from_millis(120), "{alpn:?}");
        assert_eq!(told.changes(), ["r: delayed the request by 120 ms"]);
        let slow = json!([{ "throttle": { "down_bytes_per_second": 100_000, "latency_ms": 20 } }]);
        let begun = Instant::now();
        let (answer, told) = under(alpn, slow, "/chunked/30000").await;
        assert!(begun.elapsed() >= Duration::from_millis(270), "{alpn:?} {:?}", begun.elapsed());
        assert_eq!(answer.body, pattern_bytes(30_000));
        assert_eq!(told.outcome(), &Outcome::Response);
        // Answers of rules take the line as well.
        let mock = json!([
            { "throttle": { "down_bytes_per_second": 10_000 } }, { "mock": { "body": "x".repeat(2_000) } },
        ]);
        let begun = Instant::now();
        assert_eq!(under(alpn, mock, "/").await.0.body.len(), 2_000);
        assert!(begun.elapsed() >= Duration::from_millis(150), "{alpn:?} {:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn an_upload_is_slowed_and_arrives_whole() {
    for alpn in VERSIONS {
        let (lab, _) =
            Lab::with_rules(json!([{ "then": [{ "throttle": { "up_bytes_per_second": 400_000 } }] }])).await;
        let origin = Origin::https(&lab.origin_ca).await.unwrap();
        let mut client = lab.client(alpn).https(&origin.authority()).await.unwrap();
        let begun = Instant::now();
        let answer = client.post("/upload", pattern(100_000)).await.unwrap();
        assert!(answer.text().contains("100000"), "{alpn:?}");
        assert!(begun.elapsed() >= Duration::from_millis(200), "{alpn:?} {:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn broken_off_responses_look_broken_and_say_that_a_rule_did_it() {
    for alpn in VERSIONS {
        for path in ["/bytes/5000", "/chunked/5000"] {
            let (lab, _) = Lab::with_rules(json!([
                { "id": "cut", "then": [{ "truncate": { "after_bytes": 1000 } }] },
            ]))
            .await;
            let origin = Origin::https(&lab.origin_ca).await.unwrap();
            let mut client = lab.client(alpn).https(&origin.authority()).await.unwrap();
            client.get(path).await.unwrap_err();
            let told = lab.log.one().await;
            assert_eq!(told.failure(), FailureKind::Rule, "{alpn:?} {path}");
            assert_eq!(told.changes(), ["cut: cut the response body off after 1000 bytes"]);
        }
        let (answer, _) = under(alpn, json!([{ "truncate": { "after_bytes": 5000 } }]), "/bytes/5000").await;
        assert_eq!(answer.body.len(), 5_000, "{alpn:?}: what is no longer passes whole");
    }
}

#[tokio::test]
async fn a_truncated_response_passes_exactly_so_many_bytes() {
    let (lab, _) = Lab::with_rules(json!([{ "then": [{ "truncate": { "after_bytes": 1000 } }] }])).await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    let mut client = lab.client(&["http/1.1"]).raw_tls(&origin.authority()).await.unwrap();
    client.send("GET /bytes/5000 HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert!(client.read_head().await.unwrap().to_lowercase().contains("content-length: 5000"));
    assert_eq!(client.read_to_end().await.unwrap(), pattern_bytes(1_000));
}

#[tokio::test]
async fn corrupted_bodies_keep_their_length() {
    for alpn in VERSIONS {
        let (answer, told) =
            under(alpn, json!([{ "corrupt": { "every_bytes": 100 } }]), "/chunked/5000").await;
        let origin = pattern_bytes(5_000);
        let wrong: Vec<_> = (0..5_000).filter(|at| answer.body[*at] != origin[*at]).collect();
        assert_eq!(wrong, (1..=50).map(|n| n * 100 - 1).collect::<Vec<_>>(), "{alpn:?}");
        assert_eq!((told.response_body(), told.outcome()), (origin, &Outcome::Response));
    }
}

#[tokio::test]
async fn requests_can_be_cut_and_corrupted_too() {
    for alpn in VERSIONS {
        let (lab, _) = Lab::with_rules(json!([
            { "when": { "path": "/echo" }, "then": [{ "corrupt": { "every_bytes": 1, "side": "request" } }] },
            { "when": { "path": "/upload" }, "then": [{ "truncate": { "after_bytes": 10, "side": "request" } }] },
        ]))
        .await;
        let origin = Origin::https(&lab.origin_ca).await.unwrap();
        let mut client = lab.client(alpn).https(&origin.authority()).await.unwrap();
        assert_eq!(client.post("/echo", full("abc")).await.unwrap().text(), "`cb", "{alpn:?}");
        assert_eq!(client.post("/upload", full("x".repeat(50))).await.unwrap().status, 502);
        let told = lab.log.ended(2).await;
        let cut = told.iter().find(|told| told.url().ends_with("/upload")).unwrap();
        assert_eq!(cut.failure(), FailureKind::Rule);
    }
}

#[tokio::test]
async fn exchanges_end_without_an_answer_and_say_that_a_rule_did_it() {
    for alpn in VERSIONS {
        for (action, did) in [
            (json!("drop"), "r: dropped the exchange"),
            (json!("close"), "r: closed the connection"),
            (json!("reset"), "r: reset the connection"),
            (json!({ "time_out": { "ms": 30 } }), "r: let the client wait without an answer for up to 30ms"),
        ] {
            for when in [json!({ "path": "/" }), json!({ "path": "/", "status": 200 })] {
                let (lab, _) = Lab::with_rules(json!([{ "id": "r", "when": when, "then": [action] }])).await;
                let origin = Origin::https(&lab.origin_ca).await.unwrap();
                let mut client = lab.client(alpn).https(&origin.authority()).await.unwrap();
                client.get("/").await.unwrap_err();
                let told = lab.log.one().await;
                assert_eq!(told.failure(), FailureKind::Rule, "{alpn:?} {action}");
                assert_eq!(told.changes(), [did], "{alpn:?}");
                let mut client = lab.client(alpn).https(&origin.authority()).await.unwrap();
                assert_eq!(client.get("/json").await.unwrap().status, 200);
            }
        }
    }
}

#[tokio::test]
async fn a_reset_is_one_and_a_close_is_none() {
    for (action, is_reset) in [("reset", true), ("close", false), ("drop", false)] {
        let (lab, _) = Lab::with_rules(json!([{ "then": [action] }])).await;
        let mut client = lab.client(&[]).raw().await.unwrap();
        client.send("GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        match client.read_to_end().await {
            Ok(bytes) => assert!(!is_reset && bytes.is_empty(), "{action} {bytes:?}"),
            Err(error) => {
                assert!(is_reset && error.kind() == std::io::ErrorKind::ConnectionReset, "{action} {error:?}")
            }
        }
    }
}

#[tokio::test]
async fn over_http2_a_drop_ends_its_stream_and_a_close_lets_the_others_finish() {
    let (lab, _) = Lab::with_rules(json!([
        { "when": { "path": "/status/201" }, "then": ["drop"] },
        { "when": { "path": "/status/202" }, "then": ["close"] },
    ]))
    .await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    let mut client = lab.client(&["h2"]).https(&origin.authority()).await.unwrap();
    let slow = client.request(Method::GET, "/slow-headers", full("")).unwrap();
    let mut sender = client.h2_sender().unwrap();
    sender.ready().await.unwrap();
    let slow = tokio::spawn(sender.send_request(slow));
    client.get("/status/201").await.unwrap_err();
    assert_eq!(client.get("/json").await.unwrap().status, 200, "the connection goes on");
    client.get("/status/202").await.unwrap_err();
    origin.release();
    assert_eq!(slow.await.unwrap().unwrap().status(), 200, "what was under way finishes");
}

#[tokio::test]
async fn a_client_that_leaves_ends_what_it_waits_for() {
    for action in [json!({ "delay": { "ms": 3_600_000 } }), json!({ "time_out": { "ms": 3_600_000 } })] {
        for alpn in VERSIONS {
            let rules = proxy_core::Rules::new();
            rules.add(serde_json::from_value(json!({ "then": [action] })).unwrap()).unwrap();
            let mut timeouts = proxy_core::Timeouts::default();
            timeouts.half_closed = Duration::from_millis(1);
            let lab = Lab::with(|builder| builder.rules(rules).timeouts(timeouts)).await;
            let origin = Origin::https(&lab.origin_ca).await.unwrap();
            let mut client = lab.client(alpn).https(&origin.authority()).await.unwrap();
            let request = client.request(Method::GET, "/", full("")).unwrap();
            let waits = tokio::spawn(async move { client.send(request).await });
            lab.log.until("a request", |told| !told.is_empty()).await;
            waits.abort();
            assert_eq!(lab.log.one().await.failure(), FailureKind::ClientLeft, "{alpn:?}");
        }
    }
}

#[tokio::test]
async fn what_a_rule_does_to_responses_it_does_to_the_answer_of_a_later_rule() {
    for alpn in VERSIONS {
        let (lab, _) = Lab::with_rules(json!([
            { "id": "edit", "then": [
                { "response_headers": { "set": { "x-edited": "1" } } },
                { "response_body": { "find": "mock", "with": "edited mock" } },
            ] },
            { "id": "mock", "then": [{ "mock": { "body": "a mock" } }] },
            { "id": "never", "then": [{ "response_headers": { "set": { "x-never": "1" } } }] },
        ]))
        .await;
        let origin = Origin::https(&lab.origin_ca).await.unwrap();
        let mut client = lab.client(alpn).https(&origin.authority()).await.unwrap();
        let answer = client.get("/").await.unwrap();
        assert_eq!(answer.text(), "an edited mock".replace("an ", "a "), "{alpn:?}");
        assert_eq!((answer.header("x-edited"), answer.header("x-never")), (Some("1"), None));
        let told = lab.log.one().await;
        assert_eq!((told.response_body(), told.outcome()), ("a edited mock".into(), &Outcome::Mock));
    }
}

#[tokio::test]
async fn a_rule_on_the_response_may_answer_in_its_place() {
    for alpn in VERSIONS {
        let (lab, _) = Lab::with_rules(json!([
            { "id": "no", "when": { "status": "5xx" }, "then": [{ "mock": { "status": 200, "body": "fine" } }] },
        ]))
        .await;
        let origin = Origin::https(&lab.origin_ca).await.unwrap();
        let mut client = lab.client(alpn).https(&origin.authority()).await.unwrap();
        let answer = client.get("/status/503").await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "fine"), "{alpn:?}");
        assert_eq!(lab.log.one().await.outcome(), &Outcome::Mock);
    }
}

#[tokio::test]
async fn an_edit_of_the_rules_applies_to_the_next_exchange_on_the_same_connection() {
    for alpn in VERSIONS {
        let (lab, rules) = Lab::with_rules(json!([])).await;
        let origin = Origin::https(&lab.origin_ca).await.unwrap();
        let mut client = lab.client(alpn).https(&origin.authority()).await.unwrap();
        assert_eq!(client.get("/").await.unwrap().status, 200);
        let rule = json!({ "id": "r", "then": [{ "mock": { "status": 404 } }] });
        rules.add(serde_json::from_value(rule).unwrap()).unwrap();
        assert_eq!(client.get("/").await.unwrap().status, 404);
        rules.remove("r").unwrap();
        assert_eq!(client.get("/").await.unwrap().status, 200, "{alpn:?}");
        assert_eq!(origin.counts().connections, 1);
    }
}

#[tokio::test]
async fn an_exchange_keeps_the_rules_it_began_with() {
    let (lab, rules) = Lab::with_rules(json!([
        { "id": "r", "then": [{ "response_headers": { "set": { "x-rule": "1" } } }] },
    ]))
    .await;
    let script = vec![Step::ReadHead, Step::Wait, Step::send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")];
    let origin = RawOrigin::https(&lab.origin_ca, &["http/1.1"], vec![script]).await.unwrap();
    let mut client = lab.client(&["http/1.1"]).raw_tls(&origin.authority()).await.unwrap();
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    lab.log.until("a request", |told| told.iter().any(|told| !told.upstream.is_empty())).await;
    rules.remove("r").unwrap();
    origin.release();
    assert!(client.read_head().await.unwrap().contains("x-rule: 1"));
}
