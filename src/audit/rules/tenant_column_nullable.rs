//! A tenant column that may be empty.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;
use crate::model::catalog::Privileges;
use crate::sql;

pub(super) static RULE: Rule = Rule {
    id: "tenant-column-nullable",
    family: Family::Tables,
    severity: Severity::Low,
    evidence: Evidence::Static,
    title: "the tenant column of a shared table accepts NULL",
    what: "The tenant column of a shared table accepts NULL. Partitions follow their parent and are not reported.",
    why: "A row without a tenant belongs to nobody: no sound policy shows it to anyone, and a policy with an alternative for NULL shows it to everyone. NOT NULL turns a forgotten tenant into an error at the time of writing.",
    example: "CREATE TABLE app.notes (tenant_id uuid, body text);",
    fix: "ALTER TABLE … ALTER COLUMN … SET NOT NULL, after the rows without a tenant are settled.",
    references: &["https://www.postgresql.org/docs/current/ddl-constraints.html"],
    covers: &["table-nullable"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let Some(tenancy) = &survey.estate.tenancy else { return Vec::new() };
    let mut found = Vec::new();
    for (_, table) in survey.tables().filter(|(_, table)| table.parent.is_none()) {
        let nullable = table.column(&tenancy.column).is_some_and(|column| !column.not_null);
        if !nullable || survey.reaching(table, Privileges::ROWS).next().is_none() {
            continue;
        }
        let message = format!("column {} of {} accepts NULL", tenancy.column, table.name);
        let fix = Fix::Sql(vec![sql!(
            "ALTER TABLE {} ALTER COLUMN {} SET NOT NULL",
            table.name,
            tenancy.column
        )]);
        found.push(RULE.finding(survey.relation(table), message, fix));
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;

    #[test]
    fn a_nullable_column_is_reported_where_the_table_is_used() {
        let mut world = World::new();
        world.table_mut("app.notes").columns[0].not_null = false;
        assert_eq!(world.rules(), ["tenant-column-nullable"]);
        world.table_mut("app.notes").grants.clear();
        assert!(world.rules().is_empty());
    }
}
