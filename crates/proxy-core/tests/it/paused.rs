//! Exchanges that wait at a breakpoint.

use std::time::Duration;

use http::Method;
use proxy_core::{
    BreakpointLimits, Breakpoints, FailureKind, Outcome, PauseId, Paused, ResponseHead, Resume, Rules,
    breakpoints::{Edit, ResumeError},
    rules::Phase,
};
use serde_json::{Value, json};
use testkit::{Answer, HttpClient, Origin, full, pattern, pattern_bytes};
use tokio::task::JoinHandle;

use crate::lab::Lab;

const VERSIONS: [&[&str]; 2] = [&["http/1.1"], &["h2"]];

struct Stop {
    lab: Lab,
    breakpoints: Breakpoints,
    origin: Origin,
}

impl Stop {
    async fn at(breakpoint: Value, limits: BreakpointLimits) -> Self {
        let rules = Rules::new();
        let rule =
            json!({ "id": "stop", "when": { "url": "*pause*" }, "then": [{ "breakpoint": breakpoint }] });
        rules.add(serde_json::from_value(rule).unwrap()).unwrap();
        let breakpoints = Breakpoints::with_limits(limits);
        let mut timeouts = proxy_core::Timeouts::default();
        timeouts.half_closed = Duration::from_millis(1);
        let lab =
            Lab::with(|builder| builder.rules(rules).breakpoints(breakpoints.clone()).timeouts(timeouts))
                .await;
        let origin = Origin::https(&lab.origin_ca).await.unwrap();
        Self { lab, breakpoints, origin }
    }

    async fn client(&self, alpn: &[&str]) -> HttpClient {
        self.lab.client(alpn).https(&self.origin.authority()).await.unwrap()
    }

    /// Waits until so many exchanges are paused.
    async fn paused(&self, count: usize) -> Vec<Paused> {
        loop {
            let seen = self.breakpoints.version();
            let paused = self.breakpoints.list();
            if paused.len() == count {
                return paused;
            }
            let changed = self.breakpoints.changed(seen);
            tokio::time::timeout(Duration::from_secs(20), changed).await.expect("nothing changes");
        }
    }

    async fn one(&self) -> Paused {
        self.paused(1).await.remove(0)
    }
}

fn send(
    mut client: HttpClient,
    path: &'static str,
    body: &'static str,
) -> JoinHandle<std::io::Result<Answer>> {
    tokio::spawn(async move {
        let method = if body.is_empty() { Method::GET } else { Method::POST };
        let request = client.request(method, path, full(body))?;
        client.fetch(request).await
    })
}

#[tokio::test]
async fn a_paused_request_is_shown_and_goes_on_edited_while_others_pass() {
    for alpn in VERSIONS {
        let stop = Stop::at(json!({ "at": "request" }), BreakpointLimits::default()).await;
        let mut client = stop.client(alpn).await;
        let waits = send(stop.client(alpn).await, "/echo?pause", "original");
        let paused = stop.one().await;
        assert_eq!(
            (paused.phase, paused.rule.as_str(), paused.body.clone()),
            (Phase::Request, "stop", Ok("original".into()))
        );
        assert_eq!(client.get("/json").await.unwrap().status, 200, "{alpn:?}: others go on");
        assert_eq!(stop.origin.seen().len(), 1);
        let mut head = (*paused.request).clone();
        head.headers.set("x-edited", "1");
        let edit = Edit { request: Some(head), body: Some("edited at leisure".into()), ..Edit::default() };
        stop.breakpoints.resume(paused.id, Resume::Edit(Box::new(edit))).unwrap();
        assert_eq!(waits.await.unwrap().unwrap().text(), "edited at leisure");
        assert!(stop.origin.seen()[1].headers.contains_key("x-edited"));
        let told = stop.lab.log.ended(2).await;
        let told = told.iter().find(|told| told.url().ends_with("pause")).unwrap();
        assert_eq!(told.changes(), ["stop: edited at a breakpoint"]);
        assert_eq!(told.request_body, "original");
        assert_eq!(
            stop.breakpoints.resume(paused.id, Resume::Continue),
            Err(ResumeError::NotPaused(paused.id))
        );
    }
}

#[tokio::test]
async fn a_paused_response_is_edited_answered_and_ended() {
    for alpn in VERSIONS {
        let stop = Stop::at(json!({ "at": "response" }), BreakpointLimits::default()).await;
        let waits = send(stop.client(alpn).await, "/gzip?pause", "");
        let paused = stop.one().await;
        let body = paused.body.clone().unwrap();
        assert!(body.starts_with(b"{\"greeting\""), "it is shown decoded");
        let mut head = (**paused.response.as_ref().unwrap()).clone();
        head.headers.remove("content-encoding");
        head.status = http::StatusCode::ACCEPTED;
        let edit = Edit { response: Some(head), body: Some("plain".into()), ..Edit::default() };
        stop.breakpoints.resume(paused.id, Resume::Edit(Box::new(edit))).unwrap();
        let answer = waits.await.unwrap().unwrap();
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (202, "plain"), "{alpn:?}");

        let waits = send(stop.client(alpn).await, "/?pause", "");
        let head = ResponseHead::new(http::StatusCode::IM_A_TEAPOT);
        let respond = Resume::Respond { head, body: "instead".into() };
        stop.breakpoints.resume(stop.one().await.id, respond).unwrap();
        assert_eq!(waits.await.unwrap().unwrap().text(), "instead");

        let waits = send(stop.client(alpn).await, "/html?pause", "");
        stop.breakpoints.resume(stop.one().await.id, Resume::Abort).unwrap();
        waits.await.unwrap().unwrap_err();
        let told = stop.lab.log.ended(3).await;
        let of = |path: &str| told.iter().find(|told| told.url().contains(path)).unwrap();
        assert_eq!(of("/gzip").outcome(), &Outcome::Response);
        assert_eq!(of("/?").outcome(), &Outcome::Mock);
        assert_eq!(of("/html").failure(), FailureKind::Rule);
    }
}

