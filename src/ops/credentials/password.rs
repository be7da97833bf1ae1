//! Passwords: made here, shown once, stored nowhere but where the user says.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::sink::write_file;
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
pub(in crate::ops) fn generate() -> Result<Secret, Error> {
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
pub(in crate::ops) fn verifier(password: &Secret) -> desired::Credential {
    let verifier = postgres_protocol::password::scram_sha_256(password.expose().as_bytes());
    desired::Credential { verifier }
}

/// The document in the file of `--credentials-file`, and what `--to` delivers as JSON.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) format: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) tenant: Option<String>,
    /// Several, where they share the role.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) tenants: Vec<String>,
    pub(super) credentials: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) logins: Vec<serde_json::Value>,
}

/// The passwords of `roles` in a file that an interrupted run has written before, or new ones.
/// They are in the file before any server knows them: a run that is killed loses none.
///
/// # Errors
///
/// [`Code::Refused`] when the file is there and is not this tenant's; [`Code::Io`] when it cannot
/// be written.
pub(in crate::ops) fn keep(
    path: &Path,
    tenant: &str,
    roles: &[Ident],
) -> Result<Vec<(Ident, Secret)>, Error> {
    let mut file = match std::fs::read_to_string(path) {
        Ok(text) => ours(path, tenant, &text)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            File { format: 1, tenant: Some(tenant.to_owned()), ..File::default() }
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
        Ok(file) if file.tenant.as_deref() == Some(tenant) && file.format == 1 => Ok(file),
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

fn write(path: &Path, file: &File) -> Result<(), Error> {
    write_file(path, &Secret::new(text(file)?))
}

/// The document as it is written.
pub(super) fn text(file: &File) -> Result<String, Error> {
    serde_json::to_string_pretty(file)
        .map(|text| text + "\n")
        .map_err(|error| Error::new(Code::Bug, "write credentials as JSON").because(error))
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
