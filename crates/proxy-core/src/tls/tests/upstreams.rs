//! Upstream's side.

use std::{fs, sync::Arc, time::Duration};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio_rustls::TlsAcceptor;

use super::{LIMIT, VERSIONS, names, provider};
use crate::{
    error::ErrorKind,
    failure::{Failure, FailureKind},
    tls::{Connected, Connector, TlsOptions, UpstreamTrust, upstream_alpn},
};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn server_params(hosts: &[&str]) -> CertificateParams {
    let hosts: Vec<_> = hosts.iter().map(|&host| host.to_owned()).collect();
    let mut params = CertificateParams::new(hosts).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

/// An upstream with a chain and its key.
struct Upstream {
    chain: Vec<CertificateDer<'static>>,
    config: ServerConfig,
}

impl Upstream {
    fn with(chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> Self {
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain.clone(), key)
            .unwrap();
        Self { chain, config }
    }

    fn signed_by(authority: &Authority, params: &CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, authority).unwrap();
        Self::with(vec![certificate.der().clone(), authority.der().clone()], &key)
    }

    fn self_signed(params: &CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        Self::with(vec![params.self_signed(&key).unwrap().der().clone()], &key)
    }

    async fn connect(&self, connector: &Connector, host: &str, alpn: &[&str]) -> Result<Connected, Failure> {
        let (near, far) = duplex(64 * 1024);
        let acceptor = TlsAcceptor::from(Arc::new(self.config.clone()));
        let serve = async {
            if let Ok(mut stream) = acceptor.accept(far).await {
                // Both ends keep the connection until the client has read its tickets.
                let _ = stream.write_all(b"x").await;
                let _ = stream.flush().await;
                let _ = stream.read(&mut [0; 1]).await;
            }
        };
        let connect = async {
            let mut connected =
                connector.connect(near, host, &names(alpn), LIMIT).await.map_err(|error| error.failure)?;
            connected.io.read_u8().await.unwrap();
            connected.io.shutdown().await.unwrap();
            Ok(connected)
        };
        let ((), connected) = tokio::join!(serve, connect);
        connected
    }
}

fn trusting(authority: &Authority) -> UpstreamTrust {
    UpstreamTrust::nobody().with_ca(authority.pem().as_bytes()).unwrap()
}

fn connector(trust: UpstreamTrust) -> Connector {
    Connector::new(trust, &TlsOptions::default()).unwrap()
}

#[tokio::test]
async fn trusted_upstream_is_connected_and_described() {
    let authority = authority("Test CA");
    let mut upstream = Upstream::signed_by(&authority, &server_params(&["example.com"]));
    upstream.config.alpn_protocols = names(&["h2", "http/1.1"]);
    let connector = connector(trusting(&authority));
    let facts = upstream.connect(&connector, "example.com", &["h2", "http/1.1"]).await.unwrap().facts;
    assert_eq!(facts.version, "TLSv1.3");
    assert!(facts.cipher.starts_with("TLS_"), "{}", facts.cipher);
    assert_eq!(facts.alpn.as_deref(), Some("h2"));
    assert_eq!(facts.sni.as_deref(), Some("example.com"));
    assert_eq!(facts.certificates, upstream.chain.iter().map(|der| der.to_vec()).collect::<Vec<_>>());

    let facts = upstream.connect(&connector, "example.com.", &[]).await.unwrap().facts;
    assert_eq!(facts.alpn, None, "what the client does not offer is not offered");
    assert_eq!(facts.certificates.len(), 2, "a resumed session still has its chain");
}

#[tokio::test]
async fn upstream_by_address_is_verified_without_a_server_name() {
    let authority = authority("Test CA");
    let upstream = Upstream::signed_by(&authority, &server_params(&["127.0.0.1", "::1"]));
    let connector = connector(trusting(&authority));
    for host in ["127.0.0.1", "::1", "[::1]", "::1%lo"] {
        let facts = upstream.connect(&connector, host, &[]).await.unwrap().facts;
        assert_eq!(facts.sni, None, "{host}");
    }
}

const HOST: &[&str] = &["example.com"];

/// What an upstream that is refused for `HOST` is told as, under trust in one CA.
async fn assert_refused(trusted: &Authority, upstream: &Upstream, kind: FailureKind, detail: &str) {
    let connector = connector(trusting(trusted));
    let failure = upstream.connect(&connector, HOST[0], &[]).await.err().unwrap();
    assert_eq!(failure, Failure::new(kind, detail));
}

