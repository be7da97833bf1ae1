//! A partition that can be reached past its parent's policies.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;
use crate::model::catalog::Privileges;
use crate::sql;

pub(super) static RULE: Rule = Rule {
    id: "partition-exposed",
    family: Family::Tables,
    severity: Severity::Critical,
    evidence: Evidence::Static,
    title: "a partition or child table is granted without policies of its own",
    what: "A role of the application is granted a partition, or an inheritance child, that has no row-level security of its own. Not reported: partitions that no role of the application is granted.",
    why: "Policies of a partitioned table guard statements that name it, and no others: whoever is granted a partition reads it unfiltered.",
    example: "GRANT SELECT ON ALL TABLES IN SCHEMA app TO app_rw;  -- partitions included",
    fix: "REVOKE the grant: access through the parent needs none on the partition.",
    references: &["https://www.postgresql.org/docs/current/ddl-partitioning.html", "https://www.postgresql.org/docs/current/ddl-inherit.html", "https://www.postgresql.org/docs/current/ddl-rowsecurity.html"],
    covers: &["table-partition"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (_, table) in survey.tables().filter(|(_, table)| !table.rls) {
        let parent = table
            .parent
            .filter(|parent| survey.tenant_tables.contains(parent))
            .and_then(|parent| survey.catalog.relations.get(&parent));
        let Some(parent) = parent else { continue };
        // Who can act as the owner needs no grant, and is found by role-reaches-owner.
        let granted = survey
            .reaching(table, Privileges::ROWS)
            .find(|(subject, _)| !subject.closure.contains_key(&table.owner));
        let Some((subject, held)) = granted else { continue };
        let message = format!(
            "{} can name {} directly, past the policies of {}",
            subject.name, table.name, parent.name
        );
        let fix = Fix::Sql(vec![sql!("REVOKE ALL ON {} FROM {}", table.name, subject.name)]);
        found.push(
            RULE.finding(survey.relation(table), message, fix).role(subject.name).operation(held),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;
    use crate::model::catalog::*;

    #[test]
    fn a_granted_partition_is_accused_and_an_ungranted_one_is_not() {
        let mut world = World::new();
        let parent = world.relation_oid("app.notes");
        world.table("app", "notes_1", "app_owner");
        let child = world.table_mut("app.notes_1");
        child.columns.push(column("tenant_id", "uuid"));
        child.parent = Some(parent);
        assert!(world.rules().is_empty());
        world.grant("app.notes_1", "app_rw", Privilege::Select);
        assert_eq!(world.rules(), ["partition-exposed"]);
    }
}
