//! Keeps writers of one tenant out of a place, and everybody else in.
//!
//! A trigger refuses every row of the tenant that is written, removed or changed, whoever writes: the
//! statement fails, and none looks as if it had succeeded. Making it waits for those who have written
//! and are not done, so that behind it nothing comes any more. In shared tables it looks at this
//! tenant's rows alone.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::place::{Place, having_trigger, own_name};
use crate::error::{Code, Error};
use crate::model::holdings::{HeldTable, Holdings};
use crate::model::ident::{Ident, QualifiedName};
use crate::pg::answer::failed;
use crate::sql;
use crate::sql::{Literal, Sql};

/// What our triggers and their function are called.
pub(super) const PREFIX: &str = "tenantctl_closed";

/// How long others may be held up by our waiting for a lock on a shared table.
const SHARED_LOCK: Duration = Duration::from_millis(250);

/// As much where nobody else is.
const OWN_LOCK: Duration = Duration::from_secs(2);

/// Between two attempts, so that those who queued up behind us get on.
const PAUSE: Duration = Duration::from_millis(150);

fn function(place: &Place<'_>) -> Result<QualifiedName, Error> {
    Ok(QualifiedName::new(place.tenant.placement.schema.clone(), Ident::new(PREFIX)?))
}

fn body() -> Sql {
    sql!(
        "BEGIN \
           IF TG_OP = 'TRUNCATE' THEN \
             IF pg_catalog.current_setting('tenantctl.move', true) = TG_ARGV[0] THEN RETURN NULL; END IF; \
           ELSIF pg_catalog.current_setting('tenantctl.move', true) = TG_ARGV[0] THEN \
             IF TG_OP = 'DELETE' THEN RETURN OLD; END IF; \
             RETURN NEW; \
           END IF; \
           RAISE EXCEPTION 'tenant % is being moved: it cannot be written here', TG_ARGV[1] \
             USING ERRCODE = 'read_only_sql_transaction', \
                   HINT = 'Try again when it is open again, or in the place that it has moved to.'; \
         END"
    )
}

/// The triggers that close one table.
fn triggers(place: &Place<'_>, name: &QualifiedName, table: &HeldTable) -> Result<Sql, Error> {
    let id = place.tenant.uuid;
    let call = sql!(
        "EXECUTE FUNCTION {}({}, {})",
        function(place)?,
        Literal(&place.id.to_string()),
        Literal(place.tenant.id.as_str())
    );
    let (new, old) = (own_name(PREFIX, id, "_new")?, own_name(PREFIX, id, "_old")?);
    if let Some(column) = table.tenant_column() {
        let kind = table.column(column).map_or_else(String::new, |column| column.kind.clone());
        let key = sql!("{}::{}", Literal(&place.tenant.key), Sql::from_catalog(&kind));
        return Ok(sql!(
            "CREATE TRIGGER {} BEFORE INSERT OR UPDATE ON {} FOR EACH ROW WHEN (NEW.{} = {}) {}; \
             CREATE TRIGGER {} BEFORE UPDATE OR DELETE ON {} FOR EACH ROW WHEN (OLD.{} = {}) {}",
            new,
            name,
            column,
            key,
            call,
            old,
            name,
            column,
            key,
            call
        ));
    }
    if place.is_shared() {
        // Whose the row is, says the row that it refers to: a condition cannot look there.
        return Err(Error::new(
            Code::Refused,
            format!("close table {name}: it has no tenant column, and other tenants write it"),
        )
        .hint("a tenant can be moved out of it when each row says whose it is"));
    }
    Ok(sql!(
        "CREATE TRIGGER {} BEFORE INSERT OR UPDATE OR DELETE ON {} FOR EACH ROW {}; \
         CREATE TRIGGER {} BEFORE TRUNCATE ON {} FOR EACH STATEMENT {}",
        new,
        name,
        call,
        old,
        name,
        call
    ))
}

/// The tables that are not closed yet.
async fn open_tables<'h>(
    place: &Place<'_>,
    holdings: &'h Holdings,
) -> Result<Vec<(&'h QualifiedName, &'h HeldTable)>, Error> {
    let closed = closed_tables(place, holdings).await?;
    Ok(holdings.tables.iter().filter(|(name, _)| !closed.contains(*name)).collect())
}

async fn closed_tables(
    place: &Place<'_>,
    holdings: &Holdings,
) -> Result<BTreeSet<QualifiedName>, Error> {
    let schemas: BTreeSet<&str> = holdings.tables.keys().map(|name| name.schema.as_str()).collect();
    let schemas: Vec<&str> = schemas.into_iter().collect();
    // The second of a table's triggers is there when both are.
    let trigger = own_name(PREFIX, place.tenant.uuid, "_old")?;
    having_trigger(place, &schemas, trigger.as_str())
        .await?
        .into_iter()
        .map(|(schema, name)| Ok(QualifiedName::new(Ident::new(schema)?, Ident::new(name)?)))
        .collect()
}

/// How far a place is closed to writers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Closed {
    /// Something of it is, or was and left something behind.
    pub any: bool,
    /// Every table is: nobody can write the tenant's rows there, this move excepted.
    pub all: bool,
}

