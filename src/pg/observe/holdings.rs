//! Reads what a tenant has, in a handful of statements whatever the number of tables.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use super::catalog::{get, name, optional_name};
use crate::error::{Code, Error};
use crate::model::holdings::{
    Edge, Firing, HeldColumn, HeldSequence, HeldTable, Holdings, OnDelete, Outside, Reach, SeenBy,
};
use crate::model::ident::{Ident, QualifiedName};
use crate::model::layout::{
    CLOSED_TABLE, HISTORY_TABLE, PROGRESS_TABLE, REPEATABLES_TABLE, Tenancy,
};
use crate::model::tenant::{Isolation, Tenant};
use crate::pg::answer::failed;
use crate::pg::history;
use crate::plan::POLICY;
use crate::plan::life::OPEN_POLICY;
use crate::sql;
use crate::sql::{Literal, Sql};

/// Bookkeeping: what it says belongs to the schema, and travels as its version.
const BOOKKEEPING: [&str; 4] = [HISTORY_TABLE, PROGRESS_TABLE, REPEATABLES_TABLE, CLOSED_TABLE];

/// So many sequences are read by one statement.
const BATCH: usize = 100;

/// What is looked at: the tenant's schema and whatever its owner owns elsewhere; in a database of
/// its own, everything. The registry is nobody's data.
const PLACE: &str = "(n.nspname = $1 OR r.rolname = $2 OR $3) AND n.nspname !~ '^pg_' \
     AND n.nspname NOT IN ('information_schema', 'tenantctl') AND c.relpersistence <> 't'";

const TABLES: &str = "SELECT c.oid, n.nspname::text AS schema, c.relname::text AS name, \
        c.relkind::text AS kind, r.rolname::text AS owner, c.relrowsecurity AS rls, \
        c.relforcerowsecurity AS forced, \
        CASE WHEN c.reltuples >= 0 THEN c.reltuples::int8 END AS estimate, \
        (SELECT coalesce(sum(pg_catalog.pg_total_relation_size(t.relid)), 0)::int8 \
         FROM pg_catalog.pg_partition_tree(c.oid) t WHERE t.isleaf AND c.relkind = 'p') \
        + CASE WHEN c.relkind = 'r' THEN pg_catalog.pg_total_relation_size(c.oid) ELSE 0 END AS bytes, \
        EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::regclass \
                AND d.objid = c.oid AND d.deptype = 'e') AS extension \
 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
 JOIN pg_catalog.pg_roles r ON r.oid = c.relowner \
 WHERE c.relkind IN ('r', 'p', 'f', 'm') AND NOT c.relispartition AND PLACE ORDER BY c.oid";

const COLUMNS: &str = "SELECT a.attrelid AS oid, a.attname::text AS name, \
        pg_catalog.format_type(a.atttypid, a.atttypmod) AS kind, a.attnotnull AS required, \
        a.attgenerated <> '' AS generated, a.attidentity <> '' AS identity, \
        a.atthasdef AND a.attgenerated = '' AS has_default, \
        pg_catalog.array_position(k.conkey, a.attnum) AS key_at \
 FROM pg_catalog.pg_attribute a \
 LEFT JOIN pg_catalog.pg_constraint k ON k.conrelid = a.attrelid AND k.contype = 'p' \
 WHERE a.attrelid = ANY ($1) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attrelid, a.attnum";

const POLICIES: &str = "SELECT p.polrelid AS oid, p.polname::text AS name, \
        p.polpermissive AND p.polcmd IN ('r', '*') AS shows, \
        p.polpermissive AND p.polcmd IN ('a', '*') AS adds, 0 = ANY (p.polroles) AS everybody, \
        ARRAY(SELECT r.rolname::text FROM pg_catalog.pg_roles r WHERE r.oid = ANY (p.polroles)) AS roles, \
        (p.polname = $2 OR p.polname = $3) AND coalesce(pg_catalog.obj_description(p.oid, 'pg_policy'), '') LIKE 'tenantctl: policy%' AS ours \
 FROM pg_catalog.pg_policy p WHERE p.polrelid = ANY ($1) ORDER BY p.polname";

