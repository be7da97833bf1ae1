//! Erases rows of one tenant, and what hangs on them, in one transaction.
//!
//! Which rows those are is written down first, in tables that the transaction makes and drops again:
//! where a row lies, and no value of it. A row that is written down is locked, so it lies there until
//! it is gone.

use std::collections::BTreeMap;
use std::time::Duration;

use super::answer::failed;
use super::moving::Place;
use crate::error::{Code, Error, Location};
use crate::model::erasure::{Erasure, Fate, Rows};
use crate::model::holdings::{Edge, HeldTable, Holdings};
use crate::model::ident::{Ident, QualifiedName};
use crate::plan::erasing::{Link, Plan};
use crate::sql;
use crate::sql::{List, Sql};

/// What rows are written down in.
const LIST: &str = "tenantctl_erased";

/// So often is looked for rows that triggers wrote meanwhile.
const ROUNDS: usize = 4;

/// What was, or would be, erased.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// Rows of each table: how many there were, how many are meant or hang on them.
    pub tables: BTreeMap<QualifiedName, Rows>,
    /// Rows along each key, in the order of the plan.
    pub links: Vec<u64>,
    /// Triggers that fired for each row, by table.
    pub triggers: BTreeMap<QualifiedName, Vec<Ident>>,
}

struct Erasing<'a> {
    place: Place<'a>,
    holdings: &'a Holdings,
    plan: &'a Plan,
    erasure: &'a Erasure,
    lists: BTreeMap<&'a QualifiedName, QualifiedName>,
}

/// Checks every condition in a transaction that can write nothing: what is no boolean expression
/// over the table's columns is refused at its line of the file.
///
/// # Errors
///
/// [`Code::Config`] with the line and the server's words.
pub async fn check(
    place: Place<'_>,
    holdings: &Holdings,
    plan: &Plan,
    erasure: &Erasure,
) -> Result<(), Error> {
    let what = "try the conditions";
    for (name, (predicate, line)) in &plan.wanted {
        let Some(table) = holdings.tables.get(name) else { continue };
        place.run(&place.enter(true, Duration::from_secs(5)), what).await?;
        let statement = sql!(
            "{}; SELECT pg_catalog.count(*) FROM (SELECT{} OFFSET 0) AS held_rows",
            place.becoming(name, table)?,
            rows(&place, name, table, &sql!("{}", predicate))
        );
        let tried = place.session.client().batch_execute(statement.as_str()).await;
        place.run(&sql!("ROLLBACK"), what).await?;
        if let Err(error) = tried {
            let mut error = failed(error, format!("the condition of {} does not work", name.name));
            error.code = Code::Config;
            return Err(error.at(Location { file: erasure.file.clone(), line: *line, column: 1 }));
        }
    }
    Ok(())
}

/// ` FROM … WHERE` the tenant's rows of a table that fit a condition.
fn rows(place: &Place<'_>, name: &QualifiedName, table: &HeldTable, condition: &Sql) -> Sql {
    let held = place.rows(name, table);
    if held.as_str().contains(" WHERE ") {
        sql!("{} AND {}", held, condition)
    } else {
        sql!("{} WHERE {}", held, condition)
    }
}

/// Erases; without `commit` everything is undone again, and only counted.
///
/// # Errors
///
/// [`Code::Refused`] when rows refer to erased ones by a key that forbids it and of which the file
/// says nothing; whatever the server refuses. Nothing is erased then.
pub async fn erase(
    place: Place<'_>,
    holdings: &Holdings,
    plan: &Plan,
    erasure: &Erasure,
    commit: bool,
) -> Result<Erased, Error> {
    let what = "erase rows";
    let schema = &place.tenant.placement.schema;
    let mut lists = BTreeMap::new();
    for (at, name) in (1..).zip(plan.groups.iter().flatten()) {
        let list: Ident = Ident::new(format!("{LIST}_{at}"))?;
        lists.insert(name, QualifiedName::new(schema.clone(), list));
    }
    let erasing = Erasing { place, holdings, plan, erasure, lists };
    place.run(&place.enter(false, Duration::from_secs(10)), what).await?;
    let erased = erasing.all().await;
    if !commit {
        place.run(&sql!("ROLLBACK"), what).await?;
        return erased;
    }
    place.end(erased, what).await
}

