//! A foreign key by which a row of one tenant can refer to another tenant's.

use super::{Check, Rule};
use crate::lint::finding::Draft;
use crate::lint::survey::Survey;
use crate::model::severity::Severity;

pub(super) static CHECK: Check = Check {
    rule: Rule {
        id: "foreign-key-without-tenant",
        severity: Severity::High,
        title: "a foreign key between shared tables leaves out the tenant column",
        why: "Foreign keys are checked past row-level security. A key on the id alone accepts the id of another tenant's row, tells by its error whether such a row exists, and a cascade then reaches across. Keys to a table without the tenant column are common data and not reported; to a table that no file makes, the finding is medium.",
        example: "FOREIGN KEY (author_id) REFERENCES users (id)",
        fix: "Carry the tenant in both: FOREIGN KEY (tenant_id, author_id) REFERENCES users (tenant_id, id), with a unique key on users (tenant_id, id).",
    },
    find,
};

fn find(survey: &Survey<'_>, rule: &Rule) -> Vec<Draft> {
    let mut drafts = Vec::new();
    for (_, table, tenant) in survey.tenant_tables() {
        for key in &table.foreign_keys {
            if key.what.columns.iter().any(|column| column == tenant) {
                continue;
            }
            let target = survey.schema.table(&key.what.target).filter(|known| known.made.is_some());
            let severity = match target {
                Some(known) if known.column(tenant).is_some() => rule.severity,
                Some(known) if !known.open => continue,
                _ => Severity::Medium,
            };
            let columns = key.what.columns.join(", ");
            let other = &key.what.target.name;
            let message = format!(
                "({columns}) of {} may refer to a row of {other} that is another tenant's",
                table.name
            );
            let fix = format!(
                "FOREIGN KEY ({tenant}, {columns}) REFERENCES {other} ({tenant}, …): foreign keys \
                 are checked past row-level security"
            );
            drafts.push(Draft::new(rule, &key.at, message, fix).severity(severity));
        }
    }
    drafts
}

#[cfg(test)]
mod tests {
    use crate::lint::fixture::{found, schema, shared};

    const RULE: &str = "foreign-key-without-tenant";
    const USERS: &str =
        "CREATE TABLE users (tenant_id uuid, id uuid, PRIMARY KEY (tenant_id, id));";

    #[test]
    fn a_key_on_the_id_alone_crosses() {
        let notes = "CREATE TABLE notes (tenant_id uuid, u uuid REFERENCES users (id));";
        assert_eq!(found(RULE, &shared(), &[USERS, notes]), ["V2.sql:1:44 high"]);
        assert_eq!(found(RULE, &shared(), &[notes]), ["V1.sql:1:44 medium"]);
        assert!(found(RULE, &schema(), &[USERS, notes]).is_empty());
    }

    #[test]
    fn one_that_carries_the_tenant_and_one_to_common_data_do_not() {
        let notes = "CREATE TABLE notes (tenant_id uuid, u uuid, land text REFERENCES lands (code),
            FOREIGN KEY (tenant_id, u) REFERENCES users (tenant_id, id));";
        let lands = "CREATE TABLE lands (code text PRIMARY KEY);";
        assert!(found(RULE, &shared(), &[USERS, lands, notes]).is_empty());
    }
}
