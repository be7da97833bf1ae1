//! Copies everything that a tenant has from one place to the other, in one transaction there.
//!
//! Triggers that a team wrote would write rows of their own, or change those that are copied. Where
//! the tenant is alone they are disabled for the time of the transaction. In shared tables that would
//! keep everybody from writing, so they fire there, and what they wrote of the tenant's is replaced
//! by what was to be copied, until nothing differs.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::compare::sum;
use super::place::Place;
use crate::error::{Code, Error};
use crate::model::holdings::{Firing, HeldTable, Holdings};
use crate::model::ident::{Ident, QualifiedName};
use crate::model::moving::Sum;
use crate::model::tally::Tally;
use crate::pg::answer::failed;
use crate::pg::copy::{Filling, Rows, Shape};
use crate::plan::moving::mapping::{Mapped, Mapping};
use crate::plan::transfer;
use crate::sql;
use crate::sql::{List, Literal, Sql};

/// So often is replaced what triggers wrote.
const ROUNDS: usize = 4;

/// Into what rows are copied that policies will check. It is dropped in the transaction that makes
/// it, so that nobody ever sees it.
const INCOMING: &str = "tenantctl_incoming";

/// What a table took.
#[derive(Clone, Debug)]
pub struct Copied {
    /// The table.
    pub table: Ident,
    /// How many rows.
    pub rows: u64,
    /// How long it took.
    pub took: Duration,
}

/// The two places, what stands there, and what goes where.
struct Loading<'a> {
    source: &'a Place<'a>,
    target: &'a Place<'a>,
    here: &'a Holdings,
    there: &'a Holdings,
    mapping: &'a Mapping,
}

/// Replaces what the tenant has in the new place by what it has in the old one, as of one moment.
/// `begun` runs when the moment is fixed; `told` hears of each table. Returns the number of bytes.
///
/// # Errors
///
/// Whatever a server refuses, and [`Code::Refused`] when triggers of shared tables change what is
/// copied again and again. Nothing is copied then.
pub async fn load(
    (source, here): (&Place<'_>, &Holdings),
    (target, there): (&Place<'_>, &Holdings),
    mapping: &Mapping,
    begun: impl AsyncFnOnce() -> Result<(), Error>,
    told: impl Fn(&Copied),
) -> Result<u64, Error> {
    let what = "copy the rows";
    let loading = Loading { source, target, here, there, mapping };
    source.run(&source.enter(true, Duration::from_secs(10)), what).await?;
    let copied = async {
        // The first statement of a transaction fixes what it sees.
        begun().await?;
        target.run(&target.enter(false, Duration::from_secs(30)), what).await?;
        let copied = loading.all(&told).await;
        target.end(copied, what).await
    };
    let copied = copied.await;
    source.end(copied, what).await
}

/// Removes every row that the tenant has in a place, in one transaction; there may be none.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn wipe(place: &Place<'_>, holdings: &Holdings) -> Result<(), Error> {
    let what = "remove the rows";
    place.run(&place.enter(false, Duration::from_secs(30)), what).await?;
    let gone = empty(place, holdings, |_| true).await;
    place.end(gone, what).await
}

/// Renews what the server computes from tables: materialized views, and what the planner knows.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn refresh(place: &Place<'_>, holdings: &Holdings) -> Result<(), Error> {
    if place.is_shared() {
        return Ok(());
    }
    let what = "renew what is computed";
    for view in &holdings.derived {
        let all = sql!(
            "{}; REFRESH MATERIALIZED VIEW {}; COMMIT",
            place.enter(false, Duration::from_secs(10)),
            view
        );
        place.run(&all, what).await?;
    }
    let tables: Vec<&QualifiedName> = holdings.tables.keys().collect();
    if !tables.is_empty() {
        let all = sql!(
            "{}; ANALYZE {}; COMMIT",
            place.enter(false, Duration::from_secs(10)),
            List(&tables)
        );
        place.run(&all, what).await?;
    }
    Ok(())
}

