//! A permissive policy that lets a role write rows in another tenant's name.

use std::collections::BTreeMap;

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::finding::Object;
use crate::audit::survey::Survey;
use crate::model::catalog::{Command, Policy, Privileges};

pub(super) static RULE: Rule = Rule {
    id: "policy-write-unchecked",
    family: Family::Policies,
    severity: Severity::Critical,
    evidence: Evidence::Static,
    title: "a policy lets rows be written for another tenant",
    what: "The condition that judges rows as they will be stored (WITH CHECK, or USING in its place) does not tie them to the current tenant. Not reported: an absent WITH CHECK beside a sound USING, which PostgreSQL uses for ALL and UPDATE, and tables on which a restrictive policy checks the tenant.",
    why: "A looser check than USING lets a tenant insert rows that belong to another, or give its own away; both poison what the other tenant sees.",
    example: "CREATE POLICY add ON app.notes FOR INSERT WITH CHECK (true);",
    fix: "Write the comparison of USING into WITH CHECK as well, or leave WITH CHECK out of a policy FOR ALL.",
    references: &["https://www.postgresql.org/docs/current/sql-createpolicy.html"],
    covers: &["write-insert", "write-move", "policy-command"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (oid, table) in survey.rows().filter(|(_, table)| table.rls) {
        // By policy: the first role for which it is open, and every command for which it is.
        let mut open: BTreeMap<&str, (&Policy, String, Privileges)> = BTreeMap::new();
        for (subject, held) in survey.reaching(table, Privileges::ROWS) {
            for face in survey.faces(subject) {
                for command in [Command::Insert, Command::Update] {
                    if survey.exempt(face, table) || !held.has(command.privilege()) {
                        continue;
                    }
                    for policy in survey.untied(face, (oid, table), command, Policy::written) {
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
            let condition = policy.check.as_deref().or(policy.using.as_deref()).unwrap_or("true");
            let condition = condition.split_whitespace().collect::<Vec<_>>().join(" ");
            let message = format!(
                "policy {} on {} lets {role} write rows for another tenant: WITH CHECK {condition}",
                policy.name, table.name
            );
            let fix = Fix::Advice(format!("ALTER POLICY {} ON {} WITH CHECK (the same comparison as in USING)", policy.name, table.name));
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

    #[test]
    fn a_loose_check_is_accused_and_a_missing_one_is_not() {
        let mut world = World::new();
        world.policy_mut().check = None;
        assert!(world.rules().is_empty());
        world.policy_mut().check = Some("true".to_owned());
        let found = world.findings("policy-write-unchecked");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].operation.as_deref(), Some("INSERT, UPDATE"));
        assert_eq!(world.rules(), ["policy-write-unchecked"]);
    }
}
