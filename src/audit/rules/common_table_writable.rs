//! A table outside of tenants' schemas that several of them write.

use std::collections::BTreeSet;

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::{Subject, Survey};
use crate::model::catalog::{Command, Privilege, Privileges};
use crate::model::tenant::{Isolation, TenantId};

pub(super) static RULE: Rule = Rule {
    id: "common-table-writable",
    family: Family::Schemas,
    severity: Severity::High,
    evidence: Evidence::Static,
    title: "tenants with schemas of their own write into one table and read it",
    what: "A table outside of all tenants' schemas may be written and read by the roles of several tenants with a schema each, and no policy ties its rows to one. Not reported: tables that tenants only read, or only add to.",
    why: "What lies outside is reference data. A table that several tenants write mixes their rows; one in schema public is also found where a tenant's own table is missing and a search_path falls through.",
    example: "CREATE TABLE public.jobs (payload text);\nGRANT SELECT, INSERT ON public.jobs TO app_tenant_cat, app_tenant_dan;",
    fix: "REVOKE INSERT, UPDATE and DELETE, or give the table the tenant column and policies.",
    references: &["https://www.postgresql.org/docs/current/ddl-schemas.html#DDL-SCHEMAS-PATTERNS"],
    covers: &["schema-common", "schema-fallthrough"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    if survey.estate.of(Isolation::Schema).next().is_none() {
        return found;
    }
    for (oid, table) in &survey.catalog.relations {
        if !table.kind.is_table()
            || survey.ground(table.schema).is_some()
            || Survey::is_history(table)
            || survey.tenant_tables.contains(oid)
        {
            continue;
        }
        let mut tenants: BTreeSet<&TenantId> = BTreeSet::new();
        let mut first: Option<(&Subject<'_>, Privileges)> = None;
        for (subject, held) in survey.reaching(table, Privileges::ROWS) {
            let writes = [Command::Insert, Command::Update, Command::Delete].into_iter().any(|verb| {
                held.has(verb.privilege()) && survey.free(subject.role, (*oid, table), verb)
            });
            let reads = held.has(Privilege::Select)
                && survey.free(subject.role, (*oid, table), Command::Select);
            let own = subject.tenants.iter().filter(|tenant| tenant.isolation == Isolation::Schema);
            if writes && (reads || held.has(Privilege::Delete) || held.has(Privilege::Update)) {
                tenants.extend(own.map(|tenant| &tenant.id));
                first = first.or(Some((subject, held)));
            }
        }
        let (Some((subject, held)), 2..) = (first, tenants.len()) else { continue };
        let message = format!(
            "{} and the roles of other tenants, {} in all, hold {held} on {}, which lies in nobody's schema",
            subject.name,
            tenants.len(),
            table.name
        );
        let fix = Fix::Advice(format!(
            "REVOKE INSERT, UPDATE, DELETE ON {0}, or give {0} the tenant column and policies",
            table.name
        ));
        found.push(
            RULE.finding(survey.relation(table), message, fix)
                .role(subject.name)
                .operation(held)
                .tenants(tenants),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;
    use crate::model::catalog::*;

    #[test]
    fn what_two_tenants_write_and_read_is_accused_and_what_they_read_is_not() {
        let mut world = World::new();
        world.add_schema("public", "admin");
        world.grant_schema("public", "public", Privilege::Usage);
        world.table("public", "jobs", "admin");
        for role in ["app_cat", "app_dan"] {
            world.grant("public.jobs", role, Privilege::Select);
        }
        world.grant("public.jobs", "app_cat", Privilege::Insert);
        assert!(world.rules().is_empty(), "one tenant writes");
        world.grant("public.jobs", "app_dan", Privilege::Insert);
        assert_eq!(world.rules(), ["common-table-writable"]);
        world.table_mut("public.jobs").grants.retain(|g| !g.privileges.has(Privilege::Select));
        assert!(world.rules().is_empty(), "they only add");
    }
}