/// Empties tables of the tenant's rows: children before parents, and again for as long as triggers
/// write new ones.
async fn empty(
    place: &Place<'_>,
    holdings: &Holdings,
    wanted: impl Fn(&QualifiedName) -> bool,
) -> Result<(), Error> {
    for _ in 0..=ROUNDS {
        let mut gone = 0;
        for group in transfer::unloading(holdings) {
            let mut deletes = Vec::new();
            for (at, name) in (1_i32..).zip(group.iter().filter(|name| wanted(name))) {
                let Some(table) = holdings.tables.get(name) else { continue };
                place.run(&place.becoming(name, table)?, "remove the rows").await?;
                let delete = sql!("DELETE{}", place.rows(name, table));
                deletes.push(sql!("removed_{} AS ({} RETURNING 1)", at, delete));
            }
            if deletes.is_empty() {
                continue;
            }
            let counts: Vec<Sql> = (1..)
                .take(deletes.len())
                .map(|at: i32| sql!("(SELECT pg_catalog.count(*) FROM removed_{})", at))
                .collect();
            let statement = sql!(
                "WITH {} SELECT ({})::int8",
                Sql::joined(&deletes, ", "),
                Sql::joined(&counts, " + ")
            );
            let attempt = || {
                let names: Vec<&str> = group.iter().map(|name| name.name.as_str()).collect();
                place.attempt(&format!("remove the rows in {}", names.join(", ")))
            };
            let rows = place
                .session
                .client()
                .query_typed(statement.as_str(), &[])
                .await
                .map_err(|error| failed(error, attempt()))?;
            gone += rows.first().map_or(0, |row| row.get::<_, i64>(0));
        }
        if gone == 0 {
            return Ok(());
        }
    }
    Err(Error::new(Code::Refused, place.attempt("remove the rows"))
        .hint("triggers write new rows whenever rows are removed"))
}

