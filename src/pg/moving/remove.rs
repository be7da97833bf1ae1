//! Removes what a tenant has in one of the two places of a move, and what was made for it there.

use std::time::Duration;

use tokio_postgres::types::Type;

use super::copy::wipe;
use super::place::Place;
use super::{closing, sealing};
use crate::error::{Code, Error};
use crate::model::holdings::Holdings;
use crate::model::ident::{Ident, QualifiedName};
use crate::model::tenant::{Isolation, Tenant};
use crate::pg::answer::failed;
use crate::pg::life::purge::{let_go, take_back};
use crate::pg::session::Session;
use crate::sql;
use crate::sql::{List, Sql};

/// So many tables go in one transaction: a lock on each, its indexes and its sequences must fit into
/// the server's table of locks.
const SLICE: usize = 40;

/// Removes rows from shared tables, or a schema with all that is in it. What refers to it from
/// outside keeps it.
///
/// # Errors
///
/// [`Code::Refused`] when something outside would fall with it, and whatever the server refuses.
pub async fn remove_rows(
    place: &Place<'_>,
    holdings: &Holdings,
    wait: Duration,
) -> Result<(), Error> {
    if place.is_shared() {
        // Triggers of others fire here; whoever reads is let in at the end, and finds nothing.
        wipe(place, holdings).await?;
        sealing::unseal_place(place, holdings, &serde_json::Value::Null, wait).await?;
        return closing::open(place, holdings, wait).await;
    }
    drop_schema(place, holdings).await
}

async fn drop_schema(place: &Place<'_>, holdings: &Holdings) -> Result<(), Error> {
    let schema = &place.tenant.placement.schema;
    let what = "remove the schema";
    let outside = dependents(place, schema).await?;
    if let Some(first) = outside.first() {
        return Err(Error::new(
            Code::Refused,
            format!("{}: {first} is made of what is in it", place.attempt(what)),
        )
        .hint("drop it, or make it without this schema; then run the same command again"));
    }
    let tables: Vec<&QualifiedName> =
        holdings.tables.keys().filter(|name| name.schema == *schema).collect();
    for slice in tables.chunks(SLICE) {
        let drop = sql!(
            "{}; DROP TABLE IF EXISTS {} CASCADE; COMMIT",
            place.enter(false, Duration::from_secs(10)),
            List(slice)
        );
        place.run(&drop, what).await?;
    }
    // In a database that is not the tenant's the owner may not drop what the operator made for it.
    let drop = sql!(
        "BEGIN; SET LOCAL lock_timeout = '10s'; SET LOCAL client_min_messages = warning; \
         DROP SCHEMA IF EXISTS {} CASCADE; COMMIT",
        schema
    );
    place.run(&drop, what).await
}

