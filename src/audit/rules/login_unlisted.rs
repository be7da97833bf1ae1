//! A login that reaches tenants' rows, and that nobody listed.

use std::collections::{BTreeMap, BTreeSet};

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;
use crate::model::catalog::{Command, Oid, PUBLIC, Privilege, Privileges, Relation};

pub(super) static RULE: Rule = Rule {
    id: "login-unlisted",
    family: Family::Roles,
    severity: Severity::Medium,
    evidence: Evidence::Static,
    title: "a login that is not listed reaches tenants' rows",
    what: "A role that can log in, and that tenants.toml names neither as a role nor as a login, may read or write tables that hold tenants' rows, or uses the schemas of several tenants. Medium when nothing binds it to one tenant, informational when the policies do. Not reported: roles with SUPERUSER, BYPASSRLS, CREATEROLE, CREATEDB or REPLICATION and owners of the tables, which administer.",
    why: "Workers, reports and migrations have logins of their own, and an audit of the application's role does not see what those can do.",
    example: "CREATE ROLE worker LOGIN;\nGRANT SELECT ON app.notes TO worker;",
    fix: "List it as role, readonly_role or login_role, so that it is audited like the others, or take its privileges away.",
    references: &["https://www.postgresql.org/docs/current/user-manag.html"],
    covers: &["who-unlisted"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let owners: BTreeSet<Oid> = survey
        .rows()
        .map(|(_, table)| table.owner)
        .chain(survey.estate.tenants.iter().filter_map(|tenant| survey.number(&tenant.owner)))
        .chain(survey.catalog.databases.iter().map(|database| database.owner))
        .collect();
    let mut inside: BTreeMap<Oid, Vec<&Relation>> = BTreeMap::new();
    for relation in survey.catalog.relations.values() {
        if survey.ground(relation.schema).is_some() {
            inside.entry(relation.schema).or_default().push(relation);
        }
    }
    for (role, facts) in &survey.catalog.roles {
        let listed = survey.subjects.iter().any(|subject| subject.role == *role);
        let governs = facts.exempt()
            || facts.create_role
            || facts.create_db
            || facts.replication
            || *role == survey.catalog.reader
            || owners.contains(role);
        if !facts.login || listed || governs {
            continue;
        }
        let closure = survey.reach.closure(*role, &BTreeSet::new());
        // Whoever may grant the owners' roles administers them.
        if closure.keys().any(|reached| owners.contains(reached)) {
            continue;
        }
        let uses = |grantee: Oid| grantee == PUBLIC || closure.contains_key(&grantee);
        let enters = |schema: Oid| {
            survey.catalog.schemas.get(&schema).is_some_and(|schema| {
                schema.grants.iter().any(|g| uses(g.grantee) && g.privileges.has(Privilege::Usage))
            })
        };
        let held = |grants: &[crate::model::catalog::Grant]| {
            // What everybody holds is found by public-grant.
            let held = grants.iter().filter(|grant| closure.contains_key(&grant.grantee));
            held.fold(Privileges::NONE, |sum, grant| sum.or(grant.privileges)).and(Privileges::ROWS)
        };
        let reached: Vec<_> = survey
            .rows()
            .filter(|(_, table)| enters(table.schema))
            .map(|(oid, table)| (oid, table, held(&table.grants)))
            .filter(|(_, _, held)| !held.is_empty())
            .collect();
        let open = reached.iter().find(|(oid, table, held)| {
            Command::ALL.into_iter().any(|command| {
                held.has(command.privilege()) && survey.free(*role, (*oid, table), command)
            })
        });
        let grounds: BTreeSet<&str> = inside
            .iter()
            .filter(|(schema, _)| enters(**schema))
            .filter(|(_, relations)| relations.iter().any(|r| !held(&r.grants).is_empty()))
            .filter_map(|(schema, _)| survey.ground(*schema))
            .map(|ground| ground.tenants[0].id.as_str())
            .collect();
        let (grave, what) = match (open, reached.first(), grounds.len()) {
            (Some((_, table, held)), _, _) => {
                (RULE.severity, format!("holds {held} on {}, where nothing binds it", table.name))
            }
            (None, _, several @ 2..) => {
                (RULE.severity, format!("uses the schemas of {several} tenants"))
            }
            (None, Some((_, table, held)), _) => {
                (Severity::Info, format!("holds {held} on {}, bound by its policies", table.name))
            }
            (None, None, _) => continue,
        };
        let message = format!("login {} is not listed and {what}", facts.name);
        let fix = Fix::Advice(format!(
            "list {} in tenants.toml where the application uses it, or revoke its privileges",
            facts.name
        ));
        found.push(
            RULE.finding(survey.role(*role), message, fix).severity(grave).role(&facts.name),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::audit::finding::Severity;
    use crate::audit::fixture::*;
    use crate::model::catalog::*;

    #[test]
    fn a_worker_is_informational_until_a_policy_opens_for_it() {
        let mut world = World::new();
        world.role("nobody");
        world.grant("app.notes", "nobody", Privilege::Select);
        assert!(world.rules().is_empty(), "nobody can log in as nobody");
        world.login("worker", "app.notes", Privilege::Select);
        let found = world.findings("login-unlisted");
        assert_eq!((found.len(), found[0].severity), (1, Severity::Info));
        let mut open = world.policy_mut().clone();
        open.name = ident("worker_reads");
        open.roles = vec![world.oid("worker")];
        open.using = Some("true".to_owned());
        world.catalog.policies.push(open);
        assert_eq!(world.findings("login-unlisted")[0].severity, Severity::Medium);
        assert_eq!(world.rules(), ["login-unlisted"]);
        world.role_mut("worker").bypass_rls = true;
        assert!(world.rules().is_empty(), "a role that dumps is no forgotten one");
    }

    #[test]
    fn several_tenants_schemas_are_accused_and_one_is_not() {
        let mut world = World::new();
        world.login("job", "tenant_cat.notes", Privilege::Select);
        assert!(world.rules().is_empty());
        world.grant_schema("tenant_dan", "job", Privilege::Usage);
        world.grant("tenant_dan.notes", "job", Privilege::Select);
        assert_eq!(world.rules(), ["login-unlisted"]);
    }
}
