//! A restrictive policy that its role can leave.

use super::{Family, Rule};
use crate::audit::cve;
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;
use crate::model::catalog::{Command, PUBLIC, Policy, Privileges};
use crate::sql;

pub(super) static RULE: Rule = Rule {
    id: "policy-floor-named",
    family: Family::Policies,
    severity: Severity::Low,
    evidence: Evidence::Static,
    title: "a restrictive policy that makes a table sound is for named roles only",
    what: "A table is sound only because of a restrictive policy, and that policy is for named roles. High on a server where a role can leave it (before PostgreSQL 15.20 and its siblings), low on a mended one. Not reported: restrictive policies for everybody, and those without which the table would be sound as well.",
    why: "DROP OWNED BY takes a role out of the policies that name it (CVE-2026-116311), and the next role that is made is not in the list.",
    example: "CREATE POLICY floor ON app.notes AS RESTRICTIVE TO app_rw USING (tenant_id = …);",
    fix: "ALTER POLICY … TO PUBLIC.",
    references: &["https://www.postgresql.org/docs/current/sql-createpolicy.html", "https://www.postgresql.org/support/security/"],
    covers: &["policy-floor", "version-cve"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let open = cve::leaves_floors(survey.catalog.version);
    for (oid, table) in survey.tables().filter(|(_, table)| table.rls) {
        for floor in survey.policies(oid).iter().filter(|policy| !policy.permissive) {
            if floor.roles.contains(&PUBLIC) {
                continue;
            }
            let user = survey.reaching(table, Privileges::ROWS).find(|(subject, _)| {
                survey.applies(floor, subject.role) && needed(survey, subject.role, (oid, table), floor)
            });
            let Some((subject, held)) = user else { continue };
            let message = format!(
                "only policy {} ties {} to the tenant, and it is for named roles: {}",
                floor.name,
                table.name,
                if open { "on this server its role can leave it with DROP OWNED BY" } else { "a role that is made later is not bound" }
            );
            let fix = Fix::Sql(vec![sql!("ALTER POLICY {} ON {} TO PUBLIC", floor.name, table.name)]);
            let grave = if open { Severity::High } else { RULE.severity };
            found.push(
                RULE.finding(survey.part("policy", &floor.name, table), message, fix)
                    .severity(grave)
                    .role(subject.name)
                    .operation(held),
            );
        }
    }
    found
}

/// Whether a table would be open for a role without a restrictive policy.
fn needed(
    survey: &Survey<'_>,
    role: u32,
    (oid, table): (u32, &crate::model::catalog::Relation),
    floor: &Policy,
) -> bool {
    let tied = |policy: &Policy| {
        let seen = policy.seen(Command::Select).or(policy.written(Command::Insert));
        seen.is_none_or(|side| survey.tied(policy, table, side))
    };
    let others: Vec<_> = survey
        .policies(oid)
        .iter()
        .filter(|other| other.name != floor.name && survey.applies(other, role))
        .collect();
    let held = others.iter().any(|other| !other.permissive && tied(other));
    tied(floor) && !held && others.iter().any(|other| other.permissive && !tied(other))
}

#[cfg(test)]
mod tests {
    use crate::audit::finding::Severity;
    use crate::audit::fixture::*;

    #[test]
    fn a_floor_for_everybody_is_sound_and_one_for_a_role_depends_on_the_server() {
        let mut world = World::new();
        let mut open = world.policy_mut().clone();
        open.name = ident("everything");
        open.using = Some("true".to_owned());
        open.check = open.using.clone();
        world.catalog.policies.push(open);
        world.policy_mut().permissive = false;
        assert!(world.rules().is_empty());
        let role = world.oid("app_rw");
        world.policy_mut().roles = vec![role];
        world.catalog.version = 150_020;
        let found = world.findings("policy-floor-named");
        assert_eq!((found.len(), found[0].severity), (1, Severity::Low));
        world.catalog.version = 150_018;
        assert_eq!(world.findings("policy-floor-named")[0].severity, Severity::High);
        world.catalog.policies.last_mut().unwrap().using = Some(TIED.to_owned());
        assert!(world.findings("policy-floor-named").is_empty());
    }
}
