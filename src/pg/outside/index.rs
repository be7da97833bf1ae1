//! Indexes that are built, and rebuilt, without keeping anybody from writing.
//!
//! A CONCURRENTLY that fails, or is cut off, leaves an index behind that is INVALID: no query uses
//! it, every write maintains it, and IF NOT EXISTS takes it for the one that was wanted.

use tokio_postgres::types::Type;

use super::Run;
use crate::error::{Code, Error};
use crate::model::ident::{Ident, QualifiedName};
use crate::plan::outside::{
    BuildIndex, FoundIndex, IndexStep, Standing, Task, index_step, wants_definition,
};
use crate::sql;
use crate::sql::Sql;

/// An index that somebody else is building looks half-built until they are done: so often is it
/// looked again.
const LOOKS: usize = 4;

/// A table, as far as building an index on it goes.
struct Table {
    schema: Ident,
    name: Ident,
    /// Whether it has no page, so that a plain CREATE INDEX is over at once.
    empty: bool,
    indexes: Vec<FoundIndex>,
}

impl Run<'_> {
    /// Builds an index, unless it is there; removes what an earlier attempt has left.
    pub(super) async fn build_index(
        &self,
        task: &Task<'_>,
        wanted: &BuildIndex,
        standing: Standing,
    ) -> Result<(), Error> {
        let text = task.statement.text;
        for _ in 0..LOOKS {
            let Some(table) = self.table(&wanted.table).await? else {
                // Nothing of that name: the server says it, and where it stands.
                return self.send(text).await;
            };
            let definition = if wants_definition(wanted, &table.indexes, standing) {
                self.definition(wanted, &table).await
            } else {
                None
            };
            match index_step(wanted, &table.indexes, definition.as_deref(), standing) {
                IndexStep::Done => return self.notes.done(task).await,
                IndexStep::Drop(name) => {
                    let name = QualifiedName::new(table.schema.clone(), Ident::new(name)?);
                    self.tell(&format!("dropping {name}, which an earlier attempt left INVALID"));
                    self.patiently(drop_statement(&name).as_str()).await?;
                }
                IndexStep::Build if table.empty => {
                    return self.together(task, &wanted.plain, standing).await;
                }
                IndexStep::Build => return self.build(task, wanted, &table).await,
            }
        }
        Err(Error::new(
            Code::LockBusy,
            format!("build an index on {}: somebody else is building it as well", wanted.table),
        ))
    }

    async fn build(
        &self,
        task: &Task<'_>,
        wanted: &BuildIndex,
        before: &Table,
    ) -> Result<(), Error> {
        self.notes.begun(task).await?;
        let error = match self.patiently(task.statement.text).await {
            Ok(()) => return self.notes.done(task).await,
            Err(error) if error.code == Code::Unreachable => {
                return Err(error.hint(
                    "the index may be left INVALID: the next run drops it and builds it again",
                ));
            }
            Err(error) => error,
        };
        let known = |name: &str| before.indexes.iter().any(|index| index.name == name);
        let left = match self.table(&wanted.table).await {
            Ok(Some(after)) => after
                .indexes
                .iter()
                .filter(|index| !index.valid && !known(&index.name))
                .filter_map(|index| Ident::new(index.name.clone()).ok())
                .map(|name| QualifiedName::new(after.schema.clone(), name))
                .collect(),
            Ok(None) => Vec::new(),
            Err(looking) => {
                log::warn!("{looking}");
                return Err(error);
            }
        };
        let (error, remains) = self.clear(left, error).await;
        if !remains {
            self.notes.undone(task).await;
        }
        Err(error)
    }

    /// Rebuilds indexes; removes what an earlier attempt, or this one, has left.
    pub(super) async fn rebuild_indexes(&self, text: &str) -> Result<(), Error> {
        for name in self.half_rebuilt().await? {
            self.tell(&format!("dropping {name}, which an earlier REINDEX left INVALID"));
            self.patiently(drop_statement(&name).as_str()).await?;
        }
        match self.patiently(text).await {
            Err(error) if error.code != Code::Unreachable => match self.half_rebuilt().await {
                Ok(left) => Err(self.clear(left, error).await.0),
                Err(looking) => {
                    log::warn!("{looking}");
                    Err(error)
                }
            },
            done => done,
        }
    }

    /// Drops what a failed statement has left, as far as it can be had at once, and says so in its
    /// failure. Returns whether anything remains.
    async fn clear(&self, left: Vec<QualifiedName>, mut error: Error) -> (Error, bool) {
        let mut remains = false;
        for name in left {
            let drop = drop_statement(&name);
            match self.alone(drop.as_str()).await {
                Ok(()) => error = error.hint(format!("{name} was left INVALID and is dropped")),
                Err(refused) => {
                    log::info!("{drop}: {refused}");
                    remains = true;
                    error = error.hint(format!(
                        "{name} is left INVALID: the next run drops it first, or you do: {drop};"
                    ));
                }
            }
        }
        (error, remains)
    }

    /// Reads a table and its indexes. None when there is none.
    async fn table(&self, spelled: &str) -> Result<Option<Table>, Error> {
        let session = self.order.session;
        // A table of Citus keeps its rows elsewhere, and a parent in its children.
        let rows = session
            .query_typed(
                "SELECT n.nspname::text, c.relname::text, \
                        c.relkind IN ('r', 'm') AND NOT c.relhassubclass \
                        AND pg_catalog.to_regclass('pg_catalog.pg_dist_partition') IS NULL \
                        AND pg_catalog.pg_relation_size(c.oid) = 0 \
                 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 WHERE c.oid = pg_catalog.to_regclass($1)",
                &[(&spelled, Type::TEXT)],
            )
            .await
            .map_err(|error| self.ours(error))?;
        let Some(row) = rows.first() else { return Ok(None) };
        let schema = Ident::new(row.get::<_, String>(0))?;
        let name = Ident::new(row.get::<_, String>(1))?;
        let empty = row.get::<_, Option<bool>>(2).unwrap_or_default();
        let indexes = self.indexes(&schema, &name).await?;
        Ok(Some(Table { schema, name, empty, indexes }))
    }

    async fn indexes(&self, schema: &Ident, table: &Ident) -> Result<Vec<FoundIndex>, Error> {
        let rows = self
            .order
            .session
            .query_typed(
                "SELECT i.relname::text, x.indisvalid, \
                        replace(replace(pg_catalog.pg_get_indexdef(i.oid), \
                                        format(' INDEX %I ON %I.%I ', i.relname, n.nspname, t.relname), \
                                        ' INDEX '), \
                                format(' INDEX %I ON %I ', i.relname, t.relname), ' INDEX ') \
                 FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid \
                 JOIN pg_catalog.pg_class t ON t.oid = x.indrelid \
                 JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace \
                 WHERE n.nspname = $1 AND t.relname = $2 AND i.relkind = 'i' ORDER BY 1",
                &[(&schema.as_str(), Type::TEXT), (&table.as_str(), Type::TEXT)],
            )
            .await
            .map_err(|error| self.ours(error))?;
        Ok(rows
            .iter()
            .map(|row| FoundIndex { name: row.get(0), valid: row.get(1), definition: row.get(2) })
            .collect())
    }

    /// How the server would write the index down: it is asked to build it on an empty table of the
    /// same shape, and to forget both. None when it will not.
    async fn definition(&self, wanted: &BuildIndex, table: &Table) -> Option<String> {
        let session = self.order.session;
        let name = Ident::new("tenantctl_shape").ok()?;
        let shape = QualifiedName::new(table.schema.clone(), name.clone());
        let like = QualifiedName::new(table.schema.clone(), table.name.clone());
        let looked = async {
            let make = sql!("BEGIN; CREATE TABLE {} (LIKE {})", shape, like);
            self.alone(make.as_str()).await.map_err(|error| self.ours(error))?;
            let build = wanted.on(sql!("{}", shape).as_str());
            self.alone(&build).await.map_err(|error| self.ours(error))?;
            self.indexes(&table.schema, &name).await
        }
        .await;
        let ended = session.batch_execute("ROLLBACK").await;
        log::debug!("rolled back: {ended:?}");
        match looked {
            Ok(mut built) => built.pop().map(|index| index.definition),
            Err(error) => {
                log::info!("the definition of an index cannot be compared: {error}");
                None
            }
        }
    }

    /// What interrupted REINDEX CONCURRENTLY have left in the schema.
    async fn half_rebuilt(&self) -> Result<Vec<QualifiedName>, Error> {
        let rows = self
            .order
            .session
            .query_typed(
                "SELECT i.relname::text FROM pg_catalog.pg_index x \
                 JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid \
                 JOIN pg_catalog.pg_namespace n ON n.oid = i.relnamespace \
                 WHERE n.nspname = $1 AND NOT x.indisvalid AND i.relkind = 'i' \
                   AND i.relname ~ '_cc(new|old)[0-9]*$' ORDER BY 1",
                &[(&self.order.schema.as_str(), Type::TEXT)],
            )
            .await
            .map_err(|error| self.ours(error))?;
        rows.iter()
            .map(|row| {
                let name = Ident::new(row.get::<_, String>(0))?;
                Ok(QualifiedName::new(self.order.schema.clone(), name))
            })
            .collect()
    }

    fn tell(&self, what: &str) {
        log::info!("{}: {what}", self.order.migration.path);
        if let Some(watcher) = self.order.watcher {
            watcher.tell(what);
        }
    }
}

fn drop_statement(name: &QualifiedName) -> Sql {
    sql!("DROP INDEX CONCURRENTLY IF EXISTS {}", name)
}
