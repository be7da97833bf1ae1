//! A role of the application that is, or can become, the owner of tenants' tables.

use std::collections::BTreeMap;

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;
use crate::model::catalog::Oid;
use crate::sql;

pub(super) static RULE: Rule = Rule {
    id: "role-reaches-owner",
    family: Family::Roles,
    severity: Severity::High,
    evidence: Evidence::Static,
    title: "the application reaches the owner of tables that tenants share",
    what: "A role of the application is the owner of tables that tenants share, or can become it. Tables without FORCE have the finding rls-not-forced as well.",
    why: "The owner of a table may switch its row-level security off, drop its policies and grant it to others. FORCE binds the owner's reads and writes only: ALTER TABLE … DISABLE ROW LEVEL SECURITY is still one statement away.",
    example: "ALTER TABLE app.notes OWNER TO app_rw;",
    fix: "Let a role without login own the tables, which no role of the application is a member of.",
    references: &["https://www.postgresql.org/docs/current/ddl-rowsecurity.html", "https://www.postgresql.org/docs/current/role-membership.html"],
    covers: &["who-owner", "who-owner-forced", "who-path", "who-options"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut owned: BTreeMap<Oid, Vec<String>> = BTreeMap::new();
    for (_, table) in survey.tables() {
        owned.entry(table.owner).or_default().push(table.name.to_string());
    }
    let mut found = Vec::new();
    for subject in &survey.subjects {
        for (owner, tables) in &owned {
            let Some(path) = subject.closure.get(owner) else { continue };
            if survey.catalog.roles.get(owner).is_some_and(|role| role.superuser) {
                continue;
            }
            let more = match tables.len() - 1 {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let how = if *owner == subject.role {
                "owns".to_owned()
            } else {
                format!("can act as {}, which owns", survey.path(&path.roles))
            };
            let message = format!("role {} {how} {}{more}", subject.name, tables[0]);
            let fix = match path.roles[..] {
                [.., member, last] => survey.ident(member).zip(survey.ident(last)).map(
                    |(member, last)| Fix::Sql(vec![sql!("REVOKE {} FROM {}", last, member)]),
                ),
                _ => None,
            };
            let fix = fix.unwrap_or_else(|| {
                Fix::Advice(
                    "give the tables to a NOLOGIN role that the application is no member of: \
                     ALTER TABLE … OWNER TO …"
                        .to_owned(),
                )
            });
            found.push(RULE.finding(survey.role(*owner), message, fix).role(subject.name));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;

    #[test]
    fn ownership_by_any_path_is_accused_and_an_unreachable_owner_is_not() {
        let mut world = World::new();
        world.member("stranger", "app_owner", "is");
        assert!(world.findings("role-reaches-owner").is_empty());
        world.member("app_rw", "app_owner", "a");
        assert_eq!(world.findings("role-reaches-owner").len(), 1);
    }
}
