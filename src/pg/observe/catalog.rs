//! Reads a [`Catalog`]: one statement for each kind of object, whatever the number of schemas.
//!
//! Promises to change nothing and to need no privilege but CONNECT: it runs in one READ ONLY,
//! REPEATABLE READ transaction that is rolled back, with `search_path = pg_catalog` so that no
//! schema of a tenant can stand in for the server's own, and reads only what every role may read.
//! One text serves PostgreSQL 14 to 18. What the role could not see is said in
//! [`Catalog::unseen`].

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::types::FromSql;
use tokio_postgres::{Client, Row};

use crate::error::{Code, Error, ServerAnswer};
use crate::model::catalog::{
    Catalog, Column, DefaultPrivilege, Fill, Function, Grant, Oid, Privilege, Privileges, Relation,
    RelationKind, Schema, Trigger,
};
use crate::model::cluster::ClusterFacts;
use crate::model::ident::{Ident, QualifiedName};
use crate::model::layout::Estate;
use crate::model::tenant::{ClusterName, Isolation};

/// What lies outside: the server's own schemas, and those that live for one session.
const FOREIGN: &str =
    "n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'";

/// Reads the facts about the database that a session is connected to, beside those of its cluster.
///
/// Needs a session that is in no transaction. The estate says where tenants share tables, which is
/// where columns are read.
///
/// # Errors
///
/// [`Code::Server`] or [`Code::Permission`] when a catalogue cannot be read.
pub(in crate::pg) async fn catalog(
    client: &Client,
    (cluster, database): (&ClusterName, &Ident),
    facts: &ClusterFacts,
    estate: &Estate,
) -> Result<Catalog, Error> {
    let mut catalog = Catalog::of(cluster.clone(), database.clone(), facts);
    let reader = Reader { client };
    let read = async {
        reader.schemas(&mut catalog).await?;
        reader.relations(&mut catalog).await?;
        reader.columns(&mut catalog, estate).await?;
        reader.printed(&mut catalog).await?;
        reader.functions(&mut catalog, estate).await?;
        reader.defaults(&mut catalog).await?;
        reader.keys(&mut catalog, estate).await?;
        reader.surroundings(&mut catalog).await
    };
    steady(client, read).await?;
    if facts.trusted.is_none() {
        catalog.unseen.push(
            "whether pg_hba.conf lets hosts in without a password is shown to superusers only"
                .to_owned(),
        );
    }
    unseen(&mut catalog, estate);
    Ok(catalog)
}

/// Reads in one moment of the database, and takes care to change nothing.
pub(super) async fn steady<T>(
    client: &Client,
    read: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let begin = "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY; \
                 SET LOCAL search_path = pg_catalog; SET LOCAL lock_timeout = '2s'";
    client
        .batch_execute(begin)
        .await
        .map_err(|error| failed("begin to read the catalogues", error))?;
    let found = read.await;
    let ended = client.batch_execute("ROLLBACK").await;
    let found = found?;
    ended.map_err(|error| failed("end reading the catalogues", error))?;
    Ok(found)
}

/// Says what was looked for and is not there.
fn unseen(catalog: &mut Catalog, estate: &Estate) {
    let mut missing = Vec::new();
    let mut names: Vec<&Ident> = estate
        .tenants
        .iter()
        .flat_map(|tenant| &tenant.roles)
        .chain(&estate.login_roles)
        .chain(estate.readonly_roles.values())
        .collect();
    names.sort();
    names.dedup();
    let known: BTreeSet<&Ident> = catalog.roles.values().map(|role| &role.name).collect();
    for role in names.into_iter().filter(|role| !known.contains(role)) {
        missing.push(format!("role {role} does not exist in cluster {}", catalog.cluster));
    }
    let schemas: BTreeSet<&Ident> = catalog.schemas.values().map(|schema| &schema.name).collect();
    for tenant in &estate.tenants {
        let here = tenant.placement.database == catalog.database
            && tenant.placement.cluster == catalog.cluster;
        if here && !schemas.contains(&tenant.placement.schema) {
            missing.push(format!(
                "schema {} of tenant {} does not exist in database {}",
                tenant.placement.schema, tenant.id, catalog.database
            ));
        }
    }
    missing.dedup();
    catalog.unseen.append(&mut missing);
}

/// Reads one kind of object after the other.
pub(super) struct Reader<'c> {
    pub(super) client: &'c Client,
}

