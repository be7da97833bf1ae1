//! A shared table whose rows nothing keeps apart.

use super::{Check, Rule};
use crate::lint::finding::Draft;
use crate::lint::schema::Switch;
use crate::lint::survey::Survey;
use crate::model::severity::Severity;

pub(super) static CHECK: Check = Check {
    rule: Rule {
        id: "table-without-rls",
        severity: Severity::Info,
        title: "a shared table is left without row-level security",
        why: "tenantctl enables and forces row-level security, with its policy, on every table with the tenant column when its migration has run, and grants it only then: leaving all of it out is sound for tenants that are in the registry, and info. Without a registry nobody does it. A policy on a table without ENABLE is but words: medium. DISABLE at the end of the files is high.",
        example: "CREATE POLICY own_rows ON notes USING (…);",
        fix: "ALTER TABLE notes ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;",
    },
    find,
};

fn find(survey: &Survey<'_>, rule: &Rule) -> Vec<Draft> {
    let mut drafts = Vec::new();
    let fix = |name: &str| {
        format!("ALTER TABLE {name} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;")
    };
    for (table, place) in survey.switched_off(|table| &table.row_security) {
        let message = format!("every tenant reads all rows of {}", table.name);
        drafts.push(Draft::new(rule, place, message, fix(&table.name)).severity(Severity::High));
    }
    for (made, table, _) in survey.tenant_tables() {
        if table.row_security != Switch::Untouched {
            continue;
        }
        let name = &table.name;
        drafts.push(if table.policies == 0 {
            let message = format!("{name} has no row-level security until tenantctl adds it");
            Draft::new(rule, made, message, "nothing, for tenants that are in the registry")
        } else {
            let message =
                format!("the policies of {name} do nothing: row-level security is not on");
            Draft::new(rule, made, message, fix(name)).severity(Severity::Medium)
        });
    }
    drafts
}

#[cfg(test)]
mod tests {
    use crate::lint::fixture::{found, schema, shared};

    const RULE: &str = "table-without-rls";
    const TABLE: &str = "CREATE TABLE t (tenant_id uuid, id uuid);";

    #[test]
    fn what_tenantctl_adds_is_a_note_and_what_the_file_undoes_is_grave() {
        assert_eq!(found(RULE, &shared(), &[TABLE]), ["V1.sql:1:14 info"]);
        assert!(found(RULE, &schema(), &[TABLE]).is_empty());
        let words = "CREATE POLICY own ON t USING (true);";
        assert_eq!(found(RULE, &shared(), &[TABLE, words]), ["V1.sql:1:14 medium"]);
        let off = "ALTER TABLE t DISABLE ROW LEVEL SECURITY;";
        assert_eq!(found(RULE, &shared(), &[TABLE, off]), ["V2.sql:1:15 high"]);
        assert_eq!(found(RULE, &shared(), &[off]), ["V1.sql:1:15 high"], "whoever made it");
    }

    #[test]
    fn a_later_file_may_enable_it() {
        let on = "ALTER TABLE t ENABLE ROW LEVEL SECURITY;";
        assert!(found(RULE, &shared(), &[TABLE, on]).is_empty());
        let part = "CREATE TABLE p PARTITION OF t DEFAULT;";
        assert!(found(RULE, &shared(), &[TABLE, on, part]).is_empty());
        assert!(found(RULE, &shared(), &[TABLE, "DROP TABLE t;"]).is_empty());
    }
}
