//! The client certificate: who we are, in TLS.
//!
//! Reads the key in every PEM form that libpq reads (PKCS#1, PKCS#8, SEC1, encrypted or not) where
//! OpenSSL is the TLS library; elsewhere plain PKCS#8 only. A key that others can read is refused.

use std::fs;
use std::path::Path;

use native_tls::Identity;

use crate::error::{Code, Error};
use crate::model::connection::{ConnectionSettings, Origin};
use crate::model::secret::Secret;

/// Reads the certificate and its key, when there is a certificate.
pub(super) fn read(settings: &ConnectionSettings) -> Result<Option<Identity>, Error> {
    let Some(certificate) = &settings.tls.client_certificate else { return Ok(None) };
    if !certificate.exists() {
        // libpq goes on without, too: the server says whether it needs one.
        if settings.origin("sslcert") != &Origin::Default {
            log::warn!("client certificate {} does not exist", certificate.display());
        }
        return Ok(None);
    }
    let chain = fs::read(certificate).map_err(|error| unreadable(certificate, error))?;
    let key_file =
        settings.tls.client_key.as_deref().filter(|key| key.exists()).ok_or_else(|| {
            Error::new(
                Code::Config,
                format!("find the private key of client certificate {}", certificate.display()),
            )
            .hint("name the file of the key with sslkey=…")
        })?;
    refuse_a_key_that_others_can_read(key_file)?;
    let key = fs::read(key_file).map_err(|error| unreadable(key_file, error))?;
    let key = pkcs8(&key, settings.tls.client_key_password.as_ref(), key_file)?;
    let pair = || {
        format!("use client certificate {} with key {}", certificate.display(), key_file.display())
    };
    let identity = Identity::from_pkcs8(&chain, &key).map_err(|error| {
        Error::new(Code::Config, pair()).because(error).hint(
            "both must be in PEM form; the certificate comes first in its file, then its issuers",
        )
    })?;
    if !belong_together(&chain, &key) {
        return Err(Error::new(Code::Config, pair())
            .hint("the key is that of another certificate: check sslcert and sslkey"));
    }
    Ok(Some(identity))
}

pub(super) fn unreadable(path: &Path, error: std::io::Error) -> Error {
    Error::new(Code::Config, format!("read {}", path.display())).because(error)
}

/// libpq's rule: 0600, or 0640 when root owns it (as packagers share one key with a group).
#[cfg(unix)]
fn refuse_a_key_that_others_can_read(key: &Path) -> Result<(), Error> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = fs::metadata(key).map_err(|error| unreadable(key, error))?;
    let forbidden = if metadata.uid() == 0 { 0o037 } else { 0o077 };
    if metadata.is_file() && metadata.mode() & forbidden == 0 {
        return Ok(());
    }
    Err(Error::new(
        Code::Config,
        format!("use private key {}: its group or the world has access", key.display()),
    )
    .hint(format!("run: chmod 0600 {}", key.display())))
}

#[cfg(not(unix))]
fn refuse_a_key_that_others_can_read(_key: &Path) -> Result<(), Error> {
    Ok(())
}

/// Brings a key into the one form that the TLS library takes.
#[cfg(target_os = "linux")]
fn pkcs8(key: &[u8], passphrase: Option<&Secret>, file: &Path) -> Result<Vec<u8>, Error> {
    use openssl::pkey::PKey;

    let mut encrypted = false;
    // Without a callback OpenSSL would ask for the passphrase on the terminal.
    let parsed = PKey::private_key_from_pem_callback(key, |buffer| {
        encrypted = true;
        let text = passphrase.map(|secret| secret.expose().as_bytes()).unwrap_or_default();
        match buffer.get_mut(..text.len()) {
            Some(space) => {
                space.copy_from_slice(text);
                Ok(text.len())
            }
            None => Ok(0),
        }
    })
    .or_else(|error| PKey::private_key_from_der(key).map_err(|_| error));
    parsed.and_then(|key| key.private_key_to_pem_pkcs8()).map_err(|error| {
        let failure =
            Error::new(Code::Config, format!("read private key {}", file.display())).because(error);
        match (encrypted, passphrase) {
            (true, None) => failure.hint(
                "the key is encrypted: give its passphrase as sslpassword=… in DATABASE_URL, \
                 a service or tenants.toml",
            ),
            (true, Some(_)) => failure.hint("sslpassword does not open this key"),
            (false, _) => failure.hint("the key must be in PEM or DER form"),
        }
    })
}

/// OpenSSL itself would keep a key of another kind beside the certificate, and send neither.
#[cfg(target_os = "linux")]
fn belong_together(chain: &[u8], key: &[u8]) -> bool {
    let certificate = openssl::x509::X509::from_pem(chain).and_then(|first| first.public_key());
    let key = openssl::pkey::PKey::private_key_from_pem(key);
    matches!((certificate, key), (Ok(public), Ok(private)) if private.public_eq(&public))
}

#[cfg(not(target_os = "linux"))]
fn belong_together(_chain: &[u8], _key: &[u8]) -> bool {
    true
}

#[cfg(not(target_os = "linux"))]
fn pkcs8(key: &[u8], _passphrase: Option<&Secret>, file: &Path) -> Result<Vec<u8>, Error> {
    if key.starts_with(b"-----BEGIN PRIVATE KEY-----") {
        return Ok(key.to_vec());
    }
    Err(Error::new(Code::Config, format!("read private key {}", file.display())).hint(format!(
        "on this system it must be in plain PKCS#8: openssl pkcs8 -topk8 -nocrypt -in {}",
        file.display()
    )))
}
