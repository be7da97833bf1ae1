//! `verify-rls` day after day: a baseline that shrinks, exceptions that end, fixes as a file, databases
//! that cannot be audited, and the formats of other tools.

use serde_json::Value;

use crate::harness::{OPERATOR, World};
use crate::verify_rls::{fleet, layout, rules};

/// Three holes: critical, high, medium; the last in a database of its own.
const HOLES: &str = "ALTER TABLE app.tags DISABLE ROW LEVEL SECURITY;
     GRANT CREATE ON SCHEMA tenant_dan TO app_tenant_cat;
     GRANT TRIGGER ON app.users TO app_rw";

fn broken() -> World {
    let world = fleet(World::new(), OPERATOR, "app_rw");
    world.sql(HOLES);
    world.sql("GRANT CONNECT ON DATABASE tenant_eve TO PUBLIC");
    world
}

fn strings(list: &Value, key: &str) -> Vec<String> {
    let items = list.as_array().unwrap().iter();
    let mut found: Vec<String> = items.map(|item| item[key].as_str().unwrap().to_owned()).collect();
    found.sort();
    found.dedup();
    found
}

#[test]
fn a_baseline_hides_what_is_known_and_only_shrinks() {
    let world = broken();
    drop(world.run(["verify-rls", "--baseline", "known.json"]).code(1));
    let first = ["verify-rls", "-q", "--write-baseline", "known.json"];
    drop(world.run(first).ok().snapshot("verify_rls_baseline_written"));
    let written = std::fs::read_to_string(world.path("known.json")).unwrap();
    assert!(!written.contains("message"), "{written}");

    let with = ["verify-rls", "--baseline", "known.json", "-o", "json"];
    let known = world.run(with).ok().json();
    assert_eq!(known["findings"], serde_json::json!([]), "{known:#}");
    assert_eq!(known["summary"]["critical"], 0);
    let suppressed = &known["suppressed"];
    assert!(
        suppressed.as_array().unwrap().iter().all(|one| one["suppression"]["kind"] == "baseline")
    );
    assert_eq!(known["baseline"]["known"], suppressed.as_array().unwrap().len());
    assert!(strings(suppressed, "rule").contains(&"rls-disabled".to_owned()));

    // What is new fails, and what is mended is told, so that the file shrinks.
    world.sql(
        "ALTER TABLE app.tags ENABLE ROW LEVEL SECURITY; GRANT TRUNCATE ON app.users TO app_rw",
    );
    let outcome = world.run(["verify-rls", "-q", "--baseline", "known.json"]).code(2);
    drop(outcome.snapshot("verify_rls_baseline_moved"));
    let moved = world.run(with).code(2).json();
    assert_eq!(rules(&moved), ["truncate-granted".to_owned()].into());
    let gone = strings(&moved["baseline"]["gone"], "rule");
    assert!(gone.contains(&"rls-disabled".to_owned()) && gone.contains(&"probe-read".to_owned()));
    assert!(
        gone.iter().all(|rule| rule == "rls-disabled" || rule.starts_with("probe-")),
        "{gone:?}"
    );
    // What was not looked for is not gone.
    for narrower in [["--tenant", "eve"].as_slice(), &["--static"], &["--pairs", "sample:1"]] {
        let args = [&with[..], narrower].concat();
        let answer = world.run(&args).json();
        let gone = strings(&answer["baseline"]["gone"], "rule");
        assert!(!gone.contains(&"probe-read".to_owned()), "{narrower:?}: {gone:?}");
    }

    world.sql("REVOKE TRUNCATE ON app.users FROM app_rw");
    let shrink =
        ["verify-rls", "--static", "--baseline", "known.json", "--write-baseline", "known.json"];
    drop(world.run(shrink).ok());
    let shrunk = std::fs::read_to_string(world.path("known.json")).unwrap();
    assert!(!shrunk.contains("rls-disabled"), "{shrunk}");
    assert!(shrunk.contains("probe-read"), "what the catalogues do not say stays: {shrunk}");
    drop(
        world
            .run(["verify-rls", "--baseline", "known.json", "--write-baseline", "known.json"])
            .ok(),
    );
    let shrunk = std::fs::read_to_string(world.path("known.json")).unwrap();
    assert!(!shrunk.contains("probe-read") && shrunk.contains("trigger-granted"), "{shrunk}");
    drop(world.run(["verify-rls", "--write-baseline", "no/such/directory.json"]).code(1));
}

