//! Resolves a connection as libpq does: connection string, then service, then `PG*` variables,
//! then defaults; the first that says something wins.
//!
//! It refuses what it cannot honour: a parameter that libpq does not know, one that it knows and
//! tenantctl cannot give, and a password on the command line. No message quotes a secret.

mod assemble;
mod environment;
mod keywords;
mod parameters;
mod passfile;
mod service;
mod uri;

use std::fmt;
use std::path::PathBuf;

pub use environment::Environment;

use crate::error::{Code, Error};
use crate::model::connection::{ConnectionSettings, Origin};

use parameters::{PARAMETERS, Parameters, Support};

/// Where a connection string stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// On the command line, after this flag (named with its dashes): no secrets here.
    Flag(String),
    /// In this environment variable.
    Environment(String),
    /// In this file.
    File(PathBuf),
}

impl Source {
    fn origin(&self) -> Origin {
        match self {
            Self::Flag(name) => Origin::Flag(name.clone()),
            Self::Environment(name) => Origin::Environment(name.clone()),
            Self::File(path) => Origin::File(path.clone()),
        }
    }

    fn code(&self) -> Code {
        match self {
            Self::Flag(_) => Code::Usage,
            Self::Environment(_) | Self::File(_) => Code::Config,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.origin().fmt(f)
    }
}

/// Resolves a connection string, completed by the environment.
pub fn resolve(
    text: &str,
    source: &Source,
    environment: &Environment,
) -> Result<ConnectionSettings, Error> {
    let place = format!("connection string from {source}");
    let pairs = parse(text).map_err(|malformed| {
        let mut error =
            Error::new(source.code(), format!("read {place}: {}", malformed.message));
        error.hints = malformed.hints;
        error
    })?;
    refuse_secrets_on_the_command_line(&pairs, source)?;
    let mut parameters = Parameters::default();
    parameters.add(pairs, &source.origin(), &place)?;
    complete(parameters, environment)
}

/// Resolves the connection that the environment alone describes (`PGHOST`, `PGSERVICE`, …).
pub fn from_environment(environment: &Environment) -> Result<ConnectionSettings, Error> {
    complete(Parameters::default(), environment)
}

/// One `name=value` of a connection string.
struct Pair {
    name: String,
    value: String,
}

/// Why a connection string cannot be read, without a word of what it says.
#[derive(Debug)]
struct Malformed {
    message: String,
    hints: Vec<String>,
}

impl Malformed {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hints: Vec::new() }
    }

    fn hint(mut self, hint: &str) -> Self {
        self.hints.push(hint.to_owned());
        self
    }
}

fn parse(text: &str) -> Result<Vec<Pair>, Malformed> {
    const FORMS: &str =
        "write postgresql://user@host:5432/database or host=… user=… dbname=…";
    let text = text.trim();
    if text.contains('\0') {
        return Err(Malformed::new("it holds a zero byte"));
    }
    if uri::is_uri(text) {
        return uri::parse(text);
    }
    let scheme = text.split("://").next().unwrap_or_default();
    if scheme.len() < text.len()
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.:".contains(c))
    {
        return Err(Malformed::new(format!("{scheme:?} is not a scheme of PostgreSQL")).hint(FORMS));
    }
    if !text.is_empty() && !text.contains('=') {
        return Err(Malformed::new("it is neither a URL nor name=value").hint(FORMS));
    }
    keywords::parse(text)
}

/// What stands on a command line, every user of the machine can read in `ps`.
fn refuse_secrets_on_the_command_line(pairs: &[Pair], source: &Source) -> Result<(), Error> {
    let Source::Flag(flag) = source else { return Ok(()) };
    for pair in pairs.iter().filter(|pair| !pair.value.is_empty()) {
        let Some(parameter) = parameters::find(&pair.name) else { continue };
        if matches!(parameter.support, Support::Secret) {
            return Err(Error::new(
                Code::Usage,
                format!("take {} from {flag}: other users of this machine can read it", pair.name),
            )
            .hint("put the whole string into the environment variable DATABASE_URL")
            .hint("or leave the password out of it and set PGPASSWORD")
            .hint("or add a line to ~/.pgpass, or use service=NAME with ~/.pg_service.conf"));
        }
    }
    Ok(())
}

fn complete(
    mut parameters: Parameters,
    environment: &Environment,
) -> Result<ConnectionSettings, Error> {
    // Which service, and in which file, the environment may say before the service speaks.
    for parameter in PARAMETERS.iter().filter(|found| found.name.starts_with("service")) {
        add_variable(&mut parameters, parameter.name, parameter.variable, environment);
    }
    if let Some(name) = parameters.filled("service").map(|given| given.value.clone()) {
        let service = service::find(&name, parameters.filled("servicefile"), environment)?;
        let place = format!("service {name:?} in {}", service.file.display());
        let origin = Origin::Service { name, file: service.file };
        parameters.add(service.pairs, &origin, &place)?;
    }
    for parameter in PARAMETERS {
        add_variable(&mut parameters, parameter.name, parameter.variable, environment);
    }
    parameters.check_support()?;
    assemble::assemble(&parameters, environment)
}

fn add_variable(
    parameters: &mut Parameters,
    name: &'static str,
    variable: Option<&'static str>,
    environment: &Environment,
) {
    let Some(variable) = variable else { return };
    if let Some(value) = environment.variable(variable) {
        parameters.add_one(name, value, Origin::Environment(variable.to_owned()));
    }
}
