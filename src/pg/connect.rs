//! Connects as libpq does: hosts one by one, encryption by `sslmode`, the right kind of server.
//!
//! Every attempt that failed is told, not just the last. Notices of the server go to the log,
//! except those that say "already exists, skipping".

use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use postgres_native_tls::MakeTlsConnector;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio_postgres::config::{self, Config};
use tokio_postgres::error::{DbError, SqlState};
use tokio_postgres::{AsyncMessage, Client, NoTls, SimpleQueryMessage};

use crate::error::Error;
use crate::model::connection::{
    ChannelBinding, ConnectionSettings, Host, LoadBalanceHosts, Server, SslMode, SslNegotiation,
    TargetSessionAttrs,
};
use crate::model::secret::Secret;

use super::attempt::{self, Cause, Failure};
use super::cancel::Canceller;
use super::tls::{self, Witnessed};

/// A session that has ended counts for the server until its process is gone: a limit that is
/// reached is tried again for so long,
const FULL_WAIT: Duration = Duration::from_secs(3);

/// with so much between two tries.
const FULL_PAUSE: Duration = Duration::from_millis(50);

/// A target that sessions can be opened to. Cheap to clone; its TLS is set up once.
#[derive(Clone)]
pub struct Connector {
    settings: Arc<ConnectionSettings>,
    tls: Option<MakeTlsConnector>,
}

/// A session, and what is known about how it came to be.
#[derive(Debug)]
pub struct Connection {
    /// What statements are sent through.
    pub client: Client,
    /// The task that moves the bytes; it ends by itself when the client is dropped.
    pub driver: JoinHandle<()>,
    /// Which of the servers answered.
    pub server: Server,
    /// Whether TLS is spoken.
    pub encrypted: bool,
}

/// Opens one session. Whoever opens several to a target makes one [`Connector`] for them.
pub async fn connect(settings: &ConnectionSettings) -> Result<Connection, Error> {
    Connector::new(settings.clone())?.connect().await
}

impl Connector {
    /// Reads certificates and keys, and sets up TLS.
    pub fn new(settings: ConnectionSettings) -> Result<Self, Error> {
        let tls = tls::connector(&settings)?;
        Ok(Self { settings: Arc::new(settings), tls })
    }

    /// Where it connects.
    pub fn settings(&self) -> &ConnectionSettings {
        &self.settings
    }

    /// The same cluster, another database.
    #[must_use]
    pub fn with_database(&self, database: &str) -> Self {
        self.towards(self.settings.with_database(database))
    }

    /// The same target, as another role; see [`ConnectionSettings::with_login`].
    #[must_use]
    pub fn with_login(&self, user: &str, password: Option<&Secret>) -> Self {
        self.towards(self.settings.with_login(user, password))
    }

    /// The same target under this `application_name`, unless the user chose one.
    #[must_use]
    pub fn with_default_application_name(&self, name: &str) -> Self {
        self.towards(self.settings.with_default_application_name(name))
    }

    /// TLS knows neither database nor role nor name, so it is shared.
    fn towards(&self, settings: ConnectionSettings) -> Self {
        Self { settings: Arc::new(settings), tls: self.tls.clone() }
    }

    /// Opens a session to the first server that fits.
    pub async fn connect(&self) -> Result<Connection, Error> {
        self.connect_or_failures().await.map_err(|failures| self.report(&failures))
    }

    /// Makes what can stop a running statement of a session of this target.
    pub fn canceller(&self, client: &Client) -> Canceller {
        Canceller::new(client, self.tls.clone(), self.settings.connect_timeout)
    }

    pub(super) fn report(&self, failures: &[Failure]) -> Error {
        attempt::report(&self.settings, failures)
    }

    /// As [`Self::connect`], for who needs the driver's own error as well.
    pub(super) async fn connect_or_failures(&self) -> Result<Connection, Vec<Failure>> {
        let deadline = Instant::now() + FULL_WAIT;
        loop {
            match self.try_in_rounds().await {
                Err(failures)
                    if Instant::now() < deadline
                        && failures.last().is_some_and(Failure::is_full) =>
                {
                    tokio::time::sleep(FULL_PAUSE).await;
                }
                done => return done,
            }
        }
    }

