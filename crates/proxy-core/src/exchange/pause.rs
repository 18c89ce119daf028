//! Exchanges that wait at a breakpoint.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::sleep;

use super::{
    desk::Desk,
    intercept::{Ended, Ruling, broken},
    local::Answer,
    ruled::Notes,
    run::Afterwards,
    steps::{RequestSteps, ResponseSteps},
};
use crate::{
    alarm::NEVER,
    breakpoints::{Edit, Paused, Resume},
    event::ResponseSource,
    failure::{Failure, FailureKind},
    head::{RequestHead, ResponseHead},
    rules::{Breakpoint, Otherwise, Phase, Step},
};

/// What waits.
struct Waiting {
    phase: Phase,
    request: Arc<RequestHead>,
    response: Option<Arc<ResponseHead>>,
}

impl RequestSteps<'_, '_, '_, '_, '_> {
    pub(super) async fn pause(&mut self, step: &Step, breakpoint: &Breakpoint) -> Ended<()> {
        let request = Arc::new(self.head.clone().into_owned());
        let waiting = Waiting { phase: Phase::Request, request, response: None };
        let notes = &mut self.ruled.notes;
        let Some(edit) = pause(step, breakpoint, waiting, self.desk, notes).await? else { return Ok(()) };
        if let Some(edited) = edit.request {
            let head = self.head.to_mut();
            // Whoever names another host in both places means both.
            self.ruled.keeps_host |=
                edited.authority != head.authority && edited.headers.get("host") != head.headers.get("host");
            *head = RequestHead { version: head.version, ..edited };
        }
        self.desk.replace(edit.body);
        Ok(())
    }
}

impl ResponseSteps<'_, '_, '_, '_> {
    pub(super) async fn pause(&mut self, step: &Step, breakpoint: &Breakpoint) -> Ended<()> {
        let request = Arc::new(self.request.clone());
        let waiting = Waiting { phase: Phase::Response, request, response: Some(self.head.clone()) };
        let notes = &mut self.ruled.notes;
        let Some(edit) = pause(step, breakpoint, waiting, self.desk, notes).await? else { return Ok(()) };
        if let Some(edited) = edit.response {
            let head = Arc::make_mut(self.head);
            *head = ResponseHead { version: head.version, ..edited };
        }
        if self.desk.has_content {
            self.desk.replace(edit.body);
        }
        Ok(())
    }
}

/// Waits until somebody decides, or the time is up, or the proxy shuts down. Gives the changes to make.
async fn pause(
    step: &Step,
    breakpoint: &Breakpoint,
    waiting: Waiting,
    desk: &mut Desk<'_, '_, '_>,
    notes: &mut Notes,
) -> Ended<Option<Edit>> {
    let cx = desk.cx;
    let breakpoints = &cx.engine.changes.breakpoints;
    let body = if desk.has_content {
        let whole = desk.whole(breakpoints.limits().max_body_bytes).await.map_err(broken)?;
        whole.into_content()
    } else {
        Ok(bytes::Bytes::new())
    };
    let patience = Duration::from_millis(breakpoint.timeout_ms);
    let since = SystemTime::now();
    let pause = breakpoints.pause(|id| Paused {
        id,
        exchange: desk.ledger.exchange(),
        rule: step.rule_id().to_owned(),
        phase: waiting.phase,
        request: waiting.request,
        response: waiting.response,
        body,
        since,
        deadline: since.checked_add(patience).unwrap_or_else(|| since + NEVER),
        otherwise: breakpoint.otherwise,
    });
    let Some(mut pause) = pause else {
        let max = breakpoints.limits().max_paused;
        notes.add(step, format!("did not pause: {max} exchanges are paused already"));
        return Ok(None);
    };
    let otherwise = || match breakpoint.otherwise {
        Otherwise::Continue => Resume::Continue,
        Otherwise::Abort => Resume::Abort,
    };
    let decided = async {
        tokio::select! {
            biased;
            resume = pause.decided() => (resume, "at a breakpoint"),
            () = cx.drained() => (otherwise(), "at a breakpoint, as the proxy shuts down"),
            () = sleep(patience) => (otherwise(), "at a breakpoint, after its time was up"),
        }
    };
    let (resume, how) = desk.watched(decided).await.map_err(broken)?;
    become_of(resume, how, step, notes)
}

/// What a decision makes of what waited.
fn become_of(resume: Resume, how: &str, step: &Step, notes: &mut Notes) -> Ended<Option<Edit>> {
    match resume {
        Resume::Continue => {
            notes.add(step, format!("let go on {how}"));
            Ok(None)
        }
        Resume::Edit(edit) => {
            notes.add(step, format!("edited {how}"));
            Ok(Some(*edit))
        }
        Resume::Respond { head, body } => {
            notes.add(step, format!("answered {} {how}", head.status.as_u16()));
            Err(Ruling::Answer(Answer { head, body, source: ResponseSource::Mock, flow: None }))
        }
        Resume::Abort => {
            notes.add(step, format!("ended {how}"));
            let detail = format!("rule {} ended it {how}", step.rule_id());
            Err(Ruling::Abort(Failure::new(FailureKind::Rule, detail), Afterwards::Close))
        }
    }
}