#[tokio::test]
async fn certificate_out_of_its_time_is_told_with_the_day() {
    let trusted = authority("Test CA");
    let mut expired = server_params(HOST);
    expired.not_after = rcgen::date_time_ymd(2020, 2, 29);
    let mut early = server_params(HOST);
    early.not_before = rcgen::date_time_ymd(2099, 12, 31);
    for (params, detail) in [(expired, "expired on 2020-02-29"), (early, "not valid before 2099-12-31")] {
        let upstream = Upstream::signed_by(&trusted, &params);
        assert_refused(&trusted, &upstream, FailureKind::CertificateExpired, detail).await;
    }
}

#[tokio::test]
async fn certificate_for_another_name_is_told_with_its_names() {
    let trusted = authority("Test CA");
    let many = ["a.example", "*.b.example", "10.0.0.1", "d.example", "e.example", "f.example", "g.example"];
    for (names, detail) in [
        (
            &many[..],
            "valid for a.example, *.b.example, 10.0.0.1, d.example, e.example and 2 more, not for example.com",
        ),
        (&many[..1], "valid for a.example, not for example.com"),
        (&[], "valid for no host name, not for example.com"),
    ] {
        let upstream = Upstream::signed_by(&trusted, &server_params(names));
        assert_refused(&trusted, &upstream, FailureKind::CertificateWrongName, detail).await;
    }
}

#[tokio::test]
async fn certificate_of_an_unknown_issuer_is_told_with_the_issuer() {
    let trusted = authority("Test CA");
    let mut as_ca = server_params(HOST);
    as_ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let mut client_only = server_params(HOST);
    client_only.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    for (upstream, detail) in [
        (
            Upstream::signed_by(&authority("Unknown CA"), &server_params(HOST)),
            "issued by \"Unknown CA\", which is not a trusted authority",
        ),
        (
            Upstream::signed_by(&authority("Test CA"), &server_params(HOST)),
            "not signed by the \"Test CA\" that is trusted, but by another of that name",
        ),
        (Upstream::self_signed(&server_params(HOST)), "self-signed certificate"),
        (Upstream::self_signed(&as_ca), "self-signed certificate"),
        (Upstream::signed_by(&trusted, &client_only), "not meant for servers (extended key usage)"),
    ] {
        assert_refused(&trusted, &upstream, FailureKind::CertificateUntrusted, detail).await;
    }
}

#[tokio::test]
async fn missing_intermediate_is_told() {
    let (root, key) = (authority("Root"), KeyPair::generate().unwrap());
    let mut params = server_params(&[]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "Middle");
    let middle = CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &root).unwrap();
    let leaf = server_params(&["example.com"]).signed_by(&key, &middle).unwrap().der().clone();
    let connector = connector(trusting(&root));

    let whole = Upstream::with(vec![leaf.clone(), middle.der().clone()], &key);
    whole.connect(&connector, "example.com", &[]).await.unwrap();
    let failure =
        Upstream::with(vec![leaf], &key).connect(&connector, "example.com", &[]).await.err().unwrap();
    assert!(failure.detail.contains("\"Middle\"") && failure.detail.contains("no intermediate"), "{failure}");
}

#[tokio::test]
async fn nobody_is_trusted_without_roots_and_the_detail_says_so() {
    let upstream = Upstream::signed_by(&authority("Some CA"), &server_params(&["example.com"]));
    let connector = connector(UpstreamTrust::nobody());
    let failure = upstream.connect(&connector, "example.com", &[]).await.err().unwrap();
    assert_eq!(failure.kind, FailureKind::CertificateUntrusted);
    assert!(failure.detail.contains("no root certificate"), "{failure}");
}

