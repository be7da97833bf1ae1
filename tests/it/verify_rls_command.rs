//! `verify-rls` as a command: flags, exit codes, the JSON contract, what people read, and what
//! happens when the server is locked, gone or large.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{OPERATOR, World, on_every_version};
use crate::verify_rls::{fleet, rules};

/// Two holes in the shared model, one in the schema model.
fn broken() -> World {
    let world = fleet(World::new(), OPERATOR, "app_rw");
    world.sql(
        "ALTER TABLE app.tags DISABLE ROW LEVEL SECURITY; GRANT TRIGGER ON app.tags TO app_rw;
         GRANT CREATE ON SCHEMA tenant_dan TO app_tenant_cat",
    );
    world
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

fn fingerprints(answer: &Value) -> Vec<String> {
    let findings = answer["findings"].as_array().unwrap();
    findings.iter().map(|finding| finding["fingerprint"].to_string()).collect()
}

#[test]
fn the_answer_as_json_is_the_contract() {
    let world = broken();
    let answer = world.run(["verify-rls", "-o", "json"]).code(2).json();
    assert_eq!(answer["format"], 1);
    assert_eq!(keys(&answer["summary"]), ["critical", "high", "info", "low", "medium"]);
    assert_eq!(keys(&answer["coverage"]), ["not_probed", "policies", "probes", "tables"]);
    let findings = answer["findings"].as_array().unwrap();
    let mut counted: BTreeMap<&str, u64> = BTreeMap::new();
    for finding in findings {
        assert_eq!(
            keys(finding),
            [
                "evidence",
                "fingerprint",
                "fix",
                "message",
                "object",
                "operation",
                "reproduce",
                "role",
                "rule",
                "severity",
                "tenants"
            ]
        );
        assert_eq!(keys(&finding["object"]), ["cluster", "database", "kind", "name", "parent"]);
        let probe = finding["rule"].as_str().unwrap().starts_with("probe-");
        assert_eq!(finding["evidence"], if probe { "probe" } else { "static" });
        assert!(finding["fingerprint"].as_str().unwrap().len() == 16);
        *counted.entry(finding["severity"].as_str().unwrap()).or_default() += 1;
    }
    for (severity, number) in counted {
        assert_eq!(answer["summary"][severity], number, "{severity}");
    }
    let off = findings.iter().find(|finding| finding["rule"] == "rls-disabled").unwrap();
    assert_eq!(off["object"]["name"], "app.tags");
    assert_eq!(off["object"]["kind"], "table");
    assert_eq!(off["role"], "app_rw");
    let again = world.run(["verify-rls", "-o", "json"]).code(2).json();
    assert_eq!(fingerprints(&answer), fingerprints(&again), "they name a finding from run to run");
}

#[test]
fn flags_choose_the_evidence_the_tenants_and_the_limit() {
    let world = broken();
    let run = |args: &[&str], code| {
        rules(&world.run([&["verify-rls", "-o", "json"], args].concat()).code(code).json())
    };
    let looked = run(&["--static"], 2);
    assert_eq!(
        looked,
        ["rls-disabled", "schema-cross-access", "trigger-granted"].map(str::to_owned).into()
    );
    let tried = run(&["--probe"], 2);
    assert!(!tried.is_empty() && tried.iter().all(|rule| rule.starts_with("probe-")), "{tried:?}");
    // Findings about nobody in particular concern everybody who shares the database.
    assert_eq!(run(&["--tenant", "eve"], 0), [].into());
    assert!(run(&["--static", "--tenant", "dan"], 2).contains("schema-cross-access"));
    world.sql("ALTER TABLE app.tags ENABLE ROW LEVEL SECURITY; REVOKE CREATE ON SCHEMA tenant_dan FROM app_tenant_cat");
    assert_eq!(run(&[], 2), ["trigger-granted".to_owned()].into());
    run(&["--fail-on", "critical"], 0);
    drop(world.run(["verify-rls", "--fail-on", "grave"]).code(64));
    drop(world.run(["verify-rls", "--static", "--probe"]).code(64));
    drop(world.run(["verify-rls", "--tenant", "nobody"]).code(1));
}

#[test]
fn whoever_shares_a_table_hears_what_probes_found_in_it() {
    let world = fleet(World::new(), OPERATOR, "app_rw");
    drop(world.run(["create", "zoe", "--isolation", "shared"]).ok());
    world.sql("ALTER TABLE app.tags DISABLE ROW LEVEL SECURITY");
    for tenant in ["ann", "bob", "zoe"] {
        let args = ["verify-rls", "--probe", "--tenant", tenant, "-o", "json"];
        let answer = world.run(args).code(2).json();
        assert!(rules(&answer).contains("probe-read"), "{tenant}: {answer:#}");
    }
    // A tenant with a schema of its own has no part in it.
    drop(world.run(["verify-rls", "--probe", "--tenant", "cat"]).ok());
}

#[test]
fn a_tenant_alone_in_its_tables_cannot_be_tried_and_that_is_said() {
    let world = World::new();
    drop(world.run(["create", "ann", "--isolation", "shared"]).ok());
    let answer = world.run(["verify-rls", "-o", "json", "--fail-on", "info"]).ok().json();
    assert_eq!(answer["coverage"]["probes"], 0, "{answer:#}");
    let silent = answer["not_probed"].as_array().unwrap();
    assert!(silent.iter().any(|one| one["relation"] == "app.tags"), "{answer:#}");
    assert!(
        silent.iter().all(|one| one["reason"] == "there is no second tenant to try it against"),
        "{answer:#}"
    );
}

#[test]
fn people_read_what_was_looked_at_and_what_is_wrong() {
    let world = broken();
    let said = world.run(["verify-rls", "-q"]).code(2);
    for part in [
        "critical table app.tags (main/app)\n  rls-disabled: ",
        "\n  probe-read: ",
        "\n  fix: ALTER TABLE app.tags ENABLE ROW LEVEL SECURITY;\n",
        "high schema tenant_dan (main/app)\n  schema-cross-access: ",
        "looked at 6 tenants, ",
    ] {
        assert!(said.stdout().contains(part), "{part:?} is not in\n{}", said.stdout());
    }
    world.sql(
        "ALTER TABLE app.tags ENABLE ROW LEVEL SECURITY; REVOKE TRIGGER ON app.tags FROM app_rw;
         REVOKE CREATE ON SCHEMA tenant_dan FROM app_tenant_cat",
    );
    let said = world.run(["verify-rls", "-q"]).ok();
    assert!(said.stdout().starts_with("no findings\n"), "{}", said.stdout());
}

#[test]
fn every_rule_is_explained() {
    let world = World::new();
    let unknown = world.run(["explain", "rls-disable"]).code(1);
    assert!(unknown.stderr().contains("did you mean rls-disabled"), "{}", unknown.stderr());
    let listed = world.run(["explain", "-o", "json"]).ok().json();
    let rules = listed["rules"].as_array().unwrap();
    assert!(rules.len() >= 100, "{}", rules.len());
    let shown = world.run(["explain", "rls-disabled"]).ok();
    let parts = ["\nwhat\n", "\nwhy\n", "\nexample\n", "\nfix\n", "\nreferences\n"];
    let places: Vec<_> = parts.iter().map(|part| shown.stdout().find(part)).collect();
    assert!(places.is_sorted() && places[0].is_some(), "{}", shown.stdout());
    let marked = world.run(["explain", "rls-disabled", "-o", "markdown"]).ok();
    assert!(marked.stdout().starts_with("### `rls-disabled`\n"), "{}", marked.stdout());
    drop(world.run(["explain", "rls-disabled", "-o", "sarif"]).code(64));
}

#[test]
fn a_server_that_is_gone_is_no_answer() {
    let world = World::new();
    world.file("tenants.toml", "[clusters.main]\nurl = \"postgres:///app?host=/nowhere\"\n");
    let outcome = world.run(["verify-rls"]).code(6);
    assert_eq!(outcome.stdout(), "");
}

#[test]
fn a_table_that_somebody_locks_is_not_probed_and_the_others_are() {
    on_every_version(|world| {
        let world = fleet(world, OPERATOR, "app_rw");
        let mut locker = world.session("app", "postgres");
        locker.sql("BEGIN; LOCK TABLE app.users IN ACCESS EXCLUSIVE MODE");
        let outcome = world.run(["verify-rls", "-o", "json"]).ok();
        assert!(outcome.elapsed() < Duration::from_mins(1), "{:?}", outcome.elapsed());
        let answer = outcome.json();
        let skipped = answer["not_probed"].as_array().unwrap();
        let of_users: Vec<_> =
            skipped.iter().filter(|one| one["relation"] == "app.users").collect();
        assert!(!of_users.is_empty());
        assert!(
            of_users.iter().any(|one| one["reason"].as_str().unwrap().contains("lock timeout")),
            "{skipped:?}"
        );
        locker.sql("ROLLBACK");
        let answer = world.run(["verify-rls", "-o", "json"]).ok().json();
        let locked = |one: &Value| one["reason"].as_str().unwrap().contains("lock timeout");
        assert!(!answer["not_probed"].as_array().unwrap().iter().any(locked), "{answer:#}");
    });
}

#[test]
fn a_probe_that_is_killed_leaves_nothing() {
    let world = fleet(World::new(), OPERATOR, "app_rw");
    let count = "SELECT count(*) FROM app.organisations";
    let mut locker = world.session("app", "postgres");
    locker.sql("BEGIN; LOCK TABLE app.users IN ACCESS EXCLUSIVE MODE");
    let mut running = world.tenantctl(["verify-rls"]).spawn();
    let waiting =
        "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = 'platform'";
    running.wait_until("it waits for the lock", || !world.rows(waiting).is_empty());
    world.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'platform'");
    let outcome = running.wait();
    let text = outcome.transcript();
    // Every database that was being audited is a failure; all of them are one of the whole.
    assert!(text.contains("exit 3\n") || text.contains("exit 1\n"), "{text}");
    assert!(text.contains("not audited: main/app: "), "{text}");
    assert!(text.contains("terminat") || text.contains("closed"), "{text}");
    locker.sql("ROLLBACK");
    assert_eq!(world.rows(count), [["0"]]);
    drop(world.run(["verify-rls"]).ok());
}

#[test]
fn hundreds_of_schemas_take_seconds() {
    let world = World::new();
    let mut tenants = String::from("[isolation.schema]\nlogin_role = \"pool\"\n");
    for number in 0..300 {
        write!(tenants, "[[tenants]]\nid = \"t{number}\"\nisolation = \"schema\"\n").unwrap();
    }
    world.config(&tenants);
    world.sql(&format!(
        "CREATE ROLE pool LOGIN NOINHERIT; CREATE ROLE everybodys;
         DO $$ BEGIN FOR n IN 0..299 LOOP
             EXECUTE format('CREATE ROLE app_tenant_t%1$s; GRANT app_tenant_t%1$s TO pool, {OPERATOR};
                 CREATE SCHEMA tenant_t%1$s AUTHORIZATION everybodys; GRANT USAGE ON SCHEMA tenant_t%1$s TO app_tenant_t%1$s', n);
             FOR t IN 1..6 LOOP
                 EXECUTE format('CREATE TABLE tenant_t%1$s.table_%2$s (id int PRIMARY KEY, body text);
                     ALTER TABLE tenant_t%1$s.table_%2$s OWNER TO everybodys;
                     GRANT SELECT, INSERT, UPDATE, DELETE ON tenant_t%1$s.table_%2$s TO app_tenant_t%1$s', n, t);
             END LOOP;
         END LOOP; END $$"
    ));
    let outcome = world.run(["verify-rls", "-o", "json"]).ok();
    assert!(outcome.elapsed() < Duration::from_mins(1), "{:?}", outcome.elapsed());
    let answer = outcome.json();
    assert_eq!(answer["coverage"]["tables"], 1800, "{}", answer["coverage"]);
    assert_eq!(answer["coverage"]["not_probed"], 0);
    world.sql("GRANT USAGE ON SCHEMA tenant_t200 TO app_tenant_t7; GRANT SELECT ON tenant_t200.table_3 TO app_tenant_t7");
    let answer = world.run(["verify-rls", "-o", "json"]).code(2).json();
    assert_eq!(rules(&answer), ["schema-cross-access".to_owned()].into());
    #[allow(clippy::print_stdout, reason = "a measurement")]
    {
        println!("300 schemas: {:?}", outcome.elapsed());
    }
}
