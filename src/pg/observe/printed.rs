//! Reads what the server prints from its parse trees: the conditions of policies and the queries of
//! views.
//!
//! To print a column's name the server takes a lock on its table, and waits for whoever holds an
//! exclusive one. Promises not to wait long: what stands on such a table is left out, and said.

use super::catalog::{Reader, failed, get, name};
use crate::error::Error;
use crate::model::catalog::{Catalog, Command, Oid, Policy, Privilege, Privileges, View};
use crate::model::ident::Ident;
use crate::model::surroundings::Rewrite;

/// The relations that another session holds for itself alone.
const LOCKED: &str =
    "ARRAY(SELECT l.relation FROM pg_locks l JOIN pg_database d ON d.oid = l.database
    WHERE d.datname = current_database() AND l.mode = 'AccessExclusiveLock' AND l.granted
      AND l.pid <> pg_backend_pid())";

/// No relation.
const NONE: &str = "'{}'::oid[]";

impl Reader<'_> {
    /// Reads policies and views; without those on locked tables, when that takes too long.
    pub(super) async fn printed(&self, catalog: &mut Catalog) -> Result<(), Error> {
        self.batch("SAVEPOINT printed").await?;
        let timed_out =
            |error: &Error| error.answer.as_ref().is_some_and(|answer| answer.sqlstate == "55P03");
        match self.all(catalog, NONE).await {
            Err(error) if timed_out(&error) => {}
            done => return done,
        }
        self.batch("ROLLBACK TO SAVEPOINT printed").await?;
        catalog.policies.clear();
        catalog.around.rewrites.clear();
        for relation in catalog.relations.values_mut() {
            relation.view = None;
        }
        self.all(catalog, LOCKED).await?;
        let rows =
            self.rows("read pg_locks", &format!("SELECT unnest({LOCKED}) AS oid"), &[]).await?;
        for row in &rows {
            if let Some(relation) = catalog.relations.get(&get::<Oid>(row, "oid")?) {
                catalog.unseen.push(format!(
                    "somebody holds a lock on {}: its policies and views were not judged",
                    relation.name
                ));
            }
        }
        Ok(())
    }

    async fn batch(&self, statement: &str) -> Result<(), Error> {
        let done = self.client.batch_execute(statement).await;
        done.map_err(|error| failed("read the catalogues", error))
    }

    async fn all(&self, catalog: &mut Catalog, locked: &str) -> Result<(), Error> {
        self.views(catalog, locked).await?;
        self.rewrites(catalog, locked).await?;
        self.policies(catalog, locked).await
    }

    async fn views(&self, catalog: &mut Catalog, locked: &str) -> Result<(), Error> {
        // A view that reads as its caller needs no second look at its query.
        let rows = self
            .rows(
                "read the views",
                &"SELECT v.oid, v.invoker, v.barrier, v.checked,
                        CASE WHEN v.invoker OR v.relkind = 'm' THEN 0 ELSE pg_relation_is_updatable(v.oid, false) END AS writes,
                        CASE WHEN v.invoker THEN '' ELSE coalesce(pg_get_viewdef(v.oid), '') END AS definition,
                        (SELECT array_agg(DISTINCT d.refobjid) FROM pg_rewrite w
                         JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid
                         WHERE w.ev_class = v.oid AND w.rulename = '_RETURN' AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> v.oid) AS reads
                 FROM (SELECT c.oid, c.relkind,
                              coalesce((SELECT o.option_value IN ('local', 'cascaded') FROM pg_options_to_table(c.reloptions) o
                                        WHERE o.option_name = 'check_option'), false) AS checked,
                              coalesce((SELECT o.option_value::bool FROM pg_options_to_table(c.reloptions) o
                                        WHERE o.option_name = 'security_invoker'), false) AS invoker,
                              coalesce((SELECT o.option_value::bool FROM pg_options_to_table(c.reloptions) o
                                        WHERE o.option_name = 'security_barrier'), false) AS barrier
                       FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                       WHERE c.relkind IN ('v', 'm') AND FOREIGN) v
                 WHERE NOT v.oid = ANY (LOCKED) AND NOT EXISTS (
                     SELECT FROM pg_rewrite w JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid
                     WHERE w.ev_class = v.oid AND d.refclassid = 'pg_class'::regclass AND d.refobjid = ANY (LOCKED))"
                    .replace("LOCKED", locked),
                &[],
            )
            .await?;
        for row in &rows {
            if let Some(relation) = catalog.relations.get_mut(&get(row, "oid")?) {
                relation.view = Some(View {
                    security_invoker: get(row, "invoker")?,
                    security_barrier: get(row, "barrier")?,
                    reads: get::<Option<Vec<Oid>>>(row, "reads")?.unwrap_or_default(),
                    definition: get(row, "definition")?,
                    check_option: get(row, "checked")?,
                    writes: writes(get(row, "writes")?),
                });
            }
        }
        Ok(())
    }

    async fn rewrites(&self, catalog: &mut Catalog, locked: &str) -> Result<(), Error> {
        let rows = self
            .rows(
                "read pg_rewrite",
                &"SELECT w.rulename::text AS name, w.ev_class AS relation, w.ev_type::text AS event, pg_get_ruledef(w.oid) AS definition,
                        (SELECT array_agg(DISTINCT d.refobjid) FROM pg_depend d
                         WHERE d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid
                           AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> w.ev_class) AS reads
                 FROM pg_rewrite w JOIN pg_class c ON c.oid = w.ev_class JOIN pg_namespace n ON n.oid = c.relnamespace
                 WHERE FOREIGN AND w.rulename <> '_RETURN' AND w.ev_enabled <> 'D' AND NOT w.ev_class = ANY (LOCKED)
                   AND NOT EXISTS (SELECT FROM pg_depend d
                     WHERE d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid
                       AND d.refclassid = 'pg_class'::regclass AND d.refobjid = ANY (LOCKED))"
                    .replace("LOCKED", locked),
                &[],
            )
            .await?;
        for row in &rows {
            let event: String = get(row, "event")?;
            let verb = match event.as_str() {
                "2" => Privilege::Update,
                "3" => Privilege::Insert,
                "4" => Privilege::Delete,
                _ => Privilege::Select,
            };
            catalog.around.rewrites.push(Rewrite {
                name: name(row, "name")?,
                relation: get(row, "relation")?,
                fires: Privileges::NONE.with(verb),
                definition: get(row, "definition")?,
                reads: get::<Option<Vec<Oid>>>(row, "reads")?.unwrap_or_default(),
            });
        }
        Ok(())
    }

    async fn policies(&self, catalog: &mut Catalog, locked: &str) -> Result<(), Error> {
        let rows = self
            .rows(
                "read pg_policy",
                &"SELECT p.polname::text AS name, p.polrelid AS relation, p.polcmd::text AS command, p.polpermissive AS permissive,
                        p.polroles AS roles,
                        CASE WHEN NOT p.polrelid = ANY (LOCKED) THEN pg_get_expr(p.polqual, p.polrelid) END AS using_,
                        CASE WHEN NOT p.polrelid = ANY (LOCKED) THEN pg_get_expr(p.polwithcheck, p.polrelid) END AS check_,
                        (SELECT array_agg(DISTINCT a.attname::text) FROM pg_depend d
                         JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
                         WHERE d.classid = 'pg_policy'::regclass AND d.objid = p.oid
                           AND d.refclassid = 'pg_class'::regclass AND d.refobjid = p.polrelid) AS columns,
                        (SELECT array_agg(DISTINCT d.refobjid) FROM pg_depend d
                         WHERE d.classid = 'pg_policy'::regclass AND d.objid = p.oid AND d.refclassid = 'pg_proc'::regclass) AS functions,
                        (SELECT array_agg(DISTINCT d.refobjid) FROM pg_depend d
                         WHERE d.classid = 'pg_policy'::regclass AND d.objid = p.oid
                           AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> p.polrelid) AS reads
                 FROM pg_policy p ORDER BY p.polrelid, p.polname"
                    .replace("LOCKED", locked),
                &[],
            )
            .await?;
        for row in &rows {
            let command: String = get(row, "command")?;
            let columns: Option<Vec<String>> = get(row, "columns")?;
            catalog.policies.push(Policy {
                name: name(row, "name")?,
                relation: get(row, "relation")?,
                command: match command.as_str() {
                    "r" => Some(Command::Select),
                    "a" => Some(Command::Insert),
                    "w" => Some(Command::Update),
                    "d" => Some(Command::Delete),
                    _ => None,
                },
                permissive: get(row, "permissive")?,
                roles: get(row, "roles")?,
                using: get(row, "using_")?,
                check: get(row, "check_")?,
                columns: columns
                    .unwrap_or_default()
                    .into_iter()
                    .map(Ident::new)
                    .collect::<Result<_, Error>>()?,
                functions: get::<Option<Vec<Oid>>>(row, "functions")?.unwrap_or_default(),
                reads: get::<Option<Vec<Oid>>>(row, "reads")?.unwrap_or_default(),
            });
        }
        Ok(())
    }
}

/// What `pg_relation_is_updatable` says.
fn writes(bits: i32) -> Privileges {
    let verbs = [(4, Privilege::Update), (8, Privilege::Insert), (16, Privilege::Delete)];
    verbs.into_iter().filter(|(bit, _)| bits & bit != 0).map(|(_, verb)| verb).collect()
}
