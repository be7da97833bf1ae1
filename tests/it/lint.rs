//! `migrate lint` and `migrate new`: without any server, in every format, with their exit codes.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::harness::{OPERATOR, Outcome, World};
use crate::verify_rls::fleet;

const SHARED: &str = "CREATE TABLE notes (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    PRIMARY KEY (tenant_id, id)
);
";

/// A world whose server would not answer, with files in `sql/`.
fn world(files: &[(&str, &str)]) -> World {
    let world = World::new();
    for (name, text) in files {
        world.file(&format!("sql/{name}"), text);
    }
    world
}

fn lint(world: &World, args: &[&str]) -> Outcome {
    world
        .tenantctl([&["migrate", "lint", "--migrations", "sql"], args].concat())
        .env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none")
        .run()
}

fn rules(answer: &Value) -> Vec<String> {
    let findings = answer["findings"].as_array().unwrap();
    findings.iter().map(|finding| finding["rule"].as_str().unwrap().to_owned()).collect()
}

fn broken() -> World {
    world(&[
        ("V1__notes.sql", SHARED),
        (
            "V2__more.sql",
            "UPDATE notes SET id = id;\nALTER TABLE notes DROP COLUMN deleted_at;\n\
             CREATE INDEX notes_recent ON notes (updated_at);\nSET work_mem = '1MB';\nCOMMIT;\n",
        ),
    ])
}

#[test]
fn what_people_read_has_the_line_and_a_mark_below_it() {
    lint(&broken(), &[]).code(2).snapshot("lint_broken");
}

#[test]
fn the_answer_as_json_is_the_contract() {
    let world = broken();
    let answer = lint(&world, &["-o", "json"]).code(2).json();
    assert_eq!(answer["format"], 1);
    assert_eq!(answer["sets"][0]["isolation"], "shared", "its tables have the tenant column");
    let drop = answer["findings"]
        .as_array()
        .unwrap()
        .iter()
        .find(|finding| finding["rule"] == "ban-drop-column")
        .unwrap();
    assert_eq!(drop["file"], "sql/V2__more.sql");
    assert_eq!((&drop["line"], &drop["column"]), (&2.into(), &19.into()));
    assert_eq!(drop["severity"], "high");
    let again = lint(&world, &["-o", "json"]).code(2).json();
    assert_eq!(answer, again);
    let lines = lint(&world, &["-o", "ndjson"]).code(2).ndjson();
    assert_eq!(lines.len(), answer["findings"].as_array().unwrap().len());
}

#[test]
fn the_limit_decides_and_the_model_too() {
    let world = broken();
    lint(&world, &["--fail-on", "critical"]).code(0);
    let own = lint(&world, &["--isolation", "schema", "-o", "json"]).code(2).json();
    assert!(!rules(&own).contains(&"write-without-tenant".to_owned()), "{own:#}");
    let clean = self::world(&[("V1__notes.sql", SHARED)]);
    lint(&clean, &["--fail-on", "low"]).code(0);
    lint(&clean, &["--fail-on", "info"]).code(2);
    lint(&clean, &["--fail-on", "bad"]).code(64);
}

#[test]
fn named_files_are_judged_beside_what_the_others_made() {
    let world = broken();
    let named = lint(&world, &["sql/V2__more.sql", "-o", "json"]).code(2).json();
    let since = lint(&world, &["--since", "1", "-o", "json"]).code(2).json();
    assert_eq!(named["findings"], since["findings"]);
    let index = named["findings"]
        .as_array()
        .unwrap()
        .iter()
        .find(|finding| finding["rule"] == "require-concurrent-index-creation")
        .unwrap();
    assert_eq!(index["severity"], "high", "the table was there before");
    let whole = lint(&world, &["-o", "json"]).code(2).json();
    assert!(whole["findings"].as_array().unwrap().iter().any(|finding| {
        finding["rule"] == "require-concurrent-index-creation" && finding["severity"] == "low"
    }));
    lint(&world, &["sql/V9__none.sql"]).code(1);
}

