//! One connection target with every libpq parameter typed and resolved, and where each came from.
//!
//! The values are made by `config::conninfo` and used by `pg::connect`. Nothing here does IO, and
//! nothing here shows a password: not `Debug`, not `Display`, not [`ConnectionSettings::describe`].

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::passfile::PassFile;
use super::secret::{HIDDEN, Secret};

/// Declares a closed set of words of a libpq parameter.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            /// Every value, in the order in which libpq documents them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word libpq knows it by.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// Finds the value of a word, in any letter case.
            pub fn parse(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.word().eq_ignore_ascii_case(word))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.word())
            }
        }
    };
}

words! {
    /// How much TLS is asked of a TCP connection. Unix sockets ignore it.
    SslMode {
        /// No TLS.
        Disable = "disable",
        /// TLS only when the server refuses a session without.
        Allow = "allow",
        /// TLS first, and a session without when that fails.
        Prefer = "prefer",
        /// TLS; the certificate is checked only when a root certificate is at hand.
        Require = "require",
        /// TLS with a certificate that a trusted authority signed.
        VerifyCa = "verify-ca",
        /// As `verify-ca`, and the certificate names the host.
        VerifyFull = "verify-full",
    }
}

words! {
    /// How TLS starts.
    SslNegotiation {
        /// The server is asked first.
        Postgres = "postgres",
        /// The handshake comes first (PostgreSQL 17 and newer).
        Direct = "direct",
    }
}

words! {
    /// Whether SCRAM is tied to the TLS channel.
    ChannelBinding {
        /// Never.
        Disable = "disable",
        /// When both sides can.
        Prefer = "prefer",
        /// Always, or the connection fails.
        Require = "require",
    }
}

words! {
    /// Which kind of server is acceptable.
    TargetSessionAttrs {
        /// Any.
        Any = "any",
        /// One that takes writes by default.
        ReadWrite = "read-write",
        /// One that refuses writes by default.
        ReadOnly = "read-only",
        /// One that is not in recovery.
        Primary = "primary",
        /// One that is in recovery.
        Standby = "standby",
        /// A standby when there is one among the hosts, any otherwise.
        PreferStandby = "prefer-standby",
    }
}

words! {
    /// In which order several hosts are tried.
    LoadBalanceHosts {
        /// As written.
        Disable = "disable",
        /// Shuffled for every connection.
        Random = "random",
    }
}

words! {
    /// A version of TLS.
    TlsVersion {
        /// 1.0
        V1 = "TLSv1",
        /// 1.1
        V1_1 = "TLSv1.1",
        /// 1.2
        V1_2 = "TLSv1.2",
        /// 1.3
        V1_3 = "TLSv1.3",
    }
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A command-line flag, named with its dashes.
    Flag(String),
    /// An environment variable.
    Environment(String),
    /// A service of a `pg_service.conf`.
    Service {
        /// Its name.
        name: String,
        /// The file that defines it.
        file: PathBuf,
    },
    /// A connection string inside a file, such as `tenants.toml`.
    File(PathBuf),
    /// A password file.
    PassFile(PathBuf),
    /// tenantctl set it itself.
    Tenantctl,
    /// Nobody said anything.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => f.write_str(name),
            Self::Environment(name) => write!(f, "env {name}"),
            Self::Service { name, file } => write!(f, "service {name} in {}", file.display()),
            Self::File(path) | Self::PassFile(path) => write!(f, "{}", path.display()),
            Self::Tenantctl => f.write_str("tenantctl"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// Where one server listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    /// TCP.
    Tcp {
        /// What the certificate must name, and what is looked up when there is no address.
        name: String,
        /// `hostaddr`: where to connect without a lookup.
        address: Option<IpAddr>,
    },
    /// A directory that holds a unix socket.
    Unix(PathBuf),
}

/// One server of a target: the hosts of a list are tried one by one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Server {
    /// Where it listens.
    pub host: Host,
    /// On which port.
    pub port: u16,
}

/// Directories where distributions put the socket, in the order in which they are looked at.
pub const SOCKET_DIRECTORIES: [&str; 3] = ["/run/postgresql", "/var/run/postgresql", "/tmp"];