    async fn try_in_rounds(&self) -> Result<Connection, Vec<Failure>> {
        let wanted = self.settings.target_session_attrs;
        if wanted == TargetSessionAttrs::PreferStandby {
            // libpq's two rounds: what failed in the first is tried, and told, again.
            if let Ok(found) = self.try_servers(TargetSessionAttrs::Standby).await {
                return Ok(found);
            }
            return self.try_servers(TargetSessionAttrs::Any).await;
        }
        self.try_servers(wanted).await
    }

    async fn try_servers(&self, wanted: TargetSessionAttrs) -> Result<Connection, Vec<Failure>> {
        let mut failures = Vec::new();
        for server in self.order() {
            for target in addresses(server, &mut failures).await {
                match self.try_address(&target, wanted).await {
                    Ok(connection) => return Ok(connection),
                    Err(more) => {
                        let over = more.last().is_some_and(Failure::is_final);
                        failures.extend(more);
                        if over {
                            return Err(failures);
                        }
                    }
                }
            }
        }
        Err(failures)
    }

    fn order(&self) -> Vec<&Server> {
        let mut servers: Vec<&Server> = self.settings.servers.iter().collect();
        if self.settings.load_balance_hosts == LoadBalanceHosts::Random {
            for last in (1..servers.len()).rev() {
                // Without randomness the order as written is as good as any.
                let random = getrandom::u64().unwrap_or_default();
                let chosen = usize::try_from(random % (last as u64 + 1)).unwrap_or_default();
                servers.swap(last, chosen);
            }
        }
        servers
    }

    /// Tries the ways of encryption at one address, in libpq's order.
    async fn try_address(
        &self,
        server: &Server,
        wanted: TargetSessionAttrs,
    ) -> Result<Connection, Vec<Failure>> {
        let mode = if server.is_unix() { SslMode::Disable } else { self.settings.tls.mode };
        let (first, second) = match mode {
            SslMode::Disable => (config::SslMode::Disable, None),
            SslMode::Allow => (config::SslMode::Disable, Some(config::SslMode::Require)),
            SslMode::Prefer => (config::SslMode::Prefer, Some(config::SslMode::Disable)),
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => {
                (config::SslMode::Require, None)
            }
        };
        let (failure, spoke_tls) = match self.attempt(server, first, wanted).await {
            Ok(connection) => return Ok(connection),
            Err(failed) => failed,
        };
        let worth_another = match mode {
            SslMode::Allow => failure.is_refused_login(),
            SslMode::Prefer => {
                matches!(failure.cause, Cause::Handshake(_))
                    || (spoke_tls && failure.is_refused_login())
            }
            _ => false,
        };
        match second.filter(|_| worth_another) {
            None => Err(vec![failure]),
            Some(second) => match self.attempt(server, second, wanted).await {
                Ok(connection) => {
                    log::info!(
                        "{} TLS because sslmode is {mode}: {failure}",
                        if connection.encrypted { "with" } else { "without" }
                    );
                    Ok(connection)
                }
                Err((again, _)) => Err(vec![failure, again]),
            },
        }
    }