#[test]
fn a_finding_has_the_same_fingerprint_on_another_server() {
    let prints = |world: &World| {
        let answer = world.run(["verify-rls", "-o", "json"]).code(2).json();
        strings(&answer["findings"], "fingerprint")
    };
    let one = broken();
    // Numbers of objects differ from here on.
    let other = World::new();
    other.sql("CREATE SCHEMA scratch; CREATE TABLE scratch.a (); CREATE TABLE scratch.b (); DROP SCHEMA scratch CASCADE; CREATE ROLE nobody; DROP ROLE nobody");
    let other = fleet(other, OPERATOR, "app_rw");
    other.sql(HOLES);
    other.sql("GRANT CONNECT ON DATABASE tenant_eve TO PUBLIC");
    assert_eq!(prints(&one), prints(&other));
}

#[test]
fn an_exception_has_a_reason_and_an_end() {
    let world = fleet(World::new(), OPERATOR, "app_rw");
    world.sql("GRANT TRUNCATE ON app.users TO app_rw");
    let config = std::fs::read_to_string(world.path("tenants.toml")).unwrap();
    let allow = |rest: &str| {
        world.file("tenants.toml", &format!("{config}\n[[verify.allow]]\n{rest}\n"));
    };
    let rule =
        "rule = \"truncate-granted\"\nobject = \"app.u*\"\nreason = \"nightly reset of the demo\"";
    allow(&format!("{rule}\nexpires = 2999-12-31"));
    let answer = world.run(["verify-rls", "-o", "json"]).ok().json();
    assert_eq!(answer["findings"], serde_json::json!([]));
    let suppression = &answer["suppressed"][0]["suppression"];
    assert_eq!(suppression["kind"], "allow");
    assert_eq!(suppression["reason"], "nightly reset of the demo");
    assert_eq!(suppression["expires"], "2999-12-31");

    allow(&format!("{rule}\nexpires = \"2020-01-31\""));
    let outcome = world.run(["verify-rls", "-q", "--static"]).code(2);
    drop(outcome.snapshot("verify_rls_exception_is_over"));
    world.sql("REVOKE TRUNCATE ON app.users FROM app_rw");
    let answer = world.run(["verify-rls", "--fail-on", "critical", "-o", "json"]).code(2).json();
    assert_eq!(answer["allow"]["expired"][0]["rule"], "truncate-granted");

    allow(&format!("{rule}\nexpires = \"never\""));
    let answer = world.run(["verify-rls", "-o", "json"]).ok().json();
    assert_eq!(answer["allow"]["unused"][0]["object"], "app.u*");
    // Who looks at a part does not know whether it is needed.
    let answer = world.run(["verify-rls", "--static", "-o", "json"]).ok().json();
    assert_eq!(answer["allow"]["unused"], serde_json::json!([]));

    for (wrong, said) in [
        ("rule = \"truncate-granted\"\nreason = \"so\"", "missing field `expires`"),
        ("rule = \"truncate-granted\"\nexpires = \"never\"", "missing field `reason`"),
        (
            "rule = \"truncate-granted\"\nreason = \" \"\nexpires = \"never\"",
            "an exception needs a reason",
        ),
        ("rule = \"truncate-granted\"\nreason = \"so\"\nexpires = \"soon\"", "is no day"),
        (
            "rule = \"truncate-grant\"\nreason = \"so\"\nexpires = \"never\"",
            "is no rule of verify-rls",
        ),
    ] {
        allow(wrong);
        let outcome = world.run(["verify-rls"]).code(1);
        assert!(outcome.stderr().contains(said), "{}", outcome.stderr());
    }
}

/// Runs a script of fixes in every database that it names, twice.
fn mend(world: &World, answer: &Value) {
    for fix in answer["fixes"].as_array().unwrap() {
        let script = std::fs::read_to_string(world.path(fix["file"].as_str().unwrap())).unwrap();
        let databases = fix["databases"].as_array().unwrap();
        for database in databases {
            for _ in 0..2 {
                let ran = world.session(database.as_str().unwrap(), "postgres").attempt(&script);
                assert!(ran.is_ok(), "{database}: {:?}\n{script}", ran.err().map(|e| e.message));
            }
        }
        let elsewhere = world.session("postgres", "postgres").attempt(&script);
        assert!(elsewhere.is_err() || databases.is_empty(), "{script}");
    }
}