impl Server {
    /// What the first field of a password file's line must say for this server.
    pub fn passfile_host(&self) -> String {
        match &self.host {
            Host::Tcp { name, .. } => name.clone(),
            // libpq is compiled with one default directory, and calls it `localhost` here;
            // which one it was is unknown to us, so all the usual ones are it.
            Host::Unix(path) if SOCKET_DIRECTORIES.iter().any(|usual| path == Path::new(usual)) => {
                "localhost".to_owned()
            }
            Host::Unix(path) => path.display().to_string(),
        }
    }

    /// Whether the server is reached without a network, where TLS means nothing.
    pub fn is_unix(&self) -> bool {
        matches!(self.host, Host::Unix(_))
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Tcp { name, address } => {
                if name.contains(':') {
                    write!(f, "[{name}]:{}", self.port)?;
                } else {
                    write!(f, "{name}:{}", self.port)?;
                }
                match address {
                    Some(address) if address.to_string() != *name => write!(f, " ({address})"),
                    _ => Ok(()),
                }
            }
            Host::Unix(path) => write!(f, "{}/.s.PGSQL.{}", path.display(), self.port),
        }
    }
}

/// How the password is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Password {
    /// There is none, and no password file that could hold one.
    Missing,
    /// It was given, for every server and database.
    Given(Secret),
    /// It is looked up per server and database.
    LookedUp(PassFile),
}

/// Which authorities sign a server's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootCertificate {
    /// Those the operating system trusts.
    System,
    /// Those in this file, when it exists.
    File(PathBuf),
}

/// TLS of one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// `sslmode`
    pub mode: SslMode,
    /// `sslnegotiation`
    pub negotiation: SslNegotiation,
    /// `sslrootcert`; none when there is no home directory to look in.
    pub root_certificate: Option<RootCertificate>,
    /// `sslcert`; used when the file exists.
    pub client_certificate: Option<PathBuf>,
    /// `sslkey`
    pub client_key: Option<PathBuf>,
    /// `sslpassword`: opens an encrypted key.
    pub client_key_password: Option<Secret>,
    /// `ssl_min_protocol_version`
    pub min_version: TlsVersion,
    /// `ssl_max_protocol_version`
    pub max_version: Option<TlsVersion>,
    /// `sslsni`: whether the server is told the host name in clear.
    pub server_name_indication: bool,
}

/// What the operating system does about a silent peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpSettings {
    /// `keepalives`
    pub keepalives: bool,
    /// `keepalives_idle`
    pub idle: Option<Duration>,
    /// `keepalives_interval`
    pub interval: Option<Duration>,
    /// `keepalives_count`
    pub count: Option<u32>,
    /// `tcp_user_timeout`
    pub user_timeout: Option<Duration>,
}

/// Everything that is needed to connect, typed and resolved.
#[derive(Clone, Debug)]
pub struct ConnectionSettings {
    /// `host`, `hostaddr` and `port`: at least one server.
    pub servers: Vec<Server>,
    /// `user`
    pub user: String,
    /// `dbname`
    pub database: String,
    /// `password` or `passfile`
    pub password: Password,
    /// `application_name`
    pub application_name: String,
    /// `options`: command-line options of the server process.
    pub options: Option<String>,
    /// `connect_timeout`, per server; none waits for ever.
    pub connect_timeout: Option<Duration>,
    /// `target_session_attrs`
    pub target_session_attrs: TargetSessionAttrs,
    /// `load_balance_hosts`
    pub load_balance_hosts: LoadBalanceHosts,
    /// `channel_binding`
    pub channel_binding: ChannelBinding,
    /// `ssl*`
    pub tls: TlsSettings,
    /// `keepalives*`, `tcp_user_timeout`
    pub tcp: TcpSettings,
    /// What was passed over while resolving, and why (a password file that others can read).
    pub warnings: Vec<String>,
    /// Who set what, by libpq's name of the parameter; what is absent is a default.
    pub origins: BTreeMap<&'static str, Origin>,
}