    /// One attempt within the time limit; a failure comes with whether TLS was begun.
    async fn attempt(
        &self,
        server: &Server,
        mode: config::SslMode,
        wanted: TargetSessionAttrs,
    ) -> Result<Connection, (Failure, bool)> {
        let tls = self.tls.clone().map(Witnessed::new);
        let begun = tls.as_ref().map(Witnessed::begun).unwrap_or_default();
        let config = driver_config(&self.settings, server, mode);
        let session = async {
            let (client, driver) = match tls {
                Some(tls) if mode != config::SslMode::Disable => {
                    let (client, connection) = config.connect(tls).await?;
                    (client, drive(connection))
                }
                _ => {
                    let (client, connection) = config.connect(NoTls).await?;
                    (client, drive(connection))
                }
            };
            let fits = fits(&client, wanted).await?;
            Ok::<_, tokio_postgres::Error>((client, driver, fits))
        };
        let outcome = match self.settings.connect_timeout {
            Some(limit) => match tokio::time::timeout(limit, session).await {
                Ok(outcome) => outcome.map_err(Some),
                Err(_) => Err(None),
            },
            None => session.await.map_err(Some),
        };
        let encrypted = begun.load(Ordering::Relaxed);
        let cause = match outcome {
            Ok((client, driver, true)) => {
                return Ok(Connection { client, driver, server: server.clone(), encrypted });
            }
            Ok((_, _, false)) => Cause::Unfit(wanted),
            Err(None) => Cause::Timeout(self.settings.connect_timeout.unwrap_or(Duration::ZERO)),
            Err(Some(error)) => cause_of(error, mode, encrypted),
        };
        Err((Failure { server: server.clone(), cause }, encrypted))
    }
}

/// The servers behind a name: one per address, so that each is told and timed on its own.
async fn addresses(server: &Server, failures: &mut Vec<Failure>) -> Vec<Server> {
    let Host::Tcp { name, address: None } = &server.host else { return vec![server.clone()] };
    let found: io::Result<Vec<IpAddr>> = tokio::net::lookup_host((name.as_str(), server.port))
        .await
        .map(|found| found.map(|address| address.ip()).collect());
    match found {
        Ok(found) => found
            .into_iter()
            .map(|address| Server {
                host: Host::Tcp { name: name.clone(), address: Some(address) },
                port: server.port,
            })
            .collect(),
        Err(error) => {
            failures.push(Failure { server: server.clone(), cause: Cause::Lookup(error) });
            Vec::new()
        }
    }
}

/// What the driver must know for one attempt at one server.
fn driver_config(settings: &ConnectionSettings, server: &Server, mode: config::SslMode) -> Config {
    let mut config = Config::new();
    match &server.host {
        Host::Tcp { name, address } => {
            config.host(name);
            address.map(|address| config.hostaddr(address));
        }
        #[cfg(unix)]
        Host::Unix(path) => {
            config.host_path(path);
        }
        #[cfg(not(unix))]
        Host::Unix(path) => {
            config.host(path.to_string_lossy());
        }
    }
    config
        .port(server.port)
        .user(&settings.user)
        .dbname(&settings.database)
        .application_name(&settings.application_name)
        .ssl_mode(mode)
        .ssl_negotiation(match settings.tls.negotiation {
            SslNegotiation::Postgres => config::SslNegotiation::Postgres,
            SslNegotiation::Direct => config::SslNegotiation::Direct,
        })
        .channel_binding(match settings.channel_binding {
            ChannelBinding::Disable => config::ChannelBinding::Disable,
            ChannelBinding::Prefer => config::ChannelBinding::Prefer,
            ChannelBinding::Require => config::ChannelBinding::Require,
        })
        .keepalives(settings.tcp.keepalives);
    if let Some(options) = &settings.options {
        config.options(options);
    }
    if let Some(password) = settings.password_for(server) {
        config.password(password.expose());
    }
    settings.tcp.idle.map(|idle| config.keepalives_idle(idle));
    settings.tcp.interval.map(|interval| config.keepalives_interval(interval));
    settings.tcp.count.map(|count| config.keepalives_retries(count));
    settings.tcp.user_timeout.map(|timeout| config.tcp_user_timeout(timeout));
    config
}

/// Sorts out what the driver reports: it has one type for everything, and hides its kinds.
fn cause_of(error: tokio_postgres::Error, mode: config::SslMode, begun: bool) -> Cause {
    use std::error::Error as _;
    let source = error.source();
    let from_tls =
        source.is_some_and(|source| source.downcast_ref::<native_tls::Error>().is_some());
    // In TLS 1.3 the server judges our certificate after our side of the handshake is over.
    let alert = begun
        && error.as_db_error().is_none()
        && source.is_some_and(|source| source.to_string().contains(" alert "));
    if from_tls || alert {
        return Cause::Handshake(error);
    }
    let refused_tls = mode == config::SslMode::Require
        && !begun
        && source.is_some_and(|source| source.to_string() == "server does not support TLS");
    if refused_tls { Cause::NoTls } else { Cause::Driver(error) }
}