impl Loading<'_> {
    async fn all(&self, told: &impl Fn(&Copied)) -> Result<u64, Error> {
        let quiet = !self.target.is_shared();
        let mut bytes = 0;
        if quiet {
            silence(self.target, self.mapping, self.there, true).await?;
            self.truncate().await?;
        } else {
            empty(self.target, self.there, |name| self.is_mapped(name)).await?;
        }
        for group in &self.mapping.groups {
            bytes += self.group(group, told).await?;
        }
        if quiet {
            // What references each other is checked before the triggers come back.
            self.target.run(&sql!("SET CONSTRAINTS ALL IMMEDIATE"), "check the rows").await?;
            silence(self.target, self.mapping, self.there, false).await?;
        } else if self.there.tables.values().any(fires) {
            self.settle().await?;
        }
        Ok(bytes)
    }

    fn is_mapped(&self, name: &QualifiedName) -> bool {
        self.mapping.tables().any(|mapped| mapped.target == *name)
    }

    /// What migrations put there goes as well: it is among what is copied, if the tenant kept it.
    async fn truncate(&self) -> Result<(), Error> {
        let tables: Vec<&QualifiedName> =
            self.mapping.tables().map(|mapped| &mapped.target).collect();
        if tables.is_empty() {
            return Ok(());
        }
        self.target.run(&sql!("TRUNCATE {}", List(&tables)), "remove the rows").await
    }

    /// Tables that refer to each other are filled by one statement, because the server checks what
    /// they refer to at its end.
    async fn group(&self, group: &[Mapped], told: &impl Fn(&Copied)) -> Result<u64, Error> {
        let staged = group.len() > 1
            || group
                .iter()
                .any(|mapped| self.there.tables.get(&mapped.target).is_some_and(|table| table.rls));
        let mut bytes = 0;
        let mut inserts = Vec::new();
        let mut drops = Vec::new();
        let mut done = Vec::new();
        for (at, mapped) in (1..).zip(group) {
            let begun = Instant::now();
            let (Some(table), Some(other)) =
                (self.here.tables.get(&mapped.source), self.there.tables.get(&mapped.target))
            else {
                continue;
            };
            let columns: Vec<&Ident> = mapped.fill.iter().chain(&mapped.columns).collect();
            let into = if staged {
                let name = Ident::new(format!("{INCOMING}_{at}"))?;
                let incoming =
                    QualifiedName::new(self.target.tenant.placement.schema.clone(), name);
                self.stage(mapped, other, &columns, &incoming).await?;
                inserts.push((mapped, other, insert(mapped, &columns, &incoming)));
                drops.push(incoming.clone());
                incoming
            } else {
                mapped.target.clone()
            };
            let (rows, passed) = self.pass(mapped, table, other, &into, &columns).await?;
            bytes += passed;
            done.push((mapped, rows, begun));
        }
        self.insert_all(&inserts).await?;
        if !drops.is_empty() {
            self.target.run(&sql!("DROP TABLE {}", List(&drops)), "copy the rows").await?;
        }
        for (mapped, rows, begun) in done {
            told(&Copied { table: mapped.source.name.clone(), rows, took: begun.elapsed() });
        }
        Ok(bytes)
    }

    async fn stage(
        &self,
        mapped: &Mapped,
        other: &HeldTable,
        columns: &[&Ident],
        incoming: &QualifiedName,
    ) -> Result<(), Error> {
        let target = self.target;
        let writer = transfer::reader(&mapped.target, other, target.tenant)?;
        let statement = sql!(
            "SET LOCAL ROLE {}; CREATE UNLOGGED TABLE {} AS SELECT {} FROM {} WITH NO DATA; \
             GRANT SELECT ON {} TO {}",
            target.tenant.owner,
            incoming,
            List(columns),
            mapped.target,
            incoming,
            writer
        );
        target.run(&statement, "make room for the rows").await
    }

    async fn insert_all(&self, inserts: &[(&Mapped, &HeldTable, Sql)]) -> Result<(), Error> {
        let Some((first, table, _)) = inserts.first() else {
            return Ok(());
        };
        let target = self.target;
        let statement = match inserts {
            [(_, _, only)] => only.clone(),
            all => {
                let parts: Vec<Sql> = (1..)
                    .zip(all)
                    .map(|(at, (_, _, insert)): (i32, _)| sql!("filled_{} AS ({})", at, insert))
                    .collect();
                sql!("WITH {} SELECT", Sql::joined(&parts, ", "))
            }
        };
        let names: Vec<&str> =
            inserts.iter().map(|(mapped, ..)| mapped.target.name.as_str()).collect();
        let what = format!("copy into {}", names.join(", "));
        let all = sql!(
            "{}; {}; SET LOCAL ROLE {}",
            target.becoming(&first.target, table)?,
            statement,
            target.tenant.owner
        );
        target.run(&all, &what).await
    }

    /// Rows pass through in pieces: none is kept.
    async fn pass(
        &self,
        mapped: &Mapped,
        table: &HeldTable,
        other: &HeldTable,
        into: &QualifiedName,
        columns: &[&Ident],
    ) -> Result<(u64, u64), Error> {
        let (source, target) = (self.source, self.target);
        let key = mapped.fill.as_ref().map(|fill| {
            let kind = other.column(fill).map_or("text", |column| &column.kind);
            sql!("{}::{}", Literal(&target.tenant.key), Sql::from_catalog(kind))
        });
        let read: Vec<Sql> = key
            .into_iter()
            .chain(mapped.columns.iter().map(|column| sql!("held.{}", column)))
            .collect();
        let select = sql!("SELECT {}{}", List(&read), source.rows(&mapped.source, table));
        let what = format!("copy {} of tenant {}", mapped.source.name, source.tenant.id);
        source.run(&source.becoming(&mapped.source, table)?, &what).await?;
        let mut rows =
            Rows::begin(source.session, &select, Shape::Rows, Tally::default(), what.clone())
                .await?;
        let copy = sql!("COPY {} ({}) FROM STDIN", into, List(columns));
        let mut filling = Filling::begin(target.session, &copy, what.clone()).await?;
        while let Some(piece) = rows.next().await? {
            filling.put(piece).await?;
        }
        let taken = filling.end().await?;
        let sent = rows.so_far();
        if taken != sent.rows {
            return Err(Error::new(
                Code::Bug,
                format!("{what}: {} rows were sent, {taken} arrived", sent.rows),
            ));
        }
        Ok((taken, sent.bytes))
    }

    /// Replaces what triggers wrote, until both places are the same.
    async fn settle(&self) -> Result<(), Error> {
        let mut left = BTreeSet::new();
        for _ in 0..ROUNDS {
            left = self.different().await?;
            if left.is_empty() {
                return Ok(());
            }
            empty(self.target, self.there, |name| left.contains(name)).await?;
            for group in &self.mapping.groups {
                let again: Vec<Mapped> =
                    group.iter().filter(|mapped| left.contains(&mapped.target)).cloned().collect();
                if !again.is_empty() {
                    self.group(&again, &|_| {}).await?;
                }
            }
        }
        let names: Vec<&str> = left.iter().map(|name| name.name.as_str()).collect();
        let what = format!("copy the rows: triggers change those of {}", names.join(", "));
        Err(Error::new(Code::Refused, self.target.attempt(&what)).hint(
            "triggers of shared tables fire while rows are copied, for the sake of other tenants",
        ))
    }

    async fn different(&self) -> Result<BTreeSet<QualifiedName>, Error> {
        let mut different = BTreeSet::new();
        for mapped in self.mapping.tables() {
            let (Some(table), Some(other)) =
                (self.here.tables.get(&mapped.source), self.there.tables.get(&mapped.target))
            else {
                continue;
            };
            let here: Sum = sum(self.source, &mapped.source, table, &mapped.columns).await?;
            let there: Sum = sum(self.target, &mapped.target, other, &mapped.columns).await?;
            if here != there {
                different.insert(mapped.target.clone());
            }
        }
        Ok(different)
    }
}