#[tokio::test]
async fn a_pause_without_anybody_ends_at_its_deadline() {
    for (otherwise, fails) in [("continue", false), ("abort", true)] {
        for alpn in VERSIONS {
            let breakpoint = json!({ "at": "both", "timeout_ms": 20, "otherwise": otherwise });
            let stop = Stop::at(breakpoint, BreakpointLimits::default()).await;
            let answer = send(stop.client(alpn).await, "/?pause", "").await.unwrap();
            assert_eq!(answer.is_err(), fails, "{alpn:?} {otherwise}");
            let told = stop.lab.log.one().await;
            let pauses = told.changes().iter().filter(|change| change.contains("time was up")).count();
            assert_eq!(pauses, if fails { 1 } else { 2 }, "{:?}", told.changes());
            assert!(stop.breakpoints.list().is_empty());
        }
    }
}

#[tokio::test]
async fn beyond_the_bound_exchanges_pass_and_the_record_says_so() {
    let mut limits = BreakpointLimits::default();
    limits.max_paused = 1;
    let stop = Stop::at(json!({}), limits).await;
    let first = send(stop.client(&["h2"]).await, "/?pause=1", "");
    let paused = stop.one().await;
    let second = send(stop.client(&["h2"]).await, "/?pause=2", "").await.unwrap().unwrap();
    assert_eq!(second.status, 200);
    stop.breakpoints.resume(paused.id, Resume::Continue).unwrap();
    assert_eq!(first.await.unwrap().unwrap().status, 200);
    let told = stop.lab.log.ended(2).await;
    let passed = told.iter().find(|told| told.url().ends_with('2')).unwrap();
    assert_eq!(passed.changes(), ["stop: did not pause: 1 exchanges are paused already"]);
}

#[tokio::test]
async fn a_body_over_the_bound_passes_untouched_and_cannot_be_replaced() {
    for alpn in VERSIONS {
        let mut limits = BreakpointLimits::default();
        limits.max_body_bytes = 10_000;
        let stop = Stop::at(json!({ "at": "both" }), limits).await;
        let mut client = stop.client(alpn).await;
        let request = client.request(Method::POST, "/echo?pause", pattern(3_000_000)).unwrap();
        let waits = tokio::spawn(async move { client.fetch(request).await });
        for phase in [Phase::Request, Phase::Response] {
            let paused = stop.one().await;
            assert_eq!(paused.phase, phase);
            let edit = Resume::Edit(Box::new(Edit { body: Some("new".into()), ..Edit::default() }));
            assert!(matches!(stop.breakpoints.resume(paused.id, edit), Err(ResumeError::Body(_))));
            assert!(paused.body.is_err());
            stop.breakpoints.resume(paused.id, Resume::Continue).unwrap();
            while stop.breakpoints.get(paused.id).is_some() {}
        }
        assert_eq!(waits.await.unwrap().unwrap().body, pattern_bytes(3_000_000), "{alpn:?}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_frees_its_pause() {
    for at in ["request", "response"] {
        for alpn in VERSIONS {
            let stop = Stop::at(json!({ "at": at }), BreakpointLimits::default()).await;
            let waits = send(stop.client(alpn).await, "/?pause", "");
            stop.one().await;
            waits.abort();
            stop.paused(0).await;
            assert_eq!(stop.lab.log.one().await.failure(), FailureKind::ClientLeft, "{at} {alpn:?}");
        }
    }
}

#[tokio::test]
async fn a_shutdown_lets_what_is_paused_go_on() {
    for alpn in VERSIONS {
        let mut stop = Stop::at(json!({ "timeout_ms": 3_600_000 }), BreakpointLimits::default()).await;
        let waits = send(stop.client(alpn).await, "/?pause", "");
        stop.one().await;
        let drained = stop.lab.proxy.take().unwrap().shutdown(Duration::from_secs(20)).await;
        assert_eq!(drained.cut_connections, 0);
        assert_eq!(waits.await.unwrap().unwrap().status, 200, "{alpn:?}");
        assert_eq!(
            stop.breakpoints.resume(PauseId(1), Resume::Continue),
            Err(ResumeError::NotPaused(PauseId(1)))
        );
    }
}