/// Whether the server is of the kind that is wanted. One question, and none when any will do.
async fn fits(client: &Client, wanted: TargetSessionAttrs) -> Result<bool, tokio_postgres::Error> {
    if matches!(wanted, TargetSessionAttrs::Any | TargetSessionAttrs::PreferStandby) {
        return Ok(true);
    }
    let answer = client
        .simple_query(
            "SELECT pg_catalog.pg_is_in_recovery(), \
             pg_catalog.current_setting('transaction_read_only')",
        )
        .await?;
    let row = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some((row.get(0) == Some("t"), row.get(1) == Some("on"))),
        _ => None,
    });
    Ok(row.is_some_and(|(in_recovery, read_only)| match wanted {
        TargetSessionAttrs::ReadWrite => !read_only,
        TargetSessionAttrs::ReadOnly => read_only,
        TargetSessionAttrs::Primary => !in_recovery,
        TargetSessionAttrs::Standby => in_recovery,
        TargetSessionAttrs::Any | TargetSessionAttrs::PreferStandby => true,
    }))
}

/// Moves the bytes of a session until its client is dropped, and logs what the server volunteers.
fn drive<S, T>(mut connection: tokio_postgres::Connection<S, T>) -> JoinHandle<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    tokio::spawn(async move {
        loop {
            match poll_fn(|context| connection.poll_message(context)).await {
                Some(Ok(AsyncMessage::Notice(notice))) => log_notice(&notice),
                Some(Ok(_)) => {}
                // Whoever waits for an answer is told as well; a session that idles has nobody.
                Some(Err(error)) => {
                    log::debug!("the session ended: {error}");
                    return;
                }
                None => return,
            }
        }
    })
}

fn log_notice(notice: &DbError) {
    let skipped = [
        SqlState::DUPLICATE_TABLE,
        SqlState::DUPLICATE_OBJECT,
        SqlState::DUPLICATE_SCHEMA,
        SqlState::DUPLICATE_COLUMN,
        // A session is cleaned with ROLLBACK whether or not a transaction was left open.
        SqlState::NO_ACTIVE_SQL_TRANSACTION,
    ];
    if skipped.contains(notice.code()) {
        return;
    }
    let level = match notice.severity() {
        "WARNING" => log::Level::Info,
        _ => log::Level::Debug,
    };
    log::log!(level, "{}: {}", notice.severity(), notice.message());
}

