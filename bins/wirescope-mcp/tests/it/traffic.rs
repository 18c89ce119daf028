use serde_json::json;
use testkit::full;

use crate::agent::{Agent, ids, object, rows};

#[tokio::test]
async fn decrypted_traffic_is_listed_shown_and_found() {
    let (agent, origin, proxy) = Agent::with_origin().await;
    let mut client = proxy.https(&origin.authority()).await.unwrap();
    client.get("/json").await.unwrap();
    client.post("/echo", full("needle in a haystack")).await.unwrap();
    client.get("/gzip").await.unwrap();
    client.get("/status/404").await.unwrap();

    let all = agent.settled(4).await;
    let row = &all["exchanges"][1];
    assert_eq!(row["method"], "POST");
    assert_eq!(row["url"], origin.url("/echo"));
    assert_eq!(row["status"], 200);
    assert_eq!(row["requestSize"], 20);
    assert_eq!(row["hostname"], "localhost");

    for (filter, want) in [
        (json!({"method_filter": "post"}), 1),
        (json!({"url_filter": "/JSON"}), 1),
        (json!({"status_filter": 404}), 1),
        (json!({"hostname_filter": "local"}), 4),
        (json!({"hostname_filter": "elsewhere"}), 0),
        (json!({"source_filter": "explicit"}), 4),
        (json!({"source_filter": "transparent"}), 0),
    ] {
        let some = agent.ok("proxy_list_traffic", filter.clone()).await;
        assert_eq!(some["total"], want, "{filter}");
        assert_eq!(some["showing"], want, "{filter}");
    }

    let short = &rows(&agent.ok("proxy_list_traffic", json!({})).await)[1];
    assert_eq!((&short["id"], &short["url"], &short["bytes"]), (&row["id"], &row["url"], &json!(20)));
    let found = &rows(&agent.ok("proxy_search_traffic", json!({"query": "NEEDLE in"})).await)[0];
    assert_eq!((&found["id"], &found["in"]), (&row["id"], &json!("request.body +1")));
    assert_eq!(found["text"], "needle in a haystack");
    let found = agent.ok("proxy_search_traffic", json!({"query": "NEEDLE in", "fields": ["*"]})).await;
    assert_eq!(ids(&found["results"]), [row["id"].as_str().unwrap()]);
    let fields: Vec<_> = found["results"][0]["places"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["field"].as_str().unwrap())
        .collect();
    assert_eq!(fields, ["request.body", "response.body"]);

    let shown = agent.ok("proxy_get_exchange", json!({"exchange_id": row["id"]})).await;
    let exchange = &shown["exchange"];
    assert_eq!(exchange["request"]["bodyPreview"], "needle in a haystack");
    assert_eq!(exchange["response"]["bodyPreview"], "needle in a haystack");
    assert_eq!(exchange["tls"]["client"]["sniHostname"], "localhost");
    assert_eq!(exchange["tls"]["client"]["alpn"], "h2");
    assert!(exchange["timings"]["wait"].is_number(), "{exchange}");
}

#[tokio::test]
async fn bodies_come_decoded_by_slice() {
    let (agent, origin, proxy) = Agent::with_origin().await;
    let mut client = proxy.https(&origin.authority()).await.unwrap();
    let gzip = client.get("/gzip").await.unwrap();
    // Ids are given as exchanges end, and streams end each on their own.
    agent.settled(1).await;
    client.get("/bytes/10000").await.unwrap();
    assert_eq!(gzip.header("content-encoding"), Some("gzip"));
    agent.settled(2).await;

    let shown = agent.ok("proxy_get_exchange", json!({"exchange_id": "e1"})).await;
    let response = &shown["exchange"]["response"];
    assert!(response.get("bodyEncoding").is_none(), "{response}");
    assert!(response.get("bodyProblem").is_none(), "{response}");

    let (mut offset, mut pieces) = (Some(0), 0);
    while let Some(at) = offset {
        let arguments = json!({"exchange_id": "e2", "body_offset": at, "body_limit": 3000});
        let shown = agent.ok("proxy_get_exchange", arguments).await;
        let response = &shown["exchange"]["response"];
        assert_eq!(response["bodySize"], 10000);
        assert_eq!(response["bodyEncoding"], "base64");
        offset = response["bodyNextOffset"].as_u64();
        pieces += 1;
    }
    assert_eq!(pieces, 4);
}

#[tokio::test]
async fn pages_follow_each_other_without_gap_or_overlap() {
    let (agent, origin, proxy) = Agent::with_origin().await;
    let mut client = proxy.https(&origin.authority()).await.unwrap();
    for n in 0..120 {
        client.get(&format!("/status/200?n={n}&{}", "x".repeat(200))).await.unwrap();
    }
    for sort in ["asc", "desc"] {
        let mut arguments = json!({"sort": sort, "limit": 50});
        let (mut seen, mut calls) = (Vec::new(), 0);
        loop {
            let page = agent.ok("proxy_list_traffic", arguments).await;
            assert_eq!(page["total"], 120);
            assert!(page.to_string().len() <= 16 * 1024, "{}", page.to_string().len());
            seen.extend(ids(&page["rows"]));
            calls += 1;
            match page.get("next") {
                Some(next) => arguments = next["arguments"].clone(),
                None => break,
            }
        }
        if sort == "desc" {
            seen.reverse();
        }
        assert_eq!(seen, (1..=120).map(|n| format!("e{n}")).collect::<Vec<_>>(), "{sort}");
        assert!(calls > 2, "pages follow each other");
    }
}

