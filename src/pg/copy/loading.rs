//! One tenant's rows on their way into its tables: all of them in one transaction, or none.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::snapshot::{PATIENCE, context, spelling};
use super::stream::{Filling, Rows, Shape};
use crate::error::{Code, Error};
use crate::model::holdings::{Firing, HeldTable, Holdings};
use crate::model::ident::{Ident, QualifiedName};
use crate::model::layout::Tenancy;
use crate::model::tally::{Content, Tally};
use crate::model::tenant::{Isolation, Tenant};
use crate::pg::answer::failed;
use crate::pg::observe::holdings::holdings;
use crate::pg::session::Session;
use crate::plan::transfer::{self, TableMap};
use crate::sql;
use crate::sql::{List, Literal, Sql};

/// So much is gathered in a temporary table before it is inserted: what the server keeps aside for
/// the checks of one statement stays small.
const SLICE: u64 = 32 << 20;

/// Pieces of rows, one after the other; none at the end.
pub trait Supply {
    /// The next piece.
    fn next(&mut self) -> impl Future<Output = Result<Option<Bytes>, Error>>;
}

impl Supply for Rows {
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        Self::next(self).await
    }
}

/// A transaction that fills a tenant's tables. What is not committed is undone: dropping it leaves
/// that to the server, and the session is to be dropped as well.
pub struct Loading<'s> {
    session: &'s Session,
    tenant: &'s Tenant,
    holdings: Holdings,
    staged: usize,
    quiet: Vec<(QualifiedName, Ident, Firing)>,
}

impl<'s> Loading<'s> {
    /// Begins, on a session of its own in the tenant's database.
    ///
    /// # Errors
    ///
    /// Whatever the server refuses, and as the tenant's holdings cannot be read.
    pub async fn open(
        session: &'s Session,
        tenant: &'s Tenant,
        tenancy: Option<&Tenancy>,
    ) -> Result<Self, Error> {
        let attempt = || format!("begin to fill tenant {}", tenant.id);
        let client = session.client();
        let begin =
            sql!("BEGIN; {}; SET LOCAL lock_timeout = '10s'; SET LOCAL jit = off", spelling());
        let begun = async {
            client.batch_execute(begin.as_str()).await?;
            client.batch_execute(PATIENCE).await?;
            if let Some(tenancy) = tenancy {
                client.batch_execute(context(tenancy, tenant).as_str()).await?;
            }
            Ok(())
        };
        begun.await.map_err(|error| failed(error, attempt()))?;
        let holdings = holdings(client, tenant, tenancy).await?;
        Ok(Self { session, tenant, holdings, staged: 0, quiet: Vec::new() })
    }

    /// What the tenant has.
    pub fn holdings(&self) -> &Holdings {
        &self.holdings
    }

    /// Keeps the triggers of the tenant's own tables from firing while rows come back that they have
    /// seen already. Those of shared tables fire: a lock would stop everybody else.
    ///
    /// # Errors
    ///
    /// Whatever the server refuses.
    pub async fn quiet_triggers(&mut self) -> Result<(), Error> {
        if self.tenant.isolation == Isolation::Shared {
            return Ok(());
        }
        for (name, table) in &self.holdings.tables {
            for (trigger, firing) in &table.triggers {
                if matches!(firing, Firing::Normal | Firing::Always) {
                    let statement = sql!("ALTER TABLE {} DISABLE TRIGGER {}", name, trigger);
                    self.as_role(&table.owner, &[statement], || {
                        format!("quiet {trigger} of {name}")
                    })
                    .await?;
                    self.quiet.push((name.clone(), trigger.clone(), *firing));
                }
            }
        }
        Ok(())
    }

    /// Removes every row of the tenant in these tables.
    ///
    /// # Errors
    ///
    /// Whatever the server refuses.
    pub async fn empty(&self, only: Option<&[QualifiedName]>) -> Result<(), Error> {
        let wanted = |name: &QualifiedName| only.is_none_or(|only| only.contains(name));
        for group in transfer::unloading(&self.holdings) {
            let deletes: Vec<(&HeldTable, Sql)> = group
                .iter()
                .filter(|name| wanted(name))
                .filter_map(|name| {
                    let table = self.holdings.tables.get(name)?;
                    Some((table, transfer::delete(name, table, &self.tenant.key)))
                })
                .collect();
            let Some((first, _)) = deletes.first() else { continue };
            let role = first.owner.clone();
            let statements: Vec<Sql> = deletes.into_iter().map(|(_, delete)| delete).collect();
            let statement = transfer::together(&statements);
            self.as_role(&role, &[statement], || format!("empty {}", spoken(&group))).await?;
        }
        Ok(())
    }