impl ConnectionSettings {
    /// Whether every server is on this machine, as far as its name says.
    pub fn is_local(&self) -> bool {
        self.servers.iter().all(|server| match &server.host {
            Host::Unix(_) => true,
            Host::Tcp { name, address } => address
                .or_else(|| name.parse().ok())
                .map_or(name == "localhost", |address: IpAddr| address.is_loopback()),
        })
    }
}

/// One line of `config show`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ShownParameter {
    /// libpq's name.
    pub parameter: &'static str,
    /// The value in force; `***` for a secret.
    pub value: String,
    /// Where it came from.
    pub origin: Origin,
}

impl ConnectionSettings {
    /// Who set a parameter, by libpq's name.
    pub fn origin(&self, parameter: &str) -> &Origin {
        self.origins.get(parameter).unwrap_or(&Origin::Default)
    }

    /// The password to send to one of the servers, when there is one.
    pub fn password_for(&self, server: &Server) -> Option<&Secret> {
        match &self.password {
            Password::Missing => None,
            Password::Given(secret) => Some(secret),
            Password::LookedUp(file) => {
                file.find(&server.passfile_host(), server.port, &self.database, &self.user)
            }
        }
    }

    /// The same target, another database of the cluster.
    ///
    /// A password that was given stays; one from a password file is looked up anew, because its
    /// lines name databases.
    #[must_use]
    pub fn with_database(&self, database: &str) -> Self {
        let mut other = self.clone();
        database.clone_into(&mut other.database);
        other.origins.insert("dbname", Origin::Tenantctl);
        other
    }

    /// The same target, as another role.
    ///
    /// Without a password, one that was given is not sent: it is somebody else's. One from a password
    /// file is looked up for the role.
    #[must_use]
    pub fn with_login(&self, user: &str, password: Option<&Secret>) -> Self {
        let mut other = self.clone();
        user.clone_into(&mut other.user);
        other.origins.insert("user", Origin::Tenantctl);
        other.password = match (password, &self.password) {
            (Some(secret), _) => Password::Given(secret.clone()),
            (None, Password::Given(_)) => Password::Missing,
            (None, found) => found.clone(),
        };
        other
    }

    /// Whether a role may be able to log in without being told a password: none was needed for the
    /// role that is configured, or a password file has its own.
    pub fn may_admit(&self, user: &str) -> bool {
        let other = self.with_login(user, None);
        !matches!(self.password, Password::Given(_))
            && self.servers.iter().all(|server| {
                self.password_for(server).is_none() || other.password_for(server).is_some()
            })
    }

    /// The same target under this `application_name`, unless the user chose one.
    #[must_use]
    pub fn with_default_application_name(&self, name: &str) -> Self {
        let mut other = self.clone();
        if matches!(other.origin("application_name"), Origin::Default | Origin::Tenantctl) {
            name.clone_into(&mut other.application_name);
            other.origins.insert("application_name", Origin::Tenantctl);
        }
        other
    }

