//! Applies what the log says in the new place, a batch of transactions at a time.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio_postgres::types::{ToSql, Type};

use super::decode::{Message, Relation, Shown, Tuple, Value, message};
use super::{applied, mark, name, place_in_log};
use crate::error::{Code, Error};
use crate::model::holdings::Holdings;
use crate::model::ident::{Ident, QualifiedName};
use crate::pg::answer::failed;
use crate::pg::moving::copy::silence;
use crate::pg::moving::place::Place;
use crate::plan::moving::mapping::{Mapped, Mapping};
use crate::plan::transfer;
use crate::sql;
use crate::sql::{List, Literal, Sql};

/// So many changes are asked for at a time; a transaction is never divided.
const BATCH: i32 = 10_000;

/// Statements are sent when they are this long together: what is gathered does not grow with a
/// transaction.
const PIECE: usize = 256 * 1024;

/// What was applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Followed {
    /// Changes of rows.
    changes: u64,
    /// The batch was not full: the end of the log was reached.
    reached_end: bool,
}

struct Applying<'a> {
    source: &'a Place<'a>,
    target: &'a Place<'a>,
    there: &'a Holdings,
    mapping: &'a Mapping,
    shown: Shown,
}

/// Applies changes until the end of the log is reached. `snapshot` is what the copy saw.
///
/// # Errors
///
/// Whatever a server refuses: what was not committed is applied by the next run.
pub async fn follow(
    source: &Place<'_>,
    (target, there): (&Place<'_>, &Holdings),
    mapping: &Mapping,
    snapshot: &str,
) -> Result<u64, Error> {
    let applying = Applying { source, target, there, mapping, shown: Shown::read(snapshot)? };
    let mut changes = 0;
    loop {
        let done = applying.batch().await?;
        changes += done.changes;
        if done.reached_end {
            return Ok(changes);
        }
    }
}

impl Applying<'_> {
    async fn batch(&self) -> Result<Followed, Error> {
        let what = "apply changes";
        let before = applied(self.target).await?;
        let target = self.target;
        target.run(&target.enter(false, Duration::from_secs(30)), what).await?;
        let done = async {
            if !target.is_shared() {
                silence(target, self.mapping, self.there, true).await?;
            }
            target.run(&sql!("SET CONSTRAINTS ALL DEFERRED"), what).await?;
            let (followed, end) = self.changes(before).await?;
            if !target.is_shared() {
                target.run(&sql!("SET CONSTRAINTS ALL IMMEDIATE"), what).await?;
                silence(target, self.mapping, self.there, false).await?;
            }
            if end > before {
                target.run(&sql!("SET LOCAL ROLE {}", target.tenant.owner), what).await?;
                target.run(&mark(target, self.there, Some(end))?, what).await?;
            }
            Ok((followed, end))
        };
        let done = done.await;
        let (followed, end) = target.end(done, what).await?;
        if end > before {
            // The log up to here is not needed any more, by whoever comes after us.
            let advance = sql!(
                "SELECT pg_catalog.pg_replication_slot_advance({}, {})",
                Literal(name(self.source)?.as_str()),
                place_in_log(end)
            );
            self.source.run(&advance, "forget what was applied").await?;
        }
        Ok(followed)
    }

    /// Reads a batch from the log and sends what it says. Returns where it ended.
    async fn changes(&self, before: u64) -> Result<(Followed, u64), Error> {
        let attempt = || self.source.attempt("read the log of changes");
        let slot = name(self.source)?;
        let parameters: [(&(dyn ToSql + Sync), Type); 2] =
            [(&slot.as_str(), Type::TEXT), (&BATCH, Type::INT4)];
        let rows = self
            .source
            .session
            .client()
            .query_typed_raw(
                "SELECT xid::text::int8, data FROM pg_catalog.pg_logical_slot_peek_binary_changes( \
                     $1, NULL, $2, 'proto_version', '1', 'publication_names', $1)",
                parameters,
            )
            .await
            .map_err(|error| failed(error, attempt()))?;
        let mut rows = pin!(rows);
        let mut relations: BTreeMap<u32, Relation> = BTreeMap::new();
        let mut followed = Followed::default();
        let (mut read, mut end, mut skips) = (0_i32, before, false);
        // Of a transaction that was applied already only the end says so: it is kept until then.
        let mut transaction: Vec<Sql> = Vec::new();
        let mut size = 0;
        while let Some(row) = rows.next().await {
            let row = row.map_err(|error| failed(error, attempt()))?;
            read += 1;
            let (xid, data): (i64, &[u8]) = (row.get(0), row.get(1));
            match message(data)? {
                Message::Begin => {
                    skips = self.shown.shows(u32::try_from(xid).unwrap_or_default());
                    let begins = begin_place(data);
                    skips |= begins.is_some_and(|final_place| final_place < before);
                }
                Message::Commit { end: at } => end = end.max(at),
                Message::Relation(relation) => {
                    relations.insert(relation.id, relation);
                }
                Message::Other => {}
                _ if skips => {}
                change => {
                    for statement in self.statements(&relations, &change)? {
                        followed.changes += 1;
                        size += statement.as_str().len();
                        transaction.push(statement);
                    }
                    if size > PIECE {
                        self.send(&mut transaction).await?;
                        size = 0;
                    }
                }
            }
        }
        self.send(&mut transaction).await?;
        followed.reached_end = read < BATCH;
        Ok((followed, end))
    }

    async fn send(&self, statements: &mut Vec<Sql>) -> Result<(), Error> {
        if statements.is_empty() {
            return Ok(());
        }
        let all = Sql::joined(statements, "; ");
        statements.clear();
        self.target.run(&all, "apply changes").await
    }

    fn statements(
        &self,
        relations: &BTreeMap<u32, Relation>,
        change: &Message,
    ) -> Result<Vec<Sql>, Error> {
        let of = |id: &u32| {
            relations.get(id).ok_or_else(|| {
                Error::new(Code::Bug, self.source.attempt("apply a change of an unknown table"))
            })
        };
        Ok(match change {
            Message::Insert { relation, new } => {
                Table::of(self, of(relation)?)?.map(|table| table.insert(new)).into_iter().collect()
            }
            Message::Update { relation, old, new } => match Table::of(self, of(relation)?)? {
                Some(table) => {
                    table.update(old.as_ref().unwrap_or(new), new)?.into_iter().collect()
                }
                None => Vec::new(),
            },
            Message::Delete { relation, old } => match Table::of(self, of(relation)?)? {
                Some(table) => vec![table.delete(old)?],
                None => Vec::new(),
            },
            Message::Truncate { relations: emptied } => {
                let mut statements = Vec::new();
                for id in emptied.iter().rev() {
                    statements.extend(Table::of(self, of(id)?)?.map(|table| table.empty()));
                }
                statements
            }
            Message::Begin | Message::Commit { .. } | Message::Relation(_) | Message::Other => {
                Vec::new()
            }
        })
    }
}

