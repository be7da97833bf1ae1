//! `verify-rls` on a fleet that somebody broke by hand: each break is found by its own rules, by no
//! others, and is gone after the script of its fixes.
//!
//! Breaks that do not touch each other are made together: an audit is the dear part, and it tells
//! them by their objects.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::harness::{OPERATOR, World};
use crate::verify_rls::fleet;

/// One thing done by hand.
struct Break {
    what: &'static str,
    database: &'static str,
    sql: &'static str,
    /// Puts everything back, whether the printed fix ran or not.
    undo: &'static str,
    /// The objects on which it is found; one that ends in `*` begins a name.
    on: &'static [&'static str],
    /// The rules that must find it there, and no others.
    rules: &'static [&'static str],
    /// The gravest finding.
    severity: &'static str,
}

const fn on_app(
    what: &'static str,
    sql: &'static str,
    undo: &'static str,
    on: &'static [&'static str],
    rules: &'static [&'static str],
    severity: &'static str,
) -> Break {
    Break { what, database: "app", sql, undo, on, rules, severity }
}

impl Break {
    /// Whether a finding is about it.
    fn explains(&self, finding: &Value) -> bool {
        let named = |name: &Value| {
            name.as_str().is_some_and(|name| {
                self.on.iter().any(|one| match one.strip_suffix('*') {
                    Some(beginning) => name.starts_with(beginning),
                    None => name == *one,
                })
            })
        };
        let object = &finding["object"];
        self.rules.contains(&finding["rule"].as_str().unwrap())
            && (named(&object["name"]) || named(&object["parent"]))
    }
}

/// From PostgreSQL 16 on this is less grave.
const LIGHTER: &str = "high or medium";

