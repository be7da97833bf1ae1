//! Reads what stands on a server for one tenant, in READ ONLY transactions.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};

use crate::error::{Code, Error};
use crate::model::desired::Desired;
use crate::model::ident::Ident;
use crate::model::layout::{CLOSED_TABLE, HISTORY_TABLE, PROGRESS_TABLE, REPEATABLES_TABLE};
use crate::model::observed::{
    DatabaseFacts, DefaultGrant, DefaultKind, HelperFacts, MembershipFacts, Observed,
    OperatorReach, RoleFacts, SchemaFacts, ServerFacts, TableFacts, TemplateFacts,
};
use crate::model::tenant::Isolation;
use crate::pg::answer::failed;
use crate::pg::history;
use crate::plan::life::OPEN_POLICY;
use crate::plan::{POLICY, TEMPLATE_OWNER, TEMPLATE_PREFIX};

/// Reads the server, the roles and the database of a tenant: everything that any database of the
/// cluster knows. The registry's part is left as it is.
///
/// # Errors
///
/// Whatever the server refuses: a fact that cannot be read is not guessed.
pub(in crate::pg) async fn cluster_facts(
    session: &Client,
    desired: &Desired,
    observed: &mut Observed,
) -> Result<(), Error> {
    observed.server = server(session).await?;
    let placement = &desired.tenant.placement;
    let mut names: Vec<&str> = vec![desired.tenant.owner.as_str()];
    names.extend(desired.users().chain(&desired.login_role).map(Ident::as_str));
    if desired.tenant.isolation == Isolation::Database {
        names.push(TEMPLATE_OWNER);
        observed.templates = templates(session).await?;
    }
    roles(session, &names, placement.database.as_str(), observed).await?;
    observed.database = database(session, placement.database.as_str()).await?;
    Ok(())
}

/// Reads the server's version and who we are.
pub(in crate::pg) async fn server(session: &Client) -> Result<ServerFacts, Error> {
    let rows = session
        .query_typed(
            "SELECT pg_catalog.current_setting('server_version_num')::int4, r.rolname::text, r.rolsuper, r.rolinherit \
             FROM pg_catalog.pg_roles r WHERE r.rolname = current_user",
            &[],
        )
        .await
        .map_err(|error| failed(error, "read the server's version"))?;
    let row = only(&rows, "read the server's version")?;
    Ok(ServerFacts {
        version: row.get(0),
        operator: row.get(1),
        superuser: row.get(2),
        inherits: row.get(3),
    })
}

async fn roles(
    session: &Client,
    names: &[&str],
    database: &str,
    observed: &mut Observed,
) -> Result<(), Error> {
    // PostgreSQL 16 tells "may SET ROLE" from "is a member"; before, they are the same.
    let set = if observed.server.membership_options() { "SET" } else { "MEMBER" };
    let rows = session
        .query_typed(
            "SELECT r.rolname::text, r.rolcanlogin, r.rolinherit, r.rolsuper, r.rolbypassrls, \
                    r.rolcreaterole, r.rolreplication, r.rolconnlimit, \
                    coalesce((SELECT s.setconfig FROM pg_catalog.pg_db_role_setting s \
                              WHERE s.setrole = r.oid AND s.setdatabase = 0), '{}'), \
                    coalesce((SELECT s.setconfig FROM pg_catalog.pg_db_role_setting s \
                              JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase \
                              WHERE s.setrole = r.oid AND d.datname = $2), '{}'), \
                    pg_catalog.pg_has_role(current_user, r.oid, $3), \
                    pg_catalog.pg_has_role(current_user, r.oid, 'USAGE') \
             FROM pg_catalog.pg_roles r WHERE r.rolname = ANY ($1)",
            &[(&names, Type::TEXT_ARRAY), (&database, Type::TEXT), (&set, Type::TEXT)],
        )
        .await
        .map_err(|error| failed(error, "read the roles"))?;
    for row in &rows {
        let name = ident(row, 0)?;
        observed
            .operator
            .insert(name.clone(), OperatorReach { set: row.get(10), inherit: row.get(11) });
        observed.roles.insert(
            name,
            RoleFacts {
                login: row.get(1),
                inherit: row.get(2),
                dangerous: dangerous(row, 3),
                connection_limit: row.get(7),
                settings: settings(row.get(8)),
                settings_here: settings(row.get(9)),
            },
        );
    }
    observed.members = members(session, names).await?;
    Ok(())
}

