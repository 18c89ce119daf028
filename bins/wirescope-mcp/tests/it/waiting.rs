use serde_json::json;
use testkit::full;

use crate::agent::{Agent, ids};

#[tokio::test]
async fn waiting_ends_with_the_match() {
    let (agent, origin, proxy) = Agent::with_origin().await;
    let mut client = proxy.https(&origin.authority()).await.unwrap();
    client.get("/json").await.unwrap();
    agent.settled(1).await;
    let wait = async {
        agent.ok("wait_for_exchange", json!({"filter": "path:/echo status:200", "timeout_ms": 60_000})).await
    };
    let act = async {
        client.get("/json").await.unwrap();
        client.post("/echo", full("now")).await.unwrap();
    };
    // Whichever is first: what came after the wait began, or since a known id, is seen.
    let (waited, ()) = tokio::join!(wait, act);
    let since = agent.ok("wait_for_exchange", json!({"filter": "path:/echo", "since": "e1"})).await;
    assert_eq!(since["met"], true);
    if waited["met"] == true {
        assert_eq!(waited["exchanges"][0]["id"], since["exchanges"][0]["id"]);
    }
    assert_eq!(since["exchanges"][0]["status"], 200);
    assert_eq!(since["next_since"], "e3");
}

#[tokio::test]
async fn waiting_in_vain_tells_what_came_instead() {
    let (agent, origin, proxy) = Agent::with_origin().await;
    let mut client = proxy.https(&origin.authority()).await.unwrap();
    client.get("/json").await.unwrap();
    agent.settled(1).await;
    let arguments = json!({"filter": "path:/never", "since": "e0", "timeout_ms": 50});
    let waited = agent.ok("wait_for_exchange", arguments).await;
    assert_eq!((&waited["met"], &waited["matched"]), (&json!(false), &json!(0)));
    assert_eq!((&waited["other_exchanges"], ids(&waited["instead"])), (&json!(1), vec!["e1".to_owned()]));
    let error = agent.refused("wait_for_exchange", json!({"filter": "status:abc"}), "invalid_argument").await;
    assert!(error["error"].as_str().unwrap().contains("filter"), "{error}");
}

#[tokio::test]
async fn a_phase_is_waited_for() {
    let (agent, origin, proxy) = Agent::with_origin().await;
    let mut client = proxy.https(&origin.authority()).await.unwrap();
    let waiting = tokio::spawn(async move { client.get("/slow-headers").await.unwrap().status });
    origin.until(|counts| counts.requests > 0).await.unwrap();
    let arguments = json!({"filter": "path:/slow-headers", "phase": "request", "since": "e0"});
    let begun = agent.ok("wait_for_exchange", arguments).await;
    assert_eq!(begun["met"], true);
    assert!(begun["exchanges"][0].get("ms").is_none(), "{begun}");
    let arguments = json!({"filter": "path:/slow-headers", "since": "e0", "timeout_ms": 30});
    assert_eq!(agent.ok("wait_for_exchange", arguments).await["met"], false);
    // What is under way when the wait begins counts when it ends.
    let arguments = json!({"filter": "path:/slow-headers status:200", "timeout_ms": 2_000});
    let wait = agent.ok("wait_for_exchange", arguments);
    let act = async {
        origin.release();
        waiting.await.unwrap();
    };
    let (ended, ()) = tokio::join!(wait, act);
    if ended["met"] == false {
        // It had ended before the call came.
        let arguments = json!({"filter": "path:/slow-headers", "since": "e0"});
        assert_eq!(agent.ok("wait_for_exchange", arguments).await["met"], true);
    }
}

#[tokio::test]
async fn traffic_is_asserted_with_evidence() {
    let (agent, origin, proxy) = Agent::with_origin().await;
    let mut client = proxy.https(&origin.authority()).await.unwrap();
    client.get("/json").await.unwrap();
    client.post("/echo", full("one")).await.unwrap();
    client.get("/json?again").await.unwrap();
    client.get("/status/404").await.unwrap();
    agent.settled(4).await;
    for (arguments, passed, found) in [
        (json!({"filter": "path:/json"}), true, 2),
        (json!({"filter": "path:/json", "count": 2}), true, 2),
        (json!({"filter": "path:/json", "count": 1}), false, 2),
        (json!({"filter": "path:/json", "min": 1, "max": 3}), true, 2),
        (json!({"filter": "path:/none"}), false, 0),
        (json!({"filter": "status:5xx", "max": 0}), true, 0),
        (json!({"filter": "status:4xx", "max": 0}), false, 1),
        (json!({"order": ["path:/json", "method:POST", "status:404"]}), true, 4),
        (json!({"order": ["status:404", "method:POST"]}), false, 4),
        (json!({"filter": "path:/json", "since": "e2"}), true, 1),
    ] {
        let told = agent.ok("expect", arguments.clone()).await;
        assert_eq!((&told["passed"], &told["found"]), (&json!(passed), &json!(found)), "{arguments}: {told}");
    }
    let told = agent.ok("expect", json!({"order": ["path:/json", "path:/never", "status:404"]})).await;
    assert_eq!(told["missing"], json!(["path:/never", "status:404"]));
    assert_eq!(told["evidence"].as_array().unwrap().len(), 1, "{told}");
    let told = agent.ok("expect", json!({"filter": "status:4xx", "max": 0, "session_id": "s1"})).await;
    assert_eq!((&told["passed"], &told["evidence"][0]["status"]), (&json!(false), &json!(404)));
    let told = agent.ok("expect", json!({"filter": "path:/none"})).await;
    assert!(!told["instead"].as_array().unwrap().is_empty(), "{told}");
    for arguments in [json!({}), json!({"filter": "x", "count": 1, "max": 2}), json!({"min": 3, "max": 2})] {
        agent.refused("expect", arguments, "invalid_argument").await;
    }
}

#[tokio::test]
async fn absence_is_only_told_at_the_end_of_the_window() {
    let (agent, origin, proxy) = Agent::with_origin().await;
    let mut client = proxy.https(&origin.authority()).await.unwrap();
    let expect = agent.ok("expect", json!({"filter": "path:/json", "max": 0, "timeout_ms": 60_000}));
    let act = async { client.get("/json").await.unwrap() };
    let (told, _) = tokio::join!(expect, act);
    assert_eq!((&told["passed"], &told["found"]), (&json!(false), &json!(1)), "{told}");
}
