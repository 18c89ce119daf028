//! The CA's files over starts, accidents and races; and what is in the certificates.

use std::{
    collections::HashSet,
    fs,
    path::Path,
    sync::{Arc, Barrier},
    thread,
    time::{Duration, SystemTime},
};

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::CertificateDer;
use x509_parser::{
    extensions::{GeneralName, ParsedExtension},
    prelude::X509Certificate,
};

use super::{files, leaf::LeafError, *};
use crate::error::ErrorKind;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn parse(der: &[u8]) -> X509Certificate<'_> {
    x509_parser::parse_x509_certificate(der).unwrap().1
}

fn subject_key_id(certificate: &X509Certificate<'_>) -> Vec<u8> {
    certificate
        .iter_extensions()
        .find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
            _ => None,
        })
        .unwrap()
}

fn authority_key_id(certificate: &X509Certificate<'_>) -> Vec<u8> {
    certificate
        .iter_extensions()
        .find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(id) => Some(id.key_identifier.as_ref()?.0.to_vec()),
            _ => None,
        })
        .unwrap()
}

/// Everything in a directory, to tell that nothing changed.
fn snapshot(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    files
}

mod the_directory {
    use super::*;

    #[test]
    fn a_first_start_makes_the_ca_and_later_ones_reuse_it() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("state").join("ca");
        let first = CertificateAuthority::load_or_create(&dir).unwrap();
        let after_first = snapshot(&dir);
        let second = CertificateAuthority::load_or_create(&dir).unwrap();
        assert_eq!(first.certificate_der(), second.certificate_der());
        assert_eq!(first.certificate_pem(), fs::read_to_string(dir.join("ca.pem")).unwrap());
        assert_eq!(first.certificate_der(), fs::read(dir.join("ca.der")).unwrap());
        assert_eq!(second.directory(), Some(fs::canonicalize(&dir).unwrap().as_path()));
        assert_eq!(after_first, snapshot(&dir));
        let names: Vec<_> = after_first.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["ca-key.pem", "ca.der", "ca.lock", "ca.pem"], "nothing half-written stays");
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_gets_at_the_directory_and_the_key() {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("ca");
        CertificateAuthority::load_or_create(&dir).unwrap();
        assert_eq!(mode(&dir), 0o700);
        let key = dir.join("ca-key.pem");
        assert_eq!(mode(&key), 0o600);

        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        CertificateAuthority::load_or_create(&dir).unwrap();
        assert_eq!(mode(&key), 0o600, "a key that others could read is made private");
    }

    #[test]
    fn first_starts_at_once_end_with_the_same_ca() {
        const STARTS: usize = 8;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca");
        let together = Arc::new(Barrier::new(STARTS));
        let starts: Vec<_> = (0..STARTS)
            .map(|_| {
                let (path, together) = (path.clone(), Arc::clone(&together));
                thread::spawn(move || {
                    together.wait();
                    CertificateAuthority::load_or_create(&path).unwrap().fingerprint_sha256()
                })
            })
            .collect();
        let fingerprints: HashSet<_> = starts.into_iter().map(|start| start.join().unwrap()).collect();
        assert_eq!(fingerprints.len(), 1);
    }

    #[test]
    fn a_start_that_died_after_the_key_is_finished_by_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        fs::write(dir.path().join("ca-key.pem"), key.serialize_pem()).unwrap();
        let ca = CertificateAuthority::load_or_create(dir.path()).unwrap();
        assert_eq!(
            parse(ca.certificate_der()).public_key().raw,
            rcgen::PublicKeyData::subject_public_key_info(&key)
        );
    }

    #[test]
    fn a_missing_or_stale_der_is_copied_from_the_pem() {
        let dir = tempfile::tempdir().unwrap();
        let ca = CertificateAuthority::load_or_create(dir.path()).unwrap();
        fs::write(dir.path().join("ca.der"), b"stale").unwrap();
        CertificateAuthority::load_or_create(dir.path()).unwrap();
        assert_eq!(fs::read(dir.path().join("ca.der")).unwrap(), ca.certificate_der());
    }

    /// Each accident with a directory that held a good CA, and the kind of error it leads to.
    #[test]
    fn damaged_files_are_named_and_left_alone() {
        type Accident = fn(&Path);
        let foreign: Accident = |dir| {
            let key = KeyPair::from_pem(&fs::read_to_string(dir.join("ca-key.pem")).unwrap()).unwrap();
            let params = CertificateParams::new(vec!["example.com".to_owned()]).unwrap();
            fs::write(dir.join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        };
        let other_key: Accident =
            |dir| fs::write(dir.join("ca-key.pem"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
        let cases: [(&str, Accident, &str); 7] = [
            ("no key", |dir| fs::remove_file(dir.join("ca-key.pem")).unwrap(), "ca-key.pem"),
            ("key cut", |dir| fs::write(dir.join("ca-key.pem"), "-----BEGIN PRIV").unwrap(), "ca-key.pem"),
            ("key empty", |dir| fs::write(dir.join("ca-key.pem"), "").unwrap(), "ca-key.pem"),
            ("another's key", other_key, "ca-key.pem"),
            ("certificate cut", |dir| fs::write(dir.join("ca.pem"), "-----BEGIN").unwrap(), "ca.pem"),
            ("certificate binary", |dir| fs::write(dir.join("ca.pem"), [0xff; 9]).unwrap(), "ca.pem"),
            ("no authority", foreign, "ca.pem"),
        ];
        for (what, accident, named) in cases {
            let dir = tempfile::tempdir().unwrap();
            CertificateAuthority::load_or_create(dir.path()).unwrap();
            accident(dir.path());
            let before = snapshot(dir.path());
            let error = CertificateAuthority::load_or_create(dir.path()).unwrap_err();
            let text = error.to_string();
            let path = dir.path().join(named);
            assert!(text.contains(path.to_str().unwrap()), "{what}: {text}");
            assert!(text.contains("restore") || text.contains("name a directory"), "{what}: {text}");
            assert_eq!(snapshot(dir.path()), before, "{what}");
        }
    }

    /// Some tools keep both in one file; what is given away must be the certificate alone.
    #[test]
    fn a_key_beside_the_certificate_is_not_given_away() {
        let dir = tempfile::tempdir().unwrap();
        let before = CertificateAuthority::load_or_create(dir.path()).unwrap();
        let path = dir.path().join("ca.pem");
        let key = fs::read_to_string(dir.path().join("ca-key.pem")).unwrap();
        fs::write(&path, format!("{key}\n# ours\n{}", before.certificate_pem())).unwrap();
        let after = CertificateAuthority::load_or_create(dir.path()).unwrap();
        assert_eq!(before.certificate_pem(), after.certificate_pem());
        assert!(!after.certificate_pem().contains("PRIVATE"));
    }

    #[test]
    fn an_expired_ca_is_refused_with_its_dates() {
        let dir = tempfile::tempdir().unwrap();
        CertificateAuthority::load_or_create(dir.path()).unwrap();
        for now in [SystemTime::now() + DAY * 3_651, SystemTime::now() - DAY * 2] {
            let error = files::load_or_create(dir.path(), now).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::CaExpired { .. }), "{error}");
        }
    }

    #[test]
    fn a_file_in_the_place_of_the_directory_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca");
        fs::write(&path, "").unwrap();
        let error = CertificateAuthority::load_or_create(&path).unwrap_err();
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
}