    /// Fills one table, and says what came: of a table that gets some fields of the rows alone, those
    /// fields.
    ///
    /// # Errors
    ///
    /// Whatever the supply has to say, and whatever the server refuses.
    pub async fn fill(
        &mut self,
        map: &TableMap,
        supply: &mut impl Supply,
    ) -> Result<Content, Error> {
        let table = self.table(&map.to)?.clone();
        let what = format!("fill {} of tenant {}", map.to, self.tenant.id);
        self.become_role(&transfer::writer(&map.to, &table, self.tenant)?).await?;
        if !transfer::is_staged(map, &table) {
            let statement = transfer::copy_in(&map.to, &map.columns());
            let (content, _) = self.pour(map, &statement, supply, u64::MAX, &what).await?;
            return Ok(content);
        }
        let refers_to_itself =
            self.holdings.edges.iter().any(|edge| edge.from == map.to && edge.to == map.to);
        // A row may refer to one of a later slice: then there is one.
        let slice = if refers_to_itself { u64::MAX } else { SLICE };
        let number = self.stage(map).await?;
        let mut whole = Content::default();
        loop {
            let statement = transfer::copy_into_stage(number);
            let (content, more) = self.pour(map, &statement, supply, slice, &what).await?;
            whole = add(whole, content);
            let insert = transfer::insert(number, map, &self.tenant.key);
            self.run(&insert, &what).await?;
            if !more {
                break;
            }
            self.run(&transfer::empty_stage(number), &what).await?;
        }
        Ok(whole)
    }

    /// Fills tables that refer to each other in a circle: gathered one by one with
    /// [`Loading::gather`], then inserted together.
    ///
    /// # Errors
    ///
    /// Whatever the server refuses.
    pub async fn fill_together(&mut self, gathered: &[(usize, &TableMap)]) -> Result<(), Error> {
        let Some((_, first)) = gathered.first() else { return Ok(()) };
        let inserts: Vec<Sql> = gathered
            .iter()
            .map(|(number, map)| transfer::insert(*number, map, &self.tenant.key))
            .collect();
        let table = self.table(&first.to)?;
        self.become_role(&transfer::writer(&first.to, table, self.tenant)?).await?;
        let names: Vec<QualifiedName> = gathered.iter().map(|(_, map)| map.to.clone()).collect();
        let what = format!("fill {} of tenant {}", spoken(&names), self.tenant.id);
        self.run(&transfer::together(&inserts), &what).await
    }

    /// Gathers the rows of a table of a circle in a temporary table, whose number is returned.
    ///
    /// # Errors
    ///
    /// Whatever the supply has to say, and whatever the server refuses.
    pub async fn gather(
        &mut self,
        map: &TableMap,
        supply: &mut impl Supply,
    ) -> Result<(usize, Content), Error> {
        let table = self.table(&map.to)?.clone();
        self.become_role(&transfer::writer(&map.to, &table, self.tenant)?).await?;
        let what = format!("gather {} of tenant {}", map.to, self.tenant.id);
        let number = self.stage(map).await?;
        let statement = transfer::copy_into_stage(number);
        let (content, _) = self.pour(map, &statement, supply, u64::MAX, &what).await?;
        Ok((number, content))
    }

    /// What stands in a table now, in the columns that were filled.
    ///
    /// # Errors
    ///
    /// Whatever the server refuses.
    pub async fn content(&self, map: &TableMap) -> Result<Content, Error> {
        let table = self.table(&map.to)?;
        self.become_role(&transfer::reader(&map.to, table, self.tenant)?).await?;
        let columns: Vec<Sql> =
            map.columns().iter().map(|column| sql!("held.{}", column)).collect();
        let select = transfer::select_unordered(&map.to, table, &columns, &self.tenant.key);
        let what = format!("read {} of tenant {} again", map.to, self.tenant.id);
        Rows::begin(self.session, &select, Shape::Rows, Tally::default(), what)
            .await?
            .content()
            .await
    }

