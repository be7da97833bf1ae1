//! Turns the texts that were given into typed settings, and fills in libpq's defaults.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::{Code, Error};
use crate::model::connection::{
    ChannelBinding, ConnectionSettings, Host, LoadBalanceHosts, Origin, Password, RootCertificate,
    Server, SslMode, SslNegotiation, TargetSessionAttrs, TcpSettings, TlsSettings, TlsVersion,
};
use crate::model::secret::Secret;

use super::environment::Environment;
use super::parameters::{Given, Parameters};
use super::passfile::{self, Found};

const DEFAULT_PORT: u16 = 5432;
/// libpq waits for ever; a tool that visits a fleet must not.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
const APPLICATION_NAME: &str = "tenantctl";

/// Makes the settings.
pub(super) fn assemble(
    parameters: &Parameters,
    environment: &Environment,
) -> Result<ConnectionSettings, Error> {
    let mut warnings = environment.warnings().to_vec();
    let mut origins = parameters.origins();
    // What has been used up on the way, or has no effect, is not in force.
    for gone in ["service", "servicefile", "fallback_application_name"] {
        origins.remove(gone);
    }
    let servers = servers(parameters, environment)?;
    let user = match parameters.filled("user") {
        Some(given) => given.value.clone(),
        None => environment.os_user().map(str::to_owned).ok_or_else(|| {
            Error::new(Code::Config, "find the name of the user to connect as")
                .hint("name it in the connection string (user=…) or in PGUSER")
        })?,
    };
    let database = text(parameters, "dbname").unwrap_or_else(|| user.clone());
    let password = password(parameters, environment, &mut warnings);
    if matches!(password, Password::Given(_)) {
        origins.remove("passfile");
    }
    let application_name = text(parameters, "application_name")
        .or_else(|| text(parameters, "fallback_application_name"))
        .unwrap_or_else(|| APPLICATION_NAME.to_owned());
    Ok(ConnectionSettings {
        servers,
        user,
        database,
        password,
        application_name,
        options: text(parameters, "options"),
        connect_timeout: connect_timeout(parameters)?,
        target_session_attrs: word(
            parameters,
            "target_session_attrs",
            TargetSessionAttrs::ALL,
            TargetSessionAttrs::parse,
        )?
        .unwrap_or(TargetSessionAttrs::Any),
        load_balance_hosts: word(
            parameters,
            "load_balance_hosts",
            LoadBalanceHosts::ALL,
            LoadBalanceHosts::parse,
        )?
        .unwrap_or(LoadBalanceHosts::Disable),
        channel_binding: word(
            parameters,
            "channel_binding",
            ChannelBinding::ALL,
            ChannelBinding::parse,
        )?
        .unwrap_or(ChannelBinding::Prefer),
        tls: tls(parameters, environment, &mut warnings)?,
        tcp: tcp(parameters)?,
        warnings,
        origins,
    })
}

fn servers(parameters: &Parameters, environment: &Environment) -> Result<Vec<Server>, Error> {
    let names = list(parameters, "host");
    let addresses = list(parameters, "hostaddr");
    let ports = list(parameters, "port");
    let count = names.len().max(addresses.len()).max(1);
    for (name, values) in [("host", &names), ("hostaddr", &addresses)] {
        if !values.is_empty() && values.len() != count {
            return Err(counts_differ(parameters, name, values.len(), count));
        }
    }
    // One port serves all hosts; otherwise each has its own.
    if ports.len() > 1 && ports.len() != count {
        return Err(counts_differ(parameters, "port", ports.len(), count));
    }
    (0..count)
        .map(|index| {
            let at =
                |values: &[String]| values.get(index).filter(|value| !value.is_empty()).cloned();
            let port = match ports.get(if ports.len() > 1 { index } else { 0 }) {
                Some(text) if !text.is_empty() => port(parameters, text)?,
                _ => DEFAULT_PORT,
            };
            let address = match at(&addresses) {
                Some(text) => Some(address(parameters, &text)?),
                None => None,
            };
            let host = match (at(&names), address) {
                (None, None) => default_host(environment, port),
                (None, Some(address)) => {
                    Host::Tcp { name: address.to_string(), address: Some(address) }
                }
                (Some(name), _) if name.starts_with('@') => {
                    return Err(wrong(parameters, "host", "abstract sockets are not supported")
                        .hint("name the directory of the socket, such as host=/run/postgresql"));
                }
                (Some(name), None) if name.starts_with('/') => Host::Unix(PathBuf::from(name)),
                (Some(name), address) => Host::Tcp { name, address },
            };
            Ok(Server { host, port })
        })
        .collect()
}

