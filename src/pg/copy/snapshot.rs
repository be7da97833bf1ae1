//! One tenant's rows as they stood at one moment, in all of its tables.

use std::collections::BTreeMap;

use super::stream::{Rows, Shape};
use crate::error::{Code, Error};
use crate::model::holdings::{HeldTable, Holdings};
use crate::model::ident::{Ident, QualifiedName};
use crate::model::layout::Tenancy;
use crate::model::tally::Tally;
use crate::model::tenant::Tenant;
use crate::pg::answer::failed;
use crate::pg::observe::holdings::holdings;
use crate::pg::session::Session;
use crate::plan::transfer;
use crate::sql;
use crate::sql::{List, Literal, Sql};

/// So many tables are counted by one statement.
const BATCH: usize = 50;

/// Limits that were not made for what runs for as long as there are rows; a name that this server
/// does not know is left out.
pub(super) const PATIENCE: &str = "SELECT pg_catalog.set_config(name, '0', true) FROM pg_catalog.pg_settings \
     WHERE name IN ('statement_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout')";

/// Values are written as every server reads them, whatever the session is set to.
pub(super) fn spelling() -> Sql {
    sql!(
        "SET LOCAL client_encoding = 'UTF8'; SET LOCAL DateStyle = 'ISO, YMD'; \
         SET LOCAL IntervalStyle = 'postgres'; SET LOCAL TimeZone = 'UTC'; \
         SET LOCAL extra_float_digits = 3; SET LOCAL bytea_output = 'hex'; \
         SET LOCAL lc_monetary = 'C'; SET LOCAL xmloption = 'content'"
    )
}

/// A transaction that reads one tenant, and sees nothing that was committed after it began. Dropping
/// it leaves the transaction open: the session is to be dropped as well.
pub struct Snapshot<'s> {
    session: &'s Session,
    tenant: &'s Tenant,
    holdings: Holdings,
    server: u32,
    taken_at: String,
}

impl<'s> Snapshot<'s> {
    /// Begins, on a session of its own in the tenant's database. `seen_by` is the snapshot of
    /// another session ([`Snapshot::export`]): both then see the same moment.
    ///
    /// # Errors
    ///
    /// Whatever the server refuses, and as the tenant's holdings cannot be read.
    pub async fn open(
        session: &'s Session,
        tenant: &'s Tenant,
        tenancy: Option<&Tenancy>,
        seen_by: Option<&str>,
    ) -> Result<Self, Error> {
        let attempt = || format!("begin to read tenant {}", tenant.id);
        let client = session.client();
        let import = seen_by
            .map_or_else(|| sql!(""), |id| sql!("; SET TRANSACTION SNAPSHOT {}", Literal(id)));
        let begin = sql!(
            "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY{}; {}; \
             SET LOCAL lock_timeout = '10s'; SET LOCAL synchronize_seqscans = off; \
             SET LOCAL max_parallel_workers_per_gather = 0; SET LOCAL jit = off",
            import,
            spelling()
        );
        let begun = async {
            client.batch_execute(begin.as_str()).await?;
            client.batch_execute(PATIENCE).await?;
            if let Some(tenancy) = tenancy {
                client.batch_execute(context(tenancy, tenant).as_str()).await?;
            }
            Ok(())
        };
        begun.await.map_err(|error| failed(error, attempt()))?;
        let (server, taken_at) = moment(session, attempt()).await?;
        let holdings = holdings(client, tenant, tenancy).await?;
        let snapshot = Self { session, tenant, holdings, server, taken_at };
        snapshot.keep_tables().await?;
        Ok(snapshot)
    }

    /// Nobody drops or rewrites a table that is still to be read: one that is rewritten looks empty to
    /// whoever began before.
    async fn keep_tables(&self) -> Result<(), Error> {
        let mut by_owner: BTreeMap<&Ident, Vec<&QualifiedName>> = BTreeMap::new();
        for (name, table) in &self.holdings.tables {
            by_owner.entry(&table.owner).or_default().push(name);
        }
        for (owner, names) in by_owner {
            self.become_role(owner).await?;
            let statement = sql!("LOCK TABLE {} IN ACCESS SHARE MODE", List(&names));
            let attempt = || format!("keep the tables of tenant {} as they are", self.tenant.id);
            self.session
                .client()
                .batch_execute(statement.as_str())
                .await
                .map_err(|error| failed(error, attempt()))?;
        }
        Ok(())
    }

    /// The server's major version.
    pub fn server(&self) -> u32 {
        self.server
    }

    /// The moment, by the server's clock, RFC 3339.
    pub fn taken_at(&self) -> &str {
        &self.taken_at
    }

    /// What the tenant has.
    pub fn holdings(&self) -> &Holdings {
        &self.holdings
    }

