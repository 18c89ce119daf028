//! What exchanges mean: the cause of a failure, the API behind a session. Over a session that Charles exported.

use std::fs;

use serde_json::{Value, json};

use crate::process::Home;

/// A Charles session: calls of an API, one that was refused, one that went wrong.
fn charles() -> String {
    let mut all: Vec<Value> = (1..=8)
        .map(|n| {
            let state = if n % 2 == 0 { "open" } else { "done" };
            let body = json!({"id": n, "state": state}).to_string();
            json!({
                "status": "COMPLETE", "method": "GET", "scheme": "https", "host": "api.test", "actualPort": 443,
                "path": format!("/v1/orders/{n}"), "query": "full=true", "protocolVersion": "HTTP/1.1",
                "times": {"start": format!("2026-09-01T10:00:0{n}Z")}, "durations": {"total": 5},
                "request": {"header": {"headers": [{"name": "Authorization", "value": "Bearer a.b.c"}]}},
                "response": {"status": 200, "header": {"firstLine": "HTTP/1.1 200 OK", "headers": [
                    {"name": "Content-Type", "value": "application/json"}]}, "body": {"text": body}},
            })
        })
        .collect();
    let mut refused = all[0].clone();
    refused["path"] = json!("/v1/orders/9");
    refused["response"]["status"] = json!(422);
    refused["response"]["header"]["firstLine"] = json!("HTTP/1.1 422 Unprocessable Entity");
    refused["response"]["body"] = json!({"text": r#"{"error":{"message":"no such order"}}"#});
    all.push(refused);
    all.push(json!({
        "status": "FAILED", "method": "GET", "scheme": "http", "host": "gone.test", "actualPort": 80, "path": "/",
        "errorMessage": "Connection refused", "times": {"start": "2026-09-01T10:01:00Z"}, "request": {},
    }));
    Value::Array(all).to_string()
}

#[tokio::test]
async fn a_session_of_charles_is_explained_and_its_api_inferred() {
    let home = Home::new();
    fs::write(home.file("saved.chlsj"), charles()).unwrap();
    assert_eq!(home.ok(["import", "saved.chlsj"]).await, "s1\n");

    let told = home.ok(["explain", "e9"]).await;
    assert!(told.starts_with("answered with 422") && told.contains("no such order"), "{told}");
    assert!(told.contains("cause:    http_error (certain, client, response)"), "{told}");
    let told = home.ok(["explain", "e10"]).await;
    assert!(told.contains("cause:    connection_refused") && told.contains("Connection refused"), "{told}");
    let shown = home.ok(["show", "e10"]).await;
    assert!(shown.contains("why: ") && shown.contains("cause:    connection_refused"), "{shown}");
    assert!(!home.ok(["show", "e9"]).await.contains("why: "));
    assert_eq!(home.run(["explain", "e99"]).await.code, Some(1));

    let document: Value = serde_json::from_str(&home.ok(["infer", "s1"]).await).unwrap();
    let get = &document["paths"]["/v1/orders/{order_id}"]["get"];
    assert_eq!(get["parameters"][0]["schema"], json!({"type": "integer"}));
    let schema = &get["responses"]["200"]["content"]["application/json"]["schema"];
    assert_eq!(schema["properties"]["state"]["enum"], json!(["done", "open"]), "{document}");
    assert_eq!(document["components"]["securitySchemes"]["bearerJwt"]["scheme"], "bearer");

    home.ok(["infer", "s1", "--out", "api.json"]).await;
    home.ok(["infer", "s1", "--against", "api.json"]).await;
    let mut narrowed = document.clone();
    let properties = &mut narrowed["paths"]["/v1/orders/{order_id}"]["get"]["responses"]["200"]["content"]["application/json"]
        ["schema"];
    properties["properties"] = json!({"id": {"type": "string"}});
    properties["required"] = json!(["id", "total"]);
    fs::write(home.file("narrow.json"), narrowed.to_string()).unwrap();
    let ran = home.run(["infer", "s1", "--against", "narrow.json"]).await;
    assert_eq!(ran.code, Some(1));
    for kind in ["type_change", "missing_field", "new_field"] {
        assert!(ran.stdout.contains(kind), "{kind}: {}", ran.stdout);
    }
    let ran = home.run(["infer", "s1", "--against", "saved.chlsj"]).await;
    assert!(ran.code == Some(1) && ran.stderr.contains("OpenAPI"), "{}", ran.stderr);
}
