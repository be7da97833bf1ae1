//! A policy that reads its own table.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;

pub(super) static RULE: Rule = Rule {
    id: "policy-recursive",
    family: Family::Policies,
    severity: Severity::Medium,
    evidence: Evidence::Static,
    title: "a policy reads the table that it guards",
    what: "A policy has a subquery on the table that it guards. Not reported: functions that read the table as an owner whom the policies do not bind, which other rules judge.",
    why: "PostgreSQL answers every statement with infinite recursion (42P17). Nothing leaks and nothing works; the usual way out is a definer function or BYPASSRLS, which does leak.",
    example: "CREATE POLICY own ON app.members USING (tenant_id IN (SELECT m.tenant_id FROM app.members m WHERE m.who = current_user));",
    fix: "Compare columns, or ask another table.",
    references: &["https://www.postgresql.org/docs/current/ddl-rowsecurity.html"],
    covers: &["policy-recursion"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (oid, table) in survey.rows().filter(|(_, table)| table.rls) {
        for policy in survey.policies(oid) {
            let sides = [policy.using.as_deref(), policy.check.as_deref()];
            // Where a condition has a subquery, the server prints every table with its schema.
            let asks = sides.into_iter().flatten().any(|side| {
                let words = crate::audit::text::relations(side);
                words.selected(&table.name)
            });
            if !asks {
                continue;
            }
            let message =
                format!("policy {} on {} reads the table itself", policy.name, table.name);
            let fix = Fix::Advice("compare columns, or ask another table".to_owned());
            found.push(RULE.finding(survey.part("policy", &policy.name, table), message, fix));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;

    #[test]
    fn a_subquery_on_itself_is_accused_and_one_on_another_table_is_not() {
        let mut world = World::new();
        let asks = |table: &str| {
            Some(format!("({TIED} AND (EXISTS ( SELECT 1 FROM {table} m WHERE (m.id = notes.id))))"))
        };
        world.policy_mut().using = asks("app.tasks");
        assert!(world.rules().is_empty(), "{:?}", world.check());
        world.policy_mut().using = asks("app.notes");
        assert_eq!(world.rules(), ["policy-recursive"]);
    }
}
