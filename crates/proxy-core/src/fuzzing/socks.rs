//! What SOCKS clients say.

use std::fmt::Debug;

use crate::{
    http1::check_authority,
    socks::{Parsed, greeting, login, request},
};

/// Once a message is read, or refused, it stays that, whatever follows; and what is read fits into what came.
fn is_stable<T: PartialEq + Debug>(data: &[u8], parse: fn(&[u8]) -> Parsed<T>) -> Parsed<T> {
    let whole = parse(data);
    // No message is longer than its two texts and what stands before them.
    for end in 0..data.len().min(600) {
        match parse(&data[..end]) {
            Parsed::NeedMore => {}
            early => assert_eq!(early, whole, "after {end} of {} octets", data.len()),
        }
    }
    if let Parsed::Yes(_, length) = &whole {
        assert!(*length > 0 && *length <= data.len(), "{length} of {} octets", data.len());
    }
    whole
}

/// Each message by itself. What a request names can stand in a CONNECT.
pub(super) fn messages(data: &[u8]) {
    is_stable(data, greeting);
    is_stable(data, login);
    if let Parsed::Yes(request, _) = is_stable(data, request) {
        assert_eq!(check_authority(&request.authority()), Ok(()), "{request:?}");
    }
}