    /// The target as a connection string for messages and logs: no secret, and what `psql` takes.
    pub fn redacted(&self) -> String {
        let mut text = format!("postgresql://{}@", percent_encode(&self.user));
        for (index, server) in self.servers.iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            match &server.host {
                Host::Tcp { name, .. } if name.contains(':') => {
                    text.push('[');
                    text.push_str(name);
                    text.push(']');
                }
                Host::Tcp { name, .. } => text.push_str(&percent_encode(name)),
                Host::Unix(path) => text.push_str(&percent_encode(&path.to_string_lossy())),
            }
            text.push(':');
            text.push_str(&server.port.to_string());
        }
        text.push('/');
        text.push_str(&percent_encode(&self.database));
        if self.origin("sslmode") != &Origin::Default {
            text.push_str("?sslmode=");
            text.push_str(self.tls.mode.word());
        }
        text
    }

    /// Every parameter in force with its origin, sorted by name, for `config show`.
    pub fn describe(&self) -> Vec<ShownParameter> {
        let mut shown: Vec<ShownParameter> = self
            .values()
            .into_iter()
            .map(|(parameter, value)| ShownParameter {
                parameter,
                value,
                origin: self.origin(parameter).clone(),
            })
            .collect();
        match &self.password {
            Password::Missing => {}
            Password::Given(_) => shown.push(ShownParameter {
                parameter: "password",
                value: HIDDEN.to_owned(),
                origin: self.origin("password").clone(),
            }),
            Password::LookedUp(file) => {
                shown.push(ShownParameter {
                    parameter: "passfile",
                    value: file.path.display().to_string(),
                    origin: self.origin("passfile").clone(),
                });
                if self.servers.iter().any(|server| self.password_for(server).is_some()) {
                    shown.push(ShownParameter {
                        parameter: "password",
                        value: HIDDEN.to_owned(),
                        origin: Origin::PassFile(file.path.clone()),
                    });
                }
            }
        }
        shown.sort();
        shown
    }

    /// What is in force, by libpq's name, without the password.
    fn values(&self) -> Vec<(&'static str, String)> {
        let each = |part: &dyn Fn(&Server) -> String| {
            self.servers.iter().map(part).collect::<Vec<_>>().join(",")
        };
        let mut values = vec![
            (
                "host",
                each(&|server| match &server.host {
                    Host::Tcp { name, .. } => name.clone(),
                    Host::Unix(path) => path.display().to_string(),
                }),
            ),
            ("port", each(&|server| server.port.to_string())),
            ("user", self.user.clone()),
            ("dbname", self.database.clone()),
            ("application_name", self.application_name.clone()),
            (
                "connect_timeout",
                self.connect_timeout.unwrap_or(Duration::ZERO).as_secs().to_string(),
            ),
            ("target_session_attrs", self.target_session_attrs.to_string()),
            ("load_balance_hosts", self.load_balance_hosts.to_string()),
            ("channel_binding", self.channel_binding.to_string()),
            ("keepalives", u8::from(self.tcp.keepalives).to_string()),
        ];
        if self.origins.contains_key("hostaddr") {
            let address = |server: &Server| match &server.host {
                Host::Tcp { address: Some(address), .. } => address.to_string(),
                _ => String::new(),
            };
            values.push(("hostaddr", each(&address)));
        }
        let seconds = |time: Duration| time.as_secs().to_string();
        values.extend(self.options.clone().map(|options| ("options", options)));
        values.extend(self.tcp.idle.map(|time| ("keepalives_idle", seconds(time))));
        values.extend(self.tcp.interval.map(|time| ("keepalives_interval", seconds(time))));
        values.extend(self.tcp.count.map(|count| ("keepalives_count", count.to_string())));
        values.extend(
            self.tcp.user_timeout.map(|time| ("tcp_user_timeout", time.as_millis().to_string())),
        );
        values.extend(self.tls.values());
        values
    }
}

impl TlsSettings {
    fn values(&self) -> Vec<(&'static str, String)> {
        let path = |path: &PathBuf| path.display().to_string();
        let mut values = vec![
            ("sslmode", self.mode.to_string()),
            ("sslnegotiation", self.negotiation.to_string()),
            ("sslsni", u8::from(self.server_name_indication).to_string()),
            ("ssl_min_protocol_version", self.min_version.to_string()),
        ];
        values.extend(self.max_version.map(|max| ("ssl_max_protocol_version", max.to_string())));
        values.extend(self.root_certificate.as_ref().map(|root| {
            let shown = match root {
                RootCertificate::System => "system".to_owned(),
                RootCertificate::File(file) => path(file),
            };
            ("sslrootcert", shown)
        }));
        values.extend(self.client_certificate.as_ref().map(|file| ("sslcert", path(file))));
        values.extend(self.client_key.as_ref().map(|file| ("sslkey", path(file))));
        values
            .extend(self.client_key_password.as_ref().map(|_| ("sslpassword", HIDDEN.to_owned())));
        values
    }
}

impl fmt::Display for ConnectionSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted())
    }
}

/// Writes a text so that it stands in any part of a URI.
pub fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            for digit in [byte >> 4, byte & 0xf] {
                encoded.push(char::from(b"0123456789ABCDEF"[usize::from(digit)]));
            }
        }
    }
    encoded
}
