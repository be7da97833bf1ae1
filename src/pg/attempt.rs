//! What came of the attempts to connect, told so that somebody can act on it.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::time::Duration;

use crate::error::{Code, Error};
use crate::model::connection::{ConnectionSettings, Password, Server, TargetSessionAttrs};

use super::answer;

/// Why one attempt at one server failed.
#[derive(Debug)]
pub(super) enum Cause {
    /// The name has no address.
    Lookup(io::Error),
    /// It took too long.
    Timeout(Duration),
    /// The server has no TLS, and TLS is required.
    NoTls,
    /// The handshake failed; it is told as the TLS library tells it.
    Handshake(tokio_postgres::Error),
    /// It is not the kind of server that was asked for.
    Unfit(TargetSessionAttrs),
    /// Whatever else the driver or the server says.
    Driver(tokio_postgres::Error),
}

/// One attempt that failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) server: Server,
    pub(super) cause: Cause,
}

impl Failure {
    /// Whether libpq would try another way of encryption: the server refused the login itself.
    pub(super) fn is_refused_login(&self) -> bool {
        self.sqlstate().is_some_and(|sqlstate| sqlstate.starts_with("28"))
    }

    /// Whether libpq would not try the next server: this one is there and said no.
    pub(super) fn is_final(&self) -> bool {
        match &self.cause {
            Cause::Lookup(_) | Cause::Timeout(_) | Cause::Unfit(_) => false,
            Cause::NoTls | Cause::Handshake(_) => true,
            // A server that is starting up or shutting down is as good as none.
            Cause::Driver(error) => match answer::server_answer(error) {
                Some(answer) => answer.sqlstate != "57P03",
                None => !answer::is_lost(error),
            },
        }
    }

    /// Whether a limit of connections is reached: it may be free again in a moment.
    pub(super) fn is_full(&self) -> bool {
        self.sqlstate().as_deref() == Some("53300")
    }

    fn sqlstate(&self) -> Option<String> {
        match &self.cause {
            Cause::Driver(error) => error.code().map(|code| code.code().to_owned()),
            _ => None,
        }
    }

    fn code(&self) -> Code {
        match &self.cause {
            Cause::Lookup(_) | Cause::Timeout(_) | Cause::Unfit(_) => Code::Unreachable,
            Cause::NoTls | Cause::Handshake(_) => Code::AuthFailed,
            Cause::Driver(error) => match self.sqlstate() {
                Some(sqlstate) => answer::code_of(&sqlstate),
                None if answer::is_lost(error) => Code::Unreachable,
                // The driver itself gives up only while authenticating: no password, a method
                // it does not know, no channel binding.
                None => Code::AuthFailed,
            },
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.server)?;
        match &self.cause {
            Cause::Lookup(error) => write!(f, "look up the name: {error}"),
            Cause::Timeout(limit) => write!(f, "no session within {} s", limit.as_secs()),
            Cause::NoTls => f.write_str("the server does not offer TLS"),
            Cause::Unfit(wanted) => write!(f, "the server is not {wanted}"),
            Cause::Handshake(error) => write!(f, "TLS handshake: {}", handshake_words(error)),
            Cause::Driver(error) => match error.as_db_error() {
                Some(refusal) => f.write_str(refusal.message()),
                None => write!(f, "{error}: {}", innermost(error)),
            },
        }
    }
}

/// OpenSSL puts the verdict on a certificate in brackets, behind places in its own source.
fn handshake_words(error: &tokio_postgres::Error) -> String {
    let told = error.source().map(ToString::to_string).unwrap_or_default();
    match told.strip_suffix(')').and_then(|told| told.rsplit_once('(')) {
        Some((_, verdict)) if told.contains("certificate verify failed") => {
            format!("certificate verify failed: {verdict}")
        }
        _ => told,
    }
}