#[test]
fn the_fixes_are_a_script_after_which_nothing_is_found() {
    let world = broken();
    world.sql(
        "ALTER TABLE app.users NO FORCE ROW LEVEL SECURITY; ALTER ROLE app_rw REPLICATION;
         DO $$ DECLARE p name; BEGIN FOR p IN SELECT polname FROM pg_policy WHERE polrelid = 'app.documents'::regclass
            LOOP EXECUTE format('DROP POLICY %I ON app.documents', p); END LOOP; END $$;
         GRANT USAGE ON SCHEMA tenant_dan TO app_tenant_cat; GRANT SELECT ON tenant_dan.users TO app_tenant_cat",
    );
    let args = ["verify-rls", "-o", "json", "--fix-sql", "fix.sql", "--fail-on", "info"];
    let answer = world.run(args).code(2).json();
    let fixes = answer["fixes"].as_array().unwrap();
    assert_eq!(fixes.len(), 1, "{fixes:#?}");
    assert_eq!(fixes[0]["databases"], serde_json::json!(["app", "tenant_eve"]));
    assert_eq!(fixes[0]["decisions"], 0, "{fixes:#?}");
    let script = std::fs::read_to_string(world.path("fix.sql")).unwrap();
    for finding in answer["findings"].as_array().unwrap() {
        let print = finding["fingerprint"].as_str().unwrap();
        assert!(script.contains(print), "{finding:#} is not in\n{script}");
    }
    mend(&world, &answer);
    let again = world.run(args).ok().json();
    assert_eq!(again["fixes"], serde_json::json!([]), "{again:#}");
    let script = std::fs::read_to_string(world.path("fix.sql")).unwrap();
    assert!(script.contains("nothing to fix"), "{script}");
    drop(world.run(["verify-rls", "--fix-sql", "no/such/fix.sql"]).code(1));
}

#[test]
fn one_databases_fixes_are_plain_statements_and_what_is_to_decide_is_a_comment() {
    let world = fleet(World::new(), OPERATOR, "app_rw");
    world.sql(
        "ALTER TABLE app.tags DISABLE ROW LEVEL SECURITY; CREATE POLICY open ON app.users USING (true);
         ALTER ROLE app_rw BYPASSRLS",
    );
    let outcome = world.run(["verify-rls", "-q", "--static", "--fix-sql", "fix.sql"]).code(2);
    drop(outcome.snapshot("verify_rls_fix_sql"));
    let script = std::fs::read_to_string(world.path("fix.sql")).unwrap();
    world.snapshot("verify_rls_fix_sql_file", &script);
    drop(world.run(["verify-rls", "-q", "--fix-sql", "/dev/null"]).code(2));
}

#[test]
fn a_database_that_cannot_be_audited_hides_no_other() {
    let world = fleet(World::new(), OPERATOR, "app_rw");
    world.sql("ALTER DATABASE tenant_eve WITH ALLOW_CONNECTIONS false");
    let outcome = world.run(["verify-rls", "-o", "json"]).code(3);
    let answer = outcome.json();
    let target = |name: &str| {
        let targets = answer["targets"].as_array().unwrap();
        targets.iter().find(|target| target["database"] == name).unwrap().clone()
    };
    assert_eq!(target("tenant_fay")["status"], "audited");
    assert_eq!(target("tenant_eve")["status"], "failed");
    assert_eq!(target("tenant_eve")["error"]["code"], "server", "{answer:#}");
    assert!(answer["coverage"]["probes"].as_u64().unwrap() > 100);
    drop(world.run(["verify-rls", "-q"]).code(3).snapshot("verify_rls_not_audited"));
    drop(world.run(["verify-rls", "--tenant", "eve"]).code(1));
    let log = world.run(["verify-rls", "-o", "sarif"]).code(3).json();
    assert_eq!(log["runs"][0]["invocations"][0]["executionSuccessful"], false);
    // A "no" stays one, however much is missing.
    world.sql("GRANT TRUNCATE ON app.users TO app_rw");
    drop(world.run(["verify-rls"]).code(2));
}

#[test]
fn an_interrupt_ends_an_audit_and_leaves_nothing() {
    let world = fleet(World::new(), OPERATOR, "app_rw");
    let mut locker = world.session("app", "postgres");
    locker.sql("BEGIN; LOCK TABLE app.users IN ACCESS EXCLUSIVE MODE");
    let waiting =
        "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = 'platform'";
    let mut running = world.tenantctl(["verify-rls", "--jobs", "1", "-o", "json"]).spawn();
    running.wait_until("it waits for the lock", || !world.rows(waiting).is_empty());
    running.interrupt();
    running.wait_until("it heard", || true);
    running.interrupt();
    let outcome = running.wait().code(130);
    let answer = outcome.json();
    assert_eq!(answer["interrupted"], true, "{answer:#}");
    assert_eq!(answer["targets"][0]["status"], "interrupted", "{answer:#}");
    assert_eq!(answer["targets"].as_array().unwrap().len(), 1, "nothing more is begun");
    locker.sql("ROLLBACK");
    assert_eq!(world.rows("SELECT count(*) FROM app.organisations"), [["0"]]);
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'platform'";
    let begun = std::time::Instant::now();
    while world.rows(sessions) != [["0"]] {
        assert!(begun.elapsed().as_secs() < 10, "a session was left behind");
    }
    drop(world.run(["verify-rls"]).ok());
}