fn insert(mapped: &Mapped, columns: &[&Ident], incoming: &QualifiedName) -> Sql {
    sql!(
        "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {}",
        mapped.target,
        List(columns),
        List(columns),
        incoming
    )
}

/// Disables the triggers that a team wrote, or gives each back as it was.
pub(super) async fn silence(
    target: &Place<'_>,
    mapping: &Mapping,
    there: &Holdings,
    off: bool,
) -> Result<(), Error> {
    let mut statements = vec![sql!("SET LOCAL ROLE {}", target.tenant.owner)];
    for mapped in mapping.tables() {
        let Some(table) = there.tables.get(&mapped.target) else { continue };
        for (trigger, firing) in &table.triggers {
            let enable = match (off, firing) {
                (_, Firing::Disabled) => continue,
                (true, _) => sql!("DISABLE"),
                (false, Firing::Normal) => sql!("ENABLE"),
                (false, Firing::Replica) => sql!("ENABLE REPLICA"),
                (false, Firing::Always) => sql!("ENABLE ALWAYS"),
            };
            statements.push(sql!("ALTER TABLE {} {} TRIGGER {}", mapped.target, enable, trigger));
        }
    }
    let what = if off { "silence triggers" } else { "restore triggers" };
    target.run(&Sql::joined(&statements, "; "), what).await
}

fn fires(table: &HeldTable) -> bool {
    table.triggers.values().any(|firing| matches!(firing, Firing::Normal | Firing::Always))
}

/// Lets sequences go on where those of the old place stand.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn advance(target: &Place<'_>, here: &Holdings, there: &Holdings) -> Result<(), Error> {
    let mut statements = vec![target.enter(false, Duration::from_secs(10))];
    for (name, sequence) in &there.sequences {
        let same = |other: &(QualifiedName, Ident)| {
            sequence
                .column
                .as_ref()
                .is_some_and(|(table, column)| table.name == other.0.name && *column == other.1)
        };
        let found = here.sequences.iter().find(|(other, from)| match &from.column {
            Some(column) => same(column),
            None => sequence.column.is_none() && other.name == name.name,
        });
        let Some((_, from)) = found else { continue };
        let (value, called) = from.stands_at;
        let called = if called { sql!("true") } else { sql!("false") };
        let quoted = name.to_string();
        let set =
            sql!("SELECT pg_catalog.setval({}::regclass, {}, {})", Literal(&quoted), value, called);
        // What tenants share never goes back.
        statements.push(if target.is_shared() {
            sql!("{} FROM {} WHERE last_value < {}", set, name, value)
        } else {
            set
        });
    }
    statements.push(sql!("COMMIT"));
    target.run(&Sql::joined(&statements, "; "), "advance the sequences").await
}