/// The driver's own words are the last of the chain; the outer ones are headings.
fn innermost(error: &tokio_postgres::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// All attempts, as the cause of one failure.
#[derive(Debug)]
struct Attempts(Vec<String>);

impl fmt::Display for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

impl std::error::Error for Attempts {}

/// Makes one failure of all attempts. The last decides what kind it is: nothing came after it.
pub(super) fn report(settings: &ConnectionSettings, failures: &[Failure]) -> Error {
    let code = failures.last().map_or(Code::Unreachable, Failure::code);
    let mut error = Error::new(code, format!("connect to {}", settings.redacted()));
    for failure in failures {
        for hint in hints(settings, failure) {
            if !error.hints.contains(&hint) {
                error.hints.push(hint);
            }
        }
    }
    let answer = failures.last().and_then(|failure| match &failure.cause {
        Cause::Driver(error) => answer::server_answer(error),
        _ => None,
    });
    if let Some(answer) = answer {
        error = error.answered(answer);
    }
    let mut told: Vec<String> = failures.iter().map(ToString::to_string).collect();
    told.dedup();
    error.because(Attempts(told))
}

/// What to do about one attempt.
fn hints(settings: &ConnectionSettings, failure: &Failure) -> Vec<String> {
    match &failure.cause {
        Cause::Lookup(_) => {
            vec![format!("check the spelling of the host in {}", origin(settings, "host"))]
        }
        Cause::Timeout(_) => vec![
            "check the address and the firewall, or allow more time with connect_timeout=SECONDS"
                .to_owned(),
        ],
        Cause::NoTls => vec![
            "turn TLS on in the server (ssl = on)".to_owned(),
            "or use sslmode=prefer, where nobody else can read the network".to_owned(),
        ],
        Cause::Handshake(error) => {
            vec![handshake_hint(settings, &failure.server, &handshake_words(error))]
        }
        Cause::Unfit(wanted) => {
            vec![format!("name a server that is {wanted}, or change target_session_attrs")]
        }
        Cause::Driver(error) => match answer::server_answer(error) {
            Some(answer) => {
                refusal_hints(settings, &failure.server, &answer.sqlstate, &answer.message)
            }
            None if answer::is_lost(error) => unreachable_hints(settings, &failure.server, error),
            None => driver_hints(settings, &failure.server, &innermost(error)),
        },
    }
}

fn handshake_hint(settings: &ConnectionSettings, server: &Server, told: &str) -> String {
    let told = told.to_ascii_lowercase();
    if told.contains("alert unknown ca") || told.contains("alert bad certificate") {
        "the server does not trust the client certificate: its ssl_ca_file must hold the \
         authority that signed sslcert"
            .to_owned()
    } else if told.contains("mismatch") {
        format!(
            "the certificate does not name {server}: connect by a name that it holds \
             (hostaddr=… gives the address beside it), or use sslmode=verify-ca"
        )
    } else if told.contains("expired") || told.contains("not yet valid") {
        "renew the server's certificate, or check the clocks".to_owned()
    } else if told.contains("certificate verify failed") || told.contains("self") {
        format!(
            "the certificate is not signed by an authority in sslrootcert (from {})",
            origin(settings, "sslrootcert")
        )
    } else if told.contains("version") || told.contains("protocol") {
        format!(
            "the server does not speak {} or newer: raise its ssl_max_protocol_version, \
             or lower ssl_min_protocol_version here",
            settings.tls.min_version
        )
    } else if settings.tls.negotiation == crate::model::connection::SslNegotiation::Direct {
        "sslnegotiation=direct needs PostgreSQL 17 or newer".to_owned()
    } else {
        "look into the server's log for the other side of the handshake".to_owned()
    }
}

/// The texts of these messages are the server's and may be translated: a hint may be missing,
/// the code is never guessed from them.
fn refusal_hints(
    settings: &ConnectionSettings,
    server: &Server,
    sqlstate: &str,
    message: &str,
) -> Vec<String> {
    let user = &settings.user;
    let database = &settings.database;
    match sqlstate {
        "28P01" if settings.password_for(server).is_some() => vec![format!(
            "the password from {} is wrong, or role {user:?} does not exist",
            password_place(settings)
        )],
        "28P01" => missing_password(settings, server),
        "28000" if message.contains("pg_hba.conf") => {
            let mut hints = vec![format!(
                "allow {user:?} on {database:?} in the server's pg_hba.conf, then reload it"
            )];
            if message.contains("no encryption") {
                hints.push("or ask for TLS with sslmode=require".to_owned());
            }
            hints
        }
        "28000" if message.contains("does not exist") => vec![format!(
            "name an existing role: user is {user:?} (from {})",
            origin(settings, "user")
        )],
        "28000" if message.contains("certificate") => {
            vec!["name a client certificate with sslcert=… and sslkey=…".to_owned()]
        }
        "3D000" => vec![format!(
            "create it (createdb), or name another: dbname is {database:?} (from {})",
            origin(settings, "dbname")
        )],
        "42501" => vec![format!(
            "as the owner of the database: GRANT CONNECT ON DATABASE {database:?} TO {user:?}"
        )],
        "53300" => vec![
            "wait for sessions to end, or lower max_connections of the cluster in tenants.toml"
                .to_owned(),
        ],
        "57P03" => vec!["the server is starting or stopping: try again in a moment".to_owned()],
        "08P01" if settings.options.is_some() => {
            vec!["a connection pooler refuses options: remove it, or connect directly".to_owned()]
        }
        _ => Vec::new(),
    }
}

fn unreachable_hints(
    settings: &ConnectionSettings,
    server: &Server,
    error: &tokio_postgres::Error,
) -> Vec<String> {
    let kind =
        error.source().and_then(|source| source.downcast_ref::<io::Error>()).map(io::Error::kind);
    match kind {
        Some(io::ErrorKind::NotFound) if server.is_unix() => {
            vec!["start PostgreSQL, or name its socket directory with host=/DIRECTORY".to_owned()]
        }
        Some(io::ErrorKind::ConnectionRefused) => vec![format!(
            "check that PostgreSQL listens there: host is from {}, port from {}",
            origin(settings, "host"),
            origin(settings, "port")
        )],
        // With TLS 1.3 a certificate is refused after the handshake: the answer may be lost.
        _ if !server.is_unix()
            && settings.tls.client_certificate.as_ref().is_some_and(|file| file.exists()) =>
        {
            vec![
                "the server's log says why it ended the connection: a client certificate that \
                 expired, or of another authority, ends it so"
                    .to_owned(),
            ]
        }
        _ => Vec::new(),
    }
}

fn driver_hints(settings: &ConnectionSettings, server: &Server, told: &str) -> Vec<String> {
    if told.contains("password missing") {
        missing_password(settings, server)
    } else if told.contains("channel binding") {
        vec![
            "channel_binding=require needs TLS and SCRAM: check sslmode, and that the role's \
             password is stored as scram-sha-256"
                .to_owned(),
        ]
    } else if told.contains("unsupported authentication method") {
        vec![
            "the server asks for GSSAPI, SSPI or another method that is not supported: \
             allow scram-sha-256 or cert in its pg_hba.conf"
                .to_owned(),
        ]
    } else {
        Vec::new()
    }
}

/// Says where a password was looked for.
fn missing_password(settings: &ConnectionSettings, server: &Server) -> Vec<String> {
    let mut hints = vec![
        "no password was found: not in the connection string, not in a service, not in PGPASSWORD"
            .to_owned(),
    ];
    match &settings.password {
        Password::LookedUp(file) => hints.push(format!(
            "and no line of {} matches {}:{}:{}:{}",
            file.path.display(),
            server.passfile_host(),
            server.port,
            settings.database,
            settings.user
        )),
        Password::Missing | Password::Given(_) => {
            hints
                .extend(settings.warnings.iter().filter(|text| text.contains("password")).cloned());
        }
    }
    hints
}

fn password_place(settings: &ConnectionSettings) -> String {
    match &settings.password {
        Password::LookedUp(file) => file.path.display().to_string(),
        Password::Missing | Password::Given(_) => origin(settings, "password"),
    }
}

fn origin(settings: &ConnectionSettings, parameter: &str) -> String {
    settings.origin(parameter).to_string()
}
