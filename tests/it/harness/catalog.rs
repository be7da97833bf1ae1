//! Everything that a server holds besides its own catalogue, as comparable lines.

use std::collections::BTreeSet;

use tenantctl::pg::server::SUPERUSER;

use super::postgres::Postgres;

/// Roles, memberships, settings and databases: what every database of a server knows.
const GLOBAL: [&str; 4] = [
    "SELECT 'role', rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolbypassrls, \
            rolreplication, rolconnlimit, rolpassword IS NOT NULL FROM pg_authid WHERE rolname !~ '^pg_'",
    "SELECT 'member', m.member::regrole, m.roleid::regrole, m.admin_option, to_jsonb(m) -> 'inherit_option', \
            to_jsonb(m) -> 'set_option' FROM pg_auth_members m WHERE m.roleid >= 16384",
    "SELECT 'setting', d.datname, s.setrole::regrole, s.setconfig FROM pg_db_role_setting s \
     LEFT JOIN pg_database d ON d.oid = s.setdatabase",
    "SELECT 'database', datname, datdba::regrole, datconnlimit, \
            ARRAY(SELECT x::text FROM unnest(datacl) x ORDER BY 1) FROM pg_database",
];

/// Schemas, relations, functions, policies and default privileges of one database.
const LOCAL: [&str; 6] = [
    "SELECT 'schema', n.nspname, n.nspowner::regrole, ARRAY(SELECT x::text FROM unnest(n.nspacl) x ORDER BY 1) \
     FROM pg_namespace n WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'",
    "SELECT 'relation', c.oid::regclass, c.relkind, c.relowner::regrole, c.relrowsecurity, c.relforcerowsecurity, \
            ARRAY(SELECT x::text FROM unnest(c.relacl) x ORDER BY 1) \
     FROM pg_class c WHERE c.oid >= 16384 AND c.relkind <> 't' AND c.relname !~ '^pg_toast'",
    "SELECT 'function', p.oid::regprocedure, p.proowner::regrole, p.proconfig, obj_description(p.oid, 'pg_proc'), \
            ARRAY(SELECT x::text FROM unnest(p.proacl) x ORDER BY 1) FROM pg_proc p WHERE p.oid >= 16384",
    "SELECT 'policy', polrelid::regclass, polname, polcmd, polpermissive, polroles::regrole[], \
            pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid), obj_description(oid, 'pg_policy') \
     FROM pg_policy",
    "SELECT 'default', defaclrole::regrole, defaclnamespace::regnamespace, defaclobjtype, \
            ARRAY(SELECT x::text FROM unnest(defaclacl) x ORDER BY 1) FROM pg_default_acl",
    "SELECT 'trigger', tgrelid::regclass, tgname FROM pg_trigger WHERE NOT tgisinternal",
];

/// Everything that stands on a server: two servers with equal catalogues cannot be told apart by
/// who may do what.
pub fn catalog(server: &Postgres) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    let mut take = |prefix: &str, rows: Vec<Vec<String>>| {
        lines.extend(rows.into_iter().map(|row| format!("{prefix}{}", row.join(" | "))));
    };
    let mut session = server.session("postgres", SUPERUSER);
    for query in GLOBAL {
        take("", session.rows(query));
    }
    let databases =
        session.rows("SELECT datname FROM pg_database WHERE datallowconn AND datconnlimit <> -2");
    for database in databases.into_iter().flatten() {
        let mut session = server.session(&database, SUPERUSER);
        for query in LOCAL {
            take(&format!("{database}: "), session.rows(query));
        }
        let histories = session.rows(
            "SELECT format('SELECT %L, version, name, checksum FROM %s', oid::regclass, oid::regclass) \
             FROM pg_class WHERE relname = 'refinery_schema_history' AND relkind = 'r'",
        );
        for history in histories.into_iter().flatten() {
            take(&format!("{database}: history | "), session.rows(&history));
        }
        if session.rows("SELECT to_regclass('tenantctl.tenants')") != [["NULL"]] {
            let rows = session.rows(
                "SELECT id, isolation, cluster, database, schema, owner, roles, tier, region, labels, state \
                 FROM tenantctl.tenants",
            );
            take("tenant | ", rows);
        }
    }
    lines
}
