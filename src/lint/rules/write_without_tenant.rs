//! A change of rows that row-level security hides from the migration.

use super::{Check, Rule};
use crate::lint::finding::Draft;
use crate::lint::schema::{Switch, Write};
use crate::lint::survey::Survey;
use crate::model::severity::Severity;

pub(super) static CHECK: Check = Check {
    rule: Rule {
        id: "write-without-tenant",
        severity: Severity::High,
        title: "rows of a shared table are changed with no tenant bound",
        why: "tenantctl forces row-level security on shared tables, so their owner, as whom migrations run, is bound by it too. With no tenant bound, UPDATE and DELETE find no row, change nothing and succeed; INSERT is refused. Not reported: a table that the same file makes and does not force yet, one whose FORCE the file has switched off by then, and one without the tenant column. For a table that no file makes the finding is medium.",
        example: "UPDATE notes SET state = 'draft' WHERE state IS NULL;",
        fix: "In one transaction: ALTER TABLE notes NO FORCE ROW LEVEL SECURITY; UPDATE …; ALTER TABLE notes FORCE ROW LEVEL SECURITY; or bind each tenant in turn with set_config('app.tenant_id', …, true).",
    },
    find,
};

fn find(survey: &Survey<'_>, rule: &Rule) -> Vec<Draft> {
    let Some(tenancy) = survey.tenancy() else { return Vec::new() };
    let mut drafts = Vec::new();
    for write in &survey.schema.writes {
        let bound =
            write.bound.iter().any(|name| name.is_empty() || name == tenancy.setting.as_str());
        if bound || !may_be_guarded(write, tenancy.column.as_str()) {
            continue;
        }
        let table = &write.table.name;
        let what = match write.verb {
            "INSERT" | "COPY" => "is refused by its policy",
            _ => "changes no row, and succeeds",
        };
        let message = format!("{} of {table} {what}: no tenant is bound", write.verb);
        let fix = format!(
            "ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY before it, and FORCE behind it; or \
             bind each tenant in turn with set_config('{}', …, true)",
            tenancy.setting
        );
        let draft = Draft::new(rule, &write.at, message, fix);
        drafts.push(if write.made.is_none() { draft.severity(Severity::Medium) } else { draft });
    }
    drafts
}

/// Whether a policy binds the table's owner when the statement runs.
fn may_be_guarded(write: &Write, tenant: &str) -> bool {
    let keyed = write.columns.as_ref().is_none_or(|all| all.iter().any(|column| column == tenant));
    if write.temporary || !keyed {
        return false;
    }
    match write.forced {
        Switch::On => true,
        Switch::Off(_) => false,
        // tenantctl guards a table when all pending files have run.
        Switch::Untouched => write.made.as_ref().is_none_or(|made| made.file != write.at.file),
    }
}

#[cfg(test)]
mod tests {
    use crate::lint::fixture::{found, schema, shared};

    const RULE: &str = "write-without-tenant";
    const TABLE: &str = "CREATE TABLE t (tenant_id uuid, id uuid, a int);";

    #[test]
    fn under_force_it_changes_nothing() {
        let update = "UPDATE t SET a = 1;";
        assert_eq!(found(RULE, &shared(), &[TABLE, update]), ["V2.sql:1:1 high"]);
        assert_eq!(found(RULE, &shared(), &[update]), ["V1.sql:1:1 medium"]);
        assert!(found(RULE, &schema(), &[TABLE, update]).is_empty());
        let forced = format!("{TABLE} ALTER TABLE t FORCE ROW LEVEL SECURITY; {update}");
        assert_eq!(found(RULE, &shared(), &[&forced]).len(), 1);
        let block = "DO $$ BEGIN DELETE FROM t; END $$;";
        assert_eq!(found(RULE, &shared(), &[TABLE, block]), ["V2.sql:1:13 high"]);
    }

    #[test]
    fn not_when_a_tenant_is_bound_or_force_is_off() {
        for sql in [
            "SET LOCAL app.tenant_id = 'x'; UPDATE t SET a = 1;",
            "DO $$ BEGIN PERFORM set_config('app.tenant_id', 'x', true); UPDATE t SET a = 1; END $$;",
            "ALTER TABLE t NO FORCE ROW LEVEL SECURITY; UPDATE t SET a = 1;
             ALTER TABLE t FORCE ROW LEVEL SECURITY;",
            "CREATE TEMP TABLE x (tenant_id uuid); INSERT INTO x VALUES (NULL);",
            "CREATE TABLE lands (code text); INSERT INTO lands VALUES ('de');",
        ] {
            assert!(found(RULE, &shared(), &[TABLE, sql]).is_empty(), "{sql}");
        }
        let same = format!("{TABLE} INSERT INTO t VALUES (NULL, NULL, 1);");
        assert!(found(RULE, &shared(), &[&same]).is_empty());
    }
}