#[tokio::test]
async fn duplicate_headers_stay_apart_and_order_and_case_can_be_had() {
    let (agent, origin, proxy) = Agent::with_origin().await;
    let mut client = proxy.https(&origin.authority()).await.unwrap();
    client.get("/cookies").await.unwrap();
    agent.settled(1).await;
    let shown = agent.ok("proxy_get_exchange", json!({"exchange_id": "e1", "full_headers": true})).await;
    let response = &shown["exchange"]["response"];
    assert!(response["headers"]["set-cookie"].as_array().unwrap().len() > 1, "{response}");
    assert!(response["rawHeaders"].as_array().unwrap().len() >= object(&response["headers"]).len());
}

#[tokio::test]
async fn a_failed_upstream_is_listed_with_its_cause() {
    let (agent, _origin, proxy) = Agent::with_origin().await;
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut client = proxy.http(&closed.to_string()).await.unwrap();
    let answer = client.get("/").await.unwrap();
    assert_eq!(answer.status, 502);
    let all = agent.settled(1).await;
    let error = all["exchanges"][0]["error"].as_str().unwrap();
    assert!(error.starts_with("connection_refused: "), "{error}");
}

#[tokio::test]
async fn an_upstream_nobody_vouches_for_is_refused_unless_told_otherwise() {
    let ca = testkit::TestCa::new().unwrap();
    let origin = testkit::Origin::https(&ca).await.unwrap();
    for (args, trusted) in [(&[][..], false), (&["--insecure-upstream", "localhost"][..], true)] {
        let agent = Agent::with(args).await;
        let proxy = agent.start_proxy(json!({})).await;
        let answer = match proxy.https(&origin.authority()).await {
            Ok(mut client) => client.get("/json").await.map(|answer| answer.status.as_u16()).unwrap_or(0),
            Err(_) => 0,
        };
        assert_eq!(answer == 200, trusted, "{args:?}: {answer}");
        if !trusted {
            let all = agent.ok("proxy_list_traffic", json!({})).await;
            assert!(all.to_string().contains("certificate_untrusted"), "{all}");
        }
    }
}

#[tokio::test]
async fn clearing_empties_the_list_but_not_a_named_session() {
    let (agent, origin, proxy) = Agent::with_origin().await;
    let mut client = proxy.https(&origin.authority()).await.unwrap();
    client.get("/json").await.unwrap();
    agent.settled(1).await;
    assert_eq!(agent.ok("proxy_clear_traffic", json!({})).await["cleared"], 1);
    assert_eq!(agent.ok("proxy_list_traffic", json!({})).await["total"], 0);

    let named =
        agent.ok("proxy_session_start", json!({"session_name": "kept"})).await["session"]["id"].clone();
    client.get("/json").await.unwrap();
    client.get("/json").await.unwrap();
    agent.settled(2).await;
    assert_eq!(agent.ok("proxy_clear_traffic", json!({})).await["cleared"], 2);
    assert_eq!(agent.ok("proxy_list_traffic", json!({})).await["total"], 0);
    assert_eq!(agent.ok("proxy_query_session", json!({"session_id": named})).await["total"], 2);
    client.get("/json").await.unwrap();
    assert_eq!(agent.ok("proxy_list_traffic", json!({})).await["total"], 1);
}

#[tokio::test]
async fn a_window_returns_as_soon_as_it_has_what_it_waits_for() {
    let (agent, origin, proxy) = Agent::with_origin().await;
    let mut client = proxy.https(&origin.authority()).await.unwrap();
    client.get("/json").await.unwrap();
    agent.settled(1).await;
    let arguments = json!({"duration": 60, "until": 2, "url_contains": "/echo"});
    let mut waiting = std::pin::pin!(agent.ok("capture_traffic", arguments));
    // When the window opens is not told, so requests go on until it has closed.
    let window = loop {
        tokio::select! {
            window = &mut waiting => break window,
            () = async {
                client.get("/json").await.unwrap();
                client.post("/echo", full("a body")).await.unwrap();
            } => {}
        }
    };
    assert_eq!(window["untilMet"], true);
    assert!(window["capturedExchanges"].as_u64().unwrap() >= 2, "{window}");
    for exchange in window["exchanges"].as_array().unwrap() {
        assert_eq!(exchange["response"]["body"], "a body");
    }
    assert_eq!(window["exchanges"][0]["request"]["protocol"], "https");
}

#[tokio::test]
async fn a_window_without_traffic_ends_in_time_and_is_empty() {
    let (agent, _origin, _proxy) = Agent::with_origin().await;
    let window = agent.ok("capture_traffic", json!({"duration": 0.1, "until": 1})).await;
    assert_eq!((&window["capturedExchanges"], &window["untilMet"]), (&json!(0), &json!(false)));
}
