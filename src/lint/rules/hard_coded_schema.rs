//! A schema that is written where `search_path` should decide.

use super::{Check, Rule};
use crate::lint::deed::DeedKind;
use crate::lint::finding::Draft;
use crate::lint::script::Place;
use crate::lint::statement::Act;
use crate::lint::survey::Survey;
use crate::model::severity::Severity;
use crate::model::tenant::Isolation;

pub(super) static CHECK: Check = Check {
    rule: Rule {
        id: "hard-coded-schema",
        severity: Severity::High,
        title: "a file names a schema where search_path should decide",
        why: "While a file runs, search_path holds the tenant's schema alone, so a name without a schema means the tenant's own. A schema that is written out is the same for every tenant: all of them change one table, or the second run fails. That is high where each tenant has a schema. Where tenants share one, or have a database each, it is low for the schema of the layout (it breaks when that is renamed or restored under another name) and medium for any other. Functions and types are low, those of schemas that hold extensions info. pg_catalog and information_schema are not reported, nor are bodies of functions.",
        example: "CREATE TABLE public.notes (id uuid PRIMARY KEY);",
        fix: "Leave the schema out: CREATE TABLE notes (id uuid PRIMARY KEY);",
    },
    find,
};

/// The server's own.
const SYSTEM: [&str; 5] = ["pg_catalog", "information_schema", "pg_temp", "pg_toast", "excluded"];

/// Where extensions are usually kept, or which they make themselves.
const EXTENSIONS: [&str; 8] =
    ["extensions", "ext", "ag_catalog", "cron", "partman", "topology", "tiger", "vault"];

fn find(survey: &Survey<'_>, rule: &Rule) -> Vec<Draft> {
    let mut drafts = Vec::new();
    for (file, script) in survey.scripts.iter().enumerate() {
        for qualified in &script.reading.qualified {
            let name = &qualified.name;
            let Some(schema) = &name.schema else { continue };
            if SYSTEM.contains(&schema.as_str()) {
                continue;
            }
            let extension = EXTENSIONS.contains(&schema.as_str())
                || survey.schema.extension_schemas.contains(schema);
            let severity = if extension && !qualified.made {
                Severity::Info
            } else if qualified.callable {
                Severity::Low
            } else {
                grade(survey, schema)
            };
            let message = format!("{schema}.{} is the same for every tenant", name.name);
            let fix = format!("write {} alone: search_path holds the tenant's schema", name.name);
            let place = Place { file, range: name.range.clone() };
            drafts.push(Draft::new(rule, &place, message, fix).severity(severity));
        }
    }
    for (file, act) in survey.acts() {
        let Act::CreateSchema(name) = act else { continue };
        let place = Place { file, range: name.range.clone() };
        let message = format!("schema {} is made once for each tenant", name.name);
        let fix = "remove it: tenantctl makes the schemas of tenants from [isolation.*] schema";
        let severity = grade(survey, &name.name);
        drafts.push(Draft::new(rule, &place, message, fix).severity(severity));
    }
    for (_, place, deed) in survey.deeds() {
        let DeedKind::Set { setting, .. } = &deed.kind else { continue };
        if setting == "search_path" {
            let message = "the rest of the file works outside of the tenant's schema";
            let fix = "remove it: search_path holds the tenant's schema when the file begins";
            drafts.push(Draft::new(rule, &place, message, fix));
        }
    }
    drafts
}

fn grade(survey: &Survey<'_>, schema: &str) -> Severity {
    match survey.ground.isolation {
        Isolation::Schema => Severity::High,
        Isolation::Shared | Isolation::Database if survey.ground.schema.as_str() == schema => {
            Severity::Low
        }
        Isolation::Shared | Isolation::Database => Severity::Medium,
    }
}

#[cfg(test)]
mod tests {
    use crate::lint::fixture::{found, schema, shared};

    const RULE: &str = "hard-coded-schema";

    #[test]
    fn a_written_schema_is_graded_by_the_model() {
        let sql = "CREATE TABLE public.notes (id uuid PRIMARY KEY);";
        assert_eq!(found(RULE, &schema(), &[sql]), ["V1.sql:1:14 high"]);
        assert_eq!(found(RULE, &shared(), &[sql]), ["V1.sql:1:14 medium"]);
        let sql = "UPDATE app.notes SET a = 1;";
        assert_eq!(found(RULE, &shared(), &[sql]), ["V1.sql:1:8 low"]);
    }

    #[test]
    fn it_is_found_wherever_it_stands() {
        for (sql, place) in [
            ("CREATE INDEX i ON x.t (a);", "1:19 high"),
            ("ALTER TABLE x.t ADD a int;", "1:13 high"),
            ("CREATE TABLE t (a uuid REFERENCES x.u (id));", "1:35 high"),
            ("CREATE VIEW v AS SELECT t.a FROM x.t;", "1:34 high"),
            ("INSERT INTO x.t (a) VALUES (1);", "1:13 high"),
            ("COMMENT ON COLUMN x.t.a IS 'a';", "1:19 high"),
            ("CREATE SCHEMA x;", "1:15 high"),
            ("SET LOCAL search_path = x;", "1:1 high"),
            ("CREATE TABLE t (a x.citext);", "1:19 low"),
            ("SELECT x.f(1);", "1:8 low"),
        ] {
            assert_eq!(found(RULE, &schema(), &[sql]), [format!("V1.sql:{place}")], "{sql}");
        }
    }

    #[test]
    fn columns_settings_and_the_servers_own_are_not_schemas() {
        for sql in [
            "SELECT t.a FROM t WHERE t.b = 1;",
            "COMMENT ON COLUMN t.a IS 'a';",
            "SET LOCAL app.actor = 'x';",
            "SELECT pg_catalog.now() FROM pg_catalog.pg_class c;",
            "ALTER SEQUENCE s OWNED BY t.a;",
        ] {
            assert_eq!(found(RULE, &schema(), &[sql]), Vec::<String>::new(), "{sql}");
        }
    }

    #[test]
    fn where_extensions_live_is_worth_a_note() {
        let sql = "CREATE EXTENSION citext SCHEMA tools; CREATE TABLE t (a tools.citext);";
        assert_eq!(found(RULE, &schema(), &[sql]), ["V1.sql:1:57 info"]);
    }
}
