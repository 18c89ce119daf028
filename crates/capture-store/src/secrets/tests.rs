//! What is found, as text with each find in brackets.

use proptest::prelude::*;

use super::*;

/// The text with `«kind name»` for every find.
fn shown(text: &[u8], spans: &[SecretSpan]) -> String {
    let mut out = String::new();
    let mut at = 0;
    for span in spans {
        assert!(span.range.start >= at && span.range.end <= text.len(), "{spans:?}");
        out.push_str(&String::from_utf8_lossy(&text[at..span.range.start]));
        out.push_str(&format!("«{} {}»", span.kind.as_str(), span.name));
        at = span.range.end;
    }
    out.push_str(&String::from_utf8_lossy(&text[at..]));
    out
}

const JWT: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl";

#[test]
fn lists_are_sorted_and_in_their_normal_form() {
    assert!(MEMBER_NAMES.is_sorted() && MEMBER_EXCEPTIONS.is_sorted() && MEMBER_ENDINGS.is_sorted());
    for name in MEMBER_NAMES.iter().chain(MEMBER_ENDINGS).chain(MEMBER_EXCEPTIONS) {
        assert_eq!(&names::normalised(name.as_bytes()), name);
    }
    for name in CREDENTIAL_HEADERS {
        assert_eq!(name.to_ascii_lowercase(), *name);
    }
}

#[test]
fn header_values_hide_their_credentials() {
    let jwt = format!("json, {JWT}");
    for (name, value, expected) in [
        ("Authorization", "Bearer abc", "Bearer «header Authorization»"),
        ("authorization", "abc", "«header authorization»"),
        ("Authorization", "  Basic   dXNlcjpwYXNz ", "  Basic «header Authorization» "),
        ("AUTHORIZATION", "Digest username=\"a\", response=\"b\"", "Digest «header AUTHORIZATION»"),
        ("Proxy-Authorization", "Negotiate YII=", "Negotiate «header Proxy-Authorization»"),
        ("Authorization", "", ""),
        ("X-Api-Key", "two words", "«header X-Api-Key»"),
        ("My-Very-Own-Token", "1", "«header My-Very-Own-Token»"),
        ("Cookie", "a=1; b = 2 ;c=;d", "a=«cookie a»; b = «cookie b» ;c=;«cookie »"),
        ("Set-Cookie", "sid=abc=d; Path=/; HttpOnly", "sid=«cookie sid»; Path=/; HttpOnly"),
        ("Referer", "https://a.test/?token=1&b=2", "https://a.test/?token=«query token»&b=2"),
        ("Location", "/done#access_token=1&x=2", "/done#access_token=«query access_token»&x=2"),
        ("Sec-WebSocket-Protocol", &jwt, "json, «token jwt»"),
        ("Content-Type", "application/json", "application/json"),
        ("User-Agent", "sk-ip/1.0 Basic browser", "sk-ip/1.0 Basic browser"),
        ("Etag", "\"abcdef0123456789\"", "\"abcdef0123456789\""),
    ] {
        let spans = Secrets::default().header(name.as_bytes(), value.as_bytes());
        assert_eq!(shown(value.as_bytes(), &spans), expected, "{name}: {value}");
    }
}

#[test]
fn urls_hide_their_credentials() {
    let jwt = format!("https://a.test/magic/{JWT}?x");
    for (url, expected) in [
        ("https://a.test/?accessToken=1&q=2", "https://a.test/?accessToken=«query accessToken»&q=2"),
        (
            "/a?api%5Fkey=1&api-key=2&apikey=",
            "/a?api%5Fkey=«query api%5Fkey»&api-key=«query api-key»&apikey=",
        ),
        ("https://ann:pw@a.test/@b", "https://ann:«userinfo userinfo»@a.test/@b"),
        ("https://t0ken@a.test", "https://«userinfo userinfo»@a.test"),
        ("/a;jsessionid=1A/b?c", "/a;jsessionid=«query jsessionid»/b?c"),
        ("/cb?code=1&state=2", "/cb?code=«query code»&state=2"),
        ("/cb?code=1", "/cb?code=1"),
        ("/?user[password]=1&a.token=2", "/?user[password]=«query user[password]»&a.token=«query a.token»"),
        ("/list?pageToken=abc&max_tokens=5", "/list?pageToken=abc&max_tokens=5"),
        ("/s3?X-Amz-Signature=1&X-Amz-Date=2", "/s3?X-Amz-Signature=«query X-Amz-Signature»&X-Amz-Date=2"),
        ("/#/route?token=1", "/#/route?token=«query token»"),
        (&jwt, "https://a.test/magic/«token jwt»?x"),
        ("", ""),
        ("?", "?"),
    ] {
        let spans = Secrets::default().url(url.as_bytes());
        assert_eq!(shown(url.as_bytes(), &spans), expected, "{url}");
    }
}