#[test]
fn a_file_that_could_not_be_run_is_a_finding() {
    let world = world(&[
        ("V1__a.sql", "SELECT 1;\r\n"),
        ("V2__b.sql", "\\i other.sql\n"),
        ("notes.sql", "SELECT 1;\n"),
        ("V3__c.sql", "COMMIT;\n"),
    ]);
    let answer = lint(&world, &["-o", "json"]).code(2).json();
    let found = rules(&answer);
    assert_eq!(found.iter().filter(|rule| *rule == "unusable-file").count(), 3, "{answer:#}");
    assert_eq!(found.iter().filter(|rule| *rule == "transaction-control").count(), 1);
}

#[test]
fn what_is_meant_so_is_allowed_with_a_reason() {
    let allowed = "SELECT 1;\n\n-- tenantctl:allow ban-drop-column unused since March\n\
                   ALTER TABLE notes DROP COLUMN body;\n";
    let world = world(&[("V1__a.sql", allowed)]);
    lint(&world, &["--isolation", "schema"]).code(0);
    world.file("sql/V1__a.sql", "-- tenantctl:allow ban-drop-column\nSELECT 1;\n");
    let bare = lint(&world, &["-o", "json"]).code(2).json();
    assert_eq!(rules(&bare), ["unusable-file"], "an exception needs its reason");
    world.file("sql/V1__a.sql", "-- tenantctl:allow no-such-rule because\nSELECT 1;\n");
    assert_eq!(rules(&lint(&world, &["-o", "json"]).code(0).json()), ["allow-unknown"]);
}

#[test]
fn sarif_says_what_code_scanning_needs() {
    let log = lint(&broken(), &["-o", "sarif"]).code(2).json();
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    let driver = &run["tool"]["driver"];
    assert_eq!(driver["name"], "tenantctl");
    let described = driver["rules"].as_array().unwrap();
    let results = run["results"].as_array().unwrap();
    assert!(results.len() > 4);
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(described[index]["id"], result["ruleId"]);
        assert!(["error", "warning", "note"].contains(&result["level"].as_str().unwrap()));
        assert!(!result["message"]["text"].as_str().unwrap().is_empty());
        assert_eq!(result["partialFingerprints"]["tenantctl/v1"].as_str().unwrap().len(), 16);
        let place = &result["locations"][0]["physicalLocation"];
        assert!(place["artifactLocation"]["uri"].as_str().unwrap().starts_with("sql/V"));
        let region = &place["region"];
        assert!(region["startLine"].as_u64().unwrap() >= 1);
        assert!(region["endColumn"].as_u64().unwrap() > region["startColumn"].as_u64().unwrap());
    }
    for rule in described {
        for text in ["shortDescription", "fullDescription", "help"] {
            assert!(!rule[text]["text"].as_str().unwrap().is_empty());
        }
    }
    let clean = lint(&world(&[("V1__x.sql", "SELECT 1;\n")]), &["-o", "sarif"]).code(0).json();
    assert_eq!(clean["runs"][0]["results"].as_array().unwrap().len(), 0);
}

#[test]
fn junit_github_and_markdown_mark_what_fails() {
    let world = broken();
    let junit = lint(&world, &["-o", "junit"]).code(2);
    assert!(junit.stdout().starts_with("<?xml version=\"1.0\""));
    let failures = junit.stdout().matches("<failure ").count();
    assert!(junit.stdout().contains(&format!("failures=\"{failures}\"")), "{}", junit.stdout());
    assert_eq!(
        junit.stdout().matches("<testcase ").count(),
        junit.stdout().matches("</testcase>").count()
    );
    let github = lint(&world, &["-o", "github"]).code(2);
    assert_eq!(github.stdout().matches("::error file=sql/V2__more.sql,line=").count(), failures);
    let markdown = lint(&world, &["-o", "markdown"]).code(2);
    assert!(markdown.stdout().contains("| high | `ban-drop-column` | sql/V2__more.sql:2:19 |"));
}

