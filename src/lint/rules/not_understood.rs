//! SQL that the linter's parser does not know.

use super::{Check, Rule};
use crate::lint::finding::Draft;
use crate::lint::script::Place;
use crate::lint::survey::Survey;
use crate::model::severity::Severity;

pub(super) static CHECK: Check = Check {
    rule: Rule {
        id: "not-understood",
        severity: Severity::Low,
        title: "a statement is not understood, and not judged",
        why: "The linter reads SQL without a server. Where it loses its way the statement may be wrong, or newer than the linter; rules may have missed what it does. One place is named in each file.",
        example: "CREATE TABEL notes (id uuid PRIMARY KEY);",
        fix: "Try the file on a scratch database: if PostgreSQL accepts it, allow this rule with that reason.",
    },
    find,
};

fn find(survey: &Survey<'_>, rule: &Rule) -> Vec<Draft> {
    let mut drafts = Vec::new();
    for (file, script) in survey.scripts.iter().enumerate() {
        let Some((range, message)) = script.reading.errors.first() else { continue };
        let message = format!("not understood from here on: {}", message.trim_end_matches('.'));
        drafts.push(Draft::new(rule, &Place { file, range: range.clone() }, message, rule.fix));
    }
    drafts
}

#[cfg(test)]
mod tests {
    use crate::lint::fixture::{found, schema};

    const RULE: &str = "not-understood";

    #[test]
    fn what_is_no_sql_is_named_once_in_a_file() {
        assert_eq!(found(RULE, &schema(), &["CREATE TABEL t (a int); SELEC 1;"]).len(), 1);
    }

    #[test]
    fn sql_is_understood() {
        assert!(found(RULE, &schema(), &["SELECT 1; -- fin\n"]).is_empty());
    }
}
