//! Privileges on shared tables that row-level security does not filter.

use super::finding::{Finding, Fix};
use super::rules::Rule;
use super::survey::Survey;
use crate::model::catalog::{Privilege, Privileges};
use crate::sql;
use crate::sql::Sql;

/// Reports every role of the application that holds a privilege on a shared table through a grant;
/// `said` is what that allows. `keyword` is the privilege as SQL spells it.
pub(super) fn granted(
    survey: &Survey<'_>,
    rule: &Rule,
    privilege: Privilege,
    keyword: &Sql,
    said: impl Fn(&str, &str) -> String,
) -> Vec<Finding> {
    let mut found = Vec::new();
    for (_, table) in survey.tables() {
        for (subject, held) in survey.reaching(table, Privileges::NONE.with(privilege)) {
            // The owner has a rule of its own, and needs no grant.
            if subject.closure.contains_key(&table.owner) {
                continue;
            }
            let grantee = table
                .grants
                .iter()
                .filter(|grant| grant.privileges.has(privilege))
                .filter(|grant| subject.closure.contains_key(&grant.grantee))
                .find_map(|grant| survey.ident(grant.grantee));
            let fix = match grantee {
                Some(grantee) => sql!("REVOKE {} ON {} FROM {}", keyword, table.name, grantee),
                None => sql!("REVOKE {} ON {} FROM PUBLIC", keyword, table.name),
            };
            let message = said(&subject.name.to_string(), &table.name.to_string());
            found.push(
                rule.finding(survey.relation(table), message, Fix::Sql(vec![fix]))
                    .role(subject.name)
                    .operation(held),
            );
        }
    }
    found
}
