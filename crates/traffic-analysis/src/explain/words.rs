//! Meanings: of TLS alerts, of statuses.

/// The first characters of a text, with an ellipsis where there are more.
pub(super) fn cut(text: &str, max_chars: usize) -> String {
    match text.char_indices().nth(max_chars) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// The alert a failure's detail names, as `unknown_ca`: `client sent alert unknown_ca (48): ...`.
pub(super) fn alert(detail: &str) -> Option<&str> {
    let (_, rest) = detail.split_once("alert ")?;
    let name = rest.split([' ', ':', '(']).next()?;
    let known = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    known.then_some(name)
}

/// What an alert means (RFC 8446 section 6), in the mouth of a client that was shown our certificate.
pub(super) fn alert_meaning(name: &str) -> &'static str {
    match name {
        "unknown_ca" => "it does not know the authority that signed the certificate",
        "bad_certificate" => {
            "it does not accept the certificate; many clients say so for an unknown authority or a pin"
        }
        "certificate_unknown" => {
            "it does not accept the certificate for a reason of its own; Java and Android say so for an unknown authority or a pin"
        }
        "unsupported_certificate" => "it cannot use the certificate's kind of key or signature",
        "certificate_expired" => "it holds the certificate for out of date: a clock is wrong",
        "certificate_revoked" => "it holds the certificate for revoked",
        "access_denied" => "it accepts the certificate, but refuses to go on",
        "handshake_failure" => "it found no common parameters",
        "protocol_version" => "it speaks no version of TLS that is offered",
        "insufficient_security" => "it wants stronger parameters than are offered",
        "no_application_protocol" => "it wants an application protocol (ALPN) that is not offered",
        "unrecognized_name" => "it does not like the name",
        "decode_error" | "illegal_parameter" | "unexpected_message" => "it did not understand the handshake",
        "decrypt_error" => "it could not verify the handshake",
        "internal_error" => "it failed inside",
        "user_canceled" => "it was called off",
        "ech_required" => "it insists on Encrypted Client Hello with the origin's configuration",
        "certificate_required" => "it wants a certificate",
        "close_notify" => "it closed",
        _ => "it ended the handshake",
    }
}

/// What a status means where it is an error, and what commonly helps.
pub(super) fn status_meaning(status: u16) -> (&'static str, &'static str) {
    match status {
        400 => ("the server does not understand the request", "compare the request with one that worked"),
        401 => ("the request is not authenticated", "send valid credentials; see www-authenticate"),
        403 => (
            "the server refuses this request",
            "check permissions, CSRF tokens, and whether the server blocks the client",
        ),
        404 => {
            ("there is nothing at this path", "check the path and the host; a rule may have rewritten either")
        }
        405 => ("the method is not allowed here", "use a method that `allow` lists"),
        406 => ("no representation fits the Accept fields", "change accept"),
        407 => ("a proxy wants credentials", "give the parent proxy's credentials"),
        408 => ("the server waited too long for the request", "send the request faster, or again"),
        409 => {
            ("the request conflicts with the state of the resource", "read the resource again, then repeat")
        }
        410 => ("the resource is gone", "use another"),
        411 => ("the server wants a Content-Length", "send the body with a length"),
        412 => ("a precondition failed", "check if-match and if-unmodified-since"),
        413 => ("the body is too large", "send less"),
        414 => ("the URL is too long", "move parameters into a body"),
        415 => ("the body's type is not supported", "check content-type and content-encoding"),
        421 => (
            "the server does not serve this host on this connection",
            "use a connection of its own for the host",
        ),
        422 => ("the body is understood but not valid", "fix the fields that the body names"),
        423 => ("the resource is locked", "try again later"),
        425 => ("the server does not want to risk a replay", "send again without early data"),
        426 => ("another protocol is wanted", "see upgrade"),
        428 => ("the request must be conditional", "send if-match"),
        429 => ("too many requests", "wait as retry-after says, then send fewer"),
        431 => ("the header fields are too large", "send fewer or smaller cookies"),
        451 => ("unavailable for legal reasons", "nothing helps"),
        500 => ("the server failed", "look at the server's log; the body may say more"),
        501 => ("the server does not know the method", "use another"),
        502 => ("a gateway got no valid answer from behind it", "look behind that gateway"),
        503 => ("the server is unavailable", "wait as retry-after says, then try again"),
        504 => ("a gateway got no answer in time from behind it", "look behind that gateway"),
        511 => ("the network wants a login", "log in to the network (captive portal)"),
        _ if status < 500 => ("the server refuses the request", "compare the request with one that worked"),
        _ => ("the server failed", "look at the server's log; the body may say more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_are_read_out_of_details() {
        for (detail, want) in [
            ("client sent alert unknown_ca (48): make it trust the CA", Some("unknown_ca")),
            ("client sent alert ech_required (121): it knows", Some("ech_required")),
            ("received fatal alert handshake_failure", Some("handshake_failure")),
            ("client sent alert 70 (Unknown)", None),
            ("it closed", None),
        ] {
            assert_eq!(alert(detail), want, "{detail}");
        }
    }
}
