//! A tenant column with a fixed default.

use super::Rule;
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;
use crate::model::catalog::Privilege;
use crate::sql;

pub(super) static RULE: Rule = Rule {
    id: "tenant-column-default",
    severity: Severity::Medium,
    evidence: Evidence::Static,
    title: "rows without a tenant are given a fixed one",
    docs: "A constant default for the tenant column turns a forgotten tenant into a row of somebody else's. Where policies bind the writer, the row is refused and the mistake shows; where they do not, a tenant collects what others forgot. Fix: DROP DEFAULT, or a default that reads the tenant setting. Defaults that read the setting or call a function are not reported.",
    example: "ALTER TABLE app.notes ALTER tenant_id SET DEFAULT '6f1c…';",
    see: &["https://www.postgresql.org/docs/current/ddl-default.html"],
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