    /// Lets other sessions of this database see the same moment, for as long as this one lasts.
    ///
    /// # Errors
    ///
    /// Whatever the server refuses.
    pub async fn export(&self) -> Result<String, Error> {
        let attempt = || format!("share the snapshot of tenant {}", self.tenant.id);
        let rows = self
            .session
            .client()
            .query_typed("SELECT pg_catalog.pg_export_snapshot()", &[])
            .await
            .map_err(|error| failed(error, attempt()))?;
        rows.first().map(|row| row.get(0)).ok_or_else(|| Error::new(Code::Bug, attempt()))
    }

    /// Counts the tenant's rows, table by table.
    ///
    /// # Errors
    ///
    /// Whatever the server refuses; `refused` where no policy lets anybody see them.
    pub async fn count(&self) -> Result<BTreeMap<QualifiedName, u64>, Error> {
        let mut by_reader: BTreeMap<Ident, Vec<(&QualifiedName, Sql)>> = BTreeMap::new();
        for (name, table) in &self.holdings.tables {
            let reader = transfer::reader(name, table, self.tenant)?;
            let count = transfer::count(name, table, &self.tenant.key);
            by_reader.entry(reader).or_default().push((name, count));
        }
        let mut counts = BTreeMap::new();
        for (reader, counted) in by_reader {
            self.become_role(&reader).await?;
            for batch in counted.chunks(BATCH) {
                let parts: Vec<Sql> = batch.iter().map(|(_, count)| sql!("({})", count)).collect();
                let statement = sql!("SELECT ARRAY[{}]", Sql::joined(&parts, ", "));
                let rows =
                    self.session.client().query_typed(statement.as_str(), &[]).await.map_err(
                        |error| {
                            failed(error, format!("count the rows of tenant {}", self.tenant.id))
                        },
                    )?;
                let found: Vec<i64> = rows.first().map(|row| row.get(0)).unwrap_or_default();
                counts.extend(
                    batch
                        .iter()
                        .zip(found)
                        .map(|((name, _), rows)| ((*name).clone(), rows.unsigned_abs())),
                );
            }
        }
        Ok(counts)
    }

    /// Begins to read columns of a table's rows of the tenant, in the order of the primary key.
    ///
    /// # Errors
    ///
    /// Whatever the server refuses; `refused` where no policy lets anybody see them.
    pub async fn rows(
        &self,
        name: &QualifiedName,
        table: &HeldTable,
        columns: &[Ident],
        shape: Shape,
        tally: Tally,
    ) -> Result<Rows, Error> {
        self.become_role(&transfer::reader(name, table, self.tenant)?).await?;
        let columns: Vec<Sql> = columns.iter().map(|column| sql!("held.{}", column)).collect();
        let select = transfer::select(name, table, &columns, &self.tenant.key);
        let what = format!("read {name} of tenant {}", self.tenant.id);
        Rows::begin(self.session, &select, shape, tally, what).await
    }

    /// Ends the transaction.
    ///
    /// # Errors
    ///
    /// Any failure of the session.
    pub async fn close(self) -> Result<(), Error> {
        self.session
            .client()
            .batch_execute("ROLLBACK")
            .await
            .map_err(|error| failed(error, format!("end reading tenant {}", self.tenant.id)))
    }

    async fn become_role(&self, role: &Ident) -> Result<(), Error> {
        let attempt = format!("read the rows of tenant {} as {role}", self.tenant.id);
        self.session
            .client()
            .batch_execute(sql!("SET LOCAL ROLE {}", role).as_str())
            .await
            .map_err(|error| failed(error, attempt))
    }
}

/// The server's major version, and its clock.
async fn moment(session: &Session, attempt: String) -> Result<(u32, String), Error> {
    let statement = "SELECT pg_catalog.current_setting('server_version_num')::int4 / 10000, \
         pg_catalog.to_char(pg_catalog.now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')";
    let rows = session
        .client()
        .query_typed(statement, &[])
        .await
        .map_err(|error| failed(error, attempt.clone()))?;
    let row = rows.first().ok_or_else(|| Error::new(Code::Bug, attempt))?;
    Ok((row.get::<_, i32>(0).unsigned_abs(), row.get(1)))
}

/// Makes the tenant the current one until the transaction ends.
pub(super) fn context(tenancy: &Tenancy, tenant: &Tenant) -> Sql {
    let setting = Literal(tenancy.setting.as_str());
    sql!("SELECT pg_catalog.set_config({}, {}, true)", setting, Literal(&tenant.key))
}

/// Reads what a tenant has, on a session in its database, inside the transaction that is open on it:
/// afterwards the transaction's search path is the tenant's schema, and its role the session's own.
///
/// # Errors
///
/// Whatever the server refuses; `not-found` when there is no such schema; `refused` for a shared
/// tenant of a layout without a tenant column.
pub async fn holdings_of(
    session: &Session,
    tenant: &Tenant,
    tenancy: Option<&Tenancy>,
) -> Result<Holdings, Error> {
    holdings(session.client(), tenant, tenancy).await
}
