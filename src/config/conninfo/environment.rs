//! The surroundings that libpq looks at: variables, the home directory, the user's name.
//!
//! They are a value, so that resolving a connection is a function of its arguments, and a test
//! never touches the variables of its own process.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::model::connection::SOCKET_DIRECTORIES;

/// Where packagers of PostgreSQL put the system-wide `pg_service.conf`; libpq knows the one it was
/// compiled with.
const SERVICE_DIRECTORIES: [&str; 3] = ["/etc/postgresql-common", "/etc", "/etc/sysconfig/pgsql"];

/// A snapshot of what surrounds a process.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    home: Option<PathBuf>,
    os_user: Option<String>,
    socket_directories: Vec<PathBuf>,
    service_directories: Vec<PathBuf>,
    warnings: Vec<String>,
}

impl Environment {
    /// Takes a snapshot of this process.
    pub fn process() -> Self {
        let mut environment = Self {
            home: std::env::home_dir().filter(|home| !home.as_os_str().is_empty()),
            os_user: whoami::username().ok(),
            socket_directories: SOCKET_DIRECTORIES.iter().map(PathBuf::from).collect(),
            service_directories: SERVICE_DIRECTORIES.iter().map(PathBuf::from).collect(),
            ..Self::default()
        };
        for (name, value) in std::env::vars_os() {
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) => {
                    environment.variables.insert(name, value);
                }
                Err(_) if name.starts_with("PG") => {
                    environment.warnings.push(format!("{name} is not UTF-8 and was passed over"));
                }
                Err(_) => {}
            }
        }
        environment
    }

    /// Surroundings in which there is nothing.
    pub fn bare() -> Self {
        Self::default()
    }

    /// Adds a variable.
    #[must_use]
    pub fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Sets the home directory.
    #[must_use]
    pub fn with_home(mut self, home: &Path) -> Self {
        self.home = Some(home.to_owned());
        self
    }

    /// Sets the name of the operating system's user.
    #[must_use]
    pub fn with_os_user(mut self, user: &str) -> Self {
        self.os_user = Some(user.to_owned());
        self
    }

    /// Adds a directory in which a server's socket is looked for when no host is named.
    #[must_use]
    pub fn with_socket_directory(mut self, directory: &Path) -> Self {
        self.socket_directories.push(directory.to_owned());
        self
    }

    /// A variable's value. An empty one counts as unset, which is what CI templates mean by it.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A file below the home directory.
    pub(super) fn in_home(&self, relative: &str) -> Option<PathBuf> {
        self.home.as_ref().map(|home| home.join(relative))
    }

    pub(super) fn os_user(&self) -> Option<&str> {
        self.os_user.as_deref().filter(|user| !user.is_empty())
    }

    pub(super) fn socket_directories(&self) -> &[PathBuf] {
        &self.socket_directories
    }

    pub(super) fn service_directories(&self) -> Vec<PathBuf> {
        match self.variable("PGSYSCONFDIR") {
            Some(directory) => vec![PathBuf::from(directory)],
            None => self.service_directories.clone(),
        }
    }

    /// What could not be taken into the snapshot.
    pub(super) fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

impl fmt::Debug for Environment {
    /// Names only: among the values are passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("variables", &self.variables.keys().collect::<Vec<_>>())
            .field("home", &self.home)
            .field("os_user", &self.os_user)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_variable_counts_as_unset() {
        let environment = Environment::bare().with_variable("PGHOST", "");
        assert_eq!(environment.variable("PGHOST"), None);
    }

    #[test]
    fn debug_shows_names_of_variables_and_no_values() {
        let environment = Environment::bare().with_variable("PGPASSWORD", "hunter2");
        let shown = format!("{environment:?}");
        assert!(shown.contains("PGPASSWORD") && !shown.contains("hunter2"));
    }
}
