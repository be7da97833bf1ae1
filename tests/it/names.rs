//! Names that are hostile: refused before anything is touched, or quoted right. Never half used.

use crate::harness::{Outcome, World, catalog};

#[track_caller]
fn says(outcome: &Outcome, parts: &[&str]) {
    for part in parts {
        assert!(outcome.stderr().contains(part), "{part:?} is missing\n{}", outcome.transcript());
    }
    assert_eq!(outcome.stdout(), "");
}

#[test]
fn ids_that_are_no_slugs_are_a_mistake_of_usage() {
    let world = World::new();
    let before = catalog(&world);
    for (id, why) in [
        ("Acme", "must begin with a lower-case letter"),
        ("1acme", "must begin with a lower-case letter"),
        ("", "it is empty"),
        ("ac\"me", "it holds '\"'"),
        ("ac'me", "it holds '\\''"),
        ("acmé", "it holds 'é'"),
        ("acme; DROP TABLE users", "it holds ';'"),
        ("a.b", "it holds '.'"),
        ("a{tenant}", "it holds '{'"),
        (&"a".repeat(49), "it is 49 characters long"),
    ] {
        for arguments in [["create", id], ["show", id]] {
            says(&world.run(arguments).code(64), &[why]);
        }
    }
    assert_eq!(catalog(&world), before);
}

#[test]
fn a_name_that_postgresql_would_cut_is_refused_before_anything_is_touched() {
    let world = World::new();
    world.config("[isolation.schema]\nrole = \"application_of_tenant_{tenant}\"\n");
    let before = catalog(&world);
    let long = "a".repeat(48);
    for dry in [&[][..], &["--dry-run"]] {
        let refused = world.run(["create", &long].iter().chain(dry)).code(4);
        says(
            &refused,
            &["error[name-taken]", "70 bytes long: PostgreSQL would cut it to 63", "shorter"],
        );
    }
    assert_eq!(catalog(&world), before);
    // 48 characters fit the default templates.
    world.config("");
    for model in ["shared", "schema", "database"] {
        let id = format!("{}{model}", "a".repeat(48 - model.len()));
        world.run(["create", &id, "--isolation", model]).ok();
    }
}

#[test]
fn a_name_that_postgresql_keeps_for_itself_is_refused() {
    let world = World::new();
    world.config("[isolation.schema]\nschema = \"{tenant}\"\nrole = \"app_{tenant}\"\n");
    let before = catalog(&world);
    says(
        &world.run(["create", "pg_x"]).code(4),
        &["the name pg_x of tenant pg_x begins with pg_", "put a prefix before {tenant}"],
    );
    assert_eq!(catalog(&world), before);
}

#[test]
fn reserved_words_are_quoted() {
    let world = World::new();
    world.config(
        "[isolation.schema]\nschema = \"{tenant}\"\nrole = \"{tenant}\"\n\
         [isolation.database]\ndatabase = \"{tenant}\"\nrole = \"{tenant}\"\n",
    );
    for (tenant, model) in [("user", "schema"), ("select", "schema"), ("table", "database")] {
        world.run(["create", tenant, "--isolation", model]).ok();
        let again = world.run(["create", tenant]).ok();
        assert!(again.stdout().starts_with("nothing to do"), "{}", again.transcript());
    }
    let mut app = world.session("app", "select");
    assert_eq!(app.rows("SELECT count(*) FROM users"), [["0"]]);
    assert_eq!(world.session("table", "table").rows("SELECT count(*) FROM users"), [["0"]]);
    world.run(["list"]).ok();
    world.run(["migrate", "status"]).ok();
}

#[test]
fn names_of_roles_that_mean_something_to_grant_are_refused() {
    let world = World::new();
    world.config("[isolation.schema]\nrole = \"{tenant}\"\n");
    for id in ["public", "none"] {
        let before = catalog(&world);
        let refused = world.run(["create", id]);
        let refused = refused.code(4);
        says(&refused, &["error[name-taken]", "one that PostgreSQL gives to no role"]);
        assert_eq!(catalog(&world), before, "{id}");
    }
}

