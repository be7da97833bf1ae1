//! The registry: schema `tenantctl` in the control database, migrated by its own embedded set.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use super::answer::failed;
use super::decided::Decided;
use super::home::Limits;
use super::lock::{self, LockKey};
use super::session::Session;
use super::{history, refinery};
use crate::error::{Code, Error};
use crate::model::ident::Ident;
use crate::model::migration::{History, MigrationSet};
use crate::model::observed::{Observed, Registered};
use crate::model::pooling::Operation;
use crate::model::tenant::{ClusterName, Isolation, Placement, State, Tenant, TenantId};
use crate::plan::pending::decide;

/// The registry's schema.
pub const SCHEMA: &str = "tenantctl";

const COLUMNS: &str = "id, uuid, key, isolation, cluster, database, schema, owner, roles, tier, region, labels, state";

/// What the registry's history says about who may use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// There is none yet.
    Absent,
    /// It was made by an older tenantctl, and wants migrations.
    Behind,
    /// It is as this tenantctl knows it.
    Ready,
}

/// Reads whether there is a registry, and whether this tenantctl may use it.
///
/// # Errors
///
/// [`Code::RegistryNewer`] when a newer tenantctl migrated it; [`Code::HistoryDiverged`] when it
/// was changed by something else.
pub async fn readiness(session: &Session, set: &MigrationSet) -> Result<Readiness, Error> {
    let schema = Ident::new(SCHEMA)?;
    match history::of(session.client(), &schema).await? {
        None => Ok(Readiness::Absent),
        Some(history) => judge(&history, set),
    }
}

fn judge(history: &History, set: &MigrationSet) -> Result<Readiness, Error> {
    let ours = set.head();
    if let Some(theirs) = history.version()
        && ours.is_none_or(|ours| theirs > ours)
    {
        return Err(Error::new(
            Code::RegistryNewer,
            format!(
                "the registry is at version {theirs}; this tenantctl {} knows versions up to {}",
                env!("CARGO_PKG_VERSION"),
                ours.map_or_else(|| "none".to_owned(), |version| version.to_string())
            ),
        )
        .hint("install the newer tenantctl: an older one would not keep what it does not know"));
    }
    Ok(if decide(set, history, None)?.is_empty() { Readiness::Ready } else { Readiness::Behind })
}

/// Makes the registry, or brings it up to date. Costs one query when there is nothing to do.
///
/// # Errors
///
/// As [`readiness`], and [`Code::Permission`] when the operator may not create schemas.
pub async fn ensure(session: &Session, set: &MigrationSet) -> Result<(), Error> {
    if readiness(session, set).await? == Readiness::Ready {
        return Ok(());
    }
    let client = session.client();
    let key = LockKey::registry();
    session.require(Operation::Session, &key.attempt()).await?;
    lock::acquire(client, &key, Duration::from_secs(30)).await?;
    let done = migrate(session, set).await;
    // A failed session gives the lock back by ending; the failure that matters is the other one.
    if let Err(error) = lock::release(client, &key).await {
        log::debug!("{error}");
    }
    done
}

/// Whether the registry has a table by now: an older one may not have it.
pub(super) async fn has_table(
    session: &Session,
    table: &str,
    attempt: &str,
) -> Result<bool, Error> {
    let found = session
        .client()
        .query_typed(
            "SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = $1 AND c.relname = $2",
            &[(&SCHEMA, Type::TEXT), (&table, Type::TEXT)],
        )
        .await
        .map_err(|error| failed(error, attempt))?;
    Ok(!found.is_empty())
}

async fn migrate(session: &Session, set: &MigrationSet) -> Result<(), Error> {
    let client = session.client();
    let schema = Ident::new(SCHEMA)?;
    // Under the lock: another process may have done it meanwhile.
    let readiness = readiness(session, set).await?;
    if readiness == Readiness::Ready {
        return Ok(());
    }
    let exists = client
        .query_typed(
            "SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1",
            &[(&SCHEMA, Type::TEXT)],
        )
        .await
        .map_err(|error| failed(error, "look for the registry"))?;
    if exists.is_empty() {
        client.batch_execute("CREATE SCHEMA tenantctl").await.map_err(|error| {
            failed(
                error,
                format!("create the registry (schema {SCHEMA} in database {})", session.database()),
            )
            .hint(format!(
                "as the database's owner: GRANT CREATE ON DATABASE {} TO {};",
                session.database_ident(),
                session.user_ident()
            ))
        })?;
    }
    let history = history::of(client, &schema).await?;
    let files = refinery::Prepared::new(set)?;
    let order = refinery::Order {
        schema: &schema,
        role: None,
        limits: Limits::default(),
        files: &files,
        history: history.as_ref(),
        to: None,
        guard: refinery::Guard::Held,
        watcher: None,
        superuser: true,
        commit: refinery::Commit::Durable,
        inherited: true,
        repeatables: refinery::Repeating::default(),
    };
    let decided = Decided::new(&files, history.as_ref(), None).await?;
    refinery::migrate_at_once(client, &order, &decided)
        .await
        .map_err(|not_applied| not_applied.failure(&schema).1)?;
    Ok(())
}

