//! A statement that PostgreSQL refuses inside of a transaction.

use super::{Check, Rule};
use crate::lint::finding::Draft;
use crate::lint::script::{Place, Statement};
use crate::lint::survey::Survey;
use crate::model::severity::Severity;

pub(super) static CHECK: Check = Check {
    rule: Rule {
        id: "needs-no-transaction",
        severity: Severity::High,
        title: "a statement cannot run in the transaction that its file runs in",
        why: "Files run in a transaction unless their head says otherwise. CREATE and DROP INDEX CONCURRENTLY, REINDEX CONCURRENTLY, DETACH PARTITION CONCURRENTLY and VACUUM refuse to, so the file fails for every tenant.",
        example: "CREATE INDEX CONCURRENTLY notes_recent ON notes (updated_at DESC);",
        fix: "Give the statement a file of its own, and begin it with -- tenantctl:no-transaction",
    },
    find,
};

fn find(survey: &Survey<'_>, rule: &Rule) -> Vec<Draft> {
    let mut drafts = Vec::new();
    for (file, script) in survey.scripts.iter().enumerate().filter(|(_, s)| !s.outside_transaction)
    {
        for statement in &script.statements {
            let Some(what) = refused(statement, script.source.sql) else { continue };
            let place = Place { file, range: statement.range.clone() };
            let message = format!("{what} cannot run in a transaction, and this file does");
            drafts.push(Draft::new(rule, &place, message, rule.fix));
        }
    }
    drafts
}

fn refused(statement: &Statement, sql: &str) -> Option<&'static str> {
    let words: Vec<&str> = statement.keywords.iter().map(String::as_str).collect();
    let concurrently = || {
        let text = sql.get(statement.range.clone()).unwrap_or_default();
        text.to_ascii_uppercase().split_whitespace().any(|word| {
            word.trim_end_matches([';', ')', ',']).trim_start_matches('(') == "CONCURRENTLY"
        })
    };
    match words.as_slice() {
        ["CREATE", "INDEX", "CONCURRENTLY", ..]
        | ["CREATE", "UNIQUE", "INDEX", "CONCURRENTLY", ..] => Some("CREATE INDEX CONCURRENTLY"),
        ["DROP", "INDEX", "CONCURRENTLY", ..] => Some("DROP INDEX CONCURRENTLY"),
        ["REINDEX", ..] if concurrently() => Some("REINDEX CONCURRENTLY"),
        ["ALTER", "TABLE", _, "DETACH", "PARTITION", ..] if concurrently() => {
            Some("DETACH PARTITION CONCURRENTLY")
        }
        ["VACUUM", ..] => Some("VACUUM"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::lint::fixture::{found, schema};

    const RULE: &str = "needs-no-transaction";

    #[test]
    fn it_is_found_also_when_it_stands_alone() {
        for sql in [
            "CREATE INDEX CONCURRENTLY i ON t (a);",
            "create unique index concurrently i on t (a);",
            "DROP INDEX CONCURRENTLY i;",
            "REINDEX TABLE CONCURRENTLY t;",
            "REINDEX (CONCURRENTLY) INDEX i;",
            "ALTER TABLE t DETACH PARTITION p CONCURRENTLY;",
            "VACUUM t;",
        ] {
            assert_eq!(found(RULE, &schema(), &[sql]), ["V1.sql:1:1 high"], "{sql}");
            let head = format!("-- tenantctl:no-transaction\n{sql}");
            assert!(found(RULE, &schema(), &[&head]).is_empty(), "{sql}");
        }
    }

    #[test]
    fn what_runs_in_a_transaction_may() {
        for sql in [
            "CREATE INDEX i ON t (a);",
            "REFRESH MATERIALIZED VIEW CONCURRENTLY v;",
            "REINDEX TABLE t;",
        ] {
            assert!(found(RULE, &schema(), &[sql]).is_empty(), "{sql}");
        }
    }
}
