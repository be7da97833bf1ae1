//! Passwords: made here, shown once, stored nowhere but where the user says.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Code, Error};
use crate::model::desired;
use crate::model::ident::Ident;
use crate::model::secret::Secret;

/// 62 letters: no character needs an escape in a URL, a shell or a connection string.
const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// 32 letters of 62 are 190 bits.
const LENGTH: usize = 32;

/// Makes a password.
///
/// # Errors
///
/// [`Code::Io`] when the system gives no randomness.
pub(super) fn generate() -> Result<Secret, Error> {
    let mut password = String::with_capacity(LENGTH);
    while password.len() < LENGTH {
        let mut bytes = [0; 64];
        getrandom::fill(&mut bytes)
            .map_err(|error| Error::new(Code::Io, "take randomness").because(error.to_string()))?;
        // Bytes of 248 and more would make the first letters likelier than the last.
        let fair = bytes.iter().filter(|byte| **byte < 248);
        password.extend(
            fair.map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()]))
                .take(LENGTH - password.len()),
        );
    }
    Ok(Secret::new(password))
}

/// What the server stores of a password: a SCRAM-SHA-256 verifier (RFC 5803), so that the password
/// itself is in no statement and no log.
pub(super) fn verifier(password: &Secret) -> desired::Credential {
    let verifier = postgres_protocol::password::scram_sha_256(password.expose().as_bytes());
    desired::Credential { verifier }
}

/// The file of `--credentials-file`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: u32,
    tenant: String,
    credentials: BTreeMap<String, String>,
}

/// The passwords of `roles` in a file that an interrupted run has written before, or new ones.
/// They are in the file before any server knows them: a run that is killed loses none.
///
/// # Errors
///
/// [`Code::Refused`] when the file is there and is not this tenant's; [`Code::Io`] when it cannot
/// be written.
pub(super) fn keep(
    path: &Path,
    tenant: &str,
    roles: &[Ident],
) -> Result<Vec<(Ident, Secret)>, Error> {
    let mut file = match std::fs::read_to_string(path) {
        Ok(text) => ours(path, tenant, &text)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            File { format: 1, tenant: tenant.to_owned(), credentials: BTreeMap::new() }
        }
        Err(error) => {
            return Err(Error::new(Code::Io, format!("read {}", path.display())).because(error));
        }
    };
    let mut kept = Vec::new();
    for role in roles {
        let password = match file.credentials.get(role.as_str()) {
            Some(password) => Secret::new(password.clone()),
            None => {
                let password = generate()?;
                file.credentials.insert(role.as_str().to_owned(), password.expose().to_owned());
                password
            }
        };
        kept.push((role.clone(), password));
    }
    write(path, &file)?;
    Ok(kept)
}

fn ours(path: &Path, tenant: &str, text: &str) -> Result<File, Error> {
    match serde_json::from_str::<File>(text) {
        Ok(file) if file.tenant == tenant && file.format == 1 => Ok(file),
        _ => Err(Error::new(
            Code::Refused,
            format!(
                "{} is there already, and holds no credentials of tenant {tenant}",
                path.display()
            ),
        )
        .hint("name another file: nothing is overwritten")),
    }
}

/// Written beside, readable by its owner alone from the first byte, then renamed into place.
fn write(path: &Path, file: &File) -> Result<(), Error> {
    let failed = |error: std::io::Error| {
        Error::new(Code::Io, format!("write {}", path.display())).because(error)
    };
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    let text = serde_json::to_string_pretty(file)
        .map_err(|error| Error::new(Code::Bug, "write credentials as JSON").because(error))?;
    let mut beside = tempfile::Builder::new()
        .prefix(".tenantctl-credentials-")
        .tempfile_in(&directory)
        .map_err(failed)?;
    beside.write_all(text.as_bytes()).map_err(failed)?;
    beside.write_all(b"\n").map_err(failed)?;
    beside.as_file().sync_all().map_err(failed)?;
    beside.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn passwords_are_long_plain_and_different() {
        let (one, two) = (generate().unwrap(), generate().unwrap());
        assert_eq!(one.expose().len(), LENGTH);
        assert!(one.expose().chars().all(|letter| letter.is_ascii_alphanumeric()));
        assert_ne!(one.expose(), two.expose());
    }

    #[test]
    fn an_interrupted_run_finds_its_passwords_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("acme.json");
        let role = [Ident::new("app_tenant_acme").unwrap()];
        let first = keep(&path, "acme", &role).unwrap();
        let second = keep(&path, "acme", &role).unwrap();
        assert_eq!(first[0].1.expose(), second[0].1.expose());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_file_of_somebody_else_is_not_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notes.txt");
        std::fs::write(&path, "do not lose me").unwrap();
        let role = [Ident::new("app_tenant_acme").unwrap()];
        assert_eq!(keep(&path, "acme", &role).unwrap_err().code, Code::Refused);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "do not lose me");
    }
}