/// Reads the memberships among some roles, by `(role, member)`.
pub(super) async fn members(
    session: &Client,
    names: &[&str],
) -> Result<BTreeMap<(Ident, Ident), MembershipFacts>, Error> {
    let rows = session
        .query_typed(
            // Since PostgreSQL 16 every grantor has a row, and what superusers grant is granted by
            // the first of them (oid 10).
            "SELECT a.role, a.member, pg_catalog.bool_or(a.may_set), pg_catalog.bool_or(a.inherits), \
                    pg_catalog.min(g.rolname::text) FILTER (WHERE a.inherits AND g.oid <> \
                      CASE WHEN o.rolsuper THEN 10::oid ELSE o.oid END) \
             FROM (SELECT r.rolname::text AS role, m.rolname::text AS member, am.grantor, \
                          coalesce((pg_catalog.to_jsonb(am) ->> 'set_option')::bool, true) AS may_set, \
                          coalesce((pg_catalog.to_jsonb(am) ->> 'inherit_option')::bool, false) AS inherits \
                   FROM pg_catalog.pg_auth_members am \
                   JOIN pg_catalog.pg_roles r ON r.oid = am.roleid \
                   JOIN pg_catalog.pg_roles m ON m.oid = am.member \
                   WHERE r.rolname = ANY ($1) AND m.rolname = ANY ($1)) a \
             JOIN pg_catalog.pg_roles o ON o.rolname = current_user \
             LEFT JOIN pg_catalog.pg_roles g ON g.oid = a.grantor GROUP BY 1, 2",
            &[(&names, Type::TEXT_ARRAY)],
        )
        .await
        .map_err(|error| failed(error, "read the memberships"))?;
    let mut members = BTreeMap::new();
    for row in &rows {
        let grantor: Option<String> = row.get(4);
        let facts = MembershipFacts {
            set: row.get(2),
            inherit: row.get(3),
            inherits_from: grantor.map(Ident::new).transpose()?,
        };
        members.insert((ident(row, 0)?, ident(row, 1)?), facts);
    }
    Ok(members)
}

/// Reads a database; nothing when there is none.
pub(in crate::pg) async fn database(
    session: &Client,
    name: &str,
) -> Result<Option<DatabaseFacts>, Error> {
    let rows = session
        .query_typed(
            "SELECT pg_catalog.pg_get_userbyid(d.datdba)::text, d.datconnlimit = -2, \
                    d.datacl IS NULL OR EXISTS (SELECT FROM pg_catalog.aclexplode(d.datacl) x WHERE x.grantee = 0), \
                    ARRAY(SELECT r.rolname::text FROM pg_catalog.aclexplode(d.datacl) x \
                          JOIN pg_catalog.pg_roles r ON r.oid = x.grantee WHERE x.privilege_type = 'CONNECT'), \
                    coalesce((SELECT s.setconfig FROM pg_catalog.pg_db_role_setting s \
                              WHERE s.setdatabase = d.oid AND s.setrole = 0), '{}') \
             FROM pg_catalog.pg_database d WHERE d.datname = $1",
            &[(&name, Type::TEXT)],
        )
        .await
        .map_err(|error| failed(error, format!("read database {name}")))?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    Ok(Some(DatabaseFacts {
        owner: row.get(0),
        invalid: row.get(1),
        public: row.get(2),
        connect: idents(row.get(3))?,
        settings: settings(row.get(4)),
    }))
}