#[test]
fn pairs_are_chosen_and_said() {
    let world = fleet(World::new(), OPERATOR, "app_rw");
    let run = |args: &[&str], code| world.run([&["verify-rls"], args].concat()).code(code);
    for pairs in
        [["--pairs", "all"].as_slice(), &["--pairs", "sample:3"], &["--pairs", "sample", "3"]]
    {
        drop(run(pairs, 0));
    }
    let sampled = run(&["--pairs", "sample:3", "--seed", "7"], 0);
    assert!(sampled.stdout().contains("--pairs sample:3 --seed 7"), "{}", sampled.stdout());
    let sampled = run(&["--pairs", "sample:3", "--seed", "7", "-o", "json"], 0).json();
    assert_eq!(sampled["pairs"], serde_json::json!({"mode": "sample", "number": 3, "seed": 7}));
    drop(run(&["--pairs", "some"], 64));
    drop(run(&["--seed", "7"], 64));
    drop(run(&["--pairs", "all", "--seed", "7"], 64));
    drop(run(&["--timeout", "soon"], 64));
}

#[test]
fn other_tools_are_told_what_is_known_and_what_is_allowed() {
    let world = broken();
    let config = std::fs::read_to_string(world.path("tenants.toml")).unwrap();
    world.file(
        "tenants.toml",
        &format!(
            "{config}\n[[verify.allow]]\nrule = \"trigger-granted\"\nreason = \"audit <triggers> & more\"\nexpires = \"never\"\n"
        ),
    );
    world.sql("ALTER TABLE app.tags ENABLE ROW LEVEL SECURITY");
    drop(world.run(["verify-rls", "--static", "--write-baseline", "known.json"]).ok());
    world.sql("GRANT TRUNCATE ON app.users TO app_rw");
    let run = |format: &str| {
        let args = ["verify-rls", "-q", "--static", "--baseline", "known.json", "-o", format];
        world.run(args).code(2)
    };
    let log = run("sarif").json();
    sarif_is_valid(&log);
    let results = log["runs"][0]["results"].as_array().unwrap();
    let state = |rule: &str| {
        let result = results.iter().find(|result| result["ruleId"] == rule).unwrap();
        (result["baselineState"].clone(), result["suppressions"][0]["justification"].clone())
    };
    assert_eq!(state("truncate-granted"), ("new".into(), Value::Null));
    assert_eq!(state("schema-cross-access").0, "unchanged");
    assert_eq!(
        state("trigger-granted"),
        ("new".into(), "allowed until never: audit <triggers> & more".into())
    );
    for format in ["junit", "github", "markdown"] {
        drop(run(format).snapshot(&format!("verify_rls_{format}")));
    }
}

