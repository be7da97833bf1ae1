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
        let mut error = Error::new(source.code(), format!("read {place}: {}", malformed.message));
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
    const FORMS: &str = "write postgresql://user@host:5432/database or host=… user=… dbname=…";
    if text.contains('\0') {
        return Err(Malformed::new("it holds a zero byte"));
    }
    if uri::is_uri(text) {
        // A URL that was read from a mounted secret ends with the file's last line.
        return uri::parse(text.trim_end_matches(['\r', '\n']));
    }
    let scheme = text.split("://").next().unwrap_or_default();
    if scheme.len() < text.len()
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.:".contains(c))
    {
        return Err(Malformed::new(format!("{scheme:?} is not a scheme of PostgreSQL")).hint(FORMS));
    }
    if !text.trim().is_empty() && !text.contains('=') {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;
    use std::path::Path;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::model::connection::{Host, Password, RootCertificate, SslMode, TlsVersion};

    fn somebody() -> Environment {
        Environment::bare().with_os_user("somebody")
    }

    fn variable() -> Source {
        Source::Environment("DATABASE_URL".to_owned())
    }

    fn read(text: &str) -> ConnectionSettings {
        resolve(text, &variable(), &somebody()).unwrap()
    }

    fn complaint(text: &str) -> String {
        let error = resolve(text, &variable(), &somebody()).unwrap_err();
        format!("{error} | {}", error.hints.join(" | "))
    }

    fn servers(settings: &ConnectionSettings) -> String {
        settings.servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn nothing_at_all_means_libpq_s_defaults() {
        let settings = from_environment(&somebody()).unwrap();
        assert_eq!(settings.user, "somebody");
        assert_eq!(settings.database, "somebody");
        assert_eq!(servers(&settings), "localhost:5432");
        assert_eq!(settings.tls.mode, SslMode::Prefer);
        assert_eq!(settings.tls.min_version, TlsVersion::V1_2);
        assert_eq!(settings.connect_timeout, Some(Duration::from_secs(10)));
        assert_eq!(settings.password, Password::Missing);
        assert_eq!(settings.application_name, "tenantctl");
        let error = from_environment(&Environment::bare()).unwrap_err();
        assert!(error.hints.first().unwrap().contains("PGUSER"));
    }

    #[test]
    fn without_a_host_the_directory_that_holds_the_socket_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(".s.PGSQL.5433"), "").unwrap();
        let environment = somebody().with_socket_directory(directory.path());
        let settings = resolve("port=5433", &variable(), &environment).unwrap();
        assert_eq!(settings.servers.first().unwrap().host, Host::Unix(directory.path().into()));
        let settings = resolve("port=5434", &variable(), &environment).unwrap();
        assert_eq!(servers(&settings), "localhost:5434");
    }

    #[test]
    fn a_string_wins_over_a_service_over_variables_over_defaults() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join(".pg_service.conf");
        fs::write(&file, "[app]\nhost=from-service\nuser=from-service\ndbname=from-service\n")
            .unwrap();
        let environment = somebody()
            .with_home(home.path())
            .with_variable("PGSERVICE", "app")
            .with_variable("PGUSER", "from-variable")
            .with_variable("PGPORT", "6432");
        let settings = resolve("dbname=from-string", &variable(), &environment).unwrap();
        assert_eq!(settings.database, "from-string");
        assert_eq!(settings.user, "from-service");
        assert_eq!(servers(&settings), "from-service:6432");
        assert_eq!(settings.origin("dbname"), &Origin::Environment("DATABASE_URL".to_owned()));
        assert_eq!(settings.origin("user"), &Origin::Service { name: "app".to_owned(), file });
        assert_eq!(settings.origin("port"), &Origin::Environment("PGPORT".to_owned()));
        assert_eq!(settings.origin("sslmode"), &Origin::Default);
    }

    #[test]
    fn hosts_addresses_and_ports_go_together() {
        assert_eq!(
            servers(&read("host=a,b,/run/x hostaddr=10.0.0.1,, port=1,,3")),
            "a:1 (10.0.0.1) b:5432 /run/x/.s.PGSQL.3"
        );
        assert_eq!(servers(&read("postgres://a,[::1]:5433/db")), "a:5432 [::1]:5433");
        assert_eq!(servers(&read("host=a,b port=7")), "a:7 b:7");
        assert_eq!(servers(&read("hostaddr=::1")), "[::1]:5432");
        assert!(complaint("host=a,b port=1,2,3").contains("lists 3 where there are 2 hosts"));
        assert!(complaint("host=a hostaddr=10.0.0.1,10.0.0.2").contains("host from"));
        assert!(complaint("host=a hostaddr=b").contains("\"b\" is no IP address"));
        assert!(complaint("port=70000").contains("70000"));
        assert!(complaint("host=@abstract").contains("abstract"));
    }

    #[test]
    fn unknown_parameters_are_all_named_with_a_neighbour() {
        let said = complaint("postgres://h/db?sslmod=require&pgbouncer=true");
        assert!(said.contains("unknown parameters \"sslmod\", \"pgbouncer\""), "{said}");
        assert!(said.contains("did you mean \"sslmode\""), "{said}");
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_with_the_reason() {
        for (text, reason) in [
            ("sslcrl=x", "revocation"),
            ("gssencmode=require", "GSSAPI"),
            ("require_auth=scram-sha-256", "channel_binding=require"),
            ("client_encoding=latin1", "UTF8"),
            ("replication=database", "replication"),
            ("sslcertmode=require", "pg_hba.conf"),
            ("sslmode=prefer sslrootcert=system", "sslmode=verify-full"),
            ("sslnegotiation=direct", "sslmode=require"),
            ("sslmode=on", "verify-ca"),
            ("sslkey=pkcs11:token", "engine"),
            ("ssl_min_protocol_version=TLSv1.3 ssl_max_protocol_version=TLSv1.2", "lower"),
            ("keepalives=yes", "neither 0 nor 1"),
            ("connect_timeout=soon", "\"soon\""),
            ("service=absent", "absent"),
            ("mysql://h/db", "mysql"),
            ("app", "neither a URL"),
        ] {
            let said = complaint(text);
            assert!(said.contains(reason), "{text}: {said}");
        }
        let environment = somebody().with_variable("PGREQUIREAUTH", "scram-sha-256");
        let said = from_environment(&environment).unwrap_err().to_string();
        assert!(said.contains("env PGREQUIREAUTH"), "{said}");
    }

    #[test]
    fn what_changes_nothing_is_accepted() {
        read(
            "gssencmode=prefer krbsrvname=postgres client_encoding=UTF8 sslcompression=0 \
             fallback_application_name=x keepalives=0 keepalives_count=3 replication=off \
             max_protocol_version=latest sslcertmode=allow gsslib=gssapi",
        );
        assert_eq!(read("fallback_application_name=x").application_name, "x");
        assert_eq!(read("connect_timeout=0").connect_timeout, None);
        assert_eq!(read("sslrootcert=system").tls.mode, SslMode::VerifyFull);
        assert_eq!(read("sslrootcert=system").tls.root_certificate, Some(RootCertificate::System));
    }

    #[test]
    fn a_password_on_the_command_line_is_refused_and_not_repeated() {
        let flag = Source::Flag("--database-url".to_owned());
        for text in [
            "postgres://app:hunter2@h/db",
            "postgres://app@h/db?password=hunter2",
            "host=h password=hunter2",
            "host=h sslpassword='hunter2'",
        ] {
            let error = resolve(text, &flag, &somebody()).unwrap_err();
            assert_eq!(error.code, Code::Usage);
            assert!(error.hints.iter().any(|hint| hint.contains("DATABASE_URL")));
            assert!(!format!("{error:?}").contains("hunter2"));
            assert!(resolve(text, &variable(), &somebody()).is_ok());
        }
        assert!(resolve("postgres://app@h/db", &flag, &somebody()).is_ok());
    }

    fn with_passfile(directory: &Path, text: &str) -> Environment {
        let path = directory.join(".pgpass");
        fs::write(&path, text).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
        somebody().with_home(directory)
    }

    #[test]
    fn a_password_file_answers_per_host_and_per_database() {
        let home = tempfile::tempdir().unwrap();
        let text = "a:*:one:app:a-one\nb:*:one:app:b-one\n*:*:two:app:two\nlocalhost:*:*:*:local\n";
        let environment = with_passfile(home.path(), text);
        let settings =
            resolve("host=a,b,/tmp user=app dbname=one", &variable(), &environment).unwrap();
        let found = |settings: &ConnectionSettings| {
            settings
                .servers
                .iter()
                .map(|server| settings.password_for(server).unwrap().expose().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(found(&settings), ["a-one", "b-one", "local"]);
        assert_eq!(found(&settings.with_database("two")), ["two", "two", "two"]);
        let given = resolve("host=a user=app password=given", &variable(), &environment).unwrap();
        assert_eq!(found(&given.with_database("two")), ["given"]);
    }

    #[test]
    fn what_is_in_force_is_shown_with_its_origin_and_without_secrets() {
        let settings = resolve(
            "postgres://app:hunter2@h/db?sslmode=require&sslpassword=hunter2",
            &variable(),
            &somebody().with_variable("PGAPPNAME", "mine"),
        )
        .unwrap();
        let shown: Vec<String> = settings
            .describe()
            .into_iter()
            .map(|line| format!("{} = {} ({})", line.parameter, line.value, line.origin))
            .collect();
        insta::assert_snapshot!(shown.join("\n"), @r"
        application_name = mine (env PGAPPNAME)
        channel_binding = prefer (default)
        connect_timeout = 10 (default)
        dbname = db (env DATABASE_URL)
        host = h (env DATABASE_URL)
        keepalives = 1 (default)
        load_balance_hosts = disable (default)
        password = *** (env DATABASE_URL)
        port = 5432 (default)
        ssl_min_protocol_version = TLSv1.2 (default)
        sslmode = require (env DATABASE_URL)
        sslnegotiation = postgres (default)
        sslpassword = *** (env DATABASE_URL)
        sslsni = 1 (default)
        target_session_attrs = any (default)
        user = app (env DATABASE_URL)
        ");
        assert_eq!(settings.redacted(), "postgresql://app@h:5432/db?sslmode=require");
        assert_eq!(settings.with_default_application_name("x").application_name, "mine");
        assert_eq!(read("").with_default_application_name("x").application_name, "x");
    }

    proptest! {
        #[test]
        fn a_password_shows_nowhere(password in "[^\0]{1,12}") {
            // A marker, because a password of one letter shows in every text.
            let password = format!("MARK{password}MARK");
            let encoded = crate::model::connection::percent_encode(&password);
            let settings = read(&format!("postgres://app:{encoded}@h/db"));
            prop_assert_eq!(
                settings.password_for(settings.servers.first().unwrap()).unwrap().expose(),
                password.as_str()
            );
            let shown = format!(
                "{settings} {settings:?} {:?} {}", settings.describe(), settings.redacted()
            );
            prop_assert!(!shown.contains("MARK"));
        }

        #[test]
        fn a_password_that_breaks_the_string_shows_nowhere(password in "[^\0 ,;&=]{1,12}") {
            for text in [
                format!("postgres://app:MARK{password}MARK@h/db"),
                format!("password=MARK{password}MARK host"),
                format!("password='MARK{password}MARK"),
            ] {
                if let Err(error) = resolve(&text, &variable(), &somebody()) {
                    prop_assert!(!format!("{error:?}").contains("MARK"), "{:?}", error);
                }
            }
        }

        #[test]
        fn the_redacted_string_leads_to_the_same_place(
            user in "[^\0]{1,10}", database in "[^\0]{1,10}", port in 1u16..,
            host in "[a-z.]{1,10}|/[a-z/ ]{1,10}|::1",
        ) {
            let first = resolve("", &variable(), &somebody()
                .with_variable("PGUSER", &user)
                .with_variable("PGDATABASE", &database)
                .with_variable("PGPORT", &port.to_string())
                .with_variable("PGHOST", host.trim())).unwrap();
            let again = read(&first.redacted());
            prop_assert_eq!(again.user, user);
            prop_assert_eq!(again.database, database);
            prop_assert_eq!(again.servers, first.servers);
        }

        #[test]
        fn nothing_makes_it_panic(text in ".*") {
            let _result = resolve(&text, &variable(), &somebody());
        }
    }
}