async fn templates(session: &Client) -> Result<BTreeMap<Ident, TemplateFacts>, Error> {
    let rows = session
        .query_typed(
            "SELECT d.datname::text, d.datistemplate AND NOT d.datallowconn, \
                    coalesce(pg_catalog.shobj_description(d.oid, 'pg_database'), ''), \
                    CASE WHEN pg_catalog.has_database_privilege(d.oid, 'CONNECT') \
                         THEN coalesce(pg_catalog.pg_database_size(d.oid), 0) ELSE 0 END \
             FROM pg_catalog.pg_database d WHERE pg_catalog.starts_with(d.datname::text, $1)",
            &[(&TEMPLATE_PREFIX, Type::TEXT)],
        )
        .await
        .map_err(|error| failed(error, "look for template databases"))?;
    let facts =
        |row: &Row| TemplateFacts { sealed: row.get(1), label: row.get(2), bytes: row.get(3) };
    rows.iter().map(|row| Ok((ident(row, 0)?, facts(row)))).collect()
}

/// Reads the tenant's schema, on a session in the tenant's database.
///
/// # Errors
///
/// Whatever the server refuses, and a history that refinery did not write.
pub(in crate::pg) async fn schema_facts(
    session: &Client,
    desired: &Desired,
) -> Result<Option<SchemaFacts>, Error> {
    let schema = &desired.tenant.placement.schema;
    let owner = desired.tenant.owner.as_str();
    let attempt = || format!("read schema {schema}");
    let rows = session
        .query_typed(
            "SELECT pg_catalog.pg_get_userbyid(n.nspowner)::text, \
                    EXISTS (SELECT FROM pg_catalog.aclexplode(n.nspacl) x WHERE x.grantee = 0), \
                    ARRAY(SELECT r.rolname::text FROM pg_catalog.aclexplode(n.nspacl) x \
                          JOIN pg_catalog.pg_roles r ON r.oid = x.grantee WHERE x.privilege_type = 'USAGE'), \
                    EXISTS (SELECT FROM pg_catalog.pg_default_acl d JOIN pg_catalog.pg_roles o ON o.oid = d.defaclrole \
                            WHERE o.rolname = $2 AND d.defaclnamespace = 0 AND d.defaclobjtype = 'f' \
                              AND NOT EXISTS (SELECT FROM pg_catalog.aclexplode(d.defaclacl) x WHERE x.grantee = 0)) \
             FROM pg_catalog.pg_namespace n WHERE n.nspname = $1",
            &[(&schema.as_str(), Type::TEXT), (&owner, Type::TEXT)],
        )
        .await
        .map_err(|error| failed(error, attempt()))?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let mut facts = SchemaFacts {
        owner: row.get(0),
        public: row.get(1),
        usage: idents(row.get(2))?,
        functions_closed: row.get(3),
        ..SchemaFacts::default()
    };
    facts.defaults = default_grants(session, schema, owner).await?;
    relations(session, desired, &mut facts).await?;
    functions(session, schema, owner, &mut facts).await?;
    // A schema of somebody else's is a conflict already; its history may not be ours to read.
    if facts.owner == owner {
        facts.history = history::of(session, schema).await?;
    }
    Ok(Some(facts))
}

