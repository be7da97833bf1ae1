//! A tenants' table without an index that begins with the tenant column.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;
use crate::model::catalog::Privileges;
use crate::sql;

pub(super) static RULE: Rule = Rule {
    id: "tenant-index-missing",
    family: Family::Performance,
    severity: Severity::Low,
    evidence: Evidence::Static,
    title: "no index of a tenants' table begins with the tenant column",
    what: "No valid index of a table with the tenant column begins with that column. Not reported: partitions, and tables that the application may not use.",
    why: "Every query has the policy's comparison as a condition. Without the index it reads all tenants' rows to find one's own, and how long it takes tells how many others there are.",
    example: "CREATE TABLE app.notes (id uuid PRIMARY KEY, tenant_id uuid NOT NULL);",
    fix: "CREATE INDEX CONCURRENTLY, or let primary and unique keys begin with the tenant column.",
    references: &["https://www.postgresql.org/docs/current/indexes-multicolumn.html"],
    covers: &["speed-index"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let Some(tenancy) = &survey.estate.tenancy else { return Vec::new() };
    let mut found = Vec::new();
    for (oid, table) in survey.tables().filter(|(_, table)| table.parent.is_none()) {
        let indexed = survey.catalog.around.indexes.iter().any(|index| {
            index.relation == oid && index.valid && index.columns.first() == Some(&tenancy.column)
        });
        if indexed || survey.reaching(table, Privileges::ROWS).next().is_none() {
            continue;
        }
        let message = format!("no index of {} begins with {}", table.name, tenancy.column);
        let fix = sql!("CREATE INDEX ON {} ({})", table.name, tenancy.column);
        found.push(RULE.finding(survey.relation(table), message, Fix::Sql(vec![fix])));
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;

    #[test]
    fn an_index_counts_when_it_begins_with_the_tenant_and_is_valid() {
        let mut world = World::new();
        world.catalog.around.indexes[0].valid = false;
        assert_eq!(world.rules(), ["tenant-index-missing"]);
        world.catalog.around.indexes[0].valid = true;
        assert!(world.rules().is_empty());
        world.catalog.around.indexes[0].columns.reverse();
        assert_eq!(world.rules(), ["tenant-index-missing"]);
    }
}
