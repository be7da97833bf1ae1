//! A table whose owner no policy binds, where that matters.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;
use crate::model::catalog::Privileges;
use crate::sql;

pub(super) static RULE: Rule = Rule {
    id: "rls-not-forced",
    family: Family::Tables,
    severity: Severity::High,
    evidence: Evidence::Static,
    title: "row-level security does not bind the owner of a table that tenants share",
    what: "A table that tenants share has row-level security without FORCE. Critical when a role of the application inherits the owner, high when it can become it, and low when the table is an exception among forced ones. Not reported: a schema whose tables are all without FORCE, and whose owner the application cannot reach.",
    why: "Without FORCE the owner of a table, and every role that inherits it, skips all policies. Owners run migrations, definer functions and jobs.",
    example: "ALTER TABLE app.notes NO FORCE ROW LEVEL SECURITY;",
    fix: "ALTER TABLE … FORCE ROW LEVEL SECURITY.",
    references: &["https://www.postgresql.org/docs/current/ddl-rowsecurity.html", "https://www.postgresql.org/docs/current/sql-altertable.html"],
    covers: &["who-owner"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (_, table) in survey.tables().filter(|(_, table)| table.rls && !table.forced) {
        let reached =
            survey.subjects.iter().find_map(|s| Some((s, s.closure.get(&table.owner)?)));
        let owner = survey.catalog.role_name(table.owner);
        let fix = Fix::Sql(vec![sql!("ALTER TABLE {} FORCE ROW LEVEL SECURITY", table.name)]);
        if let Some((subject, path)) = reached {
            let how = if path.roles.len() > 1 {
                format!("{} acts as {}", subject.name, survey.path(&path.roles))
            } else {
                format!("{} is that owner", subject.name)
            };
            let message =
                format!("no policy of {} binds its owner {owner}, and {how}", table.name);
            let grave = if path.inherited { Severity::Critical } else { Severity::High };
            found.push(
                RULE.finding(survey.relation(table), message, fix)
                    .severity(grave)
                    .role(subject.name),
            );
            continue;
        }
        let used = survey.reaching(table, Privileges::ROWS).next().is_some();
        let exception = survey
            .tables()
            .any(|(_, other)| other.schema == table.schema && other.rls && other.forced);
        if used && exception {
            let message = format!(
                "no policy of {} binds its owner {owner}, while other tables of the schema bind theirs",
                table.name
            );
            // Nobody of the application acts as that owner: its own jobs are what is at stake.
            found.push(
                RULE.finding(survey.relation(table), message, fix)
                    .severity(Severity::Low)
                    .role(owner),
            );
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;

    use crate::audit::finding::Severity;

    #[test]
    fn a_reachable_owner_is_critical() {
        let mut world = World::new();
        world.table_mut("app.notes").forced = false;
        world.member("app_rw", "app_owner", "is");
        let found = world.findings("rls-not-forced");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].severity, Severity::Critical);
        assert_eq!(found[0].role.as_deref(), Some("app_rw"));
    }

    #[test]
    fn an_exception_among_forced_tables_is_reported_and_a_whole_schema_without_is_not() {
        let mut world = World::new();
        world.table_mut("app.notes").forced = false;
        assert_eq!(world.rules(), ["rls-not-forced"]);
        world.table_mut("app.tasks").forced = false;
        assert!(world.rules().is_empty(), "nobody can become the owner");
    }
}
