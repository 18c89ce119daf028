use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{Method, StatusCode, Version};

use super::*;
use crate::{
    body::Unread,
    event::ExchangeId,
    head::{Headers, RequestHead, ResponseHead, Scheme},
    rules::{Otherwise, Phase},
};

fn request() -> RequestHead {
    RequestHead {
        method: Method::GET,
        scheme: Scheme::Http,
        authority: "a".into(),
        target: "/".into(),
        version: Version::HTTP_11,
        headers: Headers::new(),
    }
}

fn paused(phase: Phase, body: Result<Bytes, Unread>) -> impl FnOnce(PauseId) -> Paused {
    let response = (phase == Phase::Response).then(|| Arc::new(ResponseHead::new(StatusCode::OK)));
    move |id| Paused {
        id,
        exchange: ExchangeId(1),
        rule: "r1".into(),
        phase,
        request: Arc::new(request()),
        response,
        body,
        since: SystemTime::now(),
        deadline: SystemTime::now() + Duration::from_secs(60),
        otherwise: Otherwise::Continue,
    }
}

#[tokio::test]
async fn what_waits_is_listed_until_it_is_resumed() {
    let breakpoints = Breakpoints::new();
    let seen = breakpoints.version();
    let mut first = breakpoints.pause(paused(Phase::Request, Ok(Bytes::new()))).unwrap();
    let second = breakpoints.pause(paused(Phase::Request, Ok(Bytes::new()))).unwrap();
    assert_ne!(breakpoints.changed(seen).await, seen);
    assert_eq!(breakpoints.list().iter().map(|paused| paused.id).collect::<Vec<_>>(), [first.id, second.id]);
    breakpoints.resume(first.id, Resume::Abort).unwrap();
    assert!(matches!(first.decided().await, Resume::Abort));
    assert_eq!(breakpoints.resume(first.id, Resume::Abort), Err(ResumeError::NotPaused(first.id)));
    drop(second);
    assert!(breakpoints.list().is_empty());
}

#[tokio::test]
async fn beyond_the_bound_nothing_is_paused_until_there_is_room() {
    let limits = BreakpointLimits { max_paused: 1, ..BreakpointLimits::default() };
    let breakpoints = Breakpoints::with_limits(limits);
    let mut first = breakpoints.pause(paused(Phase::Request, Ok(Bytes::new()))).unwrap();
    assert!(breakpoints.pause(paused(Phase::Request, Ok(Bytes::new()))).is_none());
    assert_eq!(breakpoints.resume_all(), 1);
    assert!(matches!(first.decided().await, Resume::Continue));
    assert!(breakpoints.pause(paused(Phase::Request, Ok(Bytes::new()))).is_some());
}

#[test]
fn what_cannot_be_is_refused_and_the_exchange_stays_paused() {
    let breakpoints = Breakpoints::new();
    let too_large = Unread::TooLarge { max_bytes: 1 };
    let interim = ResponseHead::new(StatusCode::CONTINUE);
    let edit = |edit: Edit| Resume::Edit(Box::new(edit));
    for (phase, body, resume, error) in [
        (
            Phase::Request,
            Ok(Bytes::new()),
            edit(Edit { response: Some(interim.clone()), ..Edit::default() }),
            ResumeError::OtherPhase("request"),
        ),
        (
            Phase::Response,
            Ok(Bytes::new()),
            edit(Edit { request: Some(request()), ..Edit::default() }),
            ResumeError::OtherPhase("response"),
        ),
        (
            Phase::Response,
            Ok(Bytes::new()),
            edit(Edit { response: Some(interim.clone()), ..Edit::default() }),
            ResumeError::Interim,
        ),
        (
            Phase::Request,
            Ok(Bytes::new()),
            Resume::Respond { head: interim.clone(), body: Bytes::new() },
            ResumeError::Interim,
        ),
        (
            Phase::Request,
            Err(too_large.clone()),
            edit(Edit { body: Some("x".into()), ..Edit::default() }),
            ResumeError::Body(too_large.clone()),
        ),
    ] {
        let pause = breakpoints.pause(paused(phase, body)).unwrap();
        assert_eq!(breakpoints.resume(pause.id, resume), Err(error));
        assert!(breakpoints.get(pause.id).is_some());
    }
}

#[test]
fn pause_ids_read_back() {
    assert_eq!(PauseId(12).to_string().parse(), Ok(PauseId(12)));
    for wrong in ["", "p", "12", "p-1", "p+1", "p1x", "e1", "p99999999999999999999"] {
        wrong.parse::<PauseId>().unwrap_err();
    }
}