/// Where a server of this machine listens by the custom of its packagers.
fn default_host(environment: &Environment, port: u16) -> Host {
    let socket = format!(".s.PGSQL.{port}");
    environment
        .socket_directories()
        .iter()
        .find(|directory| directory.join(&socket).exists())
        .map_or_else(
            || Host::Tcp { name: "localhost".to_owned(), address: None },
            |directory| Host::Unix(directory.clone()),
        )
}

fn list(parameters: &Parameters, name: &str) -> Vec<String> {
    parameters.filled(name).map_or_else(Vec::new, |given| {
        given.value.split(',').map(|item| item.trim().to_owned()).collect()
    })
}

fn counts_differ(parameters: &Parameters, name: &str, has: usize, hosts: usize) -> Error {
    wrong(parameters, name, &format!("it lists {has} where there are {hosts} hosts"))
        .hint("give each host its own, in the same order")
}

fn port(parameters: &Parameters, text: &str) -> Result<u16, Error> {
    text.parse::<u16>()
        .ok()
        .filter(|port| *port > 0)
        .ok_or_else(|| wrong(parameters, "port", &format!("{text:?} is no number from 1 to 65535")))
}

fn address(parameters: &Parameters, text: &str) -> Result<IpAddr, Error> {
    text.parse().map_err(|_| {
        wrong(parameters, "hostaddr", &format!("{text:?} is no IP address"))
            .hint("put a name into host; hostaddr is for addresses such as 10.0.0.7 or ::1")
    })
}

fn password(
    parameters: &Parameters,
    environment: &Environment,
    warnings: &mut Vec<String>,
) -> Password {
    if let Some(given) = parameters.filled("password") {
        return Password::Given(Secret::new(given.value.clone()));
    }
    let path = path(parameters, "passfile").or_else(|| environment.in_home(".pgpass"));
    match path.map(|path| passfile::read(&path)) {
        Some(Found::File(file)) => Password::LookedUp(file),
        Some(Found::PassedOver(why)) => {
            warnings.push(why);
            Password::Missing
        }
        Some(Found::Nothing) | None => Password::Missing,
    }
}

fn connect_timeout(parameters: &Parameters) -> Result<Option<Duration>, Error> {
    match number::<i32>(parameters, "connect_timeout")? {
        None => Ok(Some(DEFAULT_TIMEOUT)),
        // Zero and less wait for ever, in libpq's words.
        Some(seconds) => {
            Ok(u64::try_from(seconds).ok().filter(|seconds| *seconds > 0).map(Duration::from_secs))
        }
    }
}

fn tls(
    parameters: &Parameters,
    environment: &Environment,
    warnings: &mut Vec<String>,
) -> Result<TlsSettings, Error> {
    let mode = word(parameters, "sslmode", SslMode::ALL, SslMode::parse)?;
    let negotiation =
        word(parameters, "sslnegotiation", SslNegotiation::ALL, SslNegotiation::parse)?
            .unwrap_or(SslNegotiation::Postgres);
    let in_home = |file: &str| environment.in_home(&format!(".postgresql/{file}"));
    let root_certificate = match parameters.filled("sslrootcert") {
        Some(given) if given.value == "system" => Some(RootCertificate::System),
        Some(given) => Some(RootCertificate::File(PathBuf::from(&given.value))),
        None => in_home("root.crt").map(RootCertificate::File),
    };
    // Everybody can get a certificate from a public authority: only the name in it tells.
    let system = root_certificate == Some(RootCertificate::System);
    let mode = mode.unwrap_or(if system { SslMode::VerifyFull } else { SslMode::Prefer });
    if system && mode != SslMode::VerifyFull {
        return Err(weak(parameters, mode, "sslrootcert=system", SslMode::VerifyFull));
    }
    if negotiation == SslNegotiation::Direct && mode < SslMode::Require {
        return Err(weak(parameters, mode, "sslnegotiation=direct", SslMode::Require));
    }
    if let Some(list) = in_home("root.crl").filter(|list| list.exists()) {
        warnings.push(format!("{} was passed over: revocation is not checked", list.display()));
    }
    let client_certificate_is_off = parameters
        .filled("sslcertmode")
        .is_some_and(|given| given.value.eq_ignore_ascii_case("disable"));
    let client_certificate = path(parameters, "sslcert")
        .or_else(|| in_home("postgresql.crt"))
        .filter(|_| !client_certificate_is_off);
    let min_version = version(parameters, "ssl_min_protocol_version")?.unwrap_or(TlsVersion::V1_2);
    let max_version = version(parameters, "ssl_max_protocol_version")?;
    if max_version.is_some_and(|max| max < min_version) {
        return Err(wrong(
            parameters,
            "ssl_max_protocol_version",
            &format!("it is lower than the minimum, {min_version}"),
        ));
    }
    Ok(TlsSettings {
        mode,
        negotiation,
        root_certificate,
        client_certificate,
        client_key: client_key(parameters, environment)?,
        client_key_password: text(parameters, "sslpassword").map(Secret::new),
        min_version,
        max_version,
        server_name_indication: switch(parameters, "sslsni")?.unwrap_or(true),
    })
}

