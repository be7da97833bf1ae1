//! Closes a place that a tenant has left to its readers: whoever did not hear of the move is told,
//! instead of reading what is no longer true.

use std::time::Duration;

use serde_json::{Value, json};
use tokio_postgres::types::Type;

use super::closing::patiently;
use super::place::{Place, own_name};
use crate::error::Error;
use crate::model::holdings::Holdings;
use crate::model::ident::{Ident, QualifiedName};
use crate::pg::answer::failed;
use crate::sql;
use crate::sql::{List, Literal, Sql};

/// What our policies are called.
pub(super) const PREFIX: &str = "tenantctl_moved";

/// What closing a place to readers will take away, to be kept before it is.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn doors(place: &Place<'_>) -> Result<Value, Error> {
    if place.is_shared() {
        return Ok(json!({"rows": true}));
    }
    let schema = &place.tenant.placement.schema;
    let rows = place
        .session
        .client()
        .query_typed(
            "SELECT coalesce(r.rolname::text, ''), x.is_grantable FROM pg_catalog.pg_namespace n, \
                    LATERAL pg_catalog.aclexplode(n.nspacl) x \
             LEFT JOIN pg_catalog.pg_roles r ON r.oid = x.grantee \
             WHERE n.nspname = $1 AND x.privilege_type = 'USAGE' AND x.grantee <> n.nspowner \
             ORDER BY 1",
            &[(&schema.as_str(), Type::TEXT)],
        )
        .await
        .map_err(|error| failed(error, place.attempt("look who reads the schema")))?;
    let usage: Vec<Value> = rows
        .iter()
        .map(|row| json!({"role": row.get::<_, String>(0), "option": row.get::<_, bool>(1)}))
        .collect();
    Ok(json!({"usage": usage}))
}

/// Closes the place: `taken` is what [`doors`] found.
///
/// # Errors
///
/// `lock-busy` when a table stays locked for longer than `wait`, and whatever the server refuses.
pub async fn seal_place(
    place: &Place<'_>,
    holdings: &Holdings,
    taken: &Value,
    wait: Duration,
) -> Result<(), Error> {
    if place.is_shared() {
        return seal_rows(place, holdings, wait).await;
    }
    let schema = &place.tenant.placement.schema;
    let mut statements = vec![place.enter(false, Duration::from_secs(5))];
    for one in taken.get("usage").and_then(Value::as_array).into_iter().flatten() {
        let role = grantee(one.get("role").and_then(Value::as_str).unwrap_or_default())?;
        statements.push(sql!("REVOKE USAGE ON SCHEMA {} FROM {}", schema, role));
    }
    statements.push(sql!("COMMIT"));
    let statements = Sql::joined(&statements, "; ");
    let what = "close the schema to readers";
    patiently(place, wait, what, async |_| place.run(&statements, what).await).await
}

fn grantee(role: &str) -> Result<Sql, Error> {
    if role.is_empty() {
        return Ok(sql!("PUBLIC"));
    }
    Ok(sql!("{}", Ident::new(role)?))
}

/// Gives back what was taken away.
///
/// # Errors
///
/// As [`seal_place`].
pub async fn unseal_place(
    place: &Place<'_>,
    holdings: &Holdings,
    taken: &Value,
    wait: Duration,
) -> Result<(), Error> {
    let what = "open the place to readers";
    if place.is_shared() {
        let policy = own_name(PREFIX, place.tenant.uuid, "")?;
        for name in sealed_tables(place, &policy).await? {
            if !holdings.tables.contains_key(&name) {
                continue;
            }
            patiently(place, wait, what, async |lock| {
                let all = sql!(
                    "{}; DROP POLICY IF EXISTS {} ON {}; COMMIT",
                    place.enter(false, lock),
                    policy,
                    name
                );
                place.run(&all, what).await
            })
            .await?;
        }
        return Ok(());
    }
    let schema = &place.tenant.placement.schema;
    let mut statements = vec![place.enter(false, Duration::from_secs(5))];
    for one in taken.get("usage").and_then(Value::as_array).into_iter().flatten() {
        let role = grantee(one.get("role").and_then(Value::as_str).unwrap_or_default())?;
        let option = match one.get("option").and_then(Value::as_bool) {
            Some(true) => sql!(" WITH GRANT OPTION"),
            _ => sql!(""),
        };
        statements.push(sql!("GRANT USAGE ON SCHEMA {} TO {}{}", schema, role, option));
    }
    statements.push(sql!("COMMIT"));
    let statements = Sql::joined(&statements, "; ");
    patiently(place, wait, what, async |_| place.run(&statements, what).await).await
}

/// The rows of this tenant make whoever reads them fail, with words that say why; other tenants'
/// rows pass at the first comparison.
async fn seal_rows(place: &Place<'_>, holdings: &Holdings, wait: Duration) -> Result<(), Error> {
    let what = "close the rows to readers";
    let policy = own_name(PREFIX, place.tenant.uuid, "")?;
    let sealed = sealed_tables(place, &policy).await?;
    for (name, table) in &holdings.tables {
        let Some(column) = table.tenant_column().filter(|_| table.rls && !sealed.contains(name))
        else {
            continue;
        };
        let kind = table.column(column).map_or_else(String::new, |column| column.kind.clone());
        // Not computed before a row is there: the words begin with a column.
        let condition = sql!(
            "{} IS DISTINCT FROM {}::{} OR ({}::text || ': this tenant has moved to another place')::boolean",
            column,
            Literal(&place.tenant.key),
            Sql::from_catalog(&kind),
            column
        );
        patiently(place, wait, what, async |lock| {
            let all = sql!(
                "{}; CREATE POLICY {} ON {} AS RESTRICTIVE FOR SELECT TO {} USING ({}); COMMIT",
                place.enter(false, lock),
                policy,
                name,
                List(&place.tenant.roles),
                condition
            );
            place.run(&all, what).await
        })
        .await?;
    }
    Ok(())
}

async fn sealed_tables(place: &Place<'_>, policy: &Ident) -> Result<Vec<QualifiedName>, Error> {
    let rows = place
        .session
        .client()
        .query_typed(
            "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_policy p \
             JOIN pg_catalog.pg_class c ON c.oid = p.polrelid \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE p.polname = $1 ORDER BY 1, 2",
            &[(&policy.as_str(), Type::TEXT)],
        )
        .await
        .map_err(|error| failed(error, place.attempt("look what is closed to readers")))?;
    rows.iter()
        .map(|row| {
            let part = |at| Ident::new(row.get::<_, String>(at));
            Ok(QualifiedName::new(part(0)?, part(1)?))
        })
        .collect()
}