const TRIGGERS: &str = "SELECT t.tgrelid AS oid, t.tgname::text AS name, t.tgenabled::text AS fires \
 FROM pg_catalog.pg_trigger t WHERE t.tgrelid = ANY ($1) AND NOT t.tgisinternal";

/// A key of a partition is its root's. What the server derives for partitions has a parent.
const EDGES: &str = "SELECT f.conname::text AS name, fn.nspname::text AS from_schema, fc.relname::text AS from_name, \
        tn.nspname::text AS to_schema, tc.relname::text AS to_name, \
        f.confdeltype::text AS on_delete, f.condeferrable AS deferrable, \
        ARRAY(SELECT a.attname::text FROM pg_catalog.unnest(f.conkey) WITH ORDINALITY AS k (number, at) \
              JOIN pg_catalog.pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.number ORDER BY k.at) AS columns, \
        ARRAY(SELECT a.attname::text FROM pg_catalog.unnest(f.confkey) WITH ORDINALITY AS k (number, at) \
              JOIN pg_catalog.pg_attribute a ON a.attrelid = f.confrelid AND a.attnum = k.number ORDER BY k.at) AS to_columns, \
        EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = f.conrelid \
                AND a.attnum = ANY (f.conkey) AND NOT a.attnotnull) AS optional \
 FROM pg_catalog.pg_constraint f \
 JOIN pg_catalog.pg_class fc ON fc.oid = coalesce(pg_catalog.pg_partition_root(f.conrelid)::oid, f.conrelid) \
 JOIN pg_catalog.pg_namespace fn ON fn.oid = fc.relnamespace \
 JOIN pg_catalog.pg_class tc ON tc.oid = coalesce(pg_catalog.pg_partition_root(f.confrelid)::oid, f.confrelid) \
 JOIN pg_catalog.pg_namespace tn ON tn.oid = tc.relnamespace \
 WHERE f.contype = 'f' AND f.conparentid = 0 AND (fc.oid = ANY ($1) OR tc.oid = ANY ($1)) \
 ORDER BY 2, 3, 1";

const SEQUENCES: &str = "SELECT n.nspname::text AS schema, c.relname::text AS name, r.rolname::text AS owner, \
        tn.nspname::text AS on_schema, t.relname::text AS on_table, a.attname::text AS on_column, \
        coalesce(d.deptype = 'i', false) AS identity \
 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
 JOIN pg_catalog.pg_roles r ON r.oid = c.relowner \
 LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid \
      AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i') \
 LEFT JOIN pg_catalog.pg_class t ON t.oid = d.refobjid \
 LEFT JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace \
 LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid \
 WHERE c.relkind = 'S' AND PLACE \
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.classid = 'pg_catalog.pg_class'::regclass \
                   AND e.objid = c.oid AND e.deptype = 'e') \
 ORDER BY 1, 2";

/// Reads what a tenant has, on a session in its database that is in a transaction: the search path
/// is the tenant's schema until that ends.
///
/// # Errors
///
/// Whatever the server refuses; `not-found` when there is no such schema; `refused` for a shared
/// tenant of a layout without a tenant column.
pub(in crate::pg) async fn holdings(
    client: &Client,
    tenant: &Tenant,
    tenancy: Option<&Tenancy>,
) -> Result<Holdings, Error> {
    let reader = Reader { client, tenant };
    reader.enter().await?;
    let mut found = Found::default();
    reader.tables(&mut found).await?;
    reader.columns(&mut found).await?;
    reader.policies(&mut found).await?;
    let mut holdings = Holdings { edges: reader.edges(&found).await?, ..Holdings::default() };
    if tenant.isolation == Isolation::Shared {
        let tenancy = tenancy.ok_or_else(|| {
            let what =
                format!("read what tenant {} has: its tables have no tenant column", tenant.id);
            Error::new(Code::Refused, what)
        })?;
        sort_out(&mut found, &holdings.edges, &tenancy.column);
    }
    holdings.sequences = reader.sequences().await?;
    holdings.large_objects = reader.large_objects().await?;
    holdings.history = history::of(client, &tenant.placement.schema).await?;
    holdings.tables = found.tables.into_values().collect();
    holdings.outside = found.outside;
    holdings.derived = found.derived;
    let held = &holdings.tables;
    holdings.edges.retain(|edge| held.contains_key(&edge.to));
    Ok(holdings)
}

