//! `create` in the three models: what stands on the server afterwards, and what the application's
//! role can do with it.

use crate::harness::{Model, OPERATOR, Postgres, SHARED_ROLE, World, on_every_version};

const ACME: &str = "11111111-1111-1111-1111-111111111111";
const GLOBEX: &str = "22222222-2222-2222-2222-222222222222";

fn create(world: &World, tenant: &str, model: Model, uuid: &str) {
    let outcome = world.run(["create", tenant, "--isolation", model.word(), "--uuid", uuid]).ok();
    let first = format!("created tenant {tenant} in ");
    assert!(outcome.stdout().starts_with(&first), "{}", outcome.transcript());
}

/// The value of a query of one row and one column, as the superuser.
fn one(server: &Postgres, database: &str, query: &str) -> String {
    let rows = server.rows_in(database, query);
    assert!(rows.len() == 1 && rows[0].len() == 1, "{query}: {rows:?}");
    rows[0][0].clone()
}

fn assert_none(server: &Postgres, database: &str, query: &str) {
    let found = server.rows_in(database, query);
    assert!(found.is_empty(), "{query}: {found:?}");
}

/// What holds for every model, whoever made it.
fn assert_made(world: &World, tenant: &str, model: Model) {
    let (database, schema) = (model.database(tenant), model.schema(tenant));
    let (owner, role) = (model.owner(tenant), model.role(tenant));
    let is = |query: &str, expected: &str| {
        assert_eq!(one(world, &database, query), expected, "{query}");
    };
    // The owner owns everything, cannot log in, and may do nothing special; neither may the role.
    is(&format!("SELECT rolcanlogin FROM pg_roles WHERE rolname = '{owner}'"), "f");
    is(&format!("SELECT rolcanlogin FROM pg_roles WHERE rolname = '{role}'"), "t");
    assert_none(
        world,
        &database,
        &format!(
            "SELECT rolname FROM pg_roles WHERE rolname IN ('{owner}', '{role}') \
             AND (rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication)"
        ),
    );
    assert_none(
        world,
        &database,
        &format!(
            "SELECT c.relname FROM pg_class c WHERE relnamespace = '{schema}'::regnamespace \
             AND relowner <> '{owner}'::regrole"
        ),
    );
    is(&format!("SELECT nspowner::regrole FROM pg_namespace WHERE nspname = '{schema}'"), &owner);
    // The role is nobody's member, so it can become nothing else.
    assert_none(
        world,
        &database,
        &format!("SELECT roleid::regrole FROM pg_auth_members WHERE member = '{role}'::regrole"),
    );
    // PUBLIC has nothing: no schema, no table, no function, no default.
    for acl in [
        format!(
            "SELECT nspname, nspacl FROM pg_namespace, aclexplode(nspacl) x WHERE nspname = '{schema}' AND x.grantee = 0"
        ),
        format!(
            "SELECT relname FROM pg_class, aclexplode(relacl) x WHERE relnamespace = '{schema}'::regnamespace AND x.grantee = 0"
        ),
        format!(
            "SELECT proname FROM pg_proc, aclexplode(coalesce(proacl, acldefault('f', proowner))) x \
             WHERE pronamespace = '{schema}'::regnamespace AND x.grantee = 0"
        ),
        format!(
            "SELECT defaclobjtype FROM pg_default_acl, aclexplode(defaclacl) x WHERE defaclrole = '{owner}'::regrole AND x.grantee = 0"
        ),
    ] {
        assert_none(world, &database, &acl);
    }
    // The history says V7 seven times over, and is none of the role's business.
    is(
        &format!("SELECT count(*) || ' ' || max(version) FROM {schema}.refinery_schema_history"),
        "7 7",
    );
    assert_none(
        world,
        &database,
        &format!(
            "SELECT p FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) p \
             WHERE has_table_privilege('{role}', '{schema}.refinery_schema_history', p)"
        ),
    );
    is(
        &format!(
            "SELECT string_agg(privilege_type, ' ' ORDER BY privilege_type) FROM pg_class, aclexplode(relacl) x \
                  WHERE oid = '{schema}.documents'::regclass AND x.grantee = '{role}'::regrole"
        ),
        "DELETE INSERT SELECT UPDATE",
    );
    assert_none(
        world,
        &database,
        &format!("SELECT 1 WHERE has_schema_privilege('{role}', '{schema}', 'CREATE')"),
    );
    assert_eq!(
        world.rows(&format!("SELECT isolation, database, schema, owner, roles, state FROM tenantctl.tenants WHERE id = '{tenant}'")),
        [[model.word(), &database, &schema, &owner, &format!("{{{role}}}"), "active"]]
    );
}

