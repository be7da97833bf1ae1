//! Finds a service in `pg_service.conf`: the user's file first, the system's after.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::{Code, Error, Location};

use super::Pair;
use super::environment::Environment;
use super::parameters::{self, Given};

/// What a service says.
pub(super) struct Service {
    /// Where it is defined.
    pub(super) file: PathBuf,
    /// Its parameters.
    pub(super) pairs: Vec<Pair>,
}

/// Finds a service by name. A name that no file defines is a failure.
pub(super) fn find(
    name: &str,
    user_file: Option<&Given>,
    environment: &Environment,
) -> Result<Service, Error> {
    let mut files: Vec<PathBuf> = match user_file {
        Some(given) => vec![PathBuf::from(&given.value)],
        None => environment.in_home(".pg_service.conf").into_iter().collect(),
    };
    files.extend(
        environment.service_directories().iter().map(|directory| directory.join("pg_service.conf")),
    );
    for file in &files {
        let text = match fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => {
                return Err(Error::new(
                    Code::Config,
                    format!("read service file {}", file.display()),
                )
                .because(error));
            }
        };
        if let Some(pairs) = section(&text, name, file)? {
            return Ok(Service { file: file.clone(), pairs });
        }
    }
    let looked_in: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    Err(Error::new(Code::Config, format!("find service {name:?}"))
        .hint(format!("it was looked for in {}", looked_in.join(", ")))
        .hint(format!("define it in ~/.pg_service.conf under the line [{name}]")))
}

/// The parameters of the first section of that name, or none when there is no such section.
fn section(text: &str, name: &str, file: &Path) -> Result<Option<Vec<Pair>>, Error> {
    let mut found: Option<Vec<Pair>> = None;
    for (index, line) in text.lines().enumerate() {
        let wrong = |what: String| {
            Error::new(Code::Config, format!("read service {name:?}: {what}")).at(Location {
                file: file.display().to_string(),
                line: index + 1,
                column: 1,
            })
        };
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(header) = line.strip_prefix('[') {
            if found.is_some() {
                break;
            }
            if header.strip_suffix(']') == Some(name) {
                found = Some(Vec::new());
            }
            continue;
        }
        let Some(pairs) = &mut found else { continue };
        if line.starts_with("ldap") {
            return Err(wrong("services kept in LDAP are not supported".to_owned()));
        }
        let Some((key, value)) = line.split_once('=') else {
            return Err(wrong("a line is no name=value".to_owned()));
        };
        if matches!(key, "service" | "servicefile") {
            return Err(wrong("a service cannot refer to another".to_owned()));
        }
        if parameters::find(key).is_none() {
            let error = wrong(format!("unknown parameter {key:?}"));
            return Err(match parameters::nearest(key) {
                Some(near) => {
                    error.hint(format!("did you mean {near:?}, with no spaces around =?"))
                }
                None => error,
            });
        }
        // The first of two equal names stands.
        if !pairs.iter().any(|pair| pair.name == key) {
            pairs.push(Pair { name: key.to_owned(), value: value.to_owned() });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const FILE: &str = "# services\n[other]\nhost=x\n\n[app]\n  host=db.internal\nport=6432\n\
                        host=ignored\n# comment\n[app]\nuser=second\n";

    fn read(text: &str) -> Result<Option<Vec<(String, String)>>, Error> {
        section(text, "app", Path::new("pg_service.conf"))
            .map(|found| Some(found?.into_iter().map(|pair| (pair.name, pair.value)).collect()))
    }

    #[test]
    fn the_first_section_and_the_first_value_stand() {
        let found = read(FILE).unwrap().unwrap();
        assert_eq!(
            found,
            [("host", "db.internal"), ("port", "6432")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
        assert_eq!(read("[other]\nhost=x\n").unwrap(), None);
    }

    #[test]
    fn a_wrong_line_is_named_with_its_place() {
        let error = read("[app]\nhost = db\n").unwrap_err();
        assert_eq!(error.location.as_ref().unwrap().to_string(), "pg_service.conf:2:1");
        assert!(error.hints.first().unwrap().contains("\"host\""), "{error:?}");
        assert!(read("[app]\nservice=x\n").is_err());
        assert!(read("[app]\nldap://x\n").is_err());
        assert!(read("[app]\nnothing\n").is_err());
    }

    #[test]
    fn the_system_s_file_answers_when_the_user_s_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path().join("home");
        fs::create_dir(&home).unwrap();
        fs::write(home.join(".pg_service.conf"), "[mine]\nhost=a\n").unwrap();
        fs::write(directory.path().join("pg_service.conf"), FILE).unwrap();
        let environment = Environment::bare()
            .with_home(&home)
            .with_variable("PGSYSCONFDIR", &directory.path().display().to_string());
        assert_eq!(find("mine", None, &environment).unwrap().file, home.join(".pg_service.conf"));
        assert_eq!(find("app", None, &environment).unwrap().pairs.len(), 2);
        let error = find("absent", None, &environment).err().unwrap();
        assert!(error.hints.first().unwrap().contains("pg_service.conf"));
    }
}