/// As `openssl req -x509` makes it, and `curl --cacert` takes it.
#[tokio::test]
async fn self_signed_certificate_named_as_trusted_is_accepted_for_its_names_and_time() {
    let mut params = server_params(&["example.com"]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let upstream = Upstream::self_signed(&params);
    let trust = UpstreamTrust::nobody().with_ca(&upstream.chain[0]).unwrap();
    let strict = connector(trust);
    upstream.connect(&strict, "example.com", &[]).await.unwrap();
    let failure = upstream.connect(&strict, "other.example", &[]).await.err().unwrap();
    assert_eq!(failure.kind, FailureKind::CertificateWrongName);

    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let expired = Upstream::self_signed(&params);
    let trust = UpstreamTrust::nobody().with_ca(&expired.chain[0]).unwrap();
    let failure = expired.connect(&connector(trust), "example.com", &[]).await.err().unwrap();
    assert_eq!(failure.kind, FailureKind::CertificateExpired);
}

#[tokio::test]
async fn insecure_hosts_and_only_they_may_show_any_certificate() {
    let upstream = Upstream::self_signed(&server_params(&["whatever"]));
    let connector = connector(UpstreamTrust::nobody().with_insecure_host("*.dev.example".parse().unwrap()));
    for (version, name) in VERSIONS {
        let mut only = Upstream::self_signed(&server_params(&["whatever"]));
        let key = KeyPair::generate().unwrap();
        let chain = vec![server_params(&["x"]).self_signed(&key).unwrap().der().clone()];
        only.config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, PrivateKeyDer::try_from(key.serialize_der()).unwrap())
            .unwrap();
        let facts = only.connect(&connector, "a.dev.example", &[]).await.unwrap().facts;
        assert_eq!(facts.version, name);
    }
    assert!(upstream.connect(&connector, "dev.example", &[]).await.is_err());
    assert!(upstream.connect(&connector, "example.com", &[]).await.is_err());
}

#[tokio::test]
async fn what_is_no_tls_server_is_an_upstream_tls_failure() {
    let connector = connector(UpstreamTrust::nobody());
    for (answer, told) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "does not speak TLS"),
        (b"", "closed the connection"),
        (b"\x15\x03\x03\x00\x02\x02\x28", "handshake_failure (40)"),
        (b"\x15\x03\x03\x00\x02\x02\x46", "neither TLS 1.2 nor TLS 1.3"),
        (b"\x15\x03\x03\x00\x02\x02\x70", "unrecognized_name (112)"),
    ] {
        let (near, mut far) = duplex(64 * 1024);
        let serve = async move {
            far.read_u8().await.unwrap();
            far.write_all(answer).await.unwrap();
            far.shutdown().await.unwrap();
            let _ = far.read_to_end(&mut Vec::new()).await;
        };
        let (failure, ()) = tokio::join!(
            async { connector.connect(near, "example.com", &[], LIMIT).await.err().unwrap().failure },
            serve
        );
        assert_eq!(failure.kind, FailureKind::UpstreamTls, "{failure}");
        assert!(failure.detail.contains(told), "{failure}");
    }
}

#[tokio::test(start_paused = true)]
async fn silent_upstream_is_given_up() {
    let (near, _far) = duplex(64 * 1024);
    let limit = Duration::from_secs(7);
    let connector = connector(UpstreamTrust::nobody());
    let failure = connector.connect(near, "example.com", &[], limit).await.err().unwrap().failure;
    assert_eq!(failure.kind, FailureKind::UpstreamTimeout);
    assert!(failure.detail.contains("7s"), "{failure}");
}

#[tokio::test]
async fn host_that_is_no_name_is_a_failure() {
    let connector = connector(UpstreamTrust::nobody());
    for host in ["", "a b", "bücher.example"] {
        let (near, _far) = duplex(1024);
        let failure = connector.connect(near, host, &[], LIMIT).await.err().unwrap().failure;
        assert_eq!(failure.kind, FailureKind::UpstreamTls, "{host:?}");
    }
}

#[test]
fn only_spoken_protocols_are_offered_in_the_clients_order() {
    for (client, offered) in [
        (&["h2", "http/1.1"][..], &["h2", "http/1.1"][..]),
        (&["http/1.1", "h2"], &["http/1.1", "h2"]),
        (&["h3", "http/1.1", "http/1.0"], &["http/1.1"]),
        (&["http/1.0"], &[]),
        (&["mqtt", "h2"], &["h2"]),
        (&["http/1.0", "mqtt", "x"], &["mqtt", "x"]),
        (&[], &[]),
    ] {
        assert_eq!(upstream_alpn(&names(client)), names(offered));
    }
}

#[test]
fn bad_ca_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let pem = authority("Test CA").pem();
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let file = |name: &str, content: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    for (path, is_empty) in [
        (dir.path().join("missing.pem"), false),
        (file("empty.pem", b""), true),
        (file("text.pem", b"hello"), true),
        (file("broken.pem", broken.as_bytes()), false),
        (file("half.pem", format!("{pem}{broken}").as_bytes()), false),
    ] {
        let error = UpstreamTrust::nobody().with_ca_file(&path).unwrap_err();
        assert_eq!(matches!(error.kind(), ErrorKind::UpstreamCaEmpty { .. }), is_empty, "{error}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
    let two = file("two.pem", format!("# a comment\n{pem}{pem}").as_bytes());
    assert_eq!(UpstreamTrust::nobody().with_ca_file(two).unwrap().additional().len(), 2);
}
