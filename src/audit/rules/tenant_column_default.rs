//! A tenant column with a fixed default.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;
use crate::model::catalog::Privilege;
use crate::sql;

pub(super) static RULE: Rule = Rule {
    id: "tenant-column-default",
    family: Family::Tables,
    severity: Severity::Medium,
    evidence: Evidence::Static,
    title: "rows without a tenant are given a fixed one",
    what: "The tenant column of a table that the application may add to has a constant default. Not reported: defaults that read the setting or call a function.",
    why: "A forgotten tenant becomes a row of somebody else's: refused where policies bind the writer, kept where they do not.",
    example: "ALTER TABLE app.notes ALTER tenant_id SET DEFAULT '6f1c…';",
    fix: "DROP DEFAULT, or a default that reads the tenant setting.",
    references: &["https://www.postgresql.org/docs/current/ddl-default.html"],
    covers: &["table-default"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let Some(tenancy) = &survey.estate.tenancy else { return Vec::new() };
    let mut found = Vec::new();
    for (_, table) in survey.tables().filter(|(_, table)| table.parent.is_none()) {
        let default = table.column(&tenancy.column).and_then(|column| column.default.as_deref());
        let Some(default) = default.filter(|text| !text.contains('(') && !text.starts_with("NULL"))
        else {
            continue;
        };
        let writes = crate::model::catalog::Privileges::NONE.with(Privilege::Insert);
        if survey.reaching(table, writes).next().is_none() {
            continue;
        }
        let message = format!("column {} of {} is {default} unless a statement says otherwise", tenancy.column, table.name);
        let fix = sql!("ALTER TABLE {} ALTER COLUMN {} DROP DEFAULT", table.name, tenancy.column);
        found.push(RULE.finding(survey.relation(table), message, Fix::Sql(vec![fix])));
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;

    #[test]
    fn a_constant_is_accused_and_the_setting_is_not() {
        let mut world = World::new();
        let default = |text: &str| Some(text.to_owned());
        world.table_mut("app.notes").columns[0].default =
            default("(current_setting('app.tenant_id'::text))::uuid");
        assert!(world.rules().is_empty());
        world.table_mut("app.notes").columns[0].default = default("'6f1c'::uuid");
        assert_eq!(world.rules(), ["tenant-column-default"]);
    }
}
