//! The other half of the table: what upstream may say, and what the client gets of it.

use std::time::Duration;

use proxy_core::Outcome;

use super::{
    bytes, holds, lab,
    origin::Listener,
    readings::{Kind, Message, READINGS, text},
    responses::{Case, Verdict, cases},
};
use crate::lab::Told;

/// Asks for the odd response and, at once, for the marker; gives what came of both.
async fn play(case: &Case) -> (Vec<u8>, Vec<Told>) {
    let mut lab = lab().await;
    let origin = Listener::start(bytes(&case.text), case.closes).await;
    let host = origin.authority();
    let mut client = lab.client(&[]).raw().await.unwrap();
    let method = case.method;
    let odd = format!("{method} http://{host}/case HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let marker = format!("GET http://{host}/marker HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    client.send(format!("{odd}{marker}")).await.unwrap();
    client.half_close().await.unwrap();
    let mut got = Vec::new();
    // A cut in cleartext may be told by a reset: then what came before it counts.
    while let Ok(byte) = client.read(1).await {
        got.extend_from_slice(&byte);
    }
    drop(client);
    let drained = lab.proxy.take().unwrap().shutdown(Duration::from_secs(20)).await;
    assert_eq!(drained.cut_connections, 0, "{case:?} hangs");
    origin.done().await;
    (got, lab.log.all())
}

fn check(case: &Case, got: &[u8], told: &[Told]) {
    let methods = [case.method, "GET"];
    let kind = Kind::Responses(&methods);
    let strict = READINGS[0].read(got, kind);
    let context = || format!("{case:?}: the client got {:?}", text(got));
    let is_final = |message: &&Message| !message.start.starts_with("HTTP/1.1 1");
    let finals: Vec<&Message> = strict.whole.iter().filter(is_final).collect();
    for message in &strict.whole {
        assert!(!message.start.contains("Poison"), "{}", context());
    }
    if let Some(marker) = finals.get(1) {
        assert_eq!(marker.body, "MARKER", "{}", context());
    }
    if case.verdict != Verdict::Cut {
        assert_eq!(strict.rest, 0, "{}", context());
        for reading in READINGS {
            let other = reading.read(got, kind);
            let bodies =
                |messages: &[Message]| -> Vec<String> { messages.iter().map(|m| m.body.clone()).collect() };
            assert_eq!(bodies(&other.whole), bodies(&strict.whole), "{reading:?} {}", context());
        }
    }
    is_as_expected(case, &finals, told, &context);
}

fn status(message: &Message) -> u16 {
    message.start.split(' ').nth(1).unwrap().parse().unwrap()
}

fn is_as_expected(case: &Case, finals: &[&Message], told: &[Told], context: &dyn Fn() -> String) {
    let outcome = told[0].outcome();
    match case.verdict {
        Verdict::Passed(expected, body) => {
            assert_eq!(finals.len(), 2, "{}", context());
            assert_eq!((status(finals[0]), finals[0].body.as_str()), (expected, body), "{}", context());
            assert_eq!(outcome, &Outcome::Response, "{}", context());
            assert_eq!(text(&told[0].response_body), body, "{}", context());
        }
        Verdict::Closed(expected, body) => {
            assert_eq!(finals.len(), 1, "{}", context());
            assert_eq!((status(finals[0]), finals[0].body.as_str()), (expected, body), "{}", context());
            assert_eq!(outcome, &Outcome::Response, "{}", context());
        }
        Verdict::BadGateway => {
            assert_eq!(status(finals[0]), 502, "{}", context());
            assert!(matches!(outcome, Outcome::Failed(_)), "{}", context());
        }
        Verdict::Cut => {
            assert_eq!(finals.len(), 0, "{}", context());
            assert!(matches!(outcome, Outcome::Failed(_)), "{}", context());
        }
    }
}

#[tokio::test]
async fn no_odd_response_is_taken_for_another_or_for_more_than_it_is() {
    let cases = cases();
    assert!(cases.len() > 140, "the table shrank to {}", cases.len());
    let mut wrong = 0;
    for case in &cases {
        let (got, told) = play(case).await;
        wrong += usize::from(!holds(|| check(case, &got, &told)));
    }
    assert_eq!(wrong, 0, "of {} cases", cases.len());
}
