//! Who is let in: by address, and by credentials.

use std::{fmt, net::IpAddr, str::FromStr, time::Instant};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use ring::{hmac, rand::SystemRandom};

use super::{meter::Meter, range::AddressRange};
use crate::{
    error::{Error, ErrorKind},
    failure::{Failure, FailureKind},
    head::RequestHead,
};

/// The field a client's credentials for the proxy are in (RFC 9110 section 11.7.2).
const FIELD: &str = "proxy-authorization";

/// What stands for a secret in the record.
const REDACTED: &str = "***";

/// The longest user name or password, in bytes: SOCKS has one octet for each length (RFC 1929 section 2).
const MAX_BYTES: usize = 255;

/// A user name and password clients prove themselves with. Its `Debug` does not show the password.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyCredentials {
    user: String,
    password: String,
}

impl ProxyCredentials {
    /// The user name.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }
}

impl fmt::Debug for ProxyCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxyCredentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// The text is no user name and password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("read the proxy credentials: {0}; write USER:PASSWORD")]
pub struct ParseProxyCredentialsError(&'static str);

/// Reads `USER:PASSWORD`; the password may hold colons (RFC 7617 section 2).
impl FromStr for ProxyCredentials {
    type Err = ParseProxyCredentialsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (user, password) = text.split_once(':').ok_or(ParseProxyCredentialsError("there is no colon"))?;
        if user.is_empty() || password.is_empty() {
            return Err(ParseProxyCredentialsError("the user name or the password is empty"));
        }
        if user.len() > MAX_BYTES || password.len() > MAX_BYTES {
            return Err(ParseProxyCredentialsError("the user name or the password has more than 255 bytes"));
        }
        if text.chars().any(char::is_control) {
            return Err(ParseProxyCredentialsError("there is a control character"));
        }
        Ok(Self { user: user.to_owned(), password: password.to_owned() })
    }
}

/// Who is let in. Passwords are held as keyed hashes only.
pub(crate) struct Clients {
    /// Of this process alone, so that comparing hashes tells nothing of how much of a password was right.
    key: hmac::Key,
    users: Vec<(String, hmac::Tag)>,
    ranges: Vec<AddressRange>,
    /// Bounds how many refusals are recorded.
    pub(crate) refusals: Meter,
}

impl Clients {
    pub(crate) fn new(credentials: &[ProxyCredentials], ranges: Vec<AddressRange>) -> Result<Self, Error> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .map_err(|_| Error::new(ErrorKind::Tls).because("the system has no random numbers"))?;
        let users = credentials
            .iter()
            .map(|known| {
                let text = spelt(known.user.as_bytes(), known.password.as_bytes());
                (known.user.clone(), hmac::sign(&key, &text))
            })
            .collect();
        Ok(Self { key, users, ranges, refusals: Meter::new(Instant::now()) })
    }

    /// Whether a client has to prove itself where it can.
    pub(crate) fn asks_credentials(&self) -> bool {
        !self.users.is_empty()
    }

    /// Whether only clients of certain addresses are let in.
    pub(crate) fn has_ranges(&self) -> bool {
        !self.ranges.is_empty()
    }

    /// Whether a client of this address may speak at all.
    pub(crate) fn lets_in(&self, address: IpAddr) -> bool {
        self.ranges.is_empty() || self.ranges.iter().any(|range| range.contains(address))
    }

    /// The user these credentials are of. Takes as long whichever are wrong.
    pub(crate) fn user(&self, user: &[u8], password: &[u8]) -> Option<&str> {
        let text = spelt(user, password);
        let mut found = None;
        for (name, tag) in &self.users {
            // Not `find`, which would stop at the first.
            if hmac::verify(&self.key, &text, tag.as_ref()).is_ok() {
                found = Some(name.as_str());
            }
        }
        found
    }

    /// The user of a `Proxy-Authorization` of the Basic scheme (RFC 7617), or why there is none.
    pub(crate) fn authenticate(&self, value: Option<&[u8]>) -> Result<&str, Failure> {
        let refuse = |detail| Failure::new(FailureKind::ClientUnauthenticated, detail);
        let value = value.ok_or_else(|| refuse("it sent no credentials"))?;
        let (scheme, encoded) = value
            .iter()
            .position(|byte| *byte == b' ')
            .map(|space| (&value[..space], value[space..].trim_ascii()))
            .unwrap_or((value, b""));
        if !scheme.eq_ignore_ascii_case(b"basic") {
            return Err(refuse("its credentials are of another scheme than Basic"));
        }
        let decoded = STANDARD.decode(encoded).map_err(|_| refuse("its credentials are no base64"))?;
        let colon = decoded.iter().position(|byte| *byte == b':');
        let colon = colon.ok_or_else(|| refuse("its credentials have no colon"))?;
        self.user(&decoded[..colon], &decoded[colon + 1..])
            .ok_or_else(|| refuse("the user name or the password is wrong"))
    }
}

/// A user name and password as one text that no other pair makes.
fn spelt(user: &[u8], password: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(8 + user.len() + password.len());
    text.extend_from_slice(&(user.len() as u64).to_be_bytes());
    text.extend_from_slice(user);
    text.extend_from_slice(password);
    text
}