#[test]
fn json_hides_members_and_all_below_them() {
    for (json, expected) in [
        (r#"{"password":"a\"b","user":"c"}"#, r#"{"password":"«json password»","user":"c"}"#),
        (r#"{"pin":1,"otp": 123456 }"#, r#"{"pin":1,"otp": «json otp» }"#),
        (
            r#"{"credentials":{"a":"1","b":[2,true,null,"3"]},"c":"4"}"#,
            r#"{"credentials":{"a":"«json credentials»","b":[«json credentials»,true,null,"«json credentials»"]},"c":"4"}"#,
        ),
        (r#"{"p\u0061ssword":"x"}"#, r#"{"p\u0061ssword":"«json password»"}"#),
        (
            r#"{"a":{"b":{"refreshToken":"x"}},"token_type":"bearer"}"#,
            r#"{"a":{"b":{"refreshToken":"«json refreshToken»"}},"token_type":"bearer"}"#,
        ),
        (r#"{"a":"password","b":["token","x"]}"#, r#"{"a":"password","b":["token","x"]}"#),
        ("{\"a\":1}\n{\"token\":\"x\"}\n", "{\"a\":1}\n{\"token\":\"«json token»\"}\n"),
        (r#"{"token":"cut off"#, r#"{"token":"«json token»"#),
        (r#"{"token":"","password":null,"secret":false}"#, r#"{"token":"","password":null,"secret":false}"#),
        (r#"{"next":"https://a.test/?sig=1&b"}"#, r#"{"next":"https://a.test/?sig=«query sig»&b"}"#),
        (r#"{"key":"AKIAIOSFODNN7EXAMPLE"}"#, r#"{"key":"«token aws-access-key-id»"}"#),
        ("]]}}{\"token\":\"x\"", "]]}}{\"token\":\"«json token»\""),
        (
            r#"{"usage":{"total_tokens":5},"nextPageToken":"x"}"#,
            r#"{"usage":{"total_tokens":5},"nextPageToken":"x"}"#,
        ),
    ] {
        let spans = Secrets::default().json(json.as_bytes());
        assert_eq!(shown(json.as_bytes(), &spans), expected, "{json}");
    }
}

#[test]
fn tokens_are_known_by_their_shape() {
    let forty = "0123456789012345678901234567890123456789";
    for (text, expected) in [
        (format!("token ghp_{forty}."), "token «token github-token».".to_owned()),
        (format!("x={JWT},"), "x=«token jwt»,".to_owned()),
        (format!("sk-proj-{forty}"), "«token api-key»".to_owned()),
        (format!("AIza{}", &forty[..35]), "«token google-api-key»".to_owned()),
        ("Authorization: Bearer abcdef123456".to_owned(), "Authorization: Bearer «token bearer»".to_owned()),
        ("curl -H 'basic dXNlcjpwYXNz'".to_owned(), "curl -H 'basic «token basic»'".to_owned()),
        (
            "Basic understanding, bearer authentication".to_owned(),
            "Basic understanding, bearer authentication".to_owned(),
        ),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----".to_owned(),
            "-----BEGIN RSA PRIVATE KEY-----«token private-key»-----END RSA PRIVATE KEY-----".to_owned(),
        ),
        ("-----BEGIN CERTIFICATE-----\nMII".to_owned(), "-----BEGIN CERTIFICATE-----\nMII".to_owned()),
        ("task-list sk-short ghp_x eyJhbG.c.d".to_owned(), "task-list sk-short ghp_x eyJhbG.c.d".to_owned()),
        ("AKIAIOSFODNN7EXAMPLE AKIA".to_owned(), "«token aws-access-key-id» AKIA".to_owned()),
    ] {
        let spans = Secrets::default().text(text.as_bytes());
        assert_eq!(shown(text.as_bytes(), &spans), expected, "{text}");
    }
}

#[test]
fn bodies_are_read_by_their_type() {
    let part = "--X\r\nContent-Disposition: form-data; filename=\"token\"; name=\"password\"\r\n\r\nsecret\r\n--X\r\n\
                Content-Disposition: form-data; name=\"b\"\r\n\r\nfree\r\n--X--\r\n";
    let hidden = part.replace("\r\nsecret\r\n", "\r\n«form password»\r\n");
    for (content_type, body, expected) in [
        ("application/x-www-form-urlencoded", "a=1&password=b+c", "a=1&password=«form password»"),
        (
            "application/x-www-form-urlencoded; charset=utf-8",
            "grant_type=x&code=1",
            "grant_type=x&code=«form code»",
        ),
        ("multipart/form-data; boundary=X", part, hidden.as_str()),
        ("Multipart/Form-Data; Boundary=\"X\"", part, hidden.as_str()),
        ("application/problem+json", "{\"token\":\"1\"}", "{\"token\":\"«json token»\"}"),
        ("text/plain", " {\"token\":\"1\"}", " {\"token\":\"«json token»\"}"),
        ("text/plain", "token=1", "token=1"),
        ("", "", ""),
    ] {
        let spans = Secrets::default().body(content_type, body.as_bytes());
        assert_eq!(shown(body.as_bytes(), &spans), expected, "{content_type}");
    }
}

#[test]
fn added_names_count_everywhere() {
    let secrets = Secrets::default().with_name("X-Shoe-Size").with_name("--");
    assert_eq!(shown(b"43", &secrets.header(b"x-shoe-size", b"43")), "«header x-shoe-size»");
    assert_eq!(shown(b"/?xShoeSize=43", &secrets.url(b"/?xShoeSize=43")), "/?xShoeSize=«query xShoeSize»");
    assert!(secrets.header(b"-", b"43").is_empty());
}

#[test]
fn masked_json_stays_json() {
    let text = br#"{"token":"a\\","otp":-1.5e3,"x":[{"password":[1,"b"]}]}"#;
    let masked = mask(text, &Secrets::default().json(text), MASK);
    let value: serde_json::Value = serde_json::from_slice(&masked).unwrap();
    let expected = serde_json::json!({"token": MASK, "otp": MASK, "x": [{"password": [MASK, MASK]}]});
    assert_eq!(value, expected);
}

proptest! {
    #[test]
    fn whatever_is_scanned_gives_spans_in_order(text in "(\\PC|[\"\\\\{}\\[\\]:,;=&?#./ -]|token|password|Bearer |eyJ|\r\n|--X){0,40}") {
        let secrets = Secrets::default();
        let bytes = text.as_bytes();
        for spans in [
            secrets.json(bytes),
            secrets.form(bytes),
            secrets.url(bytes),
            secrets.text(bytes),
            secrets.header(b"cookie", bytes),
            secrets.header(b"authorization", bytes),
            secrets.body("multipart/form-data; boundary=X", bytes),
        ] {
            for pair in spans.windows(2) {
                prop_assert!(pair[0].range.end <= pair[1].range.start);
            }
            for span in &spans {
                prop_assert!(text.get(span.range.clone()).is_some_and(|found| !found.is_empty()), "{:?}", span);
            }
        }
    }

    #[test]
    fn json_stays_json_when_masked(name in "token|user|password", text in "\\PC{0,20}", number in any::<f64>()) {
        let value = serde_json::json!({"a": [{name: text}, {"otp": number}], "b": text});
        let json = serde_json::to_vec(&value).unwrap();
        let masked = mask(&json, &Secrets::default().json(&json), MASK);
        prop_assert!(serde_json::from_slice::<serde_json::Value>(&masked).is_ok());
    }
}
