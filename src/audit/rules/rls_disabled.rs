//! A table that tenants share, without row-level security.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;
use crate::model::catalog::Privileges;
use crate::sql;

pub(super) static RULE: Rule = Rule {
    id: "rls-disabled",
    family: Family::Tables,
    severity: Severity::Critical,
    evidence: Evidence::Static,
    title: "a table that tenants share has row-level security off",
    what: "A table has the tenant column, a role of the application may use it, and row-level security is off. Not reported: tables that no role of the application can use, and tables without the tenant column.",
    why: "Nothing filters its rows: every statement sees all tenants. Policies that exist do nothing until row-level security is on.",
    example: "CREATE TABLE app.leads (tenant_id uuid NOT NULL, name text NOT NULL);\nGRANT SELECT ON app.leads TO app_rw;",
    fix: "ALTER TABLE … ENABLE and FORCE ROW LEVEL SECURITY, with a policy for the tenant column.",
    references: &["https://www.postgresql.org/docs/current/ddl-rowsecurity.html"],
    covers: &["table-off", "table-dormant", "table-copy", "table-column-grant"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (oid, table) in survey.tables() {
        // A partition that can be reached past its parent has a rule of its own.
        if table.rls || table.parent.is_some_and(|parent| survey.tenant_tables.contains(&parent)) {
            continue;
        }
        let Some((subject, held)) = survey.reaching(table, Privileges::ROWS).next() else {
            continue;
        };
        let dormant = match survey.policies(oid).len() {
            0 => String::new(),
            1 => ", so its policy does nothing".to_owned(),
            many => format!(", so its {many} policies do nothing"),
        };
        let message = format!(
            "row-level security is off on {}{dormant}: {} reaches every tenant's rows",
            table.name, subject.name
        );
        let mut fix = vec![
            sql!("ALTER TABLE {} ENABLE ROW LEVEL SECURITY", table.name),
            sql!("ALTER TABLE {} FORCE ROW LEVEL SECURITY", table.name),
        ];
        if !survey.policies(oid).iter().any(|policy| policy.permissive) {
            fix.extend(survey.policy_for(oid, table));
        }
        let fix = Fix::Sql(fix);
        found.push(
            RULE.finding(survey.relation(table), message, fix).role(subject.name).operation(held),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;
    use crate::model::catalog::*;

    #[test]
    fn a_granted_table_is_accused_and_an_ungranted_one_is_not() {
        let mut world = World::new();
        world.table("app", "backup", "app_owner");
        world.table_mut("app.backup").columns.push(column("tenant_id", "uuid"));
        assert!(world.rules().is_empty());
        world.table_mut("app.notes").rls = false;
        let found = world.findings("rls-disabled");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].object.name, "app.notes");
        assert_eq!(found[0].role.as_deref(), Some("app_rw"));
        assert_eq!(found[0].operation.as_deref(), Some("SELECT, INSERT, UPDATE, DELETE"));
        assert_eq!(world.rules(), ["rls-disabled"]);
    }

    #[test]
    fn what_a_login_may_become_is_not_the_logins() {
        let mut world = World::new();
        world.table("app", "backup", "app_owner");
        world.table_mut("app.backup").columns.push(column("tenant_id", "uuid"));
        world.grant("app.backup", "stranger", Privilege::Select);
        world.grant_schema("app", "stranger", Privilege::Usage);
        world.member("pool", "stranger", "s");
        assert!(world.rules().is_empty(), "{:?}", world.check());
        world.member("pool", "stranger", "i");
        assert_eq!(world.findings("rls-disabled").len(), 1);
    }

    #[test]
    fn a_column_grant_is_enough_and_a_closed_schema_is_not() {
        let mut world = World::new();
        world.table("app", "backup", "app_owner");
        world.table_mut("app.backup").columns.push(column("tenant_id", "uuid"));
        world.grant("app.backup", "app_cat", Privilege::Select);
        world.table_mut("app.backup").grants[0].column = Some(ident("tenant_id"));
        assert!(world.findings("rls-disabled").is_empty(), "app_cat may not enter schema app");
        world.grant_schema("app", "app_cat", Privilege::Usage);
        assert_eq!(world.findings("rls-disabled").len(), 1);
    }
}