/// Views and keys outside of a schema that are made of what is in it.
async fn dependents(place: &Place<'_>, schema: &Ident) -> Result<Vec<String>, Error> {
    let rows = place
        .session
        .client()
        .query_typed(
            "SELECT DISTINCT 'view ' || v.oid::regclass::text FROM pg_catalog.pg_depend d \
             JOIN pg_catalog.pg_rewrite w ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND w.oid = d.objid \
             JOIN pg_catalog.pg_class v ON v.oid = w.ev_class \
             JOIN pg_catalog.pg_class c ON d.refclassid = 'pg_catalog.pg_class'::regclass AND c.oid = d.refobjid \
             JOIN pg_catalog.pg_namespace cn ON cn.oid = c.relnamespace \
             JOIN pg_catalog.pg_namespace vn ON vn.oid = v.relnamespace \
             WHERE cn.nspname = $1 AND vn.nspname <> $1 \
             UNION ALL \
             SELECT 'foreign key ' || k.conname || ' of ' || k.conrelid::regclass::text FROM pg_catalog.pg_constraint k \
             JOIN pg_catalog.pg_class p ON p.oid = k.confrelid JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace \
             JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace cn ON cn.oid = c.relnamespace \
             WHERE k.contype = 'f' AND pn.nspname = $1 AND cn.nspname <> $1 ORDER BY 1",
            &[(&schema.as_str(), Type::TEXT)],
        )
        .await
        .map_err(|error| failed(error, place.attempt("look what refers to the schema")))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Who was made for the tenant in a place, and who of them it uses in the other one as well.
#[derive(Clone, Debug, Default)]
pub struct Roles {
    /// Roles of this place alone: they go with it.
    pub going: Vec<Ident>,
    /// Second logins of those: they own nothing, and go first.
    pub logins: Vec<Ident>,
    /// Roles that serve the tenant in both places: what they were given here is taken back.
    pub staying: Vec<Ident>,
}

/// Removes the tenant's database, and its roles.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn remove_database(server: &Session, tenant: &Tenant) -> Result<(), Error> {
    let database = &tenant.placement.database;
    let attempt = || format!("remove database {database} of tenant {}", tenant.id);
    let client = server.client();
    let rows = client
        .query_typed(
            "SELECT FROM pg_catalog.pg_database WHERE datname = $1",
            &[(&database.as_str(), Type::TEXT)],
        )
        .await
        .map_err(|error| failed(error, attempt()))?;
    if rows.is_empty() {
        return Ok(());
    }
    // Without FORCE the server ends what it does there by itself (autovacuum), and waits for others;
    // with it, it ends others, and an operator who is no superuser may not end the server's own.
    let plain = sql!("DROP DATABASE IF EXISTS {}", database);
    let force = sql!("DROP DATABASE IF EXISTS {} WITH (FORCE)", database);
    for statement in [&plain, &force, &plain, &force] {
        match client.batch_execute(statement.as_str()).await {
            Ok(()) => return Ok(()),
            Err(error) => log::debug!("{}", failed(error, attempt())),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    client.batch_execute(plain.as_str()).await.map_err(|error| failed(error, attempt()))
}

/// Takes back what roles were given in a place that is gone, and drops those that served it alone.
/// `session` is in the database of the place, or in any other when that is gone with it.
///
/// # Errors
///
/// Whatever the server refuses: a role that owns something elsewhere stays.
pub async fn remove_roles(session: &Session, tenant: &Tenant, roles: &Roles) -> Result<(), Error> {
    let client = session.client();
    let attempt = |what: &str| format!("{what} of tenant {} on {}", tenant.id, session.cluster());
    let there = client
        .query_typed(
            "SELECT rolname::text FROM pg_catalog.pg_roles WHERE rolname = ANY ($1)",
            &[(
                &roles
                    .going
                    .iter()
                    .chain(&roles.logins)
                    .chain(&roles.staying)
                    .map(Ident::as_str)
                    .collect::<Vec<_>>(),
                Type::TEXT_ARRAY,
            )],
        )
        .await
        .map_err(|error| failed(error, attempt("look for the roles")))?;
    let there: Vec<String> = there.iter().map(|row| row.get(0)).collect();
    let exists = |role: &&Ident| there.iter().any(|name| name == role.as_str());
    let in_place = tenant.isolation != Isolation::Database;
    let mut statements: Vec<Sql> = Vec::new();
    if in_place {
        for role in roles.staying.iter().filter(exists) {
            statements.push(sql!(
                "ALTER ROLE {} IN DATABASE {} RESET ALL",
                role,
                tenant.placement.database
            ));
            // Its new functions in this database are anybody's again, as the server has it.
            if *role == tenant.owner {
                statements.push(sql!(
                    "ALTER DEFAULT PRIVILEGES FOR ROLE {} GRANT EXECUTE ON FUNCTIONS TO PUBLIC",
                    role
                ));
            }
        }
        for role in roles.going.iter().filter(exists) {
            // From PostgreSQL 16 on the operator may become an application's role without having its
            // rights.
            statements.push(match tenant.isolation {
                Isolation::Shared => take_back(role, &tenant.owner),
                Isolation::Schema | Isolation::Database => let_go(role),
            });
        }
    }
    for role in roles.logins.iter().chain(&roles.going).filter(exists) {
        statements.push(sql!("DROP ROLE {}", role));
    }
    for statement in &statements {
        client
            .batch_execute(statement.as_str())
            .await
            .map_err(|error| failed(error, attempt("remove the roles")))?;
    }
    Ok(())
}
