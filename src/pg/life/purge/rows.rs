//! The rows of a tenant in tables that others use.

use std::collections::BTreeMap;

use tokio_postgres::Client;

use crate::error::Error;
use crate::model::holdings::{HeldTable, Holdings};
use crate::model::ident::{Ident, QualifiedName};
use crate::model::layout::CLOSED_TABLE;
use crate::model::life::Household;
use crate::pg::answer::failed;
use crate::pg::execute::until_won;
use crate::pg::session::Session;
use crate::plan::life::{conceal, empty_at_once, empty_slice, goes_at_once, hush, reveal, unhush};
use crate::plan::transfer;
use crate::sql;
use crate::sql::{Literal, Sql};

/// What every transaction in the tenant's tables begins with.
pub(super) fn begin(house: &Household, role: &Ident) -> Sql {
    let context = house.sharing.as_ref().map_or_else(
        || sql!(""),
        |sharing| {
            let setting = Literal(sharing.tenancy.setting.as_str());
            sql!(
                "; SELECT pg_catalog.set_config({}, {}, true)",
                setting,
                Literal(&house.tenant.key)
            )
        },
    );
    sql!(
        "BEGIN; SET LOCAL ROLE {}; SET LOCAL lock_timeout = '2s'; SET LOCAL statement_timeout = 0; \
         SET LOCAL client_min_messages = warning{}",
        role,
        context
    )
}

/// Counts the tenant's rows in every table, whatever policies hide from whom.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn count(
    session: &Session,
    house: &Household,
    holdings: &Holdings,
) -> Result<BTreeMap<QualifiedName, u64>, Error> {
    let mut counts = BTreeMap::new();
    for (name, table) in &holdings.tables {
        let statement = transfer::count(name, table, &house.tenant.key);
        let before = reveal(holdings, name, table);
        let attempt = format!("count the rows of tenant {} in {name}", house.tenant.id);
        let counted = std::cell::Cell::new(0);
        until_won(|| async {
            let rows =
                inside(session.client(), house, &table.owner, &before, &statement, &[], false);
            counted.set(rows.await.map_err(|error| failed(error, attempt.clone()))?);
            Ok(())
        })
        .await?;
        counts.insert(name.clone(), counted.get());
    }
    Ok(counts)
}

/// One transaction: what comes before, a statement that answers a number, what comes after.
pub(super) async fn inside(
    client: &Client,
    house: &Household,
    role: &Ident,
    before: &[Sql],
    statement: &Sql,
    after: &[Sql],
    keep: bool,
) -> Result<u64, tokio_postgres::Error> {
    let work = async {
        client.batch_execute(begin(house, role).as_str()).await?;
        for one in before {
            client.batch_execute(one.as_str()).await?;
        }
        let rows = client.query_typed(statement.as_str(), &[]).await?;
        for one in after {
            client.batch_execute(one.as_str()).await?;
        }
        let number: i64 = rows.first().map(|row| row.get(0)).unwrap_or_default();
        client.batch_execute(if keep { "COMMIT" } else { "ROLLBACK" }).await?;
        Ok(number.unsigned_abs())
    };
    let done = work.await;
    if done.is_err() {
        let ended = client.batch_execute("ROLLBACK").await;
        log::debug!("rolled back: {ended:?}");
    }
    done
}

/// Takes all rows of one group of tables out: of tables that hang together at once, of others in
/// slices, each a transaction.
///
/// # Errors
///
/// Whatever the server refuses. What was taken out before stays out.
pub async fn empty(
    session: &Session,
    house: &Household,
    holdings: &Holdings,
    group: &[QualifiedName],
) -> Result<(), Error> {
    let held: Vec<(&QualifiedName, &HeldTable)> =
        group.iter().filter_map(|name| holdings.tables.get_key_value(name)).collect();
    let Some((first, table)) = held.first() else {
        return Ok(());
    };
    let key = &house.tenant.key;
    let at_once = goes_at_once(holdings, group);
    let statement =
        if at_once { empty_at_once(holdings, group, key) } else { empty_slice(first, table, key) };
    let mut before = Vec::new();
    let mut after = Vec::new();
    for (name, table) in &held {
        before.extend(reveal(holdings, name, table));
        before.extend(hush(name, table));
        after.extend(unhush(name, table));
        after.extend(conceal(holdings, name, table));
    }
    dedup(&mut before);
    dedup(&mut after);
    let attempt = format!("remove the rows of tenant {} from {first}", house.tenant.id);
    loop {
        let gone = std::cell::Cell::new(0);
        until_won(|| async {
            let done =
                inside(session.client(), house, &table.owner, &before, &statement, &after, true);
            gone.set(done.await.map_err(|error| failed(error, attempt.clone()))?);
            Ok(())
        })
        .await?;
        if at_once || gone.get() == 0 {
            return Ok(());
        }
    }
}

fn dedup(statements: &mut Vec<Sql>) {
    let mut seen = std::collections::BTreeSet::new();
    statements.retain(|statement| seen.insert(statement.clone()));
}

/// Takes the tenant from those that are closed: it has no rows any more that could be.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn reopen_rows(session: &Session, house: &Household) -> Result<(), Error> {
    let schema = &house.tenant.placement.schema;
    let attempt = || format!("forget that tenant {} is closed", house.tenant.id);
    let table = QualifiedName::new(schema.clone(), Ident::new(CLOSED_TABLE)?);
    let there = session
        .client()
        .query_typed(
            sql!("SELECT to_regclass({}) IS NOT NULL", Literal(&table.to_string())).as_str(),
            &[],
        )
        .await
        .map_err(|error| failed(error, attempt()))?;
    if !there.first().is_some_and(|row| row.get::<_, bool>(0)) {
        return Ok(());
    }
    let Some(sharing) = &house.sharing else {
        return Ok(());
    };
    let statement = sql!(
        "WITH gone AS (DELETE FROM {} WHERE {}::text = {} RETURNING 1) SELECT pg_catalog.count(*) FROM gone",
        table,
        sharing.tenancy.column,
        Literal(&house.tenant.key)
    );
    inside(session.client(), house, &house.tenant.owner, &[], &statement, &[], true)
        .await
        .map_err(|error| failed(error, attempt()))?;
    Ok(())
}
