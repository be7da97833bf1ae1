//! `verify-rls --static` and single ways to lose isolation, on every version: each is found by its own
//! rule, what nearly is one is not, and where the printed fix is SQL, it mends it.
//!
//! To add one: a line with the statements that break a sound fleet, those that put it back, and the
//! rule; and statements that come close.

use std::collections::BTreeSet;

use crate::harness::{OPERATOR, on_every_version};
use crate::verify_rls::{fleet, rules};

/// One way.
struct Way {
    /// The rules that find it, and no others.
    rules: &'static [&'static str],
    /// The gravest finding.
    severity: &'static str,
    /// What is done, as a superuser; `DB:` first runs it in the database of tenant eve.
    breaks: &'static str,
    /// Puts everything back, whether the printed fix ran or not.
    undo: &'static str,
    /// What comes close: done before and undone after an audit that must find nothing.
    near: &'static str,
    /// The same for what comes close.
    near_undo: &'static str,
    /// The oldest major version that has it.
    since: u32,
}

const fn way(
    rules: &'static [&'static str],
    severity: &'static str,
    breaks: &'static str,
    undo: &'static str,
    near: &'static str,
    near_undo: &'static str,
) -> Way {
    Way { rules, severity, breaks, undo, near, near_undo, since: 14 }
}

/// What the ways stand on: sound as it is.
const STAGE: &str = "
    CREATE ROLE support NOLOGIN;
    CREATE ROLE chief NOLOGIN BYPASSRLS;
    CREATE TABLE app.parts (tenant_id uuid NOT NULL, n int, email text, label int, PRIMARY KEY (tenant_id, n));
    ALTER TABLE app.parts ENABLE ROW LEVEL SECURITY;
    ALTER TABLE app.parts FORCE ROW LEVEL SECURITY;
    CREATE POLICY tenant_isolation ON app.parts USING (tenant_id = CONTEXT);
    GRANT SELECT, INSERT, UPDATE, DELETE ON app.parts TO app_rw;
    CREATE TABLE app.labels (id int PRIMARY KEY, name text);
    GRANT SELECT ON app.labels TO app_rw;
    CREATE TABLE app.things (id uuid, subject text, phone text);
    CREATE SEQUENCE app.numbers;
    ALTER TABLE app.parts OWNER TO OWNER; ALTER TABLE app.labels OWNER TO OWNER;
    ALTER TABLE app.things OWNER TO OWNER; ALTER SEQUENCE app.numbers OWNER TO OWNER;
    CREATE FOREIGN DATA WRAPPER nothing;
    CREATE SERVER there FOREIGN DATA WRAPPER nothing OPTIONS (dbname 'tenant_eve');
    CREATE SERVER rates FOREIGN DATA WRAPPER nothing OPTIONS (dbname 'rates');
    CREATE FOREIGN TABLE app.rates (code text) SERVER rates;
    GRANT SELECT ON app.rates TO app_rw;
";

