//! Large objects, which no policy guards.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::{Subject, Survey};
use crate::model::catalog::{PUBLIC, Privilege, Privileges, SessionDefault};
use crate::model::tenant::Isolation;

pub(super) static RULE: Rule = Rule {
    id: "large-objects-shared",
    family: Family::SideDoors,
    severity: Severity::High,
    evidence: Evidence::Static,
    title: "large objects are open to a role that works for several tenants",
    what: "A role that works for several tenants, another tenant's role or PUBLIC may use large objects that exist, or lo_compat_privileges is on. Not reported: large objects of one tenant's role, and of roles that the application does not reach.",
    why: "A large object has an owner and grants, and neither schema nor policy; its number is easily tried.",
    example: "SELECT lo_create(0); -- as the role that all tenants share",
    fix: "Store bytes in a table with row-level security, or give each tenant a role.",
    references: &["https://www.postgresql.org/docs/current/largeobjects.html", "https://www.postgresql.org/docs/current/sql-grant.html"],
    covers: &["code-large-object"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let wanted: Privileges = [Privilege::Select, Privilege::Update].into_iter().collect();
    let total: i64 = survey.catalog.around.large_objects.iter().map(|some| some.count).sum();
    let mine = survey.estate.of(Isolation::Database).any(|tenant| {
        tenant.placement.database == survey.catalog.database
    });
    for some in &survey.catalog.around.large_objects {
        let hit = survey.subjects.iter().find_map(|subject| {
            let held = survey.privileges(subject, some.owner, &some.grants).and(wanted);
            (!held.is_empty() && crosses(survey, subject, some.owner)).then_some((subject, held))
        });
        let Some((subject, held)) = hit.filter(|_| !mine) else { continue };
        let owner = survey.catalog.role_name(some.owner);
        let message = format!(
            "{} holds {held} on {} large objects of {owner}, whichever tenant it works for",
            subject.name, some.count
        );
        let fix = Fix::Advice("store the bytes in a table with row-level security".to_owned());
        found.push(
            RULE.finding(survey.object("large objects", &owner), message, fix)
                .role(subject.name)
                .operation(held),
        );
    }
    let on = |default: &&SessionDefault| {
        default.name == "lo_compat_privileges" && ["on", "true", "yes", "1"].contains(&default.value.as_str())
    };
    let listed = |default: &&SessionDefault| {
        default.role.is_none_or(|role| survey.subjects.iter().any(|subject| subject.role == role))
    };
    let default = survey.catalog.session_defaults.iter().filter(on).any(|d| listed(&d));
    if total > 0 && (survey.catalog.around.large_objects_open || default) {
        let object = survey.object("setting", &"lo_compat_privileges");
        let message = format!("lo_compat_privileges opens {total} large objects to everybody");
        let fix = Fix::Advice("set lo_compat_privileges to off".to_owned());
        found.push(RULE.finding(object, message, fix));
    }
    found
}

/// Whether a subject would reach others' objects: it works for several tenants, or is not the owner.
fn crosses(survey: &Survey<'_>, subject: &Subject<'_>, owner: u32) -> bool {
    if subject.login {
        return subject.closure.get(&owner).is_some_and(|path| path.inherited);
    }
    let own = owner == subject.role
        || subject.tenants.iter().any(|tenant| survey.number(&tenant.owner) == Some(owner));
    owner != PUBLIC && (subject.tenants.len() != 1 || !own)
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;
    use crate::model::surroundings::LargeObjects;

    #[test]
    fn the_shared_role_is_accused_and_one_tenants_own_is_not() {
        let mut world = World::new();
        let objects = |owner| LargeObjects { owner, count: 3, grants: Vec::new() };
        let (cat, stranger, shared) =
            (world.oid("app_cat"), world.oid("stranger"), world.oid("app_rw"));
        world.catalog.around.large_objects = vec![objects(cat), objects(stranger)];
        assert!(world.rules().is_empty(), "{:?}", world.check());
        world.catalog.around.large_objects.push(objects(shared));
        assert_eq!(world.rules(), ["large-objects-shared"]);
        world.catalog.around.large_objects.truncate(1);
        world.catalog.around.large_objects_open = true;
        assert_eq!(world.rules(), ["large-objects-shared"]);
    }
}
