//! A view that shows tenants' rows with rights other than its caller's.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;
use crate::audit::viewed::{Guard, Shown, on_grounds, shown};
use crate::model::catalog::{Privileges, RelationKind};
use crate::sql;

pub(super) static RULE: Rule = Rule {
    id: "definer-view",
    family: Family::SideDoors,
    severity: Severity::Critical,
    evidence: Evidence::Static,
    title: "a view shows tenants' rows past row-level security",
    what: "The application may read a view without security_invoker whose owner no policy binds (it is a superuser, has BYPASSRLS, or owns a table without FORCE), or a materialized view over tenants' rows. Not reported: views that no role of the application is granted, whose owner the policies bind, or that filter by the tenant setting behind a security barrier.",
    why: "A view reads as its owner and shows every tenant's rows to whoever may read it; a materialized view always holds what its owner saw.",
    example: "CREATE VIEW app.recent_notes AS SELECT * FROM app.notes WHERE created_at > now() - interval '1 day';\nGRANT SELECT ON app.recent_notes TO app_rw;  -- created by a superuser",
    fix: "From PostgreSQL 15 on ALTER VIEW … SET (security_invoker = true); before, give the view an owner that the policies bind. REVOKE materialized views, and read them through a view that filters.",
    references: &["https://www.postgresql.org/docs/current/sql-createview.html", "https://www.postgresql.org/docs/current/rules-privileges.html"],
    covers: &["code-view", "code-materialized"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for view in survey.catalog.relations.values().filter(|relation| relation.kind.is_view()) {
        // Where no tenant's own ground is shown, what one sees all do.
        let readers = if on_grounds(survey, view) { usize::MAX } else { 1 };
        let leak = survey.reaching(view, Privileges::ROWS).take(readers).find_map(|(subject, held)| {
            let mut shown = shown(survey, view, subject, held).into_iter();
            Some((subject, held, shown.find(|shown| shown.guard == Guard::None)?))
        });
        let Some((subject, held, Shown { base, reader, .. })) = leak else { continue };
        let message = format!(
            "{} {} shows {} rows of {} as {}",
            view.kind.word(),
            view.name,
            subject.name,
            base.name,
            survey.catalog.role_name(reader)
        );
        let fix = if view.kind == RelationKind::Materialized {
            Fix::Sql(vec![sql!("REVOKE ALL ON {} FROM {}", view.name, subject.name)])
        } else if survey.catalog.version >= 150_000 {
            Fix::Sql(vec![sql!("ALTER VIEW {} SET (security_invoker = true)", view.name)])
        } else {
            Fix::Advice(format!(
                "PostgreSQL 14 has no security_invoker: give {} to a role that the policies bind",
                view.name
            ))
        };
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

    fn read(world: &mut World, view: &str) {
        world.grant(view, "app_rw", Privilege::Select);
    }

    #[test]
    fn an_exempt_owner_is_accused_and_a_bound_one_is_not() {
        let mut world = World::new();
        world.view("app", "bound", "app_owner", "app.notes");
        read(&mut world, "app.bound");
        world.view("app", "ungranted", "admin", "app.notes");
        world.view("app", "all_notes", "admin", "app.notes");
        assert!(world.rules().is_empty(), "{:?}", world.check());
        read(&mut world, "app.all_notes");
        assert_eq!(world.rules(), ["definer-view"]);
        world.table_mut("app.all_notes").view.as_mut().unwrap().security_invoker = true;
        assert!(world.rules().is_empty());
    }

    #[test]
    fn an_invoker_view_over_a_definer_view_is_followed() {
        let mut world = World::new();
        world.view("app", "below", "admin", "app.notes");
        world.view("app", "outer_notes", "app_owner", "app.below");
        world.table_mut("app.outer_notes").view.as_mut().unwrap().security_invoker = true;
        read(&mut world, "app.outer_notes");
        assert_eq!(world.rules(), ["definer-view"]);
    }

    #[test]
    fn a_copy_of_what_an_invoker_view_shows_is_a_copy() {
        let mut world = World::new();
        world.view("app", "live", "app_owner", "app.notes");
        world.table_mut("app.live").view.as_mut().unwrap().security_invoker = true;
        world.view("app", "kept", "app_owner", "app.live");
        read(&mut world, "app.kept");
        assert!(world.rules().is_empty(), "{:?}", world.check());
        world.table_mut("app.kept").kind = RelationKind::Materialized;
        assert_eq!(world.rules(), ["definer-view"]);
    }

    #[test]
    fn whoever_comes_from_elsewhere_is_accused_whoever_comes_first() {
        let mut world = World::new();
        world.view("app", "prices", "admin", "tenant_dan.notes");
        for role in ["app_dan", "app_cat"] {
            world.grant_schema("app", role, Privilege::Usage);
        }
        world.grant("app.prices", "app_dan", Privilege::Select);
        assert!(world.findings("definer-view").is_empty(), "{:?}", world.check());
        world.grant("app.prices", "app_cat", Privilege::Select);
        assert_eq!(world.findings("definer-view")[0].role.as_deref(), Some("app_cat"));
        world.estate.tenants.reverse();
        assert_eq!(world.findings("definer-view")[0].role.as_deref(), Some("app_cat"));
    }

    #[test]
    fn a_barrier_with_the_tenants_filter_is_sound_and_a_materialized_view_never_is() {
        let mut world = World::new();
        world.view("app", "mine", "admin", "app.notes");
        read(&mut world, "app.mine");
        let view = world.table_mut("app.mine").view.as_mut().unwrap();
        view.security_barrier = true;
        view.definition = format!("SELECT n.id FROM app.notes n WHERE {TIED};");
        assert!(world.rules().is_empty());
        world.table_mut("app.mine").kind = RelationKind::Materialized;
        assert_eq!(world.rules(), ["definer-view"]);
    }
}