fn assert_shared_tables_are_guarded(world: &World) {
    let tables = world.rows(
        "SELECT c.relname, c.relrowsecurity, c.relforcerowsecurity, count(p.oid), \
                bool_and(p.polpermissive AND p.polcmd = '*' AND p.polroles = '{0}'), \
                count(pg_get_expr(p.polqual, c.oid)), count(pg_get_expr(p.polwithcheck, c.oid)) \
         FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' \
         LEFT JOIN pg_policy p ON p.polrelid = c.oid \
         WHERE c.relnamespace = 'app'::regnamespace AND c.relkind IN ('r', 'p') GROUP BY 1, 2, 3",
    );
    assert!(tables.len() >= 9, "{tables:?}");
    for table in tables {
        assert_eq!(table[1..], ["t", "t", "1", "t", "1", "1"], "{}", table[0]);
    }
    // Typed on the constant's side, evaluated once a statement, and quiet when nothing is set.
    for column in ["qual", "with_check"] {
        let expressions = world
            .rows(&format!("SELECT DISTINCT {column} FROM pg_policies WHERE schemaname = 'app'"));
        assert_eq!(expressions.len(), 1, "{expressions:?}");
        let expression = &expressions[0][0];
        for part in ["tenant_id = ( SELECT", "NULLIF(current_setting('app.tenant_id'", ")::uuid"] {
            assert!(expression.contains(part), "{expression}");
        }
    }
}

#[test]
fn a_shared_tenant_sees_its_own_rows_and_no_others() {
    on_every_version(|world| {
        create(&world, "acme", Model::Shared, ACME);
        create(&world, "globex", Model::Shared, GLOBEX);
        assert_made(&world, "acme", Model::Shared);
        assert_made(&world, "globex", Model::Shared);
        assert_shared_tables_are_guarded(&world);
        // The first tenant's role is made for all; the second's CREATE changes nothing but its row.
        let mut app = world.session("app", SHARED_ROLE);
        for (tenant, name) in [(ACME, "Acme"), (GLOBEX, "Globex")] {
            app.sql(&format!(
                "BEGIN; SELECT app.set_tenant_context('{tenant}'); \
                 INSERT INTO app.organisations (tenant_id, name) VALUES ('{tenant}', '{name}'); \
                 INSERT INTO app.users (tenant_id, email) VALUES (app.current_tenant_id(), 'a@example.org'); COMMIT"
            ));
        }
        // The setting is '' now, not NULL: no tenant, no rows, no error, and no way in.
        assert_eq!(app.rows("SELECT current_setting('app.tenant_id')"), [[""]]);
        assert_eq!(app.rows("SELECT app.current_tenant_id()"), [["NULL"]]);
        assert_eq!(app.rows("SELECT count(*) FROM app.users"), [["0"]]);
        let insert =
            format!("INSERT INTO app.organisations (tenant_id, name) VALUES ('{ACME}', 'x')");
        assert_eq!(app.attempt(&insert).unwrap_err().sqlstate, "42501");
        let mut fresh = world.session("app", SHARED_ROLE);
        assert_eq!(fresh.rows("SELECT count(*) FROM app.organisations"), [["0"]]);

        app.sql(&format!("SELECT set_config('app.tenant_id', '{ACME}', false)"));
        assert_eq!(app.rows("SELECT name FROM app.organisations"), [["Acme"]]);
        assert_eq!(app.rows("SELECT count(*) FROM app.users"), [["1"]]);
        assert_eq!(
            app.rows(&format!("UPDATE app.organisations SET name = 'hacked' WHERE tenant_id = '{GLOBEX}' RETURNING 1")),
            Vec::<Vec<String>>::new()
        );
        assert_eq!(
            app.rows(&format!("DELETE FROM app.users WHERE tenant_id = '{GLOBEX}' RETURNING 1")),
            Vec::<Vec<String>>::new()
        );
        for into_another in [
            format!(
                "INSERT INTO app.users (tenant_id, email) VALUES ('{GLOBEX}', 'b@example.org')"
            ),
            format!("UPDATE app.users SET tenant_id = '{GLOBEX}'"),
        ] {
            assert_eq!(app.attempt(&into_another).unwrap_err().sqlstate, "42501", "{into_another}");
        }
        // Nothing of the registry, the history or the owner is within reach.
        for forbidden in [
            "SELECT * FROM tenantctl.tenants",
            "SELECT * FROM app.refinery_schema_history",
            "CREATE TABLE app.mine (i int)",
            "CREATE SCHEMA mine",
            "SET ROLE app_owner",
            "SET row_security = off; SELECT * FROM app.users",
            "ALTER TABLE app.users DISABLE ROW LEVEL SECURITY",
        ] {
            assert_eq!(app.attempt(forbidden).unwrap_err().sqlstate, "42501", "{forbidden}");
        }
        let null = app.attempt("SELECT app.set_tenant_context(NULL)").unwrap_err();
        assert_eq!(null.sqlstate, "22004");
    });
}

