//! A permissive policy through which a role sees, changes or removes other tenants' rows.

use std::collections::BTreeMap;

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::finding::Object;
use crate::audit::survey::Survey;
use crate::model::catalog::{Command, Policy, Privileges};

pub(super) static RULE: Rule = Rule {
    id: "policy-ignores-tenant",
    family: Family::Policies,
    severity: Severity::Critical,
    evidence: Evidence::Static,
    title: "a policy admits rows whoever the tenant is",
    what: "A permissive policy admits rows of other tenants: its condition is constant, does not mention the tenant column or the tenant setting, negates the comparison, compares the column with itself, or offers an alternative without it. Not reported: tables on which a restrictive policy for the same role and command does compare.",
    why: "Permissive policies are joined with OR, so one that does not compare the tenant column with the current tenant opens the table, whatever the others say.",
    example: "CREATE POLICY published ON app.notes FOR SELECT USING (published);",
    fix: "Compare the tenant column in every permissive policy, or make the condition a restrictive one beside the policy that does.",
    references: &["https://www.postgresql.org/docs/current/sql-createpolicy.html", "https://www.postgresql.org/docs/current/ddl-rowsecurity.html"],
    covers: &["policy-extra", "policy-constant", "policy-capture", "policy-logic", "policy-unset", "policy-empty", "policy-pattern", "policy-role", "policy-command", "policy-inherited", "policy-switch", "policy-setting", "write-blind"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (oid, table) in survey.rows().filter(|(_, table)| table.rls) {
        // By policy: the first role for which it is open, and every command for which it is.
        let mut open: BTreeMap<&str, (&Policy, String, Privileges)> = BTreeMap::new();
        for (subject, held) in survey.reaching(table, Privileges::ROWS) {
            for face in survey.faces(subject) {
                for command in [Command::Select, Command::Update, Command::Delete] {
                    if survey.exempt(face, table) || !held.has(command.privilege()) {
                        continue;
                    }
                    for policy in survey.untied(face, (oid, table), command, Policy::seen) {
                        let entry = open.entry(policy.name.as_str()).or_insert_with(|| {
                            (policy, survey.catalog.role_name(face), Privileges::NONE)
                        });
                        entry.2 = entry.2.with(command.privilege());
                    }
                }
            }
        }
        for (policy, role, commands) in open.into_values() {
            // The server breaks long conditions into lines; a message is one.
            let condition = policy.using.as_deref().unwrap_or("true");
            let condition = condition.split_whitespace().collect::<Vec<_>>().join(" ");
            let message = format!(
                "policy {} on {} does not tie rows to the tenant for {role}: USING {condition}",
                policy.name, table.name
            );
            let fix = Fix::Advice(format!("DROP POLICY {} ON {}, or compare the tenant column in every alternative of USING", policy.name, table.name));
            let object = Object {
                parent: Some(table.name.to_string()),
                ..survey.object("policy", &policy.name)
            };
            found.push(RULE.finding(object, message, fix).role(role).operation(commands));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;
    use crate::model::catalog::*;

    #[test]
    fn an_open_condition_is_accused_and_a_restrictive_floor_makes_it_sound() {
        let mut world = World::new();
        let mut open = world.policy_mut().clone();
        open.name = ident("support");
        open.using = Some("true".to_owned());
        open.check = Some(TIED.to_owned());
        world.catalog.policies.push(open);
        let found = world.findings("policy-ignores-tenant");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].object.name, "support");
        assert_eq!(found[0].object.parent.as_deref(), Some("app.notes"));
        assert_eq!(found[0].operation.as_deref(), Some("SELECT, UPDATE, DELETE"));
        world.policy_mut().permissive = false;
        assert!(world.rules().is_empty(), "{:?}", world.check());
    }

    #[test]
    fn a_policy_for_a_role_that_the_application_does_not_inherit_is_not_accused() {
        let mut world = World::new();
        let stranger = world.oid("stranger");
        let mut open = world.policy_mut().clone();
        open.name = ident("support");
        open.using = Some("true".to_owned());
        open.roles = vec![stranger];
        world.catalog.policies.push(open);
        assert!(world.rules().is_empty());
        world.member("app_rw", "stranger", "i");
        assert_eq!(world.findings("policy-ignores-tenant").len(), 1);
    }

    #[test]
    fn a_command_without_the_privilege_is_not_accused() {
        let mut world = World::new();
        world.policy_mut().command = Some(Command::Delete);
        world.policy_mut().using = Some("true".to_owned());
        assert_eq!(world.findings("policy-ignores-tenant").len(), 1);
        world.table_mut("app.notes").grants.retain(|grant| !grant.privileges.has(Privilege::Delete));
        assert!(world.findings("policy-ignores-tenant").is_empty());
    }

    #[test]
    fn where_each_tenant_has_a_role_the_role_may_name_the_tenant() {
        let mut world = World::new();
        world.role("app_ann");
        world.estate.tenants[0].roles = vec![ident("app_ann")];
        world.grant_schema("app", "app_ann", Privilege::Usage);
        world.grant("app.notes", "app_ann", Privilege::Select);
        let ann = world.oid("app_ann");
        let mut own = world.policy_mut().clone();
        own.name = ident("ann_only");
        own.command = Some(Command::Select);
        own.roles = vec![ann];
        own.using = Some("((tenant_id)::text = 'key-ann'::text)".to_owned());
        world.catalog.policies.push(own);
        assert!(world.rules().is_empty(), "{:?}", world.check());
        world.catalog.policies.last_mut().unwrap().using =
            Some("((tenant_id)::text = 'key-bob'::text)".to_owned());
        assert_eq!(world.rules(), ["policy-ignores-tenant"]);
    }
}
