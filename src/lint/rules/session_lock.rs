//! Advisory locks that outlive the transaction.

use super::{Check, Rule};
use crate::lint::deed::DeedKind;
use crate::lint::finding::Draft;
use crate::lint::survey::Survey;
use crate::model::severity::Severity;

pub(super) static CHECK: Check = Check {
    rule: Rule {
        id: "session-lock",
        severity: Severity::High,
        title: "an advisory lock is taken for the session",
        why: "tenantctl uses its connections for one tenant after the other, and a pooler hands them to strangers. A lock of the session stays behind when the file is done, and the next run waits for it. Whoever waits for it blocks CREATE INDEX CONCURRENTLY, too.",
        example: "SELECT pg_advisory_lock(42);",
        fix: "SELECT pg_advisory_xact_lock(42): the end of the transaction gives it back. tenantctl holds a lock for each tenant already.",
    },
    find,
};

fn find(survey: &Survey<'_>, rule: &Rule) -> Vec<Draft> {
    survey
        .deeds()
        .filter_map(|(_, place, deed)| {
            let DeedKind::SessionLock { function } = &deed.kind else { return None };
            let message = format!("{function} keeps its lock when the transaction has ended");
            let fix = format!("use {}", function.replace("_lock", "_xact_lock"));
            Some(Draft::new(rule, &place, message, fix))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use crate::lint::fixture::{found, schema};

    const RULE: &str = "session-lock";

    #[test]
    fn locks_of_the_session_are_found_also_in_a_block() {
        assert_eq!(found(RULE, &schema(), &["SELECT pg_advisory_lock(1);"]), ["V1.sql:1:8 high"]);
        let block = "DO $$ BEGIN PERFORM pg_try_advisory_lock(1, 2); END $$;";
        assert_eq!(found(RULE, &schema(), &[block]), ["V1.sql:1:21 high"]);
    }

    #[test]
    fn locks_of_the_transaction_are_fine() {
        assert!(found(RULE, &schema(), &["SELECT pg_advisory_xact_lock(1);"]).is_empty());
    }
}