/// Objects that some breaks need, made once, sound as they are.
const STAGE: &str = "
    CREATE ROLE support NOLOGIN;
    CREATE ROLE staff NOLOGIN;
    CREATE ROLE chief NOLOGIN BYPASSRLS;
    CREATE TABLE app.parts (tenant_id uuid NOT NULL, n int) PARTITION BY HASH (tenant_id);
    CREATE INDEX ON app.parts (tenant_id);
    CREATE TABLE app.parts_0 PARTITION OF app.parts FOR VALUES WITH (MODULUS 1, REMAINDER 0);
    ALTER TABLE app.parts ENABLE ROW LEVEL SECURITY;
    ALTER TABLE app.parts FORCE ROW LEVEL SECURITY;
    CREATE POLICY tenant_isolation ON app.parts
        USING (tenant_id = (SELECT nullif(current_setting('app.tenant_id', true), '')::uuid));
    GRANT SELECT, INSERT, UPDATE, DELETE ON app.parts TO app_rw;
    DO $$ DECLARE t text; BEGIN FOREACH t IN ARRAY '{drafts, offers, visits, prices, routes, shifts}'::text[] LOOP
        EXECUTE format('CREATE TABLE app.%1$I (tenant_id uuid NOT NULL, id uuid NOT NULL, note text NOT NULL,
                deleted_at timestamptz, PRIMARY KEY (tenant_id, id));
            ALTER TABLE app.%1$I OWNER TO OWNER_OF_APP;
            ALTER TABLE app.%1$I ENABLE ROW LEVEL SECURITY; ALTER TABLE app.%1$I FORCE ROW LEVEL SECURITY;
            CREATE POLICY tenant_isolation ON app.%1$I
                USING (tenant_id = (SELECT nullif(current_setting(''app.tenant_id'', true), '''')::uuid));
            GRANT SELECT, INSERT, UPDATE, DELETE ON app.%1$I TO app_rw', t);
    END LOOP; END $$;
    CREATE SEQUENCE tenant_dan.counter;
    CREATE VIEW tenant_dan.own_users AS SELECT * FROM tenant_dan.users;
";

/// What only a person can mend.
const DECIDED: &[&str] = &[
    "child-without-tenant",
    "definer-function",
    "login-inherits-tenants",
    "policy-function-writable",
    "policy-ignores-tenant",
    "policy-write-unchecked",
    "role-reaches-owner",
];

const GROUPS: &[&[Break]] = &[
    &[
    on_app(
        "row-level security off",
        "ALTER TABLE app.users DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE app.users ENABLE ROW LEVEL SECURITY",
        &["app.users"],
        // The audit trigger, whose table is still closed, stops a row in another tenant's name.
        &["rls-disabled", "probe-read", "probe-write", "probe-move"],
        "critical",
    ),
    on_app(
        "no FORCE on one of many",
        "ALTER TABLE app.documents NO FORCE ROW LEVEL SECURITY",
        "ALTER TABLE app.documents FORCE ROW LEVEL SECURITY",
        &["app.documents"],
        &["rls-not-forced"],
        "low",
    ),
    on_app(
        "policy dropped",
        "DO $$ DECLARE p name; BEGIN FOR p IN SELECT polname FROM pg_policy WHERE polrelid = 'app.tags'::regclass
         LOOP EXECUTE format('DROP POLICY %I ON app.tags', p); END LOOP; END $$",
        "DROP POLICY IF EXISTS tenant_isolation ON app.tags; CREATE POLICY tenant_isolation ON app.tags
            USING (tenant_id = (SELECT nullif(current_setting('app.tenant_id', true), '')::uuid))",
        &["app.tags"],
        &["policy-missing"],
        "high",
    ),
    on_app(
        "a second policy that admits everything",
        "CREATE POLICY open ON app.drafts USING (true)",
        "DROP POLICY IF EXISTS open ON app.drafts",
        &["app.drafts"],
        &["policy-ignores-tenant", "policy-write-unchecked", "probe-read", "probe-write", "probe-insert", "probe-move"],
        "critical",
    ),
    on_app(
        "a second policy that lets everything be read",
        "CREATE POLICY open ON app.offers FOR SELECT USING (deleted_at IS NULL)",
        "DROP POLICY IF EXISTS open ON app.offers",
        &["app.offers"],
        &["policy-ignores-tenant", "probe-read"],
        "critical",
    ),
    on_app(
        "a policy that is open to whoever set no tenant",
        "CREATE POLICY open ON app.visits FOR SELECT
            USING (tenant_id = tenant_id AND (SELECT nullif(current_setting('app.tenant_id', true), '')) IS NULL)",
        "DROP POLICY IF EXISTS open ON app.visits",
        &["app.visits"],
        &["policy-ignores-tenant", "probe-open-context"],
        "critical",
    ),
    on_app(
        "WITH CHECK (true)",
        "CREATE POLICY open ON app.prices FOR INSERT WITH CHECK (true)",
        "DROP POLICY IF EXISTS open ON app.prices",
        &["app.prices"],
        &["policy-write-unchecked", "probe-insert"],
        "critical",
    ),
    on_app(
        "DELETE for everything",
        "CREATE POLICY open ON app.routes FOR DELETE USING (true)",
        "DROP POLICY IF EXISTS open ON app.routes",
        &["app.routes"],
        &["policy-ignores-tenant", "probe-write"],
        "critical",
    ),
    on_app(
        "a policy's function in the application's hands",
        "CREATE FUNCTION app.me() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
            AS $$ SELECT nullif(current_setting('app.tenant_id', true), '')::uuid $$;
         ALTER FUNCTION app.me() OWNER TO app_rw;
         CREATE POLICY own ON app.shifts AS RESTRICTIVE USING (tenant_id = (SELECT app.me()))",
        "DROP POLICY own ON app.shifts; DROP FUNCTION app.me()",
        &["app.shifts", "app.me()"],
        &["policy-function-writable"],
        "high",
    ),
    on_app(
        "a policy for another role, and a sound one for nobody",
        "ALTER POLICY tenant_isolation ON app.parts TO support",
        "ALTER POLICY tenant_isolation ON app.parts TO PUBLIC; DROP POLICY IF EXISTS tenant_isolation_app ON app.parts",
        &["app.parts"],
        &["policy-missing"],
        "high",
    ),
    on_app(
        "TRUNCATE",
        "GRANT TRUNCATE ON app.settings TO app_rw",
        "REVOKE TRUNCATE ON app.settings FROM app_rw",
        &["app.settings"],
        &["truncate-granted"],
        "high",
    ),
    on_app(
        "TRIGGER",
        "GRANT TRIGGER ON app.settings TO app_rw",
        "REVOKE TRIGGER ON app.settings FROM app_rw",
        &["app.settings"],
        &["trigger-granted"],
        "high",
    ),
    on_app(
        "a shared table for everybody",
        "GRANT SELECT ON app.settings TO PUBLIC",
        "REVOKE SELECT ON app.settings FROM PUBLIC",
        &["app.settings"],
        &["public-grant"],
        "high",
    ),
    on_app(
        "lines without a tenant",
        "CREATE TABLE app.lines (tenant uuid, document uuid, body text,
            FOREIGN KEY (tenant, document) REFERENCES app.documents (tenant_id, id));
         GRANT SELECT ON app.lines TO app_rw",
        "DROP TABLE app.lines",
        &["app.lines"],
        &["child-without-tenant"],
        "high",
    ),
    on_app(
        "a new table without protection",
        "CREATE TABLE app.leads (tenant_id uuid NOT NULL, name text NOT NULL);
         ALTER TABLE app.leads OWNER TO OWNER_OF_APP; GRANT SELECT ON app.leads TO app_rw",
        "DROP TABLE app.leads",
        &["app.leads"],
        &["rls-disabled", "tenant-index-missing", "probe-read"],
        "critical",
    ),
    on_app(
        "history in the application's hands",
        "GRANT DELETE ON tenant_cat.refinery_schema_history TO app_tenant_cat",
        "REVOKE DELETE ON tenant_cat.refinery_schema_history FROM app_tenant_cat",
        &["tenant_cat.refinery_schema_history"],
        &["history-writable"],
        "medium",
    ),
    on_app(
        "a table of another tenant",
        "GRANT USAGE ON SCHEMA tenant_dan TO app_tenant_cat; GRANT SELECT ON tenant_dan.users TO app_tenant_cat",
        "REVOKE USAGE ON SCHEMA tenant_dan FROM app_tenant_cat; REVOKE SELECT ON tenant_dan.users FROM app_tenant_cat",
        &["tenant_dan.users", "tenant_dan"],
        &["schema-cross-access", "probe-read"],
        "critical",
    ),
    on_app(
        "a column of another tenant",
        "GRANT USAGE ON SCHEMA tenant_dan TO app_tenant_cat; GRANT SELECT (title) ON tenant_dan.documents TO app_tenant_cat",
        "REVOKE USAGE ON SCHEMA tenant_dan FROM app_tenant_cat; REVOKE SELECT (title) ON tenant_dan.documents FROM app_tenant_cat",
        &["tenant_dan.documents"],
        &["schema-cross-access", "probe-read"],
        "critical",
    ),
    on_app(
        "a sequence of another tenant",
        "GRANT USAGE ON SCHEMA tenant_dan TO app_tenant_cat; GRANT USAGE ON tenant_dan.counter TO app_tenant_cat",
        "REVOKE USAGE ON SCHEMA tenant_dan FROM app_tenant_cat; REVOKE USAGE ON tenant_dan.counter FROM app_tenant_cat",
        &["tenant_dan.counter"],
        &["schema-cross-access"],
        "critical",
    ),
    on_app(
        "a table of another tenant, through a group",
        "GRANT support TO app_tenant_cat; GRANT USAGE ON SCHEMA tenant_dan TO support; GRANT DELETE ON tenant_dan.tags TO support",
        "REVOKE support FROM app_tenant_cat; REVOKE USAGE ON SCHEMA tenant_dan FROM support; REVOKE DELETE ON tenant_dan.tags FROM support",
        &["tenant_dan.tags"],
        &["schema-cross-access", "probe-write"],
        "critical",
    ),
    on_app(
        "a schema and a table for everybody",
        "GRANT USAGE ON SCHEMA tenant_cat TO PUBLIC; GRANT SELECT ON tenant_cat.users TO PUBLIC",
        "REVOKE USAGE ON SCHEMA tenant_cat FROM PUBLIC; REVOKE SELECT ON tenant_cat.users FROM PUBLIC",
        &["tenant_cat", "tenant_cat.users"],
        &["public-grant", "probe-read"],
        "critical",
    ),
    on_app(
        "tables to come for everybody",
        "ALTER DEFAULT PRIVILEGES FOR ROLE OWNER_OF_DAN IN SCHEMA tenant_dan GRANT SELECT ON TABLES TO PUBLIC",
        "ALTER DEFAULT PRIVILEGES FOR ROLE OWNER_OF_DAN IN SCHEMA tenant_dan REVOKE SELECT ON TABLES FROM PUBLIC",
        &["tenant_dan"],
        &["default-privileges"],
        "high",
    ),
    on_app(
        "a way to BYPASSRLS",
        "GRANT chief TO staff; GRANT staff TO app_rw",
        "REVOKE staff FROM app_rw; REVOKE chief FROM staff",
        &["app_rw", "chief"],
        &["role-reaches-exempt"],
        "high",
    ),
    on_app(
        "CREATEROLE",
        "ALTER ROLE app_rw CREATEROLE",
        "ALTER ROLE app_rw NOCREATEROLE",
        &["app_rw"],
        &["role-creates-roles"],
        LIGHTER,
    ),
    on_app(
        "REPLICATION",
        "ALTER ROLE app_rw REPLICATION",
        "ALTER ROLE app_rw NOREPLICATION",
        &["app_rw"],
        &["role-replicates"],
        "high",
    ),
    on_app(
        "a database of a tenant's own for everybody",
        "GRANT CONNECT ON DATABASE tenant_eve TO PUBLIC",
        "REVOKE CONNECT ON DATABASE tenant_eve FROM PUBLIC",
        &["tenant_eve"],
        &["database-cross-connect", "probe-connect"],
        "high",
    ),
    ],
    &[
    on_app(
        "no FORCE, and the application owns the table",
        "ALTER TABLE app.tags NO FORCE ROW LEVEL SECURITY; ALTER TABLE app.tags OWNER TO app_rw",
        "ALTER TABLE app.tags FORCE ROW LEVEL SECURITY; ALTER TABLE app.tags OWNER TO OWNER_OF_APP",
        &["app.tags", "app_rw"],
        &["rls-not-forced", "role-reaches-owner", "probe-read", "probe-write", "probe-move"],
        "critical",
    ),
    on_app(
        "a partition of its own right",
        "GRANT SELECT ON app.parts_0 TO app_rw",
        "REVOKE SELECT ON app.parts_0 FROM app_rw",
        &["app.parts_0"],
        &["partition-exposed", "probe-read"],
        "critical",
    ),
    on_app(
        "rows without a tenant",
        "ALTER TABLE app.parts ALTER tenant_id DROP NOT NULL",
        "ALTER TABLE app.parts ALTER tenant_id SET NOT NULL",
        &["app.parts"],
        &["tenant-column-nullable"],
        "low",
    ),
    on_app(
        "a view of its owner's",
        "CREATE VIEW app.all_users AS SELECT * FROM app.users; ALTER VIEW app.all_users OWNER TO postgres;
         GRANT SELECT ON app.all_users TO app_rw",
        "DROP VIEW app.all_users",
        &["app.all_users"],
        &["definer-view", "probe-read"],
        "critical",
    ),
    on_app(
        "a materialized view",
        "CREATE MATERIALIZED VIEW app.kept_users AS SELECT * FROM app.users; GRANT SELECT ON app.kept_users TO app_rw",
        "DROP MATERIALIZED VIEW app.kept_users",
        &["app.kept_users"],
        &["definer-view"],
        "critical",
    ),
    on_app(
        "a function with its owner's rights",
        "CREATE FUNCTION app.dump() RETURNS SETOF app.users LANGUAGE sql SECURITY DEFINER AS 'SELECT * FROM app.users'",
        "DROP FUNCTION app.dump()",
        &["app.dump()"],
        &["definer-function", "probe-routine"],
        "critical",
    ),
    on_app(
        "another tenant may make objects",
        "GRANT CREATE ON SCHEMA tenant_dan TO app_tenant_cat",
        "REVOKE CREATE ON SCHEMA tenant_dan FROM app_tenant_cat",
        &["tenant_dan"],
        &["schema-cross-access"],
        "high",
    ),
    on_app(
        "tables to come for another tenant",
        "ALTER DEFAULT PRIVILEGES FOR ROLE OWNER_OF_DAN IN SCHEMA tenant_dan GRANT SELECT ON TABLES TO app_tenant_cat",
        "ALTER DEFAULT PRIVILEGES FOR ROLE OWNER_OF_DAN IN SCHEMA tenant_dan REVOKE SELECT ON TABLES FROM app_tenant_cat",
        &["tenant_dan"],
        &["default-privileges"],
        "high",
    ),
    on_app(
        "pg_read_all_data through a group",
        "GRANT pg_read_all_data TO staff; GRANT staff TO pool",
        "REVOKE staff FROM pool; REVOKE pg_read_all_data FROM staff",
        &["pg_read_all_data"],
        &["role-predefined"],
        "critical",
    ),
    on_app(
        "sessions that begin as some tenant",
        "ALTER ROLE app_rw SET app.tenant_id = '11111111-1111-1111-1111-111111111111'",
        "ALTER ROLE app_rw RESET app.tenant_id",
        &["app_rw"],
        &["context-default"],
        "high",
    ),
    on_app(
        "all sessions of a database that begin as some tenant",
        "ALTER DATABASE app SET app.tenant_id = '11111111-1111-1111-1111-111111111111'",
        "ALTER DATABASE app RESET app.tenant_id",
        &["app"],
        &["context-default"],
        "high",
    ),
    on_app(
        "names looked up where anybody makes them",
        "GRANT CREATE ON SCHEMA public TO PUBLIC; ALTER ROLE app_rw SET search_path = app, public",
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC; ALTER ROLE app_rw RESET search_path",
        &["public", "app_rw"],
        &["schema-create-granted", "search-path-open"],
        "medium",
    ),
    on_app(
        "a database of a tenant's own for another tenant",
        "GRANT CONNECT ON DATABASE tenant_eve TO app_tenant_fay",
        "REVOKE CONNECT ON DATABASE tenant_eve FROM app_tenant_fay",
        &["tenant_eve"],
        &["database-cross-connect", "probe-connect"],
        "high",
    ),
    ],
    &[
    on_app(
        "BYPASSRLS",
        "ALTER ROLE app_rw BYPASSRLS",
        "ALTER ROLE app_rw NOBYPASSRLS",
        &["app_rw", "app.*"],
        &["role-bypasses-rls", "probe-read", "probe-write", "probe-insert", "probe-move"],
        "critical",
    ),
    on_app(
        "a member of another tenant's role",
        "GRANT app_tenant_dan TO app_tenant_cat",
        "REVOKE app_tenant_dan FROM app_tenant_cat",
        &["app_tenant_cat", "app_tenant_dan", "tenant_dan.*"],
        &["role-reaches-tenant", "probe-read", "probe-write", "probe-insert"],
        "critical",
    ),
    on_app(
        "a login that inherits",
        "ALTER ROLE pool INHERIT; GRANT app_tenant_cat, app_tenant_dan TO pool",
        // From 16 on a membership is inherited or not by itself, whatever the role says.
        "ALTER ROLE pool NOINHERIT; REVOKE app_tenant_cat, app_tenant_dan FROM pool",
        &["pool"],
        &["login-inherits-tenants"],
        "high",
    ),
    Break {
        what: "a table in another tenant's database",
        database: "tenant_eve",
        sql: "GRANT USAGE ON SCHEMA SCHEMA_OF_EVE TO app_tenant_fay; GRANT SELECT ON SCHEMA_OF_EVE.users TO app_tenant_fay",
        undo: "REVOKE USAGE ON SCHEMA SCHEMA_OF_EVE FROM app_tenant_fay; REVOKE SELECT ON SCHEMA_OF_EVE.users FROM app_tenant_fay",
        on: &["app.users", "app"],
        // Nobody lets it in, so that nothing is tried there.
        rules: &["database-cross-access"],
        severity: "high",
    },
    ],
    &[
    on_app(
        "the application as a superuser",
        "ALTER ROLE app_rw SUPERUSER",
        "ALTER ROLE app_rw NOSUPERUSER",
        &["app_rw", "app.*", "pg_catalog.pg_statistic"],
        &["role-superuser", "probe-read", "probe-write", "probe-insert", "probe-move"],
        "critical",
    ),
    on_app(
        "a member of another tenant's owner",
        "GRANT OWNER_OF_DAN TO app_tenant_cat",
        "REVOKE OWNER_OF_DAN FROM app_tenant_cat",
        &["app_tenant_cat", "tenant_dan_owner", "tenant_dan.*"],
        &["role-reaches-tenant", "probe-read", "probe-write", "probe-insert", "probe-truncate"],
        "critical",
    ),
    ],
];

fn audit(world: &World, code: i32) -> Value {
    let args = ["verify-rls", "-o", "json", "--fail-on", "info", "-q"];
    world.run(args).code(code).json()
}

#[test]
fn every_break_is_found_by_its_own_rule_and_mended_by_the_printed_fix() {
    let world = fleet(World::new(), OPERATOR, "app_rw");
    let one = |query: &str, database: &str| world.rows_in(database, query)[0][0].clone();
    let owner = |schema: &str| {
        one(
            &format!("SELECT nspowner::regrole FROM pg_namespace WHERE nspname = '{schema}'"),
            "app",
        )
    };
    let (app, dan) = (
        one("SELECT relowner::regrole FROM pg_class WHERE oid = 'app.users'::regclass", "app"),
        owner("tenant_dan"),
    );
    let eve = one(
        "SELECT relnamespace::regnamespace FROM pg_class WHERE relname = 'users' AND relkind = 'r'",
        "tenant_eve",
    );
    let named = |text: &str| {
        text.replace("OWNER_OF_APP", &app)
            .replace("OWNER_OF_DAN", &dan)
            .replace("SCHEMA_OF_EVE", &eve)
    };
    let mut wrong = Vec::new();
    world.sql(&named(STAGE));
    world.sql(&format!("ALTER TABLE app.parts OWNER TO {app}; ALTER TABLE app.parts_0 OWNER TO {app}; ALTER SEQUENCE tenant_dan.counter OWNER TO {dan}; ALTER VIEW tenant_dan.own_users OWNER TO {dan}"));
    audit(&world, 0);
    for group in GROUPS {
        for one in *group {
            world.sql_in(one.database, &named(one.sql));
        }
        let args = ["--fail-on", "info", "-q", "--fix-sql", "fix.sql"];
        let answer = world.run([&["verify-rls", "-o", "json"], &args[..]].concat()).json();
        wrong.extend(unlike(group, answer["findings"].as_array().unwrap()));
        let fixes = answer["fixes"].as_array().unwrap();
        let script = std::fs::read_to_string(world.path("fix.sql")).unwrap();
        for fix in fixes {
            let places = fix["databases"].as_array().unwrap().iter();
            let places: Vec<&str> = places.map(|place| place.as_str().unwrap()).collect();
            // It may be run twice, and what is about roles alone anywhere.
            for place in if places.is_empty() { vec!["app"] } else { places }.repeat(2) {
                if let Err(failure) = world.session(place, "postgres").attempt(&script) {
                    wrong.push(format!("{}\n{script}", failure.message));
                }
            }
        }
        // What a person must decide is left, with what its probes see, and nothing else.
        let decided: BTreeSet<&str> = DECIDED.iter().copied().collect();
        let after = world.run(["verify-rls", "-o", "json", "-q", "--fail-on", "info"]).json();
        for finding in after["findings"].as_array().unwrap() {
            let breaks = group.iter().filter(|one| one.explains(finding));
            if breaks.clone().all(|one| !one.rules.iter().any(|rule| decided.contains(rule))) {
                wrong.push(format!("after its fix there is still {}", told(finding)));
            }
        }
        for one in *group {
            world.sql_in(one.database, &named(one.undo));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    audit(&world, 0);
}

/// What is not as the breaks of a group say.
fn unlike(group: &[Break], findings: &[Value]) -> Vec<String> {
    let mut wrong = Vec::new();
    for one in group {
        let own: Vec<&Value> = findings.iter().filter(|finding| one.explains(finding)).collect();
        let found: BTreeSet<&str> = own.iter().map(|f| f["rule"].as_str().unwrap()).collect();
        let missed: Vec<_> = one.rules.iter().filter(|rule| !found.contains(*rule)).collect();
        if !missed.is_empty() {
            wrong.push(format!("{}: not found by {missed:?}", one.what));
        }
        if let Some(first) = own.first()
            && !one.severity.split(" or ").any(|severity| first["severity"] == severity)
        {
            wrong.push(format!("{}: {} and not {}", one.what, first["severity"], one.severity));
        }
    }
    let strange = findings.iter().filter(|finding| !group.iter().any(|one| one.explains(finding)));
    wrong.extend(strange.map(|finding| format!("nobody did {}", told(finding))));
    wrong
}

fn told(finding: &Value) -> String {
    let object = &finding["object"];
    format!(
        "{} on {} of {}: {}",
        finding["rule"], object["name"], object["parent"], finding["message"]
    )
}