/// Reads every tenant, in the order of their ids.
///
/// # Errors
///
/// Whatever the server refuses, and a row that this tenantctl cannot read.
pub async fn tenants(session: &Session) -> Result<Vec<Tenant>, Error> {
    let query = format!("SELECT {COLUMNS} FROM tenantctl.tenants ORDER BY id");
    let rows = session
        .client()
        .query_typed(&query, &[])
        .await
        .map_err(|error| failed(error, "read the registry"))?;
    rows.iter().map(tenant).collect()
}

/// Reads one tenant.
///
/// # Errors
///
/// As [`tenants`].
pub async fn find(session: &Session, id: &TenantId) -> Result<Option<Tenant>, Error> {
    let query = format!("SELECT {COLUMNS} FROM tenantctl.tenants WHERE id = $1");
    let rows = session
        .client()
        .query_typed(&query, &[(&id.as_str(), Type::TEXT)])
        .await
        .map_err(|error| failed(error, format!("read tenant {id} from the registry")))?;
    rows.first().map(tenant).transpose()
}

/// Reads what the registry knows that a plan for this tenant must know.
pub(super) async fn observe(
    client: &Client,
    tenant: &Tenant,
    observed: &mut Observed,
) -> Result<(), Error> {
    let placement = &tenant.placement;
    let rows = client
        .query_typed(
            "SELECT uuid, isolation, cluster, database, schema, owner, roles, state \
             FROM tenantctl.tenants WHERE id = $1",
            &[(&tenant.id.as_str(), Type::TEXT)],
        )
        .await
        .map_err(|error| failed(error, format!("read tenant {} from the registry", tenant.id)))?;
    observed.registered = match rows.first() {
        None => None,
        Some(row) => Some(Registered {
            uuid: row.get(0),
            isolation: row.get::<_, &str>(1).parse()?,
            placement: self::placement(row, 2)?,
            owner: Ident::new(row.get::<_, String>(5))?,
            roles: roles(row, 6)?,
            state: row.get::<_, &str>(7).parse()?,
        }),
    };
    let here: [(&(dyn ToSql + Sync), Type); 5] = [
        (&tenant.id.as_str(), Type::TEXT),
        (&placement.cluster.as_str(), Type::TEXT),
        (&placement.database.as_str(), Type::TEXT),
        (&placement.schema.as_str(), Type::TEXT),
        (&tenant.isolation.word(), Type::TEXT),
    ];
    // Who is there already: some who share the tables, or one who has the place to itself.
    let rows = client
        .query_typed(
            "SELECT coalesce(bool_or(shares AND active), false), min(id) FILTER (WHERE NOT shares) \
             FROM (SELECT id, isolation = 'shared' AND $5 = 'shared' AS shares, state = 'active' AS active \
                   FROM tenantctl.tenants WHERE id <> $1 AND state <> 'purged' AND cluster = $2 AND database = $3 \
                     AND (schema = $4 OR isolation = 'database' OR $5 = 'database')) neighbours",
            &here,
        )
        .await
        .map_err(|error| failed(error, "read the tenant's neighbours from the registry"))?;
    if let Some(row) = rows.first() {
        observed.neighbours = row.get(0);
        observed.holder = row.get::<_, Option<String>>(1).map(TenantId::new).transpose()?;
    }
    let rows = client
        .query_typed(
            "SELECT FROM tenantctl.tenants \
             WHERE id <> $1 AND cluster = $2 AND isolation = 'database' LIMIT 1",
            &here[..2],
        )
        .await
        .map_err(|error| failed(error, "read the tenant's peers from the registry"))?;
    observed.peers = !rows.is_empty();
    Ok(())
}

/// Writes a tenant's row and the event that explains it, in one transaction.
///
/// # Errors
///
/// [`Code::NameTaken`] when another tenant holds the schema, the database, the uuid or the key.
pub(super) async fn record(client: &Client, tenant: &Tenant, state: State) -> Result<(), Error> {
    write(
        client,
        "WITH row AS ( \
           INSERT INTO tenantctl.tenants (id, uuid, key, isolation, cluster, database, schema, owner, roles, \
                                          tier, region, labels, state) \
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) \
           ON CONFLICT (id) DO UPDATE SET state = excluded.state, updated_at = now() \
           RETURNING id) \
         INSERT INTO tenantctl.events (tenant, event, detail) \
         SELECT id, 'state', jsonb_build_object('state', $13) FROM row",
        tenant,
        state,
    )
    .await
}

