//! Compares a table in two places, each on its own server: rows are counted and hashed there, and two
//! numbers travel.

use std::time::Duration;

use super::place::Place;
use crate::error::{Code, Error};
use crate::model::holdings::{HeldTable, Holdings};
use crate::model::ident::{Ident, QualifiedName};
use crate::model::moving::Sum;
use crate::pg::answer::failed;
use crate::plan::moving::mapping::{Mapped, Mapping};
use crate::sql;
use crate::sql::Sql;

/// The rows of a table, in a form that does not depend on their order: their number, and the sum of
/// their SHA-256's first halves. A row that is there twice counts twice.
fn summing(columns: &[Ident], from: &Sql) -> Sql {
    let columns: Vec<Sql> = columns.iter().map(|column| sql!("held.{}", column)).collect();
    let row = if columns.is_empty() {
        sql!("''")
    } else {
        sql!("ROW({})::text", Sql::joined(&columns, ", "))
    };
    sql!(
        "SELECT pg_catalog.count(*), coalesce(pg_catalog.sum(high::numeric), 0)::text, \
                coalesce(pg_catalog.sum(low::numeric), 0)::text \
         FROM (SELECT ('x' || pg_catalog.encode(pg_catalog.substr(hash, 1, 8), 'hex'))::bit(64)::int8 AS high, \
                      ('x' || pg_catalog.encode(pg_catalog.substr(hash, 9, 8), 'hex'))::bit(64)::int8 AS low \
               FROM (SELECT pg_catalog.sha256(pg_catalog.convert_to({}, 'UTF8')) AS hash{} OFFSET 0) AS hashed) AS halves",
        row,
        from
    )
}

/// Sums one table, inside a transaction of the place.
pub(super) async fn sum(
    place: &Place<'_>,
    name: &QualifiedName,
    table: &HeldTable,
    columns: &[Ident],
) -> Result<Sum, Error> {
    place.run(&place.becoming(name, table)?, "compare the rows").await?;
    sum_of(place, name, columns, &place.rows(name, table)).await
}

async fn sum_of(
    place: &Place<'_>,
    name: &QualifiedName,
    columns: &[Ident],
    from: &Sql,
) -> Result<Sum, Error> {
    let attempt = || place.attempt(&format!("sum the rows of {}", name.name));
    let rows = place
        .session
        .client()
        .query_typed(summing(columns, from).as_str(), &[])
        .await
        .map_err(|error| failed(error, attempt()))?;
    let row = rows.first().ok_or_else(|| Error::new(Code::Bug, attempt()))?;
    let (high, low): (&str, &str) = (row.get(1), row.get(2));
    Ok(Sum { table: name.name.clone(), rows: row.get(0), hash: format!("{high}:{low}") })
}

/// Sums every table that moves, in one snapshot of the place.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn sums(
    place: &Place<'_>,
    holdings: &Holdings,
    mapping: &Mapping,
    at: impl Fn(&Mapped) -> &QualifiedName,
) -> Result<Vec<Sum>, Error> {
    let what = "compare the rows";
    place.run(&place.enter(true, Duration::from_secs(10)), what).await?;
    let all = async {
        let mut all = Vec::new();
        for mapped in mapping.tables() {
            let name = at(mapped);
            if let Some(table) = holdings.tables.get(name) {
                all.push(sum(place, name, table, &mapped.columns).await?);
            }
        }
        Ok(all)
    };
    let all = all.await;
    place.end(all, what).await
}

/// Whether tables that are nobody's on one side hold the same rows in both places, or none where the
/// tenant has them for itself. Answers with those that do not.
///
/// # Errors
///
/// Whatever a server refuses.
pub async fn references_agree(
    source: &Place<'_>,
    target: &Place<'_>,
    mapping: &Mapping,
) -> Result<Vec<Ident>, Error> {
    let mut differ = Vec::new();
    if mapping.references.is_empty() {
        return Ok(differ);
    }
    let what = "compare what tenants share";
    source.run(&source.enter(true, Duration::from_secs(10)), what).await?;
    target.run(&target.enter(true, Duration::from_secs(10)), what).await?;
    let compared = async {
        for mapped in &mapping.references {
            let of = |name: &QualifiedName| sql!(" FROM {} AS held", name);
            let here = sum_of(source, &mapped.source, &mapped.columns, &of(&mapped.source)).await?;
            let there =
                sum_of(target, &mapped.target, &mapped.columns, &of(&mapped.target)).await?;
            // What the tenant alone has, it needs; what it shares, others may have put there.
            let empty =
                if source.is_shared() { there.rows == 0 && here.rows == 0 } else { here.rows == 0 };
            if here != there && !empty {
                differ.push(mapped.source.name.clone());
            }
        }
        Ok(())
    };
    let compared = compared.await;
    let ended = target.end(compared, what).await;
    source.end(ended, what).await?;
    Ok(differ)
}

/// The tables of whose rows a team's own policies hide some from whoever copies them.
///
/// # Errors
///
/// Whatever the server refuses; `lock-busy` when a table is in use for too long.
pub async fn hidden(place: &Place<'_>, holdings: &Holdings) -> Result<Vec<Ident>, Error> {
    let mut hidden = Vec::new();
    let what = "look for rows that policies hide";
    for (name, table) in &holdings.tables {
        if !(table.rls && table.forced && !table.foreign_policies.is_empty()) {
            continue;
        }
        let counted = async |free: bool| {
            let count = sql!("SELECT pg_catalog.count(*)::text{}", place.rows(name, table));
            place.run(&place.enter(false, Duration::from_secs(2)), what).await?;
            let lift = if free {
                sql!("ALTER TABLE {} NO FORCE ROW LEVEL SECURITY", name)
            } else {
                place.becoming(name, table)?
            };
            let counted = match place.run(&lift, what).await {
                Ok(()) => super::place::texts(place, &count, what).await,
                Err(error) => Err(error),
            };
            // Nobody ever sees the table without its policies.
            place.run(&sql!("ROLLBACK"), what).await?;
            counted
        };
        if counted(false).await? != counted(true).await? {
            hidden.push(name.name.clone());
        }
    }
    Ok(hidden)
}
