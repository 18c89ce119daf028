//! What belongs to one connection and not to the message (RFC 9110 section 7.6.1).

use bytes::Bytes;
use http::Version;

use super::fields::trim_ows;
use crate::head::{Header, Headers};

/// Fields that `Connection` cannot take away: without them the message is another one, and naming them there is
/// how some try to make it so.
const END_TO_END: [&[u8]; 14] = [
    b"authorization",
    b"cache-control",
    b"content-encoding",
    b"content-length",
    b"content-range",
    b"content-type",
    b"cookie",
    b"date",
    b"expect",
    b"host",
    b"location",
    b"set-cookie",
    b"trailer",
    b"transfer-encoding",
];

/// Takes off the fields meant for this hop: `Connection` and what it names, `Proxy-Connection`, `Keep-Alive`,
/// `Proxy-Authorization`, `TE` but for `trailers`, and `Upgrade`.
///
/// The options of `Connection` in `passing`, and that of a `TE: trailers`, pass on: the first `Connection` stays in
/// its place with just those, spelt as received, and `upgrade` keeps the `Upgrade` it belongs to. `Content-Length`,
/// `Transfer-Encoding` and `Trailer` stay as they are.
pub(crate) fn strip_hop_by_hop(headers: &mut Headers, passing: &[&str]) {
    if is_stripped(headers, passing) {
        return;
    }
    let options: Vec<Bytes> = members(headers, "connection").collect();
    let has = |name: &[u8]| options.iter().any(|option| option.eq_ignore_ascii_case(name));
    let upgrades = passing.contains(&"upgrade") && has(b"upgrade") && headers.contains("upgrade");
    let mut te = members(headers, "te").find(|coding| coding.eq_ignore_ascii_case(b"trailers"));
    let kept: Vec<&[u8]> = options
        .iter()
        .map(|option| &option[..])
        .filter(|option| match () {
            () if option.eq_ignore_ascii_case(b"upgrade") => upgrades,
            () if option.eq_ignore_ascii_case(b"te") => te.is_some(),
            () => passing.iter().any(|passing| option.eq_ignore_ascii_case(passing.as_bytes())),
        })
        .collect();
    let mut connection = (!kept.is_empty()).then(|| Bytes::from(kept.join(&b", "[..])));

    let mut stripped = Headers::with_capacity(headers.len());
    for header in headers.iter() {
        let Header { name, value, .. } = header;
        let value = match () {
            () if name.eq_ignore_ascii_case(b"connection") => connection.take(),
            () if name.eq_ignore_ascii_case(b"te") => te.take(),
            () if name.eq_ignore_ascii_case(b"upgrade") => upgrades.then(|| value.clone()),
            () if is_for_this_hop(name) => None,
            () if has(name) && !END_TO_END.iter().any(|kept| name.eq_ignore_ascii_case(kept)) => None,
            () => Some(value.clone()),
        };
        if let Some(value) = value {
            stripped.push_header(header.with_value(value));
        }
    }
    *headers = stripped;
}

/// Whether [`strip_hop_by_hop`] has nothing to take off, as is usual: no field it looks for is there but one `Connection`
/// with a single option that passes on.
pub(crate) fn is_stripped(headers: &Headers, passing: &[&str]) -> bool {
    let mut connections = 0;
    headers.iter().all(|Header { name, value, .. }| match name.len() {
        2 => !name.eq_ignore_ascii_case(b"te"),
        7 => !name.eq_ignore_ascii_case(b"upgrade"),
        10 if name.eq_ignore_ascii_case(b"connection") => {
            connections += 1;
            let plain = passing.iter().filter(|option| !matches!(**option, "upgrade" | "te"));
            connections == 1 && plain.into_iter().any(|option| value.eq_ignore_ascii_case(option.as_bytes()))
        }
        10 | 16 | 19 => !is_for_this_hop(name),
        _ => true,
    })
}

fn is_for_this_hop(name: &[u8]) -> bool {
    [&b"proxy-connection"[..], b"keep-alive", b"proxy-authorization"]
        .iter()
        .any(|hop| name.eq_ignore_ascii_case(hop))
}

/// The members of a list field, over all its lines.
fn members<'a>(headers: &'a Headers, name: &'a str) -> impl Iterator<Item = Bytes> + 'a {
    headers.get_all(name).flat_map(|value| {
        value
            .split(|byte| *byte == b',')
            .map(trim_ows)
            .filter(|option| !option.is_empty())
            .map(|option| value.slice_ref(option))
    })
}

/// Tells whether the connection persists after a message (RFC 9112 section 9.3), as far as its sender is concerned.
pub(crate) fn keeps_alive(version: Version, headers: &Headers) -> bool {
    if headers.has_token("connection", "close") {
        return false;
    }
    version != Version::HTTP_10 || headers.has_token("connection", "keep-alive")
}

/// Makes `Host` say `authority`, as a proxy must when the target said otherwise (RFC 9112 section 3.2.2). A `Host`
/// that says it already stays as it is; a new one goes first.
pub(crate) fn put_host_right(headers: &mut Headers, authority: &str) {
    if is_host_right(headers, authority) {
        return;
    }
    if headers.contains("host") {
        headers.set("Host", authority.to_owned());
    } else {
        let host = Header::new("Host", authority.to_owned());
        *headers = std::iter::once(host).chain(headers.iter().cloned()).collect();
    }
}

/// Whether the only `Host` says `authority`.
pub(crate) fn is_host_right(headers: &Headers, authority: &str) -> bool {
    let mut hosts = headers.get_all("host");
    hosts.next().is_some_and(|host| host.eq_ignore_ascii_case(authority.as_bytes())) && hosts.next().is_none()
}