mod the_authority {
    use super::*;

    #[test]
    fn the_certificate_is_that_of_an_authority() {
        let ca = CertificateAuthority::in_memory().unwrap();
        let certificate = parse(ca.certificate_der());
        assert!(certificate.subject().to_string().starts_with("CN=wirescope CA "));
        assert_eq!(ca.subject(), certificate.subject().to_string().trim_start_matches("CN="));
        assert_eq!(certificate.subject(), certificate.issuer());

        let constraints = certificate.basic_constraints().unwrap().unwrap();
        assert!(constraints.critical && constraints.value.ca);
        assert_eq!(constraints.value.path_len_constraint, Some(0));
        let usage = certificate.key_usage().unwrap().unwrap();
        assert!(usage.critical && usage.value.key_cert_sign() && usage.value.crl_sign());
        assert!(!usage.value.digital_signature());

        let validity = certificate.validity();
        let now = i64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs())
            .unwrap();
        assert!((validity.not_before.timestamp() - (now - 86_400)).abs() < 60);
        assert!((validity.not_after.timestamp() - (now + 3_650 * 86_400)).abs() < 60);
        certificate.verify_signature(None).unwrap();
    }

    #[test]
    fn two_authorities_have_different_subjects() {
        let (a, b) = (CertificateAuthority::in_memory().unwrap(), CertificateAuthority::in_memory().unwrap());
        assert_ne!(a.subject(), b.subject());
    }

    #[test]
    fn fingerprints_are_of_the_certificate_and_of_its_key() {
        let ca = CertificateAuthority::in_memory().unwrap();
        let sha256 = |data: &[u8]| ring::digest::digest(&ring::digest::SHA256, data).as_ref().to_vec();
        let hex: String = sha256(ca.certificate_der()).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(ca.fingerprint_sha256(), hex);
        let spki = sha256(parse(ca.certificate_der()).public_key().raw);
        let decoded =
            base64::Engine::decode(&base64::engine::general_purpose::STANDARD, ca.spki_sha256_base64());
        assert_eq!(decoded.unwrap(), spki);
    }

    #[test]
    fn debug_does_not_show_the_key() {
        let dir = tempfile::tempdir().unwrap();
        let ca = CertificateAuthority::load_or_create(dir.path()).unwrap();
        let text = format!("{ca:?}");
        assert!(text.contains(ca.subject()) && !text.to_lowercase().contains("key:"), "{text}");
    }
}

