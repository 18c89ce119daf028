//! Upstream's side: client certificates, versions, the key log, and what is told of those that are refused.

use std::{fs, path::PathBuf, sync::Arc};

use proxy_core::{
    ClientCertificate, ClientCertificateFiles, ErrorKind, FailureKind, KeyLog, TlsOptions, TlsVersion,
    TlsVersions,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};
use rustls::{RootCertStore, ServerConfig, server::WebPkiClientVerifier};
use testkit::{Origin, TestCa};

use super::{get, serve};
use crate::lab::Lab;

/// A certificate for a client with its key, in files.
struct Identity {
    _dir: tempfile::TempDir,
    certificate: PathBuf,
    key: PathBuf,
    roots: RootCertStore,
}

fn identity() -> Identity {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(["client".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, content: String| {
        let path = dir.path().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let (certificate, key) = (file("client.pem", certificate.pem()), file("client.key", key.serialize_pem()));
    Identity { _dir: dir, certificate, key, roots }
}

/// An upstream that serves only clients these roots vouch for.
async fn demanding(lab: &Lab, roots: &RootCertStore) -> String {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots.clone()), Arc::clone(&provider))
            .build()
            .unwrap();
    let key = KeyPair::generate().unwrap();
    // The lab's CA signs for its own keys only, so this upstream is excepted from being verified.
    let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![certificate.der().clone()], key.serialize_der().try_into().unwrap())
        .unwrap();
    assert!(lab.log.all().is_empty());
    format!("localhost:{}", serve(config).await.port())
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_its_hosts_only() {
    let identity = identity();
    let certificate = ClientCertificate::from_pem_files(&identity.certificate, &identity.key).unwrap();
    for (hosts, expected) in [("localhost", 200), ("other.example", 502)] {
        let options = TlsOptions::new().with_client_certificate(hosts.parse().unwrap(), certificate.clone());
        let lab =
            Lab::with(|builder| builder.tls(options).insecure_upstream("localhost".parse().unwrap())).await;
        let authority = demanding(&lab, &identity.roots).await;
        assert_eq!(get(&lab.client(&["http/1.1"]), &authority).await, expected, "{hosts}");
    }
}

#[test]
fn files_of_client_certificates_that_are_wrong_are_named() {
    let one = identity();
    let other = identity();
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = dir.path().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let read = |certificate: &PathBuf, key: &PathBuf| {
        let error = ClientCertificate::from_pem_files(certificate, key).unwrap_err();
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        (format!("{error}: {cause}"), error.kind().clone())
    };
    let (text, kind) = read(&one.certificate, &other.key);
    assert!(matches!(kind, ErrorKind::ClientKeyMismatch { .. }) && text.contains("client.key"), "{text}");
    let (text, kind) = read(&one.key, &one.key);
    assert!(matches!(kind, ErrorKind::ClientCertificate { .. }) && text.contains("no certificate"), "{text}");
    let (text, kind) = read(&one.certificate, &file("locked.key", encrypted));
    assert!(matches!(kind, ErrorKind::ClientKey { .. }) && text.contains("is encrypted"), "{text}");
    let (text, kind) = read(&one.certificate, &dir.path().join("missing.key"));
    assert!(matches!(kind, ErrorKind::ClientKey { .. }) && text.contains("missing.key"), "{text}");
    let both =
        format!("{}{}", fs::read_to_string(&one.certificate).unwrap(), fs::read_to_string(&one.key).unwrap());
    let named: ClientCertificateFiles = format!("*={}", file("both.pem", &both).display()).parse().unwrap();
    named.read("").unwrap();
}

#[tokio::test]
async fn versions_are_bounded_on_both_ends() {
    for (min, max, expected) in [
        (None, Some(TlsVersion::Tls12), "TLSv1.2"),
        (Some(TlsVersion::Tls13), None, "TLSv1.3"),
        (None, None, "TLSv1.3"),
    ] {
        let versions = TlsVersions::new(min, max).unwrap();
        let lab = Lab::with(|builder| builder.tls(TlsOptions::new().with_upstream_versions(versions))).await;
        let origin = Origin::https(&lab.origin_ca).await.unwrap();
        assert_eq!(get(&lab.client(&["h2", "http/1.1"]), &origin.authority()).await, 200);
        let told = lab.log.one().await;
        let tls = told.upstream[0].0.tls.clone().unwrap();
        assert_eq!(tls.version, expected);
        assert!(
            tls.fingerprint
                .unwrap()
                .ja4
                .starts_with(&format!("t{}", expected.replace(['T', 'L', 'S', 'v', '.'], "")))
        );
    }
}

#[tokio::test]
async fn a_chain_that_is_refused_is_told_all_the_same() {
    let lab = Lab::new().await;
    let leaf = TestCa::self_signed(&["localhost"]).unwrap();
    let origin = Origin::builder().leaf(leaf).start().await.unwrap();
    assert_eq!(get(&lab.client(&["http/1.1"]), &origin.authority()).await, 502);
    let told = lab.log.one().await;
    assert_eq!(told.failure(), FailureKind::CertificateUntrusted);
    let (upstream, reused) = &told.upstream[0];
    assert!(!reused && upstream.peer == origin.addr());
    let tls = upstream.tls.as_ref().unwrap();
    assert_eq!((tls.certificates.len(), tls.version.as_str()), (1, "TLSv1.3"));
    assert!(tls.fingerprint.is_some() && tls.sni.as_deref() == Some("localhost"));
}

#[tokio::test]
async fn the_secrets_of_both_sides_are_logged_where_asked() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.log");
    let options = TlsOptions::new().with_key_log(KeyLog::to_file(&path).unwrap());
    let lab = Lab::with(|builder| builder.tls(options)).await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    assert_eq!(get(&lab.client(&["http/1.1"]), &origin.authority()).await, 200);
    let log = fs::read_to_string(&path).unwrap();
    let of = |label: &str| -> Vec<Vec<&str>> {
        log.lines().map(|line| line.split(' ').collect::<Vec<_>>()).filter(|line| line[0] == label).collect()
    };
    for label in
        ["CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_HANDSHAKE_TRAFFIC_SECRET", "CLIENT_TRAFFIC_SECRET_0"]
    {
        let lines = of(label);
        assert_eq!(lines.len(), 2, "{label}: one of each side");
        assert_ne!(lines[0][1], lines[1][1], "each connection has its own random");
        assert!(lines.iter().all(|line| line.len() == 3 && line[1].len() == 64), "{lines:?}");
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let error = KeyLog::to_file(dir.path()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::KeyLog { .. }), "{error}");
}
