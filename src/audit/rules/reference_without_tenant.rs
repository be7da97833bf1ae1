//! A foreign key between tenants' tables that forgets the tenant.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;
use crate::model::catalog::{Cascade, Privilege, Privileges};

pub(super) static RULE: Rule = Rule {
    id: "reference-without-tenant",
    family: Family::Integrity,
    severity: Severity::Medium,
    evidence: Evidence::Static,
    title: "a row may refer to another tenant's row",
    what: "A foreign key between two tables with the tenant column does not hold that column on both sides, and the application may write the table. Not reported: keys to reference tables and to the list of tenants.",
    why: "Foreign keys are checked past row-level security: whether a statement succeeds tells which keys exist, the other tenant can no longer remove its row, and ON DELETE CASCADE removes what hangs on it across tenants.",
    example: "ALTER TABLE app.tasks ADD FOREIGN KEY (note_id) REFERENCES app.notes (id);",
    fix: "Write FOREIGN KEY (tenant column, id) REFERENCES … (tenant column, id).",
    references: &["https://www.postgresql.org/docs/current/ddl-rowsecurity.html", "https://www.postgresql.org/docs/current/ddl-constraints.html#DDL-CONSTRAINTS-FK"],
    covers: &["key-foreign"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let Some(tenancy) = &survey.estate.tenancy else { return Vec::new() };
    let mut found = Vec::new();
    let writes: Privileges = [Privilege::Insert, Privilege::Update].into_iter().collect();
    for key in &survey.catalog.foreign_keys {
        let both = [key.child, key.parent].iter().all(|oid| survey.tenant_tables.contains(oid));
        let paired = key
            .columns
            .iter()
            .any(|(own, theirs)| *own == tenancy.column && *theirs == tenancy.column);
        let (Some(child), Some(parent)) =
            (survey.catalog.relations.get(&key.child), survey.catalog.relations.get(&key.parent))
        else {
            continue;
        };
        if !both || paired || child.parent.is_some() {
            continue;
        }
        let Some((subject, _)) = survey.reaching(child, writes).next() else { continue };
        let cascade = match key.on_delete {
            Cascade::None => "",
            Cascade::Follow => ", and is removed with it",
            Cascade::Empty => ", and is changed with it",
        };
        let message = format!(
            "a row of {} may refer to a row of {} that is another tenant's{cascade}: key {} has no {}",
            child.name, parent.name, key.name, tenancy.column
        );
        let columns = |pick: fn(&(crate::model::ident::Ident, crate::model::ident::Ident)) -> String| {
            key.columns.iter().map(pick).collect::<Vec<_>>().join(", ")
        };
        let fix = Fix::Advice(format!(
            "FOREIGN KEY ({0}, {1}) REFERENCES {2} ({0}, {3}), with a unique key on those",
            tenancy.column,
            columns(|(own, _)| own.to_string()),
            parent.name,
            columns(|(_, theirs)| theirs.to_string())
        ));
        found.push(
            RULE.finding(survey.part("constraint", &key.name, child), message, fix)
                .role(subject.name),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;
    use crate::model::catalog::*;

    #[test]
    fn a_key_without_the_tenant_is_accused_and_one_with_it_is_not() {
        let mut world = World::new();
        let (notes, tasks) = (world.relation_oid("app.notes"), world.relation_oid("app.tasks"));
        let whole = key(tasks, notes, &[("tenant_id", "tenant_id"), ("note_id", "id")]);
        world.grant("app.tasks", "app_rw", Privilege::Insert);
        world.catalog.foreign_keys.push(whole);
        assert!(world.rules().is_empty());
        world.catalog.foreign_keys[0].columns.remove(0);
        assert_eq!(world.rules(), ["reference-without-tenant"]);
        world.table_mut("app.tasks").grants.retain(|g| !g.privileges.has(Privilege::Insert));
        assert!(world.rules().is_empty(), "nobody may write it");
    }
}
