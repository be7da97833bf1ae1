//! A copy of tenants' rows in a table that does not say whose they are.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::holdings::Holding;
use crate::audit::survey::Survey;
use crate::model::catalog::{Command, Privilege, Privileges};

pub(super) static RULE: Rule = Rule {
    id: "copy-without-tenant",
    family: Family::Tables,
    severity: Severity::High,
    evidence: Evidence::Static,
    title: "a table without the tenant column holds copies of tenants' rows",
    what: "A table without the tenant column and without row-level security has the columns of a tenants' table, or is written by a trigger of one, and a role of the application may read or change it. A table that is called after what copies are made for and has a column for documents is medium. Not reported: tables that nobody may use or only add to, and tables to which others refer.",
    why: "Backups, audit logs, outboxes and import buffers hold what the tables hold, and no column says whose it is.",
    example: "CREATE TABLE app.notes_backup AS SELECT id, title, body FROM app.notes;\nGRANT SELECT ON app.notes_backup TO app_rw;",
    fix: "REVOKE the grant, or give the table the tenant column and a policy.",
    references: &["https://www.postgresql.org/docs/current/ddl-rowsecurity.html"],
    covers: &["table-copy"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (oid, why) in &survey.holdings.tables {
        let Some(table) = survey.catalog.relations.get(oid) else { continue };
        let name = |oid| {
            let other = survey.catalog.relations.get(oid);
            other.map_or_else(String::new, |other| other.name.to_string())
        };
        let (grave, what) = match why {
            Holding::Child(_) => continue,
            Holding::Likeness(of) => (RULE.severity, format!("has the columns of {}", name(of))),
            Holding::Fed(by) => (RULE.severity, format!("is written by triggers or rules of {}", name(by))),
            Holding::Documents => {
                (Severity::Medium, "is named after copies and holds documents".to_owned())
            }
        };
        // To add to a log is harmless; to read it is not.
        let wanted: Privileges =
            [Privilege::Select, Privilege::Update, Privilege::Delete].into_iter().collect();
        let user = survey.reaching(table, wanted).find(|(subject, _)| {
            // One tenant's table of many is judged by schema-cross-access.
            !table.rls || survey.free(subject.role, (*oid, table), Command::Select)
        });
        let Some((subject, held)) = user else { continue };
        if table.rls {
            continue;
        }
        let message = format!(
            "{} {what} and no column says whose its rows are: {} reaches them all",
            table.name, subject.name
        );
        let fix = Fix::Advice(format!(
            "REVOKE ALL ON {} FROM {}, or give it the tenant column and a policy",
            table.name, subject.name
        ));
        found.push(
            RULE.finding(survey.relation(table), message, fix)
                .severity(grave)
                .role(subject.name)
                .operation(held),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::audit::finding::Severity;
    use crate::audit::fixture::*;
    use crate::model::catalog::*;

    fn notes(world: &mut World) {
        for (name, kind) in [("id", "uuid"), ("subject", "text"), ("body", "text")] {
            world.table_mut("app.notes").columns.push(column(name, kind));
        }
    }

    #[test]
    fn a_copy_is_accused_and_a_table_of_other_things_is_not() {
        let mut world = World::new();
        notes(&mut world);
        world.like("letters", &[("id", "uuid"), ("subject", "text"), ("sent_to", "text")]);
        world.like("notes_old", &[("id", "uuid"), ("subject", "text"), ("body", "text")]);
        world.grant("app.letters", "app_rw", Privilege::Select);
        assert!(world.rules().is_empty(), "{:?}", world.check());
        world.grant("app.notes_old", "app_rw", Privilege::Insert);
        assert!(world.rules().is_empty(), "to add is not to read");
        world.grant("app.notes_old", "app_rw", Privilege::Select);
        assert_eq!(world.rules(), ["copy-without-tenant"]);
    }

    #[test]
    fn where_tenants_have_schemas_a_common_trail_is_a_copy() {
        let mut world = World::new();
        world.add_schema("codes", "admin");
        world.grant_schema("codes", "app_cat", Privilege::Usage);
        world.table("codes", "trail", "admin");
        let body = "BEGIN INSERT INTO codes.trail SELECT to_jsonb(NEW); RETURN NULL; END";
        let function = world.function("codes", "track", "admin", body);
        world.trigger(function);
        world.catalog.triggers[0].relation = world.relation_oid("tenant_dan.notes");
        assert!(world.findings("copy-without-tenant").is_empty());
        world.grant("codes.trail", "app_cat", Privilege::Select);
        assert_eq!(world.findings("copy-without-tenant").len(), 1);
    }

    #[test]
    fn what_a_trigger_fills_is_a_copy_and_a_log_is_perhaps_one() {
        let mut world = World::new();
        world.like("changes", &[("at", "timestamptz"), ("what", "text")]);
        world.grant("app.changes", "app_rw", Privilege::Select);
        world.like("event_log", &[("at", "timestamptz"), ("what", "text")]);
        world.grant("app.event_log", "app_rw", Privilege::Select);
        assert!(world.rules().is_empty());
        let body = "BEGIN INSERT INTO app.changes SELECT now(), NEW::text; RETURN NULL; END";
        let function = world.function("app", "track", "app_owner", body);
        world.catalog.functions.get_mut(&function).unwrap().definer = false;
        world.trigger(function);
        assert_eq!(world.findings("copy-without-tenant")[0].severity, Severity::High);
        world.catalog.triggers.clear();
        world.table_mut("app.event_log").columns.push(column("payload", "jsonb"));
        assert_eq!(world.findings("copy-without-tenant")[0].severity, Severity::Medium);
    }
}