#[test]
fn templates_with_quotes_blanks_capitals_and_letters_of_any_script_work() {
    let world = World::new();
    world.config(
        r#"
[isolation.schema]
schema = "Kunde \"{tenant}\" ü"
owner = "Besitzer {tenant}"
role = "App'{tenant}"
readonly_role = "Leser;{tenant}"
login_role = "Pool of \"all\""
[isolation.shared]
schema = "Gemeinsam; --"
owner = "Der Besitzer"
role = "App {tenant}"
login_role = "Pool of \"all\""
[isolation.database]
database = "Kunde {tenant} 日本"
schema = "Sein"
owner = "Eigner {tenant}"
role = "Nutzer\\{tenant}"
[tiers.free]
statement_timeout = "30s"
connection_limit = 5
"#,
    );
    for (tenant, model) in [("one", "schema"), ("two", "shared"), ("three", "database")] {
        world.run(["create", tenant, "--isolation", model, "--tier", "free"]).ok();
        let again = world.run(["create", tenant]).ok();
        assert!(again.stdout().starts_with("nothing to do"), "{}", again.transcript());
    }
    let listed = world.run(["list", "-o", "json"]).ok().json();
    let versions: Vec<_> =
        listed["tenants"].as_array().unwrap().iter().map(|one| one["version"].clone()).collect();
    assert_eq!(versions, [7, 7, 7]);
    let mut session = world.session("app", "postgres");
    session.sql("SET ROLE \"App'one\"");
    assert_eq!(session.rows("SELECT count(*) FROM \"Kunde \"\"one\"\" ü\".users"), [["0"]]);
    session.sql("RESET ROLE; SET ROLE \"App two\"");
    assert_eq!(session.rows("SELECT count(*) FROM \"Gemeinsam; --\".users"), [["0"]]);
    let three = world.rows_in("Kunde three 日本", "SELECT count(*) FROM \"Sein\".users");
    assert_eq!(three, [["0"]]);
    // What new sessions of the role find without asking.
    assert_eq!(
        world
            .session("Kunde three 日本", "Nutzer\\three")
            .rows("SHOW search_path; SHOW statement_timeout"),
        [["\"Sein\""], ["30s"]]
    );
}

#[test]
fn ids_that_map_to_one_name_do_not_share_it() {
    let world = World::new();
    for model in ["schema", "database"] {
        let (first, second) = (format!("{model}-b"), format!("{model}_b"));
        world.run(["create", &first, "--isolation", model]).ok();
        let before = catalog(&world);
        for dry in [&[][..], &["--dry-run"]] {
            let arguments = ["create", &second, "--isolation", model];
            let refused = world.run(arguments.iter().chain(dry)).code(4);
            says(
                &refused,
                &["error[name-taken]", &format!("where tenant {first} lives"), "choose another id"],
            );
        }
        assert_eq!(catalog(&world), before);
    }
    // Rows of shared tables are told apart by key, not by name: both may live there.
    world.run(["create", "c-d", "--isolation", "shared"]).ok();
    world.run(["create", "c_d", "--isolation", "shared"]).ok();
}

#[test]
fn two_tenants_do_not_share_a_key_or_a_uuid() {
    let world = World::new();
    world.config("[isolation.shared]\nkey_type = \"text\"\n");
    let empty = world.file("none/V1__t.sql", "CREATE TABLE t (tenant_id text, n int);\n");
    let directory = empty.parent().unwrap().to_str().unwrap();
    let create = ["--isolation", "shared", "--migrations", directory];
    world.run(["create", "one", "--key", "acme"].iter().chain(&create)).ok();
    let before = catalog(&world);
    let refused = world.run(["create", "two", "--key", "acme"].iter().chain(&create)).code(4);
    says(&refused, &["error[name-taken]", "two"]);
    assert_eq!(catalog(&world), before);
}

