//! A view whose filter on the tenant does not bind what is written through it.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;
use crate::audit::viewed::{Guard, shown};
use crate::model::catalog::{Privilege, Privileges};
use crate::sql;

pub(super) static RULE: Rule = Rule {
    id: "view-unchecked",
    family: Family::SideDoors,
    severity: Severity::High,
    evidence: Evidence::Static,
    title: "rows of another tenant can be written through a view that filters",
    what: "A role of the application may insert or update through a view that filters by the tenant with its owner's rights and has no CHECK OPTION. Not reported: views that read as their caller, or whose owner the policies bind.",
    why: "A view's WHERE decides what is seen through it, not what is written: any tenant can be stored.",
    example: "CREATE VIEW app.mine WITH (security_barrier) AS SELECT * FROM app.notes\n  WHERE tenant_id = app.current_tenant();\nGRANT INSERT ON app.mine TO app_rw;",
    fix: "ALTER VIEW … SET (check_option = cascaded).",
    references: &["https://www.postgresql.org/docs/current/sql-createview.html"],
    covers: &["code-check"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let writes: Privileges = [Privilege::Insert, Privilege::Update].into_iter().collect();
    for view in survey.catalog.relations.values() {
        let Some(facts) = view.view.as_ref().filter(|facts| !facts.check_option) else { continue };
        let Some((subject, held)) = survey.reaching(view, writes.and(facts.writes)).next() else {
            continue;
        };
        let shown = shown(survey, view, subject, held);
        let filtered = shown.iter().find(|shown| shown.guard != Guard::None);
        let Some(leak) = filtered else { continue };
        let message = format!(
            "{} can write rows of any tenant into {} through view {}, which has no CHECK OPTION",
            subject.name, leak.base.name, view.name
        );
        let fix = Fix::Sql(vec![sql!("ALTER VIEW {} SET (check_option = cascaded)", view.name)]);
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
    fn writing_through_a_filter_is_accused_and_a_check_makes_it_sound() {
        let mut world = World::new();
        world.view("app", "mine", "admin", "app.notes");
        let view = world.table_mut("app.mine").view.as_mut().unwrap();
        view.definition = format!("SELECT n.id FROM app.notes n WHERE {TIED};");
        view.security_barrier = true;
        view.writes = Privileges::ROWS;
        world.grant("app.mine", "app_rw", Privilege::Select);
        assert!(world.rules().is_empty());
        world.grant("app.mine", "app_rw", Privilege::Insert);
        assert_eq!(world.rules(), ["view-unchecked"]);
        world.table_mut("app.mine").view.as_mut().unwrap().check_option = true;
        assert!(world.rules().is_empty());
    }
}
