use capture_store::secrets::Secrets;
use serde_json::{Value, json};

use super::Vault;

fn vault() -> Vault {
    Vault::new(Secrets::default())
}

/// A schema with fields of ours, of which some hold what was captured.
fn schema() -> serde_json::Map<String, Value> {
    let Value::Object(schema) = json!({
        "type": "object",
        "properties": {
            "status": {"type": "string"},
            "sessionId": {"type": "string"},
            "url": {"type": "string"},
            "body": {"type": "string"},
            "bodyEncoding": {"anyOf": [{"enum": ["text", "base64"], "type": "string"}, {"type": "null"}]},
            "headers": {"type": "object", "additionalProperties": {"type": "string"}},
            "rawHeaders": {"type": "array", "items": {"type": "array"}},
            "fields": {"type": "array", "items": {"type": "object", "properties": {
                "name": {"type": "string"}, "value": {"type": "string"}, "pointer": {"type": "string"},
                "before": {}, "after": {},
            }}},
            "json": {},
        },
    }) else {
        unreachable!()
    };
    schema
}

#[test]
fn credentials_become_placeholders_wherever_they_stand() {
    const TOKEN: &str = "tok-51f0c2aa9d";
    for value in [
        json!({"headers": {"authorization": format!("Bearer {TOKEN}")}}),
        json!({"headers": {"x-api-key": TOKEN}}),
        json!({"headers": {"cookie": format!("lang=de-AT-1996; sid={TOKEN}")}}),
        json!({"rawHeaders": [["X-Api-Key", TOKEN]]}),
        json!({"url": format!("https://a.test/x?access_token={TOKEN}&b=1")}),
        json!({"body": format!("{{\"password\":\"{TOKEN}\"}}")}),
        json!({"body": format!("user=ann&password={TOKEN}")}),
        json!({"body": format!("GET / HTTP/1.1\r\nHost: a.test\r\nX-Api-Key: {TOKEN}\r\n\r\n")}),
        json!({"body": format!("curl 'https://a.test/' -H 'authorization: Bearer {TOKEN}' -H 'accept: */*'")}),
        json!({"fields": [{"name": "x-api-key", "value": TOKEN}]}),
        json!({"fields": [{"pointer": "/user/password", "before": "old", "after": TOKEN}]}),
        json!({"json": {"user": {"password": TOKEN}}}),
        json!({"columns": ["id", "req.header.x-api-key"], "rows": [["e1", TOKEN], ["e2", null]]}),
        json!({"columns": ["resp.json./data/token"], "rows": [[{"value": TOKEN}]]}),
        json!({"columns": ["header(seq, 'req', 'x-api-key')"], "rows": [[TOKEN]]}),
        json!({"columns": ["side", "name", "value"], "rows": [["req", "X-Api-Key", TOKEN]]}),
        json!({"columns": ["host", "field", "example"], "rows": [["a.test", "param.access_token", TOKEN]]}),
        json!({"json": [{"tokens": 3, "auth": {"value": TOKEN}}]}),
    ] {
        let mut hidden = value.clone();
        vault().hide(&mut hidden, Some(&schema()));
        let text = hidden.to_string();
        assert!(!text.contains(TOKEN), "{value} became {text}");
        assert!(text.contains("<secret:"), "{value} became {text}");
    }
}

#[test]
fn what_is_no_credential_stays() {
    for value in [
        json!({"status": "success", "sessionId": "s3", "url": "https://a.test/tokens?page=2"}),
        json!({"headers": {"content-type": "application/json", "x-request-id": "12345678"}}),
        json!({"body": "{\"total_tokens\":12,\"name\":\"Ann\"}"}),
        json!({"body": "at 12:30: nothing happened"}),
        json!({"fields": [{"name": "accept", "value": "*/*"}]}),
        json!({"json": {"session_id": "s3", "offset": 50}}),
    ] {
        let mut hidden = value.clone();
        vault().hide(&mut hidden, Some(&schema()));
        assert_eq!(hidden, value);
    }
}

