//! What `set` needs of the registry and the servers: a tenant's facts, what its tier gave it, and
//! which settings the operator may not give.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::types::Type;

use super::answer::failed;
use super::observe::tenant::database;
use super::registry::has_table;
use super::session::Session;
use crate::error::Error;
use crate::model::ident::Ident;
use crate::model::tenant::{Tenant, TenantId};

/// Writes a tenant's tier, region and labels.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn write_facts(session: &Session, tenant: &Tenant) -> Result<(), Error> {
    let labels = serde_json::to_value(&tenant.labels).unwrap_or_default();
    session
        .client()
        .query_typed(
            "UPDATE tenantctl.tenants SET tier = $2, region = $3, labels = $4, updated_at = now() \
             WHERE id = $1",
            &[
                (&tenant.id.as_str(), Type::TEXT),
                (&tenant.tier, Type::TEXT),
                (&tenant.region, Type::TEXT),
                (&labels, Type::JSONB),
            ],
        )
        .await
        .map_err(|error| failed(error, format!("write the facts of tenant {}", tenant.id)))?;
    Ok(())
}

/// Reads the names of settings that tiers gave to tenants; nothing where the registry is older than
/// that.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn given(session: &Session) -> Result<BTreeMap<TenantId, BTreeSet<String>>, Error> {
    let attempt = "read what tiers gave to tenants";
    if !has_table(session, "limits", attempt).await? {
        return Ok(BTreeMap::new());
    }
    let rows = session
        .client()
        .query_typed("SELECT tenant, settings FROM tenantctl.limits", &[])
        .await
        .map_err(|error| failed(error, attempt))?;
    rows.iter()
        .map(|row| {
            let names: Vec<String> = row.get(1);
            Ok((TenantId::new(row.get::<_, String>(0))?, names.into_iter().collect()))
        })
        .collect()
}

/// Writes the names of settings that a tenant's tier gives it, beside those that it gave before.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn note_given(
    session: &Session,
    tenant: &TenantId,
    names: &BTreeSet<String>,
) -> Result<(), Error> {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    session
        .client()
        .query_typed(
            "INSERT INTO tenantctl.limits (tenant, settings) VALUES ($1, $2) \
             ON CONFLICT (tenant) DO UPDATE SET settings = ( \
               SELECT array_agg(DISTINCT name ORDER BY name) \
               FROM unnest(limits.settings || excluded.settings) name), noted_at = clock_timestamp()",
            &[(&tenant.as_str(), Type::TEXT), (&names, Type::TEXT_ARRAY)],
        )
        .await
        .map_err(|error| failed(error, format!("note what the tier gives to tenant {tenant}")))?;
    Ok(())
}

/// Forgets what tiers gave to a tenant that is no more.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn forget(session: &Session, tenant: &TenantId) -> Result<(), Error> {
    session
        .client()
        .query_typed(
            "DELETE FROM tenantctl.limits WHERE tenant = $1",
            &[(&tenant.as_str(), Type::TEXT)],
        )
        .await
        .map_err(|error| failed(error, format!("forget what tiers gave to tenant {tenant}")))?;
    Ok(())
}

/// Those of some settings that the operator may not give to roles: only a superuser may, or whoever
/// was granted it (PostgreSQL 15).
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn forbidden(
    session: &Session,
    names: &BTreeSet<String>,
) -> Result<BTreeSet<String>, Error> {
    let attempt = "ask which settings the operator may give";
    let client = session.client();
    let server = super::observe::tenant::server(client).await?;
    if server.superuser || names.is_empty() {
        return Ok(BTreeSet::new());
    }
    let wanted: Vec<&str> = names.iter().map(String::as_str).collect();
    let granted = if server.version >= 150_000 {
        "AND NOT pg_catalog.has_parameter_privilege(current_user, w.name, 'SET')"
    } else {
        ""
    };
    // What has a dot belongs to nobody that the server knows.
    let query = format!(
        "SELECT w.name FROM unnest($1::text[]) AS w(name) \
         LEFT JOIN pg_catalog.pg_settings s ON pg_catalog.lower(s.name) = w.name \
         WHERE (s.context IN ('superuser', 'superuser-backend') \
                OR (s.name IS NULL AND w.name LIKE '%.%' AND $2)) {granted}"
    );
    let dotted = server.version >= 150_000;
    let rows = client
        .query_typed(&query, &[(&wanted, Type::TEXT_ARRAY), (&dotted, Type::BOOL)])
        .await
        .map_err(|error| failed(error, attempt))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// The settings of a database, for whoever connects to it; none when there is no such database.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn database_settings(
    session: &Session,
    name: &Ident,
) -> Result<Option<BTreeMap<String, String>>, Error> {
    Ok(database(session.client(), name.as_str()).await?.map(|facts| facts.settings))
}
