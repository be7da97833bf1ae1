//! Row-level security that no policy opens.

use super::{Check, Rule};
use crate::lint::finding::Draft;
use crate::lint::schema::Switch;
use crate::lint::survey::Survey;
use crate::model::severity::Severity;

pub(super) static CHECK: Check = Check {
    rule: Rule {
        id: "table-without-policy",
        severity: Severity::Low,
        title: "a shared table has row-level security and no policy",
        why: "Without a policy the table is closed to everybody whom row-level security binds. tenantctl adds its own policy to the tables of tenants that are in its registry, so this is a leftover more often than a fault: either write the policy, or leave all of it to tenantctl.",
        example: "ALTER TABLE notes ENABLE ROW LEVEL SECURITY;",
        fix: "CREATE POLICY own_rows ON notes USING (tenant_id = (SELECT nullif(current_setting('app.tenant_id', true), '')::uuid));",
    },
    find,
};

fn find(survey: &Survey<'_>, rule: &Rule) -> Vec<Draft> {
    survey
        .tenant_tables()
        .filter(|(_, table, _)| table.row_security == Switch::On && table.policies == 0)
        .map(|(made, table, _)| {
            let message =
                format!("{} is closed to everybody until tenantctl adds its policy", table.name);
            Draft::new(
                rule,
                made,
                message,
                "write a policy, or leave row-level security to tenantctl",
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use crate::lint::fixture::{found, shared};

    const RULE: &str = "table-without-policy";
    const TABLE: &str = "CREATE TABLE t (tenant_id uuid, id uuid);
        ALTER TABLE t ENABLE ROW LEVEL SECURITY;";

    #[test]
    fn a_policy_may_come_in_a_later_file() {
        assert_eq!(found(RULE, &shared(), &[TABLE]), ["V1.sql:1:14 low"]);
        let policy = "CREATE POLICY own ON t USING (true);";
        assert!(found(RULE, &shared(), &[TABLE, policy]).is_empty());
        assert_eq!(found(RULE, &shared(), &[TABLE, policy, "DROP POLICY own ON t;"]).len(), 1);
    }
}
