//! A table without the tenant column whose rows hang on tenants' rows.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::holdings::Holding;
use crate::audit::survey::Survey;
use crate::model::catalog::Privileges;

pub(super) static RULE: Rule = Rule {
    id: "child-without-tenant",
    family: Family::Tables,
    severity: Severity::High,
    evidence: Evidence::Static,
    title: "a table refers to tenants' rows, and nothing says whose its own rows are",
    what: "A table refers to a table with the tenant column, has none itself and has no row-level security, while a role of the application may use it. Not reported: tables with row-level security of their own, tables that no role of the application may use, and reference tables that others refer to.",
    why: "Lines of an invoice belong to the tenant of the invoice, with or without a tenant column of their own. Without one no policy can be written, and whoever may use the table reads every tenant's rows.",
    example: "CREATE TABLE app.invoice_lines (\n    invoice_id uuid NOT NULL REFERENCES app.invoices (id),\n    amount numeric NOT NULL\n);\nGRANT SELECT ON app.invoice_lines TO app_rw;",
    fix: "Add the tenant column, a foreign key over tenant and id together, and a policy. Old rows take their tenant from the row they refer to.",
    references: &["https://www.postgresql.org/docs/current/ddl-rowsecurity.html", "https://www.postgresql.org/docs/current/ddl-constraints.html"],
    covers: &["table-child"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let Some(tenancy) = &survey.estate.tenancy else { return Vec::new() };
    let mut found = Vec::new();
    for (oid, why) in &survey.holdings.tables {
        let Holding::Child(parent) = why else { continue };
        let (Some(child), Some(parent)) =
            (survey.catalog.relations.get(oid), survey.catalog.relations.get(parent))
        else {
            continue;
        };
        // Policies without effect are reported by policy-dormant.
        if child.rls || !survey.policies(*oid).is_empty() {
            continue;
        }
        let Some((subject, held)) = survey.reaching(child, Privileges::ROWS).next() else {
            continue;
        };
        let message = format!(
            "{} refers to {} and has no column {}: {} reaches every tenant's rows",
            child.name, parent.name, tenancy.column, subject.name
        );
        let fix = Fix::Advice(format!(
            "add {} to {}, refer to {} with it, and protect the table as that one is",
            tenancy.column, child.name, parent.name
        ));
        found.push(
            RULE.finding(survey.relation(child), message, fix).role(subject.name).operation(held),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;
    use crate::model::catalog::*;

    #[test]
    fn lines_of_a_tenants_row_are_accused_and_reference_tables_are_not() {
        let mut world = World::new();
        let (notes, countries) = (world.relation_oid("app.notes"), world.relation_oid("app.countries"));
        let key = |child, parent| key(child, parent, &[("note_id", "id")]);
        world.catalog.foreign_keys.push(key(notes, countries));
        let lines = world.table("app", "lines", "app_owner");
        world.catalog.foreign_keys.push(key(lines, notes));
        assert!(world.rules().is_empty(), "nobody may use the lines");
        world.grant("app.lines", "app_rw", Privilege::Select);
        assert_eq!(world.rules(), ["child-without-tenant"]);
        world.table_mut("app.lines").rls = true;
        assert!(world.rules().is_empty());
    }
}