const WAYS: &[Way] = &[
    way(
        &["role-default", "role-reaches-exempt"],
        "critical",
        "GRANT chief TO app_rw; ALTER ROLE app_rw SET role = 'chief'",
        "REVOKE chief FROM app_rw; ALTER ROLE app_rw RESET role",
        "ALTER ROLE app_rw SET role = 'chief'",
        "ALTER ROLE app_rw RESET role",
    ),
    way(
        &["role-creates-databases"],
        "low",
        "ALTER ROLE app_rw CREATEDB",
        "ALTER ROLE app_rw NOCREATEDB",
        "ALTER ROLE support CREATEDB",
        "ALTER ROLE support NOCREATEDB",
    ),
    way(
        &["database-template"],
        "medium",
        "ALTER DATABASE tenant_eve IS_TEMPLATE true",
        "ALTER DATABASE tenant_eve IS_TEMPLATE false",
        "ALTER DATABASE app IS_TEMPLATE true",
        "ALTER DATABASE app IS_TEMPLATE false",
    ),
    way(
        &["database-foreign-owner"],
        "high",
        "GRANT CREATE ON DATABASE tenant_eve TO app_tenant_fay",
        "REVOKE CREATE ON DATABASE tenant_eve FROM app_tenant_fay",
        "GRANT CREATE ON DATABASE tenant_eve TO support",
        "REVOKE CREATE ON DATABASE tenant_eve FROM support",
    ),
    way(
        &["login-unlisted"],
        "info",
        "CREATE ROLE worker LOGIN; GRANT USAGE ON SCHEMA app TO worker; GRANT SELECT ON app.parts TO worker",
        "DROP OWNED BY worker; DROP ROLE worker",
        "CREATE ROLE worker LOGIN; GRANT USAGE ON SCHEMA app TO worker; GRANT SELECT ON app.labels TO worker",
        "DROP OWNED BY worker; DROP ROLE worker",
    ),
    way(
        &["policy-dormant"],
        "high",
        "CREATE POLICY p ON app.labels USING (false)",
        "DROP POLICY p ON app.labels; ALTER TABLE app.labels NO FORCE ROW LEVEL SECURITY; ALTER TABLE app.labels DISABLE ROW LEVEL SECURITY",
        "CREATE POLICY p ON app.things USING (false)",
        "DROP POLICY p ON app.things",
    ),
    way(
        &["copy-without-tenant"],
        "high",
        "CREATE TABLE app.users_backup AS SELECT id, email, display_name, role, created_at FROM app.users; GRANT SELECT ON app.users_backup TO app_rw",
        "DROP TABLE app.users_backup",
        "GRANT SELECT, INSERT ON app.things TO app_rw",
        "REVOKE ALL ON app.things FROM app_rw",
    ),
    way(
        &["registry-readable"],
        "medium",
        "CREATE TABLE app.clients (id uuid PRIMARY KEY, name text); ALTER TABLE app.parts ADD CONSTRAINT k FOREIGN KEY (tenant_id) REFERENCES app.clients; GRANT SELECT ON app.clients TO app_rw",
        "DROP TABLE app.clients CASCADE",
        "CREATE TABLE app.clients (id uuid PRIMARY KEY, name text); ALTER TABLE app.parts ADD CONSTRAINT k FOREIGN KEY (tenant_id) REFERENCES app.clients",
        "DROP TABLE app.clients CASCADE",
    ),
    way(
        &["child-without-tenant"],
        "high",
        "CREATE TABLE app.lines (tenant uuid, part int, FOREIGN KEY (tenant, part) REFERENCES app.parts); GRANT SELECT ON app.lines TO app_rw",
        "DROP TABLE app.lines",
        "CREATE TABLE app.lines (tenant uuid, part int, FOREIGN KEY (tenant, part) REFERENCES app.parts)",
        "DROP TABLE app.lines",
    ),
    way(
        &["policy-ignores-tenant"],
        "critical",
        "CREATE TABLE app.lines (tenant uuid, part int, FOREIGN KEY (tenant, part) REFERENCES app.parts); ALTER TABLE app.lines ENABLE ROW LEVEL SECURITY;
         ALTER TABLE app.lines FORCE ROW LEVEL SECURITY; CREATE POLICY p ON app.lines FOR SELECT USING (part IS NOT NULL); GRANT SELECT ON app.lines TO app_rw",
        "DROP TABLE app.lines",
        "CREATE TABLE app.lines (tenant uuid, part int, FOREIGN KEY (tenant, part) REFERENCES app.parts); ALTER TABLE app.lines ENABLE ROW LEVEL SECURITY;
         ALTER TABLE app.lines FORCE ROW LEVEL SECURITY; GRANT SELECT ON app.lines TO app_rw;
         CREATE POLICY p ON app.lines FOR SELECT USING (EXISTS (SELECT FROM app.parts p WHERE p.tenant_id = lines.tenant AND p.n = lines.part))",
        "DROP TABLE app.lines",
    ),
    way(
        &["references-granted"],
        // Where anybody may make tables, as in PostgreSQL 14.
        "low or medium",
        "GRANT REFERENCES ON app.parts TO app_rw",
        "REVOKE REFERENCES ON app.parts FROM app_rw",
        "GRANT REFERENCES ON app.labels TO app_rw",
        "REVOKE REFERENCES ON app.labels FROM app_rw",
    ),
    Way {
        since: 17,
        ..way(
            &["maintain-granted"],
            "medium",
            "GRANT MAINTAIN ON app.parts TO app_rw",
            "REVOKE MAINTAIN ON app.parts FROM app_rw",
            "GRANT MAINTAIN ON app.labels TO app_rw",
            "REVOKE MAINTAIN ON app.labels FROM app_rw",
        )
    },
    way(
        &["tenant-column-default"],
        "medium",
        "ALTER TABLE app.parts ALTER tenant_id SET DEFAULT '11111111-1111-1111-1111-111111111111'",
        "ALTER TABLE app.parts ALTER tenant_id DROP DEFAULT",
        "ALTER TABLE app.parts ALTER tenant_id SET DEFAULT CONTEXT_NOW",
        "ALTER TABLE app.parts ALTER tenant_id DROP DEFAULT",
    ),
    way(
        &["policy-session-user"],
        "high",
        "CREATE POLICY p ON app.parts FOR SELECT USING (tenant_id = CONTEXT AND pg_has_role(session_user, 'app_rw', 'MEMBER'))",
        "DROP POLICY p ON app.parts",
        "CREATE POLICY p ON app.parts FOR SELECT USING (tenant_id = CONTEXT AND pg_has_role(current_user, 'app_rw', 'MEMBER'))",
        "DROP POLICY p ON app.parts",
    ),
    way(
        &["policy-trusts-writable"],
        "high",
        "GRANT UPDATE ON app.labels TO app_rw; CREATE POLICY p ON app.parts USING (tenant_id = CONTEXT AND n IN (SELECT id FROM app.labels))",
        "REVOKE UPDATE ON app.labels FROM app_rw; DROP POLICY p ON app.parts",
        "CREATE POLICY p ON app.parts USING (tenant_id = CONTEXT AND n IN (SELECT id FROM app.labels))",
        "DROP POLICY p ON app.parts",
    ),
    way(
        &["policy-floor-named"],
        "high or low",
        "CREATE POLICY p ON app.parts USING (true); CREATE POLICY floor ON app.parts AS RESTRICTIVE TO app_rw USING (tenant_id = CONTEXT)",
        "DROP POLICY p ON app.parts; DROP POLICY floor ON app.parts",
        "CREATE POLICY p ON app.parts USING (true); CREATE POLICY floor ON app.parts AS RESTRICTIVE USING (tenant_id = CONTEXT)",
        "DROP POLICY p ON app.parts; DROP POLICY floor ON app.parts",
    ),
    way(
        &["policy-recursive"],
        "medium",
        "CREATE POLICY p ON app.parts AS RESTRICTIVE USING (EXISTS (SELECT FROM app.parts other WHERE other.n = parts.n))",
        "DROP POLICY p ON app.parts",
        "CREATE POLICY p ON app.parts AS RESTRICTIVE USING (n > 0)",
        "DROP POLICY p ON app.parts",
    ),
    way(
        &["row-security-off"],
        "low",
        "ALTER ROLE app_rw SET row_security = off",
        "ALTER ROLE app_rw RESET row_security",
        "ALTER ROLE chief SET row_security = off",
        "ALTER ROLE chief RESET row_security",
    ),
    way(
        &["definer-search-path"],
        "high",
        "GRANT TEMPORARY ON DATABASE app TO app_rw;
         CREATE FUNCTION app.f() RETURNS bigint LANGUAGE sql STABLE SECURITY DEFINER SET search_path = app AS $$ SELECT count(*) FROM parts WHERE tenant_id = CONTEXT $$",
        "DROP FUNCTION app.f(); REVOKE TEMPORARY ON DATABASE app FROM app_rw",
        "GRANT TEMPORARY ON DATABASE app TO app_rw;
         CREATE FUNCTION app.f() RETURNS bigint LANGUAGE sql STABLE SECURITY DEFINER SET search_path = app, pg_temp AS $$ SELECT count(*) FROM parts WHERE tenant_id = CONTEXT $$",
        "DROP FUNCTION app.f(); REVOKE TEMPORARY ON DATABASE app FROM app_rw",
    ),
    way(
        &["definer-function"],
        "high",
        "CREATE FUNCTION app.f(s text) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
            AS $$ DECLARE n bigint; BEGIN EXECUTE format('SELECT count(*) FROM %I.users', s) INTO n; RETURN n; END $$",
        "DROP FUNCTION app.f(text)",
        "CREATE FUNCTION app.f(s text) RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
            AS $$ DECLARE n bigint; BEGIN EXECUTE format('SELECT count(*) FROM %I.users', s) INTO n; RETURN n; END $$",
        "DROP FUNCTION app.f(text)",
    ),
    way(
        &["context-shadowable"],
        "high",
        "GRANT TEMPORARY ON DATABASE app TO app_rw;
         CREATE FUNCTION app.f() RETURNS int LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$ BEGIN RETURN (SELECT max(id) FROM labels); END $$;
         CREATE POLICY p ON app.parts AS RESTRICTIVE USING (n <= (SELECT app.f()))",
        "DROP POLICY p ON app.parts; DROP FUNCTION app.f(); REVOKE TEMPORARY ON DATABASE app FROM app_rw",
        "GRANT TEMPORARY ON DATABASE app TO app_rw;
         CREATE FUNCTION app.f() RETURNS int LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$ BEGIN RETURN (SELECT max(id) FROM app.labels); END $$;
         CREATE POLICY p ON app.parts AS RESTRICTIVE USING (n <= (SELECT app.f()))",
        "DROP POLICY p ON app.parts; DROP FUNCTION app.f(); REVOKE TEMPORARY ON DATABASE app FROM app_rw",
    ),
    way(
        &["context-immutable"],
        "high",
        "CREATE FUNCTION app.f() RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT CONTEXT $$; CREATE POLICY p ON app.parts AS RESTRICTIVE USING (tenant_id = (SELECT app.f()))",
        "DROP POLICY p ON app.parts; DROP FUNCTION app.f()",
        "CREATE FUNCTION app.f() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE AS $$ SELECT CONTEXT $$; CREATE POLICY p ON app.parts AS RESTRICTIVE USING (tenant_id = (SELECT app.f()))",
        "DROP POLICY p ON app.parts; DROP FUNCTION app.f()",
    ),
    way(
        &["function-sets-context"],
        "high",
        "CREATE FUNCTION app.f() RETURNS bigint LANGUAGE sql SET app.tenant_id = '11111111-1111-1111-1111-111111111111' AS 'SELECT count(*) FROM app.parts'",
        "DROP FUNCTION app.f()",
        "CREATE FUNCTION app.f() RETURNS bigint LANGUAGE sql SET app.tenant_id = '' AS 'SELECT count(*) FROM app.parts'",
        "DROP FUNCTION app.f()",
    ),
    way(
        &["function-leakproof"],
        "high",
        "CREATE FUNCTION app.f(text) RETURNS text LANGUAGE plpgsql LEAKPROOF AS $$ BEGIN RAISE NOTICE '%', $1; RETURN $1; END $$",
        "DROP FUNCTION app.f(text)",
        "CREATE FUNCTION app.f(text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE '%', $1; RETURN $1; END $$",
        "DROP FUNCTION app.f(text)",
    ),
    way(
        &["context-session-scoped"],
        "high",
        "CREATE FUNCTION app.f(text) RETURNS text LANGUAGE sql AS $$ SELECT set_config('app.tenant_id', $1, false) $$",
        "DROP FUNCTION app.f(text)",
        "CREATE FUNCTION app.f(text) RETURNS text LANGUAGE sql AS $$ SELECT set_config('app.tenant_id', $1, true) $$",
        "DROP FUNCTION app.f(text)",
    ),
    way(
        &["function-untrusted"],
        "medium",
        "CREATE FUNCTION app.f() RETURNS timestamptz LANGUAGE internal AS 'now'",
        "DROP FUNCTION app.f()",
        "CREATE FUNCTION app.f() RETURNS timestamptz LANGUAGE internal AS 'now'; REVOKE EXECUTE ON FUNCTION app.f() FROM PUBLIC",
        "DROP FUNCTION app.f()",
    ),
    way(
        &["view-not-barrier"],
        "high",
        "CREATE VIEW app.v AS SELECT * FROM app.parts WHERE tenant_id = CONTEXT; GRANT SELECT ON app.v TO app_rw",
        "DROP VIEW app.v",
        "CREATE VIEW app.v WITH (security_barrier) AS SELECT * FROM app.parts WHERE tenant_id = CONTEXT; GRANT SELECT ON app.v TO app_rw",
        "DROP VIEW app.v",
    ),
    way(
        &["view-unchecked"],
        "high",
        "CREATE VIEW app.v WITH (security_barrier) AS SELECT * FROM app.parts WHERE tenant_id = CONTEXT; GRANT SELECT, INSERT ON app.v TO app_rw",
        "DROP VIEW app.v",
        "CREATE VIEW app.v WITH (security_barrier) AS SELECT * FROM app.parts WHERE tenant_id = CONTEXT WITH CHECK OPTION; GRANT SELECT, INSERT ON app.v TO app_rw",
        "DROP VIEW app.v",
    ),
    way(
        &["definer-view"],
        "critical",
        "CREATE VIEW app.v WITH (security_barrier) AS SELECT * FROM app.parts WHERE tenant_id = CONTEXT OR label = 0; GRANT SELECT ON app.v TO app_rw",
        "DROP VIEW app.v",
        "CREATE VIEW app.v AS SELECT * FROM app.parts; ALTER VIEW app.v OWNER TO OWNER; GRANT SELECT ON app.v TO app_rw",
        "DROP VIEW app.v",
    ),
    way(
        &["trigger-definer"],
        "high",
        "CREATE FUNCTION app.f() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
            AS $$ BEGIN SELECT p.email INTO NEW.email FROM app.parts p WHERE p.n = NEW.label; RETURN NEW; END $$;
         CREATE TRIGGER t BEFORE INSERT ON app.parts FOR EACH ROW EXECUTE FUNCTION app.f()",
        "DROP TRIGGER t ON app.parts; DROP FUNCTION app.f()",
        "CREATE FUNCTION app.f() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
            AS $$ BEGIN SELECT p.email INTO NEW.email FROM app.parts p WHERE p.n = NEW.label AND p.tenant_id = NEW.tenant_id; RETURN NEW; END $$;
         CREATE TRIGGER t BEFORE INSERT ON app.parts FOR EACH ROW EXECUTE FUNCTION app.f()",
        "DROP TRIGGER t ON app.parts; DROP FUNCTION app.f()",
    ),
    way(
        &["rewrite-rule"],
        "high",
        "CREATE TABLE app.wide (id int); ALTER TABLE app.wide OWNER TO postgres; GRANT INSERT ON app.wide TO app_rw;
         CREATE RULE r AS ON INSERT TO app.wide DO ALSO UPDATE app.parts SET email = NULL WHERE n = NEW.id",
        "DROP TABLE app.wide",
        "CREATE TABLE app.wide (id int); ALTER TABLE app.wide OWNER TO OWNER; GRANT INSERT ON app.wide TO app_rw;
         CREATE RULE r AS ON INSERT TO app.wide DO ALSO UPDATE app.parts SET email = NULL WHERE n = NEW.id",
        "DROP TABLE app.wide",
    ),
    way(
        &["event-trigger-grants"],
        "medium",
        "CREATE FUNCTION app.f() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'GRANT SELECT ON app.labels TO support'; END $$; CREATE EVENT TRIGGER e ON ddl_command_end WHEN TAG IN ('CREATE DOMAIN') EXECUTE FUNCTION app.f()",
        "DROP EVENT TRIGGER e; DROP FUNCTION app.f()",
        "CREATE FUNCTION app.f() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE LOG 'made'; END $$; CREATE EVENT TRIGGER e ON ddl_command_end WHEN TAG IN ('CREATE DOMAIN') EXECUTE FUNCTION app.f()",
        "DROP EVENT TRIGGER e; DROP FUNCTION app.f()",
    ),
    way(
        &["foreign-exposed"],
        "high",
        "CREATE USER MAPPING FOR PUBLIC SERVER there; GRANT USAGE ON FOREIGN SERVER there TO app_rw",
        "DROP USER MAPPING IF EXISTS FOR PUBLIC SERVER there; REVOKE USAGE ON FOREIGN SERVER there FROM app_rw",
        "CREATE USER MAPPING FOR PUBLIC SERVER there",
        "DROP USER MAPPING FOR PUBLIC SERVER there",
    ),
    way(
        &["server-function-granted"],
        "high",
        "GRANT EXECUTE ON FUNCTION pg_read_file(text) TO app_rw",
        "REVOKE EXECUTE ON FUNCTION pg_read_file(text) FROM app_rw",
        "GRANT EXECUTE ON FUNCTION pg_read_file(text) TO support",
        "REVOKE EXECUTE ON FUNCTION pg_read_file(text) FROM support",
    ),
    way(
        &["catalogue-readable"],
        "high",
        "GRANT SELECT ON pg_catalog.pg_statistic TO app_rw",
        "REVOKE SELECT ON pg_catalog.pg_statistic FROM app_rw",
        "GRANT SELECT ON pg_catalog.pg_statistic TO support",
        "REVOKE SELECT ON pg_catalog.pg_statistic FROM support",
    ),
    way(
        &["large-objects-shared"],
        "high",
        "SET ROLE app_rw; SELECT lo_create(4711); RESET ROLE",
        "SELECT lo_unlink(4711)",
        "SELECT lo_create(4712)",
        "SELECT lo_unlink(4712)",
    ),
    way(
        &["trigger-notifies"],
        "high",
        "CREATE FUNCTION app.f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_notify('parts', to_jsonb(NEW)::text); RETURN NULL; END $$;
         CREATE TRIGGER t AFTER INSERT ON app.parts FOR EACH ROW EXECUTE FUNCTION app.f()",
        "DROP TRIGGER t ON app.parts; DROP FUNCTION app.f()",
        "CREATE FUNCTION app.f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_notify('labels', to_jsonb(NEW)::text); RETURN NULL; END $$;
         CREATE TRIGGER t AFTER INSERT ON app.labels FOR EACH ROW EXECUTE FUNCTION app.f()",
        "DROP TRIGGER t ON app.labels; DROP FUNCTION app.f()",
    ),
    way(
        &["publication-unfiltered"],
        "low",
        "CREATE PUBLICATION feed FOR TABLE app.parts",
        "DROP PUBLICATION feed",
        "CREATE PUBLICATION feed FOR TABLE app.labels",
        "DROP PUBLICATION feed",
    ),
    way(
        &["publication-unfiltered"],
        "medium",
        "DB:CREATE SUBSCRIPTION feed CONNECTION 'dbname=elsewhere' PUBLICATION feed WITH (connect = false)",
        "DB:ALTER SUBSCRIPTION feed SET (slot_name = NONE); DROP SUBSCRIPTION feed",
        "",
        "",
    ),
    way(
        &["reference-without-tenant"],
        "medium",
        "ALTER TABLE app.parts ADD UNIQUE (tenant_id, label); ALTER TABLE app.parts ADD COLUMN other uuid, ADD COLUMN whole int, ADD CONSTRAINT k FOREIGN KEY (other, whole) REFERENCES app.parts (tenant_id, label)",
        "ALTER TABLE app.parts DROP CONSTRAINT k, DROP COLUMN other, DROP COLUMN whole, DROP CONSTRAINT parts_tenant_id_label_key",
        "ALTER TABLE app.parts ADD CONSTRAINT k FOREIGN KEY (tenant_id, label) REFERENCES app.parts (tenant_id, n)",
        "ALTER TABLE app.parts DROP CONSTRAINT k",
    ),
    way(
        &["unique-without-tenant"],
        "medium",
        "ALTER TABLE app.parts ADD CONSTRAINT k UNIQUE (email)",
        "ALTER TABLE app.parts DROP CONSTRAINT k",
        "ALTER TABLE app.parts ADD CONSTRAINT k UNIQUE (email, tenant_id)",
        "ALTER TABLE app.parts DROP CONSTRAINT k",
    ),
    way(
        &["cascade-from-shared"],
        "high",
        "ALTER TABLE app.parts ADD CONSTRAINT k FOREIGN KEY (label) REFERENCES app.labels ON DELETE CASCADE; GRANT DELETE ON app.labels TO app_rw",
        "ALTER TABLE app.parts DROP CONSTRAINT k; REVOKE DELETE ON app.labels FROM app_rw",
        "ALTER TABLE app.parts ADD CONSTRAINT k FOREIGN KEY (label) REFERENCES app.labels ON DELETE CASCADE",
        "ALTER TABLE app.parts DROP CONSTRAINT k",
    ),
    way(
        &["sequence-settable"],
        "medium",
        "GRANT UPDATE ON SEQUENCE app.numbers TO app_rw",
        "REVOKE UPDATE ON SEQUENCE app.numbers FROM app_rw",
        "GRANT USAGE, SELECT ON SEQUENCE app.numbers TO app_rw",
        "REVOKE USAGE, SELECT ON SEQUENCE app.numbers FROM app_rw",
    ),
    way(
        &["schema-create-granted"],
        "medium",
        "GRANT CREATE ON SCHEMA app TO app_rw",
        "REVOKE CREATE ON SCHEMA app FROM app_rw",
        "GRANT CREATE ON SCHEMA app TO support",
        "REVOKE CREATE ON SCHEMA app FROM support",
    ),
    way(
        &["database-create-granted"],
        "medium",
        "GRANT CREATE ON DATABASE app TO app_tenant_cat",
        "REVOKE CREATE ON DATABASE app FROM app_tenant_cat",
        "GRANT CREATE ON DATABASE app TO support",
        "REVOKE CREATE ON DATABASE app FROM support",
    ),
    Way {
        since: 15,
        ..way(
            &["parameter-granted"],
            "high",
            "GRANT SET ON PARAMETER session_replication_role TO app_rw",
            "REVOKE SET ON PARAMETER session_replication_role FROM app_rw",
            "GRANT SET ON PARAMETER session_replication_role TO support",
            "REVOKE SET ON PARAMETER session_replication_role FROM support",
        )
    },
    way(
        &["common-table-writable"],
        "high",
        "GRANT USAGE ON SCHEMA public TO PUBLIC; CREATE TABLE public.jobs (payload text); GRANT SELECT, INSERT ON public.jobs TO app_tenant_cat, app_tenant_dan",
        "DROP TABLE public.jobs",
        "CREATE TABLE public.jobs (payload text); GRANT SELECT ON public.jobs TO app_tenant_cat, app_tenant_dan; GRANT INSERT ON public.jobs TO app_tenant_cat",
        "DROP TABLE public.jobs",
    ),
    way(
        &["parent-reads-children"],
        "critical",
        "CREATE TABLE public.trunk (n int); CREATE TABLE tenant_dan.leaf () INHERITS (public.trunk); ALTER TABLE tenant_dan.leaf OWNER TO DAN; GRANT SELECT ON public.trunk TO app_tenant_cat",
        "DROP TABLE public.trunk CASCADE",
        "CREATE TABLE public.trunk (n int); CREATE TABLE tenant_dan.leaf () INHERITS (public.trunk); ALTER TABLE tenant_dan.leaf OWNER TO DAN; GRANT SELECT ON public.trunk TO app_tenant_dan",
        "DROP TABLE public.trunk CASCADE",
    ),
    way(
        &["foreign-key-crosses"],
        "medium",
        "CREATE TABLE tenant_dan.items (id int PRIMARY KEY); ALTER TABLE tenant_dan.items OWNER TO DAN; CREATE TABLE tenant_cat.orders (item int REFERENCES tenant_dan.items); ALTER TABLE tenant_cat.orders OWNER TO CAT",
        "DROP TABLE tenant_cat.orders, tenant_dan.items",
        "CREATE TABLE tenant_cat.orders (item int REFERENCES app.labels); ALTER TABLE tenant_cat.orders OWNER TO CAT",
        "DROP TABLE tenant_cat.orders",
    ),
    way(
        &["tenant-index-missing"],
        "low",
        "ALTER TABLE app.parts DROP CONSTRAINT parts_pkey, ADD CONSTRAINT parts_pkey PRIMARY KEY (n, tenant_id)",
        "ALTER TABLE app.parts DROP CONSTRAINT parts_pkey, ADD CONSTRAINT parts_pkey PRIMARY KEY (tenant_id, n); DROP INDEX IF EXISTS app.parts_tenant_id_idx",
        "CREATE INDEX extra ON app.parts (email, tenant_id)",
        "DROP INDEX app.extra",
    ),
    way(
        &["policy-slow"],
        "info",
        "CREATE POLICY p ON app.parts AS RESTRICTIVE USING (tenant_id = CONTEXT_NOW)",
        "DROP POLICY p ON app.parts",
        "CREATE POLICY p ON app.parts AS RESTRICTIVE USING (tenant_id = CONTEXT)",
        "DROP POLICY p ON app.parts",
    ),
];

