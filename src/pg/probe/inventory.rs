//! What a role reaches, as the server says it: every relation it may use in any way, and every
//! routine it may call, wherever they are.

use std::collections::BTreeSet;

use super::session::{Answer, Row, Session};
use crate::error::Error;
use crate::model::catalog::{Oid, RelationKind};
use crate::model::ident::{Ident, QualifiedName};
use crate::sql;
use crate::sql::{List, Sql};

/// A relation that a role may use.
#[derive(Clone, Debug)]
pub(super) struct Reached {
    pub(super) oid: Oid,
    pub(super) name: QualifiedName,
    pub(super) kind: RelationKind,
    /// The planner's estimate; negative when it was never counted.
    pub(super) rows: f64,
    /// The columns that may be read; `None` is all of them.
    pub(super) readable: Option<Vec<Ident>>,
    /// Whether rows may be read.
    pub(super) reads: bool,
    pub(super) inserts: bool,
    pub(super) deletes: bool,
    pub(super) truncates: bool,
    /// The columns that may be changed.
    pub(super) updatable: Vec<Ident>,
}

impl Reached {
    /// A table as its owner sees it.
    pub(super) fn whole(oid: Oid, name: &QualifiedName) -> Self {
        Self {
            oid,
            name: name.clone(),
            kind: RelationKind::Table,
            rows: -1.0,
            readable: None,
            reads: true,
            inserts: false,
            deletes: false,
            truncates: false,
            updatable: Vec::new(),
        }
    }

    /// Everything that may be read of one row, as text in lower case.
    pub(super) fn text(&self, alias: &Ident) -> Sql {
        match &self.readable {
            None => sql!("pg_catalog.lower({}::text)", alias),
            Some(columns) => {
                let parts: Vec<Sql> =
                    columns.iter().map(|column| sql!("{}.{}::text", alias, column)).collect();
                sql!("pg_catalog.lower(pg_catalog.concat_ws(' ', {}))", List(&parts))
            }
        }
    }

    /// Whether a column may be read.
    pub(super) fn shows(&self, column: &Ident) -> bool {
        self.reads && self.readable.as_ref().is_none_or(|columns| columns.contains(column))
    }

    /// Whether it takes writes at all.
    pub(super) fn writes(&self) -> bool {
        self.inserts || self.deletes || !self.updatable.is_empty()
    }
}

/// A routine that a role may call.
#[derive(Clone, Debug)]
pub(super) struct Routine {
    pub(super) oid: Oid,
    pub(super) name: QualifiedName,
    /// Its arguments' types, as SQL reads them.
    pub(super) signature: String,
    pub(super) procedure: bool,
    pub(super) definer: bool,
    /// It says itself where names are looked up.
    pub(super) pinned: bool,
    /// Its arguments: name and type.
    pub(super) arguments: Vec<(String, String)>,
    /// So many of them must be given; the others have defaults.
    pub(super) needed: usize,
    /// Its language is trusted.
    pub(super) trusted: bool,
    pub(super) body: String,
}

/// The relations that the session's current role may use, and that no extension brought.
///
/// # Errors
///
/// When the session breaks.
pub(super) async fn relations(
    session: &Session,
    enter: &[Sql],
) -> Result<Result<Vec<Reached>, String>, Error> {
    let mut script = enter.to_vec();
    script.push(sql!(
        "SELECT c.oid, n.nspname, c.relname, c.relkind, c.reltuples, \
                pg_catalog.has_table_privilege(c.oid, 'SELECT'), \
                pg_catalog.has_any_column_privilege(c.oid, 'SELECT'), \
                pg_catalog.has_any_column_privilege(c.oid, 'INSERT') AND (c.relkind NOT IN ('v', 'f') OR pg_catalog.pg_relation_is_updatable(c.oid, true) & 8 > 0), \
                pg_catalog.has_table_privilege(c.oid, 'DELETE') AND (c.relkind NOT IN ('v', 'f') OR pg_catalog.pg_relation_is_updatable(c.oid, true) & 16 > 0), \
                pg_catalog.has_table_privilege(c.oid, 'TRUNCATE'), \
                (SELECT pg_catalog.json_agg(a.attname ORDER BY a.attnum) FROM pg_catalog.pg_attribute AS a \
                 WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
                   AND pg_catalog.has_column_privilege(c.oid, a.attnum, 'SELECT')), \
                CASE WHEN pg_catalog.has_any_column_privilege(c.oid, 'UPDATE') \
                      AND (c.relkind NOT IN ('v', 'f') OR pg_catalog.pg_relation_is_updatable(c.oid, true) & 4 > 0) THEN \
                (SELECT pg_catalog.json_agg(a.attname ORDER BY a.attnum) FROM pg_catalog.pg_attribute AS a \
                 WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' AND a.attidentity <> 'a' \
                   AND pg_catalog.has_column_privilege(c.oid, a.attnum, 'UPDATE')) END \
         FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema') \
           AND n.nspname !~ '^pg_(toast|temp)' AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') \
           AND (pg_catalog.has_any_column_privilege(c.oid, 'SELECT, INSERT, UPDATE') \
                OR pg_catalog.has_table_privilege(c.oid, 'DELETE, TRUNCATE')) \
           AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS d WHERE d.classid = 'pg_catalog.pg_class'::regclass \
                           AND d.objid = c.oid AND d.deptype = 'e') \
         ORDER BY n.nspname, c.relname"
    ));
    Ok(match session.attempt(&script).await? {
        Answer::Done(mut all) => {
            let rows = all.pop().unwrap_or_default().rows;
            Ok(rows.iter().filter_map(relation).collect())
        }
        other => Err(other.trouble().unwrap_or_default()),
    })
}