async fn default_grants(
    session: &Client,
    schema: &Ident,
    owner: &str,
) -> Result<BTreeSet<DefaultGrant>, Error> {
    let rows = session
        .query_typed(
            "SELECT r.rolname::text, d.defaclobjtype::text, array_agg(x.privilege_type::text) \
             FROM pg_catalog.pg_default_acl d \
             JOIN pg_catalog.pg_namespace n ON n.oid = d.defaclnamespace \
             JOIN pg_catalog.pg_roles o ON o.oid = d.defaclrole, \
             pg_catalog.aclexplode(d.defaclacl) x JOIN pg_catalog.pg_roles r ON r.oid = x.grantee \
             WHERE n.nspname = $1 AND o.rolname = $2 GROUP BY 1, 2",
            &[(&schema.as_str(), Type::TEXT), (&owner, Type::TEXT)],
        )
        .await
        .map_err(|error| failed(error, format!("read the default privileges in {schema}")))?;
    let mut grants = BTreeSet::new();
    for row in &rows {
        let role = ident(row, 0)?;
        let kind: &str = row.get(1);
        let privileges: Vec<String> = row.get(2);
        let has = |wanted: &[&str]| wanted.iter().all(|one| privileges.iter().any(|p| p == one));
        let kinds: &[(&str, &[&str], DefaultKind)] = &[
            ("r", &["SELECT", "INSERT", "UPDATE", "DELETE"], DefaultKind::Tables),
            ("r", &["SELECT"], DefaultKind::TablesRead),
            ("S", &["USAGE", "SELECT"], DefaultKind::Sequences),
            ("f", &["EXECUTE"], DefaultKind::Functions),
        ];
        for (object, wanted, grant) in kinds {
            if kind == *object && has(wanted) {
                grants.insert(DefaultGrant { role: role.clone(), kind: *grant });
            }
        }
    }
    Ok(grants)
}

async fn relations(
    session: &Client,
    desired: &Desired,
    facts: &mut SchemaFacts,
) -> Result<(), Error> {
    let schema = &desired.tenant.placement.schema;
    let column = desired.sharing.as_ref().map(|sharing| sharing.tenancy.column.as_str().to_owned());
    let rows = session
        .query_typed(
            "SELECT c.relname::text, c.relkind::text, c.relrowsecurity, c.relforcerowsecurity, c.relispartition, \
                    (SELECT pg_catalog.format_type(a.atttypid, a.atttypmod) FROM pg_catalog.pg_attribute a \
                     WHERE a.attrelid = c.oid AND a.attname = $2 AND a.attnum > 0 AND NOT a.attisdropped), \
                    (SELECT pg_catalog.obj_description(p.oid, 'pg_policy') FROM pg_catalog.pg_policy p \
                     WHERE p.polrelid = c.oid AND p.polname = $3), \
                    EXISTS (SELECT FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid AND p.polname = $3), \
                    (SELECT count(*) FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid AND p.polname NOT IN ($3, $4)), \
                    ARRAY(SELECT r.rolname || ' ' || x.privilege_type FROM pg_catalog.aclexplode(c.relacl) x \
                          JOIN pg_catalog.pg_roles r ON r.oid = x.grantee WHERE x.grantee <> c.relowner), \
                    EXISTS (SELECT FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid AND p.polname = $4) \
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'S')",
            &[
                (&schema.as_str(), Type::TEXT),
                (&column, Type::TEXT),
                (&POLICY, Type::TEXT),
                (&OPEN_POLICY, Type::TEXT),
            ],
        )
        .await
        .map_err(|error| failed(error, format!("read the tables of {schema}")))?;
    for row in &rows {
        let name = ident(row, 0)?;
        let granted = grants(row.get(9))?;
        let holders = |wanted: &[&str]| -> BTreeSet<Ident> {
            granted
                .iter()
                .filter(|(_, held)| wanted.iter().all(|one| held.contains(*one)))
                .map(|(role, _)| role.clone())
                .collect()
        };
        match row.get::<_, &str>(1) {
            "S" => {
                facts.sequences.insert(name, holders(&["USAGE"]));
            }
            // Nobody's but the owner's, and gone when its file is recorded.
            _ if name.as_str() == PROGRESS_TABLE => {}
            _ if name.as_str() == HISTORY_TABLE => {
                facts.history_granted = granted.into_keys().collect();
            }
            // Made closed to everybody, and nobody's to use.
            _ if name.as_str() == REPEATABLES_TABLE => {}
            _ if name.as_str() == CLOSED_TABLE => facts.closing = Some(holders(&["SELECT"])),
            _ => {
                let ours: bool = row.get(7);
                let fingerprint: Option<String> = row.get(6);
                let others: i64 = row.get(8);
                facts.tables.insert(
                    name,
                    TableFacts {
                        key_type: row.get(5),
                        rls: row.get(2),
                        forced: row.get(3),
                        partition: row.get(4),
                        policy: ours.then(|| fingerprint.unwrap_or_default()),
                        other_policies: usize::try_from(others).unwrap_or_default(),
                        closes: row.get(10),
                        write: holders(&["SELECT", "INSERT", "UPDATE", "DELETE"]),
                        read: holders(&["SELECT"]),
                    },
                );
            }
        }
    }
    Ok(())
}

