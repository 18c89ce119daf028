//! Texts by line.

use super::{
    difference::Found,
    volatile::{self, Volatile},
};

/// Lines that are told to differ; the rest is one more difference.
const MAX_LINES: usize = 5;

/// Compares two texts at a place like `resp.body`, line by line. Where they have lines more or less, those that stand
/// between the same ones at both ends are one difference.
pub(super) fn compare(found: &mut Found<'_>, place: &str, left: &str, right: &str) {
    if left == right {
        return;
    }
    let (left, right): (Vec<&str>, Vec<&str>) = (left.lines().collect(), right.lines().collect());
    if left == right {
        let ends = "the same lines, with other ends";
        return found.add(place, Some(ends), Some(ends), Some(Volatile::Framing));
    }
    if left.len() != right.len() {
        return moved(found, place, &left, &right);
    }
    let mut told = 0;
    for (index, (one, other)) in left.iter().zip(&right).enumerate() {
        if one == other {
            continue;
        }
        let why = volatile::shapes(one, other);
        if why.is_none() && told == MAX_LINES {
            return found.add(&format!("{place}.lines"), Some("more lines"), Some("more lines"), None);
        }
        told += usize::from(why.is_none());
        let (one, other) = apart(one, other);
        found.add(&format!("{place}.line.{}", index + 1), Some(one), Some(other), why);
    }
}

/// Tells of texts with a different number of lines.
fn moved(found: &mut Found<'_>, place: &str, left: &[&str], right: &[&str]) {
    let first = left.iter().zip(right).take_while(|(one, other)| one == other).count();
    let (left_rest, right_rest) = (&left[first..], &right[first..]);
    let last = left_rest.iter().rev().zip(right_rest.iter().rev()).take_while(|(one, other)| one == other);
    let last = last.count();
    let told = |rest: &[&str]| match &rest[..rest.len() - last] {
        [] => None,
        [only] => Some((*only).to_owned()),
        [head, more @ ..] => Some(format!("{head} (and {} more lines)", more.len())),
    };
    let place = format!("{place}.line.{}", first + 1);
    found.add(&place, told(left_rest).as_deref(), told(right_rest).as_deref(), None);
}

/// What two lines are from where they differ, with a little of what comes before.
fn apart<'t>(left: &'t str, right: &'t str) -> (&'t str, &'t str) {
    const BEFORE: usize = 20;
    let same = left.bytes().zip(right.bytes()).take_while(|(one, other)| one == other).count();
    let mut from = same.saturating_sub(BEFORE);
    while !left.is_char_boundary(from) || !right.is_char_boundary(from) {
        from = from.saturating_sub(1);
    }
    (&left[from..], &right[from..])
}