const NOW: &str = "nullif(current_setting('app.tenant_id', true), '')::uuid";

#[test]
fn each_way_is_found_by_its_own_rule_and_what_comes_close_is_not() {
    on_every_version(|world| {
        let world = fleet(world, OPERATOR, "app_rw");
        let one = |query: &str| world.rows(query)[0][0].clone();
        let owner = |schema: &str| {
            one(&format!("SELECT nspowner::regrole FROM pg_namespace WHERE nspname = '{schema}'"))
        };
        let app = one("SELECT relowner::regrole FROM pg_class WHERE oid = 'app.users'::regclass");
        let (cat, dan) = (owner("tenant_cat"), owner("tenant_dan"));
        let major: u32 =
            one("SELECT current_setting('server_version_num')::int / 10000").parse().unwrap();
        let named = |text: &str| {
            text.replace("CONTEXT_NOW", NOW)
                .replace("CONTEXT", &format!("(SELECT {NOW})"))
                .replace("TO OWNER", &format!("TO {app}"))
                .replace("TO DAN", &format!("TO {dan}"))
                .replace("TO CAT", &format!("TO {cat}"))
        };
        let run = |text: &str| match text.strip_prefix("DB:") {
            Some(text) => text.split("; ").for_each(|part| world.sql_in("tenant_eve", part)),
            None => world.sql(&named(text)),
        };
        let audit = || {
            let answer = world
                .run(["verify-rls", "-o", "json", "-q", "--static", "--fail-on", "info"])
                .json();
            let mut found = rules(&answer);
            // What a minor release lacks is not what is tried here.
            found.remove("server-cve");
            (found, answer)
        };
        world.sql(&named(STAGE));
        let mut wrong = Vec::new();
        let (found, answer) = audit();
        assert!(found.is_empty(), "{found:?}\n{answer:#}");
        for way in WAYS.iter().filter(|way| way.since <= major) {
            let what = way.rules[0];
            if !way.near.is_empty() {
                run(way.near);
                let (found, _) = audit();
                if !found.is_empty() {
                    wrong.push(format!("near {what}: found {found:?}"));
                }
                run(way.near_undo);
            }
            run(way.breaks);
            let (found, answer) = audit();
            let wanted: BTreeSet<String> =
                way.rules.iter().map(|rule| (*rule).to_owned()).collect();
            if found != wanted {
                wrong.push(format!("{what}: found {found:?}"));
            }
            let findings = answer["findings"].as_array().unwrap();
            let first = findings.iter().find(|finding| finding["rule"] == what);
            if let Some(first) = first
                && !way.severity.split(" or ").any(|severity| first["severity"] == severity)
            {
                wrong.push(format!("{what}: {} and not {}", first["severity"], way.severity));
            }
            let fixes: Vec<_> =
                findings.iter().map(|finding| finding["fix"].as_str().unwrap()).collect();
            if fixes.iter().all(|fix| fix.ends_with(';')) && !way.breaks.starts_with("DB:") {
                for fix in fixes {
                    if let Err(failure) = world.session("app", "postgres").attempt(fix) {
                        wrong.push(format!("{what}: {fix}: {}", failure.message));
                    }
                }
                let (after, _) = audit();
                if !after.is_empty() {
                    wrong.push(format!("{what}: after its fix there is still {after:?}"));
                }
            }
            run(way.undo);
        }
        let (found, _) = audit();
        if !found.is_empty() {
            wrong.push(format!("at the end there is still {found:?}"));
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}
