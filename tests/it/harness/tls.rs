//! A certificate authority that lives for one test.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::{BasicConstraints, KeyUsage, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509NameBuilder};
use tenantctl::pg::server::Certificate;

/// An authority: who trusts its certificate trusts all that it signs.
pub struct Authority {
    certificate: X509,
    key: PKey<Private>,
}

/// A certificate and its private key (PKCS#8), PEM.
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

impl Pair {
    /// Writes `<name>.crt` and `<name>.key`, the key readable by its owner alone, and returns
    /// what `sslcert` and `sslkey` should name.
    pub fn write(&self, directory: &Path, name: &str) -> (PathBuf, PathBuf) {
        let (certificate, key) =
            (directory.join(format!("{name}.crt")), directory.join(format!("{name}.key")));
        fs::write(&certificate, &self.certificate).unwrap();
        fs::write(&key, &self.key).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        (certificate, key)
    }
}

impl Authority {
    /// Makes an authority with a name; two of one name are still two.
    pub fn new(name: &str) -> Self {
        let key = new_key();
        let mut builder = unsigned(name, &key, 30);
        builder.set_issuer_name(&common_name(name)).unwrap();
        builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
        let usage = KeyUsage::new().critical().key_cert_sign().crl_sign().build().unwrap();
        builder.append_extension(usage).unwrap();
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        Self { certificate: builder.build(), key }
    }

    /// The certificate to trust, PEM.
    pub fn pem(&self) -> String {
        String::from_utf8(self.certificate.to_pem().unwrap()).unwrap()
    }

    /// A server's certificate for `localhost` and 127.0.0.1, whose clients this authority signs.
    pub fn server_certificate(&self) -> Certificate {
        let pair = self.sign("localhost", 30);
        Certificate { chain: pair.certificate, key: pair.key, client_authority: Some(self.pem()) }
    }

    /// A client's certificate for a role.
    pub fn client(&self, role: &str) -> Pair {
        self.sign(role, 30)
    }

    /// A client's certificate for a role that ended yesterday.
    pub fn expired_client(&self, role: &str) -> Pair {
        self.sign(role, -1)
    }

    fn sign(&self, name: &str, days: i64) -> Pair {
        let key = new_key();
        let mut builder = unsigned(name, &key, days);
        builder.set_issuer_name(self.certificate.subject_name()).unwrap();
        let context = builder.x509v3_context(Some(&self.certificate), None);
        let names =
            SubjectAlternativeName::new().dns("localhost").ip("127.0.0.1").build(&context).unwrap();
        builder.append_extension(names).unwrap();
        builder.sign(&self.key, MessageDigest::sha256()).unwrap();
        Pair {
            certificate: String::from_utf8(builder.build().to_pem().unwrap()).unwrap(),
            key: String::from_utf8(key.private_key_to_pem_pkcs8().unwrap()).unwrap(),
        }
    }
}

fn new_key() -> PKey<Private> {
    let curve = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&curve).unwrap()).unwrap()
}

fn common_name(name: &str) -> openssl::x509::X509Name {
    let mut builder = X509NameBuilder::new().unwrap();
    builder.append_entry_by_nid(Nid::COMMONNAME, name).unwrap();
    builder.build()
}

/// A certificate that began two days ago and ends in so many days, still without an issuer.
fn unsigned(name: &str, key: &PKey<Private>, days: i64) -> X509Builder {
    let now = i64::try_from(
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs(),
    )
    .unwrap();
    let in_days = |days: i64| Asn1Time::from_unix(now + days * 86_400).unwrap();
    let mut serial = BigNum::new().unwrap();
    serial.rand(127, MsbOption::MAYBE_ZERO, false).unwrap();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_serial_number(&serial.to_asn1_integer().unwrap()).unwrap();
    builder.set_subject_name(&common_name(name)).unwrap();
    builder.set_pubkey(key).unwrap();
    builder.set_not_before(&in_days(-2)).unwrap();
    builder.set_not_after(&in_days(days)).unwrap();
    builder
}