mod a_leaf {
    use super::*;

    fn leafs(capacity: usize) -> Leafs {
        Leafs::new(CertificateAuthority::in_memory().unwrap(), capacity).unwrap()
    }

    fn mint(leafs: &Leafs, host: &str) -> CertificateDer<'static> {
        leafs.for_host(host, SystemTime::now()).unwrap().cert[0].clone()
    }

    #[test]
    fn names_its_host_by_kind() {
        let leafs = leafs(100);
        let long = format!("{0}.{0}.example", "a".repeat(40));
        for (host, dns, ip, common_name) in [
            ("example.com", Some("example.com"), None, true),
            ("EXAMPLE.com.", Some("example.com"), None, true),
            ("xn--bcher-kva.example", Some("xn--bcher-kva.example"), None, true),
            ("under_score.example", Some("under_score.example"), None, true),
            (&long, Some(long.as_str()), None, false),
            ("192.0.2.7", None, Some(vec![192, 0, 2, 7]), true),
            ("::1", None, Some([[0; 15].as_slice(), &[1]].concat()), true),
            ("[::1]", None, Some([[0; 15].as_slice(), &[1]].concat()), true),
            ("fe80::1%eth0", None, Some([&[0xfe, 0x80], [0; 13].as_slice(), &[1]].concat()), true),
        ] {
            let der = mint(&leafs, host);
            let certificate = parse(&der);
            let san = certificate.subject_alternative_name().unwrap().unwrap();
            assert_eq!(san.critical, !common_name, "{host}: critical when the subject is empty");
            match san.value.general_names.as_slice() {
                [GeneralName::DNSName(name)] => assert_eq!(Some(*name), dns, "{host}"),
                [GeneralName::IPAddress(octets)] => assert_eq!(Some(octets.to_vec()), ip, "{host}"),
                other => panic!("{host}: {other:?}"),
            }
            assert_eq!(certificate.subject().iter_common_name().count(), usize::from(common_name), "{host}");
        }
    }

    #[test]
    fn is_not_made_for_what_is_no_host() {
        let leafs = leafs(100);
        for host in ["", ".", "a b", "bücher.example", "*.example.com", "a/b", "a:1", &"a".repeat(254)] {
            let result = leafs.for_host(host, SystemTime::now());
            assert!(matches!(result, Err(LeafError::Host(_))), "{host:?}");
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(512))]

        #[test]
        fn is_refused_or_well_formed_whatever_the_host(host in "[a-zA-Z0-9.:_%\\[\\]*é -]{0,80}") {
            let leafs = leafs(1);
            if let Ok(key) = leafs.for_host(&host, SystemTime::now()) {
                let san = parse(&key.cert[0]).subject_alternative_name().unwrap().unwrap().value.clone();
                proptest::prop_assert_eq!(san.general_names.len(), 1);
            }
        }
    }

    #[test]
    fn is_a_server_certificate_signed_by_the_ca() {
        let leafs = leafs(100);
        let der = mint(&leafs, "example.com");
        let (certificate, ca) = (parse(&der), parse(leafs.authority().certificate_der()));
        certificate.verify_signature(Some(ca.public_key())).unwrap();
        assert_eq!(certificate.issuer(), ca.subject());
        assert_eq!(authority_key_id(&certificate), subject_key_id(&ca));
        assert_ne!(subject_key_id(&certificate), subject_key_id(&ca));
        assert_ne!(certificate.public_key().raw, ca.public_key().raw);

        let usage = certificate.key_usage().unwrap().unwrap();
        assert!(usage.critical && usage.value.digital_signature() && !usage.value.key_cert_sign());
        let extended = certificate.extended_key_usage().unwrap().unwrap();
        assert!(extended.value.server_auth && !extended.value.client_auth && !extended.value.any);
        assert!(!certificate.basic_constraints().unwrap().unwrap().value.ca);

        let validity = certificate.validity();
        let length = validity.not_after.timestamp() - validity.not_before.timestamp();
        assert!(length <= 197 * 86_400, "{length}");
        assert!(validity.is_valid());
        let serial = certificate.raw_serial();
        assert!(serial.len() == 16 && serial[0] & 0x80 == 0 && serial[0] != 0, "{serial:x?}");
    }

    #[test]
    fn comes_with_the_ca_and_a_key_that_fits() {
        let leafs = leafs(100);
        let key = leafs.for_host("example.com", SystemTime::now()).unwrap();
        assert_eq!(key.cert[1].as_ref(), leafs.authority().certificate_der());
        key.keys_match().unwrap();
        let other = leafs.for_host("other.example", SystemTime::now()).unwrap();
        assert_ne!(parse(&key.cert[0]).raw_serial(), parse(&other.cert[0]).raw_serial());
    }

    #[test]
    fn is_minted_once_per_host() {
        let leafs = leafs(100);
        assert_eq!(mint(&leafs, "example.com"), mint(&leafs, "Example.COM."));
        assert_ne!(mint(&leafs, "example.com"), mint(&leafs, "example.org"));
    }

    #[test]
    fn is_minted_anew_before_it_ends() {
        let leafs = leafs(100);
        let now = SystemTime::now();
        let at = |days: u32| leafs.for_host("example.com", now + DAY * days).unwrap().cert[0].clone();
        let first = at(0);
        assert_eq!(first, at(88));
        let renewed = at(90);
        assert_ne!(first, renewed);
        assert_eq!(renewed, at(91));
    }

    #[test]
    fn does_not_outlive_the_ca() {
        let leafs = leafs(100);
        let end = leafs.authority().not_after();
        let der = leafs.for_host("example.com", end - DAY).unwrap().cert[0].clone();
        let not_after = parse(&der).validity().not_after.timestamp();
        let ca_not_after = parse(leafs.authority().certificate_der()).validity().not_after.timestamp();
        assert_eq!(not_after, ca_not_after);
        assert_eq!(der, leafs.for_host("example.com", end - DAY).unwrap().cert[0], "and is still kept");
        assert!(matches!(leafs.for_host("new.example", end + DAY), Err(LeafError::CaExpired)));
    }

    #[test]
    fn least_used_is_forgotten_when_there_is_no_room() {
        for capacity in [1, 2, 16] {
            let leafs = leafs(capacity);
            let often = mint(&leafs, "often.example");
            for index in 0..capacity * 4 {
                mint(&leafs, &format!("host{index}.example"));
                assert!(leafs.kept() <= capacity);
                if capacity > 2 {
                    assert_eq!(often, mint(&leafs, "often.example"));
                }
            }
        }
    }
}
