//! Certificate authorities to trust or not, and the certificates they issue.

use std::{io, sync::Arc};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject},
};

/// A certificate authority made for one test.
#[derive(Debug)]
pub struct TestCa {
    issuer: Issuer<'static, KeyPair>,
    der: CertificateDer<'static>,
    pem: String,
}

/// A server certificate with its chain and key.
#[derive(Debug)]
pub struct Leaf {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Clone for Leaf {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

impl TestCa {
    /// Makes an authority with a fresh key.
    pub fn new() -> io::Result<Self> {
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "wirescope test authority");
        let certificate = params.self_signed(&key).map_err(io::Error::other)?;
        let (der, pem) = (certificate.der().clone(), certificate.pem());
        Ok(Self { issuer: Issuer::new(params, key), der, pem })
    }

    /// The authority's certificate in PEM, for `--upstream-ca` and the like.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The authority's certificate in DER.
    #[must_use]
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// Issues a certificate for `names` (DNS names or IP addresses) that is valid today.
    pub fn leaf(&self, names: &[&str]) -> io::Result<Leaf> {
        self.issue(leaf_params(names)?)
    }

    /// Issues a certificate for `names` that ended years ago.
    pub fn expired(&self, names: &[&str]) -> io::Result<Leaf> {
        let mut params = leaf_params(names)?;
        params.not_before = date_time_ymd(2019, 1, 1);
        params.not_after = date_time_ymd(2020, 1, 1);
        self.issue(params)
    }

    /// Issues a certificate for a host that is never asked for.
    pub fn wrong_name(&self) -> io::Result<Leaf> {
        self.leaf(&["wrong.invalid"])
    }

    /// Makes a certificate for `names` that no authority signed.
    pub fn self_signed(names: &[&str]) -> io::Result<Leaf> {
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let certificate = leaf_params(names)?.self_signed(&key).map_err(io::Error::other)?;
        Ok(Leaf { chain: vec![certificate.der().clone()], key: private_key(&key) })
    }

    /// A client configuration that trusts only this authority and offers `alpn`.
    pub fn client_config(&self, alpn: &[&str]) -> io::Result<Arc<ClientConfig>> {
        client_config(&self.pem, alpn)
    }

    fn issue(&self, params: CertificateParams) -> io::Result<Leaf> {
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(io::Error::other)?;
        Ok(Leaf { chain: vec![certificate.der().clone(), self.der.clone()], key: private_key(&key) })
    }
}

impl Leaf {
    /// A server configuration that presents this certificate and chooses among `alpn`.
    pub fn server_config(&self, alpn: &[&str]) -> io::Result<Arc<ServerConfig>> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), self.key.clone_key())
            .map_err(io::Error::other)?;
        config.alpn_protocols = wire_names(alpn);
        Ok(Arc::new(config))
    }
}

/// A client configuration that trusts the certificates in `roots_pem` and nothing else, and offers `alpn`.
pub fn client_config(roots_pem: &str, alpn: &[&str]) -> io::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(roots_pem.as_bytes()) {
        roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
    }
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = wire_names(alpn);
    Ok(Arc::new(config))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn wire_names(alpn: &[&str]) -> Vec<Vec<u8>> {
    alpn.iter().map(|name| name.as_bytes().to_vec()).collect()
}

fn private_key(key: &KeyPair) -> PrivateKeyDer<'static> {
    PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()))
}

fn leaf_params(names: &[&str]) -> io::Result<CertificateParams> {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let common_name = names.first().cloned().unwrap_or_default();
    let mut params = CertificateParams::new(names).map_err(io::Error::other)?;
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params.not_before = date_time_ymd(2024, 1, 1);
    params.not_after = date_time_ymd(2094, 1, 1);
    Ok(params)
}
