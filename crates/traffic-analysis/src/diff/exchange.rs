//! Two exchanges.

use capture_store::{BodySide, Error, ExchangeState, ExchangeSummary};
use proxy_core::Headers;

use super::{
    body,
    difference::{ExchangeDiff, Found, Options},
    heads,
};
use crate::subject::Subject;

/// Compares two exchanges, of one store or of two.
///
/// An exchange and itself do not differ, and left and right are treated alike.
///
/// # Errors
/// When a store cannot be read.
pub fn exchanges(left: &Subject<'_>, right: &Subject<'_>, options: &Options) -> Result<ExchangeDiff, Error> {
    let mut found = Found::new(options);
    let (one, other) = (left.summary(), right.summary());
    heads::urls(&mut found, one, other);
    let none = Headers::new();
    let of = |subject: &Subject<'_>, side| subject.headers(side).cloned().unwrap_or_else(|| none.clone());
    let (left_fields, right_fields) = (of(left, BodySide::Request), of(right, BodySide::Request));
    heads::fields(&mut found, "req", &left_fields, &right_fields);
    heads::sent_cookies(&mut found, &left_fields, &right_fields);
    body::compare(&mut found, BodySide::Request, left, right)?;
    let status = |summary: &ExchangeSummary| summary.status.map(|status| status.to_string());
    found.texts("status", "", status(one).as_deref(), status(other).as_deref());
    found.texts("failure", "", failure(one), failure(other));
    // Where one has no response, all of the other's would differ, and the status says so.
    if one.status.is_some() && other.status.is_some() {
        let (left_fields, right_fields) = (of(left, BodySide::Response), of(right, BodySide::Response));
        heads::fields(&mut found, "resp", &left_fields, &right_fields);
        heads::set_cookies(&mut found, &left_fields, &right_fields);
        body::compare(&mut found, BodySide::Response, left, right)?;
    }
    for subject in [left, right] {
        subject.check()?;
        if matches!(subject.summary().state, ExchangeState::Open) {
            found.note(format!("{} is not over yet", subject.summary().seq));
        }
    }
    Ok(found.finish())
}

fn failure(summary: &ExchangeSummary) -> Option<&'static str> {
    match &summary.state {
        ExchangeState::Failed(failure) => Some(failure.kind.code()),
        _ => None,
    }
}
