//! What a client says when it does not like our certificate.

use std::io;

use rustls::AlertDescription;

use crate::failure::{Failure, FailureKind};

/// Where the user finds the way out, in half a line.
const HOW_TO_TRUST: &str =
    "make it trust the CA (http://wirescope.test/ through the proxy says how), or pass the host through";

/// The failure an I/O error on a client's TLS connection means, where it is the client's refusal of our
/// certificate.
///
/// Some clients finish the handshake before they judge the certificate, so this is to be asked of the first
/// read of a fresh connection too.
pub(super) fn distrust(error: &io::Error) -> Option<Failure> {
    match tls_error(error)? {
        rustls::Error::AlertReceived(alert) => refusal(*alert),
        _ => None,
    }
}

/// The TLS library's own error inside an I/O error.
pub(super) fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// The refusal an alert stands for (RFC 8446 section 6.2).
fn refusal(alert: AlertDescription) -> Option<Failure> {
    use AlertDescription as A;
    let hint = match alert {
        A::UnknownCA
        | A::BadCertificate
        | A::UnsupportedCertificate
        | A::CertificateUnknown
        | A::CertificateRevoked
        | A::AccessDenied => HOW_TO_TRUST,
        A::CertificateExpired => "check the clock of the client and of this machine",
        _ => return None,
    };
    Some(Failure::new(FailureKind::ClientDistrustsCa, format!("client sent alert {}: {hint}", name(alert))))
}

/// The failure of a client that went away once it had seen our certificate. It may have had other reasons, so
/// this names the likely one without claiming it.
pub(super) fn left_after_certificate() -> Failure {
    Failure::new(
        FailureKind::ClientTls,
        format!(
            "client closed the connection without an alert after it saw our certificate; if it does not \
             trust the CA, {HOW_TO_TRUST}"
        ),
    )
}

/// What a client's alert says that is no refusal of our certificate.
pub(super) fn told(alert: AlertDescription) -> String {
    let meaning = match alert {
        AlertDescription::EncryptedClientHelloRequired => {
            ": it knows an Encrypted Client Hello configuration that is not the proxy's, and comes again without"
        }
        _ => "",
    };
    format!("client sent alert {}{meaning}", name(alert))
}

/// An alert's name and number as in the IANA registry, for example `unknown_ca (48)`.
pub(super) fn name(alert: AlertDescription) -> String {
    use AlertDescription as A;
    let name = match alert {
        A::CloseNotify => "close_notify",
        A::UnexpectedMessage => "unexpected_message",
        A::BadRecordMac => "bad_record_mac",
        A::RecordOverflow => "record_overflow",
        A::HandshakeFailure => "handshake_failure",
        A::BadCertificate => "bad_certificate",
        A::UnsupportedCertificate => "unsupported_certificate",
        A::CertificateRevoked => "certificate_revoked",
        A::CertificateExpired => "certificate_expired",
        A::CertificateUnknown => "certificate_unknown",
        A::IllegalParameter => "illegal_parameter",
        A::UnknownCA => "unknown_ca",
        A::AccessDenied => "access_denied",
        A::DecodeError => "decode_error",
        A::DecryptError => "decrypt_error",
        A::ProtocolVersion => "protocol_version",
        A::InsufficientSecurity => "insufficient_security",
        A::InternalError => "internal_error",
        A::InappropriateFallback => "inappropriate_fallback",
        A::UserCanceled => "user_canceled",
        A::MissingExtension => "missing_extension",
        A::UnsupportedExtension => "unsupported_extension",
        A::UnrecognisedName => "unrecognized_name",
        A::BadCertificateStatusResponse => "bad_certificate_status_response",
        A::CertificateRequired => "certificate_required",
        A::NoApplicationProtocol => "no_application_protocol",
        A::EncryptedClientHelloRequired => "ech_required",
        other => return format!("{} ({other:?})", u8::from(other)),
    };
    format!("{name} ({})", u8::from(alert))
}
