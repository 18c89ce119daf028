//! One endpoint: its exchanges paired, and where the pairs differ.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    ops::ControlFlow,
};

use capture_store::{Condition, Error, ExchangeKind, ExchangeSummary, Order, Pattern, Seq, TextField};

use super::{
    difference::{Difference, Options},
    exchange::exchanges,
    sessions::{Endpoint, Side},
    volatile::Volatile,
};
use crate::{scope::Bounds, subject::Subject};

/// Exchanges of an endpoint that are paired, on each side.
const MAX_PAIRED: usize = 10_000;
/// Places that are told apart.
const MAX_PLACES: usize = 2_000;

/// Where the exchanges of one endpoint differ.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct EndpointDiff {
    /// Places, those that differ in most pairs first.
    pub places: Vec<PlaceDiff>,
    /// Pairs that were compared.
    pub compared: u64,
    /// Of these, those that differ in anything but what is volatile.
    pub differing: u64,
    /// Pairs there are.
    pub pairs: u64,
    /// Exchanges without a partner, left and right.
    pub unpaired: (u64, u64),
    /// The pairs that differ most, at most ten.
    pub worst: Vec<Pair>,
}

/// Two exchanges that ask for the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pair {
    /// The left one.
    pub left: Seq,
    /// The right one.
    pub right: Seq,
    /// Differences that are not volatile.
    pub differences: u64,
}

/// A place at which pairs differ.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlaceDiff {
    /// Pairs that differ there.
    pub pairs: u64,
    /// The first of them.
    pub example: (Seq, Seq),
    /// What differs in it. Numbers in pointers are `*`: places of an array are one place.
    pub first: Difference,
}

/// Pairs the exchanges of an endpoint and compares at most `max_pairs` of the pairs.
///
/// Those of one target are paired first, in their order, then the rest in theirs.
///
/// # Errors
/// When a store cannot be read.
pub fn endpoint(
    left: &Side<'_>,
    right: &Side<'_>,
    endpoint: &Endpoint,
    options: &Options,
    max_pairs: usize,
) -> Result<EndpointDiff, Error> {
    let (of_left, of_right) = (gather(left, endpoint)?, gather(right, endpoint)?);
    let (pairs, unpaired) = paired(of_left, of_right);
    let mut told = EndpointDiff { pairs: pairs.len() as u64, unpaired, ..EndpointDiff::default() };
    let mut places: BTreeMap<(Option<Volatile>, String), PlaceDiff> = BTreeMap::new();
    for (one, other) in pairs.into_iter().take(max_pairs) {
        let (left, right) = (Subject::new(left.store, one), Subject::new(right.store, other));
        let diff = exchanges(&left, &right, options)?;
        let example = (left.summary().seq, right.summary().seq);
        told.compared += 1;
        if diff.total > 0 {
            told.differing += 1;
            told.worst.push(Pair { left: example.0, right: example.1, differences: diff.total });
        }
        let mut seen = std::collections::BTreeSet::new();
        for first in diff.differences {
            let key = (first.volatile, general(&first.place));
            if !seen.insert(key.clone()) || (places.len() >= MAX_PLACES && !places.contains_key(&key)) {
                continue;
            }
            let place = key.1.clone();
            let entry = places.entry(key).or_insert_with(|| PlaceDiff {
                pairs: 0,
                example,
                first: Difference { place, ..first },
            });
            entry.pairs += 1;
        }
    }
    told.worst.sort_by_key(|pair| (std::cmp::Reverse(pair.differences), pair.left));
    told.worst.truncate(10);
    told.places = places.into_values().collect();
    told.places.sort_by_key(|place| (place.first.volatile.is_some(), std::cmp::Reverse(place.pairs)));
    Ok(told)
}

/// A place with the numbers of its pointer left open.
fn general(place: &str) -> String {
    let Some((before, pointer)) = place.split_once(".json.") else { return place.to_owned() };
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let parts: Vec<&str> = pointer.split('/').map(|part| if is_number(part) { "*" } else { part }).collect();
    format!("{before}.json.{}", parts.join("/"))
}

fn gather(side: &Side<'_>, endpoint: &Endpoint) -> Result<Vec<ExchangeSummary>, Error> {
    let mut conditions = vec![Condition::Text(TextField::Method, Pattern::equals(&endpoint.method))];
    conditions
        .extend(endpoint.host.as_ref().map(|host| Condition::Text(TextField::Host, Pattern::equals(host))));
    let scope = side.scope.clone().filtered(Condition::All(conditions));
    let mut found = Vec::new();
    scope.walk::<Error>(side.store, (Order::Ascending, None), Bounds::default(), |summary| {
        let is_meant = summary.kind != ExchangeKind::Tunnel
            && Endpoint::of(&summary, endpoint.host.is_some()) == *endpoint;
        if is_meant {
            found.push(summary);
        }
        let is_full = found.len() >= MAX_PAIRED;
        Ok(if is_full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok(found)
}

type Pairs = Vec<(ExchangeSummary, ExchangeSummary)>;

/// Pairs, and how many are left over on each side.
fn paired(left: Vec<ExchangeSummary>, right: Vec<ExchangeSummary>) -> (Pairs, (u64, u64)) {
    let mut by_target: HashMap<String, VecDeque<usize>> = HashMap::new();
    for (index, summary) in right.iter().enumerate() {
        by_target.entry(summary.target.clone()).or_default().push_back(index);
    }
    let mut right: Vec<Option<ExchangeSummary>> = right.into_iter().map(Some).collect();
    let mut partners: Vec<(ExchangeSummary, Option<ExchangeSummary>)> = left
        .into_iter()
        .map(|one| {
            let at = by_target.get_mut(&one.target).and_then(VecDeque::pop_front);
            let other = at.and_then(|at| right[at].take());
            (one, other)
        })
        .collect();
    let mut rest: VecDeque<ExchangeSummary> = right.into_iter().flatten().collect();
    for (_, other) in &mut partners {
        if other.is_none() {
            *other = rest.pop_front();
        }
    }
    let alone = partners.iter().filter(|(_, other)| other.is_none()).count() as u64;
    let pairs = partners.into_iter().filter_map(|(one, other)| Some((one, other?))).collect();
    (pairs, (alone, rest.len() as u64))
}
