//! A policy that believes a table which the application may write.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;
use crate::model::catalog::{Command, Policy, Privileges};

pub(super) static RULE: Rule = Rule {
    id: "policy-trusts-writable",
    family: Family::Policies,
    severity: Severity::High,
    evidence: Evidence::Static,
    title: "a policy believes a table that the application may write",
    what: "A policy, or a function that it calls, reads a table that a role of the application may insert into or update, where nothing ties those rows to its tenant. Not reported: tables whose policies bind the writer, and tables that the application only reads.",
    why: "A policy that asks a table of memberships is as good as that table: whoever may insert a row there makes himself a member of another tenant.",
    example: "CREATE POLICY member ON app.notes USING (tenant_id IN (SELECT tenant_id FROM app.members WHERE who = current_setting('app.user')));\nGRANT INSERT ON app.members TO app_rw;",
    fix: "REVOKE INSERT and UPDATE on that table, or give it row-level security whose checks compare the tenant.",
    references: &["https://www.postgresql.org/docs/current/ddl-rowsecurity.html"],
    covers: &["policy-trust"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (oid, table) in survey.rows().filter(|(_, table)| table.rls) {
        for policy in survey.policies(oid).iter().filter(|policy| policy.permissive) {
            for trusted in trusted(survey, policy) {
                let Some(other) = survey.catalog.relations.get(&trusted) else { continue };
                let writers = survey.reaching(other, Privileges::ROWS);
                let writer = writers.filter(|(s, _)| survey.applies(policy, s.role)).find_map(
                    |(subject, held)| {
                        let commands = [Command::Insert, Command::Update].into_iter();
                        let open: Privileges = commands
                            .filter(|command| held.has(command.privilege()))
                            .filter(|command| survey.free(subject.role, (trusted, other), *command))
                            .map(Command::privilege)
                            .collect();
                        // Who owns the tables is found by role-reaches-owner.
                        let owns = subject.closure.contains_key(&other.owner);
                        (!open.is_empty() && !owns).then_some((subject, open))
                    },
                );
                let Some((subject, held)) = writer else { continue };
                let message = format!(
                    "policy {} on {} believes {}, and {} holds {held} there, where nothing ties rows to its tenant",
                    policy.name, table.name, other.name, subject.name
                );
                let fix = Fix::Advice(format!(
                    "REVOKE {held} ON {} FROM {}, or protect it as {} is",
                    other.name, subject.name, table.name
                ));
                found.push(
                    RULE.finding(survey.part("policy", &policy.name, table), message, fix)
                        .role(subject.name)
                        .operation(format!("{held} ON {}", other.name)),
                );
            }
        }
    }
    found
}

/// The tables that a policy asks, itself or through its functions.
fn trusted(survey: &Survey<'_>, policy: &Policy) -> Vec<u32> {
    let mut asked = policy.reads.clone();
    for function in policy.functions.iter().filter_map(|oid| survey.catalog.functions.get(oid)) {
        let words = crate::audit::text::relations(&function.body);
        asked.extend(survey.catalog.relations.iter().filter_map(|(oid, relation)| {
            let near = survey.ground(relation.schema).is_none() && relation.kind.is_table();
            (near && words.names(&relation.name)).then_some(*oid)
        }));
    }
    asked.retain(|oid| *oid != policy.relation);
    asked.sort_unstable();
    asked.dedup();
    asked
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;
    use crate::model::catalog::*;

    #[test]
    fn a_table_of_memberships_is_believed_until_somebody_writes_it() {
        let mut world = World::new();
        let members = world.table("app", "members", "app_owner");
        world.grant("app.members", "app_rw", Privilege::Select);
        world.policy_mut().reads = vec![members];
        assert!(world.rules().is_empty());
        world.grant("app.members", "app_rw", Privilege::Insert);
        assert_eq!(world.rules(), ["policy-trusts-writable"]);
        world.protect("app.members");
        assert!(world.findings("policy-trusts-writable").is_empty());
    }

    #[test]
    fn a_function_believes_as_well() {
        let mut world = World::new();
        world.table("app", "members", "app_owner");
        world.grant("app.members", "app_rw", Privilege::Update);
        let body = "SELECT m.tenant FROM app.members m WHERE m.who = current_user";
        let function = world.function("app", "mine", "app_owner", body);
        world.policy_mut().functions = vec![function];
        assert_eq!(world.rules(), ["policy-trusts-writable"]);
    }
}