impl Connection {
    /// Ends the session politely, and waits until the server has been told.
    pub async fn close(self) {
        drop(self.client);
        // The driver neither panics nor is aborted; whatever it says, the session is over.
        drop(self.driver.await);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::error::Code;
    use crate::model::connection::{Password, TcpSettings, TlsSettings, TlsVersion};
    use crate::model::secret::Secret;

    /// A listener of this machine that says one thing to whoever connects.
    async fn listener(says: &[u8]) -> Server {
        let says = says.to_vec();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut first = [0; 8];
                stream.read_exact(&mut first).await.unwrap();
                stream.write_all(&says).await.unwrap();
                held.push(stream);
            }
        });
        Server { host: Host::Tcp { name: "127.0.0.1".to_owned(), address: None }, port }
    }

    /// A server's refusal, as it stands on the wire.
    fn refusal(sqlstate: &str, message: &str) -> Vec<u8> {
        let fields = format!("SFATAL\0VFATAL\0C{sqlstate}\0M{message}\0\0");
        let length = u32::try_from(fields.len() + 4).unwrap();
        [b"E", length.to_be_bytes().as_slice(), fields.as_bytes()].concat()
    }

    fn settings(servers: Vec<Server>, mode: SslMode) -> ConnectionSettings {
        ConnectionSettings {
            servers,
            user: "app".to_owned(),
            database: "app".to_owned(),
            password: Password::Given(Secret::new("hunter2")),
            application_name: "tenantctl".to_owned(),
            options: None,
            connect_timeout: Some(Duration::from_millis(300)),
            target_session_attrs: TargetSessionAttrs::Any,
            load_balance_hosts: LoadBalanceHosts::Disable,
            channel_binding: ChannelBinding::Prefer,
            tls: TlsSettings {
                mode,
                negotiation: SslNegotiation::Postgres,
                root_certificate: None,
                client_certificate: None,
                client_key: None,
                client_key_password: None,
                min_version: TlsVersion::V1_2,
                max_version: None,
                server_name_indication: true,
            },
            tcp: TcpSettings {
                keepalives: true,
                idle: None,
                interval: None,
                count: None,
                user_timeout: None,
            },
            warnings: Vec::new(),
            origins: BTreeMap::new(),
        }
    }

    async fn failure(servers: Vec<Server>, mode: SslMode) -> (Code, String, Vec<String>) {
        use std::error::Error as _;
        let error = connect(&settings(servers, mode)).await.unwrap_err();
        assert!(!format!("{error:?}").contains("hunter2"));
        (error.code, error.source().unwrap().to_string(), error.hints)
    }

    #[tokio::test]
    async fn a_server_without_tls_is_refused_when_tls_is_required() {
        let (code, told, hints) = failure(vec![listener(b"N").await], SslMode::Require).await;
        assert_eq!(code, Code::AuthFailed);
        assert!(told.ends_with("the server does not offer TLS"), "{told}");
        assert!(hints.iter().any(|hint| hint.contains("ssl = on")), "{hints:?}");
    }

    #[tokio::test]
    async fn a_server_that_never_answers_is_given_up_and_the_next_is_tried() {
        let silent = listener(b"").await;
        let refusing = Server { port: 1, ..silent.clone() };
        let (code, told, _) = failure(vec![silent, refusing], SslMode::Disable).await;
        assert_eq!(code, Code::Unreachable);
        assert!(told.contains("no session within"), "{told}");
        assert!(told.contains("127.0.0.1:1: "), "{told}");
    }

    #[tokio::test]
    async fn a_refused_login_ends_the_search() {
        let servers = vec![listener(&refusal("28P01", "wrong word")).await, listener(b"").await];
        let (code, told, _) = failure(servers, SslMode::Disable).await;
        assert_eq!(code, Code::AuthFailed);
        assert!(told.ends_with("wrong word") && !told.contains(';'), "{told}");
    }

    #[tokio::test]
    async fn a_server_that_is_starting_up_does_not_end_the_search() {
        let servers = vec![listener(&refusal("57P03", "starting up")).await, listener(b"").await];
        let (code, told, hints) = failure(servers, SslMode::Disable).await;
        assert_eq!(code, Code::Unreachable);
        assert!(told.contains("starting up; "), "{told}");
        assert!(hints.iter().any(|hint| hint.contains("try again")), "{hints:?}");
    }

    #[tokio::test]
    async fn a_pool_s_caller_is_told_the_whole_reason() {
        let connector =
            Connector::new(settings(vec![listener(b"N").await], SslMode::Require)).unwrap();
        let manager = deadpool_postgres::Manager::from_connect(
            Config::new(),
            connector,
            deadpool_postgres::ManagerConfig::default(),
        );
        let pool = deadpool_postgres::Pool::builder(manager).max_size(1).build().unwrap();
        let error = crate::pg::checkout::checkout(pool.get()).await.err().unwrap();
        assert_eq!(error.code, Code::AuthFailed);
        assert!(error.to_string().starts_with("connect to postgresql://app@127.0.0.1"));
    }

    #[tokio::test]
    async fn what_is_not_postgresql_is_told_so() {
        let web = listener(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        let (code, told, _) = failure(vec![web], SslMode::Disable).await;
        assert_eq!(code, Code::Unreachable, "{told}");
    }
}
