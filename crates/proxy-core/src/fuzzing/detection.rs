//! What is read of a connection before its protocol is known.

use crate::{
    HostPattern,
    client_hello::{self, Parsed},
    detect::{Detected, detect},
    head::split_authority,
};

/// Prefixes looked at of one input at most.
const MAX_PREFIXES: usize = 64;

fn prefixes(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let step = data.len() / MAX_PREFIXES + 1;
    (0..data.len()).step_by(step).map(|end| &data[..end])
}

/// An answer once given stays, whatever follows, and there always is one at the end.
pub(super) fn detection(data: &[u8]) {
    let whole = detect(data, false);
    for prefix in prefixes(data) {
        let early = detect(prefix, false);
        if early != Detected::NeedMore {
            assert_eq!(early, whole, "after {} of {} octets", prefix.len(), data.len());
        }
    }
    let at_end = detect(data, true);
    assert_ne!(at_end, Detected::NeedMore);
    if whole != Detected::NeedMore {
        assert_eq!(whole, at_end);
    }
}

/// As [`detection`], for the hello alone.
pub(super) fn client_hello(data: &[u8]) {
    let whole = client_hello::parse(data);
    for prefix in prefixes(data) {
        match client_hello::parse(prefix) {
            Parsed::NeedMore => {}
            early => assert_eq!(early, whole, "after {} of {} octets", prefix.len(), data.len()),
        }
    }
}

/// Authorities and host patterns: what is taken apart is part of what was there.
pub(super) fn authority(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (host, port) = split_authority(text);
    assert!(text.contains(host), "{text:?} has the host {host:?}");
    if let Some(port) = port {
        assert!(text.contains(':'), "{text:?} has the port {port}");
    }
    if let Ok(pattern) = text.parse::<HostPattern>() {
        let _ = pattern.matches("host.example");
        let _ = pattern.matches(text);
    }
}
