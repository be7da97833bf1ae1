//! How far a file has come, written down in the tenant's own schema.
//!
//! The table is made by the first statement that needs it and dropped by the transaction that
//! records the file, so that a schema at rest holds refinery's history and nothing else. It is the
//! owner's alone: what the schema grants by default is taken back before anybody sees it.

use tokio_postgres::error::SqlState;

use super::Outside;
use crate::error::Error;
use crate::model::ident::{Ident, QualifiedName};
use crate::model::layout::PROGRESS_TABLE;
use crate::pg::answer::failed;
use crate::plan::outside::{Note, Task};
use crate::sql;
use crate::sql::{Literal, Sql};

/// So many statements stand before the COMMIT of [`Notes::doing`], the COMMIT included.
pub(super) const NOTE_STATEMENTS: usize = 3;

/// What is written down about a file.
pub(super) struct Notes<'a> {
    order: &'a Outside<'a>,
    wanted: bool,
    there: bool,
    of_this_file: Vec<Note>,
    of_others: bool,
}

/// The table of a schema.
pub(super) fn table(schema: &Ident) -> Sql {
    match Ident::new(PROGRESS_TABLE) {
        Ok(name) => sql!("{}", QualifiedName::new(schema.clone(), name)),
        Err(_) => sql!("{}.tenantctl_progress", schema),
    }
}

impl<'a> Notes<'a> {
    /// Reads what earlier runs have written, if anything.
    pub(super) async fn read(order: &'a Outside<'a>, wanted: bool) -> Result<Self, Error> {
        let query = sql!(
            "SELECT version, statement, checksum, done_at IS NOT NULL FROM {} ORDER BY statement",
            table(order.schema)
        );
        let mut notes =
            Self { order, wanted, there: true, of_this_file: Vec::new(), of_others: false };
        match order.session.query_typed(query.as_str(), &[]).await {
            Ok(rows) => {
                for row in &rows {
                    if row.get::<_, i64>(0) == order.migration.version.0 {
                        notes.of_this_file.push(Note {
                            number: row.get(1),
                            checksum: row.get(2),
                            done: row.get(3),
                        });
                    } else {
                        notes.of_others = true;
                    }
                }
            }
            Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => notes.there = false,
            Err(error) => return Err(notes.unwritten(error)),
        }
        Ok(notes)
    }

    /// What was written about this file.
    pub(super) fn of_this_file(&self) -> &[Note] {
        &self.of_this_file
    }

    /// Makes the table, when this file needs one.
    pub(super) async fn make(&mut self) -> Result<(), Error> {
        if !self.wanted || self.there {
            return Ok(());
        }
        let table = table(self.order.schema);
        let make = sql!(
            "BEGIN; CREATE TABLE IF NOT EXISTS {} (version int8 NOT NULL, statement int4 NOT NULL, \
             checksum text NOT NULL, begun_at timestamptz NOT NULL DEFAULT pg_catalog.now(), \
             done_at timestamptz, PRIMARY KEY (version, statement)); \
             DO $close$ DECLARE who text; BEGIN \
               FOR who IN SELECT CASE x.grantee WHEN 0 THEN 'PUBLIC' \
                                 ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(x.grantee)) END \
                 FROM pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) x \
                 WHERE c.oid = {}::pg_catalog.regclass AND x.grantee <> c.relowner GROUP BY 1 \
               LOOP EXECUTE 'REVOKE ALL ON ' || {} || ' FROM ' || who; END LOOP; \
             END $close$; COMMIT",
            table,
            Literal(table.as_str()),
            Literal(table.as_str())
        );
        if let Err(error) = self.order.session.batch_execute(make.as_str()).await {
            let ended = self.order.session.batch_execute("ROLLBACK").await;
            log::debug!("rolled back: {ended:?}");
            return Err(self.unwritten(error));
        }
        self.there = true;
        Ok(())
    }

    /// The end of a transaction that did a statement: the note, and COMMIT. None when there is
    /// nothing to write down.
    pub(super) fn doing(&self, task: &Task<'_>) -> Option<Sql> {
        self.wanted.then(|| {
            // The statement may have become another role, which cannot write here.
            sql!("{}; {}; COMMIT", self.become_owner(), self.write(task, &sql!("pg_catalog.now()")))
        })
    }

    /// Writes that a statement is about to be sent.
    pub(super) async fn begun(&self, task: &Task<'_>) -> Result<(), Error> {
        self.put(self.write(task, &sql!("NULL"))).await
    }

    /// Writes that a statement is done.
    pub(super) async fn done(&self, task: &Task<'_>) -> Result<(), Error> {
        self.put(self.write(task, &sql!("pg_catalog.now()"))).await
    }

    /// Forgets that a statement was sent: the server has refused it. If that cannot be written, the
    /// next run knows less than it could, and no more than that.
    pub(super) async fn undone(&self, task: &Task<'_>) {
        let forget = sql!(
            "DELETE FROM {} WHERE version = {} AND statement = {} AND done_at IS NULL",
            table(self.order.schema),
            self.order.migration.version.0,
            task.number
        );
        if let Err(error) = self.put(forget).await {
            log::warn!("{error}");
        }
    }

    /// What the transaction that records the file must run as well.
    pub(super) fn closing(&self) -> Sql {
        let table = table(self.order.schema);
        if !self.there {
            sql!("")
        } else if self.of_others {
            sql!("DELETE FROM {} WHERE version = {}", table, self.order.migration.version.0)
        } else {
            sql!("DROP TABLE {}", table)
        }
    }

    fn write(&self, task: &Task<'_>, done: &Sql) -> Sql {
        sql!(
            "INSERT INTO {} (version, statement, checksum, done_at) VALUES ({}, {}, {}, {}) \
             ON CONFLICT (version, statement) \
             DO UPDATE SET checksum = excluded.checksum, done_at = excluded.done_at",
            table(self.order.schema),
            self.order.migration.version.0,
            task.number,
            Literal(&task.checksum),
            done
        )
    }

    async fn put(&self, statement: Sql) -> Result<(), Error> {
        if !self.wanted {
            return Ok(());
        }
        // In one message, and so in one transaction: the role is the session's again afterwards.
        let put = sql!("{}; {}", self.become_owner(), statement);
        self.order.session.batch_execute(put.as_str()).await.map_err(|error| self.unwritten(error))
    }

    fn become_owner(&self) -> Sql {
        let role = self.order.role;
        role.map_or_else(|| sql!("SET LOCAL ROLE NONE"), |role| sql!("SET LOCAL ROLE {}", role))
    }

    fn unwritten(&self, error: tokio_postgres::Error) -> Error {
        let Outside { migration, schema, .. } = self.order;
        failed(error, format!("note in {schema} how far {} has come", migration.path))
    }
}
