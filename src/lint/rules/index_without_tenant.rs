//! An index of a shared table that is not led by the tenant column.

use super::{Check, Rule};
use crate::lint::finding::Draft;
use crate::lint::survey::Survey;
use crate::model::severity::Severity;

pub(super) static CHECK: Check = Check {
    rule: Rule {
        id: "index-without-tenant",
        severity: Severity::Low,
        title: "an index of a shared table does not begin with the tenant column",
        why: "Every query of the application carries its tenant, by the policy if not by itself. An index that begins with another column reads the rows of all tenants and throws most away. GIN, GiST and vector indexes cannot begin with it; they are info, because under row-level security the planner uses few of their operators (those that are not leakproof wait for the policy). BRIN indexes, which serve retention across tenants, are not reported. Unique indexes are the matter of key-without-tenant.",
        example: "CREATE INDEX notes_recent ON notes (updated_at DESC);",
        fix: "CREATE INDEX notes_recent ON notes (tenant_id, updated_at DESC);",
    },
    find,
};

fn find(survey: &Survey<'_>, rule: &Rule) -> Vec<Draft> {
    let mut drafts = Vec::new();
    for (_, table, tenant) in survey.tenant_tables() {
        for index in table.indexes.iter().filter(|index| !index.what.unique) {
            let method = index.what.method.as_str();
            let led = index.what.columns.first().is_some_and(|c| c.as_deref() == Some(tenant));
            if led || method == "brin" {
                continue;
            }
            let name = &table.name;
            let draft = if matches!(method, "btree" | "hash") {
                let message = format!(
                    "an index of {name} does not begin with {tenant}: a tenant's query reads the \
                     rows of all"
                );
                Draft::new(rule, &index.at, message, format!("begin it with {tenant}"))
            } else {
                let message = format!(
                    "a {method} index of {name} holds the rows of all tenants, and its operators \
                     wait for the policy unless they are leakproof"
                );
                let fix = "measure it as the application's role; a schema or partition for each \
                           tenant makes such an index small";
                Draft::new(rule, &index.at, message, fix).severity(Severity::Info)
            };
            drafts.push(draft);
        }
    }
    drafts
}

#[cfg(test)]
mod tests {
    use crate::lint::fixture::{found, schema, shared};

    const RULE: &str = "index-without-tenant";
    const TABLE: &str = "CREATE TABLE t (tenant_id uuid, id uuid, at timestamptz, doc jsonb);";

    #[test]
    fn an_index_that_begins_with_something_else_is_found() {
        let at = "CREATE INDEX ON t (at);";
        assert_eq!(found(RULE, &shared(), &[TABLE, at]), ["V2.sql:1:1 low"]);
        let doc = "CREATE INDEX ON t USING gin (doc);";
        assert_eq!(found(RULE, &shared(), &[TABLE, doc]), ["V2.sql:1:1 info"]);
        assert!(found(RULE, &schema(), &[TABLE, at]).is_empty());
    }

    #[test]
    fn the_tenant_first_is_right_and_brin_is_for_retention() {
        for index in ["CREATE INDEX ON t (tenant_id, at);", "CREATE INDEX ON t USING brin (at);"] {
            assert!(found(RULE, &shared(), &[TABLE, index]).is_empty(), "{index}");
        }
    }
}
