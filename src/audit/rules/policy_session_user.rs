//! A policy that asks who logged in, where everybody logs in as the same role.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;
use crate::model::catalog::Privileges;

pub(super) static RULE: Rule = Rule {
    id: "policy-session-user",
    family: Family::Policies,
    severity: Severity::High,
    evidence: Evidence::Static,
    title: "a policy asks for session_user in a pool that changes roles",
    what: "A permissive policy, or a function that it calls, asks for session_user, while tenants are served by a pool whose sessions change roles. Not reported where no login of a pool is configured.",
    why: "SET ROLE changes current_user and leaves session_user at the pool's login, so that the policy gives every tenant the same answer.",
    example: "CREATE POLICY own ON app.notes USING (owner_role = session_user);",
    fix: "Compare with current_user, or with the tenant setting.",
    references: &["https://www.postgresql.org/docs/current/functions-info.html"],
    covers: &["policy-session-user"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let pooled = survey.subjects.iter().any(|subject| subject.login);
    if !pooled {
        return found;
    }
    for (oid, table) in survey.rows().filter(|(_, table)| table.rls) {
        let Some((subject, _)) = survey.reaching(table, Privileges::ROWS).next() else { continue };
        for policy in survey.policies(oid).iter().filter(|policy| policy.permissive) {
            let bodies = policy
                .functions
                .iter()
                .filter_map(|oid| survey.catalog.functions.get(oid))
                .map(|function| function.body.as_str());
            let texts = [policy.using.as_deref(), policy.check.as_deref()].into_iter().flatten();
            let asks = texts.chain(bodies).any(|text| {
                let text = text.to_ascii_lowercase();
                text.contains("session_user")
            });
            if !asks || !survey.applies(policy, subject.role) {
                continue;
            }
            let message = format!(
                "policy {} on {} asks for session_user, which is the pool's login for every tenant",
                policy.name, table.name
            );
            let fix = Fix::Advice("compare with current_user or with the tenant setting".to_owned());
            found.push(
                RULE.finding(survey.part("policy", &policy.name, table), message, fix)
                    .role(subject.name),
            );
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;

    #[test]
    fn it_matters_where_a_pool_changes_roles() {
        let mut world = World::new();
        let text = format!("({TIED} AND (pg_has_role(SESSION_USER, 'app_rw', 'MEMBER')))");
        world.policy_mut().using = Some(text);
        assert_eq!(world.rules(), ["policy-session-user"]);
        world.estate.login_roles.clear();
        assert!(world.rules().is_empty());
    }
}