/// What has been found of the tables until now, by their oid.
#[derive(Default)]
struct Found {
    tables: BTreeMap<u32, (QualifiedName, HeldTable)>,
    outside: BTreeMap<QualifiedName, Outside>,
    derived: Vec<QualifiedName>,
}

impl Found {
    fn oids(&self) -> Vec<u32> {
        self.tables.keys().copied().collect()
    }

    fn table(&mut self, row: &Row) -> Result<Option<&mut HeldTable>, Error> {
        Ok(self.tables.get_mut(&get::<u32>(row, "oid")?).map(|(_, table)| table))
    }
}

/// Tells which rows of shared tables are one tenant's: by the tenant column, or by the shortest way
/// along foreign keys to a table that has it. A table with neither is nobody's.
fn sort_out(found: &mut Found, edges: &[Edge], column: &Ident) {
    let mut reached: BTreeMap<QualifiedName, Reach> = BTreeMap::new();
    for (name, table) in found.tables.values() {
        if let Some(column) = table.column(column) {
            let reach = Reach::Column { name: column.name.clone(), kind: column.kind.clone() };
            reached.insert(name.clone(), reach);
        }
    }
    let held: BTreeSet<QualifiedName> =
        found.tables.values().map(|(name, _)| name.clone()).collect();
    loop {
        let mut more = BTreeMap::new();
        for edge in edges.iter().filter(|edge| held.contains(&edge.from)) {
            if reached.contains_key(&edge.from) || more.contains_key(&edge.from) {
                continue;
            }
            let reach = match reached.get(&edge.to) {
                Some(Reach::Column { name, kind }) => Reach::Through {
                    path: vec![edge.clone()],
                    column: name.clone(),
                    kind: kind.clone(),
                },
                Some(Reach::Through { path, column, kind }) => Reach::Through {
                    path: std::iter::once(edge).chain(path).cloned().collect(),
                    column: column.clone(),
                    kind: kind.clone(),
                },
                Some(Reach::Whole) | None => continue,
            };
            more.insert(edge.from.clone(), reach);
        }
        if more.is_empty() {
            break;
        }
        reached.append(&mut more);
    }
    let outside = &mut found.outside;
    found.tables.retain(|_, (name, table)| match reached.remove(name) {
        Some(reach) => {
            table.reach = reach;
            true
        }
        None => {
            outside.insert(name.clone(), Outside::Nobodys);
            false
        }
    });
}

struct Reader<'a> {
    client: &'a Client,
    tenant: &'a Tenant,
}