#[test]
fn verify_rls_has_the_same_formats() {
    let world = fleet(World::new(), OPERATOR, "app_rw");
    world.sql("ALTER TABLE app.tags DISABLE ROW LEVEL SECURITY");
    let run = |format| world.run(["verify-rls", "--static", "-o", format]).code(2);
    let log = run("sarif").json();
    let result = &log["runs"][0]["results"][0];
    assert_eq!(result["ruleId"], "rls-disabled");
    assert_eq!(result["level"], "error");
    let place = &result["locations"][0]["logicalLocations"][0];
    assert!(place["fullyQualifiedName"].as_str().unwrap().ends_with("/app.tags"), "{place}");
    assert!(run("junit").stdout().contains("<failure type=\"rls-disabled\""));
    assert!(run("github").stdout().starts_with("::error title=rls-disabled::table "));
    assert!(run("markdown").stdout().contains("| critical | `rls-disabled` | table "));
}

#[test]
fn other_commands_refuse_these_formats() {
    let world = World::new();
    for format in ["sarif", "junit", "github", "markdown"] {
        let refused = world.tenantctl(["migrate", "status", "-o", format]).run().code(64);
        assert!(refused.stdout().is_empty());
        assert!(refused.stderr().contains("migrate status"), "{}", refused.stderr());
    }
}

#[test]
fn every_rule_that_finds_something_can_be_explained() {
    let world = broken();
    for rule in rules(&lint(&world, &["-o", "json"]).code(2).json()) {
        let text = world.tenantctl(["explain", rule.as_str()]).run().ok();
        assert!(text.stdout().contains("\nexample\n"), "{rule}");
    }
    let gone = world.tenantctl(["explain", "no-such-rule"]).run().code(1);
    assert!(gone.stderr().contains("tenantctl explain lists every rule"));
}

fn made(world: &World, args: &[&str]) -> PathBuf {
    let all = [&["migrate", "new", "-o", "json", "--migrations", "sql"], args].concat();
    let answer = world.tenantctl(all).run().ok().json();
    PathBuf::from(answer["path"].as_str().unwrap())
}

#[test]
fn a_new_file_is_the_next_one_and_clean() {
    let world = world(&[("V0007__notes.sql", SHARED)]);
    assert!(made(&world, &["Add due date"]).ends_with("sql/V0008__add_due_date.sql"));
    assert!(made(&world, &["index", "--no-transaction"]).ends_with("sql/V0009__index.sql"));
    lint(&world, &["--fail-on", "low"]).code(0);
    let text = fs::read_to_string(world.path("sql/V0009__index.sql")).unwrap();
    assert!(text.starts_with("-- tenantctl:no-transaction\n"));
    world.file("sql/V20260101120000__time.sql", "SELECT 1;\n");
    let stamped = made(&world, &["stamped"]);
    let name = stamped.file_name().unwrap().to_string_lossy().into_owned();
    assert!(name.len() > 20 && name.as_str() > "V20260101120000", "{name}");
}

#[test]
fn a_new_file_needs_a_directory_and_a_name() {
    let world = World::new();
    let compiled = world.tenantctl(["migrate", "new", "x"]).run().code(1);
    assert!(compiled.stderr().contains("[migrations]"), "{}", compiled.stderr());
    let odd = world.tenantctl(["migrate", "new", "!!!", "--migrations", "sql"]).run().code(64);
    assert!(odd.stderr().contains("few words"), "{}", odd.stderr());
    world.file(
        "tenants.toml",
        "[migrations]\nschema = \"own\"\nshared = \"shared\"\ndatabase = \"own\"\n",
    );
    let which = world.tenantctl(["migrate", "new", "x"]).run().code(64);
    assert!(which.stderr().contains("--isolation"), "{}", which.stderr());
    world.tenantctl(["migrate", "new", "x", "--isolation", "shared"]).run().ok();
    assert!(fs::read_to_string(world.path("shared/V1__x.sql")).unwrap().contains("tenant_id"));
    world.tenantctl(["migrate", "new", "x", "--isolation", "schema"]).run().ok();
    let both = world.tenantctl(["migrate", "lint", "-o", "json"]).run().ok().json();
    let models: Vec<&str> =
        both["sets"].as_array().unwrap().iter().map(|s| s["isolation"].as_str().unwrap()).collect();
    assert_eq!(models, ["shared", "schema"]);
}