    /// Whether a table holds a row of the tenant.
    ///
    /// # Errors
    ///
    /// Whatever the server refuses.
    pub async fn holds_rows(&self) -> Result<Option<QualifiedName>, Error> {
        for (name, table) in &self.holdings.tables {
            self.become_role(&transfer::reader(name, table, self.tenant)?).await?;
            let select = transfer::select_unordered(name, table, &[], &self.tenant.key);
            let statement = sql!("SELECT FROM ({} LIMIT 1) AS one", select);
            let attempt = || format!("look for rows of tenant {} in {name}", self.tenant.id);
            let rows = self
                .session
                .client()
                .query_typed(statement.as_str(), &[])
                .await
                .map_err(|error| failed(error, attempt()))?;
            if !rows.is_empty() {
                return Ok(Some(name.clone()));
            }
        }
        Ok(None)
    }

    /// Sets the tenant's own sequences to where they stood, and those of which nothing is known behind
    /// the values that were filled in. Sequences that tenants share are only ever moved forward.
    ///
    /// # Errors
    ///
    /// Whatever the server refuses.
    pub async fn set_sequences(
        &self,
        stood_at: &BTreeMap<QualifiedName, (i64, bool)>,
    ) -> Result<(), Error> {
        let shared = self.tenant.isolation == Isolation::Shared;
        for (name, sequence) in &self.holdings.sequences {
            let literal = name.to_string();
            let regclass = sql!("{}::pg_catalog.regclass", Literal(&literal));
            let statement = match (stood_at.get(name), &sequence.column) {
                (Some((value, called)), _) if !shared => {
                    let called = if *called { sql!("true") } else { sql!("false") };
                    sql!("SELECT pg_catalog.setval({}, {}, {})", regclass, *value, called)
                }
                (_, Some((table, column))) => {
                    let Some(held) = self.holdings.tables.get(table) else { continue };
                    let select = transfer::select_unordered(
                        table,
                        held,
                        &[sql!("held.{} AS value", column)],
                        &self.tenant.key,
                    );
                    sql!(
                        "SELECT pg_catalog.setval({}, filled.newest) FROM \
                         (SELECT pg_catalog.max(value)::pg_catalog.int8 AS newest FROM ({}) AS rows) AS filled, \
                         {} AS stands WHERE filled.newest > stands.last_value \
                           OR (filled.newest = stands.last_value AND NOT stands.is_called)",
                        regclass,
                        select,
                        name
                    )
                }
                (_, None) => continue,
            };
            let owner = match &sequence.column {
                Some((table, _)) => self.table(table).map(|table| table.owner.clone()),
                None => Ok(self.tenant.owner.clone()),
            }
            .unwrap_or_else(|_| self.tenant.owner.clone());
            self.as_role(&owner, &[statement], || format!("set sequence {name}")).await?;
        }
        Ok(())
    }

    /// Computes the tenant's own materialized views anew.
    ///
    /// # Errors
    ///
    /// Whatever the server refuses.
    pub async fn refresh(&self) -> Result<(), Error> {
        if self.tenant.isolation == Isolation::Shared {
            return Ok(());
        }
        for view in &self.holdings.derived {
            let statement = sql!("REFRESH MATERIALIZED VIEW {}", view);
            self.as_role(&self.tenant.owner, &[statement], || format!("refresh {view}")).await?;
        }
        Ok(())
    }

    /// Lets triggers fire again as they did, checks what waits to be checked, and commits.
    ///
    /// # Errors
    ///
    /// Whatever the server refuses: nothing is there then.
    pub async fn commit(self) -> Result<(), Error> {
        let checks = sql!("SET CONSTRAINTS ALL IMMEDIATE");
        self.run(&checks, &format!("check the rows of tenant {}", self.tenant.id)).await?;
        for (name, trigger, firing) in &self.quiet {
            let owner = &self.table(name)?.owner;
            let statement = match firing {
                Firing::Always => sql!("ALTER TABLE {} ENABLE ALWAYS TRIGGER {}", name, trigger),
                _ => sql!("ALTER TABLE {} ENABLE TRIGGER {}", name, trigger),
            };
            self.as_role(owner, &[statement], || format!("let {trigger} of {name} fire again"))
                .await?;
        }
        self.run(&sql!("COMMIT"), &format!("commit the rows of tenant {}", self.tenant.id)).await
    }

