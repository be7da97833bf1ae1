//! A parent table through which a tenant reads other tenants' children.

use std::collections::BTreeMap;

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;
use crate::model::catalog::{Oid, Privileges};
use crate::sql;

pub(super) static RULE: Rule = Rule {
    id: "parent-reads-children",
    family: Family::Schemas,
    severity: Severity::Critical,
    evidence: Evidence::Static,
    title: "a parent table shows the rows of every tenant's child",
    what: "A role of a tenant may use a parent of inheritance or partitioning that has a child in another tenant's schema. Not reported: parents whose policies bind the reader, and parents that nobody of the application may use.",
    why: "A query on the parent reads all its children and asks for no privilege on them: the grant on the parent opens every schema.",
    example: "CREATE TABLE tenant_dan.notes () INHERITS (public.notes);\nGRANT SELECT ON public.notes TO app_tenant_cat;",
    fix: "REVOKE the parent, or ALTER TABLE … NO INHERIT.",
    references: &["https://www.postgresql.org/docs/current/ddl-inherit.html", "https://www.postgresql.org/docs/current/ddl-rowsecurity.html"],
    covers: &["schema-parent"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut children: BTreeMap<Oid, Vec<Oid>> = BTreeMap::new();
    for (oid, relation) in &survey.catalog.relations {
        if let Some(parent) = relation.parent {
            children.entry(parent).or_default().push(*oid);
        }
    }
    let mut found = Vec::new();
    for root in children.keys() {
        let Some(parent) = survey.catalog.relations.get(root) else { continue };
        for (subject, held) in survey.reaching(parent, Privileges::ROWS) {
            let mut todo = children.get(root).cloned().unwrap_or_default();
            let mut foreign = None;
            while let Some(next) = todo.pop() {
                todo.extend(children.get(&next).into_iter().flatten());
                let child = survey.catalog.relations.get(&next);
                let elsewhere = child.filter(|child| {
                    child.schema != parent.schema
                        && survey.ground(child.schema).is_some_and(|ground| {
                            ground.tenants.iter().all(|own| !subject.acts_for(&own.id))
                        })
                });
                foreign = foreign.or(elsewhere);
            }
            // Policies of the parent bind what is read through it.
            let bound = parent.rls && !survey.exempt(subject.role, parent);
            let Some(child) = foreign.filter(|_| !bound) else { continue };
            let owner = survey.ground(child.schema).map(|ground| &ground.tenants[0].id);
            let message = format!(
                "{} reads {} of tenant {} through its parent {}",
                subject.name,
                child.name,
                owner.map_or("another", crate::model::tenant::TenantId::as_str),
                parent.name
            );
            let fix = Fix::Sql(vec![sql!("REVOKE ALL ON {} FROM {}", parent.name, subject.name)]);
            found.push(
                RULE.finding(survey.relation(parent), message, fix)
                    .role(subject.name)
                    .operation(held)
                    .tenants(owner.into_iter().chain(subject.tenants.iter().map(|t| &t.id).take(1))),
            );
            break;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;
    use crate::model::catalog::*;

    #[test]
    fn a_granted_parent_is_accused_and_an_ungranted_one_is_not() {
        let mut world = World::new();
        world.add_schema("public", "admin");
        world.grant_schema("public", "public", Privilege::Usage);
        let parent = world.table("public", "notes", "admin");
        for child in ["tenant_cat.notes", "tenant_dan.notes"] {
            world.table_mut(child).parent = Some(parent);
        }
        assert!(world.rules().is_empty());
        world.grant("public.notes", "app_cat", Privilege::Select);
        assert_eq!(world.rules(), ["parent-reads-children"]);
    }
}
