//! Policies on a table whose row-level security is off.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;
use crate::model::catalog::Privileges;
use crate::sql;

pub(super) static RULE: Rule = Rule {
    id: "policy-dormant",
    family: Family::Tables,
    severity: Severity::High,
    evidence: Evidence::Static,
    title: "a table has policies, and its row-level security is off",
    what: "A table has policies while its row-level security is off, and a role of the application may use it. Not reported: tables with the tenant column (see rls-disabled) and one tenant's own tables.",
    why: "CREATE POLICY does not switch row-level security on: the policies do nothing, and whoever reads them believes otherwise.",
    example: "CREATE POLICY own ON app.lines USING (note_id IN (SELECT id FROM app.notes)); -- and no ENABLE",
    fix: "ALTER TABLE … ENABLE and FORCE ROW LEVEL SECURITY.",
    references: &["https://www.postgresql.org/docs/current/sql-createpolicy.html"],
    covers: &["table-dormant", "table-off"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (oid, table) in &survey.catalog.relations {
        let policies = survey.policies(*oid).len();
        let elsewhere = survey.tenant_tables.contains(oid) || survey.ground(table.schema).is_some();
        if table.rls || policies == 0 || elsewhere {
            continue;
        }
        let Some((subject, held)) = survey.reaching(table, Privileges::ROWS).next() else { continue };
        let message = format!(
            "row-level security is off on {}, and its policies ({policies}) do nothing: {} reaches every row",
            table.name, subject.name
        );
        let fix = Fix::Sql(vec![
            sql!("ALTER TABLE {} ENABLE ROW LEVEL SECURITY", table.name),
            sql!("ALTER TABLE {} FORCE ROW LEVEL SECURITY", table.name),
        ]);
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
    fn a_policy_that_does_nothing_is_accused_where_the_table_is_used() {
        let mut world = World::new();
        let lines = world.table("app", "lines", "app_owner");
        let mut policy = world.policy_mut().clone();
        policy.relation = lines;
        world.catalog.policies.push(policy);
        assert!(world.rules().is_empty());
        world.grant("app.lines", "app_rw", Privilege::Select);
        assert_eq!(world.rules(), ["policy-dormant"]);
        let table = world.table_mut("app.lines");
        (table.rls, table.forced) = (true, true);
        assert!(world.rules().is_empty());
    }
}
