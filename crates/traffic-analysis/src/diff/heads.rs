//! URLs, fields and cookies.

use std::collections::BTreeMap;

use capture_store::ExchangeSummary;
use proxy_core::Headers;

use super::{
    difference::Found,
    volatile::{self, Volatile},
};
use crate::{field, form};

/// Fields that are compared elsewhere: cookies one by one, the host with the URL.
const ELSEWHERE: [&str; 3] = ["cookie", "set-cookie", "host"];

/// Compares what a request asks for.
pub(super) fn urls(found: &mut Found<'_>, left: &ExchangeSummary, right: &ExchangeSummary) {
    found.texts("method", "", Some(&left.method), Some(&right.method));
    found.texts("scheme", "", Some(&left.scheme), Some(&right.scheme));
    found.texts("host", "", Some(&left.host), Some(&right.host));
    if (left.port, &left.scheme) != (right.port, &right.scheme) {
        found.texts("port", "", Some(&left.port.to_string()), Some(&right.port.to_string()));
    }
    found.texts("path", "", Some(field::path(left)), Some(field::path(right)));
    let query = |summary: &ExchangeSummary| form::query(&summary.target).map(str::to_owned);
    let (left_query, right_query) = (query(left), query(right));
    if left_query != right_query {
        named(found, "param", parameters(left_query.as_deref()), parameters(right_query.as_deref()));
    }
    found.texts("version", "", Some(&left.http_version), Some(&right.http_version));
}

pub(super) fn parameters(query: Option<&str>) -> Vec<(String, String)> {
    form::pairs(query.unwrap_or_default())
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect()
}

/// Compares values by name; of those with one name, the first with the first.
pub(super) fn named(
    found: &mut Found<'_>,
    place: &str,
    left: Vec<(String, String)>,
    right: Vec<(String, String)>,
) {
    for (name, (left, right)) in joined(left, right) {
        for index in 0..left.len().max(right.len()) {
            let number = if index == 0 { String::new() } else { format!("#{}", index + 1) };
            let place = format!("{place}.{name}{number}");
            found.texts(
                &place,
                &name,
                left.get(index).map(String::as_str),
                right.get(index).map(String::as_str),
            );
        }
    }
}

type Both<T> = BTreeMap<String, (Vec<T>, Vec<T>)>;

fn joined<T>(left: Vec<(String, T)>, right: Vec<(String, T)>) -> Both<T> {
    let mut both: Both<T> = BTreeMap::new();
    for (name, value) in left {
        both.entry(name).or_default().0.push(value);
    }
    for (name, value) in right {
        both.entry(name).or_default().1.push(value);
    }
    both
}

/// Compares the fields of two messages, at places like `req.header.accept`.
pub(super) fn fields(found: &mut Found<'_>, side: &str, left: &Headers, right: &Headers) {
    let of = |headers: &Headers| -> Vec<(String, String)> {
        headers
            .iter()
            .map(|field| (field.name_text().to_ascii_lowercase(), field.value_text().trim().to_owned()))
            .filter(|(name, _)| !ELSEWHERE.contains(&name.as_str()))
            .collect()
    };
    for (name, (left, right)) in joined(of(left), of(right)) {
        // Several fields of a name mean the same as one with a list (RFC 9110 section 5.3).
        let list = |values: Vec<String>| (!values.is_empty()).then(|| values.join(", "));
        let (left, right) = (list(left), list(right));
        if left != right {
            let why = volatile::field(&name).or_else(|| why(&name, left.as_deref(), right.as_deref()));
            found.add(&format!("{side}.header.{name}"), left.as_deref(), right.as_deref(), why);
        }
    }
}

fn why(name: &str, left: Option<&str>, right: Option<&str>) -> Option<Volatile> {
    let (left, right) = (left?, right?);
    if name == "content-type" {
        let bare = |value: &str| boundary(value).map(|boundary| value.replace(&boundary, ""));
        return (bare(left)? == bare(right)?).then_some(Volatile::Token);
    }
    volatile::texts(name, left, right)
}

/// The boundary that a content type names (RFC 2046 section 5.1.1).
pub(super) fn boundary(content_type: &str) -> Option<String> {
    let at = content_type.to_ascii_lowercase().find("boundary=")?;
    let value = content_type.get(at + "boundary=".len()..)?.trim_start_matches('"');
    let end = value.find(['"', ';']).unwrap_or(value.len());
    Some(value[..end].to_owned()).filter(|boundary| !boundary.is_empty())
}

/// Compares the cookies that two requests send.
pub(super) fn sent_cookies(found: &mut Found<'_>, left: &Headers, right: &Headers) {
    named(found, "req.cookie", form::sent_cookies(left), form::sent_cookies(right));
}

/// Compares the cookies that two responses set, attribute by attribute.
pub(super) fn set_cookies(found: &mut Found<'_>, left: &Headers, right: &Headers) {
    for (name, (left, right)) in joined(cookies(left), cookies(right)) {
        for index in 0..left.len().max(right.len()) {
            let number = if index == 0 { String::new() } else { format!("#{}", index + 1) };
            let place = format!("resp.cookie.{name}{number}");
            match (left.get(index), right.get(index)) {
                (Some(left), Some(right)) => cookie(found, &place, &name, left, right),
                (left, right) => {
                    let told = |cookie: &Cookie| cookie.value.clone();
                    found.add(&place, left.map(told).as_deref(), right.map(told).as_deref(), None);
                }
            }
        }
    }
}

/// A cookie that is set.
struct Cookie {
    value: String,
    /// Names in lower case.
    attributes: BTreeMap<String, String>,
}

fn cookies(headers: &Headers) -> Vec<(String, Cookie)> {
    headers
        .get_all("set-cookie")
        .filter_map(|value| {
            let text = String::from_utf8_lossy(value).into_owned();
            let mut parts = text.split(';');
            let (name, value) = parts.next()?.split_once('=')?;
            let attributes = parts.filter(|part| !part.trim().is_empty()).map(|part| {
                let (name, value) = part.split_once('=').unwrap_or((part, ""));
                (name.trim().to_ascii_lowercase(), value.trim().to_owned())
            });
            let cookie = Cookie { value: value.trim().to_owned(), attributes: attributes.collect() };
            Some((name.trim().to_owned(), cookie))
        })
        .collect()
}

fn cookie(found: &mut Found<'_>, place: &str, name: &str, left: &Cookie, right: &Cookie) {
    found.texts(place, name, Some(&left.value), Some(&right.value));
    let names: std::collections::BTreeSet<&String> =
        left.attributes.keys().chain(right.attributes.keys()).collect();
    for attribute in names {
        let (one, other) = (left.attributes.get(attribute), right.attributes.get(attribute));
        if one != other {
            let both = one.is_some() && other.is_some();
            let why = (attribute == "expires" && both).then_some(Volatile::Time);
            found.add(
                &format!("{place};{attribute}"),
                one.map(String::as_str),
                other.map(String::as_str),
                why,
            );
        }
    }
}