/// Where a transaction's end stands in the log, as its beginning says.
fn begin_place(data: &[u8]) -> Option<u64> {
    data.get(1..9).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes)
}

/// A table of the log, and the one that takes its rows.
struct Table<'a> {
    applying: &'a Applying<'a>,
    relation: &'a Relation,
    mapped: &'a Mapped,
    become_writer: Sql,
}

impl<'a> Table<'a> {
    /// None for a table that tenants share in the new place: both are compared in the end.
    fn of(applying: &'a Applying<'a>, relation: &'a Relation) -> Result<Option<Self>, Error> {
        let found = applying.mapping.tables().find(|mapped| {
            mapped.source.schema.as_str() == relation.schema
                && mapped.source.name.as_str() == relation.name
        });
        let Some(mapped) = found else {
            return Ok(None);
        };
        let become_writer = match applying.there.tables.get(&mapped.target) {
            Some(table) => applying.target.becoming(&mapped.target, table)?,
            None => sql!("SELECT"),
        };
        Ok(Some(Self { applying, relation, mapped, become_writer }))
    }

    /// The columns that are copied, with their values.
    fn values<'t>(&self, tuple: &'t Tuple) -> Vec<(&'a Ident, &'t Value)> {
        self.mapped
            .columns
            .iter()
            .filter_map(|column| {
                let at =
                    self.relation.columns.iter().position(|(name, _)| name == column.as_str())?;
                Some((column, tuple.get(at)?))
            })
            .collect()
    }

    fn key(&self) -> Option<Sql> {
        let fill = self.mapped.fill.as_ref()?;
        Some(sql!("{} = {}", fill, Literal(&self.applying.target.tenant.key)))
    }

    fn insert(&self, new: &Tuple) -> Sql {
        let values = self.values(new);
        let columns: Vec<&Ident> =
            self.mapped.fill.iter().chain(values.iter().map(|(column, _)| *column)).collect();
        let key =
            self.mapped.fill.iter().map(|_| sql!("{}", Literal(&self.applying.target.tenant.key)));
        let all: Vec<Sql> = key.chain(values.iter().map(|(_, value)| spelled(value))).collect();
        sql!(
            "{}; INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE VALUES ({})",
            self.become_writer,
            self.mapped.target,
            List(&columns),
            List(&all)
        )
    }

    /// The row that was told apart by these values.
    fn that(&self, old: &Tuple) -> Result<Sql, Error> {
        let mut parts: Vec<Sql> = self.key().into_iter().collect();
        for (column, value) in self.values(old) {
            let tells =
                self.relation.columns.iter().any(|(name, key)| *key && name == column.as_str());
            if tells {
                parts.push(sql!("{} = {}", column, spelled(value)));
            }
        }
        if parts.is_empty() {
            let what = format!("tell rows of {} apart", self.mapped.source);
            return Err(Error::new(Code::Bug, self.applying.source.attempt(&what)));
        }
        Ok(Sql::joined(&parts, " AND "))
    }

    fn update(&self, old: &Tuple, new: &Tuple) -> Result<Option<Sql>, Error> {
        let set: Vec<Sql> = self
            .values(new)
            .into_iter()
            .filter(|(_, value)| **value != Value::Unchanged)
            .map(|(column, value)| sql!("{} = {}", column, spelled(value)))
            .collect();
        if set.is_empty() {
            return Ok(None);
        }
        Ok(Some(sql!(
            "{}; UPDATE {} SET {} WHERE {}",
            self.become_writer,
            self.mapped.target,
            List(&set),
            self.that(old)?
        )))
    }

    fn delete(&self, old: &Tuple) -> Result<Sql, Error> {
        Ok(sql!(
            "{}; DELETE FROM {} WHERE {}",
            self.become_writer,
            self.mapped.target,
            self.that(old)?
        ))
    }

    /// Everything of the tenant's in the table.
    fn empty(&self) -> Sql {
        let target: &QualifiedName = &self.mapped.target;
        let held = self
            .applying
            .there
            .tables
            .get(target)
            .and_then(|table| transfer::filter(table, &self.applying.target.tenant.key));
        match held {
            Some(held) => {
                sql!("{}; DELETE FROM {} AS held WHERE {}", self.become_writer, target, held)
            }
            None => sql!("{}; DELETE FROM {}", self.become_writer, target),
        }
    }
}

fn spelled(value: &Value) -> Sql {
    match value {
        Value::Null | Value::Unchanged => sql!("NULL"),
        Value::Text(text) => sql!("{}", Literal(text)),
    }
}
