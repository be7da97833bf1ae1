//! `LOCK TABLE`, which stops a tenant for as long as the file runs.

use super::{Check, Rule};
use crate::lint::deed::DeedKind;
use crate::lint::finding::Draft;
use crate::lint::survey::Survey;
use crate::model::severity::Severity;

pub(super) static CHECK: Check = Check {
    rule: Rule {
        id: "lock-table",
        severity: Severity::Medium,
        title: "a file locks a table explicitly",
        why: "The lock is held until the transaction ends, with everything that the file, and the files behind it, still do. Statements take the locks that they need; an explicit one is usually stronger, and where tenants share a table it stops all of them.",
        example: "LOCK TABLE notes IN ACCESS EXCLUSIVE MODE;",
        fix: "Remove it, or put it into a file of its own, just before the statements that need it.",
    },
    find,
};

fn find(survey: &Survey<'_>, rule: &Rule) -> Vec<Draft> {
    survey
        .deeds()
        .filter(|(_, _, deed)| deed.kind == DeedKind::TableLock)
        .map(|(_, place, _)| {
            Draft::new(rule, &place, "the lock is held until the transaction ends", rule.fix)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use crate::lint::fixture::{found, schema};

    const RULE: &str = "lock-table";

    #[test]
    fn an_explicit_lock_is_found_also_in_a_block() {
        assert_eq!(found(RULE, &schema(), &["LOCK TABLE t;"]), ["V1.sql:1:1 medium"]);
        let block = "DO $$ BEGIN LOCK TABLE t IN SHARE MODE; END $$;";
        assert_eq!(found(RULE, &schema(), &[block]), ["V1.sql:1:13 medium"]);
    }

    #[test]
    fn row_locks_are_not_it() {
        assert!(found(RULE, &schema(), &["SELECT 1 FROM t FOR UPDATE;"]).is_empty());
    }
}
