//! A primary key that is not a uuid.

use super::{Check, Rule};
use crate::lint::finding::Draft;
use crate::lint::survey::Survey;
use crate::model::severity::Severity;

pub(super) static CHECK: Check = Check {
    rule: Rule {
        id: "primary-key-not-uuid",
        severity: Severity::Low,
        title: "a primary key is not a uuid",
        why: "A uuid is unique over all tenants and clusters, so that a tenant can be moved, merged or restored beside another one without renumbering, and it tells nobody how many rows there are. Looked at is the one column that the key has besides the tenant column; keys of several columns, and columns that refer to another table, are not reported. A matter of style: it never fails a run by itself.",
        example: "CREATE TABLE notes (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY);",
        fix: "id uuid PRIMARY KEY DEFAULT gen_random_uuid()",
    },
    find,
};

fn find(survey: &Survey<'_>, rule: &Rule) -> Vec<Draft> {
    let tenant = survey.tenancy().map(|tenancy| tenancy.column.as_str());
    let mut drafts = Vec::new();
    for (_, table) in survey.made() {
        for key in table.keys.iter().filter(|key| key.what.primary) {
            let mut own = key.what.columns.iter().filter(|c| Some(c.as_str()) != tenant);
            let (Some(name), None) = (own.next(), own.next()) else { continue };
            let refers = table.foreign_keys.iter().any(|key| key.what.columns.contains(name));
            let Some(column) = table.column(name).filter(|c| !refers && c.ty != "uuid") else {
                continue;
            };
            let message = format!("{name}, the primary key of {}, is {}", table.name, column.ty);
            let fix = format!("{name} uuid … DEFAULT gen_random_uuid()");
            drafts.push(Draft::new(rule, &key.at, message, fix));
        }
    }
    drafts
}

#[cfg(test)]
mod tests {
    use crate::lint::fixture::{found, schema, shared};

    const RULE: &str = "primary-key-not-uuid";

    #[test]
    fn numbers_and_texts_are_found() {
        let sql = "CREATE TABLE t (id bigserial PRIMARY KEY);";
        assert_eq!(found(RULE, &schema(), &[sql]), ["V1.sql:1:30 low"]);
        let sql = "CREATE TABLE t (tenant_id uuid, id int, PRIMARY KEY (tenant_id, id));";
        assert_eq!(found(RULE, &shared(), &[sql]), ["V1.sql:1:41 low"]);
    }

    #[test]
    fn uuids_pairs_and_references_are_not() {
        for sql in [
            "CREATE TABLE t (id uuid PRIMARY KEY);",
            "CREATE TABLE t (a int, b text, PRIMARY KEY (a, b));",
            "CREATE TABLE t (id int PRIMARY KEY REFERENCES u (id));",
        ] {
            assert!(found(RULE, &schema(), &[sql]).is_empty(), "{sql}");
        }
    }
}
