//! Rows of tenants that go when a row goes which no tenant owns.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;
use crate::model::catalog::{Cascade, Command, Privilege, Privileges};

pub(super) static RULE: Rule = Rule {
    id: "cascade-from-shared",
    family: Family::Integrity,
    severity: Severity::High,
    evidence: Evidence::Static,
    title: "one statement on a common table removes or changes rows of all tenants",
    what: "A tenants' table refers to a common table with ON DELETE or ON UPDATE CASCADE, SET NULL or SET DEFAULT, and a role of the application may remove or change rows there. Not reported: common tables that the application only reads, and tables whose policies tie the row to the tenant.",
    why: "Cascades run as the owner of the table and past row-level security: one statement removes or changes the rows of every tenant that refer to the row.",
    example: "ALTER TABLE app.notes ADD FOREIGN KEY (label) REFERENCES app.labels ON DELETE CASCADE;\nGRANT DELETE ON app.labels TO app_rw;",
    fix: "Use ON DELETE RESTRICT, or REVOKE DELETE and UPDATE on the common table.",
    references: &["https://www.postgresql.org/docs/current/ddl-constraints.html#DDL-CONSTRAINTS-FK"],
    covers: &["key-cascade"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for key in &survey.catalog.foreign_keys {
        let (Some(child), Some(parent)) =
            (survey.catalog.relations.get(&key.child), survey.catalog.relations.get(&key.parent))
        else {
            continue;
        };
        // A parent that holds tenants' rows has rules of its own.
        let common = !survey.holds_rows(key.parent) && survey.ground(parent.schema).is_none();
        if !survey.holds_rows(key.child) || !common {
            continue;
        }
        let mut fires = Privileges::NONE;
        for (cascade, command) in
            [(key.on_delete, Command::Delete), (key.on_update, Command::Update)]
        {
            if cascade != Cascade::None {
                fires = fires.with(command.privilege());
            }
        }
        let hit = survey.reaching(parent, fires).find_map(|(subject, held)| {
            let open: Privileges = [Command::Delete, Command::Update]
                .into_iter()
                .filter(|command| held.has(command.privilege()))
                .filter(|command| survey.free(subject.role, (key.parent, parent), *command))
                .map(Command::privilege)
                .collect();
            (!open.is_empty() && !subject.closure.contains_key(&parent.owner))
                .then_some((subject, open))
        });
        let Some((subject, open)) = hit else { continue };
        let what = if open.has(Privilege::Delete) && key.on_delete == Cascade::Follow {
            "removes"
        } else {
            "changes"
        };
        let message = format!(
            "{open} by {} on {} {what} rows of {} whosever they are, by key {}",
            subject.name, parent.name, child.name, key.name
        );
        let fix = Fix::Advice(format!(
            "REVOKE {open} ON {} FROM {}, or ON DELETE RESTRICT",
            parent.name, subject.name
        ));
        found.push(
            RULE.finding(survey.part("constraint", &key.name, child), message, fix)
                .role(subject.name)
                .operation(open),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;
    use crate::model::catalog::*;

    #[test]
    fn a_cascade_is_accused_where_its_parent_can_be_removed() {
        let mut world = World::new();
        let (notes, countries) =
            (world.relation_oid("app.notes"), world.relation_oid("app.countries"));
        let mut cascade = key(notes, countries, &[("country", "id")]);
        cascade.on_delete = Cascade::Follow;
        world.catalog.foreign_keys.push(cascade);
        assert!(world.rules().is_empty());
        world.grant("app.countries", "app_rw", Privilege::Delete);
        assert_eq!(world.rules(), ["cascade-from-shared"]);
        world.catalog.foreign_keys[0].on_delete = Cascade::None;
        assert!(world.rules().is_empty());
    }
}