#[test]
fn the_same_credential_has_the_same_number_and_is_found_in_other_places() {
    let vault = vault();
    let mut first =
        json!({"headers": {"x-api-key": "0123456789abcdef", "authorization": "Bearer zyxwvutsrqpo"}});
    vault.hide(&mut first, Some(&schema()));
    let key = first["headers"]["x-api-key"].as_str().unwrap().to_owned();
    let mut later =
        json!({"body": "it says 0123456789abcdef here", "url": "https://a.test/0123456789abcdef/x"});
    vault.hide(&mut later, Some(&schema()));
    assert_eq!(
        later,
        json!({"body": format!("it says {key} here"), "url": format!("https://a.test/{key}/x")})
    );
    let mut again = json!({"headers": {"x-api-key": "0123456789abcdef"}});
    vault.hide(&mut again, Some(&schema()));
    assert_eq!(again["headers"]["x-api-key"], *key);
}

#[test]
fn arguments_get_the_credentials_back() {
    let vault = vault();
    let mut told = json!({"headers": {"authorization": "Bearer abcdefghijkl", "cookie": "a=1; sid=s%20x"}});
    let original = told.clone();
    vault.hide(&mut told, Some(&schema()));
    assert_ne!(told, original);
    let Value::Object(mut arguments) = told else { unreachable!() };
    vault.restore(&mut arguments).unwrap();
    assert_eq!(Value::Object(arguments), original);

    let Value::Object(mut wrong) = json!({"url": "https://a.test/?t=<secret:99>"}) else { unreachable!() };
    let error = vault.restore(&mut wrong).unwrap_err().to_string();
    assert!(error.contains("<secret:99>"), "{error}");
    let Value::Object(mut none) = json!({"text": "<secret: is no placeholder"}) else { unreachable!() };
    vault.restore(&mut none).unwrap();
    assert_eq!(none["text"], "<secret: is no placeholder");
}

#[test]
fn bytes_in_base64_are_looked_into() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let body = STANDARD.encode(b"\xff\x00 Bearer abcdefgh12345678 \x01");
    let mut value = json!({"body": body, "bodyEncoding": "base64"});
    vault().hide(&mut value, Some(&schema()));
    let bytes = STANDARD.decode(value["body"].as_str().unwrap()).unwrap();
    assert!(bytes.starts_with(b"\xff\x00 Bearer <secret:1>"), "{bytes:?}");
}

#[test]
fn texts_are_hidden_outside_of_results_too() {
    let vault = vault();
    let text =
        vault.hide_text("sent to https://ann:hunter2secret@a.test/ with ghp_0123456789abcdefghijABCDEFGHIJ");
    assert!(!text.contains("ghp_0123"), "{text}");
}

#[test]
fn a_hit_in_the_midst_of_a_credential_gives_none_of_it_away() {
    let vault = vault();
    let mut seen = json!({"headers": {"x-api-key": "c00kieValue77bb"}});
    vault.hide(&mut seen, Some(&schema()));
    assert_eq!(vault.hide_text("it was [c00kie]Value77bb, [and]"), "it was <secret:1>, [and]");
    assert_eq!(vault.hide_text("[ue77bb] x"), "[ue77bb] x");
    assert_eq!(vault.hide_text("eVa[lue]77bb x"), "<secret:?> x");
}

#[test]
fn names_and_words_of_ours_stay_whatever_was_captured() {
    let vault = vault();
    let mut seen = json!({"headers": {"cookie": "a=rawHeaders; b=bodyEncoding"}});
    vault.hide(&mut seen, Some(&schema()));
    let value = json!({"rawHeaders": [["accept", "*/*"]], "bodyEncoding": null});
    let mut hidden = value.clone();
    vault.hide(&mut hidden, Some(&schema()));
    assert_eq!(hidden, value);
    let document = json!({"json": {"password": {"type": "string", "example": "tok-51f0c2aa9d"}}});
    let mut hidden = document.clone();
    vault.hide(&mut hidden, Some(&schema()));
    assert_eq!(hidden["json"]["password"]["type"], "string");
    assert!(!hidden.to_string().contains("tok-51f0"), "{hidden}");
}