#[test]
fn a_tenant_with_a_schema_works_there_and_nowhere_else() {
    on_every_version(|world| {
        create(&world, "acme", Model::Schema, ACME);
        create(&world, "globex", Model::Schema, GLOBEX);
        assert_made(&world, "acme", Model::Schema);
        assert_made(&world, "globex", Model::Schema);
        let mut app = world.session("app", "app_tenant_acme");
        assert_eq!(app.rows("SHOW search_path"), [["tenant_acme"]]);
        app.sql("INSERT INTO users (email) VALUES ('a@example.org')");
        app.sql("UPDATE users SET display_name = 'A'; DELETE FROM users");
        for forbidden in [
            "SELECT * FROM tenant_globex.users",
            "SELECT * FROM refinery_schema_history",
            "INSERT INTO refinery_schema_history VALUES (99, 'x', 'x', '1')",
            "SELECT * FROM tenantctl.tenants",
            "CREATE TABLE mine (i int)",
            "SET ROLE tenant_acme_owner",
            "SET ROLE app_tenant_globex",
            "TRUNCATE users",
        ] {
            assert_eq!(app.attempt(forbidden).unwrap_err().sqlstate, "42501", "{forbidden}");
        }
    });
}

#[test]
fn a_tenant_with_a_database_is_alone_in_it() {
    on_every_version(|world| {
        create(&world, "acme", Model::Database, ACME);
        create(&world, "globex", Model::Database, GLOBEX);
        assert_made(&world, "acme", Model::Database);
        assert_made(&world, "globex", Model::Database);
        assert_none(
            &world,
            "postgres",
            "SELECT datname FROM pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba))) x \
             WHERE datname LIKE 'tenant\\_%' AND x.grantee = 0",
        );
        assert_eq!(
            world.rows("SELECT datdba::regrole FROM pg_database WHERE datname = 'tenant_acme'"),
            [["tenant_acme_owner"]]
        );
        let mut app = world.session("tenant_acme", "app_tenant_acme");
        assert_eq!(app.rows("SHOW search_path"), [["app"]]);
        app.sql("INSERT INTO users (email) VALUES ('a@example.org')");
        for forbidden in [
            "SELECT * FROM refinery_schema_history",
            "CREATE TABLE mine (i int)",
            "CREATE SCHEMA mine",
            "CREATE TEMPORARY TABLE mine (i int)",
            "SET ROLE tenant_acme_owner",
        ] {
            assert_eq!(app.attempt(forbidden).unwrap_err().sqlstate, "42501", "{forbidden}");
        }
        for (role, database, may) in [
            ("app_tenant_acme", "tenant_acme", "t"),
            ("app_tenant_acme", "tenant_globex", "f"),
            ("app_tenant_globex", "tenant_acme", "f"),
        ] {
            let query = format!("SELECT has_database_privilege('{role}', '{database}', 'CONNECT')");
            assert_eq!(one(&world, "postgres", &query), may, "{role} {database}");
        }
    });
}