impl Erasing<'_> {
    async fn all(&self) -> Result<Erased, Error> {
        let mut erased = Erased { links: vec![0; self.plan.links.len()], ..Erased::default() };
        self.count(&mut erased, |rows, count| rows.before = count).await?;
        self.note_triggers(&mut erased);
        self.make_lists().await?;
        // What is written down for the first round is what is meant; later rounds find what triggers
        // wrote of it while it was deleted.
        for round in 0..ROUNDS {
            let meant = self.meant(&mut erased, round == 0).await?;
            if meant == 0 {
                break;
            }
            if round == ROUNDS - 1 {
                return Err(Error::new(Code::Refused, self.place.attempt("erase rows"))
                    .hint("triggers write what is meant anew whenever it is deleted"));
            }
            self.follow(&mut erased).await?;
            self.refuse_open(&mut erased).await?;
            self.let_go(&mut erased).await?;
            self.delete(&mut erased).await?;
        }
        self.drop_lists().await?;
        self.count(&mut erased, |rows, count| rows.after = count).await?;
        Ok(erased)
    }

    async fn number(&self, statement: &Sql, what: &str) -> Result<u64, Error> {
        let rows = self
            .place
            .session
            .client()
            .query_typed(statement.as_str(), &[])
            .await
            .map_err(|error| failed(error, self.place.attempt(what)))?;
        Ok(rows.first().map_or(0, |row| row.get::<_, i64>(0)).unsigned_abs())
    }

    fn table(&self, name: &QualifiedName) -> Result<&HeldTable, Error> {
        self.holdings
            .tables
            .get(name)
            .ok_or_else(|| Error::new(Code::Bug, self.place.attempt(&format!("find table {name}"))))
    }

    async fn count(&self, erased: &mut Erased, keep: impl Fn(&mut Rows, u64)) -> Result<(), Error> {
        let linked = self.plan.links.iter().map(|link| &link.edge.from);
        for name in self.plan.groups.iter().flatten().chain(linked) {
            let table = self.table(name)?;
            self.place.run(&self.place.becoming(name, table)?, "count rows").await?;
            let count = sql!("SELECT pg_catalog.count(*){}", self.place.rows(name, table));
            let count = self.number(&count, "count rows").await?;
            keep(erased.tables.entry(name.clone()).or_default(), count);
        }
        Ok(())
    }

    /// They write what they please, and nobody here reads it.
    fn note_triggers(&self, erased: &mut Erased) {
        for name in self.plan.groups.iter().flatten() {
            let Some(table) = self.holdings.tables.get(name) else { continue };
            if !table.triggers.is_empty() {
                erased.triggers.insert(name.clone(), table.triggers.keys().cloned().collect());
            }
        }
    }

    async fn make_lists(&self) -> Result<(), Error> {
        let mut statements = vec![sql!("SET LOCAL ROLE {}", self.place.tenant.owner)];
        for list in self.lists.values() {
            statements.push(sql!("CREATE UNLOGGED TABLE {} (part oid, spot tid)", list));
            for role in &self.place.tenant.roles {
                statements.push(sql!("GRANT SELECT, INSERT ON {} TO {}", list, role));
            }
        }
        self.place.run(&Sql::joined(&statements, "; "), "write down rows").await
    }

    async fn drop_lists(&self) -> Result<(), Error> {
        let lists: Vec<&QualifiedName> = self.lists.values().collect();
        let drop = sql!("SET LOCAL ROLE {}; DROP TABLE {}", self.place.tenant.owner, List(&lists));
        self.place.run(&drop, "erase rows").await
    }

    /// Writes down what fits the conditions.
    async fn meant(&self, erased: &mut Erased, first: bool) -> Result<u64, Error> {
        let mut all = 0;
        for list in self.lists.values() {
            let clear = sql!("SET LOCAL ROLE {}; TRUNCATE {}", self.place.tenant.owner, list);
            self.place.run(&clear, "write down rows").await?;
        }
        for (name, (predicate, _)) in &self.plan.wanted {
            let (table, list) = (self.table(name)?, self.list(name)?);
            self.place.run(&self.place.becoming(name, table)?, "write down rows").await?;
            let found = rows(&self.place, name, table, &sql!("{}", predicate));
            let statement = sql!(
                "WITH found AS (INSERT INTO {} SELECT held.tableoid, held.ctid{} FOR UPDATE RETURNING 1) \
                 SELECT pg_catalog.count(*) FROM found",
                list,
                found
            );
            let count = self.number(&statement, &format!("find rows of {}", name.name)).await?;
            if first {
                erased.tables.entry(name.clone()).or_default().meant = count;
            }
            all += count;
        }
        Ok(all)
    }

    fn list(&self, name: &QualifiedName) -> Result<&QualifiedName, Error> {
        self.lists.get(name).ok_or_else(|| {
            Error::new(Code::Bug, self.place.attempt(&format!("write down rows of {name}")))
        })
    }

    /// The rows that refer by a key to one that is written down, and are not written down themselves.
    fn referring(&self, edge: &Edge) -> Result<Sql, Error> {
        let table = self.table(&edge.from)?;
        let pairs: Vec<Sql> = edge
            .columns
            .iter()
            .zip(&edge.to_columns)
            .map(|(here, there)| sql!("gone.{} = held.{}", there, here))
            .collect();
        let condition = sql!(
            "EXISTS (SELECT FROM {} AS gone JOIN {} AS list ON gone.tableoid = list.part AND gone.ctid = list.spot \
                     WHERE {})",
            edge.to,
            self.list(&edge.to)?,
            Sql::joined(&pairs, " AND ")
        );
        let condition = match self.lists.get(&edge.from) {
            Some(list) => sql!(
                "{} AND NOT EXISTS (SELECT FROM {} AS own WHERE own.part = held.tableoid AND own.spot = held.ctid)",
                condition,
                list
            ),
            None => condition,
        };
        Ok(rows(&self.place, &edge.from, table, &condition))
    }

    /// Writes down what hangs on what is written down, until nothing more does.
    async fn follow(&self, erased: &mut Erased) -> Result<(), Error> {
        loop {
            let mut more = 0;
            for (at, link) in self.deleting() {
                let edge = &link.edge;
                let table = self.table(&edge.from)?;
                self.place.run(&self.place.becoming(&edge.from, table)?, "follow a key").await?;
                let statement = sql!(
                    "WITH found AS (INSERT INTO {} SELECT held.tableoid, held.ctid{} FOR UPDATE OF held RETURNING 1) \
                     SELECT pg_catalog.count(*) FROM found",
                    self.list(&edge.from)?,
                    self.referring(edge)?
                );
                let what = format!("follow {} of {}", edge.name, edge.from.name);
                let count = self.number(&statement, &what).await?;
                erased.links[at] += count;
                more += count;
            }
            if more == 0 {
                return Ok(());
            }
        }
    }

    fn deleting(&self) -> impl Iterator<Item = (usize, &Link)> {
        self.plan.links.iter().enumerate().filter(|(_, link)| link.fate == Some(Fate::Delete))
    }

    /// A key of which nobody has said what becomes of its rows stops everything where it has any.
    async fn refuse_open(&self, erased: &mut Erased) -> Result<(), Error> {
        let mut open = Vec::new();
        for (at, link) in self.plan.links.iter().enumerate().filter(|(_, link)| link.fate.is_none())
        {
            let edge = &link.edge;
            let table = self.table(&edge.from)?;
            self.place.run(&self.place.becoming(&edge.from, table)?, "follow a key").await?;
            let count = sql!("SELECT pg_catalog.count(*){}", self.referring(edge)?);
            let what = format!("follow {} of {}", edge.name, edge.from.name);
            erased.links[at] = self.number(&count, &what).await?;
            if erased.links[at] > 0 {
                open.push((link, erased.links[at]));
            }
        }
        if open.is_empty() {
            return Ok(());
        }
        let named: Vec<String> = open
            .iter()
            .map(|(link, count)| {
                let rows = usize::try_from(*count).unwrap_or(usize::MAX);
                format!(
                    "{} of {} by {}",
                    crate::model::count(rows, "row"),
                    link.edge.from.name,
                    link.edge.name
                )
            })
            .collect();
        let what = format!(
            "erase rows of tenant {}: {} would refer to nothing",
            self.place.tenant.id,
            named.join(", ")
        );
        let error = open.iter().fold(Error::new(Code::Refused, what), |error, (link, _)| {
            let column = link.nulled.first().or(link.edge.columns.last());
            let named = column.map_or_else(String::new, |column| column.as_str().to_owned());
            let fates =
                if link.nulled.is_empty() { "\"delete\"" } else { "\"delete\", or \"set null\"" };
            error.hint(format!(
                "say what becomes of them, under [keys] in {}: \"{}.{named}\" = {fates}",
                self.erasure.file,
                link.edge.from.name.as_str(),
            ))
        });
        Err(error)
    }

    /// Rows that stay refer to nothing from now on.
    async fn let_go(&self, erased: &mut Erased) -> Result<(), Error> {
        let nulling = self.plan.links.iter().enumerate();
        for (at, link) in nulling.filter(|(_, link)| link.fate == Some(Fate::SetNull)) {
            let edge = &link.edge;
            let table = self.table(&edge.from)?;
            self.place.run(&self.place.becoming(&edge.from, table)?, "let rows go").await?;
            let nulled: Vec<Sql> =
                link.nulled.iter().map(|column| sql!("{} = NULL", column)).collect();
            let found = self.referring(edge)?;
            let only = if table.partitioned { sql!("") } else { sql!("ONLY ") };
            let statement = sql!(
                "WITH found AS (SELECT held.tableoid AS part, held.ctid AS spot{}), \
                      changed AS (UPDATE {}{} AS held SET {} FROM found \
                                  WHERE held.tableoid = found.part AND held.ctid = found.spot RETURNING 1) \
                 SELECT pg_catalog.count(*) FROM changed",
                found,
                only,
                edge.from,
                Sql::joined(&nulled, ", ")
            );
            let what = format!("let go of {} in {}", edge.name, edge.from.name);
            let count = self.number(&statement, &what).await?;
            erased.links[at] += count;
            erased.tables.entry(edge.from.clone()).or_default().nulled += count;
        }
        Ok(())
    }

    /// Deletes what is written down, children first.
    async fn delete(&self, erased: &mut Erased) -> Result<(), Error> {
        for group in &self.plan.groups {
            let mut parts = Vec::new();
            for (at, name) in (1..).zip(group) {
                let at: i32 = at;
                let table = self.table(name)?;
                self.place.run(&self.place.becoming(name, table)?, "erase rows").await?;
                let only = if table.partitioned { sql!("") } else { sql!("ONLY ") };
                parts.push(sql!(
                    "gone_{} AS (DELETE FROM {}{} AS held USING {} AS list \
                                 WHERE held.tableoid = list.part AND held.ctid = list.spot RETURNING 1)",
                    at,
                    only,
                    name,
                    self.list(name)?
                ));
            }
            let counts: Vec<Sql> = (1..)
                .take(group.len())
                .map(|at: i32| sql!("(SELECT pg_catalog.count(*) FROM gone_{})", at))
                .collect();
            let statement = sql!(
                "WITH {} SELECT ARRAY[{}]",
                Sql::joined(&parts, ", "),
                Sql::joined(&counts, ", ")
            );
            let names: Vec<&str> = group.iter().map(|name| name.name.as_str()).collect();
            let rows =
                self.place.session.client().query_typed(statement.as_str(), &[]).await.map_err(
                    |error| {
                        failed(
                            error,
                            self.place.attempt(&format!("erase rows of {}", names.join(", "))),
                        )
                    },
                )?;
            let found: Vec<i64> = rows.first().map(|row| row.get(0)).unwrap_or_default();
            for (name, count) in group.iter().zip(found) {
                erased.tables.entry(name.clone()).or_default().deleted += count.unsigned_abs();
            }
        }
        Ok(())
    }
}
