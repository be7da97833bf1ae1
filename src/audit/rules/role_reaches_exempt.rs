//! A role of the application that can become one which no policy binds.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;
use crate::sql;

pub(super) static RULE: Rule = Rule {
    id: "role-reaches-exempt",
    family: Family::Roles,
    severity: Severity::High,
    evidence: Evidence::Static,
    title: "the application can become a role that no policy binds",
    what: "A role of the application can become a superuser or a role with BYPASSRLS. The whole path of memberships is in the message. Not reported: exempt roles without such a path.",
    why: "SUPERUSER and BYPASSRLS are not inherited, but SET ROLE gives them to whoever may become the role, and ADMIN OPTION gives that to whoever holds it.",
    example: "GRANT admin TO support;\nGRANT support TO app_rw;",
    fix: "Cut any step of the path with REVOKE.",
    references: &["https://www.postgresql.org/docs/current/sql-set-role.html", "https://www.postgresql.org/docs/current/role-membership.html"],
    covers: &["who-path", "who-options"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for subject in &survey.subjects {
        for (reached, path) in &subject.closure {
            let Some(role) = survey.catalog.roles.get(reached) else { continue };
            if *reached == subject.role || !role.exempt() || !path.becomes {
                continue;
            }
            let what = if role.superuser { "a superuser" } else { "a role with BYPASSRLS" };
            let message = format!(
                "role {} can become {what}: {}",
                subject.name,
                survey.path(&path.roles)
            );
            let fix = match path.roles[..] {
                [.., member, last] => survey.ident(member).zip(survey.ident(last)).map(
                    |(member, last)| Fix::Sql(vec![sql!("REVOKE {} FROM {}", last, member)]),
                ),
                _ => None,
            };
            let fix = fix.unwrap_or_else(|| Fix::Advice("revoke one of the memberships".to_owned()));
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
    fn a_path_that_can_be_walked_is_named_and_an_inherited_attribute_is_none() {
        let mut world = World::new();
        world.member("app_rw", "stranger", "i");
        world.member("stranger", "admin", "s");
        assert!(world.findings("role-reaches-exempt").is_empty());
        world.member("app_rw", "stranger", "s");
        let found = world.findings("role-reaches-exempt");
        assert_eq!(found.len(), 1);
        assert!(found[0].message.ends_with("app_rw -> stranger (inherited, SET ROLE) -> admin (SET ROLE)"), "{found:?}");
    }

    #[test]
    fn granting_a_role_to_oneself_is_a_path() {
        let mut world = World::new();
        world.member("app_rw", "admin", "a");
        assert_eq!(world.findings("role-reaches-exempt").len(), 1);
    }
}