#[test]
fn a_superuser_makes_the_same_tenants() {
    on_every_version(|world| {
        for (tenant, model) in
            [("one", Model::Shared), ("two", Model::Schema), ("three", Model::Database)]
        {
            let create = ["create", tenant, "--isolation", model.word()];
            world.tenantctl(create).env("DATABASE_URL", world.url("app", "postgres")).run().ok();
            assert_made(&world, tenant, model);
            let again = world
                .tenantctl(create)
                .env("DATABASE_URL", world.url("app", "postgres"))
                .run()
                .ok();
            assert!(again.stdout().starts_with("nothing to do"), "{}", again.transcript());
        }
        assert_shared_tables_are_guarded(&world);
        // A superuser needs to be nobody's member.
        assert_none(
            &world,
            "app",
            "SELECT roleid::regrole FROM pg_auth_members WHERE member = 'postgres'::regrole AND roleid >= 16384",
        );
    });
}

#[test]
fn what_the_owner_makes_later_the_role_can_use() {
    on_every_version(|world| {
        world.config("[isolation.schema]\nreadonly_role = \"read_{tenant}\"\n");
        create(&world, "acme", Model::Schema, ACME);
        create(&world, "globex", Model::Database, GLOBEX);
        for (database, schema, owner, role) in [
            ("app", "tenant_acme", "tenant_acme_owner", "app_tenant_acme"),
            ("tenant_globex", "app", "tenant_globex_owner", "app_tenant_globex"),
        ] {
            // As a migration would make it: the operator becomes the owner.
            world.session(database, OPERATOR).sql(&format!(
                "SET ROLE {owner}; CREATE TABLE {schema}.later (id bigserial PRIMARY KEY, t text); \
                 CREATE FUNCTION {schema}.later_count() RETURNS bigint LANGUAGE sql \
                 AS 'SELECT count(*) FROM {schema}.later'"
            ));
            let mut app = world.session(database, role);
            app.sql("INSERT INTO later (t) VALUES ('x'); UPDATE later SET t = 'y'");
            assert_eq!(app.rows("SELECT later_count()"), [["1"]]);
            app.sql("DELETE FROM later");
        }
        let mut reader = world.session("app", "postgres");
        reader.sql("SET ROLE read_acme");
        assert_eq!(reader.rows("SELECT count(*) FROM tenant_acme.later"), [["0"]]);
        let write = reader.attempt("INSERT INTO tenant_acme.later (t) VALUES ('x')").unwrap_err();
        assert_eq!(write.sqlstate, "42501");
        // A function that somebody else's migration makes is closed to the rest of the world.
        world.sql("CREATE ROLE stranger; GRANT USAGE ON SCHEMA tenant_acme TO stranger");
        let mut stranger = world.session("app", "postgres");
        stranger.sql("SET ROLE stranger");
        let call = stranger.attempt("SELECT tenant_acme.later_count()").unwrap_err();
        assert_eq!(call.sqlstate, "42501");
    });
}

#[test]
fn a_table_that_appears_in_the_shared_schema_is_guarded_before_it_is_granted() {
    let world = World::new();
    create(&world, "acme", Model::Shared, ACME);
    world.session("app", OPERATOR).sql(
        "SET ROLE app_owner; CREATE TABLE app.later (tenant_id uuid NOT NULL, t text); \
         CREATE TABLE app.countries (code text PRIMARY KEY)",
    );
    let mut app = world.session("app", SHARED_ROLE);
    assert_eq!(app.attempt("SELECT * FROM app.later").unwrap_err().sqlstate, "42501");
    let repaired = world.run(["create", "acme"]).ok();
    assert!(repaired.stdout().starts_with("put right "), "{}", repaired.transcript());
    assert_shared_tables_are_guarded(&world);
    app.sql(&format!("SELECT set_config('app.tenant_id', '{ACME}', false)"));
    app.sql(&format!("INSERT INTO app.later VALUES ('{ACME}', 'mine')"));
    let other = app.attempt(&format!("INSERT INTO app.later VALUES ('{GLOBEX}', 'x')"));
    assert_eq!(other.unwrap_err().sqlstate, "42501");
}
