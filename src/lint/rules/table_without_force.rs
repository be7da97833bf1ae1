//! Row-level security that does not bind the owner.

use super::{Check, Rule};
use crate::lint::finding::Draft;
use crate::lint::schema::Switch;
use crate::lint::survey::Survey;
use crate::model::severity::Severity;

pub(super) static CHECK: Check = Check {
    rule: Rule {
        id: "table-without-force",
        severity: Severity::Medium,
        title: "row-level security of a shared table does not bind its owner",
        why: "Without FORCE the owner of the table, and every view or function that runs as the owner, reads the rows of all tenants. tenantctl adds FORCE to the tables of tenants that are in its registry; NO FORCE at the end of the files would be undone by the next run, and is high. Switching it off and on again around a change of rows is fine.",
        example: "ALTER TABLE notes ENABLE ROW LEVEL SECURITY;",
        fix: "ALTER TABLE notes ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;",
    },
    find,
};

fn find(survey: &Survey<'_>, rule: &Rule) -> Vec<Draft> {
    let mut drafts = Vec::new();
    for (table, place) in survey.switched_off(|table| &table.forced) {
        let message = format!("the owner of {} reads the rows of all tenants", table.name);
        let fix = format!("ALTER TABLE {} FORCE ROW LEVEL SECURITY;", table.name);
        drafts.push(Draft::new(rule, place, message, fix).severity(Severity::High));
    }
    for (made, table, _) in survey.tenant_tables() {
        if table.row_security == Switch::On && table.forced == Switch::Untouched {
            let message = format!(
                "the owner of {} reads the rows of all tenants, unless tenantctl guards it",
                table.name
            );
            let fix = format!("ALTER TABLE {} FORCE ROW LEVEL SECURITY;", table.name);
            drafts.push(Draft::new(rule, made, message, fix));
        }
    }
    drafts
}

#[cfg(test)]
mod tests {
    use crate::lint::fixture::{found, schema, shared};

    const RULE: &str = "table-without-force";
    const TABLE: &str = "CREATE TABLE t (tenant_id uuid, id uuid);";

    #[test]
    fn the_end_of_the_files_counts() {
        let half = "ALTER TABLE t ENABLE ROW LEVEL SECURITY;";
        assert_eq!(found(RULE, &shared(), &[TABLE, half]), ["V1.sql:1:14 medium"]);
        assert!(found(RULE, &schema(), &[TABLE, half]).is_empty());
        let off = "ALTER TABLE t NO FORCE ROW LEVEL SECURITY;";
        assert_eq!(found(RULE, &shared(), &[TABLE, off]), ["V2.sql:1:15 high"]);
    }

    #[test]
    fn off_and_on_again_is_fine_and_so_is_leaving_it_to_tenantctl() {
        let both = "ALTER TABLE t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;";
        let pause = "ALTER TABLE t NO FORCE ROW LEVEL SECURITY;
            UPDATE t SET id = id; ALTER TABLE t FORCE ROW LEVEL SECURITY;";
        assert!(found(RULE, &shared(), &[TABLE, both, pause]).is_empty());
        assert!(found(RULE, &shared(), &[TABLE]).is_empty());
    }
}