fn relation(row: &Row) -> Option<Reached> {
    let text = |at: usize| row.get(at)?.as_deref();
    let yes = |at: usize| text(at) == Some("t");
    let columns = |at: usize| -> Vec<Ident> {
        let names: Vec<String> =
            text(at).and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
        names.into_iter().filter_map(|name| Ident::new(name).ok()).collect()
    };
    Some(Reached {
        oid: text(0)?.parse().ok()?,
        name: QualifiedName::new(Ident::new(text(1)?).ok()?, Ident::new(text(2)?).ok()?),
        kind: RelationKind::from_catalog(text(3)?)?,
        rows: text(4)?.parse().unwrap_or(-1.0),
        readable: if yes(5) { None } else { Some(columns(10)) },
        reads: yes(6),
        inserts: yes(7),
        deletes: yes(8),
        truncates: yes(9),
        updatable: columns(11),
    })
}

/// The routines that the session's current role may call, and that no extension brought.
///
/// # Errors
///
/// When the session breaks.
pub(super) async fn routines(session: &Session, enter: &[Sql]) -> Result<Vec<Routine>, Error> {
    let mut script = enter.to_vec();
    script.push(sql!(
        "SELECT f.oid, n.nspname, f.proname, pg_catalog.oidvectortypes(f.proargtypes), f.prokind = 'p', f.prosecdef, \
                (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(coalesce(f.proargnames[o.at], ''), \
                        pg_catalog.format_type(CASE WHEN f.provariadic <> 0 AND o.at = f.pronargs THEN f.provariadic ELSE o.type END, NULL)) \
                        ORDER BY o.at) \
                 FROM pg_catalog.unnest(f.proargtypes::oid[]) WITH ORDINALITY AS o (type, at)), \
                l.lanpltrusted, coalesce(pg_catalog.pg_get_function_sqlbody(f.oid), f.prosrc, ''), \
                coalesce(pg_catalog.array_to_string(f.proconfig, ','), '') ~ 'search_path=', \
                f.pronargs - f.pronargdefaults \
         FROM pg_catalog.pg_proc AS f JOIN pg_catalog.pg_namespace AS n ON n.oid = f.pronamespace \
         JOIN pg_catalog.pg_language AS l ON l.oid = f.prolang \
         WHERE f.prokind IN ('f', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)' \
           AND f.prorettype NOT IN ('pg_catalog.trigger'::regtype, 'pg_catalog.event_trigger'::regtype, 'pg_catalog.internal'::regtype) \
           AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_function_privilege(f.oid, 'EXECUTE') \
           AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS d WHERE d.classid = 'pg_catalog.pg_proc'::regclass \
                           AND d.objid = f.oid AND d.deptype = 'e') \
         ORDER BY n.nspname, f.proname, 4"
    ));
    let Answer::Done(mut all) = session.attempt(&script).await? else { return Ok(Vec::new()) };
    let rows = all.pop().unwrap_or_default().rows;
    Ok(rows.iter().filter_map(routine).collect())
}

fn routine(row: &Row) -> Option<Routine> {
    let text = |at: usize| row.get(at)?.as_deref();
    let yes = |at: usize| text(at) == Some("t");
    Some(Routine {
        oid: text(0)?.parse().ok()?,
        name: QualifiedName::new(Ident::new(text(1)?).ok()?, Ident::new(text(2)?).ok()?),
        signature: text(3)?.to_owned(),
        procedure: yes(4),
        definer: yes(5),
        arguments: text(6).and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default(),
        trusted: yes(7),
        body: text(8)?.to_owned(),
        pinned: yes(9),
        needed: text(10)?.parse().ok()?,
    })
}

/// The oids of relations that hold rows.
pub(super) fn tables(reached: &[Reached]) -> BTreeSet<Oid> {
    reached.iter().filter(|one| one.kind.is_table()).map(|one| one.oid).collect()
}
