//! A unique key of a shared table that spans tenants.

use super::{Check, Rule};
use crate::lint::finding::Draft;
use crate::lint::schema::Table;
use crate::lint::script::Place;
use crate::lint::survey::Survey;
use crate::model::severity::Severity;

pub(super) static CHECK: Check = Check {
    rule: Rule {
        id: "key-without-tenant",
        severity: Severity::Medium,
        title: "a unique key of a shared table does not begin with the tenant column",
        why: "Uniqueness is checked past row-level security. Without the tenant column a value that another tenant uses is taken: that fails for no visible reason, and tells whoever tries values what others have. With it, but not in front, the index does not serve the queries of one tenant: low. A key of uuids alone cannot be guessed: low too.",
        example: "CREATE TABLE users (tenant_id uuid NOT NULL, id uuid PRIMARY KEY, email text UNIQUE);",
        fix: "PRIMARY KEY (tenant_id, id), UNIQUE (tenant_id, email)",
    },
    find,
};

fn find(survey: &Survey<'_>, rule: &Rule) -> Vec<Draft> {
    let mut drafts = Vec::new();
    for (_, table, tenant) in survey.tenant_tables() {
        for key in &table.keys {
            let columns: Vec<Option<&str>> =
                key.what.columns.iter().map(|column| Some(column.as_str())).collect();
            let what = if key.what.primary { "the primary key" } else { "a unique key" };
            drafts.extend(judge(rule, table, tenant, what, &columns, &key.at));
        }
        for index in table.indexes.iter().filter(|index| index.what.unique) {
            let columns: Vec<Option<&str>> =
                index.what.columns.iter().map(Option::as_deref).collect();
            drafts.extend(judge(rule, table, tenant, "a unique index", &columns, &index.at));
        }
    }
    drafts
}

fn judge(
    rule: &Rule,
    table: &Table,
    tenant: &str,
    what: &str,
    columns: &[Option<&str>],
    at: &Place,
) -> Option<Draft> {
    if *columns.first()? == Some(tenant) {
        return None;
    }
    let list: Vec<&str> = columns.iter().map(|column| column.unwrap_or("an expression")).collect();
    let list = list.join(", ");
    let fix = format!("begin it with {tenant}: ({tenant}, {list})");
    if columns.contains(&Some(tenant)) {
        let message = format!("{what} of {} does not begin with {tenant}", table.name);
        return Some(Draft::new(rule, at, message, fix).severity(Severity::Low));
    }
    let uuid = columns.iter().all(|column| {
        column.and_then(|name| table.column(name)).is_some_and(|column| column.ty == "uuid")
    });
    let message = format!(
        "{what} of {} spans all tenants: a value of ({list}) that another has is taken",
        table.name
    );
    let draft = Draft::new(rule, at, message, fix);
    Some(if uuid { draft.severity(Severity::Low) } else { draft })
}

#[cfg(test)]
mod tests {
    use crate::lint::fixture::{found, schema, shared};

    const RULE: &str = "key-without-tenant";

    #[test]
    fn a_key_that_spans_tenants_is_an_oracle() {
        for (sql, expected) in [
            ("CREATE TABLE t (tenant_id uuid, email text UNIQUE);", "V1.sql:1:44 medium"),
            ("CREATE TABLE t (tenant_id uuid, id bigint PRIMARY KEY);", "V1.sql:1:43 medium"),
            ("CREATE TABLE t (tenant_id uuid, id uuid PRIMARY KEY);", "V1.sql:1:41 low"),
            ("CREATE TABLE t (tenant_id uuid, n int, UNIQUE (n, tenant_id));", "V1.sql:1:40 low"),
        ] {
            assert_eq!(found(RULE, &shared(), &[sql]), [expected], "{sql}");
            assert!(found(RULE, &schema(), &[sql]).is_empty(), "{sql}");
        }
        let sql = "CREATE TABLE t (tenant_id uuid, email text);
CREATE UNIQUE INDEX ON t (lower(email));";
        assert_eq!(found(RULE, &shared(), &[sql]), ["V1.sql:2:1 medium"]);
    }

    #[test]
    fn a_key_that_begins_with_the_tenant_is_right_also_when_it_replaces_another() {
        let right = "CREATE TABLE t (tenant_id uuid, id uuid, PRIMARY KEY (tenant_id, id));";
        assert!(found(RULE, &shared(), &[right]).is_empty());
        let wrong = "CREATE TABLE t (tenant_id uuid, id int PRIMARY KEY);";
        let mended = "ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (tenant_id, id);";
        assert!(found(RULE, &shared(), &[wrong, mended]).is_empty());
    }
}
