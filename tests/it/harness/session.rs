//! One connection, used from blocking code.

use tokio::runtime::Runtime;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

/// A connection that stays open, with its transaction, locks and settings, until it is dropped.
pub struct Session {
    // Dropped first: the connection's task, which lives in the runtime, then sees its end.
    client: Client,
    runtime: Runtime,
}

/// What the server refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlFailure {
    pub sqlstate: String,
    pub message: String,
}

impl Session {
    /// Connects without TLS.
    pub fn open(url: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let config: Config = url.parse().unwrap();
        let client = runtime.block_on(async {
            let (client, connection) = config
                .connect(NoTls)
                .await
                .unwrap_or_else(|error| panic!("connect to {url}: {error:?}"));
            tokio::spawn(connection);
            client
        });
        Self { client, runtime }
    }

    /// Connects, or says why the server did not let it.
    pub fn attempt_open(url: &str) -> Result<Self, SqlFailure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let config: Config = url.parse().unwrap();
        let connected = runtime.block_on(async {
            let (client, connection) = config.connect(NoTls).await?;
            tokio::spawn(connection);
            Ok(client)
        });
        match connected {
            Ok(client) => Ok(Self { client, runtime }),
            Err(error) => Err(refusal(&error)),
        }
    }

    /// Runs statements that must succeed.
    #[track_caller]
    pub fn sql(&mut self, sql: &str) {
        self.rows(sql);
    }

    /// Runs a query that must succeed; every value as text, a null as `NULL`.
    #[track_caller]
    pub fn rows(&mut self, sql: &str) -> Vec<Vec<String>> {
        match self.attempt(sql) {
            Ok(rows) => rows,
            Err(failure) => panic!("{}: {}\nin {sql}", failure.sqlstate, failure.message),
        }
    }

    /// Runs statements that may be refused.
    pub fn attempt(&mut self, sql: &str) -> Result<Vec<Vec<String>>, SqlFailure> {
        let answer = self
            .runtime
            .block_on(self.client.simple_query(sql))
            .map_err(|error: tokio_postgres::Error| refusal(&error))?;
        Ok(answer
            .iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => Some(
                    (0..row.len()).map(|at| row.get(at).unwrap_or("NULL").to_owned()).collect(),
                ),
                _ => None,
            })
            .collect())
    }
}

fn refusal(error: &tokio_postgres::Error) -> SqlFailure {
    match error.as_db_error() {
        Some(db) => {
            SqlFailure { sqlstate: db.code().code().to_owned(), message: db.message().to_owned() }
        }
        None => SqlFailure { sqlstate: "08000".to_owned(), message: error.to_string() },
    }
}
