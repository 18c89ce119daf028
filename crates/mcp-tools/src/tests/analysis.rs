//! What the analysis tools say of sessions made for it.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use capture_store::{Exchange, ExchangeState, ImportedExchange};
use proxy_core::{Failure, FailureKind, Headers, RequestHead, ResponseHead, Scheme};
use serde_json::{Value, json};

use super::support::{Bench, Fed, call, params};

/// An exchange with `host`, in a session of its own that is not recorded here.
struct Made {
    method: &'static str,
    host: &'static str,
    target: String,
    status: u16,
    ms: u64,
    request: (Vec<(&'static str, String)>, String),
    response: (Vec<(&'static str, String)>, Bytes),
}

impl Made {
    fn get(host: &'static str, target: impl Into<String>) -> Self {
        let (request, response) = ((Vec::new(), String::new()), (Vec::new(), Bytes::new()));
        Self { method: "GET", host, target: target.into(), status: 200, ms: 10, request, response }
    }

    fn json(mut self, body: &Value) -> Self {
        self.response.0.push(("Content-Type", "application/json".to_owned()));
        self.response.1 = body.to_string().into();
        self
    }

    fn imported(self, index: u64) -> ImportedExchange {
        let fields = |fields: Vec<(&str, String)>| {
            let mut headers = Headers::new();
            fields.into_iter().for_each(|(name, value)| headers.push(name.to_owned(), value));
            headers
        };
        let head = RequestHead {
            method: self.method.parse().unwrap(),
            scheme: Scheme::Https,
            authority: self.host.to_owned(),
            target: self.target,
            version: http::Version::HTTP_11,
            headers: fields(self.request.0),
        };
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_000 + index * 1_000);
        let mut exchange = Exchange::new(head, at);
        exchange.timings.total = Duration::from_millis(self.ms);
        exchange.request_body.wire_bytes = self.request.1.len() as u64;
        exchange.response_body.wire_bytes = self.response.1.len() as u64;
        (exchange.request_body.complete, exchange.response_body.complete) = (true, true);
        if self.status == 0 {
            let failure = Failure::new(FailureKind::ConnectionRefused, "nobody listens");
            exchange.summary.state = ExchangeState::Failed(failure);
        } else {
            exchange.summary.state = ExchangeState::Response;
            let mut head = ResponseHead::new(http::StatusCode::from_u16(self.status).unwrap());
            head.headers = fields(self.response.0);
            exchange.response = Some(head);
        }
        let body = |bytes: Bytes| (!bytes.is_empty()).then_some(bytes);
        ImportedExchange {
            exchange,
            request_body: body(self.request.1.into()).map(Into::into),
            response_body: body(self.response.1).map(Into::into),
            messages: capture_store::ImportMessages::default(),
        }
    }
}

/// Imports a session and gives its id.
async fn import(bench: &Bench, made: Vec<Made>) -> String {
    let store = bench.toolbox.fresh_store().await.unwrap();
    let mut import = store.import("made", None).unwrap();
    for (index, made) in made.into_iter().enumerate() {
        import.add(made.imported(index as u64)).unwrap();
    }
    import.finish().unwrap().id.to_string()
}

fn shop(ms: u64) -> Vec<Made> {
    let mut made = Vec::new();
    for n in 0..40 {
        made.push(Made::get("api.test", format!("/users/{n}")));
        let orders = Made::get("api.test", format!("/orders/{n}?page=1"));
        made.push(Made { status: if n % 4 == 0 { 500 } else { 200 }, ms, ..orders });
        made.push(Made::get("cdn.test", format!("/img/{n}.png")));
    }
    made.push(Made { status: 0, ..Made::get("down.test", "/") });
    made
}

#[tokio::test]
async fn groups_are_counted_and_what_got_slower_is_one_call() {
    let bench = Bench::new().await;
    let (before, after) = (import(&bench, shop(100)).await, import(&bench, shop(700)).await);
    let told = call!(
        bench,
        aggregate,
        json!({"session": before, "by": ["host", "template"], "filter": "host:api.test", "order_by": "errors"})
    );
    assert_eq!(told["columns"], json!(["host", "template", "count", "errors", "bytes", "p50", "p95", "p99"]));
    assert_eq!(told["rows"][0], json!(["api.test", "/orders/{id}", 40, 10, 0, 100, 100, 100]));
    assert_eq!((&told["groups"], &told["exchanges"]), (&json!(2), &json!(80)));

    let slower = call!(bench, aggregate, json!({"session": after, "by": ["template"], "compare_to": before}));
    assert_eq!(slower["rows"][0], json!(["/orders/{id}", 40, 40, 10, 10, 700, 100, 700, 100]));
    let window =
        json!({"session": after, "by": ["host"], "filter": "path:/orders", "compare_to": "path:/users"});
    let window = call!(bench, aggregate, window);
    assert_eq!(window["rows"][0], json!(["api.test", 40, 40, 10, 0, 700, 10, 700, 10]));

    let page = call!(bench, aggregate, json!({"session": after, "by": ["url"], "limit": 100}));
    let rest = call!(bench, aggregate, page["next"]["arguments"].clone());
    assert_eq!(page["rows"].as_array().unwrap().len() + rest["rows"].as_array().unwrap().len(), 121);
    for (wrong, code) in [
        (json!({"by": ["hots"]}), "by"),
        (json!({"order_by": "p50_change"}), "order_by"),
        (json!({"filter": "status:abc"}), "filter"),
        (json!({"compare_to": "status:abc"}), "compare_to"),
    ] {
        let error = bench.toolbox.aggregate(params("aggregate", wrong)).await.err().unwrap().to_string();
        assert!(error.starts_with(code), "{error}");
    }
}

#[tokio::test]
async fn a_summary_has_two_kilobytes_whatever_the_session() {
    let bench = Bench::new().await;
    let mut made = shop(100);
    for n in 0..300 {
        let host: &'static str =
            Box::leak(format!("host-with-a-long-name-{n}.example.test").into_boxed_str());
        let target = format!("/a/long/path/of/many/segments/for/number/{n}/{}", "x".repeat(50));
        let mut one = Made { status: 400 + n % 100, ..Made::get(host, target) };
        one.request.0.push(("X-Api-Key", "s3cr3t-value".to_owned()));
        one.request.0.push(("Cookie", format!("cookie-{n}=s3cr3t-value")));
        made.push(one);
    }
    let session = import(&bench, made).await;
    let told = call!(bench, summarize, json!({"session": session}));
    assert!(told.to_string().len() <= 2_000, "{}: {told}", told.to_string().len());
    assert_eq!((&told["exchanges"], &told["session"]), (&json!(421), &json!(session)));
    assert_eq!(told["failures"]["rows"][0][0], "connection_refused");
    for table in ["hosts", "error_groups", "slowest", "credentials"] {
        assert!(!told[table]["rows"].as_array().unwrap().is_empty(), "{table}: {told}");
    }
    assert!(!told.to_string().contains("s3cr3t"), "{told}");
    let empty = call!(bench, summarize, json!({"session": session, "filter": "host:nobody.test"}));
    assert_eq!((&empty["exchanges"], empty.get("failures")), (&json!(0), None));
}

#[tokio::test]
async fn without_a_session_the_traffic_of_this_server_is_meant_then_the_newest() {
    let bench = Bench::new().await;
    assert_eq!(call!(bench, summarize, json!({}))["session"], "none");
    let imported = import(&bench, shop(1)).await;
    assert_eq!(call!(bench, summarize, json!({}))["session"], json!(imported));
    bench.feed(1, Fed::get("/live"));
    let live = call!(bench, summarize, json!({}));
    assert_eq!((&live["exchanges"], &live["session"]), (&json!(1), &json!("s1")));
    assert_eq!(call!(bench, summarize, json!({"session": "all"}))["exchanges"], 122);
    let unknown = bench.toolbox.summarize(params("summarize", json!({"session": "s99"}))).await;
    assert_eq!(unknown.err().unwrap().code(), "unknown_session");
}

#[tokio::test]
async fn lists_give_the_columns_that_are_asked_for() {
    let bench = Bench::new().await;
    for n in 0..30 {
        let body = json!({"user": {"id": n}, "pad": "x".repeat(1_000)}).to_string();
        let fed = Fed::get(format!("/users/{n}"))
            .with_body(&[("Content-Type", "application/json"), ("X-N", "7")], body);
        bench.feed(n, fed);
    }
    let fields = json!(["id", "template", "resp.header.x-n", "resp.json./user/id", "req.header.nope"]);
    let told = call!(bench, proxy_list_traffic, json!({"fields": fields, "limit": 2}));
    assert_eq!(told["columns"], fields);
    assert_eq!(
        told["rows"],
        json!([["e1", "/users/{id}", "7", 0, null], ["e2", "/users/{id}", "7", 1, null]])
    );
    assert_eq!((&told["showing"], told.get("exchanges")), (&json!(2), None));
    let rest = call!(bench, proxy_list_traffic, told["next"]["arguments"].clone());
    assert_eq!(rest["rows"][0][0], "e3");
    let filtered = call!(bench, proxy_list_traffic, json!({"filter": "path=/users/7", "fields": ["id"]}));
    assert_eq!((&filtered["total"], &filtered["rows"]), (&json!(1), &json!([["e8"]])));
    let asked = json!({"session_id": "s1", "fields": ["id", "resp.body"], "filter": "seq:<=e20"});
    let mut asked = asked;
    let mut seen = 0;
    loop {
        let told = call!(bench, proxy_query_session, asked);
        assert!(told.to_string().len() <= 16 * 1024);
        seen += told["rows"].as_array().unwrap().len();
        match told.get("next") {
            Some(next) => asked = next["arguments"].clone(),
            None => break,
        }
    }
    assert_eq!(seen, 20);
    let wrong = params("proxy_list_traffic", json!({"fields": ["hots"]}));
    let error = bench.toolbox.proxy_list_traffic(wrong).await.map(drop).unwrap_err();
    let result = error.into_result().structured_content.unwrap();
    assert!(result["hint"].as_str().unwrap().contains("req.header.NAME"), "{result}");
}

#[tokio::test]
async fn a_token_is_found_and_traced_from_its_issuer() {
    let bench = Bench::new().await;
    let token = "tok_9s6XKzkNRiz8i3";
    let mut used = Made::get("api.test", "/me");
    used.request.0.push(("Authorization", format!("Bearer {token}")));
    let made = vec![
        Made::get("auth.test", "/login").json(&json!({"data": {"token": token}})),
        used,
        Made::get("cdn.test", format!("/a?t={token}")),
    ];
    let session = import(&bench, made).await;
    let traced = call!(bench, trace_value, json!({"value": token, "session": session}));
    assert_eq!(
        (&traced["origin"], &traced["first"]["field"]),
        (&json!("response"), &json!("resp.json./data/token"))
    );
    assert_eq!(traced["sent"][0][0], "api.test");
    assert_eq!(traced["sent"][1][1], "param.t");
    let found = call!(bench, find_value, json!({"value": token, "session": session}));
    assert_eq!((&found["exchanges"], &found["searched"]), (&json!(3), &json!(3)));
    assert_eq!(found["rows"].as_array().unwrap().len(), 3);
    let none = call!(bench, trace_value, json!({"value": "nowhere-at-all", "session": session}));
    assert_eq!((none.get("origin"), &none["sent"]), (None, &json!([])));
}

#[tokio::test]
async fn bodies_are_searched_for_objects_and_the_search_goes_on() {
    let bench = Bench::new().await;
    let made = (0..25)
        .map(|n| {
            let items: Vec<_> = (0..20).map(|i| json!({"sku": format!("sku-{n}-{i}"), "qty": i})).collect();
            Made::get("api.test", format!("/cart/{n}")).json(&json!({"cart": {"items": items, "id": n}}))
        })
        .collect();
    let session = import(&bench, made).await;
    let one = call!(bench, search_bodies, json!({"text": "SKU-7-13", "session": session}));
    assert_eq!(one["hits"].as_array().unwrap().len(), 1, "{one}");
    assert_eq!(one["hits"][0]["pointer"], "/cart/items/13/sku");
    assert_eq!(one["hits"][0]["object"], json!({"sku": "sku-7-13", "qty": 13}));
    assert_eq!(one["searched"], 25);
    let mut asked = json!({"text": "sku-\\d+-13\"", "regex": true, "session": session, "limit": 4});
    let mut seen = Vec::new();
    loop {
        let told = call!(bench, search_bodies, asked);
        for hit in told["hits"].as_array().unwrap() {
            assert!(hit["object"]["sku"].as_str().unwrap().ends_with("-13"), "{hit}");
            seen.push(hit["url"].as_str().unwrap().to_owned());
        }
        match told.get("next") {
            Some(next) => asked = next["arguments"].clone(),
            None => break,
        }
    }
    assert_eq!((seen.len(), seen[0].as_str()), (25, "https://api.test/cart/24"));
}

#[tokio::test]
async fn a_body_is_given_by_part() {
    let bench = Bench::new().await;
    let json =
        json!({"users": (0..300).map(|n| json!({"id": n, "name": format!("user {n}")})).collect::<Vec<_>>()});
    let lines: String = (1..=500).map(|n| format!("line {n}\n")).collect();
    let png = [b"\x89PNG\r\n\x1a\n".as_slice(), &[0; 100]].concat();
    bench.feed(1, Fed::get("/json").with_body(&[("Content-Type", "application/json")], json.to_string()));
    bench.feed(2, Fed::get("/text").with_body(&[("Content-Type", "text/plain")], lines.clone()));
    bench.feed(3, Fed::get("/png").with_body(&[("Content-Type", "image/png")], png.clone()));
    let get = async |arguments: Value| {
        let part = bench.toolbox.get_body(params("get_body", arguments)).await?;
        Ok::<_, crate::error::ToolError>(serde_json::to_value(part.into_result().unwrap()).unwrap())
    };
    let told = async |arguments| get(arguments).await.unwrap()["structuredContent"].clone();
    let one = told(json!({"exchange_id": "e1", "pointer": "/users/7"})).await;
    assert_eq!(one["value"], json!({"id": 7, "name": "user 7"}));
    let outline = told(json!({"exchange_id": "e1", "pointer": "", "limit": 200})).await;
    assert_eq!((&outline["truncated"], &outline["value"]), (&json!(true), &json!({"users": "[300]"})));
    let lost = get(json!({"exchange_id": "e1", "pointer": "/users/7/nope"})).await.unwrap_err();
    let lost = lost.into_result().structured_content.unwrap();
    assert!(lost["hint"].as_str().unwrap().contains("id, name"), "{lost}");

    let span = told(json!({"exchange_id": "e2", "lines": "10-12"})).await;
    assert_eq!((&span["data"], &span["total_lines"]), (&json!("line 10\nline 11\nline 12\n"), &json!(500)));
    let (mut asked, mut joined) = (json!({"exchange_id": "e2", "lines": "1-", "limit": 1000}), String::new());
    loop {
        let part = told(asked).await;
        joined.push_str(part["data"].as_str().unwrap());
        match part.get("next") {
            Some(next) => asked = next["arguments"].clone(),
            None => break,
        }
    }
    assert_eq!(joined, lines);
    let found = told(json!({"exchange_id": "e2", "pattern": "line 4\\d\\d$|LINE 7\\n", "context": 5})).await;
    assert_eq!((&found["match_count"], &found["matches"][0]["line"]), (&json!(1), &json!(7)), "{found}");
    let bytes = told(json!({"exchange_id": "e2", "offset": 7, "limit": 7})).await;
    assert_eq!((&bytes["data"], &bytes["next"]["arguments"]["offset"]), (&json!("line 2\n"), &json!(14)));

    let image = get(json!({"exchange_id": "e3"})).await.unwrap();
    assert_eq!(image["structuredContent"]["encoding"], "image");
    assert_eq!(
        (&image["content"][1]["type"], &image["content"][1]["mimeType"]),
        (&json!("image"), &json!("image/png"))
    );
    let small = get(json!({"exchange_id": "e3", "limit": 10})).await.unwrap();
    assert_eq!(
        (small["content"].as_array().unwrap().len(), &small["structuredContent"]["truncated"]),
        (1, &json!(true))
    );
    for wrong in [
        json!({"exchange_id": "e2", "pointer": "/a"}),
        json!({"exchange_id": "e2", "lines": "0"}),
        json!({"exchange_id": "e2", "pattern": "("}),
        json!({"exchange_id": "e2", "lines": "1-2", "pattern": "x"}),
    ] {
        assert_eq!(get(wrong.clone()).await.unwrap_err().code(), "invalid_argument", "{wrong}");
    }
    let none = told(json!({"exchange_id": "e2", "side": "request"})).await;
    assert_eq!(none["problem"], "there is no body");
}

#[tokio::test]
async fn retries_are_told_with_their_waits() {
    let bench = Bench::new().await;
    let pay = |status| Made {
        method: "POST",
        status,
        request: (Vec::new(), "{}".to_owned()),
        ..Made::get("pay.test", "/pay")
    };
    let session = import(&bench, vec![pay(503), Made::get("a.test", "/"), pay(503), pay(200)]).await;
    let told = call!(bench, find_retries, json!({"session": session}));
    assert_eq!((&told["chains"], &told["searched"]), (&json!(1), &json!(4)));
    let row = &told["rows"][0];
    assert_eq!((&row[4], &row[5], &row[6]), (&json!(3), &json!(["503", "503", "200"]), &json!([1990, 990])));
    assert_eq!((&row[7], &row[8]), (&json!("irregular"), &json!(true)));
}