/// Looks how far a place is closed to writers.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn closed(place: &Place<'_>, holdings: &Holdings) -> Result<Closed, Error> {
    let closed = closed_tables(place, holdings).await?;
    let all =
        !holdings.tables.is_empty() && holdings.tables.keys().all(|name| closed.contains(name));
    Ok(Closed { any: !closed.is_empty() || has_function(place).await?, all })
}

async fn has_function(place: &Place<'_>) -> Result<bool, Error> {
    let made = function(place)?;
    let found = sql!(
        "SELECT p.proname::text FROM pg_catalog.pg_proc p \
         JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
         WHERE n.nspname = {} AND p.proname = {}",
        Literal(made.schema.as_str()),
        Literal(made.name.as_str())
    );
    Ok(!super::place::texts(place, &found, "look who is kept out").await?.is_empty())
}

/// Closes every table at once, and returns when nobody who wrote before is still at it. Waits for
/// them for so long, in turns, so that nobody waits for us.
///
/// # Errors
///
/// [`Code::LockBusy`] when somebody writes on for longer than `wait`; nothing is closed then.
pub async fn close(place: &Place<'_>, holdings: &Holdings, wait: Duration) -> Result<(), Error> {
    let open = open_tables(place, holdings).await?;
    if open.is_empty() {
        return Ok(());
    }
    let mut statements = Vec::new();
    for (name, table) in open {
        statements.push(triggers(place, name, table)?);
    }
    let statements = Sql::joined(&statements, "; ");
    let what = "close the tables";
    patiently(place, wait, what, async |lock| {
        let made = function(place)?;
        let there = has_function(place).await?;
        let create = if there {
            sql!("")
        } else {
            sql!(
                "CREATE FUNCTION {}() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS {}; \
                 REVOKE ALL ON FUNCTION {}() FROM PUBLIC; ",
                made,
                Literal(body().as_str()),
                made
            )
        };
        // What others committed before is on disk when this is, and in the log that is read.
        let all = sql!(
            "{}; SET LOCAL synchronous_commit = on; {}{}; COMMIT",
            place.enter(false, lock),
            create,
            statements
        );
        place.run(&all, what).await
    })
    .await
}

/// Opens every table again, one after the other, and leaves nothing behind.
///
/// # Errors
///
/// [`Code::LockBusy`] when a table stays locked for longer than `wait`; run it again.
pub async fn open(place: &Place<'_>, holdings: &Holdings, wait: Duration) -> Result<(), Error> {
    let what = "open the tables";
    let id = place.tenant.uuid;
    for name in holdings.tables.keys() {
        let (new, old) = (own_name(PREFIX, id, "_new")?, own_name(PREFIX, id, "_old")?);
        patiently(place, wait, what, async |lock| {
            // A table that is open is not locked for it.
            if !closed_tables(place, holdings).await?.contains(name) {
                return Ok(());
            }
            let all = sql!(
                "{}; DROP TRIGGER IF EXISTS {} ON {}; DROP TRIGGER IF EXISTS {} ON {}; COMMIT",
                place.enter(false, lock),
                new,
                name,
                old,
                name
            );
            place.run(&all, what).await
        })
        .await?;
    }
    // Another tenant of the same tables may be on its way: its triggers keep the function.
    let drop = sql!(
        "{}; DROP FUNCTION IF EXISTS {}(); COMMIT",
        place.enter(false, OWN_LOCK),
        function(place)?
    );
    match place.run(&drop, what).await {
        Err(error) if sqlstate(&error) == Some("2BP01") => {
            let ended = place.session.client().batch_execute("ROLLBACK").await;
            ended.map_err(|error| failed(error, place.attempt(what)))
        }
        done => done,
    }
}

pub(super) fn sqlstate(error: &Error) -> Option<&str> {
    error.answer.as_ref().map(|answer| answer.sqlstate.as_str())
}

/// Tries until it has the locks: each attempt waits for a moment only, because whoever comes after
/// us waits as long as we do.
pub(super) async fn patiently(
    place: &Place<'_>,
    wait: Duration,
    what: &str,
    attempt: impl AsyncFn(Duration) -> Result<(), Error>,
) -> Result<(), Error> {
    let deadline = Instant::now() + wait;
    let lock = if place.is_shared() { SHARED_LOCK } else { OWN_LOCK };
    loop {
        let Err(error) = attempt(lock).await else {
            return Ok(());
        };
        let ended = place.session.client().batch_execute("ROLLBACK").await;
        log::debug!("rolled back: {ended:?}");
        let lost = matches!(
            sqlstate(&error),
            Some("55P03" | "40P01" | "42710" | "42723" | "23505" | "XX000")
        );
        if !lost {
            return Err(error);
        }
        if Instant::now() >= deadline {
            let message = format!(
                "{}: somebody uses a table for longer than {} s",
                place.attempt(what),
                wait.as_secs_f32()
            );
            return Err(Error::new(Code::LockBusy, message)
                .because(error)
                .hint("wait for that transaction, or end it; then run the same command again"));
        }
        tokio::time::sleep(PAUSE).await;
    }
}