/// What the schema of SARIF 2.1.0 requires of what is used here.
fn sarif_is_valid(log: &Value) {
    assert_eq!(log["version"], "2.1.0");
    assert!(log["$schema"].as_str().unwrap().ends_with("sarif-2.1.0.json"));
    let keys =
        |value: &Value| -> Vec<String> { value.as_object().unwrap().keys().cloned().collect() };
    let only = |value: &Value, known: &[&str]| {
        for key in keys(value) {
            assert!(known.contains(&key.as_str()), "{key} in {value:#}");
        }
    };
    only(log, &["$schema", "version", "runs"]);
    for run in log["runs"].as_array().unwrap() {
        only(run, &["tool", "invocations", "automationDetails", "columnKind", "results"]);
        let driver = &run["tool"]["driver"];
        only(driver, &["name", "version", "rules"]);
        assert_eq!(run["columnKind"], "unicodeCodePoints");
        let rules = driver["rules"].as_array().unwrap();
        for rule in rules {
            only(
                rule,
                &[
                    "id",
                    "shortDescription",
                    "fullDescription",
                    "help",
                    "defaultConfiguration",
                    "properties",
                ],
            );
            for text in ["shortDescription", "fullDescription", "help"] {
                assert!(rule[text]["text"].is_string(), "{rule:#}");
            }
            assert!(rule["properties"]["tags"].is_array());
        }
        for invocation in run["invocations"].as_array().unwrap() {
            only(invocation, &["executionSuccessful", "toolExecutionNotifications"]);
            assert!(invocation["executionSuccessful"].is_boolean());
            for notification in invocation["toolExecutionNotifications"].as_array().unwrap() {
                only(notification, &["level", "message"]);
                assert!(notification["message"]["text"].is_string());
            }
        }
        for result in run["results"].as_array().unwrap() {
            only(
                result,
                &[
                    "ruleId",
                    "ruleIndex",
                    "level",
                    "message",
                    "locations",
                    "partialFingerprints",
                    "properties",
                    "suppressions",
                    "baselineState",
                ],
            );
            assert!(
                ["error", "warning", "note", "none"].contains(&result["level"].as_str().unwrap())
            );
            assert!(result["message"]["text"].is_string());
            let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
            assert_eq!(rules[index]["id"], result["ruleId"]);
            assert!(
                result["partialFingerprints"].as_object().unwrap().values().all(Value::is_string)
            );
            if let Some(state) = result.get("baselineState") {
                assert!(
                    ["new", "unchanged", "updated", "absent"].contains(&state.as_str().unwrap())
                );
            }
            for suppression in
                result.get("suppressions").and_then(Value::as_array).into_iter().flatten()
            {
                only(suppression, &["kind", "status", "justification"]);
                assert!(["inSource", "external"].contains(&suppression["kind"].as_str().unwrap()));
                assert!(
                    ["accepted", "underReview", "rejected"]
                        .contains(&suppression["status"].as_str().unwrap())
                );
            }
            for location in result["locations"].as_array().unwrap() {
                only(location, &["logicalLocations"]);
                only(&location["logicalLocations"][0], &["fullyQualifiedName", "kind"]);
            }
        }
    }
}

#[test]
fn the_doctor_says_whether_probes_can_act_and_what_killed_ones_left() {
    let world = fleet(World::new(), OPERATOR, "app_rw");
    let checks = |name: &str| {
        let answer = world.run(["doctor", "-o", "json"]).json();
        let checks = answer["checks"].as_array().unwrap().iter();
        let own = checks.filter(|check| check["check"] == name).cloned();
        own.collect::<Vec<Value>>()
    };
    assert_eq!(checks("probes")[0]["health"], "ok", "{:?}", checks("probes"));
    assert!(checks("leftovers").is_empty());
    world.sql("CREATE ROLE tenantctl_probe_00000000002a; CREATE ROLE tenantctl_probe_00000000002b");
    // Whoever is at work holds a lock on the number of its role.
    let mut working = world.session("app", "postgres");
    working.sql(&format!("SELECT pg_advisory_lock({})", 0x7463_0000_0000_002b_i64));
    let left = checks("leftovers");
    assert_eq!(left.len(), 1);
    let detail = left[0]["detail"].as_str().unwrap();
    assert!(detail.starts_with("1 role left"), "{detail}");
    assert!(detail.contains("tenantctl_probe_00000000002a"), "{detail}");
    world.sql("DROP OWNED BY app_tenant_cat; DROP ROLE app_tenant_cat");
    let warned = checks("probes");
    assert_eq!(warned[0]["health"], "warning");
    assert!(warned[0]["detail"].as_str().unwrap().contains("app_tenant_cat"), "{warned:?}");
}

#[test]
fn one_break_in_many_schemas_is_told_once() {
    let world = World::new();
    let mut config = layout("app_rw");
    for number in 0..12 {
        config.push_str(&format!("[[tenants]]\nid = \"t{number}\"\nisolation = \"schema\"\n"));
    }
    world.config(&config);
    world.sql(&format!(
        "CREATE ROLE pool LOGIN NOINHERIT; CREATE ROLE everybodys;
         DO $$ BEGIN FOR n IN 0..11 LOOP
             EXECUTE format('CREATE ROLE app_tenant_t%1$s; GRANT app_tenant_t%1$s TO pool, {OPERATOR};
                 CREATE SCHEMA tenant_t%1$s AUTHORIZATION everybodys;
                 CREATE TABLE tenant_t%1$s.notes (id int); ALTER TABLE tenant_t%1$s.notes OWNER TO everybodys;
                 GRANT USAGE ON SCHEMA tenant_t%1$s TO PUBLIC; GRANT SELECT ON tenant_t%1$s.notes TO PUBLIC', n);
         END LOOP; END $$"
    ));
    let outcome = world.run(["verify-rls", "-q", "--static"]).code(2);
    drop(outcome.snapshot("verify_rls_many_alike"));
}