#[test]
fn databases_that_are_there_already_are_not_taken_over() {
    let world = World::new();
    world.config("[isolation.database]\ndatabase = \"{tenant}\"\nrole = \"app_{tenant}\"\n");
    world.sql_in("postgres", "CREATE DATABASE theirs");
    let before = catalog(&world);
    // Of the server's own, the control database, somebody else's.
    for id in ["postgres", "template1", "app", "theirs"] {
        for dry in [&["--dry-run"][..], &[]] {
            let arguments = ["create", id, "--isolation", "database"];
            let refused = world.run(arguments.iter().chain(dry)).code(4);
            says(&refused, &[&format!("database {id} exists already, belongs to postgres")]);
        }
    }
    let after: Vec<_> = catalog(&world).difference(&before).cloned().collect();
    assert!(after.iter().all(|line| line.contains("tenantctl")), "{after:#?}");
}

#[test]
fn schemas_and_roles_that_are_there_already_are_not_taken_over() {
    let world = World::new();
    world.run(["create", "first"]).ok();
    world.sql("CREATE SCHEMA tenant_a; CREATE TABLE tenant_a.precious (i int)");
    world.sql("CREATE ROLE app_tenant_b LOGIN; CREATE ROLE tenant_c_owner");
    world.sql("CREATE ROLE tenant_d_owner; GRANT tenant_d_owner TO platform");
    world.sql("CREATE SCHEMA tenant_d AUTHORIZATION tenant_d_owner");
    world.sql("CREATE SCHEMA app");
    let before = catalog(&world);
    for (id, model, why) in [
        ("a", "schema", "schema tenant_a exists already, belongs to postgres"),
        ("b", "schema", "role app_tenant_b exists already, and is not known as tenant b"),
        ("b", "database", "role app_tenant_b exists already, and is not known as tenant b"),
        ("c", "schema", "role tenant_c_owner exists already, and is not known as tenant c"),
        ("d", "schema", "role tenant_d_owner exists already, and is not known as tenant d"),
        ("e", "shared", "schema app exists already, belongs to postgres"),
    ] {
        for dry in [&["--dry-run"][..], &[]] {
            let arguments = ["create", id, "--isolation", model];
            let refused = world.run(arguments.iter().chain(dry)).code(4);
            says(&refused, &["error[ownership-conflict]", why, "hint: choose another"]);
        }
    }
    assert_eq!(catalog(&world), before);
}

#[test]
fn a_role_that_may_do_too_much_is_not_used() {
    let world = World::new();
    world.config(
        "[isolation.shared]\nrole = \"boss\"\n[isolation.schema]\nlogin_role = \"chief\"\n",
    );
    world.sql("CREATE ROLE boss BYPASSRLS; CREATE ROLE chief SUPERUSER");
    world.run(["create", "first", "--isolation", "database"]).ok();
    let before = catalog(&world);
    says(
        &world.run(["create", "acme", "--isolation", "shared"]).code(4),
        &["role boss is BYPASSRLS: an application must not be"],
    );
    says(
        &world.run(["create", "acme", "--isolation", "schema"]).code(4),
        &["role chief is SUPERUSER"],
    );
    assert_eq!(catalog(&world), before);
}

#[test]
fn templates_that_cannot_be_meant_are_refused_with_their_place() {
    let world = World::new();
    for (toml, why) in [
        ("[isolation.schema]\nschema = \"tenant\"", "the template must hold {tenant}"),
        ("[isolation.schema]\nrole = \"app\"", "one role for all could read every tenant"),
        ("[isolation.shared]\nschema = \"s_{tenant}\"", "must not hold {tenant}"),
        ("[isolation.database]\ndatabase = \"d\"", "the template must hold {tenant}"),
        ("[isolation.schema]\nschema = \"{id}\"", "is not a naming template"),
        ("[isolation.schema]\ncolumn = \"c\"", "they belong to [isolation.shared]"),
        (
            "[isolation.schema]\nowner = \"x_{tenant}\"\nrole = \"x_{tenant}\"",
            "give two roles of tenant acme one name",
        ),
        ("[isolation.shared]\nsetting = \"tenant\"", "is not the name of a custom setting"),
        ("[isolation.schema]\nschemas = \"x\"", "unknown field `schemas`"),
    ] {
        world.config(toml);
        let model = if toml.contains("shared") { "shared" } else { "schema" };
        says(&world.run(["create", "acme", "--isolation", model]).code(1), &["error[config]", why]);
    }
}
