//! A file that begins or ends the transaction it runs in.

use super::{Check, Rule};
use crate::lint::deed::DeedKind;
use crate::lint::finding::Draft;
use crate::lint::survey::Survey;
use crate::model::severity::Severity;

pub(super) static CHECK: Check = Check {
    rule: Rule {
        id: "transaction-control",
        severity: Severity::High,
        title: "a file begins, ends or divides a transaction",
        why: "A migration and the row that records it are one transaction, which tenantctl begins and commits: a tenant has both or neither. COMMIT in between leaves a tenant that was half migrated and says nothing of it. tenantctl refuses to run such a file.",
        example: "BEGIN;\nALTER TABLE notes ADD COLUMN pinned boolean;\nCOMMIT;",
        fix: "Remove the statement. What cannot run in a transaction goes to a file of its own with -- tenantctl:no-transaction in its head.",
    },
    find,
};

fn find(survey: &Survey<'_>, rule: &Rule) -> Vec<Draft> {
    survey
        .deeds()
        .filter_map(|(_, place, deed)| {
            let DeedKind::Transaction { words } = &deed.kind else { return None };
            let message = format!("{words} would split the transaction that records the migration");
            Some(Draft::new(rule, &place, message, rule.fix))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use crate::lint::fixture::{found, schema};

    const RULE: &str = "transaction-control";

    #[test]
    fn the_transaction_is_tenantctls() {
        let sql = "BEGIN;\nSELECT 1;\nCOMMIT;";
        assert_eq!(found(RULE, &schema(), &[sql]), ["V1.sql:1:1 high", "V1.sql:3:1 high"]);
        let block = "DO $$ BEGIN PERFORM 1; COMMIT; END $$;";
        assert_eq!(found(RULE, &schema(), &[block]), ["V1.sql:1:24 high"]);
    }

    #[test]
    fn a_block_and_a_body_are_no_transaction() {
        let sql = "DO $$ BEGIN PERFORM 1; END $$; PREPARE q AS SELECT 1;";
        assert!(found(RULE, &schema(), &[sql]).is_empty());
    }
}