async fn functions(
    session: &Client,
    schema: &Ident,
    owner: &str,
    facts: &mut SchemaFacts,
) -> Result<(), Error> {
    let rows = session
        .query_typed(
            "SELECT p.proname::text, pg_catalog.obj_description(p.oid, 'pg_proc'), \
                    ARRAY(SELECT r.rolname::text FROM pg_catalog.aclexplode(p.proacl) x \
                          JOIN pg_catalog.pg_roles r ON r.oid = x.grantee WHERE x.privilege_type = 'EXECUTE'), \
                    pg_catalog.format('%I(%s)', p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid)) \
             FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
             WHERE n.nspname = $1 AND pg_catalog.pg_get_userbyid(p.proowner) = $2",
            &[(&schema.as_str(), Type::TEXT), (&owner, Type::TEXT)],
        )
        .await
        .map_err(|error| failed(error, format!("read the functions of {schema}")))?;
    for row in &rows {
        let execute = idents(row.get(2))?;
        match row.get::<_, Option<String>>(1) {
            Some(fingerprint) if fingerprint.starts_with("tenantctl: ") => {
                facts.helpers.insert(row.get(0), HelperFacts { fingerprint, execute });
            }
            _ => {
                facts.functions.insert(row.get(3), execute);
            }
        }
    }
    Ok(())
}

/// `["role privilege", …]` by role; role names may hold blanks, privileges do not.
fn grants(pairs: Vec<String>) -> Result<BTreeMap<Ident, BTreeSet<String>>, Error> {
    let mut grants: BTreeMap<Ident, BTreeSet<String>> = BTreeMap::new();
    for pair in pairs {
        if let Some((role, privilege)) = pair.rsplit_once(' ') {
            grants.entry(Ident::new(role)?).or_default().insert(privilege.to_owned());
        }
    }
    Ok(grants)
}

/// The attributes, in four columns, that no application role may have.
pub(super) fn dangerous(row: &Row, from: usize) -> Vec<&'static str> {
    ["SUPERUSER", "BYPASSRLS", "CREATEROLE", "REPLICATION"]
        .into_iter()
        .enumerate()
        .filter(|(at, _)| row.get::<_, bool>(from + at))
        .map(|(_, word)| word)
        .collect()
}

pub(super) fn settings(pairs: Vec<String>) -> BTreeMap<String, String> {
    pairs
        .into_iter()
        .filter_map(|pair| {
            // Names of settings are the same in any case; the server keeps its own spelling.
            pair.split_once('=').map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        })
        .collect()
}

pub(super) fn ident(row: &Row, at: usize) -> Result<Ident, Error> {
    Ident::new(row.get::<_, String>(at))
}

fn idents(names: Vec<String>) -> Result<BTreeSet<Ident>, Error> {
    names.into_iter().map(Ident::new).collect()
}

fn only<'a>(rows: &'a [Row], attempt: &str) -> Result<&'a Row, Error> {
    rows.first().ok_or_else(|| Error::new(Code::Bug, format!("{attempt}: the server sent no row")))
}