    /// Gives up: nothing of it is there.
    pub async fn roll_back(self) {
        let ended = self.session.client().batch_execute("ROLLBACK").await;
        log::debug!("rolled back: {ended:?}");
    }

    /// Gathers statistics about the tenant's own tables: the server has seen none of their rows.
    ///
    /// # Errors
    ///
    /// Whatever the server refuses.
    pub async fn analyze(
        session: &Session,
        tenant: &Tenant,
        tables: &[QualifiedName],
    ) -> Result<(), Error> {
        if tenant.isolation == Isolation::Shared || tables.is_empty() {
            return Ok(());
        }
        let statement =
            sql!("BEGIN; SET LOCAL ROLE {}; ANALYZE {}; COMMIT", tenant.owner, List(tables));
        session
            .client()
            .batch_execute(statement.as_str())
            .await
            .map_err(|error| failed(error, format!("analyze the tables of tenant {}", tenant.id)))
    }

    fn table(&self, name: &QualifiedName) -> Result<&HeldTable, Error> {
        self.holdings
            .tables
            .get(name)
            .ok_or_else(|| Error::new(Code::Bug, format!("{name} is not held")))
    }

    async fn stage(&mut self, map: &TableMap) -> Result<usize, Error> {
        self.staged += 1;
        let attempt = format!("make a temporary table for the rows of {}", map.to);
        let made = self.run(&transfer::stage(self.staged, map), &attempt).await;
        made.map_err(|error| match error.code {
            Code::Permission => error.hint(format!(
                "as the database's owner: GRANT TEMPORARY ON DATABASE {} TO {};",
                self.tenant.placement.database, self.tenant.owner
            )),
            _ => error,
        })?;
        Ok(self.staged)
    }

    /// Sends pieces until so much has been sent, or until there are no more; says what, and whether
    /// there may be more.
    async fn pour(
        &self,
        map: &TableMap,
        statement: &Sql,
        supply: &mut impl Supply,
        limit: u64,
        what: &str,
    ) -> Result<(Content, bool), Error> {
        let mut tally = map.kept().map_or_else(Tally::default, Tally::of_fields);
        let mut filling = Filling::begin(self.session, statement, what.to_owned()).await?;
        let more = loop {
            let Some(piece) = supply.next().await? else { break false };
            tally.take(&piece);
            let whole_rows = piece.ends_with(b"\n");
            filling.put(piece).await?;
            if whole_rows && tally.so_far().bytes >= limit {
                break true;
            }
        };
        let taken = filling.end().await?;
        let content = tally.so_far();
        if taken == content.rows {
            return Ok((content, more));
        }
        Err(Error::new(
            Code::Bug,
            format!("{what}: {} rows were sent, {taken} taken", content.rows),
        ))
    }

    async fn as_role(
        &self,
        role: &Ident,
        statements: &[Sql],
        what: impl Fn() -> String,
    ) -> Result<(), Error> {
        self.become_role(role).await?;
        for statement in statements {
            self.run(statement, &format!("{} (tenant {})", what(), self.tenant.id)).await?;
        }
        Ok(())
    }

    async fn become_role(&self, role: &Ident) -> Result<(), Error> {
        let attempt = format!("fill tenant {} as {role}", self.tenant.id);
        self.run(&sql!("SET LOCAL ROLE {}", role), &attempt).await
    }

    async fn run(&self, statement: &Sql, what: &str) -> Result<(), Error> {
        self.session
            .client()
            .batch_execute(statement.as_str())
            .await
            .map_err(|error| failed(error, what.to_owned()))
    }
}

fn add(one: Content, other: Content) -> Content {
    let mut sum = one;
    sum.rows += other.rows;
    sum.bytes += other.bytes;
    sum.digest.0 = sum.digest.0.wrapping_add(other.digest.0);
    sum
}

fn spoken(names: &[QualifiedName]) -> String {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