pub(super) type Parameter<'p> = &'p (dyn tokio_postgres::types::ToSql + Sync);

impl Reader<'_> {
    pub(super) async fn rows(
        &self,
        what: &str,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, Error> {
        let sql = sql.replace("FOREIGN", FOREIGN);
        self.client.query(&sql, parameters).await.map_err(|error| failed(what, error))
    }

    async fn schemas(&self, catalog: &mut Catalog) -> Result<(), Error> {
        let rows = self
            .rows(
                "read pg_namespace",
                "SELECT n.oid, n.nspname::text AS name, n.nspowner AS owner,
                        (SELECT string_agg(x.grantee || '=' || x.privilege_type, ',')
                         FROM aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) x) AS grants
                 FROM pg_namespace n WHERE FOREIGN",
                &[],
            )
            .await?;
        for row in &rows {
            let schema = Schema {
                name: name(row, "name")?,
                owner: get(row, "owner")?,
                grants: grants(get(row, "grants")?, None),
            };
            catalog.schemas.insert(get(row, "oid")?, schema);
        }
        Ok(())
    }

    async fn relations(&self, catalog: &mut Catalog) -> Result<(), Error> {
        let rows = self
            .rows(
                "read pg_class",
                "SELECT c.oid, c.relname::text AS name, c.relnamespace AS schema, c.relkind::text AS kind,
                        c.relowner AS owner, c.relrowsecurity AS rls, c.relforcerowsecurity AS forced,
                        c.reltuples AS rows,
                        (SELECT min(i.inhparent::int8)::oid FROM pg_inherits i WHERE i.inhrelid = c.oid) AS parent,
                        (SELECT a.attname::text FROM pg_attribute a
                         WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                         ORDER BY a.attnum LIMIT 1) AS first_column,
                        (SELECT string_agg(x.grantee || '=' || x.privilege_type, ',')
                         FROM aclexplode(coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::\"char\", c.relowner))) x) AS grants
                 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND FOREIGN",
                &[],
            )
            .await?;
        for row in &rows {
            let kind: String = get(row, "kind")?;
            let schema: Oid = get(row, "schema")?;
            let Some((kind, home)) =
                RelationKind::from_catalog(&kind).zip(catalog.schemas.get(&schema))
            else {
                continue;
            };
            let relation = Relation {
                name: QualifiedName::new(home.name.clone(), name(row, "name")?),
                schema,
                kind,
                owner: get(row, "owner")?,
                rls: get(row, "rls")?,
                forced: get(row, "forced")?,
                parent: get(row, "parent")?,
                rows: get(row, "rows")?,
                first_column: optional_name(row, "first_column")?,
                grants: grants(get(row, "grants")?, None),
                columns: Vec::new(),
                view: None,
            };
            catalog.relations.insert(get(row, "oid")?, relation);
        }
        let rows = self
            .rows(
                "read the grants on columns",
                "SELECT a.attrelid AS relation, a.attname::text AS name,
                        (SELECT string_agg(x.grantee || '=' || x.privilege_type, ',') FROM aclexplode(a.attacl) x) AS grants
                 FROM pg_attribute a WHERE a.attacl IS NOT NULL AND NOT a.attisdropped",
                &[],
            )
            .await?;
        for row in &rows {
            if let Some(relation) = catalog.relations.get_mut(&get(row, "relation")?) {
                let column = name(row, "name")?;
                relation.grants.extend(grants(get(row, "grants")?, Some(&column)));
            }
        }
        Ok(())
    }

    async fn columns(&self, catalog: &mut Catalog, estate: &Estate) -> Result<(), Error> {
        let Some(tenancy) = &estate.tenancy else { return Ok(()) };
        let column = tenancy.column.as_str();
        let own = own_schemas(estate);
        let rows = self
            .rows(
                "read pg_attribute",
                "SELECT a.attrelid AS relation, a.attname::text AS name, format_type(a.atttypid, a.atttypmod) AS type_name,
                        t.typtype::text AS type_kind, a.attnotnull AS not_null,
                        CASE WHEN a.attgenerated <> '' OR a.attidentity = 'a' THEN 'always'
                             WHEN a.atthasdef OR a.attidentity = 'd' THEN 'default' ELSE '' END AS fill,
                        CASE WHEN a.attname = $1 AND a.attgenerated = '' THEN
                            (SELECT pg_get_expr(d.adbin, 0) FROM pg_attrdef d
                             WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum) END AS default_,
                        (SELECT e.enumlabel::text FROM pg_enum e WHERE e.enumtypid = a.atttypid
                         ORDER BY e.enumsortorder LIMIT 1) AS first_label
                 FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
                 JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_type t ON t.oid = a.atttypid
                 WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND FOREIGN
                   AND NOT n.nspname = ANY ($2::text[])
                 ORDER BY a.attrelid, a.attnum",
                &[&column, &own],
            )
            .await?;
        for row in &rows {
            let fill: String = get(row, "fill")?;
            let kind: String = get(row, "type_kind")?;
            let column = Column {
                name: name(row, "name")?,
                type_name: get(row, "type_name")?,
                type_kind: kind.chars().next().unwrap_or('b'),
                first_label: get(row, "first_label")?,
                not_null: get(row, "not_null")?,
                fill: match fill.as_str() {
                    "always" => Fill::Always,
                    "default" => Fill::Default,
                    _ => Fill::Null,
                },
                default: get(row, "default_")?,
            };
            if let Some(relation) = catalog.relations.get_mut(&get(row, "relation")?) {
                relation.columns.push(column);
            }
        }
        Ok(())
    }

    async fn functions(&self, catalog: &mut Catalog, estate: &Estate) -> Result<(), Error> {
        let own = own_schemas(estate);
        // Texts of invoker functions in thousands of tenants' schemas would fill memory for nothing.
        let rows = self
            .rows(
                "read pg_proc",
                "SELECT f.oid, f.proname::text AS name, f.pronamespace AS schema, pg_get_function_identity_arguments(f.oid) AS arguments,
                        f.prosecdef AS definer, f.proowner AS owner,
                        f.prorettype IN ('trigger'::regtype, 'event_trigger'::regtype) AS for_triggers,
                        coalesce(f.proconfig, '{}') AS settings, l.lanname::text AS language, f.provolatile::text AS volatility,
                        l.lanpltrusted AS trusted, f.proleakproof AS leakproof, f.proparallel <> 'u' AS parallel,
                        (SELECT string_agg(x.grantee || '=' || x.privilege_type, ',')
                         FROM aclexplode(coalesce(f.proacl, acldefault('f', f.proowner))) x) AS grants,
                        CASE WHEN l.lanname IN ('c', 'internal') OR (n.nspname = ANY ($1::text[]) AND NOT f.prosecdef AND f.prosrc !~* 'notify|set_config') THEN ''
                             ELSE coalesce(pg_get_function_sqlbody(f.oid), f.prosrc, '') END AS body
                 FROM pg_proc f JOIN pg_namespace n ON n.oid = f.pronamespace JOIN pg_language l ON l.oid = f.prolang
                 WHERE FOREIGN AND NOT (l.lanname = 'c' AND EXISTS (
                     SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = f.oid AND d.deptype = 'e'))",
                &[&own],
            )
            .await?;
        for row in &rows {
            let schema: Oid = get(row, "schema")?;
            let Some(home) = catalog.schemas.get(&schema) else { continue };
            let volatility: String = get(row, "volatility")?;
            let function = Function {
                name: QualifiedName::new(home.name.clone(), name(row, "name")?),
                schema,
                arguments: get(row, "arguments")?,
                definer: get(row, "definer")?,
                owner: get(row, "owner")?,
                for_triggers: get(row, "for_triggers")?,
                settings: get(row, "settings")?,
                language: get(row, "language")?,
                trusted: get(row, "trusted")?,
                volatility: volatility.chars().next().unwrap_or('v'),
                leakproof: get(row, "leakproof")?,
                parallel: get(row, "parallel")?,
                grants: grants(get(row, "grants")?, None),
                body: get(row, "body")?,
            };
            catalog.functions.insert(get(row, "oid")?, function);
        }
        let rows = self
            .rows(
                "read pg_trigger",
                "SELECT t.tgname::text AS name, t.tgrelid AS relation, t.tgfoid AS function, (t.tgtype & 3) = 3 AS before_row, t.tgtype::int AS type,
                        CASE WHEN t.tgqual IS NOT NULL THEN pg_get_triggerdef(t.oid) END AS condition
                 FROM pg_trigger t WHERE NOT t.tgisinternal AND t.tgenabled <> 'D'",
                &[],
            )
            .await?;
        for row in &rows {
            catalog.triggers.push(Trigger {
                name: name(row, "name")?,
                relation: get(row, "relation")?,
                function: get(row, "function")?,
                before_row: get(row, "before_row")?,
                condition: get(row, "condition")?,
                fires: fires(get(row, "type")?),
            });
        }
        Ok(())
    }

    async fn defaults(&self, catalog: &mut Catalog) -> Result<(), Error> {
        let rows = self
            .rows(
                "read pg_default_acl",
                "SELECT d.defaclrole AS owner, d.defaclnamespace AS schema, d.defaclobjtype::text AS kind,
                        (SELECT string_agg(x.grantee || '=' || x.privilege_type, ',') FROM aclexplode(d.defaclacl) x) AS grants
                 FROM pg_default_acl d",
                &[],
            )
            .await?;
        for row in &rows {
            let kind: String = get(row, "kind")?;
            let schema: Oid = get(row, "schema")?;
            catalog.default_privileges.push(DefaultPrivilege {
                owner: get(row, "owner")?,
                schema: (schema != 0).then_some(schema),
                kind: kind.chars().next().unwrap_or('r'),
                grants: grants(get(row, "grants")?, None),
            });
        }
        Ok(())
    }
}

/// The verbs in `pg_trigger.tgtype`.
fn fires(bits: i32) -> Privileges {
    let verbs = [
        (4, Privilege::Insert),
        (8, Privilege::Delete),
        (16, Privilege::Update),
        (32, Privilege::Truncate),
    ];
    verbs.into_iter().filter(|(bit, _)| bits & bit != 0).map(|(_, verb)| verb).collect()
}

/// The schemas that belong to one tenant each.
pub(super) fn own_schemas(estate: &Estate) -> Vec<&str> {
    estate.of(Isolation::Schema).map(|tenant| tenant.placement.schema.as_str()).collect()
}

/// Reads `grantee=PRIVILEGE,…`, which is how the statements above hand over an ACL.
pub(super) fn grants(text: Option<&str>, column: Option<&Ident>) -> Vec<Grant> {
    let mut held: BTreeMap<Oid, Privileges> = BTreeMap::new();
    for item in text.unwrap_or_default().split(',') {
        let Some((grantee, privilege)) = item.split_once('=') else { continue };
        if let (Ok(grantee), Some(privilege)) = (grantee.parse(), Privilege::named(privilege)) {
            let sum = held.entry(grantee).or_default();
            *sum = sum.with(privilege);
        }
    }
    held.into_iter()
        .map(|(grantee, privileges)| Grant { grantee, privileges, column: column.cloned() })
        .collect()
}

pub(super) fn get<'r, T: FromSql<'r>>(row: &'r Row, column: &str) -> Result<T, Error> {
    row.try_get(column).map_err(|error| failed(&format!("read column {column}"), error))
}

pub(super) fn name(row: &Row, column: &str) -> Result<Ident, Error> {
    Ident::new(get::<String>(row, column)?)
}

pub(super) fn optional_name(row: &Row, column: &str) -> Result<Option<Ident>, Error> {
    get::<Option<String>>(row, column)?.map(Ident::new).transpose()
}

/// Says what was attempted, with the server's own words.
pub(in crate::pg) fn failed(what: &str, error: tokio_postgres::Error) -> Error {
    let answer = error.as_db_error().map(|said| ServerAnswer {
        sqlstate: said.code().code().to_owned(),
        message: said.message().to_owned(),
        detail: said.detail().map(str::to_owned),
        hint: said.hint().map(str::to_owned),
        context: said.where_().map(str::to_owned),
    });
    let code = match answer.as_ref().map(|answer| answer.sqlstate.as_str()) {
        Some("42501") => Code::Permission,
        Some(_) => Code::Server,
        None => Code::Unreachable,
    };
    let failure = Error::new(code, what).because(error);
    match answer {
        Some(answer) => failure.answered(answer),
        None => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_read_once_for_each_grantee() {
        let text = "16385=SELECT,16385=INSERT,0=USAGE,16386=SET";
        let found = grants(Some(text), None);
        let said: Vec<_> =
            found.iter().map(|grant| (grant.grantee, grant.privileges.to_string())).collect();
        assert_eq!(said, [(0, "USAGE".to_owned()), (16385, "SELECT, INSERT".to_owned())]);
        assert!(grants(None, None).is_empty());
    }
}
