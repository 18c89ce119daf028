//! Judging upstream's certificate, and saying in words what is wrong with it.

use std::sync::Arc;

use bytes::Bytes;
use rustls::{
    CertificateError, DigitallySignedStruct, OtherError, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, parse_x509_certificate};

use super::{intermediates::Intermediates, trust::UpstreamTrust};
use crate::{
    calendar,
    error::{Error, ErrorKind},
    failure::{Failure, FailureKind},
};

/// How many of a certificate's names an error tells.
const NAMES_TOLD: usize = 5;

/// The certificates of a refused chain that are recorded.
const MAX_CHAIN_TOLD: usize = 16;

/// Accepts certificates by a policy. Signatures of the handshake are verified under every policy: the peer
/// holds the key of whatever certificate it shows.
#[derive(Debug)]
pub(super) struct Verifier {
    provider: Arc<CryptoProvider>,
    policy: Policy,
}

#[derive(Debug)]
enum Policy {
    /// A chain to a root, or a certificate that was itself named as trusted.
    Strict {
        /// `None` without any root.
        chain: Option<Arc<WebPkiServerVerifier>>,
        named: Vec<CertificateDer<'static>>,
        /// Issuers that were fetched because upstream leaves them out.
        fetched: Option<Arc<Intermediates>>,
    },
    /// Any certificate.
    Any,
}

/// A certificate's rejection. It travels inside the TLS library's error, whose own text knows less.
#[derive(Debug, thiserror::Error)]
#[error("{failure}")]
pub(super) struct Rejected {
    pub(super) failure: Failure,
    /// What was shown, leaf first.
    pub(super) chain: Vec<Bytes>,
}

