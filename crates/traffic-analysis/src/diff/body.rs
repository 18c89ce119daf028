//! Bodies, by what they are.

use std::io::{self, Read};

use capture_store::{BodySide, Error};
use proxy_core::Headers;

use super::{difference::Found, heads, json, text};
use crate::subject::Subject;

/// Compares the bodies of two messages, decoded.
///
/// Up to 16 MiB they are compared as JSON, forms or texts, larger ones and others as bytes, in constant memory.
pub(super) fn compare(
    found: &mut Found<'_>,
    side: BodySide,
    left: &Subject<'_>,
    right: &Subject<'_>,
) -> Result<(), Error> {
    let word = match side {
        BodySide::Request => "req",
        BodySide::Response => "resp",
    };
    let place = format!("{word}.body");
    let (one, other) = (left.text(side), right.text(side));
    let (one, other) = match (one, other) {
        (None, None) => return Ok(()),
        (Some(one), Some(other)) => (one, other),
        (one, other) => {
            let told = |subject: &Subject<'_>| size(subject, side);
            let is_empty = |body: Option<&crate::Text>| body.is_none_or(|body| body.text.is_empty());
            if !(is_empty(one) && is_empty(other)) {
                let (left, right) = (one.map(|_| told(left)), other.map(|_| told(right)));
                found.add(&place, left.as_deref(), right.as_deref(), None);
            }
            return Ok(());
        }
    };
    if one == other && one.whole && !one.text.contains('\u{fffd}') {
        return Ok(());
    }
    for (subject, text) in [(left, one), (right, other)] {
        let recorded = subject.exchange().map(|exchange| match side {
            BodySide::Request => exchange.request_body,
            BodySide::Response => exchange.response_body,
        });
        let cut = recorded.is_some_and(|body| !body.identity && body.stored_bytes < body.wire_bytes);
        if cut && !text.whole {
            found.note(format!("{place} of {} was not recorded whole", subject.summary().seq));
        }
    }
    if !one.whole || !other.whole || one.text.contains('\u{fffd}') || other.text.contains('\u{fffd}') {
        return bytes(found, &place, side, left, right);
    }
    if let (Some(left), Some(right)) = (left.json(side), right.json(side)) {
        json::compare(found, &format!("{word}.json."), left, right);
        return Ok(());
    }
    let types = (content_type(left, side), content_type(right, side));
    match (types.0.as_deref(), types.1.as_deref()) {
        (Some(a), Some(b)) if is_form(a) && is_form(b) => {
            let (left, right) = (heads::parameters(Some(&one.text)), heads::parameters(Some(&other.text)));
            heads::named(found, &format!("{word}.form"), left, right);
        }
        (Some(a), Some(b)) => {
            // What parts a multipart body is made anew for each.
            let (left, right) = (unbounded(&one.text, a), unbounded(&other.text, b));
            text::compare(found, &place, &left, &right);
        }
        _ => text::compare(found, &place, &one.text, &other.text),
    }
    Ok(())
}

fn unbounded(text: &str, content_type: &str) -> String {
    match heads::boundary(content_type) {
        Some(boundary) => text.replace(&boundary, "boundary"),
        None => text.to_owned(),
    }
}

fn is_form(content_type: &str) -> bool {
    content_type.to_ascii_lowercase().starts_with("application/x-www-form-urlencoded")
}

fn content_type(subject: &Subject<'_>, side: BodySide) -> Option<String> {
    let value =
        |headers: &Headers| headers.get("content-type").map(|v| String::from_utf8_lossy(v).into_owned());
    subject.headers(side).and_then(value)
}

fn size(subject: &Subject<'_>, side: BodySide) -> String {
    let summary = subject.summary();
    let bytes = match side {
        BodySide::Request => summary.request_body_bytes,
        BodySide::Response => summary.response_body_bytes,
    };
    format!("{bytes} bytes")
}

/// Compares two bodies byte by byte to the first that differs.
fn bytes(
    found: &mut Found<'_>,
    place: &str,
    side: BodySide,
    left: &Subject<'_>,
    right: &Subject<'_>,
) -> Result<(), Error> {
    let open = |subject: &Subject<'_>| subject.store().body(subject.summary().seq, side);
    let (Some(one), Some(other)) = (open(left)?, open(right)?) else { return Ok(()) };
    match first_difference(one.into_decoded_reader(), other.into_decoded_reader()) {
        Ok(None) => {}
        Ok(Some(at)) => {
            let told = |subject| format!("{}, another from byte {at} on", size(subject, side));
            found.add(place, Some(&told(left)), Some(&told(right)), None);
        }
        Err(error) => {
            found.note(format!("{place} could not be decoded: {error}"));
            if let (Some(one), Some(other)) = (open(left)?, open(right)?)
                && !matches!(first_difference(one.into_reader(), other.into_reader()), Ok(None))
            {
                found.add(place, Some(&size(left, side)), Some(&size(right, side)), None);
            }
        }
    }
    Ok(())
}

/// The offset of the first byte that differs, or of the end of the shorter one.
fn first_difference(mut left: impl Read, mut right: impl Read) -> io::Result<Option<u64>> {
    let mut buffers = (vec![0; 32 * 1024], vec![0; 32 * 1024]);
    let mut done = 0;
    loop {
        let (one, other) = (fill(&mut left, &mut buffers.0)?, fill(&mut right, &mut buffers.1)?);
        let (one, other) = (&buffers.0[..one], &buffers.1[..other]);
        if one != other {
            let same = one.iter().zip(other).take_while(|(one, other)| one == other).count();
            return Ok(Some(done + same as u64));
        }
        if one.is_empty() {
            return Ok(None);
        }
        done += one.len() as u64;
    }
}

fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