impl Reader<'_> {
    async fn rows(
        &self,
        query: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Row>, Error> {
        self.client
            .query_typed(&query.replace("PLACE", PLACE), parameters)
            .await
            .map_err(|error| failed(error, self.attempt()))
    }

    fn attempt(&self) -> String {
        format!("read what tenant {} has", self.tenant.id)
    }

    async fn of_place(&self, query: &str) -> Result<Vec<Row>, Error> {
        let whole = self.tenant.isolation == Isolation::Database;
        let parameters: [(&(dyn ToSql + Sync), Type); 3] = [
            (&self.tenant.placement.schema.as_str(), Type::TEXT),
            (&self.tenant.owner.as_str(), Type::TEXT),
            (&whole, Type::BOOL),
        ];
        self.rows(query, &parameters).await
    }

    /// Types and defaults are printed as the schema's own files would name them.
    async fn enter(&self) -> Result<(), Error> {
        let schema = &self.tenant.placement.schema;
        let there = self
            .rows(
                "SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1",
                &[(&schema.as_str(), Type::TEXT)],
            )
            .await?;
        if there.is_empty() {
            let what = format!("{}: there is no schema {schema}", self.attempt());
            return Err(Error::new(Code::NotFound, what));
        }
        self.client
            .batch_execute(sql!("SET LOCAL search_path = {}", schema).as_str())
            .await
            .map_err(|error| failed(error, self.attempt()))
    }

    async fn tables(&self, found: &mut Found) -> Result<(), Error> {
        for row in &self.of_place(TABLES).await? {
            let table_name = QualifiedName::new(name(row, "schema")?, name(row, "name")?);
            let kind: &str = get(row, "kind")?;
            if BOOKKEEPING.contains(&table_name.name.as_str()) {
                continue;
            }
            let outside = match kind {
                "f" => Some(Outside::Foreign),
                _ if get(row, "extension")? => Some(Outside::Extension),
                _ => None,
            };
            match outside {
                Some(why) => {
                    found.outside.insert(table_name, why);
                }
                None if kind == "m" => found.derived.push(table_name),
                None => {
                    let table = HeldTable {
                        columns: Vec::new(),
                        key: Vec::new(),
                        reach: Reach::Whole,
                        partitioned: kind == "p",
                        owner: name(row, "owner")?,
                        rls: get(row, "rls")?,
                        forced: get(row, "forced")?,
                        seen_by: SeenBy::default(),
                        added_by: SeenBy::default(),
                        foreign_policies: Vec::new(),
                        triggers: BTreeMap::new(),
                        bytes: get::<i64>(row, "bytes")?.unsigned_abs(),
                        estimate: get::<Option<i64>>(row, "estimate")?.map(i64::unsigned_abs),
                    };
                    found.tables.insert(get(row, "oid")?, (table_name, table));
                }
            }
        }
        Ok(())
    }

    async fn columns(&self, found: &mut Found) -> Result<(), Error> {
        let mut keys: BTreeMap<u32, BTreeMap<i32, Ident>> = BTreeMap::new();
        for row in &self.rows(COLUMNS, &[(&found.oids(), Type::OID_ARRAY)]).await? {
            let column = HeldColumn {
                name: name(row, "name")?,
                kind: get(row, "kind")?,
                required: get(row, "required")?,
                generated: get(row, "generated")?,
                identity: get(row, "identity")?,
                default: get(row, "has_default")?,
            };
            if let Some(at) = get::<Option<i32>>(row, "key_at")? {
                keys.entry(get(row, "oid")?).or_default().insert(at, column.name.clone());
            }
            if let Some(table) = found.table(row)? {
                table.columns.push(column);
            }
        }
        for (oid, key) in keys {
            if let Some((_, table)) = found.tables.get_mut(&oid) {
                table.key = key.into_values().collect();
            }
        }
        Ok(())
    }

    async fn policies(&self, found: &mut Found) -> Result<(), Error> {
        let oids = found.oids();
        let parameters: [(&(dyn ToSql + Sync), Type); 3] =
            [(&oids, Type::OID_ARRAY), (&POLICY, Type::TEXT), (&OPEN_POLICY, Type::TEXT)];
        for row in &self.rows(POLICIES, &parameters).await? {
            let Some(table) = found.table(row)? else { continue };
            for (column, allowed) in [("shows", &mut table.seen_by), ("adds", &mut table.added_by)]
            {
                if get(row, column)? {
                    allowed.everybody |= get::<bool>(row, "everybody")?;
                    for role in get::<Vec<String>>(row, "roles")? {
                        allowed.roles.insert(Ident::new(role)?);
                    }
                }
            }
            if !get::<bool>(row, "ours")? {
                table.foreign_policies.push(get(row, "name")?);
            }
        }
        for row in &self.rows(TRIGGERS, &parameters[..1]).await? {
            let Some(table) = found.table(row)? else { continue };
            let firing = match get::<&str>(row, "fires")? {
                "O" => Firing::Normal,
                "R" => Firing::Replica,
                "A" => Firing::Always,
                _ => Firing::Disabled,
            };
            table.triggers.insert(name(row, "name")?, firing);
        }
        Ok(())
    }

    async fn edges(&self, found: &Found) -> Result<Vec<Edge>, Error> {
        let rows = self.rows(EDGES, &[(&found.oids(), Type::OID_ARRAY)]).await?;
        let names = |row: &Row, column: &str| -> Result<Vec<Ident>, Error> {
            get::<Vec<String>>(row, column)?.into_iter().map(Ident::new).collect()
        };
        rows.iter()
            .map(|row| {
                Ok(Edge {
                    from: QualifiedName::new(name(row, "from_schema")?, name(row, "from_name")?),
                    name: name(row, "name")?,
                    columns: names(row, "columns")?,
                    to: QualifiedName::new(name(row, "to_schema")?, name(row, "to_name")?),
                    to_columns: names(row, "to_columns")?,
                    on_delete: match get::<&str>(row, "on_delete")? {
                        "r" => OnDelete::Restrict,
                        "c" => OnDelete::Cascade,
                        "n" => OnDelete::SetNull,
                        "d" => OnDelete::SetDefault,
                        _ => OnDelete::NoAction,
                    },
                    deferrable: get(row, "deferrable")?,
                    optional: get(row, "optional")?,
                })
            })
            .collect()
    }

    async fn sequences(&self) -> Result<BTreeMap<QualifiedName, HeldSequence>, Error> {
        let mut found = BTreeMap::new();
        let mut reads: BTreeMap<Ident, Vec<(QualifiedName, Sql)>> = BTreeMap::new();
        for row in &self.of_place(SEQUENCES).await? {
            let sequence = QualifiedName::new(name(row, "schema")?, name(row, "name")?);
            let column = match (
                optional_name(row, "on_schema")?,
                optional_name(row, "on_table")?,
                optional_name(row, "on_column")?,
            ) {
                (Some(schema), Some(table), Some(column)) => {
                    Some((QualifiedName::new(schema, table), column))
                }
                _ => None,
            };
            let read = sql!(
                "SELECT {}::text AS schema, {}::text AS name, last_value, is_called FROM {}",
                Literal(sequence.schema.as_str()),
                Literal(sequence.name.as_str()),
                sequence
            );
            reads.entry(name(row, "owner")?).or_default().push((sequence.clone(), read));
            let identity = get(row, "identity")?;
            found.insert(sequence, HeldSequence { column, identity, stands_at: (1, false) });
        }
        for (owner, reads) in reads {
            self.become_role(Some(&owner)).await?;
            for batch in reads.chunks(BATCH) {
                let parts: Vec<Sql> = batch.iter().map(|(_, read)| read.clone()).collect();
                for row in &self.rows(Sql::joined(&parts, " UNION ALL ").as_str(), &[]).await? {
                    let sequence = QualifiedName::new(name(row, "schema")?, name(row, "name")?);
                    if let Some(sequence) = found.get_mut(&sequence) {
                        sequence.stands_at = (get(row, "last_value")?, get(row, "is_called")?);
                    }
                }
            }
            self.become_role(None).await?;
        }
        Ok(found)
    }

    async fn become_role(&self, role: Option<&Ident>) -> Result<(), Error> {
        let become_it = role
            .map_or_else(|| sql!("SET LOCAL ROLE NONE"), |role| sql!("SET LOCAL ROLE {}", role));
        self.client
            .batch_execute(become_it.as_str())
            .await
            .map_err(|error| failed(error, self.attempt()))
    }

    /// Shared roles own everybody's: only those of roles that serve this tenant alone are its own.
    async fn large_objects(&self) -> Result<u64, Error> {
        let tenant = self.tenant;
        let mut roles: Vec<&str> = vec![tenant.owner.as_str()];
        roles.extend(tenant.roles.iter().map(Ident::as_str));
        let rows = self
            .rows(
                "SELECT count(*) AS objects FROM pg_catalog.pg_largeobject_metadata m \
                 JOIN pg_catalog.pg_roles r ON r.oid = m.lomowner WHERE r.rolname = ANY ($1)",
                &[(&roles, Type::TEXT_ARRAY)],
            )
            .await?;
        let count: i64 = rows.first().map_or(Ok(0), |row| get(row, "objects"))?;
        Ok(count.unsigned_abs())
    }
}