impl Verifier {
    pub(super) fn strict(
        provider: Arc<CryptoProvider>,
        trust: &UpstreamTrust,
        fetched: Option<Arc<Intermediates>>,
    ) -> Result<Self, Error> {
        let roots = trust.roots();
        let chain = if roots.is_empty() {
            None
        } else {
            let builder = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider));
            Some(builder.build().map_err(|error| Error::new(ErrorKind::Tls).because(error))?)
        };
        Ok(Self { provider, policy: Policy::Strict { chain, named: trust.additional().to_vec(), fetched } })
    }

    /// Whether a chain leads to a root, whomever it is for.
    pub(super) fn reaches_root(&self, chain: &[CertificateDer<'_>]) -> bool {
        let Policy::Strict { chain: Some(verifier), .. } = &self.policy else { return false };
        let ([end_entity, intermediates @ ..], Ok(nobody)) = (chain, ServerName::try_from("nobody.invalid"))
        else {
            return false;
        };
        let verified = verifier.verify_server_cert(end_entity, intermediates, &nobody, &[], UnixTime::now());
        let is_for_another = |error| {
            use CertificateError as C;
            let rustls::Error::InvalidCertificate(reason) = error else { return false };
            matches!(reason, C::NotValidForName | C::NotValidForNameContext { .. })
        };
        verified.map_or_else(is_for_another, |_| true)
    }

    pub(super) fn any(provider: Arc<CryptoProvider>) -> Self {
        Self { provider, policy: Policy::Any }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Policy::Strict { chain, named, fetched } = &self.policy else {
            return Ok(ServerCertVerified::assertion());
        };
        let result = match chain {
            // webpki takes no CA certificate for a server's own, but that is what `openssl req -x509` makes.
            _ if named.contains(end_entity) => verify_named(end_entity, server_name, now),
            Some(chain) => {
                let verify = |intermediates: &[CertificateDer<'_>]| {
                    chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
                };
                let verified = match (verify(intermediates), fetched) {
                    (Err(error), Some(fetched)) if is_unknown_issuer(&error) => {
                        // No more than would be fetched for: finding a chain's end takes the square of its length.
                        let shown = std::iter::once(end_entity).chain(intermediates).take(MAX_CHAIN_TOLD);
                        let mut whole: Vec<_> = shown.cloned().collect();
                        let missing = fetched.missing_in(&whole);
                        let found = !missing.is_empty();
                        whole.extend(missing);
                        if found { verify(&whole[1..]) } else { Err(error) }
                    }
                    (verified, _) => verified,
                };
                verified.map(|_| ())
            }
            None => Err(CertificateError::UnknownIssuer.into()),
        };
        match result {
            Ok(()) => Ok(ServerCertVerified::assertion()),
            Err(error) => {
                let failure = explain(&error, end_entity, intermediates.len(), server_name, chain.is_some());
                let shown = std::iter::once(end_entity).chain(intermediates).take(MAX_CHAIN_TOLD);
                let chain = shown.map(|der| Bytes::copy_from_slice(der)).collect();
                Err(CertificateError::Other(OtherError(Arc::new(Rejected { failure, chain }))).into())
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Verifies a certificate that the user named as trusted: it needs no issuer, but its time and name count.
fn verify_named(
    end_entity: &CertificateDer<'_>,
    server_name: &ServerName<'_>,
    now: UnixTime,
) -> Result<(), rustls::Error> {
    let (_, parsed) = parse_x509_certificate(end_entity).map_err(|_| CertificateError::BadEncoding)?;
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now < parsed.validity().not_before.timestamp() {
        return Err(CertificateError::NotValidYet.into());
    }
    if now > parsed.validity().not_after.timestamp() {
        return Err(CertificateError::Expired.into());
    }
    verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)
}

fn explain(
    error: &rustls::Error,
    end_entity: &CertificateDer<'_>,
    intermediates: usize,
    server_name: &ServerName<'_>,
    any_root: bool,
) -> Failure {
    use CertificateError as C;
    let Ok((_, certificate)) = parse_x509_certificate(end_entity) else {
        return Failure::new(FailureKind::CertificateUntrusted, "malformed certificate");
    };
    let rustls::Error::InvalidCertificate(reason) = error else {
        return Failure::new(FailureKind::CertificateUntrusted, one_line(&error.to_string()));
    };
    let (kind, detail) = match reason {
        C::Expired | C::ExpiredContext { .. } => {
            let day = calendar::day_of_unix(certificate.validity().not_after.timestamp());
            (FailureKind::CertificateExpired, format!("expired on {day}"))
        }
        C::NotValidYet | C::NotValidYetContext { .. } => {
            let day = calendar::day_of_unix(certificate.validity().not_before.timestamp());
            (FailureKind::CertificateExpired, format!("not valid before {day}"))
        }
        C::NotValidForName | C::NotValidForNameContext { .. } => {
            let names = names(&certificate);
            (FailureKind::CertificateWrongName, format!("{names}, not for {}", server_name.to_str()))
        }
        C::UnknownIssuer | C::Other(_) if is_self_signed(&certificate) => {
            (FailureKind::CertificateUntrusted, "self-signed certificate".to_owned())
        }
        C::UnknownIssuer => {
            (FailureKind::CertificateUntrusted, unknown_issuer(&certificate, intermediates, any_root))
        }
        C::BadSignature => {
            let issuer = issuer_name(&certificate);
            let detail = format!("not signed by the {issuer:?} that is trusted, but by another of that name");
            (FailureKind::CertificateUntrusted, detail)
        }
        C::InvalidPurpose | C::InvalidPurposeContext { .. } => {
            (FailureKind::CertificateUntrusted, "not meant for servers (extended key usage)".to_owned())
        }
        other => (FailureKind::CertificateUntrusted, other.to_string()),
    };
    Failure::new(kind, one_line(&detail))
}

fn is_unknown_issuer(error: &rustls::Error) -> bool {
    matches!(error, rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer))
}

fn is_self_signed(certificate: &X509Certificate<'_>) -> bool {
    certificate.issuer().as_raw() == certificate.subject().as_raw()
}

fn issuer_name(certificate: &X509Certificate<'_>) -> String {
    let issuer = certificate.issuer();
    let name = issuer.iter_common_name().next().and_then(|name| name.as_str().ok());
    name.map_or_else(|| issuer.to_string(), str::to_owned)
}

fn unknown_issuer(certificate: &X509Certificate<'_>, intermediates: usize, any_root: bool) -> String {
    let issuer = issuer_name(certificate);
    if !any_root {
        return format!(
            "issued by {issuer:?}, and no root certificate is known here (install the system's, or set \
             SSL_CERT_FILE)"
        );
    }
    let missing = if intermediates == 0 { "; upstream sent no intermediate certificate" } else { "" };
    format!("issued by {issuer:?}, which is not a trusted authority{missing}")
}

/// The names a certificate is for, as the first half of a sentence.
fn names(certificate: &X509Certificate<'_>) -> String {
    let alternative = certificate.subject_alternative_name().ok().flatten();
    let names: Vec<String> =
        alternative.iter().flat_map(|san| san.value.general_names.iter()).filter_map(name).collect();
    if names.is_empty() {
        return "valid for no host name".to_owned();
    }
    let told = names[..names.len().min(NAMES_TOLD)].join(", ");
    match names.len().saturating_sub(NAMES_TOLD) {
        0 => format!("valid for {told}"),
        more => format!("valid for {told} and {more} more"),
    }
}

fn name(general: &GeneralName<'_>) -> Option<String> {
    match general {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(std::net::IpAddr::from);
            let v6 = <[u8; 16]>::try_from(*bytes).map(std::net::IpAddr::from);
            v4.or(v6).ok().map(|ip| ip.to_string())
        }
        _ => None,
    }
}

/// Makes text from a peer fit a one-line detail.
pub(super) fn one_line(text: &str) -> String {
    const MAX_CHARS: usize = 400;
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_CHARS).collect()
}