/// Takes the credentials for the proxy out of a head before anybody sees it: `Basic ***` stays. Gives them, if there
/// is one field of them and no more.
pub(crate) fn take_credentials(head: &mut RequestHead) -> Option<Bytes> {
    let mut values = head.headers.get_all(FIELD);
    let (first, second) = (values.next().cloned(), values.next());
    let single = if second.is_some() { None } else { first.clone() };
    drop(values);
    first?;
    head.headers = head
        .headers
        .iter()
        .cloned()
        .map(|mut header| {
            if header.is(FIELD) {
                header.value = redacted(&header.value);
            }
            header
        })
        .collect();
    single
}

/// The scheme alone, where there is one.
fn redacted(value: &[u8]) -> Bytes {
    let scheme = value.split(|byte| *byte == b' ').next().filter(|scheme| {
        scheme.len() < value.len()
            && !scheme.is_empty()
            && scheme.iter().all(|byte| byte.is_ascii_alphabetic() || *byte == b'-')
    });
    match scheme.and_then(|scheme| std::str::from_utf8(scheme).ok()) {
        Some(scheme) => Bytes::from(format!("{scheme} {REDACTED}")),
        None => Bytes::from_static(REDACTED.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use http::{Method, Version};

    use super::*;
    use crate::head::{Headers, Scheme};

    fn clients(credentials: &[&str], ranges: &[&str]) -> Clients {
        let credentials: Vec<_> = credentials.iter().map(|text| text.parse().unwrap()).collect();
        let ranges = ranges.iter().map(|text| text.parse().unwrap()).collect();
        Clients::new(&credentials, ranges).unwrap()
    }

    #[test]
    fn basic_credentials_are_checked() {
        let clients = clients(&["ann:pass:word", "bob:b"], &[]);
        for (value, user) in [
            // "ann:pass:word"
            (Some("Basic YW5uOnBhc3M6d29yZA=="), Some("ann")),
            (Some("bAsIc   YW5uOnBhc3M6d29yZA=="), Some("ann")),
            // "bob:b"
            (Some("Basic Ym9iOmI="), Some("bob")),
            // "bob:pass:word", "ann:pass", "ann"
            (Some("Basic Ym9iOnBhc3M6d29yZA=="), None),
            (Some("Basic YW5uOnBhc3M="), None),
            (Some("Basic YW5u"), None),
            (Some("Basic !"), None),
            (Some("Basic"), None),
            (Some("Bearer YW5uOnBhc3M6d29yZA=="), None),
            (None, None),
        ] {
            let found = clients.authenticate(value.map(str::as_bytes));
            assert_eq!(found.as_ref().ok().copied(), user, "{value:?}");
            if let Err(failure) = found {
                assert_eq!(failure.kind, FailureKind::ClientUnauthenticated);
            }
        }
    }

    #[test]
    fn a_colon_does_not_move_between_user_and_password() {
        let clients = clients(&["a:b:c"], &[]);
        assert_eq!(clients.user(b"a", b"b:c"), Some("a"));
        assert_eq!(clients.user(b"a:b", b"c"), None);
    }

    #[test]
    fn addresses_are_let_in_by_their_ranges_only() {
        assert!(clients(&[], &[]).lets_in("192.0.2.1".parse().unwrap()));
        let some = clients(&[], &["10.0.0.0/8", "::1"]);
        for (address, expected) in [("10.1.2.3", true), ("::1", true), ("127.0.0.1", false)] {
            assert_eq!(some.lets_in(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn credentials_are_taken_out_of_a_head() {
        for (sent, taken, left) in [
            (&["Basic YTpi"][..], Some("Basic YTpi"), &["Basic ***"][..]),
            (&["Basic  YTpi"], Some("Basic  YTpi"), &["Basic ***"]),
            (&["secret"], Some("secret"), &["***"]),
            (&["s3cr3t more"], Some("s3cr3t more"), &["***"]),
            (&["Basic YTpi", "Basic Yzpk"], None, &["Basic ***", "Basic ***"]),
            (&[""], Some(""), &["***"]),
            (&[], None, &[]),
        ] {
            let mut headers = Headers::new();
            headers.push("Host", "a");
            for value in sent {
                headers.push("PROXY-Authorization", *value);
            }
            let mut head = RequestHead {
                method: Method::GET,
                scheme: Scheme::Http,
                authority: "a".to_owned(),
                target: "/".to_owned(),
                version: Version::HTTP_11,
                headers,
            };
            assert_eq!(take_credentials(&mut head), taken.map(Bytes::from), "{sent:?}");
            let seen: Vec<_> = head.headers.get_all(FIELD).collect();
            assert_eq!(seen, left, "{sent:?}");
        }
    }

    #[test]
    fn credentials_that_cannot_be_used_are_refused() {
        let long = format!("a:{}", "b".repeat(256));
        for text in ["", "a", ":b", "a:", "a:b\n", &long] {
            assert!(text.parse::<ProxyCredentials>().is_err(), "{text:?}");
        }
        let shown = format!("{:?}", "ann:secret".parse::<ProxyCredentials>().unwrap());
        assert!(shown.contains("ann") && !shown.contains("secret"), "{shown}");
    }
}
