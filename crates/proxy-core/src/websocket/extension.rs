//! Which extensions a 101 response agreed on (RFC 6455 section 9.1, RFC 7692 section 7.1).

use crate::head::Headers;

/// The extension both endpoints agreed on, as far as the tap can follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Negotiated {
    /// None: the RSV bits are reserved.
    None,
    /// permessage-deflate (RFC 7692), with the parameters of each direction.
    Deflate {
        /// For what the client sends.
        to_upstream: DeflateParams,
        /// For what upstream sends.
        to_client: DeflateParams,
    },
    /// One the tap does not know, or a response whose parameters make no sense: messages that use an RSV bit
    /// are recorded as they are on the wire, marked as not decoded.
    Unknown,
}

/// How one direction compresses. The window's size is not here: an inflater with the largest window of 32 KiB
/// reads what was made with any smaller one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeflateParams {
    /// Whether each message is compressed on its own (RFC 7692 section 7.1.1).
    pub(crate) no_context_takeover: bool,
}

/// Reads what a 101's `Sec-WebSocket-Extensions` fields accepted.
pub(crate) fn negotiated(response: &Headers) -> Negotiated {
    let mut agreed = Negotiated::None;
    for value in response.get_all("sec-websocket-extensions") {
        for extension in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if extension.is_empty() {
                continue;
            }
            if agreed != Negotiated::None {
                return Negotiated::Unknown;
            }
            agreed = permessage_deflate(extension).unwrap_or(Negotiated::Unknown);
        }
    }
    agreed
}

/// Reads one accepted extension; `None` when it is another one or its parameters are not those of RFC 7692
/// section 7.1, each at most once.
fn permessage_deflate(extension: &[u8]) -> Option<Negotiated> {
    let mut parts = extension.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    if !parts.next()?.eq_ignore_ascii_case(b"permessage-deflate") {
        return None;
    }
    let (mut to_upstream, mut to_client) = (DeflateParams::default(), DeflateParams::default());
    let mut seen: Vec<Vec<u8>> = Vec::new();
    for part in parts {
        let (name, value) = parameter(part);
        match (name.as_slice(), value) {
            (b"client_no_context_takeover", None) => to_upstream.no_context_takeover = true,
            (b"server_no_context_takeover", None) => to_client.no_context_takeover = true,
            (b"client_max_window_bits" | b"server_max_window_bits", Some(bits)) if is_window(bits) => {}
            _ => return None,
        }
        if seen.contains(&name) {
            return None;
        }
        seen.push(name);
    }
    Some(Negotiated::Deflate { to_upstream, to_client })
}

/// Splits `name=value`; the name in lower case, the value without its quotes.
fn parameter(part: &[u8]) -> (Vec<u8>, Option<&[u8]>) {
    match part.iter().position(|byte| *byte == b'=') {
        Some(at) => {
            let value = part[at + 1..].trim_ascii();
            let bare = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
            (part[..at].trim_ascii().to_ascii_lowercase(), Some(bare.unwrap_or(value)))
        }
        None => (part.to_ascii_lowercase(), None),
    }
}

/// A decimal from 8 to 15 without leading zeros (RFC 7692 section 7.1.2).
fn is_window(bits: &[u8]) -> bool {
    matches!(bits, [b'8' | b'9'] | [b'1', b'0'..=b'5'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deflate(client: bool, server: bool) -> Negotiated {
        Negotiated::Deflate {
            to_upstream: DeflateParams { no_context_takeover: client },
            to_client: DeflateParams { no_context_takeover: server },
        }
    }

    #[test]
    fn accepted_extensions_are_understood_or_said_not_to_be() {
        let cases: &[(&[&str], Negotiated)] = &[
            (&[], Negotiated::None),
            (&[""], Negotiated::None),
            (&[" , "], Negotiated::None),
            (&["permessage-deflate"], deflate(false, false)),
            (&["Permessage-Deflate"], deflate(false, false)),
            (&["", "permessage-deflate"], deflate(false, false)),
            (&["permessage-deflate; client_no_context_takeover"], deflate(true, false)),
            (&["permessage-deflate;server_no_context_takeover"], deflate(false, true)),
            (
                &["permessage-deflate; server_no_context_takeover; client_no_context_takeover"],
                deflate(true, true),
            ),
            (
                &["permessage-deflate; server_max_window_bits=10; client_max_window_bits=\"15\""],
                deflate(false, false),
            ),
            (&["permessage-deflate; client_max_window_bits = 8"], deflate(false, false)),
            (&["permessage-deflate; client_max_window_bits"], Negotiated::Unknown),
            (&["permessage-deflate; client_max_window_bits=16"], Negotiated::Unknown),
            (&["permessage-deflate; client_max_window_bits=08"], Negotiated::Unknown),
            (&["permessage-deflate; server_max_window_bits=7"], Negotiated::Unknown),
            (&["permessage-deflate; server_no_context_takeover=1"], Negotiated::Unknown),
            (
                &["permessage-deflate; server_no_context_takeover; server_no_context_takeover"],
                Negotiated::Unknown,
            ),
            (&["permessage-deflate; level=9"], Negotiated::Unknown),
            (&["permessage-deflate;"], Negotiated::Unknown),
            (&["x-webkit-deflate-frame"], Negotiated::Unknown),
            (&["permessage-deflate, x-mux"], Negotiated::Unknown),
            (&["permessage-deflate", "permessage-deflate"], Negotiated::Unknown),
        ];
        for (values, expected) in cases {
            let mut headers = Headers::new();
            for value in *values {
                headers.push("Sec-WebSocket-Extensions", value.to_string());
            }
            assert_eq!(negotiated(&headers), *expected, "{values:?}");
        }
    }
}