/// Lets a tenant that was purged come back under its own id: it is being made from now on, in
/// whatever shape it has now.
///
/// # Errors
///
/// [`Code::NameTaken`] when another tenant holds the schema, the database or the key.
pub async fn readmit(session: &Session, tenant: &Tenant) -> Result<(), Error> {
    write(
        session.client(),
        "WITH row AS ( \
           UPDATE tenantctl.tenants SET key = $3, isolation = $4, cluster = $5, database = $6, schema = $7, \
                  owner = $8, roles = $9, tier = $10, region = $11, labels = $12, state = $13, \
                  state_before = NULL, closed = NULL, delete_after = NULL, updated_at = now() \
           WHERE id = $1 AND uuid = $2 AND state = 'purged' RETURNING id) \
         INSERT INTO tenantctl.events (tenant, event, detail) \
         SELECT id, 'state', jsonb_build_object('state', $13) FROM row",
        tenant,
        State::Provisioning,
    )
    .await
}

/// Runs a statement that writes a tenant's row: its columns from `$1` to `$12`, the state as `$13`.
async fn write(
    client: &Client,
    statement: &str,
    tenant: &Tenant,
    state: State,
) -> Result<(), Error> {
    let placement = &tenant.placement;
    let roles: Vec<&str> = tenant.roles.iter().map(Ident::as_str).collect();
    let labels = serde_json::to_value(&tenant.labels).unwrap_or_default();
    client
        .query_typed(
            statement,
            &[
                (&tenant.id.as_str(), Type::TEXT),
                (&tenant.uuid, Type::UUID),
                (&tenant.key, Type::TEXT),
                (&tenant.isolation.word(), Type::TEXT),
                (&placement.cluster.as_str(), Type::TEXT),
                (&placement.database.as_str(), Type::TEXT),
                (&placement.schema.as_str(), Type::TEXT),
                (&tenant.owner.as_str(), Type::TEXT),
                (&roles, Type::TEXT_ARRAY),
                (&tenant.tier, Type::TEXT),
                (&tenant.region, Type::TEXT),
                (&labels, Type::JSONB),
                (&state.word(), Type::TEXT),
            ],
        )
        .await
        .map_err(|error| {
            let taken = error.code() == Some(&tokio_postgres::error::SqlState::UNIQUE_VIOLATION);
            let mut error = failed(error, format!("record tenant {} as {state}", tenant.id));
            if taken {
                error.code = Code::NameTaken;
            }
            error
        })?;
    Ok(())
}

/// Adds to a tenant's audit trail: what was done to it by whoever is logged in, and why. What was
/// added cannot be changed; inside a transaction of `session` it stands and falls with it.
///
/// # Errors
///
/// [`Code::Permission`] when the role may not add events, and whatever else the server refuses.
pub async fn note_event(
    session: &Session,
    tenant: &TenantId,
    event: &str,
    detail: serde_json::Value,
) -> Result<(), Error> {
    session
        .client()
        .query_typed(
            "INSERT INTO tenantctl.events (tenant, event, detail) VALUES ($1, $2, $3)",
            &[(&tenant.as_str(), Type::TEXT), (&event, Type::TEXT), (&detail, Type::JSONB)],
        )
        .await
        .map_err(|error| {
            failed(error, format!("note {event:?} in the events of tenant {tenant}"))
        })?;
    Ok(())
}

fn tenant(row: &Row) -> Result<Tenant, Error> {
    let labels: serde_json::Value = row.get(11);
    Ok(Tenant {
        id: TenantId::new(row.get::<_, String>(0))?,
        uuid: row.get::<_, Uuid>(1),
        key: row.get(2),
        isolation: row.get::<_, &str>(3).parse::<Isolation>()?,
        placement: placement(row, 4)?,
        owner: Ident::new(row.get::<_, String>(7))?,
        roles: roles(row, 8)?,
        tier: row.get(9),
        region: row.get(10),
        labels: serde_json::from_value::<BTreeMap<String, String>>(labels).unwrap_or_default(),
        state: row.get::<_, &str>(12).parse::<State>()?,
    })
}

fn roles(row: &Row, at: usize) -> Result<Vec<Ident>, Error> {
    row.get::<_, Vec<String>>(at).into_iter().map(Ident::new).collect()
}

fn placement(row: &Row, from: usize) -> Result<Placement, Error> {
    Ok(Placement {
        cluster: ClusterName::new(row.get::<_, String>(from))?,
        database: Ident::new(row.get::<_, String>(from + 1))?,
        schema: Ident::new(row.get::<_, String>(from + 2))?,
    })
}
