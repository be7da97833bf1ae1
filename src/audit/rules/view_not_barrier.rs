//! A view whose filter on the tenant runs beside conditions from outside.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;
use crate::audit::viewed::{Guard, shown};
use crate::model::catalog::{Privilege, Privileges};
use crate::sql;

pub(super) static RULE: Rule = Rule {
    id: "view-not-barrier",
    family: Family::SideDoors,
    severity: Severity::High,
    evidence: Evidence::Static,
    title: "a view that filters by the tenant lets conditions from outside run first",
    what: "A view that reads with its owner's rights filters by the tenant, and has no security_barrier. Not reported: views that read as their caller, or whose owner the policies bind.",
    why: "The planner joins a caller's WHERE with the view's own and runs the cheaper first: a temporary function, or a division that fails, sees rows of other tenants before the filter removed them.",
    example: "CREATE VIEW app.mine AS SELECT * FROM app.notes WHERE tenant_id = app.current_tenant(); -- by a superuser",
    fix: "ALTER VIEW … SET (security_barrier = true); from PostgreSQL 15 on security_invoker leaves the filter to the policies.",
    references: &["https://www.postgresql.org/docs/current/rules-privileges.html"],
    covers: &["code-barrier"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let reads = Privileges::NONE.with(Privilege::Select);
    for view in survey.catalog.relations.values().filter(|relation| relation.kind.is_view()) {
        let Some((subject, held)) = survey.reaching(view, reads).next() else { continue };
        let shown = shown(survey, view, subject, held);
        if shown.iter().any(|shown| shown.guard == Guard::None) {
            continue;
        }
        let open = shown.iter().find(|shown| shown.guard == Guard::Filter { barrier: false });
        let Some(leak) = open else { continue };
        let message = format!(
            "view {} filters {} by the tenant without a barrier: conditions of {} see the others' rows",
            view.name, leak.base.name, subject.name
        );
        let fix = Fix::Sql(vec![sql!("ALTER VIEW {} SET (security_barrier = true)", view.name)]);
        found.push(
            RULE.finding(survey.relation(view), message, fix).role(subject.name).operation(held),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;
    use crate::model::catalog::*;

    #[test]
    fn a_filter_without_a_barrier_is_accused_and_a_bound_owner_is_not() {
        let mut world = World::new();
        for (name, owner) in [("mine", "admin"), ("ours", "app_owner")] {
            world.view("app", name, owner, "app.notes");
            let view = world.table_mut(&format!("app.{name}")).view.as_mut().unwrap();
            view.definition = format!("SELECT n.id FROM app.notes n WHERE {TIED};");
            world.grant(&format!("app.{name}"), "app_rw", Privilege::Select);
        }
        let found = world.findings("view-not-barrier");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].object.name, "app.mine");
        world.table_mut("app.mine").view.as_mut().unwrap().security_barrier = true;
        assert!(world.rules().is_empty());
    }
}
