//! The application reaches a role that may replicate.

use super::Rule;
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;
use crate::sql;

pub(super) static RULE: Rule = Rule {
    id: "role-replicates",
    severity: Severity::High,
    evidence: Evidence::Static,
    title: "the application reaches a role that may replicate",
    docs: "A role with REPLICATION can copy the whole cluster, or decode every change of every tenant from a replication slot; policies do not apply to either. SET ROLE is enough to create a slot and read it. Fix: ALTER ROLE … NOREPLICATION, and a role of its own for replication.",
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for subject in &survey.subjects {
        for (reached, path) in &subject.closure {
            let Some(role) = survey.catalog.roles.get(reached) else { continue };
            // A superuser is worse, and has rules of its own.
            if !role.replication || role.superuser || !path.becomes {
                continue;
            }
            let message = format!(
                "role {} can stream every tenant's changes, or copy the cluster, as {}",
                subject.name,
                survey.path(&path.roles)
            );
            let fix = Fix::Sql(vec![sql!("ALTER ROLE {} NOREPLICATION", role.name)]);
            found.push(
                RULE.finding(survey.role(*reached), message, fix)
                    .role(subject.name)
                    .tenants(subject.tenants.iter().map(|tenant| &tenant.id)),
            );
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;

    #[test]
    fn the_applications_role_is_accused_and_another_is_not() {
        let mut world = World::new();
        world.role_mut("stranger").replication = true;
        assert!(world.findings("role-replicates").is_empty());
        world.role_mut("app_rw").replication = true;
        let found = world.findings("role-replicates");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].object.name, "app_rw");
    }
}