fn client_key(
    parameters: &Parameters,
    environment: &Environment,
) -> Result<Option<PathBuf>, Error> {
    match text(parameters, "sslkey") {
        // A drive letter of Windows is one character.
        Some(key) if key.find(':').is_some_and(|at| at > 1) && !key.starts_with('/') => {
            Err(wrong(parameters, "sslkey", "keys kept in an OpenSSL engine are not supported")
                .hint("name a file in PEM form"))
        }
        Some(key) => Ok(Some(PathBuf::from(key))),
        None => Ok(environment.in_home(".postgresql/postgresql.key")),
    }
}

fn weak(parameters: &Parameters, mode: SslMode, beside: &str, needed: SslMode) -> Error {
    wrong(parameters, "sslmode", &format!("{mode} is too weak for {beside}"))
        .hint(format!("use sslmode={needed}"))
}

fn tcp(parameters: &Parameters) -> Result<TcpSettings, Error> {
    // In all of them zero leaves the choice to the operating system.
    let positive =
        |name| Ok::<_, Error>(number::<u32>(parameters, name)?.filter(|number| *number > 0));
    let seconds = |number: Option<u32>| number.map(|number| Duration::from_secs(number.into()));
    Ok(TcpSettings {
        keepalives: switch(parameters, "keepalives")?.unwrap_or(true),
        idle: seconds(positive("keepalives_idle")?),
        interval: seconds(positive("keepalives_interval")?),
        count: positive("keepalives_count")?,
        user_timeout: positive("tcp_user_timeout")?
            .map(|number| Duration::from_millis(number.into())),
    })
}

fn text(parameters: &Parameters, name: &str) -> Option<String> {
    parameters.filled(name).map(|given| given.value.clone())
}

fn path(parameters: &Parameters, name: &str) -> Option<PathBuf> {
    text(parameters, name).map(PathBuf::from)
}

fn version(parameters: &Parameters, name: &'static str) -> Result<Option<TlsVersion>, Error> {
    word(parameters, name, TlsVersion::ALL, TlsVersion::parse)
}

/// Reads one of a closed set of words.
fn word<T: std::fmt::Display>(
    parameters: &Parameters,
    name: &'static str,
    all: &[T],
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, Error> {
    let Some(given) = parameters.filled(name) else { return Ok(None) };
    parse(&given.value).map(Some).ok_or_else(|| {
        let words: Vec<String> = all.iter().map(ToString::to_string).collect();
        wrong(parameters, name, &format!("{:?} is not one of its values", given.value))
            .hint(format!("use one of {}", words.join(", ")))
    })
}

fn number<T: std::str::FromStr>(
    parameters: &Parameters,
    name: &'static str,
) -> Result<Option<T>, Error> {
    let Some(given) = parameters.filled(name) else { return Ok(None) };
    given
        .value
        .trim()
        .parse()
        .map(Some)
        .map_err(|_| wrong(parameters, name, &format!("{:?} is no such number", given.value)))
}

fn switch(parameters: &Parameters, name: &'static str) -> Result<Option<bool>, Error> {
    match parameters.filled(name).map(|given| given.value.trim()) {
        None => Ok(None),
        Some("0") => Ok(Some(false)),
        Some("1") => Ok(Some(true)),
        Some(other) => Err(wrong(parameters, name, &format!("{other:?} is neither 0 nor 1"))),
    }
}

/// A complaint about one parameter's value, with where it was given.
fn wrong(parameters: &Parameters, name: &str, what: &str) -> Error {
    let origin = parameters.filled(name).map_or(&Origin::Default, |given: &Given| &given.origin);
    Error::new(Code::Config, format!("read {name} from {origin}: {what}"))
}
